//! Privileges of each thread of a process, from `/proc/PID/task`.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;

/// Privileges of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// Real, effective, saved and file system user id.
    pub users: String,
    /// Effective capabilities.
    pub effective: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Bounding set: capabilities that an `exec` can give.
    pub bounding: u64,
    /// Inheritable and ambient capabilities.
    pub inherited: u64,
    /// Whether an `exec` gives no privileges (`no_new_privs`).
    pub no_new: bool,
}

/// Privileges by thread name. Of several threads with one name, those of the most privileged one.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn of_threads(pid: u32) -> anyhow::Result<BTreeMap<String, Privileges>> {
    let mut threads = BTreeMap::<String, Privileges>::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // The thread may have ended meanwhile.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let name = value(&status, "Name")?.to_owned();
        let privileges = parse(&status)?;
        let known = threads.entry(name).or_insert_with(|| privileges.clone());
        if privileges.permitted.count_ones() > known.permitted.count_ones() {
            *known = privileges;
        }
    }
    Ok(threads)
}

/// Privileges of the first thread of a process.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn of_process(pid: u32) -> anyhow::Result<Privileges> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status"))?)
}

fn parse(status: &str) -> anyhow::Result<Privileges> {
    let set = |name| anyhow::Ok(u64::from_str_radix(value(status, name)?, 16)?);
    Ok(Privileges {
        users: value(status, "Uid")?.split_whitespace().collect::<Vec<_>>().join(" "),
        effective: set("CapEff")?,
        permitted: set("CapPrm")?,
        bounding: set("CapBnd")?,
        inherited: set("CapInh")? | set("CapAmb")?,
        no_new: value(status, "NoNewPrivs")? == "1",
    })
}

fn value<'a>(status: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).with_context(|| format!("no line {name}"))
}
