//! The thread of a live trace that takes the batches and makes of them what is printed.

use std::io;

use tokio::sync::mpsc::UnboundedSender;

use super::{pipeline::Pipeline, population::Population, probing::Probing, say, sink};
use crate::{
    engine::Control,
    event::SocketInode,
    host::capture::{Capture, Handle, Mute},
};

/// What the thread tells while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// No traced process lives any more.
    Extinct,
    /// Results cannot be written: there is no use in going on.
    OutputFailed,
    /// All is said; the thread ends.
    Finished,
}

/// What the thread works with.
pub(super) struct Worker {
    pub(super) capture: Capture,
    pub(super) pipeline: Pipeline,
    pub(super) population: Population,
    pub(super) probing: Probing,
    /// The output is a terminal, whose width may change.
    pub(super) terminal: bool,
    pub(super) notices: UnboundedSender<Notice>,
}

impl Worker {
    /// Works until the capture is stopped and its last event is handled. `prelude` comes before all that was captured.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub(super) fn run(mut self, prelude: &[u8]) -> io::Result<()> {
        let handle = self.capture.handle();
        let mut result = self.step(prelude, &handle);
        let mut said_extinct = false;
        let mut said = Said::default();
        while let Some(batch) = self.capture.recv() {
            let step = self.step(&batch, &handle);
            self.capture.recycle(batch);
            if step.is_err() && result.is_ok() {
                result = step;
                // The receiver is gone only when the trace is over already.
                let _ = self.notices.send(Notice::OutputFailed);
            }
            if self.population.is_extinct() && !said_extinct {
                said_extinct = true;
                let _ = self.notices.send(Notice::Extinct);
            }
            self.say_missing(&mut said);
        }
        let finished = self.pipeline.finish();
        self.say_totals();
        self.say_missing(&mut said);
        let _ = self.notices.send(Notice::Finished);
        result.and(finished)
    }

    fn step(&mut self, batch: &[u8], handle: &Handle) -> io::Result<()> {
        if self.terminal {
            self.pipeline.set_width(sink::width());
        }
        let Self { pipeline, population, probing, .. } = self;
        pipeline.batch(batch, |event| {
            population.see(event);
            probing.see(event);
        })?;
        while let Some(control) = pipeline.poll_control() {
            obey(control, handle, probing);
        }
        if probing.is_time_to_watch() {
            probing.watch(&pipeline.watched());
        }
        probing.ask();
        // A batch comes when there was something, and at the latest with the next tick: nobody waits longer.
        self.pipeline.flush()
    }

    /// What is missing, once: results that nobody takes in time, and what could not be recorded.
    fn say_missing(&self, said: &mut Said) {
        if self.pipeline.lines_left_out() > 0 && !said.results {
            said.results = true;
            say(
                "the results are not read as fast as they come: lines are left out, and counted where they are missing",
            );
        }
        let Some(recording) = self.pipeline.recording() else { return };
        if let (Some(failure), false) = (recording.failure(), said.failure) {
            said.failure = true;
            say(&format!(
                "the recording ends here: {failure}; tracing goes on, and what was recorded is good. Free some space, \
                 or record to another file system"
            ));
        }
        if recording.left_out().events > 0 && !said.recording {
            said.recording = true;
            say("the recording is not written as fast as events come: some are left out, and it says how many");
        }
    }

    /// At the end.
    fn say_totals(&self) {
        let lines = self.pipeline.lines_left_out();
        if lines > 0 {
            say(&format!("{lines} lines of results were left out, as they were not read in time"));
        }
        let Some(recording) = self.pipeline.recording() else { return };
        let left_out = recording.left_out();
        if left_out.events > 0 {
            say(&format!(
                "the recording lacks {} events ({} bytes of streams), as it was not written in time",
                left_out.events, left_out.bytes
            ));
        }
        if !recording.is_written() {
            say("the recording is cut off: nobody took the last of it for some seconds; what was taken is good");
        }
    }
}

/// What was said already.
#[derive(Default)]
struct Said {
    results: bool,
    recording: bool,
    failure: bool,
}

/// Restraints only spare work: where the kernel takes none, everything still comes, and is thrown away here.
fn obey(control: Control, handle: &Handle, probing: &mut Probing) {
    let _ = match control {
        Control::Mute { inode } => handle.mute(SocketInode(inode), Mute::Payload),
        Control::Skip { inode, direction, until } => handle.skip(SocketInode(inode), direction, until),
        Control::AskConnection { inode } => return probing.want_connection(inode),
        Control::AskThreads { pid, tid } => return probing.want_threads(pid, tid),
    };
}
