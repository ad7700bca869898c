//! `pidtap run`: starts a command only after the probes are attached, so that no byte is missed.
//!
//! pidtap starts itself with a hidden subcommand ([`HOLD_SUBCOMMAND`]). That process waits for one byte on a pipe and
//! then becomes the command by `exec`. Its process ID is thus known and traced before the first instruction of the
//! command. If pidtap ends before it writes the byte, the pipe is closed and the command never runs.
//!
//! The held process opens the pipe as `/proc/PIDTAP/fd/N` and does not inherit it. Both ends stay close-on-exec, so the
//! command gets no additional descriptor, and no raw descriptor number has to be trusted (which would need `unsafe`).
//! The number may name another file once pidtap has closed the pipe, so the held process also gets the inode of the
//! pipe and reads from nothing else. A socket would work too, but its byte would be the first traffic that the probes
//! see.
//!
//! Signals: unless screens use the terminal, the command stays in pidtap's process group, so that Ctrl-C reaches both.
//! The command decides how to react; pidtap continues until the command ends, also after a second Ctrl-C, which the
//! command receives as well. [`Launched::forward`] forwards a `SIGTERM` or `SIGHUP` sent to pidtap alone.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, IsTerminal as _, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::PermissionsExt as _,
            process::{CommandExt as _, ExitStatusExt as _, parent_id},
        },
    },
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, OwnedFd},
    fs::{FileType, Gid, Uid, fchown, fstat},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal},
    thread::clear_ambient_capability_set,
};
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    host::{
        identity::{Identity, Ids},
        limits::{self, Given},
    },
    text::escape::Foreign,
};

/// Name of the hidden subcommand: `pidtap hold-and-exec PIPE INODE -- CMD ARG...`.
pub const HOLD_SUBCOMMAND: &str = "hold-and-exec";

/// Exit status of a shell if the command is not found.
pub const STATUS_NOT_FOUND: u8 = 127;
/// Exit status of a shell if the command cannot be executed.
pub const STATUS_NOT_EXECUTABLE: u8 = 126;

/// Standard streams of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// The streams of pidtap.
    Own,
    /// Standard output is pidtap's standard error, as pidtap's standard output carries the results.
    StdoutToStderr,
    /// Streams that are a terminal become pipes to pidtap, which uses the terminal itself; standard input is empty. The
    /// command gets its own process group, so that keys meant for pidtap do not reach it.
    Piped,
}

/// Reason why a command did not start.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The program does not exist.
    #[error("cannot run `{command}`: no such {}; check the spelling{}", kind(command.raw()), advice(command.raw()))]
    NotFound {
        /// Command as typed.
        command: Foreign,
    },
    /// The program exists but cannot be executed.
    #[error(
        "cannot run `{command}`: {path} is not executable; make it executable with `chmod +x`, or put its interpreter \
         first"
    )]
    NotExecutable {
        /// Command as typed.
        command: Foreign,
        /// File that was found.
        path: Foreign,
    },
    /// The held process could not be started.
    #[error(
        "cannot start `{command}`: {operation} failed ({source}); check the limits on processes and files (`ulimit -a`)"
    )]
    Start {
        /// Command as typed.
        command: Foreign,
        /// Operation that failed.
        operation: &'static str,
        /// Error from the kernel.
        source: io::Error,
    },
    /// The held process ended before it became the command.
    #[error("cannot run `{command}`: its process ended before the command started ({status}); try again")]
    Ended {
        /// Command as typed.
        command: Foreign,
        /// Exit status of the held process.
        status: ExitStatus,
    },
    /// Waiting for the process failed.
    #[error("cannot wait for process {pid}: {source}; it may still be running, check with `ps -p {pid}`")]
    Wait {
        /// Process ID.
        pid: u32,
        /// Error from the kernel.
        source: io::Error,
    },
}

impl LaunchError {
    /// Exit status as a shell reports it: 127 not found, 126 not executable; 1 otherwise.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound { .. } => STATUS_NOT_FOUND,
            Self::NotExecutable { .. } => STATUS_NOT_EXECUTABLE,
            Self::Start { .. } | Self::Ended { .. } | Self::Wait { .. } => 1,
        }
    }
}

