//! Runs the program as a shell does, with recordings that are made here.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context as _, ensure};
use pidtap::{
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, EventHeader, ProcessEvent, SocketEvent, TickEvent, call, direction, flag, origin,
            process,
        },
    },
    recording::{Header, Writer},
};
use tempfile::TempDir;

/// The program under test: `PIDTAP_BIN`, otherwise the newer of cargo's debug and release builds beside the test.
///
/// # Errors
///
/// There is no program.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("PIDTAP_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("this test does not know where it is")?;
    // target/debug/deps/cli-0123
    let target = test.ancestors().nth(3).context("this test is not in cargo's target folder")?;
    ["release", "debug"]
        .iter()
        .map(|profile| target.join(profile).join("pidtap"))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .context("there is no pidtap to test: run `cargo xtask build`, or set PIDTAP_BIN")
}

/// A temporary folder of a test, and the program that runs in it.
#[derive(Debug)]
pub struct Dir {
    folder: TempDir,
    program: PathBuf,
}

impl Dir {
    /// Makes an empty folder.
    ///
    /// # Errors
    ///
    /// There is no program, or no temporary folder.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("cannot make a temporary folder")?, program: program()? })
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A run of the program, with empty standard input and without environment variables that change its output.
    pub fn pidtap(&self, arguments: &[&str]) -> Run {
        self.run(&self.program, arguments)
    }

    /// A run of another program.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Run {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("NO_COLOR").env("TZ", "UTC");
        Run { command }
    }

    /// Copies the program into a place where every user may run it. Returns the path.
    ///
    /// # Errors
    ///
    /// The program cannot be copied.
    pub fn program_for_all(&self) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path("pidtap");
        // `cp` writes the copy. If this process wrote it, a child that another test forks meanwhile would hold it open for writing, and
        // nobody could execute it (ETXTBSY).
        let copied = Command::new("cp").arg(&self.program).arg(&path).status().context("cannot run cp")?;
        anyhow::ensure!(copied.success(), "cannot copy the program: cp ended with {copied}");
        for path in [self.folder.path(), &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("cannot open it for all")?;
        }
        Ok(path)
    }
}

/// A command that has not started.
#[derive(Debug)]
pub struct Run {
    command: Command,
}

impl Run {
    /// The command, for changes.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Runs the command with `input` as standard input.
    ///
    /// # Errors
    ///
    /// The command cannot be started.
    pub fn with_input(mut self, input: &[u8]) -> anyhow::Result<Ended> {
        let mut child = self.spawn(Stdio::piped())?;
        if let Some(mut stdin) = child.stdin.take() {
            // The program may close its input early.
            let _ = stdin.write_all(input);
        }
        Ended::of(child)
    }

    /// Runs the command.
    ///
    /// # Errors
    ///
    /// The command cannot be started.
    pub fn end(mut self) -> anyhow::Result<Ended> {
        let child = self.spawn(Stdio::null())?;
        Ended::of(child)
    }

    /// Starts the command with pipes for its outputs.
    ///
    /// # Errors
    ///
    /// The command cannot be started.
    pub fn spawn(&mut self, stdin: Stdio) -> anyhow::Result<Child> {
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", self.command))
    }
}

/// The end of a run.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    fn of(child: Child) -> anyhow::Result<Self> {
        let Output { status, stdout, stderr } = child.wait_with_output().context("cannot wait for it")?;
        Ok(Self {
            status: status.code(),
            stdout: String::from_utf8(stdout).context("standard output is not UTF-8")?,
            stderr: String::from_utf8(stderr).context("standard error is not UTF-8")?,
        })
    }

    /// Asserts the exit status, and that nothing panicked.
    ///
    /// # Errors
    ///
    /// The status is another, or the program panicked.
    pub fn status(self, expected: i32) -> anyhow::Result<Self> {
        ensure!(self.status == Some(expected), "expected exit status {expected}: {self:#?}");
        ensure!(!self.stderr.contains("panicked"), "it panicked: {}", self.stderr);
        Ok(self)
    }

    /// Asserts that it ended by itself and without a fault of its own.
    ///
    /// # Errors
    ///
    /// A signal ended it, it panicked, or it ran out of memory or stack without a message of pidtap's.
    pub fn orderly(self, case: &str) -> anyhow::Result<Self> {
        ensure!(self.status.is_some(), "{case}: a signal ended it: {}", self.stderr);
        for bad in ["panicked", "bug in pidtap", "memory allocation", "stack overflow"] {
            ensure!(!self.stderr.contains(bad) && !self.stdout.contains(bad), "{case}: {self:?}");
        }
        Ok(self)
    }

    /// Asserts that standard error has all of these.
    ///
    /// # Errors
    ///
    /// A part is missing.
    pub fn says(self, parts: &[&str]) -> anyhow::Result<Self> {
        for part in parts {
            ensure!(self.stderr.contains(part), "{part:?} is not said: {}", self.stderr);
        }
        Ok(self)
    }

    /// The objects on standard output.
    ///
    /// # Errors
    ///
    /// A line is no JSON.
    pub fn json(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }
}

