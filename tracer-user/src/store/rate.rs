//! Exchanges by second of the trace.

use std::collections::VecDeque;

use crate::event::Timestamp;

/// Number of seconds that are kept.
const SECONDS: usize = 120;
const SECOND: u64 = 1_000_000_000;

/// Exchanges that ended in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Number of exchanges.
    pub exchanges: u32,
    /// Number of those that failed.
    pub failed: u32,
}

/// Exchanges by second.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// One entry per second. The last is the current second.
    seconds: VecDeque<Second>,
    /// Number of the current second since the clock's start.
    last: u64,
    began: Timestamp,
    now: Timestamp,
}

/// Duration of at most `seconds` whole seconds and the elapsed part of the current one. Neither the first second nor the
/// current one is whole: counted as whole seconds, they would make the rate of a short trace too low.
pub(super) fn seconds_passed(seconds: usize, began: Timestamp, now: Timestamp) -> f64 {
    let first = (now.0 / SECOND).saturating_sub(seconds as u64) * SECOND;
    now.since(began.max(Timestamp(first))).max(SECOND) as f64 / SECOND as f64
}

impl Rate {
    pub(super) fn pass(&mut self, now: Timestamp) {
        let number = now.0 / SECOND;
        if self.seconds.is_empty() {
            self.last = number;
            self.began = now;
            self.seconds.push_back(Second::default());
        }
        self.now = self.now.max(now);
        let passed = number.saturating_sub(self.last).min(SECONDS as u64);
        self.last = self.last.max(number);
        for _ in 0..passed {
            if self.seconds.len() == SECONDS {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Second::default());
        }
    }

    pub(super) fn add(&mut self, time: Timestamp, failed: bool) {
        self.pass(time);
        let ago = self.last.saturating_sub(time.0 / SECOND) as usize;
        if let Some(index) = self.seconds.len().checked_sub(ago + 1) {
            let second = &mut self.seconds[index];
            second.exchanges += 1;
            second.failed += u32::from(failed);
        }
    }

    /// Exchanges in the latest whole seconds, oldest first.
    pub fn whole_seconds(&self) -> impl DoubleEndedIterator<Item = Second> + ExactSizeIterator {
        self.seconds.range(..self.seconds.len().saturating_sub(1)).copied()
    }

    /// Exchanges and failures per second over at most `seconds` whole seconds and the elapsed part of the current one. In the
    /// first second, the counts so far.
    pub fn per_second(&self, seconds: usize) -> (f64, f64) {
        let taken = self.seconds.iter().rev().take(seconds + 1);
        let (exchanges, failed) = taken.fold((0, 0), |(exchanges, failed), second| {
            (exchanges + u64::from(second.exchanges), failed + u64::from(second.failed))
        });
        let passed = seconds_passed(seconds, self.began, self.now);
        (exchanges as f64 / passed, failed as f64 / passed)
    }
}
