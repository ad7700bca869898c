//! Executes the command line. This module may use all others.

mod detectors;
mod exit;
mod manual;
mod marking;
mod message;
mod panics;
mod pipeline;
mod population;
mod queries;
mod relay;
mod replay;
mod run;
mod screen;
mod signals;
mod sinks;
mod stderr;
mod trace;
mod tty;
mod user;
mod worker;
mod writing;

use std::io::{self, Write as _};

use anyhow::Context as _;
pub use exit::Exit;
use marking::Marking;
use message::say;
pub use panics::show_harmless as show_panics_harmless;
use screen::{Planned, Recorded, Running};
use signals::{Signals, hangup_is_ignored};
use sinks::Source;
use trace::{Ending, Plan, Trace};

use crate::{
    cli::{self, Cli, Command},
    demo::{self, Demo},
    host::{
        capture::{self, Capture, CaptureOptions},
        confine::{self, Duty},
        doctor::{self, DoctorOptions},
        limits::{self, Given, Need, Shortage},
        privilege,
        process::{self, Permit, Target},
    },
};

/// Does what the command line says, and says on standard error what could not be done. `given` are the limits of before.
pub fn run(cli: &Cli, mut given: Given) -> Exit {
    if let Err(shortage) = limits::prepare(need(cli), &mut given) {
        return refuse(&shortage);
    }
    let result = privilege::check_ids().map_err(anyhow::Error::from).and_then(|()| work(cli, &given));
    result.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return Exit::Done;
        }
        say(&in_one_line(&error));
        Exit::of(&error)
    })
}

/// Reports the limit that is too low.
pub fn refuse(shortage: &Shortage) -> Exit {
    say(&shortage.to_string());
    Exit::NotSupported
}

fn need(cli: &Cli) -> Need {
    let trace = |args: &cli::TraceArgs| Need::TRACE.with_ring(args.ring_size.0);
    match &cli.command {
        None => trace(&cli.attach.trace),
        Some(Command::Attach(args)) => trace(&args.trace),
        Some(Command::Demo(args)) => trace(&args.trace),
        Some(Command::Run(args)) => trace(&args.trace),
        Some(Command::Open(_)) => Need::OPEN,
        Some(Command::Doctor(_)) => Need::LOOK,
        Some(
            Command::Detectors(_)
            | Command::Completions(_)
            | Command::Man
            // These have the limits of the pidtap that started them.
            | Command::Hold(_)
            | Command::Search(_)
            | Command::DemoRole(_),
        ) => Need::WORDS,
    }
}

// A separate stack frame: the commands need more stack than pidtap may have before the limits are checked.
#[inline(never)]
fn work(cli: &Cli, given: &Given) -> anyhow::Result<Exit> {
    match &cli.command {
        None => attach(&cli.attach),
        Some(Command::Attach(args)) => attach(args),
        Some(Command::Open(args)) => replay::open(args),
        Some(Command::Demo(args)) => run_demo(args),
        Some(Command::Run(args)) => run::run(args, given),
        Some(Command::Doctor(args)) => examine(args),
        Some(Command::Detectors(args)) => detectors::list(args),
        Some(Command::Completions(args)) => manual::completions(args.shell),
        Some(Command::Man) => manual::page(),
        Some(Command::Hold(args)) => Ok(run::hold(args)),
        Some(Command::Search(args)) => {
            io::stdout().write_all(&doctor::search_executable(args.pid)?)?;
            Ok(Exit::Done)
        }
        Some(Command::DemoRole(args)) => {
            demo::run_role(&args.role, &args.args).map(|()| Exit::Done).map_err(anyhow::Error::from)
        }
    }
}

/// The error and its causes, each once: some messages contain their cause already.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let advice = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>().and_then(limits::advice));
    match advice.filter(|_| !text.contains("ulimit")) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

fn attach(args: &cli::Attach) -> anyhow::Result<Exit> {
    let permit = Permit::this()?;
    let resolved = process::resolve(&args.targets, &permit)?;
    privilege::check()?;
    for note in &resolved.notes {
        say(note);
    }
    trace(&args.output, &args.detect, &args.trace, resolved.targets, permit, || Ok(()))
}

