//! Fuzzing with libFuzzer, by the stable compiler.
//!
//! cargo-fuzz would do nearly the same, but wants a nightly compiler or minutes to install; coverage instrumentation
//! alone is a stable option of code generation, and the address sanitizer has little to find in safe code. `fuzz/` is
//! laid out so that `cargo +nightly fuzz run TARGET` works too.

use std::{fs, process::Command};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{
    command::{cargo, perform, root, say},
    compile,
};

/// The targets: each has a file in fuzz/fuzz_targets, and seeds in fuzz/src/seeds.rs.
const TARGETS: [&str; 8] = ["body", "curl", "event", "filter", "http1", "output", "recording", "redact"];

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
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let Some(target) = &options.target else { return every_target(options.seconds) };
    if !TARGETS.contains(&target.as_str()) {
        bail!("there is no fuzz target {target}; there are {}", TARGETS.join(", "));
    }
    build()?;
    fuzz(target, options.seconds)
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

fn fuzz(target: &str, seconds: u32) -> anyhow::Result<()> {
    say(&format!("fuzzing {target} for {seconds} s"));
    let folder = root().join("fuzz");
    let corpus = folder.join("corpus").join(target);
    let artifacts = folder.join("artifacts").join(target);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    let program = compile::target_folder()?.join("fuzz").join(TRIPLE).join("release").join(target);
    perform(
        Command::new(program)
            .env("PIDTAP_FUZZ_SEEDS", &corpus)
            .arg(&corpus)
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_total_time={seconds}"))
            // Bounds that are failures: an input that takes this long, or memory that grows.
            .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-verbosity=0", "-print_final_stats=1"]),
    )
    .with_context(|| {
        format!("fuzzing {target} found something: run its program with the file in fuzz/artifacts/{target}")
    })
}
