//! State that views are computed from.

use crate::{
    event::Timestamp,
    store::Store,
    text::{clock::Clock, redact::Redactor},
};

/// See the module.
#[derive(Clone, Copy)]
pub struct Viewpoint<'a> {
    /// Everything that can be shown.
    pub store: &'a Store,
    /// Hides secrets, unless they are to be shown.
    pub redactor: Redactor,
    /// Seconds to add to UTC for the times shown.
    pub utc_offset_s: i32,
}

impl Viewpoint<'_> {
    /// Local time of day: `04:05:06.123`.
    pub fn clock_time(&self, time: Timestamp) -> String {
        let mut clock = Clock::new(self.utc_offset_s);
        clock.set_offset(self.store.realtime_offset_ns());
        clock.micros(time)[11..23].iter().copied().map(char::from).collect()
    }

    /// True once tracing has ended: nothing changes any more.
    pub fn is_over(&self) -> bool {
        self.store.summary().is_some()
    }
}
