//! Run times of eBPF programs, measured by the kernel.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use serde_json::Value;

use crate::command::{find, output};

/// Switches the kernel's measurement on and off. It makes the programs a little slower.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Number of runs and run time of a program since it was loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe {
    pub(super) name: String,
    pub(super) runs: u64,
    pub(super) nanoseconds: u64,
}

/// Keeps the kernel's measurement on, and restores the switch when dropped.
pub(super) struct Measuring {
    before: String,
}

impl Measuring {
    pub(super) fn begin() -> anyhow::Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("could not read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("could not write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, &self.before);
    }
}

/// All loaded programs by their id.
pub(super) fn loaded() -> anyhow::Result<BTreeMap<u64, Probe>> {
    let bpftool = find("bpftool").context("bpftool is not installed: run `cargo xtask setup`")?;
    let text = output(std::process::Command::new(bpftool).args(["--json", "prog", "show"]))?;
    let programs: Vec<Value> = serde_json::from_str(&text).context("bpftool gave no list of programs")?;
    let number = |program: &Value, key: &str| program[key].as_u64().unwrap_or(0);
    Ok(programs
        .iter()
        .map(|program| {
            let name = program["name"].as_str().unwrap_or("?").to_owned();
            let probe = Probe { name, runs: number(program, "run_cnt"), nanoseconds: number(program, "run_time_ns") };
            (number(program, "id"), probe)
        })
        .collect())
}

/// Runs and times between two samples, of the programs that an earlier, third sample lacks. Leaves out programs that did not run.
pub(super) fn between(
    earlier: &BTreeMap<u64, Probe>,
    first: &BTreeMap<u64, Probe>,
    last: &BTreeMap<u64, Probe>,
) -> Vec<Probe> {
    last.iter()
        .filter(|(id, _)| !earlier.contains_key(id))
        .map(|(id, probe)| {
            let before = first.get(id).cloned().unwrap_or_default();
            Probe {
                name: probe.name.clone(),
                runs: probe.runs - before.runs,
                nanoseconds: probe.nanoseconds - before.nanoseconds,
            }
        })
        .filter(|probe| probe.runs > 0)
        .collect()
}
