//! The path from events to the sinks. A live trace and a replay use the same.

use std::{
    io,
    ops::{ControlFlow, Range},
    sync::{Arc, Mutex, PoisonError},
};

use tracer_common::event::loss;

use super::{
    message::say,
    writing::{EventWriter, LineState, Spool},
};
use crate::{
    cli::{DetectArgs, OutputArgs},
    engine::{Control, Engine, EngineOptions, Update},
    event::{Event, wire::EventHeader},
    output::UpdateSink,
    recording::Lost,
};

/// The options of the engine, from the command line.
pub(super) fn options(output: &OutputArgs, detect: &DetectArgs) -> EngineOptions {
    EngineOptions { body_limit: output.body_limit, detectors: detect.options() }
}

/// A sink of updates, and its state.
pub(super) struct Output {
    sink: Box<dyn UpdateSink + Send>,
    /// The thread that writes the lines of the sink; `None` for screens.
    lines: Option<LineState>,
    /// The lines go to a terminal, whose width may change.
    is_terminal: bool,
    /// The error that ended the output. It takes nothing more.
    failure: Option<io::Error>,
}

impl Output {
    /// An output of lines, whose thread has the state `lines`.
    pub(super) fn lines(sink: Box<dyn UpdateSink + Send>, lines: LineState, is_terminal: bool) -> Self {
        Self { sink, lines: Some(lines), is_terminal, failure: None }
    }

    /// The output that screens show.
    pub(super) fn screens(sink: Box<dyn UpdateSink + Send>) -> Self {
        Self { sink, lines: None, is_terminal: false, failure: None }
    }

    /// State of the thread that writes the lines; `None` for screens.
    pub(super) fn line_state(&self) -> Option<&LineState> {
        self.lines.as_ref()
    }

    fn takes(&self) -> bool {
        self.failure.is_none()
    }

    /// Runs one step, and ends the output where the step fails.
    fn guard(&mut self, step: impl FnOnce(&mut dyn UpdateSink) -> io::Result<()>) {
        if self.takes() {
            self.failure = step(&mut *self.sink).err();
        }
    }

    /// The reader of the output has seen enough: that is no failure.
    fn is_left(&self) -> bool {
        self.failure.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Ends the output, and waits until everything is written.
    fn finish(&mut self) {
        let lines = self.lines.clone();
        self.guard(|sink| {
            sink.finish()?;
            lines.map_or(Ok(()), |lines| lines.wait())
        });
    }
}

/// Takes the events, in this order: sinks of events, the engine, sinks of updates.
pub(super) struct Pipeline {
    engine: Engine,
    outputs: Vec<Output>,
    /// The failure of an output was reported.
    said_failure: bool,
    /// Sinks of events, each with a thread of its own.
    recordings: Vec<EventWriter>,
    spool: Option<Arc<Mutex<Spool>>>,
}

impl Pipeline {
    /// A pipeline of several outputs and recordings.
    pub(super) fn new(options: EngineOptions, outputs: Vec<Output>, recordings: Vec<EventWriter>) -> Self {
        Self { engine: Engine::new(options), outputs, said_failure: false, recordings, spool: None }
    }

    /// Holds the following events in memory as well.
    pub(super) fn hold_in(&mut self, spool: Arc<Mutex<Spool>>) {
        self.spool = Some(spool);
    }

