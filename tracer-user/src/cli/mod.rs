//! The command line as typed. `app` interprets it.

mod order;
mod refuse;
mod units;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
pub use refuse::refuse;
use tracer_common::limit;

use crate::{
    analysis::detector::{DetectorOptions, TuneError},
    demo,
    filter::Filter,
    host::{capture, doctor, identity::Ids, launch, limits::Given},
    text::escape::Visible,
};

/// Show the HTTP exchanges of a running process.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pidtap",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    max_term_width = 100,
    override_usage = "pidtap [OPTIONS] PID|NAME...\n       pidtap COMMAND ...",
    after_help = "Exit status: 0 success, 1 other failure, 2 usage error, 3 no such process, 4 permission denied, 5 \
                  unsupported kernel or resource limit too low. `run` exits with the status of the command if the \
                  command started."
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
    /// Attach to running processes (same as `pidtap PID|NAME...`)
    Attach(Attach),
    /// Start a command and trace it from its first byte
    Run(Run),
    /// Replay a recording
    Open(Open),
    /// Start a flaky payments service on loopback and attach to it
    Demo(Demo),
    /// Check whether this machine, and optionally a process, can be traced
    Doctor(Doctor),
    /// List the detectors and their thresholds
    Detectors(Detectors),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, for `man -l -`
    Man,
    /// Internal: run one part of the demo in its own process
    #[command(name = demo::HIDDEN_COMMAND, hide = true)]
    DemoRole(DemoRole),
    /// Internal: wait until the probes are live, then become the command of `run`
    #[command(name = launch::HOLD_SUBCOMMAND, hide = true)]
    Hold(Hold),
    /// Internal: search one executable on behalf of `doctor`
    #[command(name = doctor::SEARCH_SUBCOMMAND, hide = true)]
    Search(Search),
}

/// `pidtap PID|NAME...`
#[derive(Args, Clone, Debug)]
pub struct Attach {
    /// Processes to trace, by PID or name; a name selects every process that has it
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
    /// Run the command as this user, with the user's groups [default: the user who ran sudo, or the user who ran
    /// pidtap]
    #[arg(short, long, value_name = "NAME|UID")]
    pub user: Option<String>,
    /// Command to run, and its arguments
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
    /// Recording to replay; `-` reads standard input
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
    /// Process to check too, by PID or name
    #[arg(value_name = "PID|NAME")]
    pub target: Option<String>,
}

/// `pidtap detectors`
#[derive(Args, Clone, Debug)]
pub struct Detectors {
    /// Output format of the list
    #[arg(short, long, value_name = "FORM", value_enum)]
    pub output: Option<Format>,
    /// What is shown as it is set.
    #[command(flatten)]
    pub detect: DetectArgs,
}

/// `pidtap completions SHELL`
#[derive(Args, Clone, Copy, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// Hidden command of the demo.
#[derive(Args, Clone, Debug)]
pub struct DemoRole {
    /// Part of the demo.
    pub role: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Hidden command of `run`.
#[derive(Args, Clone, Debug)]
pub struct Hold {
    /// Named pipe to wait for.
    pub pipe: PathBuf,
    /// Inode of the pipe.
    pub inode: u64,
    /// User and groups of the command.
    #[arg(long = "as")]
    pub ids: Option<Ids>,
    /// Resource limits of the command.
    #[arg(long)]
    pub limits: Option<Given>,
    /// The command and its arguments.
    #[arg(required = true, last = true)]
    pub command: Vec<OsString>,
}

/// Hidden command of `doctor`.
#[derive(Args, Clone, Copy, Debug)]
pub struct Search {
    /// Process whose executable is searched.
    pub pid: u32,
}

/// Form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Interactive screens (default on a terminal)
    Tui,
    /// One line per exchange, for people (default elsewhere)
    Line,
    /// One JSON object per line, for programs
    Json,
}

/// Colours of the screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeChoice {
    /// Follow COLORFGBG, or dark if it is unset; no colours if NO_COLOR is set
    Auto,
    /// Colours for a dark background
    Dark,
    /// Colours for a light background
    Light,
    /// No colours
    None,
}

/// What to print, and where.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Output format [default: tui on a terminal, otherwise line]; `-o tui -o json --output-file FILE` shows screens
    /// and writes JSON too
    #[arg(short, long, value_name = "FORM", value_enum)]
    pub output: Vec<Format>,
    /// Colours of the screens
    #[arg(long, value_name = "THEME", value_enum, default_value = "auto")]
    pub theme: ThemeChoice,
    /// Write results to FILE; `-` means standard output
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Overwrite non-empty files and files of other users; write to pipes of other users and to disks
    #[arg(long)]
    pub force: bool,
    /// Keep and show at most SIZE bytes of each body
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = units::size)]
    pub body_limit: usize,
    /// Show only exchanges that match EXPR, for example 'host:stripe status>=500 >1s' (syntax: docs/filter.md)
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true, value_parser = filter)]
    pub filter: Option<Filter>,
    /// Show passwords, tokens, cookies and other secrets unmasked
    #[arg(long)]
    pub show_secrets: bool,
    /// Derive the marks of masked secrets from the key in FILE, so that equal secrets get equal marks in every trace
    /// that uses the same key
    #[arg(long, value_name = "FILE")]
    pub mark_key_file: Option<PathBuf>,
}

/// Parses a filter. The error repeats the text, with a caret below the place.
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
    /// Report an open call as hanging after TIME without progress (same as --detector hang.after=TIME) [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = hang_after)]
    pub hang_after: Option<String>,
    /// Switch a detector (or `all`) on or off, or set a threshold: `retry=off`, `retry.window=30s`; `pidtap detectors`
    /// lists all
    #[arg(long, value_name = "NAME=on|off|NAME.THRESHOLD=VALUE", value_parser = tuning)]
    pub detector: Vec<String>,
}

impl DetectArgs {
    /// The options as typed, in order.
    pub fn options(&self) -> DetectorOptions {
        let mut options = DetectorOptions::default();
        for text in self.hang_after.iter().chain(&self.detector) {
            // The parser refused wrong text before.
            let _ = options.tune(text);
        }
        options
    }
}

/// Checks the value of the threshold `hang.after`.
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
    /// Record all events, secrets included, to FILE for `pidtap open`; `-` means standard output
    #[arg(long, value_name = "FILE.tap")]
    pub record: Option<PathBuf>,
    /// Stop tracing after TIME, for example 10s or 1h30m
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub duration: Option<Duration>,
    /// Trace child processes too (default)
    #[arg(short, long, overrides_with = "no_follow")]
    pub follow: bool,
    /// Trace only the named processes
    #[arg(long, overrides_with = "follow")]
    pub no_follow: bool,
    /// Size of the kernel ring buffer, a power of two; a larger buffer loses fewer events under load
    #[arg(long, value_name = "SIZE", default_value_t = RingSize(capture::DEFAULT_RING_SIZE), value_parser = units::ring_size)]
    pub ring_size: RingSize,
    /// Capture at most SIZE bytes per system call; bytes beyond SIZE are counted but not captured
    #[arg(long, value_name = "SIZE", default_value_t = CallCapture(limit::DEFAULT_CALL_CAPTURE), value_parser = units::call_capture)]
    pub call_capture: CallCapture,
}

impl TraceArgs {
    /// Whether children are traced too.
    pub fn follows(&self) -> bool {
        !self.no_follow
    }
}

/// Size of the ring buffer in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize(pub u32);

/// Maximum bytes captured per call.
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
