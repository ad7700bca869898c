//! Runs the real program.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    child::{PATIENCE, wait_for},
    report::Report,
};

/// Bound for an attach. The probes load in well under a second, on an emulated processor in ten; the rest is for a busy machine.
const ATTACH: Duration = Duration::from_mins(3);
/// Bound for the end, in which pidtap writes its queues.
const STOP: Duration = Duration::from_mins(1);

/// The program under test: `PIDTAP_BIN`, otherwise cargo's build beside the tests.
///
/// # Errors
///
/// There is no program.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("PIDTAP_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).context("tests run from a target folder")?;
    let target = profile.parent().context("tests run from a target folder")?;
    [target.join("release/pidtap"), profile.join("pidtap")]
        .into_iter()
        .find(|path| path.is_file())
        .context("there is no pidtap binary: run `cargo xtask build`, or set PIDTAP_BIN")
}

/// A running pidtap that writes JSON to a file.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    folder: tempfile::TempDir,
}

impl Tracer {
    /// Attaches to processes, with secrets and whole bodies, and waits until the probes are attached.
    ///
    /// # Errors
    ///
    /// pidtap does not attach.
    pub fn attach(pids: &[u32], options: &[&str]) -> anyhow::Result<Self> {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut arguments: Vec<&OsStr> = vec![OsStr::new("attach")];
        arguments.extend(options.iter().map(OsStr::new));
        arguments.extend(pids.iter().map(OsStr::new));
        arguments.push(OsStr::new("--show-secrets"));
        Self::start(&arguments, &[])
    }

    /// Starts a command with `pidtap run`.
    ///
    /// # Errors
    ///
    /// pidtap does not attach.
    pub fn run(options: &[&str], command: &[&OsStr]) -> anyhow::Result<Self> {
        let mut arguments: Vec<&OsStr> = vec![OsStr::new("run"), OsStr::new("--show-secrets")];
        arguments.extend(options.iter().map(OsStr::new));
        let mut rest = vec![OsStr::new("--")];
        rest.extend(command);
        Self::start(&arguments, &rest)
    }

    /// Starts `pidtap demo`, with secrets masked.
    ///
    /// # Errors
    ///
    /// pidtap does not attach.
    pub fn demo() -> anyhow::Result<Self> {
        Self::start(&[OsStr::new("demo")], &[])
    }

    fn start(arguments: &[&OsStr], rest: &[&OsStr]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let errors = fs::File::create(folder.path().join("stderr"))?;
        let child = Command::new(binary()?)
            .args(arguments)
            .args(["-o", "json"])
            .arg("--output-file")
            .arg(folder.path().join("json"))
            .args(if arguments.contains(&OsStr::new("--body-limit")) { &[][..] } else { &["--body-limit", "128MiB"] })
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .context("cannot start pidtap")?;
        let mut tracer = Self { child, folder };
        let attached = wait_for("the attached line", ATTACH, || {
            let ended = tracer.child.try_wait().ok().flatten().is_some();
            (ended || tracer.output().contains(r#"{"type":"attached""#)).then_some(())
        });
        if attached.is_err() || !tracer.output().contains(r#"{"type":"attached""#) {
            bail!("pidtap did not attach: {}", tracer.errors());
        }
        Ok(tracer)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The JSON lines so far.
    pub fn output(&self) -> String {
        fs::read(self.folder.path().join("json"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Standard error so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Waits until the JSON lines contain a text.
    ///
    /// # Errors
    ///
    /// They do not within the usual patience.
    pub fn wait_for_output(&self, text: &str) -> anyhow::Result<()> {
        wait_for(&format!("{text:?} in pidtap's output"), PATIENCE, || self.output().contains(text).then_some(()))
    }

    /// Ends pidtap with SIGINT, and reads its report.
    ///
    /// # Errors
    ///
    /// pidtap fails, or its output is not as documented.
    pub fn stop(self) -> anyhow::Result<Report> {
        Ok(self.stop_with_text()?.0)
    }

    /// Also returns the JSON lines.
    ///
    /// # Errors
    ///
    /// As [`Self::stop`].
    pub fn stop_with_text(mut self) -> anyhow::Result<(Report, String)> {
        // pidtap may have ended with its target.
        if self.child.try_wait()?.is_none() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        }
        self.finish_with_text()
    }

    /// Waits until pidtap ends, and reads its report.
    ///
    /// # Errors
    ///
    /// pidtap fails, or its output is not as documented.
    pub fn finish(self) -> anyhow::Result<Report> {
        Ok(self.finish_with_text()?.0)
    }

    /// Also returns the JSON lines.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    pub fn finish_with_text(mut self) -> anyhow::Result<(Report, String)> {
        let status = wait_for("the end of pidtap", STOP, || self.child.try_wait().ok().flatten())?;
        if !status.success() {
            bail!("pidtap ended with {status}: {}", self.errors());
        }
        let text = self.output();
        let report = Report::parse(&text).with_context(|| format!("pidtap said: {}", self.errors()))?;
        Ok((report, text))
    }

    /// Kills pidtap with SIGKILL.
    ///
    /// # Errors
    ///
    /// pidtap cannot be killed.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
