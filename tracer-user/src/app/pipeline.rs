//! From events to what is printed: the same for a live trace and a recording.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use tracer_common::event::loss;

use super::{
    screen::Spool,
    writing::{Recording, Written},
};
use crate::{
    cli::{DetectArgs, OutputArgs},
    engine::{Control, Engine, EngineOptions, Update},
    event::{Event, wire::EventHeader},
    output::Output,
};

/// What was typed for the engine.
pub(super) fn options(output: &OutputArgs, detect: &DetectArgs) -> EngineOptions {
    EngineOptions { body_limit: output.body_limit, detectors: detect.options() }
}

/// Recording, engine and output, in this order.
pub(super) struct Pipeline {
    engine: Engine,
    output: Box<dyn Output + Send>,
    written: Option<Written>,
    recording: Option<Recording>,
    spool: Option<Arc<Mutex<Spool>>>,
    /// The output failed, and is not written to any more.
    broken: bool,
}

impl Pipeline {
    pub(super) fn new(
        options: EngineOptions,
        (output, written): (Box<dyn Output + Send>, Option<Written>),
        recording: Option<Recording>,
    ) -> Self {
        Self { engine: Engine::new(options), output, written, recording, spool: None, broken: false }
    }

    /// What comes from now on is held in memory as well.
    pub(super) fn hold_in(&mut self, spool: Arc<Mutex<Spool>>) {
        self.spool = Some(spool);
    }

    /// Takes events that follow each other directly; each is shown to `look` on the way.
    ///
    /// After an error of the output, events are still recorded, but nothing more is printed.
    pub(super) fn batch(&mut self, batch: &[u8], mut look: impl FnMut(&Event<'_>)) -> io::Result<()> {
        if let Some(spool) = &self.spool {
            spool.lock().unwrap_or_else(PoisonError::into_inner).take(batch);
        }
        let mut result = Ok(());
        // Events from `unrecorded` to `at` are recorded with one copy.
        let (mut unrecorded, mut at) = (0, 0);
        while at < batch.len() {
            let rest = &batch[at..];
            let Ok(event) = Event::decode(rest) else {
                // Another version's event, or one that no probe sends: its header still says where the next begins.
                self.record(batch, unrecorded..at);
                at += header_length(rest).max(size_of::<EventHeader>());
                unrecorded = at;
                continue;
            };
            let length = event.header().length as usize;
            if matches!(event, Event::Detached(_)) {
                // Nobody who takes nothing is waited for, neither here nor there.
                self.trace_ends();
            }
            if let (Event::Tick(_) | Event::Detached(_), Some(recording)) = (&event, &mut self.recording) {
                recording.record(&batch[unrecorded..at]);
                recording.tick(event);
                unrecorded = at + length;
            }
            look(&event);
            result = result.and(self.event(event));
            at += length;
        }
        self.record(batch, unrecorded..at);
        result
    }

    fn record(&mut self, batch: &[u8], events: Range<usize>) {
        if let (Some(recording), Some(events)) = (&mut self.recording, batch.get(events)) {
            recording.record(events);
        }
    }

    /// Takes one event, which is not recorded.
    pub(super) fn event(&mut self, mut event: Event<'_>) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        if let (Event::Tick(tick) | Event::Detached(tick), Some(recording)) = (&mut event, &self.recording) {
            // The only loss that happens on this side of the queue.
            let lost = recording.lost();
            tick.lost_events[loss::RECORDING] += lost.events;
            tick.lost_bytes[loss::RECORDING] += lost.bytes;
        }
        if matches!(event, Event::Detached(_)) {
            // From then on nothing is open any more.
            self.look();
        }
        let tick = matches!(event, Event::Tick(_));
        self.engine.handle_event(&event);
        let result = self.print();
        if tick {
            self.look();
        }
        result
    }

    fn look(&mut self) {
        self.output.look(self.engine.now(), &self.engine.live());
    }

    /// What the engine wants of the probes.
    pub(super) fn poll_control(&mut self) -> Option<Control> {
        self.engine.poll_control()
    }

    /// What the kernel is to be asked about for the output.
    pub(super) fn watched(&self) -> Vec<u64> {
        self.output.watched()
    }

    /// Hands what is printed on to the thread that writes, for a reader who may wait for it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.broken { Ok(()) } else { self.guard(|output| output.flush()) }
    }

    /// The terminal's width may have changed.
    pub(super) fn set_width(&mut self, width: Option<usize>) {
        self.output.set_width(width);
    }

    /// Ends it: what is open is printed, then the summary, and all of it is written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(recording) = &self.recording {
            recording.close();
        }
        self.trace_ends();
        if !self.engine.is_finished() {
            self.look();
        }
        self.engine.finish();
        self.print()?;
        self.flush()?;
        match &self.written {
            Some(written) if !self.broken => written.wait(),
            _ => Ok(()),
        }
    }

    fn trace_ends(&self) {
        if let Some(written) = &self.written {
            written.trace_ends();
        }
    }

    /// The recording, where there is one.
    pub(super) fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// Lines of results that were left out, as nobody took them in time.
    pub(super) fn lines_left_out(&self) -> u64 {
        self.written.as_ref().map_or(0, Written::lines_left_out)
    }

    fn print(&mut self) -> io::Result<()> {
        while let Some(update) = self.engine.poll() {
            if self.broken {
                continue;
            }
            if matches!(update, Update::Attached(_)) {
                self.output.set_realtime_offset(self.engine.realtime_offset_ns());
            }
            self.guard(|output| output.write(&update))?;
        }
        Ok(())
    }

    fn guard(&mut self, step: impl FnOnce(&mut dyn Output) -> io::Result<()>) -> io::Result<()> {
        let result = step(&mut *self.output);
        self.broken = result.is_err();
        result
    }
}

fn header_length(bytes: &[u8]) -> usize {
    zerocopy::FromBytes::read_from_prefix(bytes).map_or(0, |(header, _): (EventHeader, _)| header.length as usize)
}
