//! Counts over time in constant memory. The buckets get wider as time passes.

use crate::event::Timestamp;

/// Number of buckets: many for each column of a screen, so that columns have similar numbers of them.
const BUCKETS: usize = 2_048;
/// Width of the first buckets in nanoseconds.
const FINEST_NS: u64 = 1 << 20;

/// The counts.
#[derive(Debug, Default)]
pub struct Histogram {
    start: Timestamp,
    width: u64,
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts a moment. An earlier one than the first counts as the first.
    pub fn add(&mut self, time: Timestamp) {
        if self.counts.is_empty() {
            (self.start, self.width) = (time, FINEST_NS);
        }
        let since = time.since(self.start);
        while since / self.width >= BUCKETS as u64 {
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.width *= 2;
        }
        let index = (since / self.width) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
    }

    /// Start and count of each bucket that is not empty.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, u64)> {
        let time = |index: usize| Timestamp(self.start.0 + index as u64 * self.width);
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(move |(index, count)| (time(index), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_any_time_and_loses_none() {
        let mut histogram = Histogram::default();
        let mut time = 5_000;
        for step in 0..100_000_u64 {
            histogram.add(Timestamp(time));
            time += (step % 7) * (step % 11) * 1_000_000;
        }
        histogram.add(Timestamp(u64::MAX));
        histogram.add(Timestamp(0));
        assert!(histogram.counts.len() <= BUCKETS);
        assert_eq!(histogram.iter().map(|(_, count)| count).sum::<u64>(), 100_002);
        assert_eq!(histogram.iter().next().map(|(time, _)| time), Some(Timestamp(5_000)));
    }
}
