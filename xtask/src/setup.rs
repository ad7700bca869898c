//! Installation of tools on a fresh machine.

use std::{env, path::PathBuf, process::Command};

use anyhow::Context as _;

use crate::{
    command::{cargo, find, output, perform, say},
    kernels, packages,
};

/// The linker for eBPF objects. The version is pinned, as its LLVM must match the compiler's. tracer-user/build.rs has the same number.
const BPF_LINKER_VERSION: &str = "0.10.3";

/// Installs the needs of every verb.
pub(crate) fn everything() -> anyhow::Result<()> {
    to_build()?;
    packages::install(packages::ALL)?;
    to_boot()?;
    say("nothing is missing");
    Ok(())
}

/// Installs the needs of a build: the sources of the standard library, and bpf-linker.
pub(crate) fn to_build() -> anyhow::Result<()> {
    rust_src()?;
    bpf_linker()
}

/// Installs the needs of live tests and benchmarks, and of a build.
pub(crate) fn to_test() -> anyhow::Result<()> {
    to_build()?;
    packages::install(packages::ALL)
}

/// Installs the needs of the kernels tier.
pub(crate) fn to_boot() -> anyhow::Result<()> {
    packages::install(packages::TO_BOOT)?;
    kernels::foreign_targets().try_for_each(target)
}

/// Installs the needs of fuzzing: a C++ compiler for libFuzzer.
pub(crate) fn to_fuzz() -> anyhow::Result<()> {
    packages::install(packages::TO_FUZZ)
}

/// Adds the standard library for another target.
fn target(target: &str) -> anyhow::Result<()> {
    if sysroot()?.join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    say(&format!("adding Rust's standard library for {target}"));
    if find("rustup").is_none() {
        anyhow::bail!(
            "the compiler has no library for {target}, and there is no rustup to add it: install Rust from \
             https://rustup.rs"
        );
    }
    perform(Command::new("rustup").args(["target", "add", target]).current_dir(crate::command::root()))
}

fn sysroot() -> anyhow::Result<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(crate::command::root()))?;
    Ok(PathBuf::from(sysroot.trim()))
}

fn rust_src() -> anyhow::Result<()> {
    if sysroot()?.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Ok(());
    }
    say("adding the sources of Rust's standard library, from which `core` is built for eBPF");
    if find("rustup").is_none() {
        anyhow::bail!(
            "the compiler has no library sources, and there is no rustup to add them: install Rust from https://rustup.rs"
        );
    }
    perform(Command::new("rustup").args(["component", "add", "rust-src"]).current_dir(crate::command::root()))
}

fn bpf_linker() -> anyhow::Result<()> {
    let folder = tools_folder()?.join(format!("bpf-linker-{BPF_LINKER_VERSION}"));
    if folder.join("bin/bpf-linker").is_file() {
        return Ok(());
    }
    say(&format!("installing bpf-linker {BPF_LINKER_VERSION} into {} (some minutes, once)", folder.display()));
    perform(
        cargo()
            .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--no-track", "--root"])
            .arg(&folder),
    )
    .context("bpf-linker could not be installed; it needs the internet, a C compiler and about 500 MB of disk")
}

/// The folder of installed tools, outside of the target folder: `cargo clean` keeps them. tracer-user/build.rs has the same rule.
pub(crate) fn tools_folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os("PIDTAP_TOOLS") {
        return Ok(PathBuf::from(folder));
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither PIDTAP_TOOLS nor XDG_CACHE_HOME nor HOME says where to put tools: set one of them")?;
    Ok(cache.join("pidtap"))
}
