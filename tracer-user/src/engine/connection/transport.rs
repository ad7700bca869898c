//! The transport of a connection: positions of both directions, what the kernel counts, and what need not be copied.

use std::ops::Range;

use crate::{
    analysis::detector::KernelView,
    event::{Timestamp, wire::direction},
    stream::Stream,
};

/// Unwanted bytes from which on a request to the probes to skip them is worth its system call.
const SKIP_FROM: u64 = 256 * 1024;
/// Bytes that the probes skip at most for one request: far below half the range of a sequence number.
const SKIP_AT_ONCE: u64 = 1 << 30;

/// Both directions of a connection as the kernel transports them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Transport {
    /// Positions are TCP sequence numbers.
    pub(in crate::engine) sequence: bool,
    /// The probes count the bytes although the connection has addresses and states, as with MPTCP.
    pub(in crate::engine) counted: bool,
    pub(in crate::engine) send: Stream,
    pub(in crate::engine) receive: Stream,
    /// Time of the latest byte, by direction.
    pub(in crate::engine) last_moved: [Option<Timestamp>; 2],
    /// The latest answer of the kernel.
    pub(in crate::engine) kernel: Option<KernelView>,
    /// Comparison of the kernel's counts with events.
    pub(in crate::engine) accounting: Option<Accounting>,
    /// Bytes sent and received that the kernel counts, and that belong to calls that have not returned.
    pub(in crate::engine) under_way: [u64; 2],
    /// Bytes that the kernel counts while no call is under way: they went past the traced calls.
    pub(in crate::engine) unseen: [u64; 2],
    /// Time at which a thread was last found in a call that moves bytes, by direction.
    pub(in crate::engine) in_call: [Option<Timestamp>; 2],
    /// Positions up to which the probes skip, by direction.
    skip_until: [u64; 2],
}

/// Kernel's counts of a connection compared with events.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Accounting {
    /// Bytes sent and received without an event at the first comparison: from before tracing.
    pub(in crate::engine) baseline: (i64, i64),
    /// The latest difference, which the next comparison has to confirm.
    pub(in crate::engine) difference: (i64, i64),
    /// Bytes reported as unseen.
    pub(in crate::engine) reported: (i64, i64),
}

impl Transport {
    pub(in crate::engine) fn stream(&mut self, direction: u8) -> &mut Stream {
        if direction == direction::SEND { &mut self.send } else { &mut self.receive }
    }

    /// Positions of the next byte: sent, received.
    pub(in crate::engine) fn next(&self) -> [Option<u64>; 2] {
        [self.send.next(), self.receive.next()]
    }

    /// Whether the position of either direction is known.
    pub(in crate::engine) fn has_position(&self) -> bool {
        self.send.next().or(self.receive.next()).is_some()
    }

    /// Bytes that are known to be lost.
    pub(in crate::engine) fn lost(&self) -> u64 {
        self.send.lost() + self.receive.lost()
    }

    /// Time since which a segment waits for an earlier one.
    pub(in crate::engine) fn waiting_since(&self) -> Option<Timestamp> {
        [self.send.waiting_since(), self.receive.waiting_since()].into_iter().flatten().min()
    }

    /// The position up to which the probes are to skip, as events count it, where the bytes of `unwanted` are enough to
    /// be worth it and the probes do not skip already.
    pub(in crate::engine) fn skip(&mut self, direction: u8, unwanted: &Range<u64>) -> Option<u64> {
        let known = &mut self.skip_until[usize::from(direction)];
        let left = unwanted.end.saturating_sub(unwanted.start);
        if unwanted.start < *known || left < SKIP_FROM {
            return None;
        }
        let until = unwanted.start + left.min(SKIP_AT_ONCE);
        *known = until;
        Some(if self.sequence { until & 0xffff_ffff } else { Stream::as_count(until) })
    }
}
