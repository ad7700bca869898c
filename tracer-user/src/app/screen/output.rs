//! The sink of updates that fills the store.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use super::shared::{Shared, lock};
use crate::{analysis::detector::Live, engine::Update, event::Timestamp, output::UpdateSink};

/// Updates that are applied under one lock of the store, which costs more than an update.
const AT_ONCE: usize = 256;

/// Nanoseconds of trace time between two updates of the connections.
const CONNECTIONS_NS: u64 = 100_000_000;

/// The sink.
pub(in crate::app) struct ScreenOutput {
    shared: Arc<Shared>,
    waiting: Vec<Update>,
    /// Number of frames at the last look.
    frames: Option<u64>,
    /// Trace time of the last update of the connections.
    connections: Timestamp,
}

impl ScreenOutput {
    pub(in crate::app) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Vec::with_capacity(AT_ONCE), frames: None, connections: Timestamp(0) }
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
        // Updates that the store did not keep are dropped here, without the lock.
        self.waiting.clear();
    }
}

impl UpdateSink for ScreenOutput {
    fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.shared.store().set_realtime_offset(nanoseconds);
    }

    /// Takes the open calls once a frame: a recording can pass hours between two frames. Connections are also updated
    /// in between.
    fn look(&mut self, now: Timestamp, live: &dyn Live) {
        let frames = Some(self.shared.frames.load(Ordering::Relaxed));
        let is_new = self.frames != frames;
        if !is_new && now.since(self.connections) < CONNECTIONS_NS {
            return;
        }
        self.hand_over();
        self.connections = now;
        self.frames = frames;
        let mut store = self.shared.store();
        if is_new { store.look(now, live) } else { store.look_at_connections(now, live) }
    }

    fn watched(&self) -> Vec<u64> {
        lock(&self.shared.watched).clone()
    }

    fn write(&mut self, update: &Update) -> io::Result<()> {
        self.waiting.push(update.clone());
        if self.waiting.len() >= AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.shared.gone.load(Ordering::Relaxed) {
            // The user has left the screens.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.hand_over();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}
