//! Limits of decoding, for one body and for all bodies together.
//!
//! A sender of 144 bytes must cause neither megabytes of output nor seconds of work. Two bounds depend on the input: a body may grow
//! by a factor, and beyond that by a share of an allowance common to all bodies. The third bound is time. It is computed from bytes
//! instead of measured, so that a replay gives the output of the live trace.

use super::Coding;
use crate::event::Timestamp;

/// Factor by which a body may grow over its size on the wire. Text compresses five- to tenfold, logs and tables twentyfold.
pub(super) const GROWTH: usize = 20;
/// Bytes by which a body may grow beyond [`GROWTH`]: short bodies with much repetition are common.
pub(super) const FREE: usize = 64 * 1024;
/// Bytes that all bodies together may take beyond [`GROWTH`] before other bodies return as much.
const ALLOWANCE: usize = 16 << 20;
/// Nanoseconds of decoding per second.
const NS_A_SECOND: u64 = 250_000_000;
/// Estimated nanoseconds per byte of input or output: the cost of the slowest coding in a release build.
const NS_A_BYTE: u64 = 8;
/// Estimated nanoseconds per byte of a body that does not grow: it may consist of empty members, which need a decoder each.
const NS_A_BYTE_OF_MEMBERS: u64 = 300;
/// Estimated nanoseconds before the first byte of a coding, for its tables.
const NS_A_CODING: u64 = 20_000;
/// Estimated nanoseconds for the window of brotli, 16 MiB at most, which the decoder clears first. Its size is the declared size of
/// the content, so content that exceeds the bound may have needed all of it.
const NS_A_WINDOW: u64 = 4_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Maximum output in bytes for a body of `wire` bytes; `limit` is the maximum for any body.
pub fn bound(wire: usize, limit: usize) -> usize {
    wire.saturating_mul(GROWTH).saturating_add(FREE).min(limit)
}

/// Estimated nanoseconds per byte to search a body without a coding, and to mask its secrets.
const NS_A_BYTE_LOOKED_AT: u64 = 2;

/// Remaining budget of an output that decodes every body.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    allowance: usize,
    /// Maximum of the allowance.
    most: usize,
    ns_a_second: u64,
    /// Current second of the trace, and the time spent in it.
    second: u64,
    spent_ns: u64,
    /// Numbers of bodies cut, and of bodies not decoded.
    cut: u64,
    skipped: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            allowance: ALLOWANCE,
            most: ALLOWANCE,
            ns_a_second: NS_A_SECOND,
            second: 0,
            spent_ns: 0,
            cut: 0,
            skipped: 0,
        }
    }
}

impl Budget {
    /// A budget that refuses nothing and counts time, for a caller that pauses by itself.
    pub fn reckoning() -> Self {
        Self { allowance: usize::MAX, most: usize::MAX, ns_a_second: u64::MAX, second: u64::MAX, ..Self::default() }
    }

    /// Nanoseconds spent in the current second.
    pub fn spent_ns(&self) -> u64 {
        self.spent_ns
    }

    /// Counts nanoseconds of work.
    pub fn spend_ns(&mut self, nanoseconds: u64) {
        self.spent_ns = self.spent_ns.saturating_add(nanoseconds);
    }

    /// Counts bytes that were searched without decoding.
    pub fn look(&mut self, bytes: usize) {
        self.spend_ns(NS_A_BYTE_LOOKED_AT.saturating_mul(bytes as u64));
    }

    /// Maximum output in bytes for a body of `wire` bytes at `now`, `limit` at most; `None` if the time is used up.
    pub fn room(&mut self, wire: usize, limit: usize, now: Timestamp) -> Option<usize> {
        let second = now.0 / SECOND_NS;
        // Times of exchanges may go back a little. A past second does not start again.
        if second > self.second {
            (self.second, self.spent_ns) = (second, 0);
        }
        if self.spent_ns >= self.ns_a_second {
            self.skipped += 1;
            return None;
        }
        Some(bound(wire, limit).min(wire.saturating_mul(GROWTH).saturating_add(self.allowance)))
    }

    /// Counts the decoding of `wire` bytes to `out` bytes.
    pub fn spend(&mut self, wire: usize, out: usize, undone: &[Coding], cut: bool) {
        let earned = self.allowance.saturating_add(wire.saturating_mul(GROWTH)).min(self.most);
        self.allowance = earned.saturating_sub(out);
        self.cut += u64::from(cut);
        // The input and output of a coding in the middle do not exceed the bound of the body.
        for coding in undone {
            let bytes = (wire as u64).saturating_add(out as u64).saturating_mul(NS_A_BYTE);
            let members = if out < wire { wire as u64 * NS_A_BYTE_OF_MEMBERS } else { 0 };
            let window = if cut && *coding == Coding::Brotli { NS_A_WINDOW } else { 0 };
            self.spent_ns = self.spent_ns.saturating_add(NS_A_CODING + window + bytes.max(members));
        }
    }

    /// Number of bodies cut at their bound.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Number of bodies not decoded because the time was used up.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn a_body_grows_by_what_came() {
        for (wire, most) in [(0, FREE), (144, FREE + 2_880), (10_000, FREE + 200_000), (1 << 20, LIMIT)] {
            assert_eq!(bound(wire, LIMIT), most);
        }
        assert_eq!(bound(usize::MAX, usize::MAX), usize::MAX);
    }

    #[test]
    fn the_allowance_is_common_and_what_shrinks_normally_does_not_need_it() {
        let mut budget = Budget::default();
        let mut out = 0;
        for n in 0..10_000 {
            let room = budget.room(144, LIMIT, Timestamp(n * SECOND_NS)).expect("there is time");
            budget.spend(144, room, &[Coding::Gzip; 2], true);
            out += room;
        }
        assert!(out <= ALLOWANCE + 10_000 * 144 * GROWTH, "{out}");
        assert_eq!(budget.cut(), 10_000);
        // Another one still has all that it needs.
        assert_eq!(budget.room(5_000, LIMIT, Timestamp(10_000 * SECOND_NS)), Some(100_000));
        for _ in 0..1_000 {
            budget.spend(5_000, 50_000, &[Coding::Gzip], false);
        }
        assert_eq!(budget.room(144, LIMIT, Timestamp(20_000 * SECOND_NS)), Some(bound(144, LIMIT)));
    }

    #[test]
    fn time_is_given_by_the_second() {
        let mut budget = Budget::default();
        let mut done = 0;
        while budget.room(50_000, LIMIT, Timestamp(SECOND_NS)).is_some() {
            budget.spend(50_000, LIMIT, &[Coding::Brotli], true);
            done += 1;
        }
        assert!((10..100).contains(&done), "{done}");
        assert_eq!(budget.room(1, LIMIT, Timestamp(SECOND_NS)), None);
        assert_eq!(budget.room(1, LIMIT, Timestamp(SECOND_NS / 2)), None);
        assert!(budget.room(1, LIMIT, Timestamp(2 * SECOND_NS)).is_some());
        assert_eq!(budget.skipped(), 3);
    }
}
