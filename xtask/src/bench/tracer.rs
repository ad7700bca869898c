//! pidtap as it is measured.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::machine;

/// Bound for pidtap to attach, to catch up, or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A pidtap that traces one process and writes JSON to a file.
pub(super) struct Tracer {
    child: Child,
    folder: TempDir,
}

/// The end of a trace.
pub(super) struct Reported {
    /// Number of exchange lines.
    pub(super) exchanges: u64,
    pub(super) lost_events: u64,
}

impl Tracer {
    /// Starts pidtap and waits until it has attached.
    pub(super) fn attach(pidtap: &Path, pid: u32, recording: Option<&Path>) -> anyhow::Result<Self> {
        let mut tracer = Self::start(pidtap, pid, recording)?;
        tracer.wait_for(|line| line.starts_with("{\"type\":\"attached\""))?;
        Ok(tracer)
    }

    /// Starts pidtap.
    pub(super) fn start(pidtap: &Path, pid: u32, recording: Option<&Path>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pidtap-bench-").tempdir().context("no temporary folder")?;
        let errors = File::create(folder.path().join("errors"))?;
        let mut command = Command::new(pidtap);
        command.arg(pid.to_string()).args(["-o", "json", "--output-file"]).arg(folder.path().join("output"));
        if let Some(recording) = recording {
            command.arg("--record").arg(recording);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("could not start {}", pidtap.display()))?;
        Ok(Self { child, folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of the output fits.
    pub(super) fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let begin = Instant::now();
        let path = self.folder.path().join("output");
        let mut text = String::new();
        let mut file = None;
        loop {
            if file.is_none() {
                file = File::open(&path).ok();
            }
            if let Some(file) = &mut file {
                file.read_to_string(&mut text)?;
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                if whole.lines().any(&wanted) {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("pidtap ended early ({status}): {}", self.errors());
            }
            if begin.elapsed() > PATIENCE {
                bail!("pidtap did not report after {PATIENCE:?}: {}", self.errors());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the output no longer grows: then pidtap has done all its work.
    pub(super) fn wait_until_idle(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut before = Duration::MAX;
        while begin.elapsed() < PATIENCE {
            let now = machine::cpu(self.child.id()).with_context(|| self.errors())?;
            // Ticks take some time: below 2 % of a processor, pidtap is idle.
            if now.saturating_sub(before) < Duration::from_millis(4) && before != Duration::MAX {
                return Ok(());
            }
            before = now;
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("pidtap is still busy {PATIENCE:?} after the load ended")
    }

    /// Ends the trace with SIGINT and counts the reported exchanges.
    pub(super) fn finish(mut self) -> anyhow::Result<Reported> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::INT)?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                bail!("pidtap did not end {PATIENCE:?} after SIGINT: {}", self.errors());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        if !status.success() {
            bail!("pidtap failed ({status}): {}", self.errors());
        }
        let mut exchanges = 0;
        let mut last = Vec::new();
        let mut lines = BufReader::with_capacity(1 << 20, File::open(self.folder.path().join("output"))?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            exchanges += u64::from(line.starts_with(b"{\"type\":\"exchange\""));
            std::mem::swap(&mut line, &mut last);
            line.clear();
        }
        let summary: Value = serde_json::from_slice(&last).context("the last line of the output is no JSON")?;
        if summary["type"] != "summary" {
            bail!("the last line of the output is not the summary: {summary}");
        }
        if summary["exchanges"].as_u64() != Some(exchanges) {
            bail!("the summary counts {} exchanges, the output has {exchanges}", summary["exchanges"]);
        }
        let lost_events = summary["lost_events"].as_u64().context("the summary has no lost_events")?;
        Ok(Reported { exchanges, lost_events })
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Has no effect after `finish`, which waits for the process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
