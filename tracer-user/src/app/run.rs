//! `pidtap run`: traces a command from its first byte to its exit status.

use std::{ffi::OsStr, io, path::Path, process::ExitStatus, sync::Arc, time::Duration};

use rustix::process::Signal;

use super::{
    Exit, block_on,
    marking::Marking,
    message::say,
    relay,
    screen::{self, Recorded, Running},
    signals::{Signals, hangup_is_ignored},
    sinks::{self, Source},
    trace::{Ending, Plan, Trace},
};
use crate::{
    cli,
    host::{
        confine::Duty,
        identity::Identity,
        launch::{self, Held, Launched, Streams},
        limits::Given,
        privilege,
        process::{self, Permit, Target},
    },
    text::escape::{Foreign, Visible},
};

/// Runs and traces a command. Gives its exit status, unless pidtap failed before the command ran.
pub(super) fn run(args: &cli::Run, given: &Given) -> anyhow::Result<Exit> {
    let Some((command, rest)) = args.command.split_first() else {
        // The command line requires one.
        return Ok(Exit::Usage);
    };
    process::check_initial_pid_namespace()?;
    let permit = Permit::this()?;
    let identity = Identity::of_command(args.user.as_deref())?;
    privilege::check()?;
    let mut sinks = sinks::open(&args.output, Source::Trace, Marking::of_trace(&args.output)?)?;
    let planned = sinks.screens.take();
    let stdout = if planned.is_some() {
        // The command must not write over the screens.
        Streams::Piped
    } else if sinks.standard_output {
        // Output of the command must not mix with the results, nor look like one. A child that outlives the command
        // must not keep a reader of the results waiting.
        Streams::StdoutToStderr
    } else {
        Streams::Own
    };
    let mut launched = Launched::spawn(command, rest, stdout, identity.as_ref(), given)?;
    if let Some(identity) = &identity {
        say(&as_whom(command, identity, args.user.is_some()));
    }
    let target = Target { name: name_of(command), ..Target::find(launched.pid())? };
    let (recorded, spool) = Recorded::of_trace(args.trace.record.as_deref(), sinks.marking);
    let plan = Plan {
        targets: vec![target],
        permit,
        output: &args.output,
        detect: &args.detect,
        trace: &args.trace,
        sinks,
        launched: true,
        spool: spool.filter(|_| planned.is_some()),
    };
    block_on(async {
        let mut signals = Signals::new(hangup_is_ignored())?;
        let mut trace = Trace::start(plan)?;
        let mut screens = super::start(planned, recorded, &mut signals)?;
        let mut relays = Vec::new();
        if let Some(screens) = &screens {
            let (stdout, stderr) = launched.take_output();
            if let Some(stdout) = stdout {
                relays.push(relay::start(stdout, Arc::clone(&screens.shared.messages), io::stdout)?);
            }
            if let Some(stderr) = stderr {
                relays.push(relay::start(stderr, Arc::clone(&screens.shared.messages), io::stderr)?);
            }
        }
        super::confine_main(Duty::Signal)?;
        launched.release()?;
        let outcome = follow(&mut trace, &mut launched, &mut signals, screens.as_mut()).await;
        let finished = trace.finish(&mut signals).await;
        let had_screens = screens.is_some();
        let is_left = matches!(outcome, Ok(Ending::Signal) | Err(_));
        if is_ended(&mut launched).await {
            relay::drain(&relays);
        }
        super::end(screens, !is_left, &mut signals).await?;
        if outcome? == Ending::Signal {
            let (command, pid) = (launched.command().to_owned(), launched.pid());
            if !had_screens {
                say(&format!("`{command}` ({pid}) keeps running"));
                finished?;
                return Ok(Exit::Done);
            }
            // pidtap relays its output: without a reader it would fail.
            say(&format!(
                "`{command}` ({pid}) keeps running without being traced; its output follows, and Ctrl-C goes to it"
            ));
        }
        if let Err(error) = finished {
            say(&super::in_one_line(&error));
        }
        let status = wait(&mut launched, &mut signals, had_screens).await?;
        relay::drain(&relays);
        let Some(status) = status else {
            say(&format!("`{}` ({}) keeps running", launched.command(), launched.pid()));
            return Ok(Exit::Done);
        };
        Ok(Exit::Command(launch::exit_status_of(status)))
    })
}

