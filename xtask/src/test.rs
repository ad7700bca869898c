//! The tests, in tiers.

use std::{env, path::Path, process::Command};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::{
    command::{cargo, is_root, perform, say},
    compile, fuzz, kernels, lint, setup,
};

#[derive(Args)]
pub(crate) struct Options {
    /// Which tests.
    #[arg(value_enum, default_value = "all")]
    tier: Tier,
    /// Arguments for the test programs: a filter, `--nocapture` and the like.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Tier {
    /// Each crate by itself, and the pure core without the rest; needs no root.
    Unit,
    /// Recordings against their expectations; needs no root.
    Replay,
    /// The program from outside; needs no root.
    Cli,
    /// Real eBPF on real processes; needs root (uses sudo where not).
    Live,
    /// Real kernels in virtual machines, and the real program in them; needs no root. After `--`: versions or processors.
    Kernels,
    /// Lint, a short run of every fuzz target, and all of the above.
    All,
}

/// Seconds for each fuzz target in a full run, which starts from what long runs found: enough to find what the last change broke,
/// short enough for CI.
const FUZZ_SECONDS: u32 = 12;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let arguments = &options.arguments;
    match options.tier {
        Tier::Unit => {
            setup::to_build()?;
            unit(arguments)?;
        }
        Tier::Replay => replay(arguments)?,
        Tier::Cli => {
            setup::to_build()?;
            cli(&compile::release()?, arguments)?;
        }
        Tier::Live => {
            setup::to_test()?;
            live(&compile::release()?, &[], arguments)?;
        }
        Tier::Kernels => {
            setup::to_build()?;
            setup::to_boot()?;
            // One that was built elsewhere may be tried, as by the tests.
            let binary = env::var_os("PIDTAP_BIN").map_or_else(compile::release, |path| Ok(path.into()))?;
            kernels::run(&binary, arguments)?;
        }
        Tier::All => {
            setup::to_test()?;
            setup::to_boot()?;
            lint::run()?;
            unit(arguments)?;
            fuzz::every_target(FUZZ_SECONDS)?;
            replay(arguments)?;
            let binary = compile::release()?;
            cli(&binary, arguments)?;
            live(&binary, &[], arguments)?;
            kernels::run(&binary, &[])?;
        }
    }
    say("all tests passed");
    Ok(())
}

fn unit(arguments: &[String]) -> anyhow::Result<()> {
    say("tests of each crate");
    // Not the integration tests: those of tracer-user are live ones.
    let packages = ["tracer-common", "tracer-user", "tracer-tests", "xtask"];
    let packages = packages.into_iter().flat_map(|package| ["--package", package]);
    perform(cargo().arg("test").args(packages).args(["--lib", "--bins", "--"]).args(arguments))?;
    say("tests of the pure core alone");
    perform(cargo().args(["test", "--package", "tracer-user", "--no-default-features", "--lib", "--"]).args(arguments))
}

fn replay(arguments: &[String]) -> anyhow::Result<()> {
    say("recordings against their expectations");
    perform(cargo().args(["test", "--package", "tracer-tests", "--test", "replay", "--"]).args(arguments))
}

fn cli(binary: &Path, arguments: &[String]) -> anyhow::Result<()> {
    say("the program from outside, and its screens in a terminal");
    perform(
        cargo()
            .args(["test", "--package", "tracer-tests", "--test", "cli", "--test", "screen", "--"])
            .args(arguments)
            .env("PIDTAP_BIN", binary),
    )
}

/// Builds the live tests as whoever we are, and runs them as root: cargo never runs under sudo, as it would leave files
/// of root's in the target folder.
pub(crate) fn live(binary: &Path, variables: &[(&str, &Path)], arguments: &[String]) -> anyhow::Result<()> {
    say("real eBPF on real processes");
    let messages = compile::messages(&[
        "test",
        "--no-run",
        "--package",
        "tracer-user",
        "--package",
        "tracer-tests",
        "--test",
        "*live",
    ])?;
    let mut found = false;
    for message in &messages {
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let (Some(executable), Some(manifest)) = (message["executable"].as_str(), message["manifest_path"].as_str())
        else {
            continue;
        };
        // Programs that the tests trace are among the messages too.
        if !name.ends_with("live") {
            continue;
        }
        found = true;
        let folder = Path::new(manifest).parent().context("a manifest has no folder")?;
        let given = [("PIDTAP_BIN", binary), ("CARGO_MANIFEST_DIR", folder)];
        let mut command = privileged(Path::new(executable), &[&given, variables].concat());
        perform(command.current_dir(folder).args(arguments))?;
    }
    anyhow::ensure!(found, "cargo built no live tests");
    Ok(())
}

/// `program` as root with these variables. sudo clears the environment, so `env` sets them behind it; `PATH` is kept
/// because it says which node, go or python is meant.
fn privileged(program: &Path, variables: &[(&str, &Path)]) -> Command {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(variables.iter().copied());
        return command;
    }
    let mut command = Command::new("sudo");
    command.arg("env");
    if let Ok(path) = std::env::var("PATH") {
        command.arg(format!("PATH={path}"));
    }
    for (name, value) in variables {
        command.arg(format!("{name}={}", value.display()));
    }
    command.arg(program);
    command
}
