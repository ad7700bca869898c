//! The command line: what was typed. What it means is the business of `app`.

mod order;
mod refuse;
mod units;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
pub use refuse::refuse;
use tracer_common::limit;

use crate::{
    analysis::detector::{DetectorOptions, TuneError},
    demo,
    filter::Filter,
    host::{capture, doctor, identity::Ids, launch, limits::Given},
    text::escape::Visible,
};

/// See the HTTP exchanges of a running process.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pidtap",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    max_term_width = 100,
    override_usage = "pidtap [OPTIONS] PID|NAME...\n       pidtap COMMAND ...",
    after_help = "Exit status: 0 done, 1 another failure, 2 usage, 3 no such process, 4 not permitted, 5 the kernel lacks \
                  something, or a limit is too low. Of `run`: that of the command, where it was started."
)]
pub struct Cli {
    /// A command, where one was given.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Otherwise, what to attach to.
    #[command(flatten)]
    pub attach: Attach,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Attach to running processes (as `pidtap PID|NAME...`)
    Attach(Attach),
    /// Start a command and trace it from its first byte
    Run(Run),
    /// Show a recording as if it happened now
    Open(Open),
    /// Start a flaky payments service on loopback, and attach to it
    Demo(Demo),
    /// Check what this machine, and a process, allow
    Doctor(Doctor),
    /// List the detectors: what they look for, and by which thresholds
    Detectors(Detectors),
    /// A part of the demo, in a process of its own
    #[command(name = demo::HIDDEN_COMMAND, hide = true)]
    DemoRole(DemoRole),
    /// What becomes the command of `run` once the probes are live
    #[command(name = launch::HOLD_SUBCOMMAND, hide = true)]
    Hold(Hold),
    /// What `doctor` leaves behind where a file system does not answer
    #[command(name = doctor::SEARCH_SUBCOMMAND, hide = true)]
    Search(Search),
}

/// `pidtap PID|NAME...`
#[derive(Args, Clone, Debug)]
pub struct Attach {
    /// Processes, by number or by name; a name means all that have it
    #[arg(value_name = "PID|NAME", required = true)]
    pub targets: Vec<String>,
    /// What to print, and where.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to look for.
    #[command(flatten)]
    pub detect: DetectArgs,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// `pidtap run -- CMD ARG...`
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Run the command as this user, with that user's groups [default: who called sudo, else who started pidtap]
    #[arg(short, long, value_name = "NAME|UID")]
    pub user: Option<String>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
    /// What to print, and where.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to look for.
    #[command(flatten)]
    pub detect: DetectArgs,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// `pidtap open FILE.tap`
#[derive(Args, Clone, Debug)]
pub struct Open {
    /// The recording; `-` for standard input
    #[arg(value_name = "FILE.tap")]
    pub file: PathBuf,
    /// What to print, and where.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to look for.
    #[command(flatten)]
    pub detect: DetectArgs,
}

/// `pidtap demo`
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// What to print, and where.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to look for.
    #[command(flatten)]
    pub detect: DetectArgs,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// `pidtap doctor [PID]`
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// A process to check as well, by number or by name
    #[arg(value_name = "PID|NAME")]
    pub target: Option<String>,
}

/// `pidtap detectors`
#[derive(Args, Clone, Debug)]
pub struct Detectors {
    /// Form of the list
    #[arg(short, long, value_name = "FORM", value_enum)]
    pub output: Option<Format>,
    /// What is shown as it is set.
    #[command(flatten)]
    pub detect: DetectArgs,
}

/// The demo's hidden command.
#[derive(Args, Clone, Debug)]
pub struct DemoRole {
    /// Which part.
    pub role: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// The hidden command of `run`.
#[derive(Args, Clone, Debug)]
pub struct Hold {
    /// What to wait for.
    pub pipe: PathBuf,
    /// Its inode.
    pub inode: u64,
    /// As whom to run the command.
    #[arg(long = "as")]
    pub ids: Option<Ids>,
    /// Which limits the command is to have.
    #[arg(long)]
    pub limits: Option<Given>,
    /// The command and its arguments.
    #[arg(required = true, last = true)]
    pub command: Vec<OsString>,
}

/// The hidden command of `doctor`.
#[derive(Args, Clone, Copy, Debug)]
pub struct Search {
    /// Whose executable is searched.
    pub pid: u32,
}

/// Form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Screens to move in (the default on a terminal)
    Tui,
    /// One line an exchange, for people (the default elsewhere)
    Line,
    /// One JSON object a line, for programs
    Json,
}

