//! How long the calls of an endpoint took, and whether that changes.

use crate::{
    analysis::histogram::{Histogram, Scale, quantiles},
    event::Timestamp,
};

/// A value is 4.4 % too long at most; from a microsecond to an hour. Everything counts since tracing began.
pub(super) static SCALE: Scale = Scale { unit_ns: 1_000, steps: 16, buckets: 512, limit: 1 << 30 };
/// "Late" is this long at least ...
const LATE_NS: u64 = 5_000_000_000;
/// ... and so many calls at least,
const LATE_CALLS: u32 = 10;
/// which are compared with so many calls before it at least.
const PAST_CALLS: u32 = 20;
/// The median changed by this factor ...
const TIMES: f64 = 1.5;
/// ... and by this much.
const MORE_NS: u64 = 1_000_000;

/// How durations are spread, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The median.
    pub p50: u64,
    /// 95 % are no longer.
    pub p95: u64,
    /// 99 % are no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// The median of late: of the latest five to ten seconds, and of ten calls at least.
    pub late: u64,
}

/// The median of late (the latest five to ten seconds, and ten calls at least) against that of all before, which must be
/// twenty calls at least: it rises or falls where it is by half longer, or by a third shorter, and by a millisecond at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trend {
    /// Shorter.
    Falling,
    /// Too few calls to say.
    Unknown,
    /// Neither.
    Steady,
    /// Longer.
    Rising,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    past: Histogram,
    late: Histogram,
    latest: Histogram,
    latest_since: Timestamp,
    longest: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            past: Histogram::new(&SCALE),
            late: Histogram::new(&SCALE),
            latest: Histogram::new(&SCALE),
            latest_since: Timestamp(0),
            longest: 0,
        }
    }
}

impl Durations {
    pub(super) fn add(&mut self, duration: u64, now: Timestamp) {
        if self.latest.count() >= LATE_CALLS && now.since(self.latest_since) >= LATE_NS {
            self.past.add_all(&self.late);
            self.late.clear();
            std::mem::swap(&mut self.late, &mut self.latest);
        }
        if self.latest.count() == 0 {
            self.latest_since = now;
        }
        self.latest.add(duration);
        self.longest = self.longest.max(duration);
    }

    pub(super) fn spread(&self) -> Spread {
        let [p50, p95, p99] = quantiles(&[&self.past, &self.late, &self.latest], [0.5, 0.95, 0.99]);
        let cut = |value: u64| value.min(self.longest);
        Spread { p50: cut(p50), p95: cut(p95), p99: cut(p99), max: self.longest, late: cut(self.late_median()) }
    }

    fn late_median(&self) -> u64 {
        let [median] = quantiles(&[&self.late, &self.latest], [0.5]);
        median
    }

    pub(super) fn trend(&self) -> Trend {
        if self.past.count() < PAST_CALLS {
            return Trend::Unknown;
        }
        let (past, late) = (self.past.quantile(0.5), self.late_median());
        let far = |long: u64, short: u64| long as f64 >= short as f64 * TIMES && long - short >= MORE_NS;
        if far(late, past) {
            Trend::Rising
        } else if far(past, late) {
            Trend::Falling
        } else {
            Trend::Steady
        }
    }
}