/// One request and one response to record.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The request's bytes.
    pub request: &'a [u8],
    /// The response's bytes.
    pub response: &'a [u8],
}

/// A small GET and its answer.
pub const PAIR: Pair<'_> = Pair {
    request: b"GET /hello?q=1 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    response: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
};

/// Ids in the recordings.
const PID: u32 = 1234;

/// A recording of a server `server` (1234) that accepts a connection for each pair.
///
/// # Errors
///
/// The recording cannot be written.
pub fn recording<'a>(pairs: impl IntoIterator<Item = Pair<'a>>) -> anyhow::Result<Vec<u8>> {
    let mut time = 1_000_000_000;
    let mut tick = || {
        time += 100_000;
        EventHeader { time_ns: time, kind: 0, flags: 0, length: 0, tgid: PID, tid: PID }
    };
    let mut writer = Writer::new(Vec::new(), &Header::default())?;
    let mut write = |event: Event<'_>| -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        Ok(writer.write_event(&bytes)?)
    };
    let mut name = [0; 16];
    name[..6].copy_from_slice(b"server");
    write(Event::Process(ProcessEvent {
        header: EventHeader { flags: flag::NAMED_TARGET, ..tick() },
        other_tgid: 1,
        exit_code: 0,
        action: process::FOUND,
        reserved: [0; 7],
        name,
    }))?;
    write(Event::Attached(AttachedEvent {
        header: tick(),
        realtime_offset_ns: 1_795_233_906_000_000_000,
        call_capture: 1 << 20,
        ring_size: 1 << 24,
    }))?;
    for (index, pair) in pairs.into_iter().enumerate() {
        let connection = 1_000 + index as u64;
        write(Event::Socket(accepted(tick(), connection)))?;
        let data = |header, way, call, bytes: &[u8], opposite| DataEvent {
            header: EventHeader { flags: flag::SEQUENCE | flag::LAST, ..header },
            connection,
            position: 1,
            opposite_position: opposite,
            result: bytes.len() as i32,
            offset: 0,
            captured: bytes.len() as u32,
            fd: 5,
            direction: way,
            call,
            reserved: [0; 6],
        };
        write(Event::Data(data(tick(), direction::RECEIVE, call::READ, pair.request, 1), pair.request))?;
        let opposite = 1 + pair.request.len() as u64;
        write(Event::Data(data(tick(), direction::SEND, call::WRITE, pair.response, opposite), pair.response))?;
    }
    write(Event::Detached(TickEvent { header: tick(), lost_events: [0; 6], lost_bytes: [0; 6] }))?;
    Ok(writer.finish()?)
}

/// The event of an accepted connection on loopback.
pub(crate) fn accepted(header: EventHeader, connection: u64) -> SocketEvent {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[127, 0, 0, 1]);
    SocketEvent {
        header: EventHeader { flags: flag::SEQUENCE, ..header },
        connection,
        send_position: 1,
        receive_position: 1,
        local: address,
        remote: address,
        local_port: 80,
        remote_port: 40_000,
        family: 2,
        protocol: 6,
        result: 0,
        fd: 5,
        state: 1,
        origin: origin::ACCEPT,
        reserved: [0; 2],
        netns: 0,
    }
}

/// A path as an argument.
///
/// # Panics
///
/// The path of a temporary folder is not UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
