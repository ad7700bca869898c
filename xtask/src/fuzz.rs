//! Fuzzing with libFuzzer, by the stable compiler.
//!
//! cargo-fuzz would do nearly the same, but wants a nightly compiler or minutes to install; coverage instrumentation
//! alone is a stable option of code generation, and the address sanitizer has little to find in safe code. `fuzz/` is
//! laid out so that `cargo +nightly fuzz run TARGET` works too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{
    command::{cargo, perform, root, say},
    compile, corpus,
};

/// The targets: each has a file in fuzz/fuzz_targets, and seeds in fuzz/src/seeds.rs.
pub(crate) const TARGETS: [&str; 8] = ["body", "curl", "event", "filter", "http1", "output", "recording", "redact"];

/// What libFuzzer needs of the compiler: a counter for each edge, and the operands of comparisons.
const RUSTFLAGS: &str = "--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares -C codegen-units=1";

#[derive(Args)]
pub(crate) struct Options {
    /// One target: body, curl, event, filter, http1, output, recording or redact. Without it, all.
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Then take what was found into the repository, for the next runs to start from: of all inputs, some that reach
    /// what all of them reach.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let Some(target) = &options.target else {
        every_target(options.seconds)?;
        return if options.keep { TARGETS.iter().try_for_each(|target| keep(target)) } else { Ok(()) };
    };
    if !TARGETS.contains(&target.as_str()) {
        bail!("there is no fuzz target {target}; there are {}", TARGETS.join(", "));
    }
    build()?;
    fuzz(target, options.seconds)?;
    if options.keep { keep(target) } else { Ok(()) }
}

/// Runs every target for so many seconds.
pub(crate) fn every_target(seconds: u32) -> anyhow::Result<()> {
    build()?;
    TARGETS.iter().try_for_each(|target| fuzz(target, seconds))
}

fn build() -> anyhow::Result<()> {
    say("building the fuzz targets");
    // With a target triple, build scripts and procedural macros are not instrumented.
    perform(
        cargo()
            .args(["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target", TRIPLE])
            .arg("--target-dir")
            .arg(compile::target_folder()?.join("fuzz"))
            .env("RUSTFLAGS", RUSTFLAGS),
    )
}

/// The machine that fuzzing is built for: this one.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

fn program(target: &str) -> anyhow::Result<PathBuf> {
    Ok(compile::target_folder()?.join("fuzz").join(TRIPLE).join("release").join(target))
}

/// What this target has found on this machine.
fn found(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// What the repository has of it.
pub(crate) fn kept(target: &str) -> PathBuf {
    root().join("fuzz/kept").join(target)
}

/// Where inputs go that break something.
fn artifacts(target: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("fuzz/artifacts").join(target);
    make(&folder)?;
    Ok(folder)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))
}

/// Puts a small corpus that reaches the same code into the repository.
fn keep(target: &str) -> anyhow::Result<()> {
    let folder = compile::target_folder()?.join("fuzz").join("least").join(target);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    make(&folder)?;
    // By the edges reached, not by how often: a tenth of the inputs.
    perform(
        Command::new(program(target)?)
            .args(["-set_cover_merge=1", "-use_counters=0", "-timeout=10", "-rss_limit_mb=1024", "-verbosity=0"])
            .arg(format!("-artifact_prefix={}/", artifacts(target)?.display()))
            .arg(&folder)
            .arg(found(target)),
    )?;
    let kept = kept(target);
    if let Some(folder) = kept.parent() {
        make(folder)?;
    }
    let count = corpus::pack(&folder, &kept)?;
    say(&format!("kept {count} inputs of {target}"));
    Ok(())
}

fn fuzz(target: &str, seconds: u32) -> anyhow::Result<()> {
    say(&format!("fuzzing {target} for {seconds} s"));
    let corpus = found(target);
    make(&corpus)?;
    corpus::unpack(&kept(target), &corpus)?;
    perform(
        Command::new(program(target)?)
            .env("PIDTAP_FUZZ_SEEDS", &corpus)
            .arg(&corpus)
            .arg(format!("-artifact_prefix={}/", artifacts(target)?.display()))
            .arg(format!("-max_total_time={seconds}"))
            // Bounds that are failures: an input that takes this long, or memory that grows.
            .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-verbosity=0", "-print_final_stats=1"]),
    )
    .with_context(|| {
        format!("fuzzing {target} found something: run its program with the file in fuzz/artifacts/{target}")
    })
}
