//! Takes what the engine found out, and puts it into the store.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::Shared;
use crate::{detector::Live, engine::Update, event::Timestamp, output::Output};

/// Updates that are put into the store at once: taking the store costs more than one of them.
const AT_ONCE: usize = 256;

/// See the module.
pub(in crate::app) struct ScreenOutput {
    shared: Arc<Shared>,
    waiting: Vec<Update>,
    /// Frames that had been drawn at the last look.
    frames: Option<u64>,
}

impl ScreenOutput {
    pub(in crate::app) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Vec::with_capacity(AT_ONCE), frames: None }
    }

    fn hand_over(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut store = self.shared.store();
        for update in &self.waiting {
            store.apply(update);
        }
        drop(store);
        // What the store did not keep is given up here, where nobody waits for the store.
        self.waiting.clear();
    }
}

impl Output for ScreenOutput {
    fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.shared.store().set_realtime_offset(nanoseconds);
    }

    /// Once a frame: a recording can pass hours of its time between two.
    fn wants_look(&self) -> bool {
        self.frames != Some(self.shared.frames.load(Ordering::Relaxed))
    }

    fn look(&mut self, now: Timestamp, live: &dyn Live) {
        self.hand_over();
        self.frames = Some(self.shared.frames.load(Ordering::Relaxed));
        self.shared.store().look(now, live);
    }

    fn write(&mut self, update: &Update) -> io::Result<()> {
        self.waiting.push(update.clone());
        if self.waiting.len() >= AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.shared.gone.load(Ordering::Relaxed) {
            // Who looked has left; what is written has no reader.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.hand_over();
        Ok(())
    }
}
