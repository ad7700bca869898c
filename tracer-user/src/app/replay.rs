//! `pidtap open`: replays a recording through the pipeline.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

use anyhow::{Context as _, bail};

use super::{
    Exit, block_on, is_broken_pipe,
    marking::Marking,
    message::say,
    pipeline::{self, Output, Pipeline},
    screen::{self, Recorded, Shared},
    signals::{Signals, hangup_is_ignored},
    sinks::{self, Source},
    writing::LineState,
};
use crate::{
    cli::Open,
    host::confine::{self, Duty},
    recording::{EarlyEndReason, Reader},
    text::escape::Foreign,
};

/// Replays a recording. Its complete events are shown, whatever follows them.
pub(super) fn open(args: &Open) -> anyhow::Result<Exit> {
    let (input, name): (Box<dyn Read + Send>, String) = if args.file == Path::new("-") {
        (Box::new(io::stdin()), "standard input".to_owned())
    } else {
        let name = Foreign::from(&*args.file).to_string();
        let file = File::open(&args.file).with_context(|| {
            format!("cannot open the recording {name}; create a recording with `pidtap PID --record FILE`")
        })?;
        (Box::new(file), name)
    };
    let progress = Arc::new(OnceLock::new());
    let input = Box::new(Counted { input, count: 0, shared: Arc::clone(&progress) });
    let mut reader = Reader::open(input as Box<dyn Read + Send>).with_context(|| format!("cannot open {name}"))?;
    let mut sinks =
        sinks::open(&args.output, Source::Recording, Marking::of_recording(&args.output, reader.header())?)?;
    let planned = sinks.screens.take();
    let lines = sinks.outputs.iter().filter_map(Output::line_state).cloned().collect();
    let shared = planned.as_ref().map(|planned| Arc::clone(&planned.shared));
    if let Some(shared) = &shared {
        // This is the only place that sets it.
        let _ = progress.set(Arc::clone(shared));
    }
    if let (Some(shared), Ok(file)) = (&shared, args.file.metadata())
        && file.is_file()
    {
        shared.set_size(file.len());
    }
    let mut pipeline = Pipeline::new(pipeline::options(&args.output, &args.detect), sinks.outputs, Vec::new());
    let asked = asked_to_end(shared, lines)?;
    let already = Recorded::Already(format!("this is already the recording {name}"));
    let screens = planned.map(|planned| planned.start(Some(name.clone()), already)).transpose()?;
    super::confine_main(Duty::Open)?;
    let Some(mut screens) = screens else {
        return show(&mut reader, &mut pipeline, || asked.load(Ordering::Relaxed), &name);
    };
    let shared = Arc::clone(&screens.shared);
    let (sender, result) = sync_channel(1);
    // In its own thread: while it waits for a pipe, the user can leave.
    confine::spawn("pidtap-engine", Duty::Open, move || {
        let is_left = || asked.load(Ordering::Relaxed) || shared.is_left();
        // Messages go to the screens, and are printed after them.
        let exit = show(&mut reader, &mut pipeline, is_left, &name).unwrap_or_else(|error| {
            say(&super::in_one_line(&error));
            Exit::of(&error)
        });
        // Also after an early end.
        shared.set_size(0);
        // The receiver is gone once the user has left.
        let _ = sender.send(exit);
    })
    .context("cannot start the thread that reads the recording; check the limit on processes (`ulimit -u`)")?;
    screens.wait();
    screens.end()?;
    Ok(result.try_recv().unwrap_or(Exit::Done))
}

/// Replays all events, and reports what is missing.
fn show(
    reader: &mut Reader<Box<dyn Read + Send>>,
    pipeline: &mut Pipeline,
    asked_to_end: impl Fn() -> bool,
    name: &str,
) -> anyhow::Result<Exit> {
    match feed(reader, pipeline, asked_to_end) {
        Ok(true) => {}
        Ok(false) => {
            say(&format!("{name} was not read to its end"));
            return Ok(Exit::Done);
        }
        Err(error) if is_broken_pipe(&error) => return Ok(Exit::Done),
        Err(error) => return Err(error.context(format!("cannot read {name} to its end"))),
    }
    if reader.skipped_events() > 0 {
        say(&format!("skipped {} events of unknown kinds; use a newer pidtap to see them", reader.skipped_events()));
    }
    if reader.malformed_events() > 0 {
        say(&format!("skipped {} invalid events", reader.malformed_events()));
    }
    match reader.early_end() {
        Some(end) if end.reason == EarlyEndReason::Damaged => bail!(
            "{name}: {end}; everything before that point was \
            shown"
        ),
        Some(end) => say(&format!("{name}: {end}; everything before that point was shown")),
        None => {}
    }
    Ok(Exit::Done)
}

/// A flag that Ctrl-C sets, so that the results end in order. A second Ctrl-C ends at once.
fn asked_to_end(screens: Option<Arc<Shared>>, lines: Vec<LineState>) -> anyhow::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&asked);
    let (sender, listening) = sync_channel(1);
    let ignores_hangup = hangup_is_ignored();
    let wait = async move {
        let mut signals = match Signals::new(ignores_hangup) {
            Ok(signals) => signals,
            Err(error) => return sender.send(Err(error)).map_err(anyhow::Error::from),
        };
        if screens.is_some() {
            signals.take_stop()?;
        }
        sender.send(Ok(()))?;
        loop {
            let signal = signals.recv().await;
            lines.iter().for_each(LineState::hurry);
            match &screens {
                Some(screens) if screens.take_signal(signal) => {}
                _ if flag.swap(true, Ordering::Relaxed) => {
                    screen::give_back();
                    std::process::exit(Exit::Failed.status().into())
                }
                Some(screens) => screens.end(),
                None => {}
            }
        }
    };
    // The thread ends with the process.
    confine::spawn("pidtap-signal", Duty::Open, move || drop(block_on::<()>(wait)))
        .context("cannot start the thread that handles signals; check the limit on processes (`ulimit -u`)")?;
    // The handlers are installed before the first byte is written. Without an answer, the thread has ended.
    listening.recv().context("cannot wait for signals; check the limit on open files (`ulimit -n`)")??;
    Ok(asked)
}

/// Reports the number of read bytes to the screens.
struct Counted<R> {
    input: R,
    count: u64,
    shared: Arc<OnceLock<Arc<Shared>>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count += read as u64;
        if let Some(shared) = self.shared.get() {
            shared.set_read(self.count);
        }
        Ok(read)
    }
}

/// True where the recording was shown to its end.
fn feed(
    reader: &mut Reader<Box<dyn Read + Send>>,
    pipeline: &mut Pipeline,
    asked_to_end: impl Fn() -> bool,
) -> anyhow::Result<bool> {
    while !asked_to_end() {
        let event = reader.next_event().inspect_err(|_| {
            // The events before the error are valid.
            let _ = pipeline.finish();
        })?;
        let Some(event) = event else {
            pipeline.finish()?;
            return Ok(true);
        };
        if pipeline.batch(event, |_| {}).is_break() {
            break;
        }
        // During a replay, requests are ignored.
        while pipeline.poll_control().is_some() {}
    }
    pipeline.finish()?;
    Ok(false)
}
