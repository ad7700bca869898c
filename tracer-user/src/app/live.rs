//! A live trace: from targets to the last line.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, sync_channel},
    },
};

use anyhow::{Context as _, bail};
use procfs::process::Process;
use rustc_hash::FxHashSet;
use rustix::{
    process as process_signal,
    time::{ClockId, clock_gettime},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

use super::{
    marking::Marking,
    pipeline::{self, Pipeline},
    population::Population,
    probing::{self, Probing},
    say,
    screen::{self, Running, Spool},
    sink::Sink,
    worker::{Notice, Worker},
    writing::Recording,
};
use crate::{
    cli::{DetectArgs, OutputArgs, TraceArgs},
    event::{
        Event, SocketInode,
        wire::{AttachedEvent, EventHeader, flag},
    },
    host::{
        capture::{Capture, CaptureOptions, Handle},
        confine::{self, Duty},
        file::{self, Identity, Opened},
        process::{self, Permit, Target},
        sockdiag::{self, Prober},
        task::Wanted,
    },
    recording::Header,
    text::escape::Foreign,
};

/// Everything that is decided before the probes are loaded.
pub(super) struct Plan<'a> {
    /// The processes that were named.
    pub(super) targets: Vec<Target>,
    /// Whose processes may be traced.
    pub(super) permit: Permit,
    pub(super) output: &'a OutputArgs,
    pub(super) detect: &'a DetectArgs,
    pub(super) trace: &'a TraceArgs,
    /// Where the results go. Opened before anything else: what cannot be written need not be traced.
    pub(super) sink: Sink,
    /// The target was started by us, and waits.
    pub(super) launched: bool,
    /// What comes is held here as well, for screens that may be asked to save it.
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

/// Why a trace is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// No traced process is left.
    Extinct,
    /// The time that was asked for has passed.
    Duration,
    /// Ctrl-C, or another signal to end.
    Signal,
    /// Results cannot be written.
    OutputFailed,
}

impl Trace {
    /// Loads the probes and begins. When this returns, every call of the targets is seen.
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let Plan { targets, permit, output, detect, trace, sink, launched, spool } = plan;
        let recording =
            trace.record.as_deref().map(|path| recording(path, output.force, &sink, launched)).transpose()?;
        let follow = trace.follows();
        let named: Vec<u32> = targets.iter().map(|target| target.pid).collect();
        let mut children = if follow { process::descendants(&named) } else { Vec::new() };
        let before = children.len();
        children.retain(|child| permit.check(child).is_ok());
        if children.len() < before {
            say(&format!(
                "{} children run as other users and are not traced; with `sudo` they are",
                before - children.len()
            ));
        }
        let mut all: Vec<u32> = named.iter().copied().chain(children.iter().map(|child| child.pid)).collect();
        let capture = Capture::start(&CaptureOptions {
            targets: all.clone(),
            follow,
            ring_size: trace.ring_size.0,
            call_capture: trace.call_capture.0,
            owner: permit.owner(),
            ..CaptureOptions::default()
        })?;
        let (targets, vanished) = process::confirm_all(targets)?;
        for vanished in vanished {
            say(&vanished.to_string());
        }
        // Once more: one may have executed a program of another user before the probes were there to see it.
        // One that waits is pidtap itself still, with its capabilities.
        for target in targets.iter().filter(|_| !launched) {
            permit.check(target)?;
        }
        for missing in capture.missing_tracepoints() {
            say(&format!("this kernel has no tracepoint {missing}: what it tells is not shown"));
        }
        for target in targets.iter().filter(|target| process::is_32_bit(target.pid)) {
            say(&format!(
                "{} ({}) is a 32-bit program: its system calls have other numbers: they are not seen",
                target.name, target.pid
            ));
        }
        let handle = capture.handle();
        children.retain(|child| {
            let is_permitted = permit.check(child).is_ok();
            if !is_permitted {
                leave_out(child.pid, &mut all, &handle);
            }
            is_permitted
        });
        if follow {
            add_late_children(&named, &permit, &mut children, &mut all, &handle);
        }
        let mut prober = Prober::new();
        let prelude = prelude(&targets, &children, &mut prober, &handle, trace, launched);
        let (notice_sender, notices) = unbounded_channel();
        let mut pipeline = Pipeline::new(pipeline::options(output, detect), (sink.output, sink.written), recording);
        if let Some(spool) = spool {
            pipeline.hold_in(spool);
        }
        let worker = Worker {
            capture,
            pipeline,
            population: Population::new(all, follow),
            probing: Probing::start(prober, handle.clone()),
            terminal: sink.terminal,
            notices: notice_sender,
        };
        let (result_sender, result) = sync_channel(1);
        confine::spawn("pidtap-engine", Duty::Maps, move || {
            // Nobody asks for it only when this process ends anyway.
            let _ = result_sender.send(worker.run(&prelude));
        })
        .context("cannot start the thread that rebuilds the exchanges; check the limit of processes (`ulimit -u`)")?;
        say(&format!("attached to {}; Ctrl-C ends", describe(&targets, children.len())));
        Ok(Self {
            handle,
            notices,
            result,
            deadline: trace.duration.map(|duration| Instant::now() + duration),
            stopped: false,
        })
    }

    /// Waits until there is a reason to end; that the user has left the screens is one.
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

    /// Waits until there is a reason to end other than a signal. Can be dropped and called again.
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

    /// Removes the probes, and waits until all that they saw is printed. A second signal gives up on that.
    pub(super) async fn finish(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        self.stop();
        loop {
            tokio::select! {
                // To stop is not to give up. Screens that are there still do it; without them the terminal is as it was.
                signal = signals.recv() => if signal != process_signal::Signal::TSTP {
                    bail!("ended at once by a second signal: what was not printed yet is missing");
                },
                notice = self.notices.recv() => match notice {
                    Some(Notice::Finished) | None => break,
                    Some(_) => {}
                },
            }
        }
        match self.result.recv() {
            Ok(Ok(())) => Ok(()),
            // Who read the results has seen enough.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Err(error)) => {
                Err(anyhow::Error::new(error).context("cannot write the results; what was written before is good"))
            }
            // It panicked, and the reason was printed.
            Err(_) => bail!("the thread that rebuilds the exchanges ended early; please report what it said"),
        }
    }

    fn stop(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.handle.stop();
        }
    }
}

