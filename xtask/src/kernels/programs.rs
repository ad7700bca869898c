//! The programs of guests: pidtap, the live tests, and the programs that they trace.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::{fetch, guest::Programs, matrix::Foreign};
use crate::{
    command::{cargo, find, say},
    compile, test,
};

/// This machine's programs: the files of the other tiers.
pub(super) fn own(pidtap: &Path) -> anyhow::Result<Programs> {
    let messages = compile::messages(test::tests().args(["--no-run", "--test", "live"]))?;
    Ok(Programs {
        busybox: find("busybox").context("there is no busybox: run `cargo xtask setup`")?,
        pidtap: pidtap.to_owned(),
        live: built(&messages, "live", "test")?,
        traced: vec![built(&messages, "tracee", "bin")?],
    })
}

/// Builds programs for another architecture, in the dev profile: it optimises dependencies, and the emulated kernel takes most of the
/// time anyway.
pub(super) fn foreign(foreign: &Foreign) -> anyhow::Result<Programs> {
    let Foreign { target, busybox } = foreign;
    say(&format!("building pidtap and the live tests for {target}"));
    let mut command = cargo();
    command.args(["build", "--package", "tracer-user", "--package", "tracer-tests"]);
    command.args(["--bin", "pidtap", "--bin", "tracee", "--test", "live"]);
    let messages = compile::messages(compile::for_target(&mut command, target))?;
    compile::probes(&messages)?;
    let folder = fetch::unpacked(busybox)?;
    Ok(Programs {
        busybox: fetch::find(&folder, "busybox").with_context(|| format!("{} holds no busybox", folder.display()))?,
        pidtap: built(&messages, "pidtap", "bin")?,
        live: built(&messages, "live", "test")?,
        traced: vec![built(&messages, "tracee", "bin")?],
    })
}

/// The program that cargo built under this name.
fn built(messages: &[Value], name: &str, kind: &str) -> anyhow::Result<PathBuf> {
    messages
        .iter()
        .filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == kind)
        .filter(|message| (message["profile"]["test"] == true) == (kind == "test"))
        .find_map(|message| message["executable"].as_str())
        .map(PathBuf::from)
        .with_context(|| format!("cargo built no {name}"))
}
