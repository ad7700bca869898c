//! Connections by the time at which they are due, so that a tick costs what is due and not what is open.

use std::{cmp::Reverse, collections::BinaryHeap};

use rustc_hash::FxHashMap;

use super::connection::Connection;
use crate::event::Timestamp;

/// All appointments. One that an earlier one replaced stays in the heap, and is skipped.
#[derive(Debug, Default)]
pub(super) struct Due {
    heap: BinaryHeap<Reverse<(Timestamp, u64, u64)>>,
    last: u64,
    /// Connections visited so far.
    pub(super) visits: u64,
}

impl Due {
    /// Makes an appointment for the connection, if it will be due.
    pub(super) fn attend(&mut self, connection: &mut Connection) {
        let Some(time) = connection.due() else { return };
        let number = match connection.appointment {
            Some((known, _)) if known <= time => return,
            Some((_, number)) => number,
            None => {
                self.last += 1;
                self.last
            }
        };
        self.put(connection, time, number);
    }

    /// Makes an appointment for a connection that was due at `now`: it keeps its place, and is due again later.
    pub(super) fn attend_again(&mut self, connection: &mut Connection, number: u64, now: Timestamp) {
        if let Some(time) = connection.due() {
            self.put(connection, time.max(Timestamp(now.0.saturating_add(1))), number);
        }
    }

    fn put(&mut self, connection: &mut Connection, time: Timestamp, number: u64) {
        connection.appointment = Some((time, number));
        self.heap.push(Reverse((time, number, connection.info.inode.0)));
    }

    /// Drops appointments that were replaced, or whose connections are gone, once they are the majority.
    pub(super) fn tidy(&mut self, connections: &FxHashMap<u64, Box<Connection>>) {
        if self.heap.len() > 2 * connections.len() + 4096 {
            self.heap.retain(|Reverse((time, number, inode))| {
                connections.get(inode).is_some_and(|connection| connection.appointment == Some((*time, *number)))
            });
        }
    }

    /// Takes the connections that are due at `now`, in their order: place and inode.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        connections: &mut FxHashMap<u64, Box<Connection>>,
    ) -> Vec<(u64, u64)> {
        let mut due = Vec::new();
        while let Some(Reverse((time, number, inode))) = self.heap.peek().copied()
            && time <= now
        {
            self.heap.pop();
            if let Some(connection) = connections.get_mut(&inode)
                && connection.appointment == Some((time, number))
            {
                connection.appointment = None;
                due.push((number, inode));
            }
        }
        due.sort_unstable();
        self.visits += due.len() as u64;
        due
    }
}
