//! Periodic calls: pollers, scrapers, loops.
//!
//! A call that is repeated after it *succeeded* has a rhythm. If it is also repeated in this rhythm after a failure, it
//! is no retry. The table has a fixed size with one slot per call; a call that displaces another in its slot is learned
//! anew.

use crate::event::Timestamp;

/// Number of slots.
const PLACES: usize = 2048;
/// Maximum number of successes per call that no later call has followed yet.
const TOKENS: usize = 4;

/// Start and end of a call.
type Span = (Timestamp, Timestamp);

/// Moving average and mean deviation.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    mean: f64,
    deviation: f64,
}

impl Average {
    fn add(&mut self, value: f64, count: u32) {
        let weight = (1.0 / f64::from(count.max(1))).max(0.25);
        if count > 1 {
            self.deviation += weight.max(0.5 / f64::from(count)) * ((value - self.mean).abs() - self.deviation);
        }
        self.mean += weight * (value - self.mean);
    }

    /// Whether the value matches the average of a steady series.
    fn expects(&self, value: f64, tolerance: f64, floor: f64) -> bool {
        let steady = self.deviation <= 0.2 * self.mean + floor;
        steady && (value - self.mean).abs() <= (tolerance * self.mean).max(2.0 * self.deviation) + floor
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    /// Number of repetitions after a success.
    repeats: u32,
    /// Nanoseconds from start to start.
    period: Average,
    /// Nanoseconds from end to start.
    rest: Average,
    tokens: [Option<Span>; TOKENS],
}

/// Explanation of a call that follows a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// No known habit explains the call.
    None,
    /// The call is made so often that this one may be independent.
    Busy,
    /// The call comes in its usual rhythm.
    Regular,
}

/// Rhythms of calls.
#[derive(Debug, Default)]
pub(super) struct Rhythms {
    places: Vec<Place>,
}

impl Rhythms {
    fn place(&mut self, key: u64) -> &mut Place {
        if self.places.is_empty() {
            self.places.resize(PLACES, Place::default());
        }
        let place = &mut self.places[(key >> 13) as usize % PLACES];
        if place.key != key {
            *place = Place { key, ..Place::default() };
        }
        place
    }

    /// Records a call that is no retry.
    pub(super) fn began(&mut self, key: u64, started: Timestamp) {
        let place = self.place(key);
        let Some(token) = place.tokens.iter_mut().filter(|token| token.is_some()).min_by_key(|token| **token) else {
            return;
        };
        let Some(before) = token.take() else { return };
        place.repeated(before, started);
    }

    /// Records a success.
    pub(super) fn succeeded(&mut self, key: u64, span: Span) {
        let place = self.place(key);
        // Replaces the oldest; `None` sorts first.
        if let Some(oldest) = place.tokens.iter_mut().min() {
            *oldest = Some(span);
        }
    }

    /// Records a call that continued its rhythm after a failure.
    pub(super) fn went_on(&mut self, key: u64, failed: Span, started: Timestamp) {
        self.place(key).repeated(failed, started);
    }

    /// Whether the call would have been made at this time without the failure.
    pub(super) fn habit(&mut self, key: u64, failed: Span, started: Timestamp) -> Habit {
        /// Deviation caused by two clocks and a scheduler, in nanoseconds.
        const FLOOR: f64 = 2e6;
        let place = self.place(key);
        if place.repeats == 0 {
            return Habit::None;
        }
        let period = started.since(failed.0) as f64;
        let rest = started.since(failed.1) as f64;
        // A single repetition may be chance, so it has to match more exactly.
        let tolerance = if place.repeats == 1 { 0.1 } else { 0.2 };
        // One or two beats may have been skipped.
        let beats =
            if place.period.mean > 50.0 * FLOOR { (period / place.period.mean).round().clamp(1.0, 3.0) } else { 1.0 };
        if place.period.expects(period / beats, tolerance, FLOOR) || place.rest.expects(rest, tolerance, FLOOR) {
            return Habit::Regular;
        }
        if place.repeats >= 3 && rest >= 0.1 * place.period.mean { Habit::Busy } else { Habit::None }
    }
}

impl Place {
    fn repeated(&mut self, before: Span, started: Timestamp) {
        self.repeats = self.repeats.saturating_add(1);
        self.period.add(started.since(before.0) as f64, self.repeats);
        self.rest.add(started.since(before.1) as f64, self.repeats);
    }
}
