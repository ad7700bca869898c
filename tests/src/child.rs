//! Child processes of the tests, and bounded waits.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// The usual bound of a wait. Most waits take milliseconds; the bound is far longer, as tests also run on emulated processors.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Interval between two checks of a condition.
const LOOK: Duration = Duration::from_millis(2);

/// Checks a condition until it returns a value.
///
/// # Errors
///
/// The condition returns no value within `bound`.
pub fn wait_for<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("{what}: not within {bound:?}");
        }
        thread::sleep(LOOK);
    }
}

/// Whether a process has installed a handler for a signal.
pub fn catches(pid: u32, signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask >> (signal.as_raw() - 1) & 1 != 0)
}

/// A process that reads and writes lines. It is killed and reaped when this value is dropped.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Guarded {
    /// Starts the process with piped standard input and output.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}; is it installed? (`cargo xtask setup`)"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("its standard output is piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name, child, input, lines })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output.
    ///
    /// # Errors
    ///
    /// No line comes within [`PATIENCE`].
    pub fn line(&self) -> anyhow::Result<String> {
        self.lines.recv_timeout(PATIENCE).with_context(|| format!("no line from {}", self.name))
    }

    /// The rest of its next line, which must begin with `word`.
    ///
    /// # Errors
    ///
    /// The line has another beginning, or no line comes.
    pub fn expect(&self, word: &str) -> anyhow::Result<String> {
        let line = self.line()?;
        let rest = line.strip_prefix(word).with_context(|| format!("{} said {line:?}, not {word:?}", self.name))?;
        Ok(rest.trim().to_owned())
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    ///
    /// The process no longer reads.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its standard input was closed")?;
        writeln!(input, "{line}").with_context(|| format!("{} reads no more", self.name))
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    ///
    /// The process does not end within the bound.
    pub fn wait(&mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        let Self { name, child, .. } = self;
        wait_for(&format!("end of {name}"), bound, || child.try_wait().ok().flatten())
    }

    /// Kills the process with SIGKILL.
    ///
    /// # Errors
    ///
    /// The process cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        /// Time for a server to end its workers, which would outlive a killed server.
        const GRACE: Duration = Duration::from_secs(2);
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.wait(GRACE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
