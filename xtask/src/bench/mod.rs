//! The cost of tracing: the table in docs/performance.md.
//!
//! Machines are noisy, so every ratio comes from pairs: an untraced and a traced run right after each other, in alternating
//! order. The figure is the median of the pairs' ratios with its quartiles.

mod load;
mod machine;
mod measure;
mod nginx;
mod probes;
mod report;
mod statistics;
mod tracer;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use clap::Args;

use crate::{
    command::{is_root, output, perform, root, say},
    compile, setup, test,
};

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Pairs of runs for each ratio.
    #[arg(long, default_value_t = 15)]
    pairs: u32,
    /// Seconds of load in each run.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Exchanges over which memory is watched.
    #[arg(long, default_value_t = 1_000_000)]
    memory_exchanges: u64,
    /// File of the report, relative to the workspace.
    #[arg(long, default_value = "docs/performance.md")]
    report: PathBuf,
    /// Measure with these programs and print the report. The command passes this to itself under sudo.
    #[arg(long, hide = true, num_args = 2, value_names = ["PIDTAP", "REPLAY"])]
    prepared: Option<Vec<PathBuf>>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some([pidtap, replay]) = options.prepared.as_deref() {
        print!("{}", measured(options, pidtap, replay)?);
        return Ok(());
    }
    setup::to_test()?;
    let pidtap = compile::release()?;
    say("building the replay measurement (release)");
    let example = ["build", "--release", "--package", "tracer-user", "--no-default-features", "--example", "replay"];
    perform(crate::command::cargo().args(example))?;
    let replay = compile::target_folder()?.join("release/examples/replay");
    let text = if is_root() { measured(options, &pidtap, &replay)? } else { under_sudo(options, &pidtap, &replay)? };
    let report = root().join(&options.report);
    fs::write(&report, &text).with_context(|| format!("could not write {}", report.display()))?;
    say(&format!("wrote {}", report.display()));
    say("measuring the speed of the screens, and the punctuality of retries (the table in docs/detectors.md)");
    test::measurements(&pidtap)
}

/// Measures as root. Cargo has run before as the caller, and the caller writes the report.
fn under_sudo(options: &Options, pidtap: &Path, replay: &Path) -> anyhow::Result<String> {
    let program = env::current_exe().context("could not find out which program this is")?;
    let number = |value: u64| value.to_string();
    let mut command = Command::new("sudo");
    command
        .arg(program)
        .args(["bench", "--pairs", &number(options.pairs.into()), "--seconds", &number(options.seconds.into())])
        .args(["--memory-exchanges", &number(options.memory_exchanges), "--prepared"])
        .args([pidtap, replay]);
    output(&mut command)
}

fn measured(options: &Options, pidtap: &Path, replay: &Path) -> anyhow::Result<String> {
    let results = measure::everything(options, pidtap, replay)?;
    Ok(report::markdown(&results))
}