fn kind(command: &str) -> &'static str {
    if command.contains('/') { "file" } else { "program in PATH" }
}

fn advice(command: &str) -> &'static str {
    if command.contains('/') {
        " and the directory"
    } else {
        ", or use the full path (`sudo` may set a shorter PATH than yours)"
    }
}

/// A command that is held or runs. If dropped without [`Self::release`], the command never runs.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Used for signals and waiting; unlike the process ID, it cannot refer to another process.
    pidfd: OwnedFd,
    /// Write end of the pipe whose byte releases the command; `None` once written.
    hold: Option<OwnedFd>,
    /// Read end of the pipe, kept until the held process has certainly opened it.
    hold_read: Option<OwnedFd>,
    /// Becomes true when the process ends; created by the first wait.
    ended: Option<watch::Receiver<bool>>,
    command: String,
}

impl Launched {
    /// Starts the process that will become the command, and holds it.
    ///
    /// # Errors
    ///
    /// [`LaunchError`] if the command does not exist or cannot be executed, or if no process can be started.
    pub fn spawn(
        command: &OsStr,
        args: &[OsString],
        streams: Streams,
        identity: Option<&Identity>,
        limits: &Given,
    ) -> Result<Self, LaunchError> {
        let text = command.to_string_lossy().into_owned();
        // Reported before anything is loaded into the kernel; `exec` decides finally.
        find_command(command)?;
        let failed = |operation| {
            let command = Foreign::from(text.as_str());
            move |source: io::Error| LaunchError::Start { command, operation, source }
        };
        let (hold_read, hold) =
            pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(failed("creating a pipe"))?;
        let mut process = Command::new("/proc/self/exe");
        process.arg0("pidtap").arg(HOLD_SUBCOMMAND);
        process.arg(format!("/proc/{}/fd/{}", std::process::id(), hold_read.as_raw_fd()));
        process.arg(fstat(&hold_read).map_err(io::Error::from).map_err(failed("fstat"))?.st_ino.to_string());
        if let Some(identity) = identity {
            process.arg(format!("--as={}", identity.ids)).envs(identity.environment());
        }
        if !limits.is_empty() {
            process.arg(format!("--limits={limits}"));
        }
        process.arg("--").arg(command).args(args);
        match streams {
            Streams::Own => {}
            Streams::StdoutToStderr => {
                let stderr = io::stderr().as_fd().try_clone_to_owned().map_err(failed("duplicating standard error"))?;
                process.stdout(Stdio::from(stderr));
            }
            Streams::Piped => {
                process.process_group(0).stdout(Stdio::piped());
                if io::stdin().is_terminal() {
                    process.stdin(Stdio::null());
                }
                if io::stderr().is_terminal() {
                    process.stderr(Stdio::piped());
                }
            }
        }
        let child = process.spawn().map_err(failed("starting a process"))?;
        if let Some(identity) = identity {
            give_pipes(&child, &identity.ids);
        }
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).map_err(failed("pidfd_open"))?;
        Ok(Self { child, pidfd, hold: Some(hold), hold_read: Some(hold_read), ended: None, command: text })
    }

    /// Process ID, which `exec` keeps.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes standard output and standard error if they are [`Streams::Piped`]. Works once.
    pub fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Name of the command as typed.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Lets the command run. Call this once the probes are attached.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Ended`] if the held process is gone (Ctrl-C reaches it too).
    pub fn release(&mut self) -> Result<(), LaunchError> {
        let Some(hold) = self.hold.take() else { return Ok(()) };
        // The read end stays open in this process until the command has ended, so this write always finds a reader,
        // however late the held process opens the pipe. The status is read before the write, as a quick command may end
        // normally right after it.
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(LaunchError::Ended { command: self.command.as_str().into(), status });
        }
        rustix::io::write(&hold, &[1]).map(drop).map_err(|error| LaunchError::Start {
            command: self.command.as_str().into(),
            operation: "releasing the process",
            source: error.into(),
        })
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Wait`] if the kernel refuses.
    pub fn wait(&mut self) -> Result<ExitStatus, LaunchError> {
        let pid = self.pid();
        let status = self.child.wait().map_err(|source| LaunchError::Wait { pid, source })?;
        self.hold_read = None;
        Ok(status)
    }

    /// Waits for the end of the process without blocking the runtime. It can be cancelled and called again.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Wait`] if the kernel refuses.
    pub async fn wait_async(&mut self) -> Result<ExitStatus, LaunchError> {
        let mut ended = match &self.ended {
            Some(ended) => ended.clone(),
            None => self.watch_end()?,
        };
        // An error means that the thread is gone, which happens only after the end of the process.
        let _ = ended.wait_for(|&ended| ended).await;
        self.wait()
    }

    /// Starts the thread that waits for the pidfd, which becomes readable when the process ends. tokio's `AsyncFd` has
    /// no safe constructor, and its `process` module would have to start the command itself.
    fn watch_end(&mut self) -> Result<watch::Receiver<bool>, LaunchError> {
        let pid = self.pid();
        let failed = |source| LaunchError::Wait { pid, source };
        let (sender, receiver) = watch::channel(false);
        let pidfd = self.pidfd.try_clone().map_err(failed)?;
        thread::Builder::new()
            .name("run-wait".to_owned())
            .spawn(move || {
                while poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) == Err(Errno::INTR) {}
                let _ = sender.send(true);
            })
            .map_err(failed)?;
        self.ended = Some(receiver.clone());
        Ok(receiver)
    }

    /// Forwards a signal to the command. A command that has ended is not an error.
    ///
    /// # Errors
    ///
    /// The error of the kernel: another user owns the command, and `CAP_KILL` is missing.
    pub fn forward(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Launched {
    /// A held process that is not released exits when the pipe closes; waiting for it avoids a zombie.
    fn drop(&mut self) {
        if self.hold.take().is_some() {
            self.hold_read = None;
            let _ = self.child.wait();
        }
    }
}

/// Exit status of pidtap for the command's status: the same code, or 128 plus the signal that killed it.
pub fn exit_status_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => 1,
    }
}

