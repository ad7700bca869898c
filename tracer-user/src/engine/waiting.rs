//! What waits for missing bytes, all connections together.
//!
//! Each connection has its own bounds; a hundred thousand of them would still take all memory of the machine. Where all of
//! them together hold too much, the one that has waited longest gives up: what it misses is most likely not to come, and it
//! would give up by itself within 100 ms. It costs its connection a gap, which its exchanges say.

use std::collections::BTreeMap;

use super::{Environment, link::Link};
use crate::{
    event::{Timestamp, wire::direction},
    stream::Mark,
};

/// Bytes that may wait, with what it takes to keep them. A busy machine has some hundred kilobytes of them.
pub(super) const MAX_WAITING: usize = 32 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: usize,
    /// Connections that hold something, in the order in which they began to.
    holders: BTreeMap<u64, u64>,
    last: u64,
    given_up: u64,
}

impl Waiting {
    /// Counts what the connection holds now. Tells whether all hold too much.
    pub(super) fn settle(&mut self, link: &mut Link) -> bool {
        let holds = link.holds();
        if holds == link.held {
            return false;
        }
        self.bytes = (self.bytes + holds).saturating_sub(link.held);
        if link.held == 0 {
            self.last += 1;
            link.holder_number = self.last;
            self.holders.insert(self.last, link.info.inode.0);
        } else if holds == 0 {
            self.holders.remove(&link.holder_number);
        }
        link.held = holds;
        self.bytes > MAX_WAITING
    }

    /// The connection that is to give up, where all hold too much.
    pub(super) fn victim(&mut self) -> Option<u64> {
        if self.bytes <= MAX_WAITING {
            return None;
        }
        let (_, inode) = self.holders.pop_first()?;
        self.given_up += 1;
        Some(inode)
    }

    /// How often a connection had to give up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// What is held now.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Link {
    /// Passes on all that waits: what is missing is lost.
    pub(super) fn give_up_waiting(&mut self, time: Timestamp, environment: &mut Environment) {
        let mark = Mark { time, pid: self.process.pid, tid: self.process.tid, ..Mark::default() };
        for direction in [direction::SEND, direction::RECEIVE] {
            self.with_stream(direction, environment, |stream, mut sink| stream.flush(None, mark, &mut sink));
        }
        self.end_beginning(environment);
        self.release_all(environment);
        environment.waiting.bytes = environment.waiting.bytes.saturating_sub(std::mem::take(&mut self.held));
    }
}
