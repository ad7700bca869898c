//! The pending exchanges and open connections, as detectors view them, and the queue of those worth a look.

use std::{cell::RefCell, cmp::Reverse, collections::BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::connection::{Connection, Queued};
use crate::{
    analysis::detector::{Live, MAX_CALLS, OpenConnection},
    event::Timestamp,
    model::exchange::OpenExchange,
    protocol::decode::Decode as _,
};

/// Connections from before tracing that one look visits.
const FOUND_AT_ONCE: usize = 1024;

/// Connections that are worth a look. Idle connections, of which there may be very many, are not visited.
#[derive(Debug, Default)]
pub(super) struct Queue {
    next: Vec<u64>,
    later: BinaryHeap<Reverse<(Timestamp, u64)>>,
    /// Connections from before tracing without an event so far.
    found: Vec<u64>,
    /// Connections visited so far.
    visits: u64,
}

impl Queue {
    /// Adds a connection that existed when tracing began.
    pub(super) fn find(&mut self, inode: u64) {
        self.found.push(inode);
    }

    /// Queues a connection on which something happened. If only bytes moved, a time that a detector named still holds.
    pub(super) fn touch(&mut self, connection: &Connection, moved: bool) {
        let queued = connection.queued.get();
        if queued == Queued::No || (queued == Queued::Later && !moved) {
            connection.queued.set(Queued::Next);
            self.next.push(connection.info.inode.0);
        }
    }

    /// Drops connections that are gone: without ticks nobody takes them out.
    pub(super) fn tidy(&mut self, connections: &FxHashMap<u64, Box<Connection>>) {
        if self.next.len() > 2 * connections.len() + 4096 {
            self.next.retain(|inode| connections.contains_key(inode));
        }
        if self.found.len() > 2 * connections.len() + 4096 {
            let mut kept = FxHashSet::default();
            self.found.retain(|inode| connections.contains_key(inode) && kept.insert(*inode));
        }
        if self.later.len() > 2 * connections.len() + 4096 {
            self.later.retain(|Reverse((_, inode))| connections.contains_key(inode));
        }
    }

    pub(super) fn visits(&self) -> u64 {
        self.visits
    }
}

/// The connections of the engine.
pub(super) struct LiveConnections<'a> {
    pub(super) all: &'a FxHashMap<u64, Box<Connection>>,
    pub(super) queue: &'a RefCell<Queue>,
    pub(super) events: u64,
}

impl LiveConnections<'_> {
    fn open(&self) -> impl Iterator<Item = &Connection> {
        self.queue.borrow_mut().visits += self.all.len() as u64;
        self.all.values().map(|connection| &**connection).filter(|connection| is_open(connection))
    }
}

fn is_open(connection: &Connection) -> bool {
    connection.life.is_open()
}

impl Live for LiveConnections<'_> {
    fn exchanges(&self, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        for connection in self.open() {
            connection.channel.decoder.visit_open(&connection.info, visit);
        }
    }

    fn connections(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        for connection in self.open() {
            visit(&connection.view());
        }
    }

    fn closed(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        for connection in self.all.values().filter(|connection| connection.life.is_over()) {
            visit(&connection.view());
        }
    }

    fn size(&self) -> usize {
        self.all.len()
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn connection(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        let Some(connection) = self.all.get(&inode).filter(|connection| is_open(connection)) else { return };
        self.queue.borrow_mut().visits += 1;
        visit(&connection.view());
    }

    fn calls(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>, Option<&OpenExchange<'_>>)) {
        let Some(connection) = self.all.get(&inode).filter(|connection| is_open(connection)) else { return };
        let (view, decoder) = (connection.view(), &connection.channel.decoder);
        let first = decoder.first_open(&connection.info);
        let mut visits = 0;
        if first.is_some_and(|first| first.stream.is_some()) {
            decoder.visit_open(&connection.info, &mut |exchange| {
                if visits < MAX_CALLS as u64 {
                    visits += 1;
                    visit(&view, Some(exchange));
                }
            });
        } else {
            visits = 1;
            visit(&view, first.as_ref());
        }
        self.queue.borrow_mut().visits += visits;
    }

    fn take_queued(&self, now: Timestamp, take: &mut dyn FnMut(u64)) {
        let mut queue = self.queue.borrow_mut();
        let mut given = |inode: u64, state: Queued| {
            if let Some(connection) = self.all.get(&inode)
                && connection.queued.get() == state
            {
                connection.queued.set(Queued::No);
                take(inode);
            }
        };
        for inode in queue.next.drain(..) {
            given(inode, Queued::Next);
        }
        while let Some(Reverse((time, inode))) = queue.later.peek().copied()
            && time <= now
        {
            queue.later.pop();
            given(inode, Queued::Later);
        }
    }

    fn look_again(&self, inode: u64, at: Timestamp) {
        if let Some(connection) = self.all.get(&inode) {
            connection.queued.set(Queued::Later);
            self.queue.borrow_mut().later.push(Reverse((at, inode)));
        }
    }

    fn found(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        let mut queue = self.queue.borrow_mut();
        let (silent, mut seen) = (
            |connection: &Connection| is_open(connection) && connection.life.is_found() && connection.turn.is_none(),
            0,
        );
        queue.found.retain(|inode| {
            seen += 1;
            if seen > FOUND_AT_ONCE {
                return true;
            }
            let Some(connection) =
                self.all.get(inode).map(|connection| &**connection).filter(|connection| silent(connection))
            else {
                return false;
            };
            visit(&connection.view());
            true
        });
        // The next look begins with others.
        let turn = queue.found.len().min(FOUND_AT_ONCE);
        if queue.found.len() > FOUND_AT_ONCE {
            queue.found.rotate_left(turn);
        }
    }
}
