//! Calls that the target gave up, until it is known whether the next followed at once: then the time to the close has a
//! backoff in it, and is no time-out.

use super::history::Endpoint;
use crate::{
    analysis::detector::{Report, common_timeout::FOLLOWS_AT_ONCE_NS},
    event::Timestamp,
    model::connection::Endpoint as Address,
};

/// The next call has come by then, also where events of two threads are out of order.
const KNOWN_AFTER_NS: u64 = 2 * FOLLOWS_AT_ONCE_NS;
/// Calls that wait, at most; of more it is not waited for what follows.
const MOST: usize = 256;

/// A call that was given up.
#[derive(Debug)]
pub(super) struct GaveUp {
    pub(super) endpoint: Endpoint,
    pub(super) remote: Address,
    pub(super) pid: u32,
    /// Since it began, and since anything of it moved.
    pub(super) whole: u64,
    pub(super) silent: u64,
    pub(super) end: Timestamp,
    /// What is to be said of it.
    pub(super) report: Report,
    /// The next call followed at once.
    pub(super) followed: bool,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct AllGivenUp(Vec<GaveUp>);

impl AllGivenUp {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one; gives it back where there is no room.
    pub(super) fn add(&mut self, call: GaveUp) -> Option<GaveUp> {
        if self.0.len() >= MOST {
            return Some(call);
        }
        self.0.push(call);
        None
    }

    /// The process makes another call to this address.
    pub(super) fn another(&mut self, pid: u32, remote: &Address, started: Timestamp) {
        for call in &mut self.0 {
            call.followed |= call.pid == pid
                && call.remote == *remote
                && started >= call.end
                && started.since(call.end) <= FOLLOWS_AT_ONCE_NS;
        }
    }

    /// Those of which it is known now; with `all`, every one.
    pub(super) fn take(&mut self, now: Timestamp, all: bool) -> Vec<GaveUp> {
        let known = |call: &mut GaveUp| all || call.followed || now.since(call.end) >= KNOWN_AFTER_NS;
        self.0.extract_if(.., known).collect()
    }
}
