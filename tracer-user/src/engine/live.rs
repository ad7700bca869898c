//! What is open, as detectors may look at it, and which of it is worth a look.

use std::{cell::RefCell, cmp::Reverse, collections::BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::link::{Content, Link};
use crate::{
    analysis::detector::{Live, OpenConnection},
    event::Timestamp,
    model::exchange::OpenExchange,
};

/// Connections from before tracing that are looked at together.
const FOUND_AT_ONCE: usize = 1024;

/// Whether a connection waits for a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// Nothing has happened since the last one.
    No,
    /// At a time that was named.
    Later,
    /// At the next one.
    Next,
}

/// Connections that are worth a look: of those on which nothing happens there may be very many.
#[derive(Debug, Default)]
pub(super) struct Queue {
    next: Vec<u64>,
    later: BinaryHeap<Reverse<(Timestamp, u64)>>,
    /// Those from before tracing of which nothing was seen.
    found: Vec<u64>,
    /// Connections and exchanges that were shown until now.
    visits: u64,
}

impl Queue {
    /// The connection was there when tracing began.
    pub(super) fn find(&mut self, inode: u64) {
        self.found.push(inode);
    }

    /// Something happened on the connection. Where only bytes moved, it is not looked at sooner than was said.
    pub(super) fn touch(&mut self, link: &Link, moved: bool) {
        let queued = link.queued.get();
        if queued == Queued::No || (queued == Queued::Later && !moved) {
            link.queued.set(Queued::Next);
            self.next.push(link.info.inode.0);
        }
    }

    /// Forgets those that are gone, where nobody looks for a long time.
    pub(super) fn tidy(&mut self, links: &FxHashMap<u64, Box<Link>>) {
        if self.next.len() > 2 * links.len() + 4096 {
            self.next.retain(|inode| links.contains_key(inode));
        }
        if self.found.len() > 2 * links.len() + 4096 {
            let mut kept = FxHashSet::default();
            self.found.retain(|inode| links.contains_key(inode) && kept.insert(*inode));
        }
        if self.later.len() > 2 * links.len() + 4096 {
            self.later.retain(|Reverse((_, inode))| links.contains_key(inode));
        }
    }

    pub(super) fn visits(&self) -> u64 {
        self.visits
    }
}

/// The connections of the engine.
pub(super) struct Links<'a> {
    pub(super) all: &'a FxHashMap<u64, Box<Link>>,
    pub(super) queue: &'a RefCell<Queue>,
    pub(super) events: u64,
}

impl Links<'_> {
    fn open(&self) -> impl Iterator<Item = &Link> {
        self.queue.borrow_mut().visits += self.all.len() as u64;
        self.all.values().map(|link| &**link).filter(|link| is_open(link))
    }
}

fn is_open(link: &Link) -> bool {
    link.over.is_none() && !link.failed
}

impl Live for Links<'_> {
    fn exchanges(&self, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        for link in self.open() {
            if let Content::Http1(http) = &link.content {
                http.visit_open(&link.info, visit);
            }
        }
    }

    fn connections(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        for link in self.open() {
            visit(&link.view());
        }
    }

    fn closed(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        for link in self.all.values().filter(|link| link.over.is_some()) {
            visit(&link.view());
        }
    }

    fn size(&self) -> usize {
        self.all.len()
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn look_at(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>, Option<&OpenExchange<'_>>)) {
        let Some(link) = self.all.get(&inode).filter(|link| is_open(link)) else { return };
        self.queue.borrow_mut().visits += 1;
        let first = match &link.content {
            Content::Http1(http) => http.first_open(&link.info),
            _ => None,
        };
        visit(&link.view(), first.as_ref());
    }

    fn take_queued(&self, now: Timestamp, take: &mut dyn FnMut(u64)) {
        let mut queue = self.queue.borrow_mut();
        let mut given = |inode: u64, state: Queued| {
            if let Some(link) = self.all.get(&inode)
                && link.queued.get() == state
            {
                link.queued.set(Queued::No);
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
        if let Some(link) = self.all.get(&inode) {
            link.queued.set(Queued::Later);
            self.queue.borrow_mut().later.push(Reverse((at, inode)));
        }
    }

    fn found(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        let mut queue = self.queue.borrow_mut();
        let (silent, mut seen) = (|link: &Link| is_open(link) && link.found && link.turn.is_none(), 0);
        queue.found.retain(|inode| {
            seen += 1;
            if seen > FOUND_AT_ONCE {
                return true;
            }
            let Some(link) = self.all.get(inode).map(|link| &**link).filter(|link| silent(link)) else { return false };
            visit(&link.view());
            true
        });
        // Others come first the next time.
        let turn = queue.found.len().min(FOUND_AT_ONCE);
        if queue.found.len() > FOUND_AT_ONCE {
            queue.found.rotate_left(turn);
        }
    }
}
