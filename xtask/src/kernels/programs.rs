//! The program, the live tests and what they trace, as guests run them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::{fetch, guest::Programs, matrix::Foreign};
use crate::{
    command::{find, say},
    compile,
};

const LIVE: [&str; 8] = ["test", "--no-run", "--package", "tracer-tests", "--test", "live", "--bin", "tracee"];

/// Those of this machine: the same files as are tested on it.
pub(super) fn own(pidtap: &Path) -> anyhow::Result<Programs> {
    let messages = compile::messages(&LIVE)?;
    Ok(Programs {
        busybox: find("busybox").context("there is no busybox: run `cargo xtask setup`")?,
        pidtap: pidtap.to_owned(),
        live: built(&messages, "live", "test")?,
        traced: vec![built(&messages, "tracee", "bin")?],
    })
}

/// Those of another architecture, in the dev profile, which optimises dependencies: most of a start there is the kernel.
pub(super) fn foreign(foreign: &Foreign) -> anyhow::Result<Programs> {
    let Foreign { target, busybox } = foreign;
    say(&format!("building pidtap and the live tests for {target}"));
    let program = compile::messages_for(target, &["build", "--package", "tracer-user", "--bin", "pidtap"])?;
    compile::probes(&program)?;
    let messages = compile::messages_for(target, &LIVE)?;
    let folder = fetch::unpacked(busybox)?;
    Ok(Programs {
        busybox: fetch::find(&folder, "busybox").with_context(|| format!("{} holds no busybox", folder.display()))?,
        pidtap: built(&program, "pidtap", "bin")?,
        live: built(&messages, "live", "test")?,
        traced: vec![built(&messages, "tracee", "bin")?],
    })
}

/// The program of this name that cargo built.
fn built(messages: &[Value], name: &str, kind: &str) -> anyhow::Result<PathBuf> {
    messages
        .iter()
        .filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == kind)
        .filter(|message| (message["profile"]["test"] == true) == (kind == "test"))
        .find_map(|message| message["executable"].as_str())
        .map(PathBuf::from)
        .with_context(|| format!("cargo built no {name}"))
}
