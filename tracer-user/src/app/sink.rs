//! Where results go, and in which form.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use rustix::termios::tcgetwinsize;

use super::{
    marking::Marking,
    say,
    screen::{self, Planned, ScreenOutput},
    writing::{self, LeftOut, Policy, Written},
};
use crate::{
    cli::{Format, OutputArgs},
    host::file::{self, Identity, Opened},
    output::{
        Filtered, Output,
        json::{JsonOptions, JsonOutput},
        line::{LineOptions, LineOutput},
    },
    payload::coding::DECODED_LIMIT,
    text::{escape::Foreign, redact::Redactor},
};

/// An output, and what is to be known about it.
pub(super) struct Sink {
    pub(super) output: Box<dyn Output + Send>,
    /// Tells when what the output has flushed is written.
    pub(super) written: Option<Written>,
    /// It writes to a terminal, whose width may change.
    pub(super) terminal: bool,
    /// Results go to standard output: nothing else may.
    pub(super) standard_output: bool,
    /// The file that the results go to, where nothing else may.
    pub(super) identity: Option<Identity>,
    /// The screens that show what the output takes, where that is what was asked for.
    pub(super) screens: Option<Planned>,
    /// How the output marks secrets.
    pub(super) marking: Marking,
}

/// Where the events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// They come whether there is time for them or not.
    Trace,
    /// They wait.
    Recording,
}

/// Opens the output that was asked for.
pub(super) fn open(args: &OutputArgs, source: Source, marking: Marking) -> anyhow::Result<Sink> {
    let format = args.output.unwrap_or_else(|| default_format(args));
    if format == Format::Tui {
        let screens = screen::plan(args, utc_offset(), marking.key)?;
        let output = Box::new(ScreenOutput::new(Arc::clone(&screens.shared)));
        return Ok(Sink {
            output,
            written: None,
            terminal: false,
            standard_output: true,
            identity: Identity::of(io::stdout()),
            screens: Some(screens),
            marking,
        });
    }
    let opened = match &args.output_file {
        Some(path) => to_file(path, args.force)?,
        // Not `Stdout`, which buffers by lines what is buffered already.
        None => Opened::File(standard_output()?),
    };
    let (terminal, identity) = match &opened {
        Opened::File(file) => (file.is_terminal(), Identity::of(file)),
        Opened::Pipe(pipe) => (false, Some(pipe.identity())),
    };
    let policy = match (source, format) {
        (Source::Recording, _) => Policy::Wait,
        (Source::Trace, Format::Json) => Policy::LeaveOut(left_out_object),
        (Source::Trace, Format::Line | Format::Tui) => Policy::LeaveOut(left_out_line),
    };
    let (writer, written) = writing::behind(opened, policy)?;
    let output: Box<dyn Output + Send> = match format {
        Format::Json => {
            let decoded_limit = DECODED_LIMIT.max(args.body_limit);
            let options = JsonOptions { show_secrets: args.show_secrets, mark_key: Some(marking.key), decoded_limit };
            narrowed(JsonOutput::new(writer, options), args, marking)
        }
        Format::Line | Format::Tui => {
            let options = LineOptions {
                width: if terminal { width() } else { None },
                colour: terminal && wants_colour(),
                utc_offset_s: utc_offset(),
                show_secrets: args.show_secrets,
                mark_key: Some(marking.key),
            };
            narrowed(LineOutput::new(writer, options), args, marking)
        }
    };
    let standard_output = args.output_file.is_none();
    Ok(Sink { output, written: Some(written), terminal, standard_output, identity, screens: None, marking })
}

/// Screens for a person; lines for whatever else reads.
fn default_format(args: &OutputArgs) -> Format {
    if args.output_file.is_none() && screen::is_possible() { Format::Tui } else { Format::Line }
}

/// Without a filter, the output is asked nothing.
fn narrowed(output: impl Output + Send + 'static, args: &OutputArgs, marking: Marking) -> Box<dyn Output + Send> {
    match args.filter.as_ref().filter(|filter| !filter.is_empty()) {
        Some(filter) => {
            let redactor = Redactor::new(args.show_secrets).with_key(Some(marking.key));
            Box::new(Filtered::new(output, filter.clone(), redactor))
        }
        None => Box::new(output),
    }
}

/// Columns of the terminal that standard output is.
pub(super) fn width() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    // Some terminals do not know their size, and say 0.
    (size.ws_col > 0).then_some(size.ws_col.into())
}

fn to_file(path: &Path, force: bool) -> anyhow::Result<Opened> {
    let options = file::Options { force, taken: &[] };
    let opened =
        file::create(path, options).with_context(|| format!("cannot write results to {}", Foreign::from(path)))?;
    if let Opened::Pipe(_) = &opened {
        say(&format!("{} is a named pipe that nobody reads yet: the results wait for a reader", Foreign::from(path)));
    }
    Ok(opened)
}

/// In the place of lines for which there was no room.
fn left_out_object(missing: LeftOut) -> String {
    format!("{{\"type\":\"left_out\",\"lines\":{},\"bytes\":{}}}\n", missing.lines, missing.bytes)
}

fn left_out_line(missing: LeftOut) -> String {
    format!("... {} lines ({} bytes) are missing here: they were not read in time\n", missing.lines, missing.bytes)
}

fn standard_output() -> anyhow::Result<File> {
    own_copy(io::stdout()).context("cannot write results to standard output: it is closed")
}

/// A descriptor of our own for what another one names. Programs that are started do not get it (`dup` would hand it on).
pub(super) fn own_copy(descriptor: impl AsFd) -> io::Result<File> {
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?))
}

/// See https://no-color.org: set to anything but nothing, it means no.
pub(super) fn no_colour() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// A terminal that has colours, of somebody who wants them.
fn wants_colour() -> bool {
    !no_colour() && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Seconds that local time is ahead of UTC.
fn utc_offset() -> i32 {
    jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds()
}