fn run_demo(args: &cli::Demo) -> anyhow::Result<Exit> {
    process::check_initial_pid_namespace()?;
    privilege::check()?;
    let mut demo = Demo::start()?;
    say(&format!("the demo is a payments service on {} whose upstream fails and recovers", demo.payments_address()));
    let targets = vec![Target::find(demo.payments_pid())?];
    trace(&args.output, &args.detect, &args.trace, targets, Permit::this()?, || Ok(demo.begin()?))
}

fn examine(args: &cli::Doctor) -> anyhow::Result<Exit> {
    let trial = || {
        // The target is pidtap itself: it certainly exists, and makes no traffic.
        let options = CaptureOptions { targets: vec![std::process::id()], ..CaptureOptions::default() };
        match Capture::start(&options) {
            Ok(capture) => Ok(match capture.missing_tracepoints() {
                [] => "the probes were loaded, attached and removed".to_owned(),
                missing => {
                    format!("the probes were loaded and attached, without the tracepoints {}", missing.join(", "))
                }
            }),
            Err(error) => Err(error.to_string()),
        }
    };
    let options = DoctorOptions {
        target: args.target.as_deref(),
        carries_probes: capture::carries_probes(),
        ring_size: capture::DEFAULT_RING_SIZE,
        searcher: None,
        trial: Some(&trial),
    };
    let report = doctor::examine(&options);
    report.write(&mut io::stdout().lock())?;
    Ok(report.exit_class().map_or(Exit::Done, Exit::from))
}

/// Traces running processes until there is a reason to end. Calls `began` once every call of the targets is seen.
fn trace(
    output: &cli::OutputArgs,
    detect: &cli::DetectArgs,
    trace: &cli::TraceArgs,
    targets: Vec<Target>,
    permit: Permit,
    began: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let mut sinks = sinks::open(output, Source::Trace, Marking::of_trace(output)?)?;
    let planned = sinks.screens.take();
    let (recorded, spool) = Recorded::of_trace(trace.record.as_deref(), sinks.marking);
    let spool = spool.filter(|_| planned.is_some());
    let plan = Plan { targets, permit, output, detect, trace, sinks, launched: false, spool };
    block_on(async {
        // The handlers come before the probes, so that Ctrl-C ends the trace in order.
        let mut signals = Signals::new(hangup_is_ignored())?;
        let mut trace = Trace::start(plan)?;
        let mut screens = start(planned, recorded, &mut signals)?;
        began()?;
        confine_main(Duty::Open)?;
        let ending = trace.wait(&mut signals, screens.as_mut()).await;
        if ending == Ending::Extinct {
            say("all traced processes have exited");
        }
        let finished = trace.finish(&mut signals).await;
        end(screens, ending != Ending::Signal, &mut signals).await?;
        finished.map(|()| Exit::Done)
    })
}

/// Starts the screens, if there are any.
fn start(planned: Option<Planned>, recorded: Recorded, signals: &mut Signals) -> anyhow::Result<Option<Running>> {
    let Some(planned) = planned else { return Ok(None) };
    signals.take_stop()?;
    planned.start(None, recorded).map(Some)
}

/// Ends the screens. With `stay`, they end only once the user leaves them: their content is still useful.
async fn end(screens: Option<Running>, stay: bool, signals: &mut Signals) -> anyhow::Result<()> {
    let Some(mut screens) = screens else { return Ok(()) };
    if stay {
        loop {
            tokio::select! {
                () = screens.left() => break,
                signal = signals.recv() => {
                    if !screens.take_signal(signal) {
                        break;
                    }
                }
            }
        }
    }
    screens.end()
}

/// The first thread has started all others, and drops the privileges that this needed.
fn confine_main(duty: Duty) -> anyhow::Result<()> {
    confine::enter(duty).context("cannot drop privileges; if pidtap runs in a sandbox, try without it")
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals and timers; check the limit on open files (`ulimit -n`)")?
        .block_on(work)
}

/// True where the reader of the results has closed them: nothing is left to do, and nothing failed.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::anyhow!("disk full").context("writing failed: disk full").context("cannot record");
        assert_eq!(in_one_line(&error), "cannot record: writing failed: disk full");
    }
}