/// The signals that end a trace.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`.
    hangup: Option<Signal>,
    /// Only screens, which must give the terminal back first, take it.
    stop: Option<Signal>,
}

impl Signals {
    /// `ignores_hangup`: [`hangup_is_ignored`].
    pub(super) fn new(ignores_hangup: bool) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            hangup: if ignores_hangup { None } else { Some(listen(SignalKind::hangup())?) },
            interrupt: listen(SignalKind::interrupt())?,
            // The last one: with it, all are there.
            terminate: listen(SignalKind::terminate())?,
            stop: None,
        })
    }

    /// From now on Ctrl-Z and the like are taken as well.
    pub(super) fn take_stop(&mut self) -> anyhow::Result<()> {
        let kind = SignalKind::from_raw(process_signal::Signal::TSTP.as_raw());
        self.stop = Some(signal(kind).context("cannot listen to signals")?);
        Ok(())
    }

    /// The next of them.
    pub(super) async fn recv(&mut self) -> process_signal::Signal {
        tokio::select! {
            _ = self.interrupt.recv() => process_signal::Signal::INT,
            _ = self.terminate.recv() => process_signal::Signal::TERM,
            () = next(self.hangup.as_mut()) => process_signal::Signal::HUP,
            () = next(self.stop.as_mut()) => process_signal::Signal::TSTP,
        }
    }
}