async fn is_ended(launched: &mut Launched) -> bool {
    tokio::time::timeout(Duration::ZERO, launched.wait_async()).await.is_ok()
}

/// Waits for the command, which is no longer traced; `None` where it keeps running. Where pidtap relays its output,
/// signals are passed on to it.
async fn wait(launched: &mut Launched, signals: &mut Signals, passes_on: bool) -> anyhow::Result<Option<ExitStatus>> {
    let mut forwarded = false;
    loop {
        tokio::select! {
            status = launched.wait_async() => return Ok(Some(status?)),
            signal = signals.recv() => match signal {
                // The command is in its own process group.
                Signal::TSTP => {
                    forward(launched, signal);
                    screen::stop_all();
                    forward(launched, Signal::CONT);
                }
                _ if !passes_on || forwarded => return Ok(None),
                signal => {
                    forwarded = true;
                    forward(launched, signal);
                }
            }
        }
    }
}

/// Waits until there is a reason to end. The first signal is for the command (Ctrl-C reaches it directly, others are
/// passed on), and tracing goes on to see its end. The second signal ends tracing.
async fn follow(
    trace: &mut Trace,
    launched: &mut Launched,
    signals: &mut Signals,
    mut screens: Option<&mut Running>,
) -> anyhow::Result<Ending> {
    let mut signalled = false;
    let mut ended = false;
    loop {
        tokio::select! {
            ending = trace.wait_without_signals() => return Ok(ending),
            () = screen::left(screens.as_deref_mut()) => return Ok(Ending::Signal),
            signal = signals.recv() => {
                if screens.as_ref().is_some_and(|screens| screens.take_signal(signal)) {
                    continue;
                }
                if ended || signalled {
                    // Only children of the command are left, or the command does not end.
                    return Ok(if ended { Ending::Extinct } else { Ending::Signal });
                }
                signalled = true;
                // Without screens, the command is in our process group and has received it directly.
                if signal != Signal::INT || screens.is_some() {
                    forward(launched, signal);
                }
                say(&format!("waiting for `{}` to exit; press Ctrl-C again to stop tracing", launched.command()));
            }
            status = launched.wait_async(), if !ended => {
                status?;
                ended = true;
                if signalled {
                    return Ok(Ending::Extinct);
                }
            }
        }
    }
}

/// Passes a signal on. Where the kernel refuses, the command does not receive it, and a message reports that.
fn forward(launched: &Launched, signal: Signal) {
    if let Err(error) = launched.forward(signal) {
        let lacks = Duty::Signal.missing();
        let lacks = if lacks.is_empty() { lacks } else { format!("; pidtap lacks {lacks}") };
        say(&format!("cannot forward the signal to `{}` ({error}{lacks})", launched.command()));
    }
}

/// Message about the user that the command runs as.
fn as_whom(command: &OsStr, identity: &Identity, wanted: bool) -> String {
    let command = command.to_string_lossy();
    let command = Visible(&command);
    if wanted {
        format!("`{command}` runs as {identity}")
    } else {
        format!("`{command}` runs as {identity}, who ran sudo; use `--user root` to run it as root")
    }
}

/// Name of the process once it executes the command: the kernel takes the file name, cut to 15 bytes.
fn name_of(command: &OsStr) -> Foreign {
    let name = Path::new(command).file_name().unwrap_or(command).to_string_lossy();
    name[..name.floor_char_boundary(15)].into()
}

/// Executes the hidden command that becomes the command of `run`.
pub(super) fn hold(args: &cli::Hold) -> Exit {
    let Some((command, rest)) = args.command.split_first() else { return Exit::Usage };
    let held = Held { inode: args.inode, ids: args.ids.as_ref(), limits: args.limits.as_ref() };
    let (status, message) = launch::hold_and_exec(&args.pipe, held, command, rest);
    if let Some(message) = message {
        say(&message);
    }
    Exit::Command(status)
}
