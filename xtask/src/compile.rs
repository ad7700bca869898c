//! Builds with cargo.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::command::{cargo, output, say};

/// Cargo's target folder.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version=1", "--no-deps", "--offline"]))
        .or_else(|_| output(cargo().args(["metadata", "--format-version=1", "--no-deps"])))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata gave no JSON")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}

/// Builds the program with its probes. Returns its path.
pub(crate) fn release() -> anyhow::Result<PathBuf> {
    say("building pidtap (release)");
    let messages = messages(cargo().args(["build", "--release", "--package", "tracer-user", "--bin", "pidtap"]))?;
    probes(&messages)?;
    let binary = messages
        .iter()
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "pidtap")
        .find_map(|message| message["executable"].as_str())
        .context("cargo built no pidtap")?;
    Ok(PathBuf::from(binary))
}

/// Fails where a build of the program has no probes.
pub(crate) fn probes(messages: &[Value]) -> anyhow::Result<()> {
    let probes = messages
        .iter()
        .filter(|message| message["reason"] == "build-script-executed")
        .filter_map(|message| message["out_dir"].as_str())
        .map(|folder| PathBuf::from(folder).join("pidtap-probes"))
        .find(|file| file.exists())
        .context("the build of tracer-user left no probes file: its build script has changed, and so must xtask")?;
    if fs::metadata(&probes)?.len() == 0 {
        bail!("pidtap was built without probes because bpf-linker is missing: run `cargo xtask setup`");
    }
    Ok(())
}

/// The same command for another target, with Rust's own linker. Without debug information and symbols, as programs go into a guest's
/// memory: by flags of the target alone, so that procedural macros and build scripts are those of other builds.
pub(crate) fn for_target<'command>(command: &'command mut Command, target: &str) -> &'command mut Command {
    let variable = |what: &str| format!("CARGO_TARGET_{}_{what}", target.to_uppercase().replace('-', "_"));
    command
        .args(["--target", target])
        .env(variable("LINKER"), "rust-lld")
        .env(variable("RUSTFLAGS"), "-C debuginfo=0 -C strip=symbols")
}

/// Runs a cargo command that builds, and returns its messages. Cargo shows warnings and errors as usual.
pub(crate) fn messages(command: &mut Command) -> anyhow::Result<Vec<Value>> {
    let text = output(command.arg("--message-format=json-render-diagnostics"))?;
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).context("cargo gave a message that is not JSON"))
        .collect()
}
