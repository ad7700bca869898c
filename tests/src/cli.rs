//! Running the program from outside, as a shell would, with recordings made here.

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

/// The program under test: `PIDTAP_BIN`, else the newer of cargo's two beside the test.
///
/// # Errors
///
/// Where there is none.
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

/// A folder for one test, and the program to run in it.
#[derive(Debug)]
pub struct Dir {
    folder: TempDir,
    program: PathBuf,
}

impl Dir {
    /// A new, empty one.
    ///
    /// # Errors
    ///
    /// Where there is no program, or no temporary folder.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("cannot make a temporary folder")?, program: program()? })
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into it.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The program, with nothing to read and without the environment that changes what it prints.
    pub fn pidtap(&self, arguments: &[&str]) -> Run {
        self.run(&self.program, arguments)
    }

    /// Another program.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Run {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("NO_COLOR").env("TZ", "UTC");
        Run { command }
    }

    /// Copies the program to where anybody may run it, and gives the path.
    ///
    /// # Errors
    ///
    /// Those of copying.
    pub fn program_for_all(&self) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path("pidtap");
        // By another process: what this one has open for writing, a child that another test forks in this moment has
        // open too, and then it cannot be executed (ETXTBSY).
        let copied = Command::new("cp").arg(&self.program).arg(&path).status().context("cannot run cp")?;
        anyhow::ensure!(copied.success(), "cannot copy the program: cp ended with {copied}");
        for path in [self.folder.path(), &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("cannot open it for all")?;
        }
        Ok(path)
    }
}

/// A run to be.
#[derive(Debug)]
pub struct Run {
    command: Command,
}

impl Run {
    /// The command, to change what is special about it.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Runs it with `input` on standard input.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn with_input(mut self, input: &[u8]) -> anyhow::Result<Ended> {
        let mut child = self.spawn(Stdio::piped())?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have seen enough.
            let _ = stdin.write_all(input);
        }
        Ended::of(child)
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn end(mut self) -> anyhow::Result<Ended> {
        let child = self.spawn(Stdio::null())?;
        Ended::of(child)
    }

    /// Starts it, with pipes for its outputs.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn spawn(&mut self, stdin: Stdio) -> anyhow::Result<Child> {
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", self.command))
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; `None` for an end by a signal.
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
    /// Where it is another, with all that was printed.
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
        for bad in ["panicked", "fault of pidtap", "memory allocation", "stack overflow"] {
            ensure!(!self.stderr.contains(bad) && !self.stdout.contains(bad), "{case}: {self:?}");
        }
        Ok(self)
    }

    /// Asserts that standard error has all of these.
    ///
    /// # Errors
    ///
    /// Where it lacks one.
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
    /// Where a line is none.
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
    /// The response's.
    pub response: &'a [u8],
}

/// A small GET and its answer.
pub const PAIR: Pair<'_> = Pair {
    request: b"GET /hello?q=1 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    response: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
};

/// Numbers in recordings made here.
const PID: u32 = 1234;

/// A recording of a server `server` (1234) that accepts one connection for each of the pairs.
///
/// # Errors
///
/// Those of the writer, which has no reason for any.
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

/// As the command line takes it.
///
/// # Panics
///
/// Where a temporary folder's path is not UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
