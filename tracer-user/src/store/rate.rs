//! Exchanges by second of the trace.

use std::collections::VecDeque;

use crate::event::Timestamp;

/// Seconds that are remembered.
const SECONDS: usize = 120;
const SECOND: u64 = 1_000_000_000;

/// What ended in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Exchanges.
    pub exchanges: u32,
    /// Those that failed.
    pub failed: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// The last is the one that runs.
    seconds: VecDeque<Second>,
    /// Number of the last, counted from the clock's start.
    last: u64,
}

impl Rate {
    pub(super) fn pass(&mut self, now: Timestamp) {
        let number = now.0 / SECOND;
        if self.seconds.is_empty() {
            self.last = number;
            self.seconds.push_back(Second::default());
        }
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

    /// What ended in the latest whole seconds, oldest first.
    pub fn whole_seconds(&self) -> impl DoubleEndedIterator<Item = Second> + ExactSizeIterator {
        self.seconds.range(..self.seconds.len().saturating_sub(1)).copied()
    }

    /// Exchanges and failures a second, over the latest whole seconds, so many at most; in the first second, what there
    /// was until now.
    pub fn per_second(&self, seconds: usize) -> (f64, f64) {
        let whole = self.whole_seconds();
        let count = whole.len().min(seconds);
        if count == 0 {
            let only = self.seconds.back().copied().unwrap_or_default();
            return (only.exchanges.into(), only.failed.into());
        }
        let (exchanges, failed) = whole.rev().take(count).fold((0, 0), |(exchanges, failed), second| {
            (exchanges + u64::from(second.exchanges), failed + u64::from(second.failed))
        });
        (exchanges as f64 / count as f64, failed as f64 / count as f64)
    }
}
