//! A live trace: from the probes to the last line.

mod prelude;
mod processes;
mod recording;

use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, sync_channel},
    },
};

use anyhow::{Context as _, bail};
use processes::Processes;
use rustix::process::Signal;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

use super::{
    message::say,
    pipeline::{self, Pipeline},
    population::Population,
    queries::Queries,
    screen::{self, Running},
    signals::Signals,
    sinks::Sinks,
    worker::{Notice, Worker},
    writing::Spool,
};
use crate::{
    cli::{DetectArgs, OutputArgs, TraceArgs},
    host::{
        capture::{Capture, CaptureOptions, Handle},
        confine::{self, Duty},
        process::{Permit, Target},
        sockdiag::Inspector,
    },
};

/// Everything that is decided before the probes are loaded.
pub(super) struct Plan<'a> {
    /// The processes that were named.
    pub(super) targets: Vec<Target>,
    /// The processes that the user may trace.
    pub(super) permit: Permit,
    pub(super) output: &'a OutputArgs,
    pub(super) detect: &'a DetectArgs,
    pub(super) trace: &'a TraceArgs,
    /// The sinks of updates. They are opened first: without them there is no use in tracing.
    pub(super) sinks: Sinks,
    /// The target is the command of `run`, and waits.
    pub(super) launched: bool,
    /// Holds the events in memory for screens, whose user may save them.
    pub(super) spool: Option<Arc<Mutex<Spool>>>,
}

/// A trace that runs.
pub(super) struct Trace {
    handle: Handle,
    notices: UnboundedReceiver<Notice>,
    result: Receiver<io::Result<()>>,
    deadline: Option<Instant>,
    stopped: bool,
}

/// Reason why a trace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// No traced process is left.
    Extinct,
    /// The time of `--duration` has passed.
    Duration,
    /// Ctrl-C, or another signal to end; the user has left the screens.
    Signal,
    /// No output takes anything more.
    OutputFailed,
}

impl Trace {
    /// Loads the probes and begins. When this returns, every call of the targets is seen.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, a refusal of the kernel, or no target that is left.
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let Plan { targets, permit, output, detect, trace, sinks, launched, spool } = plan;
        let recording = trace.record.as_deref();
        let recording = recording.map(|path| recording::open(path, output.force, &sinks, launched)).transpose()?;
        let follow = trace.follows();
        let mut processes = Processes::list(targets, follow, permit);
        let capture = Capture::start(&CaptureOptions {
            targets: processes.all().to_vec(),
            follow,
            ring_size: trace.ring_size.0,
            call_capture: trace.call_capture.0,
            owner: permit.owner(),
            ..CaptureOptions::default()
        })?;
        processes.confirm(launched)?;
        for missing in capture.missing_tracepoints() {
            say(&format!("this kernel has no tracepoint {missing}: its events are not shown"));
        }
        let handle = capture.handle();
        processes.confirm_children(&handle);
        let mut inspector = Inspector::new();
        let prelude = prelude::events(&processes, &mut inspector, &handle, trace, launched);
        let mut pipeline =
            Pipeline::new(pipeline::options(output, detect), sinks.outputs, recording.into_iter().collect());
        if let Some(spool) = spool {
            pipeline.hold_in(spool);
        }
        let (notice_sender, notices) = unbounded_channel();
        let worker = Worker {
            capture,
            pipeline,
            population: Population::new(processes.all().iter().copied(), follow),
            queries: Queries::start(inspector, handle.clone()),
            notices: notice_sender,
        };
        let (result_sender, result) = sync_channel(1);
        confine::spawn("pidtap-engine", Duty::Maps, move || {
            // The receiver is gone only where this process ends anyway.
            let _ = result_sender.send(worker.run(&prelude));
        })
        .context("cannot start the engine thread; check the limit on processes (`ulimit -u`)")?;
        say(&format!("attached to {}; press Ctrl-C to stop", processes.describe()));
        Ok(Self {
            handle,
            notices,
            result,
            deadline: trace.duration.map(|duration| Instant::now() + duration),
            stopped: false,
        })
    }

    /// Waits until there is a reason to end.
    pub(super) async fn wait(&mut self, signals: &mut Signals, mut screens: Option<&mut Running>) -> Ending {
        loop {
            tokio::select! {
                signal = signals.recv() => {
                    if !screens.as_ref().is_some_and(|screens| screens.take_signal(signal)) {
                        return Ending::Signal;
                    }
                }
                ending = self.wait_without_signals() => return ending,
                () = screen::left(screens.as_deref_mut()) => return Ending::Signal,
            }
        }
    }

    /// Waits until there is a reason to end other than a signal. The future can be dropped, and the method called again.
    pub(super) async fn wait_without_signals(&mut self) -> Ending {
        let deadline = self.deadline;
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timeout => Ending::Duration,
            notice = self.notices.recv() => match notice {
                Some(Notice::Extinct) => Ending::Extinct,
                Some(Notice::OutputFailed | Notice::Finished) | None => Ending::OutputFailed,
            },
        }
    }

    /// Removes the probes, and waits until everything that they saw is written. A second signal ends the wait.
    ///
    /// # Errors
    ///
    /// Those of the outputs, unless their reader has seen enough.
    pub(super) async fn finish(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        self.stop();
        loop {
            tokio::select! {
                // Ctrl-Z stops the program; it does not end the wait.
                signal = signals.recv() => if signal != Signal::TSTP {
                    bail!("stopped at once by a second signal: pending output was discarded");
                },
                notice = self.notices.recv() => match notice {
                    Some(Notice::Finished) | None => break,
                    Some(_) => {}
                },
            }
        }
        match self.result.recv() {
            Ok(Ok(())) => Ok(()),
            // The reader has seen enough.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Err(error)) => {
                Err(anyhow::Error::new(error).context("cannot write the results; the output so far is valid"))
            }
            // The thread panicked, and printed why.
            Err(_) => bail!("the engine thread ended early; please report its last message"),
        }
    }

    fn stop(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.handle.stop();
        }
    }
}
