//! Building.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::command::{cargo, output, say};

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version=1", "--no-deps", "--offline"]))
        .or_else(|_| output(cargo().args(["metadata", "--format-version=1", "--no-deps"])))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata gave no JSON")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}

/// Builds the program with its probes; gives its path.
pub(crate) fn release() -> anyhow::Result<PathBuf> {
    say("building pidtap (release)");
    let messages = messages(&["build", "--release", "--package", "tracer-user", "--bin", "pidtap"])?;
    probes(&messages)?;
    let binary = messages
        .iter()
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "pidtap")
        .find_map(|message| message["executable"].as_str())
        .context("cargo built no pidtap")?;
    Ok(PathBuf::from(binary))
}

/// Fails where a build of the program left it without probes.
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

/// Runs a cargo command that builds; gives its messages. Warnings and errors are shown as always.
pub(crate) fn messages(arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    run(cargo().args(arguments))
}

/// The same for another target, with Rust's own linker. Without debug information: programs go into a guest's memory.
pub(crate) fn messages_for(target: &str, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    run(cargo()
        .args(arguments)
        .args(["--target", target])
        .env(linker, "rust-lld")
        .envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_STRIP", "true")]))
}

fn run(command: &mut Command) -> anyhow::Result<Vec<Value>> {
    let text = output(command.arg("--message-format=json-render-diagnostics"))?;
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).context("cargo gave a message that is not JSON"))
        .collect()
}
