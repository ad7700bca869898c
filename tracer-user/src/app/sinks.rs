//! Opens the sinks of updates that the command line asks for.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};

use super::{
    marking::Marking,
    message::say,
    pipeline::Output,
    screen::{self, Planned, ScreenOutput},
    tty,
    writing::{LeftOut, LineWriter, Policy},
};
use crate::{
    cli::{Format, OutputArgs},
    host::file::{self, Identity, Opened},
    output::{
        Filtered, UpdateSink,
        json::{JsonOptions, JsonOutput},
        line::{LineOptions, LineOutput},
    },
    payload::coding::DECODED_LIMIT,
    text::{escape::Foreign, redact::Redactor},
};

/// The sinks of updates.
pub(super) struct Sinks {
    /// All of them.
    pub(super) outputs: Vec<Output>,
    /// Results or screens go to standard output: nothing else may.
    pub(super) standard_output: bool,
    /// Files that results or screens go to: nothing else may.
    pub(super) identities: Vec<Identity>,
    /// The screens, where they are one of the sinks.
    pub(super) screens: Option<Planned>,
    /// The key with which the sinks mark secrets.
    pub(super) marking: Marking,
}

/// Source of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A live trace, which waits for no sink.
    Trace,
    /// A recording, which can wait.
    Recording,
}

/// Form of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineForm {
    People,
    Json,
}

/// Opens the sinks: screens, lines, or both.
///
/// # Errors
///
/// Forms that contradict each other or the file; a file or a terminal that cannot be opened.
pub(super) fn open(args: &OutputArgs, source: Source, marking: Marking) -> anyhow::Result<Sinks> {
    let (has_screens, form) = forms(args)?;
    let mut sinks =
        Sinks { outputs: Vec::new(), standard_output: false, identities: Vec::new(), screens: None, marking };
    if has_screens {
        let screens = screen::plan(args, utc_offset(), marking.key)?;
        sinks.outputs.push(Output::screens(Box::new(ScreenOutput::new(Arc::clone(&screens.shared)))));
        sinks.identities.extend(Identity::of(io::stdout()));
        sinks.standard_output = true;
        sinks.screens = Some(screens);
    }
    if let Some(form) = form {
        open_lines(&mut sinks, args, form, source)?;
    }
    Ok(sinks)
}

/// True for screens, and the form of the lines.
fn forms(args: &OutputArgs) -> anyhow::Result<(bool, Option<LineForm>)> {
    let to_file = args.output_file.is_some();
    let (mut has_screens, mut form) = (false, None);
    for wanted in &args.output {
        let wanted = match wanted {
            Format::Tui => {
                has_screens = true;
                continue;
            }
            Format::Line => LineForm::People,
            Format::Json => LineForm::Json,
        };
        if form.replace(wanted).is_some_and(|other| other != wanted) {
            bail!("lines have one form: use `-o line` or `-o json`, and `-o tui` beside it for screens");
        }
    }
    match (has_screens, form) {
        (false, None) if !to_file && tty::has_screens() => Ok((true, None)),
        (false, None) => Ok((false, Some(LineForm::People))),
        (true, None) if to_file => bail!(
            "cannot write screens to a file; use `-o line` or `-o json` with --output-file, and add `-o tui` for screens"
        ),
        (true, Some(_)) if !to_file => {
            bail!(
                "cannot write screens and lines to standard output together; write the lines to a file with --output-file"
            )
        }
        forms => Ok(forms),
    }
}

fn open_lines(sinks: &mut Sinks, args: &OutputArgs, form: LineForm, source: Source) -> anyhow::Result<()> {
    let marking = sinks.marking;
    let opened = match &args.output_file {
        Some(path) => open_file(path, args.force, &sinks.identities)?,
        // Not `Stdout`, which buffers lines that are buffered already.
        None => Opened::File(standard_output()?),
    };
    let (is_terminal, identity) = match &opened {
        Opened::File(file) => (file.is_terminal(), Identity::of(file)),
        Opened::Pipe(pipe) => (false, Some(pipe.identity())),
    };
    let policy = match (source, form) {
        (Source::Recording, _) => Policy::Wait,
        (Source::Trace, LineForm::Json) => Policy::LeaveOut(left_out_object),
        (Source::Trace, LineForm::People) => Policy::LeaveOut(left_out_line),
    };
    let (writer, state) = LineWriter::start(opened, policy)?;
    let sink: Box<dyn UpdateSink + Send> = match form {
        LineForm::Json => {
            let decoded_limit = DECODED_LIMIT.max(args.body_limit);
            let options = JsonOptions { show_secrets: args.show_secrets, mark_key: Some(marking.key), decoded_limit };
            filtered(JsonOutput::new(writer, options), args, marking)
        }
        LineForm::People => {
            let options = LineOptions {
                width: if is_terminal { tty::width() } else { None },
                colour: is_terminal && tty::has_colours(),
                utc_offset_s: utc_offset(),
                show_secrets: args.show_secrets,
                mark_key: Some(marking.key),
            };
            filtered(LineOutput::new(writer, options), args, marking)
        }
    };
    sinks.outputs.push(Output::lines(sink, state, is_terminal));
    sinks.standard_output |= args.output_file.is_none();
    sinks.identities.extend(identity);
    Ok(())
}

/// Puts the filter of the command line before a sink. An empty filter costs nothing.
fn filtered(sink: impl UpdateSink + Send + 'static, args: &OutputArgs, marking: Marking) -> Box<dyn UpdateSink + Send> {
    match args.filter.as_ref().filter(|filter| !filter.is_empty()) {
        Some(filter) => {
            let redactor = Redactor::new(args.show_secrets).with_key(Some(marking.key));
            Box::new(Filtered::new(sink, filter.clone(), redactor))
        }
        None => Box::new(sink),
    }
}

fn open_file(path: &Path, force: bool, taken: &[Identity]) -> anyhow::Result<Opened> {
    let taken: Vec<_> = taken.iter().map(|identity| (*identity, "the screens go")).collect();
    let options = file::Options { force, taken: &taken };
    let opened =
        file::create(path, options).with_context(|| format!("cannot write results to {}", Foreign::from(path)))?;
    if let Opened::Pipe(_) = &opened {
        say(&format!("named pipe {} has no reader yet: the results wait for one", Foreign::from(path)));
    }
    Ok(opened)
}

/// The object in the place of dropped ones.
fn left_out_object(missing: LeftOut) -> String {
    format!("{{\"type\":\"left_out\",\"lines\":{},\"bytes\":{}}}\n", missing.lines, missing.bytes)
}

/// The line in the place of dropped ones.
fn left_out_line(missing: LeftOut) -> String {
    format!("... {} lines ({} bytes) are missing here: the reader was too slow\n", missing.lines, missing.bytes)
}

fn standard_output() -> anyhow::Result<File> {
    tty::own_copy(io::stdout()).context("cannot write results: standard output is closed")
}

/// Seconds that local time is ahead of UTC.
fn utc_offset() -> i32 {
    jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds()
}
