//! The file descriptors that a program inherits.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use crate::child::{PATIENCE, wait_for};

/// The link of each descriptor of a process: a path, or the kind of the open file.
pub type Links = BTreeMap<u32, PathBuf>;

/// The links of a process; `None` if it has ended.
pub fn links(pid: u32) -> Option<Links> {
    let each = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    each.map(|entry| {
        let entry = entry.ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
    })
    .collect()
}

/// Descriptors beyond the standard streams that this process inherited and passes on to its children. Usually there are none.
///
/// # Errors
///
/// `sleep` cannot be run.
pub fn inherited() -> anyhow::Result<Links> {
    let mut sleep = Command::new("sleep").arg("60").spawn()?;
    let found = wait_for("sleep", PATIENCE, || sleeps(sleep.id()).then(|| links(sleep.id())).flatten());
    sleep.kill()?;
    sleep.wait()?;
    Ok(found?.into_iter().filter(|(number, _)| *number > 2).collect())
}

/// Waits for a child of `pid` that runs `sleep`.
///
/// # Errors
///
/// No child runs it within the bound.
pub fn sleeper(pid: u32) -> anyhow::Result<u32> {
    let below = || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let children: String =
            threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok()).collect();
        children.split_whitespace().filter_map(|child| child.parse().ok()).find(|child| sleeps(*child))
    };
    wait_for("the command", PATIENCE, below)
}

/// Whether the process is `sleep`, and has loaded its libraries.
fn sleeps(pid: u32) -> bool {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    read("comm").trim() == "sleep" && read("wchan").contains("nanosleep")
}
