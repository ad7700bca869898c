//! Fuzzing with libFuzzer and the stable compiler.
//!
//! cargo-fuzz does nearly the same, but needs a nightly compiler, and minutes to install. Coverage instrumentation alone is a stable
//! option of code generation, and the address sanitizer finds little in safe code. `cargo +nightly fuzz run TARGET` works too, by the
//! layout of `fuzz/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{
    command::{cargo, perform, quietly, root, say},
    compile, corpus,
    times::Times,
};

/// The targets. Each has a file in fuzz/fuzz_targets, and seeds in fuzz/src/seeds.rs.
pub(crate) const TARGETS: [&str; 8] = ["body", "curl", "event", "filter", "http1", "output", "recording", "redact"];

/// The instrumentation for libFuzzer: a counter for each edge, and the operands of comparisons.
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
    /// Afterwards, write a small set of inputs with the same coverage into fuzz/kept, where the next runs start.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let Some(target) = &options.target else {
        every_target(options.seconds, &mut Times::new())?;
        return if options.keep { TARGETS.iter().try_for_each(|target| keep(target)) } else { Ok(()) };
    };
    if !TARGETS.contains(&target.as_str()) {
        bail!("there is no fuzz target {target}; there are {}", TARGETS.join(", "));
    }
    build()?;
    fuzz(target, options.seconds, perform)?;
    if options.keep { keep(target) } else { Ok(()) }
}

/// Runs every target for this many seconds, two at a time: each has one thread.
pub(crate) fn every_target(seconds: u32, times: &mut Times) -> anyhow::Result<()> {
    const AT_ONCE: usize = 2;
    times.compile("fuzz", build)?;
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
            fuzz(target, seconds, quietly)?;
        }
        Ok(())
    };
    times.run("fuzz", || {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
        })
    })
}

fn build() -> anyhow::Result<()> {
    say("building the fuzz targets");
    perform(cargo_with_instrumentation("build")?.arg("--bins"))
}

/// Lints the targets with the settings of the build, with which they share libFuzzer and the build scripts.
pub(crate) fn lint() -> anyhow::Result<()> {
    perform(cargo_with_instrumentation("clippy")?.args(["--", "-D", "warnings"]))
}

fn cargo_with_instrumentation(verb: &str) -> anyhow::Result<Command> {
    let mut command = cargo();
    // With a target triple, build scripts and procedural macros are not instrumented.
    command
        .args([verb, "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", TRIPLE, "--target-dir"])
        .arg(compile::target_folder()?.join("fuzz"))
        .env("RUSTFLAGS", RUSTFLAGS);
    Ok(command)
}

/// The target triple of this machine.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

fn program(target: &str) -> anyhow::Result<PathBuf> {
    Ok(compile::target_folder()?.join("fuzz").join(TRIPLE).join("release").join(target))
}

/// The folder of inputs that a target has found on this machine.
fn found(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// The committed inputs of a target.
pub(crate) fn kept(target: &str) -> PathBuf {
    root().join("fuzz/kept").join(target)
}

/// The folder of inputs that make a target fail.
fn artifacts(target: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("fuzz/artifacts").join(target);
    make(&folder)?;
    Ok(folder)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))
}

/// Writes a small corpus with the same coverage into the repository.
fn keep(target: &str) -> anyhow::Result<()> {
    let folder = compile::target_folder()?.join("fuzz").join("least").join(target);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    make(&folder)?;
    // By the edges reached, not by their counts: that keeps a tenth of the inputs.
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

fn fuzz(target: &str, seconds: u32, perform: fn(&mut Command) -> anyhow::Result<()>) -> anyhow::Result<()> {
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
            // Bounds: a longer run of an input, or more memory, is a failure.
            .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-verbosity=0", "-print_final_stats=1"]),
    )
    .with_context(|| {
        format!("fuzzing {target} found something: run its program with the file in fuzz/artifacts/{target}")
    })
}
