//! A value for each of the latest seconds of the trace.

use super::rate::seconds_passed;
use crate::event::Timestamp;

/// Number of seconds that are kept, the current one included.
const SECONDS: usize = 64;
const SECOND: u64 = 1_000_000_000;
/// Number of whole seconds that are kept.
pub const WHOLE_SECONDS: usize = 60;

/// A value for each of the latest seconds. A second without a value has `T::default()`.
#[derive(Clone, Debug)]
pub struct Recent<T> {
    seconds: [T; SECONDS],
    last: u64,
}

impl<T: Copy + Default> Default for Recent<T> {
    fn default() -> Self {
        Self { seconds: [T::default(); SECONDS], last: 0 }
    }
}

impl<T: Copy + Default> Recent<T> {
    /// The value of the second of this time; `None` if it is no longer kept.
    pub fn at(&mut self, time: Timestamp) -> Option<&mut T> {
        let second = time.0 / SECOND;
        if second > self.last {
            for passed in self.last.max(second.saturating_sub(SECONDS as u64)) + 1..=second {
                self.seconds[passed as usize % SECONDS] = T::default();
            }
            self.last = second;
        }
        (second + SECONDS as u64 > self.last).then(|| &mut self.seconds[second as usize % SECONDS])
    }

    fn get(&self, second: u64) -> T {
        let remembered = second <= self.last && second + SECONDS as u64 > self.last;
        if remembered { self.seconds[second as usize % SECONDS] } else { T::default() }
    }

    /// The value of the current second.
    pub fn running(&self, now: Timestamp) -> T {
        self.get(now.0 / SECOND)
    }

    /// The values of the whole seconds before `now`, oldest first.
    pub fn whole(&self, now: Timestamp) -> [T; WHOLE_SECONDS] {
        let end = now.0 / SECOND;
        std::array::from_fn(|index| {
            let ago = (WHOLE_SECONDS - index) as u64;
            end.checked_sub(ago).map_or(T::default(), |second| self.get(second))
        })
    }
}

impl Recent<u32> {
    /// The rate per second over at most `seconds` whole seconds since `began`, and the elapsed part of the current one. In the
    /// first second, the count so far.
    pub fn per_second(&self, seconds: usize, began: Timestamp, now: Timestamp) -> f64 {
        let whole = self.whole(now);
        let sum: u64 =
            whole.iter().rev().take(seconds).chain([&self.running(now)]).map(|count| u64::from(*count)).sum();
        sum as f64 / seconds_passed(seconds, began, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(milliseconds: u64) -> Timestamp {
        Timestamp(milliseconds * 1_000_000)
    }

    #[test]
    fn seconds_come_and_go() {
        let mut recent = Recent::<u32>::default();
        for at in [100_100, 100_900, 102_000, 160_000, 101_999] {
            *recent.at(time(at)).expect("not long ago") += 1;
        }
        let whole = recent.whole(time(160_500));
        assert_eq!((whole[0], whole[1], whole[2], whole[59]), (2, 1, 1, 0));
        assert_eq!(recent.running(time(160_500)), 1);
        assert!(recent.at(time(96_999)).is_none(), "long ago");
        assert_eq!(recent.whole(time(500_000)), [0; WHOLE_SECONDS]);
        *recent.at(time(500_000)).expect("now") += 7;
        assert_eq!(recent.whole(time(501_000))[59], 7);
        assert_eq!(recent.whole(time(501_000)).iter().sum::<u32>(), 7);
        assert_eq!(recent.whole(time(0)), [0; WHOLE_SECONDS]);
    }

    #[test]
    fn the_rate_is_that_of_the_seconds_there_were() {
        let mut recent = Recent::<u32>::default();
        for at in 0..30 {
            *recent.at(time(10_500 + at * 100)).expect("now") += 1;
        }
        let began = time(10_400);
        let tenths = |now| (recent.per_second(10, began, time(now)) * 10.0) as u32;
        assert_eq!([tenths(11_400), tenths(13_400), tenths(23_400), tenths(30_000)], [150, 100, 4, 0]);
    }
}