async fn next(signal: Option<&mut Signal>) {
    match signal {
        // It ends with the runtime only, and then nobody waits any more.
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether pidtap was started with the hangup signal ignored (`nohup`), and is to outlive its terminal. A thread that has given up
/// its access to files cannot tell.
pub(super) fn hangup_is_ignored() -> bool {
    let ignored = Process::myself().and_then(|own| own.status()).map_or(0, |status| status.sigign);
    ignored >> (process_signal::Signal::HUP.as_raw() - 1) & 1 != 0
}

/// The process is no target any more.
fn leave_out(pid: u32, all: &mut Vec<u32>, handle: &Handle) {
    all.retain(|known| *known != pid);
    if let Err(error) = handle.remove_target(pid) {
        say(&format!("cannot leave out process {pid}: {error}"));
    }
}

/// Children that were started after the processes were listed, but before the probes saw forks, are in neither.
fn add_late_children(named: &[u32], permit: &Permit, children: &mut Vec<Target>, all: &mut Vec<u32>, handle: &Handle) {
    /// A child that is added may have had children meanwhile. From then on the kernel follows, so this ends soon.
    const ROUNDS: usize = 8;
    for _ in 0..ROUNDS {
        let late: Vec<Target> =
            process::descendants(named).into_iter().filter(|child| is_late(child, all, permit)).collect();
        if late.is_empty() {
            return;
        }
        for child in late {
            if let Err(error) = handle.add_target(child.pid) {
                say(&format!("cannot follow the child {} ({}): {error}", child.pid, child.name));
            }
            all.push(child.pid);
            // After it was added: from then on the probes look at each `exec`.
            if permit.check(&child).is_err() {
                leave_out(child.pid, all, handle);
            } else {
                children.push(child);
            }
        }
    }
}

fn is_late(child: &Target, all: &[u32], permit: &Permit) -> bool {
    !all.contains(&child.pid) && permit.check(child).is_ok()
}

fn recording(path: &Path, force: bool, results: &Sink, launched: bool) -> anyhow::Result<Recording> {
    let command = if launched { Identity::of(io::stdout()) } else { None };
    // Two that write to one file make neither.
    let taken: Vec<(Identity, &'static str)> = [
        (results.identity, "the results go"),
        (Identity::of(io::stderr()), "what pidtap says goes"),
        (command, "what the command writes goes"),
    ]
    .into_iter()
    .filter_map(|(identity, by)| Some((identity?, by)))
    .collect();
    let what = || format!("cannot record to {}", Foreign::from(path));
    let opened = file::create(path, file::Options { force, taken: &taken }).with_context(what)?;
    if let Opened::Pipe(_) = &opened {
        say(&format!(
            "{} is a named pipe that nobody reads yet: the recording waits for a reader",
            Foreign::from(path)
        ));
    }
    Recording::start(opened, header(results.marking)).with_context(what)
}

/// What recordings of this machine begin with.
pub(super) fn header(marking: Marking) -> Header {
    let system = rustix::system::uname();
    Header {
        created_by: "pidtap".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        arch: system.machine().to_string_lossy().into_owned(),
        mark_key: marking.kept(),
    }
}

/// The events that come before all others: who is traced, which connections are there, and that tracing has begun.
fn prelude(
    targets: &[Target],
    children: &[Target],
    prober: &mut Prober,
    handle: &Handle,
    trace: &TraceArgs,
    launched: bool,
) -> Vec<u8> {
    let mut events = Vec::new();
    let time = sockdiag::now();
    for (processes, named) in [(targets, true), (children, false)] {
        for process in processes {
            process.encode_found(time, named, &mut events);
        }
    }
    let pids: Vec<u32> = targets.iter().chain(children).map(|process| process.pid).collect();
    let found = prober.find(&pids, &mut events);
    for note in &found.notes {
        say(note);
    }
    for event in probing::events(&events) {
        if let Event::Socket(socket) = event {
            // Without it, only its first bytes announce the connection.
            let _ = handle.watch(SocketInode(socket.connection));
        }
    }
    if !launched {
        add_threads(&pids, prober, &mut events);
    }
    let time = sockdiag::now();
    let attached = AttachedEvent {
        header: EventHeader {
            time_ns: time.0,
            kind: 0,
            flags: if launched { flag::LAUNCHED } else { 0 },
            length: 0,
            tgid: 0,
            tid: 0,
        },
        realtime_offset_ns: nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Monotonic),
        call_capture: trace.call_capture.0,
        ring_size: trace.ring_size.0,
    };
    Event::Attached(attached).encode(&mut events);
    events
}

/// What the threads do before anything is seen of them: a call that hangs already is waited for by one.
fn add_threads(pids: &[u32], prober: &mut Prober, events: &mut Vec<u8>) {
    /// So many processes delay the attach by some 20 ms at most.
    const PROCESSES: usize = 16;
    let connections = FxHashSet::default();
    for pid in pids.iter().take(PROCESSES) {
        probing::look(prober, *pid, Wanted { tids: &[], connections: &connections, after: 0 }, events);
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// `nginx (12), worker (13) and 2 children`.
fn describe(targets: &[Target], children: usize) -> String {
    const NAMED: usize = 5;
    let mut names: Vec<String> =
        targets.iter().take(NAMED).map(|target| format!("{} ({})", target.name, target.pid)).collect();
    if targets.len() > NAMED {
        names.push(format!("{} more", targets.len() - NAMED));
    }
    let text = names.join(", ");
    match children {
        0 => text,
        1 => text + " and 1 child",
        count => format!("{text} and {count} children"),
    }
}