/// Settings of a held command besides its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held<'a> {
    /// Inode of the pipe, which identifies it.
    pub inode: u64,
    /// IDs to run with, if they differ from pidtap's.
    pub ids: Option<&'a Ids>,
    /// Original values of the limits that pidtap raised for itself.
    pub limits: Option<&'a Given>,
}

/// Implements the hidden subcommand: waits for the byte on the pipe at `path` (in `/proc` of the parent) with the inode
/// of `held`, then becomes the command. Returns only on failure, with the exit status and an optional message.
pub fn hold_and_exec(path: &Path, held: Held<'_>, command: &OsStr, args: &[OsString]) -> (u8, Option<String>) {
    if !is_of_parent(path) {
        return (2, Some(format!("`{HOLD_SUBCOMMAND}` is internal to `pidtap run`; use `pidtap run -- CMD`")));
    }
    // pidtap has ended and has reported the reason itself.
    let Some(mut pipe) = open_pipe(path, held.inode) else { return (1, None) };
    // After opening the pipe, which root owns; before the wait, so that no work remains once tracing has begun.
    if let Some(ids) = held.ids
        && let Err(error) = ids.take()
    {
        let command = command.to_string_lossy();
        return (
            1,
            Some(format!("cannot run `{command}` as user {}: {error}; use `--user root` to run it as root", ids.uid)),
        );
    }
    let mut byte = [0];
    if pipe.read_exact(&mut byte).is_err() {
        return (1, None);
    }
    drop(pipe);
    // Capabilities granted to pidtap are not for the command. (Those of root are: the user ran `sudo` for that.)
    if !rustix::process::getuid().is_root() {
        let _ = clear_ambient_capability_set();
    }
    let mut process = Command::new(command);
    process.args(args);
    // Last, as pidtap itself may not get far with these limits. A refusal here concerns a value in effect before pidtap
    // raised it.
    let _ = held.limits.map(Given::restore);
    let error = process.exec();
    let status = if error.kind() == io::ErrorKind::NotFound { STATUS_NOT_FOUND } else { STATUS_NOT_EXECUTABLE };
    let command = command.to_string_lossy();
    let user = held.ids.map_or_else(String::new, |ids| format!(" as user {}", ids.uid));
    let advice = match error.kind() {
        // `execve` fails so after a change of user (`PF_NPROC_EXCEEDED`).
        io::ErrorKind::WouldBlock => "raise the user's limit on processes (`ulimit -u`)",
        _ => limits::advice(&error).unwrap_or("check the file, its format and its interpreter"),
    };
    (status, Some(format!("cannot run `{command}`{user}: {error}; {advice}")))
}

