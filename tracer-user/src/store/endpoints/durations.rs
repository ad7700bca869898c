//! Durations of the calls of an endpoint, and their trend.

use crate::{
    analysis::histogram::{Histogram, Scale, quantiles},
    event::Timestamp,
};

/// Buckets of the histogram: from a microsecond to an hour, at most 4.4 % too long. All calls since tracing began count.
pub(super) static SCALE: Scale = Scale { unit_ns: 1_000, steps: 16, buckets: 512, limit: 1 << 30 };
/// Minimum length in nanoseconds of the recent period.
const LATE_NS: u64 = 5_000_000_000;
/// Minimum number of calls in the recent period.
const LATE_CALLS: u32 = 10;
/// Minimum number of earlier calls to compare with.
const PAST_CALLS: u32 = 20;
/// Minimum factor between the medians for a trend.
const TIMES: f64 = 1.5;
/// Minimum difference of the medians for a trend, in nanoseconds.
const MORE_NS: u64 = 1_000_000;

/// Distribution of durations, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The longest duration.
    pub max: u64,
    /// Median of the recent period: the latest five to ten seconds, and at least ten calls.
    pub late: u64,
}

/// Trend of the durations: the median of the recent period (the latest five to ten seconds, at least ten calls) against that
/// of at least twenty earlier calls. A trend is a median longer by half or shorter by a third, and by at least a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trend {
    /// Shorter.
    Falling,
    /// Too few calls to compare.
    Unknown,
    /// Neither shorter nor longer.
    Steady,
    /// Longer.
    Rising,
}

/// Durations of the calls of an endpoint.
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
