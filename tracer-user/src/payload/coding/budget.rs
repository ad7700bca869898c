//! What may be decoded: of one body, and of all together.
//!
//! A stranger who sends 144 bytes must not get megabytes written, nor seconds of work done. Two bounds go by what came:
//! a body may grow to so many times its size, and beyond that to a share of an allowance that all bodies have in common.
//! The third goes by time. It is reckoned from bytes and not measured, so that a recording gives what the live trace gave.

use super::Coding;
use crate::event::Timestamp;

/// A body may grow to so many times its size on the wire. Text shrinks five- to tenfold, logs and tables twentyfold.
pub(super) const GROWTH: usize = 20;
/// And by so much beyond that: short bodies of much repetition are common.
pub(super) const FREE: usize = 64 * 1024;
/// What all bodies together may take beyond [`GROWTH`] before others have given as much back.
const ALLOWANCE: usize = 16 << 20;
/// Decoding may take so long of each second.
const NS_A_SECOND: u64 = 250_000_000;
/// What a byte that goes in or comes out is reckoned to take: the slowest coding takes as long in a release build.
const NS_A_BYTE: u64 = 8;
/// The same of a body that does not grow: it may be nothing but empty members, each of which takes a decoder.
const NS_A_BYTE_OF_MEMBERS: u64 = 300;
/// What a coding takes before the first byte: its tables.
const NS_A_CODING: u64 = 20_000;
/// What the window of brotli takes, which is cleared first: 16 MiB at most. It is made as large as the content is said to be,
/// so one that is not over at the bound may have taken all of it.
const NS_A_WINDOW: u64 = 4_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// The most that may come out of a body of `wire` bytes, where `limit` is the most of any.
pub fn bound(wire: usize, limit: usize) -> usize {
    wire.saturating_mul(GROWTH).saturating_add(FREE).min(limit)
}

/// To look for text in a body that needs no decoding, and to hide what is in it.
const NS_A_BYTE_LOOKED_AT: u64 = 2;

/// What is left to be decoded, for an output that decodes every body.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    allowance: usize,
    /// The most that is saved up.
    most: usize,
    ns_a_second: u64,
    /// The second of the trace that is counted now, and what was spent in it.
    second: u64,
    spent_ns: u64,
    /// Bodies that were cut, and bodies that were not decoded.
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
    /// Refuses nothing, and reckons what was spent, for whoever stops by himself and goes on later.
    pub fn reckoning() -> Self {
        Self { allowance: usize::MAX, most: usize::MAX, ns_a_second: u64::MAX, second: u64::MAX, ..Self::default() }
    }

    /// Nanoseconds that were spent, of the second that is counted now.
    pub fn spent_ns(&self) -> u64 {
        self.spent_ns
    }

    /// Something was done that took so long.
    pub fn spend_ns(&mut self, nanoseconds: u64) {
        self.spent_ns = self.spent_ns.saturating_add(nanoseconds);
    }

    /// So many bytes that needed no decoding were looked at.
    pub fn look(&mut self, bytes: usize) {
        self.spend_ns(NS_A_BYTE_LOOKED_AT.saturating_mul(bytes as u64));
    }

    /// Bytes that may come out of a body of `wire` bytes at `now`, of `limit` at most; `None` where the time for decoding is
    /// used up.
    pub fn room(&mut self, wire: usize, limit: usize, now: Timestamp) -> Option<usize> {
        let second = now.0 / SECOND_NS;
        // Times of exchanges go back a little; a second that is over does not begin again.
        if second > self.second {
            (self.second, self.spent_ns) = (second, 0);
        }
        if self.spent_ns >= self.ns_a_second {
            self.skipped += 1;
            return None;
        }
        Some(bound(wire, limit).min(wire.saturating_mul(GROWTH).saturating_add(self.allowance)))
    }

    /// A body of `wire` bytes was decoded to `out` bytes.
    pub fn spend(&mut self, wire: usize, out: usize, undone: &[Coding], cut: bool) {
        let earned = self.allowance.saturating_add(wire.saturating_mul(GROWTH)).min(self.most);
        self.allowance = earned.saturating_sub(out);
        self.cut += u64::from(cut);
        // What goes in and out of a coding in the middle is no more than the bound of the body.
        for coding in undone {
            let bytes = (wire as u64).saturating_add(out as u64).saturating_mul(NS_A_BYTE);
            let members = if out < wire { wire as u64 * NS_A_BYTE_OF_MEMBERS } else { 0 };
            let window = if cut && *coding == Coding::Brotli { NS_A_WINDOW } else { 0 };
            self.spent_ns = self.spent_ns.saturating_add(NS_A_CODING + window + bytes.max(members));
        }
    }

    /// Bodies that were cut at their bound.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Bodies that were not decoded, as the time was used up.
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
