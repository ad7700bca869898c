//! What is repeated anyway: pollers, scrapers, loops.
//!
//! A call that is made again after it *succeeded* has a rhythm. Where a call that failed is made again in the same
//! rhythm, nobody has retried it. Kept in a table of fixed size, one place for each call; what falls on the place of
//! another displaces it, and is learned again.

use crate::event::Timestamp;

/// Calls whose rhythm is known at once.
const PLACES: usize = 2048;
/// Successes of a call that nothing has followed yet.
const TOKENS: usize = 4;

/// Start and end of a call.
type Span = (Timestamp, Timestamp);

/// A mean that follows, and how far values are from it.
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

    /// The value is one that would have come anyway.
    fn expects(&self, value: f64, tolerance: f64, floor: f64) -> bool {
        let steady = self.deviation <= 0.2 * self.mean + floor;
        steady && (value - self.mean).abs() <= (tolerance * self.mean).max(2.0 * self.deviation) + floor
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    /// Repetitions after a success.
    repeats: u32,
    /// From start to start.
    period: Average,
    /// From end to start.
    rest: Average,
    tokens: [Option<Span>; TOKENS],
}

/// What is said of a call that is made again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing is known that would explain it.
    None,
    /// It is made so often that it may be another's.
    Busy,
    /// It comes in the rhythm in which it always comes.
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

    /// The call was not a retry.
    pub(super) fn began(&mut self, key: u64, started: Timestamp) {
        let place = self.place(key);
        let Some(token) = place.tokens.iter_mut().filter(|token| token.is_some()).min_by_key(|token| **token) else {
            return;
        };
        let Some(before) = token.take() else { return };
        place.repeated(before, started);
    }

    /// The call succeeded.
    pub(super) fn succeeded(&mut self, key: u64, span: Span) {
        let place = self.place(key);
        // The oldest makes room: None sorts first.
        if let Some(oldest) = place.tokens.iter_mut().min() {
            *oldest = Some(span);
        }
    }

    /// The call failed, and this is the next, which goes on in its rhythm.
    pub(super) fn went_on(&mut self, key: u64, failed: Span, started: Timestamp) {
        self.place(key).repeated(failed, started);
    }

    /// Whether the call would have been made at this time without the failure.
    pub(super) fn habit(&mut self, key: u64, failed: Span, started: Timestamp) -> Habit {
        /// Two clocks and a scheduler.
        const FLOOR: f64 = 2e6;
        let place = self.place(key);
        if place.repeats == 0 {
            return Habit::None;
        }
        let period = started.since(failed.0) as f64;
        let rest = started.since(failed.1) as f64;
        // One repetition may be chance: then it must be the same more exactly.
        let tolerance = if place.repeats == 1 { 0.1 } else { 0.2 };
        // A beat or two may have been left out.
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
