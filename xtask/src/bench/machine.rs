//! Facts about this machine and its processes, from the kernel.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Context as _;

/// The machine, for the report.
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) arch: &'static str,
    pub(super) nginx: String,
    /// Runnable processes before the measurement, averaged over a minute.
    pub(super) load: f64,
}

impl Machine {
    pub(super) fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            arch: std::env::consts::ARCH,
            nginx: nginx_version(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN),
        }
    }
}

fn nginx_version() -> String {
    let output = crate::command::find("nginx").and_then(|nginx| Command::new(nginx).arg("-v").output().ok());
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    text.rsplit('/').next().unwrap_or_default().trim().to_owned()
}

/// A thread and the processor time it has used.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) cpu: Duration,
}

/// The threads of a process. `/proc/PID/task/TID/schedstat` counts nanoseconds, where `stat` counts clock ticks.
pub(super) fn threads(pid: u32) -> anyhow::Result<Vec<Thread>> {
    let folder = format!("/proc/{pid}/task");
    let mut threads = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("could not read {folder}: process {pid} is gone"))? {
        let path = entry?.path();
        // A thread may end meanwhile.
        if let Some(thread) = thread(&path) {
            threads.push(thread);
        }
    }
    Ok(threads)
}

fn thread(folder: &Path) -> Option<Thread> {
    let schedstat = fs::read_to_string(folder.join("schedstat")).ok()?;
    let name = fs::read_to_string(folder.join("comm")).ok()?;
    Some(Thread {
        id: folder.file_name()?.to_str()?.parse().ok()?,
        name: name.trim().to_owned(),
        cpu: Duration::from_nanos(schedstat.split(' ').next()?.parse().ok()?),
    })
}

/// Processor time that all threads of a process have used.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    Ok(threads(pid)?.iter().map(|thread| thread.cpu).sum())
}

/// Resident memory of a process in bytes.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("there is no VmRSS in status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1024)
}
