//! Retry chains.

mod evidence;

use std::time::Duration;

pub use evidence::{Attempt, Caller, Pattern, RetryEvidence, RetryResult};

use super::{About, Detect, Findings, Observation, threshold::thresholds};
use crate::event::Timestamp;

thresholds! {
    /// What the retry detector goes by.
    pub struct RetryThresholds {
        /// A failed call waits so long for its first retry
        window: Duration = Duration::from_mins(1),
    }
}

/// Finds retry chains.
#[derive(Debug)]
pub struct Retry {
    thresholds: RetryThresholds,
}

impl Detect for Retry {
    type Thresholds = RetryThresholds;
    type Evidence = RetryEvidence;
    const ABOUT: About = About {
        looks_for: "a call that failed and is made again: how often, with what backoff, and how it ends",
        example: "POST gateway:8080/v1/charges was given up after 4 attempts (last: 503); the caller got 502",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds }
    }

    fn observe(&mut self, _observation: &Observation<'_>, _now: Timestamp, _findings: &mut Findings) {
        let _ = &self.thresholds;
    }
}
