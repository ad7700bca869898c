//! The thread of a live trace that feeds captured batches to the pipeline.

use std::{io, ops::ControlFlow};

use tokio::sync::mpsc::UnboundedSender;

use super::{message::say, pipeline::Pipeline, population::Population, queries::Queries, tty, writing::EventWriter};
use crate::{
    engine::Control,
    event::SocketInode,
    host::capture::{Capture, Handle, Mute},
};

/// A report of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// No traced process is alive.
    Extinct,
    /// No output takes anything more.
    OutputFailed,
    /// Everything is written; the thread ends.
    Finished,
}

/// State of the thread.
pub(super) struct Worker {
    pub(super) capture: Capture,
    pub(super) pipeline: Pipeline,
    pub(super) population: Population,
    pub(super) queries: Queries,
    pub(super) notices: UnboundedSender<Notice>,
}

impl Worker {
    /// Works until the capture is stopped and its last event is handled. `prelude` comes before all captured events.
    ///
    /// # Errors
    ///
    /// Those of [`Pipeline::finish`].
    pub(super) fn run(mut self, prelude: &[u8]) -> io::Result<()> {
        let handle = self.capture.handle();
        let mut goes_on = self.step(prelude, &handle);
        let mut said_extinct = false;
        let mut said: Vec<Said> = self.pipeline.recordings().iter().map(|_| Said::default()).collect();
        let mut said_lines = false;
        while let Some(batch) = self.capture.recv() {
            let step = self.step(&batch, &handle);
            self.capture.recycle(batch);
            if step.is_break() && goes_on.is_continue() {
                goes_on = step;
                // The receiver is gone only when the trace is over already.
                let _ = self.notices.send(Notice::OutputFailed);
            }
            if self.population.is_extinct() && !said_extinct {
                said_extinct = true;
                let _ = self.notices.send(Notice::Extinct);
            }
            self.say_missing_lines(&mut said_lines);
            self.say_missing_events(&mut said);
        }
        let result = self.pipeline.finish();
        self.say_totals();
        self.say_missing_lines(&mut said_lines);
        self.say_missing_events(&mut said);
        let _ = self.notices.send(Notice::Finished);
        result
    }

    /// Breaks once no output takes anything more.
    fn step(&mut self, batch: &[u8], handle: &Handle) -> ControlFlow<()> {
        self.pipeline.update_width(tty::width);
        let Self { pipeline, population, queries, .. } = self;
        pipeline.batch(batch, |event| {
            population.see(event);
            queries.see(event);
        })?;
        while let Some(control) = pipeline.poll_control() {
            obey(control, handle, queries);
        }
        if queries.is_time_to_watch() {
            queries.watch(&pipeline.watched());
        }
        queries.ask();
        // Batches come at the latest with each tick, so no line waits longer.
        self.pipeline.flush()
    }

    /// Reports, once, that lines are dropped.
    fn say_missing_lines(&self, said: &mut bool) {
        if self.pipeline.lines_left_out() > 0 && !std::mem::replace(said, true) {
            say("the reader of the results is too slow: lines are dropped, and their number is shown where they are \
                 missing");
        }
    }

    /// Reports, once for each recording, that it has ended early, and that events are dropped.
    fn say_missing_events(&self, said: &mut [Said]) {
        for (recording, said) in self.pipeline.recordings().iter().zip(said) {
            if let (Some(failure), false) = (recording.failure(), said.failure) {
                said.failure = true;
                say(&format!(
                    "recording stopped: {failure}; tracing continues, and the recording is valid up to this point; \
                     free some space, or record to another file system"
                ));
            }
            if recording.left_out().events > 0 && !said.left_out {
                said.left_out = true;
                say("writing the recording is too slow: events are dropped, and the recording contains their number");
            }
        }
    }

    /// Reports the numbers of dropped lines and events, at the end.
    fn say_totals(&self) {
        let lines = self.pipeline.lines_left_out();
        if lines > 0 {
            say(&format!("{lines} lines of results were dropped because the reader was too slow"));
        }
        self.pipeline.recordings().iter().for_each(say_total);
    }
}

fn say_total(recording: &EventWriter) {
    let left_out = recording.left_out();
    if left_out.events > 0 {
        say(&format!(
            "the recording lacks {} events ({} stream bytes) because writing was too slow",
            left_out.events, left_out.bytes
        ));
    }
    if !recording.is_written() {
        say("the recording is cut off: its reader took no data for some seconds; the recording is valid up to this \
             point");
    }
}

/// Reports about a recording that were given already.
#[derive(Default)]
struct Said {
    left_out: bool,
    failure: bool,
}

/// Passes a request of the engine on. Restraints only save work: where the kernel takes none, the engine discards the events itself.
fn obey(control: Control, handle: &Handle, queries: &mut Queries) {
    let _ = match control {
        Control::Mute { inode } => handle.mute(SocketInode(inode), Mute::Payload),
        Control::Skip { inode, direction, until } => handle.skip(SocketInode(inode), direction, until),
        Control::AskConnection { inode } => return queries.want_connection(inode),
        Control::AskThreads { pid, tid } => return queries.want_threads(pid, tid),
    };
}
