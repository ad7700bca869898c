//! The thread of a live trace that takes the batches and makes of them what is printed.

use std::io;

use tokio::sync::mpsc::UnboundedSender;

use super::{pipeline::Pipeline, population::Population, probing::Probing, say, sink};
use crate::{
    capture::{Capture, Handle, Mute},
    engine::Control,
    event::SocketInode,
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
        let mut said_recording = false;
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
            said_recording = said_recording || self.say_recording_failure();
        }
        let finished = self.pipeline.finish();
        if !said_recording {
            self.say_recording_failure();
        }
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

    /// Whether there was something to say.
    fn say_recording_failure(&self) -> bool {
        let failure = self.pipeline.recorder().and_then(|recorder| recorder.failure());
        if let Some(failure) = failure {
            say(&format!(
                "the recording ends here: {failure}; tracing goes on, and what was recorded is good. Free some space, \
                 or record to another file system"
            ));
        }
        failure.is_some()
    }
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
