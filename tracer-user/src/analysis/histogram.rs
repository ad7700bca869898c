//! Compact histogram of durations, with buckets whose width grows with the duration.
//!
//! A quantile is the upper end of its bucket. It is at most a factor of `2^(1/steps)` too long (19 % with four steps
//! per octave, 4.4 % with sixteen) and never too short.

/// Buckets of a histogram, and the weight of old values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Upper end of the first bucket in nanoseconds; shorter durations count in it.
    pub unit_ns: u64,
    /// Number of buckets per octave.
    pub steps: u32,
    /// Maximum number of buckets; longer durations count in the last.
    pub buckets: u16,
    /// Count at which all counts are halved, so that old values lose weight.
    pub limit: u32,
}

impl Scale {
    fn bucket(&self, nanoseconds: u64) -> u16 {
        if nanoseconds <= self.unit_ns {
            return 0;
        }
        let octaves = (nanoseconds as f64 / self.unit_ns as f64).log2();
        ((octaves * f64::from(self.steps)).ceil() as u16).min(self.buckets.saturating_sub(1))
    }

    /// Upper end of a bucket in nanoseconds.
    fn value(&self, bucket: usize) -> u64 {
        ((bucket as f64 / f64::from(self.steps)).exp2() * self.unit_ns as f64) as u64
    }
}

/// Histogram that allocates only the buckets between the shortest and the longest duration.
#[derive(Clone, Debug)]
pub struct Histogram {
    scale: &'static Scale,
    count: u32,
    /// Index of the bucket of `counts[0]`.
    first: u16,
    counts: Vec<u32>,
}

impl Histogram {
    /// Creates an empty histogram.
    pub fn new(scale: &'static Scale) -> Self {
        Self { scale, count: 0, first: 0, counts: Vec::new() }
    }

    /// Sum of the counts. Halving reduces it.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds a duration.
    pub fn add(&mut self, nanoseconds: u64) {
        *self.slot(self.scale.bucket(nanoseconds)) += 1;
        self.count += 1;
        if self.count > self.scale.limit {
            self.halve();
        }
    }

    /// Adds the counts of another histogram of the same scale.
    pub fn add_all(&mut self, other: &Self) {
        debug_assert_eq!(self.scale, other.scale, "buckets differ");
        for (bucket, count) in (other.first..).zip(&other.counts).filter(|(_, count)| **count > 0) {
            *self.slot(bucket) += count;
        }
        self.count += other.count;
        while self.count > self.scale.limit {
            self.halve();
        }
    }

    /// Removes all counts.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.count = 0;
    }

    /// Duration that a fraction `share` of all durations does not exceed; the unit if the histogram is empty.
    pub fn quantile(&self, share: f64) -> u64 {
        let [found] = quantiles(&[self], [share]);
        found
    }

    fn slot(&mut self, bucket: u16) -> &mut u32 {
        if usize::from(bucket.wrapping_sub(self.first)) >= self.counts.len() {
            self.widen(bucket);
        }
        &mut self.counts[usize::from(bucket - self.first)]
    }

    /// Allocates the buckets up to `bucket`.
    #[cold]
    fn widen(&mut self, bucket: u16) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let more = usize::from(self.first - bucket);
            self.counts.splice(..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let index = usize::from(bucket - self.first);
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
    }

    #[cold]
    fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.count = self.counts.iter().sum();
    }
}

/// Durations that the fractions `shares`, in ascending order, do not exceed in the sum of several histograms of one
/// scale; the unit if all are empty.
pub fn quantiles<const N: usize>(parts: &[&Histogram], shares: [f64; N]) -> [u64; N] {
    let Some(scale) = parts.first().map(|part| part.scale) else { return [0; N] };
    let used = parts.iter().filter(|part| !part.counts.is_empty());
    let first = used.clone().map(|part| usize::from(part.first)).min().unwrap_or(0);
    let end = used.map(|part| usize::from(part.first) + part.counts.len()).max().unwrap_or(0);
    let count: u32 = parts.iter().map(|part| part.count).sum();
    let (mut bucket, mut seen) = (first, 0);
    shares.map(|share| {
        let rank = ((f64::from(count) * share).ceil() as u32).clamp(1, count.max(1));
        while seen < rank && bucket < end {
            let of = |part: &&Histogram| part.counts.get(bucket.wrapping_sub(part.first.into())).copied();
            seen += parts.iter().filter_map(of).sum::<u32>();
            bucket += 1;
        }
        scale.value(bucket.saturating_sub(1))
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    static COARSE: Scale = Scale { unit_ns: 1_000, steps: 4, buckets: 140, limit: 10_000 };
    static FINE: Scale = Scale { unit_ns: 1_000, steps: 16, buckets: 600, limit: 1 << 30 };

    #[test]
    fn what_is_empty_has_nothing_to_say() {
        let mut histogram = Histogram::new(&COARSE);
        assert_eq!((histogram.count(), histogram.quantile(0.5)), (0, 1_000));
        histogram.add(50_000);
        histogram.clear();
        histogram.add(u64::MAX);
        histogram.add(0);
        assert_eq!(histogram.quantile(0.5), 1_000);
        assert!(histogram.quantile(1.0) > 1 << 40);
    }

    #[test]
    fn what_is_past_weighs_less() {
        let mut histogram = Histogram::new(&COARSE);
        for _ in 0..100_000 {
            histogram.add(1_000_000);
        }
        assert!(histogram.count() <= 10_000, "{}", histogram.count());
        for _ in 0..10_000 {
            histogram.add(100_000_000);
        }
        assert!(histogram.quantile(0.5) >= 100_000_000, "{histogram:?}");
    }

    proptest! {
        #[test]
        fn a_quantile_is_no_shorter_and_little_longer(
            mut durations in vec(1_000_u64..100_000_000_000, 1..200), share in 0.01_f64..=1.0
        ) {
            let mut histogram = Histogram::new(&FINE);
            for duration in &durations {
                histogram.add(*duration);
            }
            durations.sort_unstable();
            let rank = (durations.len() as f64 * share).ceil() as usize;
            let (exact, found) = (durations[rank.max(1) - 1] as f64, histogram.quantile(share) as f64);
            prop_assert!(found >= exact * 0.999_999 && found <= exact * 1.0443, "{found} for {exact}");
        }

        #[test]
        fn two_together_are_one_of_all(
            one in vec(0_u64..100_000_000_000, 0..50), other in vec(0_u64..1_000_000, 0..50)
        ) {
            let of = |durations: &mut dyn Iterator<Item = &u64>| {
                let mut histogram = Histogram::new(&FINE);
                durations.for_each(|duration| histogram.add(*duration));
                histogram
            };
            let all = of(&mut one.iter().chain(&other));
            let mut both = of(&mut one.iter());
            both.add_all(&of(&mut other.iter()));
            prop_assert_eq!(all.count(), both.count());
            for share in [0.1, 0.5, 0.9, 1.0] {
                prop_assert_eq!(all.quantile(share), both.quantile(share));
            }
            let parts = [of(&mut one.iter()), of(&mut other.iter())];
            let shares = [0.2, 0.5, 0.95];
            let together = quantiles(&[&parts[0], &parts[1]], shares);
            for (share, found) in shares.into_iter().zip(together) {
                prop_assert_eq!(all.quantile(share), found);
            }
        }
    }
}
