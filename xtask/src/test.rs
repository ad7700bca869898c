//! The tests, in tiers.

use std::{env, path::Path, process::Command};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::{
    command::{cargo, is_root, perform, root, say},
    compile, fuzz, kernels, lint, setup,
    times::Times,
};

#[derive(Args)]
pub(crate) struct Options {
    /// The tests to run.
    #[arg(value_enum, default_value = "all")]
    tier: Tier,
    /// Arguments for the test programs: a filter, `--nocapture` and the like.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Tier {
    /// Unit tests of each crate, and again those of the pure core alone; needs no root.
    Unit,
    /// Replays of recordings, compared with the expected output; needs no root.
    Replay,
    /// Runs of the program, and its screens in an emulated terminal; needs no root.
    Cli,
    /// Traces of real processes with eBPF; needs root (uses sudo for other users).
    Live,
    /// The program on real kernels in virtual machines; needs no root. After `--`: versions or processors.
    Kernels,
    /// Lint, a short run of every fuzz target, and every tier above.
    All,
}

/// Seconds for each fuzz target in a full run, which starts from the inputs that long runs found. Enough to find what the last change
/// broke.
const FUZZ_SECONDS: u32 = 12;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut times = Times::new();
    let result = tiers(options, &mut times);
    say(&format!("times, in minutes and seconds\n{times}"));
    result?;
    say("all tests passed");
    Ok(())
}

fn tiers(options: &Options, times: &mut Times) -> anyhow::Result<()> {
    let arguments = &options.arguments;
    match options.tier {
        Tier::Unit => {
            times.run("setup", setup::to_build)?;
            unit(arguments, times)
        }
        Tier::Replay => replay(arguments, times),
        Tier::Cli => {
            times.run("setup", setup::to_build)?;
            cli(&times.compile("cli", compile::release)?, arguments, times)
        }
        Tier::Live => {
            times.run("setup", setup::to_test)?;
            let binary = times.compile("live", compile::release)?;
            live(&binary, &[], arguments, times)
        }
        Tier::Kernels => {
            times.run("setup", || setup::to_build().and_then(|()| setup::to_boot()))?;
            // PIDTAP_BIN names a program that was built elsewhere, as it does for the other tests.
            let binary = times.compile("kernels", || {
                env::var_os("PIDTAP_BIN").map_or_else(compile::release, |path| Ok(path.into()))
            })?;
            kernels::run(&binary, arguments, times)
        }
        Tier::All => {
            times.run("setup", || setup::to_test().and_then(|()| setup::to_boot()))?;
            times.compile("lint", lint::run)?;
            times.compile("tests", || perform(tests().args(["--no-run", "--tests"])))?;
            unit(arguments, times)?;
            fuzz::every_target(FUZZ_SECONDS, times)?;
            replay(arguments, times)?;
            let binary = times.compile("pidtap", compile::release)?;
            cli(&binary, arguments, times)?;
            live(&binary, &[], arguments, times)?;
            kernels::run(&binary, &[], times)
        }
    }
}

/// `cargo test` of every package with tests. Cargo unifies the features of the packages that a command selects: each selection has
/// its own builds of many crates. So every command that builds tests selects the same packages.
pub(crate) fn tests() -> Command {
    let mut command = cargo();
    command.args(["test"]).args(PACKAGES);
    command
}

/// [`tests`]' packages.
pub(crate) const PACKAGES: [&str; 8] =
    ["--package", "tracer-common", "--package", "tracer-user", "--package", "tracer-tests", "--package", "xtask"];

/// Compiles tests, and runs them.
fn both(
    tier: &'static str,
    command: &dyn Fn() -> Command,
    arguments: &[String],
    times: &mut Times,
) -> anyhow::Result<()> {
    times.compile(tier, || perform(command().arg("--no-run")))?;
    times.run(tier, || perform(command().arg("--").args(arguments)))
}

fn unit(arguments: &[String], times: &mut Times) -> anyhow::Result<()> {
    say("unit tests of each crate");
    let crates = || {
        let mut command = tests();
        command.args(["--lib", "--bin", "xtask"]);
        command
    };
    both("unit", &crates, arguments, times)?;
    say("unit tests of the pure core alone");
    let core = || {
        let mut command = cargo();
        command.args(["test", "--package", "tracer-user", "--no-default-features", "--lib"]);
        command
    };
    both("unit", &core, arguments, times)
}

fn replay(arguments: &[String], times: &mut Times) -> anyhow::Result<()> {
    say("replaying recordings");
    let command = || {
        let mut command = tests();
        command.args(["--test", "replay"]);
        command
    };
    both("replay", &command, arguments, times)
}

fn cli(binary: &Path, arguments: &[String], times: &mut Times) -> anyhow::Result<()> {
    say("running the program, and its screens in an emulated terminal");
    let command = || {
        let mut command = tests();
        command.args(["--test", "cli", "--test", "screen"]).env("PIDTAP_BIN", binary);
        command
    };
    both("cli", &command, arguments, times)
}

/// Builds the live tests as the current user, and runs them as root. Cargo never runs under sudo, as it would leave files of root's
/// in the target folder.
pub(crate) fn live(
    binary: &Path,
    variables: &[(&str, &Path)],
    arguments: &[String],
    times: &mut Times,
) -> anyhow::Result<()> {
    say("tracing real processes with eBPF");
    let messages = times.compile("live", || compile::messages(tests().args(["--no-run", "--test", "*live"])))?;
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
        times.run("live", || perform(command.current_dir(folder).arg("--include-ignored").args(arguments)))?;
    }
    anyhow::ensure!(found, "cargo built no live tests");
    Ok(())
}

/// Builds and runs the measurements of `tests/benches`. The one that traces runs as root.
pub(crate) fn measurements(binary: &Path) -> anyhow::Result<()> {
    let messages =
        compile::messages(cargo().arg("build").args(PACKAGES).args(["--bench", "screens", "--bench", "punctuality"]))?;
    for (name, is_root_needed) in [("screens", false), ("punctuality", true)] {
        let program = messages
            .iter()
            .filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == "bench")
            .find_map(|message| message["executable"].as_str())
            .with_context(|| format!("cargo built no benchmark {name}"))?;
        let variables = [("PIDTAP_BIN", binary), ("CARGO_MANIFEST_DIR", &root().join("tests"))];
        let mut command = if is_root_needed {
            privileged(Path::new(program), &variables)
        } else {
            let mut command = Command::new(program);
            command.envs(variables);
            command
        };
        perform(&mut command)?;
    }
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