/// Colours of the screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeChoice {
    /// As the terminal says (COLORFGBG), else dark; none where NO_COLOR is set
    Auto,
    /// For a dark background
    Dark,
    /// For a light background
    Light,
    /// No colours
    None,
}

/// What to print, and where.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Form of the results; `-o tui -o json --output-file FILE` shows screens and writes JSON as well
    #[arg(short, long, value_name = "FORM", value_enum)]
    pub output: Vec<Format>,
    /// Colours of the screens
    #[arg(long, value_name = "THEME", value_enum, default_value = "auto")]
    pub theme: ThemeChoice,
    /// Write the results to FILE instead of standard output (`-`)
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Replace files that hold something or are not yours; write to pipes of others and to disks
    #[arg(long)]
    pub force: bool,
    /// Bytes of each body that are kept and shown
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = units::size)]
    pub body_limit: usize,
    /// Show only exchanges that match, as in 'host:stripe status>=500 >1s' (docs/filter.md has the language)
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true, value_parser = filter)]
    pub filter: Option<Filter>,
    /// Print passwords, tokens, cookies and the like as they are
    #[arg(long)]
    pub show_secrets: bool,
    /// Make the marks of hidden secrets with the key in FILE: equal secrets have equal marks in all traces that use it
    #[arg(long, value_name = "FILE")]
    pub mark_key_file: Option<PathBuf>,
}

/// An error has the text once more, with a caret below the place.
fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| {
        let is_plain = |character: char| Visible(character.encode_utf8(&mut [0; 4])).is_plain();
        let shown: String = text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
        let said = error.to_string();
        format!("{}\n\n  {shown}\n  {}", Visible(&said), error.caret(&shown))
    })
}

/// What to look for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Detectors")]
pub struct DetectArgs {
    /// Silence after which an open call is said to hang (the same as --detector hang.after=TIME) [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = hang_after)]
    pub hang_after: Option<String>,
    /// Switch a detector (or `all`) on or off, or set a threshold: `retry=off`, `retry.window=30s`
    #[arg(long, value_name = "NAME=on|off|NAME.THRESHOLD=VALUE", value_parser = tuning)]
    pub detector: Vec<String>,
}

impl DetectArgs {
    /// What was typed, in its order.
    pub fn options(&self) -> DetectorOptions {
        let mut options = DetectorOptions::default();
        for text in self.hang_after.iter().chain(&self.detector) {
            // Refused when it was parsed, if it is wrong.
            let _ = options.tune(text);
        }
        options
    }
}

/// As the threshold that it is.
fn hang_after(text: &str) -> Result<String, TuneError> {
    tuning(&format!("hang.after={text}"))
}

fn tuning(text: &str) -> Result<String, TuneError> {
    DetectorOptions::default().tune(text).map(|()| text.to_owned())
}

/// How to trace.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tracing")]
pub struct TraceArgs {
    /// Record all events, with secrets, into FILE (`-` for standard output), for `pidtap open`
    #[arg(long, value_name = "FILE.tap")]
    pub record: Option<PathBuf>,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub duration: Option<Duration>,
    /// Trace children as well (the default)
    #[arg(short, long, overrides_with = "no_follow")]
    pub follow: bool,
    /// Trace the named processes only
    #[arg(long, overrides_with = "follow")]
    pub no_follow: bool,
    /// Size of the kernel's buffer: a power of two; a larger one loses less when pidtap gets no time
    #[arg(long, value_name = "SIZE", default_value_t = RingSize(capture::DEFAULT_RING_SIZE), value_parser = units::ring_size)]
    pub ring_size: RingSize,
    /// Bytes captured of one system call; what exceeds it is counted only
    #[arg(long, value_name = "SIZE", default_value_t = CallCapture(limit::DEFAULT_CALL_CAPTURE), value_parser = units::call_capture)]
    pub call_capture: CallCapture,
}

impl TraceArgs {
    /// Whether children are traced as well.
    pub fn follows(&self) -> bool {
        !self.no_follow
    }
}

/// Bytes of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize(pub u32);

/// Bytes captured of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCapture(pub u32);

impl std::fmt::Display for RingSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&units::show_size(self.0))
    }
}

impl std::fmt::Display for CallCapture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&units::show_size(self.0))
    }
}

#[cfg(test)]
mod tests;
