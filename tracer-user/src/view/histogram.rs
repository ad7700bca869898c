//! How many happened when, over any time in the same room: it gets coarser as time goes on.

use crate::event::Timestamp;

/// Many for each column of a screen, so that columns differ little in how many they have.
const BUCKETS: usize = 2_048;
/// Width of the first buckets.
const FINEST_NS: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Histogram {
    start: Timestamp,
    width: u64,
    counts: Vec<u64>,
}

impl Histogram {
    /// One happened. What happened before the first counts as with it.
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

    /// When, and how many.
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