/// Opens the pipe; `None` if the number refers to another file.
fn open_pipe(path: &Path, inode: u64) -> Option<File> {
    let pipe = File::open(path).or_else(|_| take_from_parent(path)).ok()?;
    let stat = fstat(&pipe).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && stat.st_ino == inode).then_some(pipe)
}

/// Copies a descriptor of the parent by number. If the program file has capabilities and the user is not root, the
/// parent's directory in `/proc` belongs to root and cannot be entered without `CAP_DAC_READ_SEARCH`. This process has
/// `CAP_SYS_PTRACE`, like the parent, which suffices for `pidfd_getfd`.
fn take_from_parent(path: &Path) -> io::Result<File> {
    let number = path.file_name().and_then(OsStr::to_str).and_then(|number| number.parse().ok());
    let parent = i32::try_from(parent_id()).ok().and_then(Pid::from_raw);
    let (Some(number), Some(parent)) = (number, parent) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let parent = pidfd_open(parent, PidfdFlags::empty())?;
    Ok(File::from(pidfd_getfd(parent, number, PidfdGetfdFlags::empty())?))
}

/// Gives the pipes to the command's user, who can then also open `/dev/stdout`. (Both ends share one inode.) If this
/// fails, the descriptors still work.
fn give_pipes(child: &Child, ids: &Ids) {
    let pipes = [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)];
    for pipe in pipes.into_iter().flatten() {
        let _ = fchown(pipe, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid)));
    }
}

/// Whether the path is a descriptor of the parent; the subcommand opens nothing else.
fn is_of_parent(path: &Path) -> bool {
    path.to_str()
        .and_then(|path| path.strip_prefix(&format!("/proc/{}/fd/", parent_id())))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Finds the file that `exec` would run, by the same search.
fn find_command(command: &OsStr) -> Result<PathBuf, LaunchError> {
    let text = || Foreign::from_bytes(command.as_encoded_bytes());
    let candidates: Vec<PathBuf> = if command.as_encoded_bytes().contains(&b'/') {
        vec![PathBuf::from(command)]
    } else if command.is_empty() {
        Vec::new()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
        std::env::split_paths(&path).map(|folder| folder.join(command)).collect()
    };
    let mut found = None;
    for path in candidates {
        let Ok(meta) = fs::metadata(&path) else { continue };
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            return Ok(path);
        }
        found.get_or_insert(path);
    }
    Err(match found {
        Some(path) => LaunchError::NotExecutable { command: text(), path: Foreign::from(&*path) },
        None => LaunchError::NotFound { command: text() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_is_told_before_anything_starts() {
        let error = |command: &str| {
            Launched::spawn(OsStr::new(command), &[], Streams::Own, None, &Given::default())
                .map(|_| ())
                .expect_err(command)
        };
        assert_eq!(error("no-such-program-anywhere").exit_status(), STATUS_NOT_FOUND);
        assert_eq!(error("./no/such/file").exit_status(), STATUS_NOT_FOUND);
        assert_eq!(error("").exit_status(), STATUS_NOT_FOUND);
        assert_eq!(error("/etc/passwd").exit_status(), STATUS_NOT_EXECUTABLE);
        assert_eq!(error("/etc").exit_status(), STATUS_NOT_EXECUTABLE);
    }

    #[test]
    fn statuses_are_taken_over_as_a_shell_does() {
        assert_eq!(exit_status_of(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_status_of(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn only_the_parents_descriptors_are_opened() {
        let own = format!("/proc/{}/fd/", parent_id());
        assert!(is_of_parent(Path::new(&format!("{own}7"))));
        for path in ["/etc/passwd", "/proc/1/fd/../mem", own.as_str(), &format!("{own}../mem")] {
            // Process 1 may be the parent of a test in a container; its other files are still refused.
            assert!(!is_of_parent(Path::new(path)), "{path}");
        }
    }
}