    /// Takes events that follow each other directly, and shows each to `look`.
    ///
    /// Breaks once no output takes anything more; [`finish`](Self::finish) then gives the error. Events are still recorded.
    pub(super) fn batch(&mut self, batch: &[u8], mut look: impl FnMut(&Event<'_>)) -> ControlFlow<()> {
        if let Some(spool) = &self.spool {
            spool.lock().unwrap_or_else(PoisonError::into_inner).add(batch);
        }
        // Events from `unrecorded` to `at` are recorded with one copy.
        let (mut unrecorded, mut at) = (0, 0);
        while at < batch.len() {
            let rest = &batch[at..];
            let Ok(event) = Event::decode(rest) else {
                // An event of another version, or one that no probe sends: its header has its length all the same.
                self.record(batch, unrecorded..at);
                at += header_length(rest).max(size_of::<EventHeader>());
                unrecorded = at;
                continue;
            };
            let length = event.header().length as usize;
            if matches!(event, Event::Detached(_)) {
                // After this event, every wait for a reader is bounded.
                self.trace_ends();
            }
            if matches!(event, Event::Tick(_) | Event::Detached(_)) && !self.recordings.is_empty() {
                self.record(batch, unrecorded..at);
                self.recordings.iter_mut().for_each(|recording| recording.write_tick(event));
                unrecorded = at + length;
            }
            look(&event);
            self.event(event);
            at += length;
        }
        self.record(batch, unrecorded..at);
        if self.has_output() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn record(&mut self, batch: &[u8], events: Range<usize>) {
        if let Some(events) = batch.get(events) {
            self.recordings.iter_mut().for_each(|recording| recording.write(events));
        }
    }

    fn has_output(&self) -> bool {
        self.outputs.iter().any(Output::takes)
    }

    /// Takes one event, which is recorded already.
    fn event(&mut self, mut event: Event<'_>) {
        if !self.has_output() {
            return;
        }
        if let Event::Tick(tick) | Event::Detached(tick) = &mut event {
            // The only loss that happens in this process.
            for Lost { events, bytes } in self.recordings.iter().map(EventWriter::lost) {
                tick.lost_events[loss::RECORDING] += events;
                tick.lost_bytes[loss::RECORDING] += bytes;
            }
        }
        if matches!(event, Event::Detached(_)) {
            // After this event, nothing is open any more.
            self.look();
        }
        let tick = matches!(event, Event::Tick(_));
        self.engine.handle_event(&event);
        self.write_updates();
        if tick {
            self.look();
        }
    }

    fn look(&mut self) {
        let (now, live) = (self.engine.now(), self.engine.live());
        self.outputs.iter_mut().for_each(|output| output.sink.look(now, &live));
    }

    /// The next request of the engine to the probes or to the threads that query the kernel.
    pub(super) fn poll_control(&mut self) -> Option<Control> {
        self.engine.poll_control()
    }

    /// Inodes of the connections that the kernel is to be queried about for the outputs.
    pub(super) fn watched(&self) -> Vec<u64> {
        self.outputs.iter().flat_map(|output| output.sink.watched()).collect()
    }

    /// Hands all lines on to the threads that write.
    pub(super) fn flush(&mut self) -> ControlFlow<()> {
        self.outputs.iter_mut().for_each(|output| output.guard(|sink| sink.flush()));
        self.say_failure();
        if self.has_output() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Sets the width of the outputs to a terminal, where there is one.
    pub(super) fn update_width(&mut self, width: impl Fn() -> Option<usize>) {
        for output in self.outputs.iter_mut().filter(|output| output.is_terminal) {
            output.sink.set_width(width());
        }
    }

    /// Ends all outputs: writes what is open, then the summary, and waits until everything is written.
    ///
    /// # Errors
    ///
    /// The first failure of an output. A reader that has closed its output is a failure only where no output is left.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.recordings.iter().for_each(EventWriter::close);
        self.trace_ends();
        if !self.engine.is_finished() {
            self.look();
        }
        self.engine.finish();
        self.write_updates();
        self.outputs.iter_mut().for_each(|output| output.guard(|sink| sink.flush()));
        self.outputs.iter_mut().for_each(Output::finish);
        // Screens stay after the end of a recording, and show it.
        self.say_failure();
        let is_left = !self.has_output();
        let outputs = self.outputs.iter_mut().filter(|output| is_left || !output.is_left());
        // A failed output takes precedence over a closed one.
        let failure = outputs.filter(|output| output.failure.is_some()).min_by_key(|output| output.is_left());
        failure.and_then(|output| output.failure.take()).map_or(Ok(()), Err)
    }

    fn trace_ends(&self) {
        self.outputs.iter().filter_map(Output::line_state).for_each(LineState::trace_ends);
    }

    /// The sinks of events.
    pub(super) fn recordings(&self) -> &[EventWriter] {
        &self.recordings
    }

    /// Number of lines that were dropped because their readers were too slow.
    pub(super) fn lines_left_out(&self) -> u64 {
        self.outputs.iter().filter_map(Output::line_state).map(LineState::lines_left_out).sum()
    }

    fn write_updates(&mut self) {
        while let Some(update) = self.engine.poll() {
            let offset = matches!(update, Update::Attached(_)).then(|| self.engine.realtime_offset_ns());
            for output in self.outputs.iter_mut().filter(|output| output.takes()) {
                if let Some(offset) = offset {
                    output.sink.set_realtime_offset(offset);
                }
                output.guard(|sink| sink.write(&update));
            }
        }
    }

    /// Reports, once, the failure of one output of several; the trace goes on for the others.
    fn say_failure(&mut self) {
        if self.said_failure || !self.has_output() {
            return;
        }
        let failed = self.outputs.iter().find(|output| !output.takes() && !output.is_left());
        if let Some(error) = failed.and_then(|output| output.failure.as_ref()) {
            say(&format!("cannot write the results: {error}; the screens continue without them"));
            self.said_failure = true;
        }
    }
}

fn header_length(bytes: &[u8]) -> usize {
    zerocopy::FromBytes::read_from_prefix(bytes).map_or(0, |(header, _): (EventHeader, _)| header.length as usize)
}

#[cfg(test)]
mod tests;
