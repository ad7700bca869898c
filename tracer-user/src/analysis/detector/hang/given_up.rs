//! Calls that the target gave up, held until it is known whether another call followed at once. In that case the time
//! to the close includes a backoff and is no timeout.

use super::history::Endpoint;
use crate::{
    analysis::detector::{Report, common_timeout::FOLLOWS_AT_ONCE_NS},
    event::Timestamp,
    model::connection::Endpoint as Address,
};

/// Time in nanoseconds after which the next call would have been seen, even if events of two threads are out of order.
const KNOWN_AFTER_NS: u64 = 2 * FOLLOWS_AT_ONCE_NS;
/// Maximum number of held calls; further ones are reported without waiting.
const MOST: usize = 256;

/// A call that was given up.
#[derive(Debug)]
pub(super) struct GaveUp {
    pub(super) endpoint: Endpoint,
    pub(super) remote: Address,
    pub(super) pid: u32,
    /// Nanoseconds since the start, and since the last progress.
    pub(super) whole: u64,
    pub(super) silent: u64,
    pub(super) end: Timestamp,
    /// Prepared report.
    pub(super) report: Report,
    /// Whether another call followed at once.
    pub(super) followed: bool,
}

/// Held calls.
#[derive(Debug, Default)]
pub(super) struct AllGivenUp(Vec<GaveUp>);

impl AllGivenUp {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds a call; returns it if there is no room.
    pub(super) fn add(&mut self, call: GaveUp) -> Option<GaveUp> {
        if self.0.len() >= MOST {
            return Some(call);
        }
        self.0.push(call);
        None
    }

    /// Records that the process started another call to this address.
    pub(super) fn another(&mut self, pid: u32, remote: &Address, started: Timestamp) {
        for call in &mut self.0 {
            call.followed |= call.pid == pid
                && call.remote == *remote
                && started >= call.end
                && started.since(call.end) <= FOLLOWS_AT_ONCE_NS;
        }
    }

    /// Takes the calls that are decided now; with `all`, every call.
    pub(super) fn take(&mut self, now: Timestamp, all: bool) -> Vec<GaveUp> {
        let known = |call: &mut GaveUp| all || call.followed || now.since(call.end) >= KNOWN_AFTER_NS;
        self.0.extract_if(.., known).collect()
    }
}
