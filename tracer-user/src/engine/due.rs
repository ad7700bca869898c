//! Connections by when something must be done about them, so that time that passes costs what is due and not what is open.

use std::{cmp::Reverse, collections::BinaryHeap};

use rustc_hash::FxHashMap;

use super::{
    REMEMBER_NS,
    link::{Content, Link},
};
use crate::{event::Timestamp, stream::REORDER_WAIT_NS};

/// When a connection is to be looked at, and its place among those that are due together: they come in the order in which
/// they first needed it.
pub(super) type Appointment = (Timestamp, u64);

/// All appointments. One that was replaced by an earlier one stays in the heap and is passed over.
#[derive(Debug, Default)]
pub(super) struct Due {
    heap: BinaryHeap<Reverse<(Timestamp, u64, u64)>>,
    last: u64,
    /// Connections that were looked at until now.
    pub(super) visits: u64,
}

impl Due {
    /// Sees to it that the connection is looked at when it is due, if it will be.
    pub(super) fn attend(&mut self, link: &mut Link) {
        let Some(time) = link.due() else { return };
        let number = match link.appointment {
            Some((known, _)) if known <= time => return,
            Some((_, number)) => number,
            None => {
                self.last += 1;
                self.last
            }
        };
        self.put(link, time, number);
    }

    /// The same for one that was due at `now`: it keeps its place, and comes again later than that.
    pub(super) fn attend_again(&mut self, link: &mut Link, number: u64, now: Timestamp) {
        if let Some(time) = link.due() {
            self.put(link, time.max(Timestamp(now.0.saturating_add(1))), number);
        }
    }

    fn put(&mut self, link: &mut Link, time: Timestamp, number: u64) {
        link.appointment = Some((time, number));
        self.heap.push(Reverse((time, number, link.info.inode.0)));
    }

    /// Forgets appointments that were replaced, or whose connections are gone, where they are most.
    pub(super) fn tidy(&mut self, links: &FxHashMap<u64, Box<Link>>) {
        if self.heap.len() > 2 * links.len() + 4096 {
            self.heap.retain(|Reverse((time, number, inode))| {
                links.get(inode).is_some_and(|link| link.appointment == Some((*time, *number)))
            });
        }
    }

    /// Those that are due at `now`, in their order: place and inode.
    pub(super) fn take(&mut self, now: Timestamp, links: &mut FxHashMap<u64, Box<Link>>) -> Vec<(u64, u64)> {
        let mut due = Vec::new();
        while let Some(Reverse((time, number, inode))) = self.heap.peek().copied()
            && time <= now
        {
            self.heap.pop();
            if let Some(link) = links.get_mut(&inode)
                && link.appointment == Some((time, number))
            {
                link.appointment = None;
                due.push((number, inode));
            }
        }
        due.sort_unstable();
        self.visits += due.len() as u64;
        due
    }
}

impl Link {
    /// When something must be done about it though nothing happens; `None` where that is never.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let after = |time: Timestamp, wait: u64| Timestamp(time.0.saturating_add(wait));
        // At the next tick.
        if self.connect_error.is_some() || self.connected_unsaid {
            return Some(Timestamp(0));
        }
        let waits = [self.stalled_since(), self.send.waiting_since(), self.receive.waiting_since()];
        let waits = waits.into_iter().flatten().min().map(|since| after(since, REORDER_WAIT_NS));
        let ends = self.ending.map(|end| after(end.since, REORDER_WAIT_NS));
        let over = self.over.map(|over| after(over, REMEMBER_NS));
        let doubt = match &self.content {
            Content::Http1(http) => http.doubt_until(),
            _ => None,
        };
        [waits, ends, over, doubt].into_iter().flatten().min()
    }
}
