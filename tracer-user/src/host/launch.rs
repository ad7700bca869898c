//! `pidtap run`: a command that starts only once the probes are live, so that not one byte of it is missed.
//!
//! pidtap starts itself once more with a hidden subcommand ([`HOLD_SUBCOMMAND`]). That process waits for one byte on a
//! pipe and then becomes the command by `exec`: the process id to trace is known, and traced, before the command's
//! first instruction. When pidtap ends before it writes the byte, the pipe ends and the command is never run.
//!
//! The held process reaches the pipe as `/proc/PIDTAP/fd/N`, not as an inherited descriptor: both ends stay
//! close-on-exec, so that the command gets no descriptor that it did not have without pidtap, and no raw descriptor
//! number has to be believed (which would need `unsafe`). A number may come to mean another file once pidtap has closed the
//! pipe: the held process is told the pipe's inode as well, and reads from nothing else. A socket would do as well, but its byte
//! would be the first traffic that the probes see.
//!
//! Signals: unless screens have the terminal, the command stays in pidtap's process group, so that Ctrl-C reaches both, as without pidtap. The command
//! decides what it does; pidtap goes on until the command has ended (a second Ctrl-C does not change that: it reaches
//! the command too). A `SIGTERM` or `SIGHUP` to pidtap alone is passed on with [`Launched::forward`].

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

/// The hidden subcommand with which pidtap starts itself: `pidtap HOLD_SUBCOMMAND PIPE INODE -- CMD ARG...`.
pub const HOLD_SUBCOMMAND: &str = "hold-and-exec";

/// Exit status of a shell for a command that is not there.
pub const STATUS_NOT_FOUND: u8 = 127;
/// Exit status of a shell for a command that cannot be executed.
pub const STATUS_NOT_EXECUTABLE: u8 = 126;

/// What the command's standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Those of pidtap.
    Own,
    /// Its standard output is pidtap's standard error, as pidtap's standard output is for the results.
    StdoutToStderr,
    /// Those that are a terminal are pipes to pidtap, which needs it for itself, and nothing to read. The command is in a process
    /// group of its own, so that keys which mean pidtap do not reach it.
    Piped,
}

/// Why a command was not started.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// No such program.
    #[error("cannot run `{command}`: there is no such {}; check the spelling{}", kind(command.raw()), advice(command.raw()))]
    NotFound {
        /// As it was typed.
        command: Foreign,
    },
    /// It is there, and cannot be executed.
    #[error("cannot run `{command}`: {path} is not an executable file; `chmod +x` it, or name its interpreter first")]
    NotExecutable {
        /// As it was typed.
        command: Foreign,
        /// The file that was found.
        path: Foreign,
    },
    /// The process that waits could not be started.
    #[error(
        "cannot start `{command}`: {operation} failed ({source}); check the limits on processes and files (`ulimit -a`)"
    )]
    Start {
        /// As it was typed.
        command: Foreign,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process ended, or was ended, before the command began.
    #[error("`{command}` was not run: the process that was to become it ended first ({status})")]
    Ended {
        /// As it was typed.
        command: Foreign,
        /// How it ended.
        status: ExitStatus,
    },
    /// Its end could not be waited for.
    #[error("cannot wait for process {pid}: {source}; it may run on, see `ps -p {pid}`")]
    Wait {
        /// Its number.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

impl LaunchError {
    /// The exit status that a shell would give: 127 not found, 126 not executable; 1 for the rest.
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
        " and the folder"
    } else {
        ", or give its whole path (`sudo` may set a shorter PATH than yours)"
    }
}

/// A command that waits to be released, or runs. Dropped without [`Self::release`], it ends without running.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// By this it is signalled and waited for: unlike its number it cannot come to mean another process.
    pidfd: OwnedFd,
    /// The end of the pipe whose byte releases it; `None` once that is written.
    hold: Option<OwnedFd>,
    /// The other end, kept until the held process has surely opened it.
    hold_read: Option<OwnedFd>,
    /// Becomes true when it has ended; there once somebody waits.
    ended: Option<watch::Receiver<bool>>,
    command: String,
}

impl Launched {
    /// Starts the process that will become the command, and holds it.
    ///
    /// # Errors
    ///
    /// [`LaunchError`]: the command is not there or cannot be executed, or no process could be started.
    pub fn spawn(
        command: &OsStr,
        args: &[OsString],
        streams: Streams,
        identity: Option<&Identity>,
        limits: &Given,
    ) -> Result<Self, LaunchError> {
        let text = command.to_string_lossy().into_owned();
        // Said now, before anything is loaded into the kernel; `exec` has the last word.
        find_command(command)?;
        let failed = |operation| {
            let command = Foreign::from(text.as_str());
            move |source: io::Error| LaunchError::Start { command, operation, source }
        };
        let (hold_read, hold) =
            pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(failed("making a pipe"))?;
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

    /// Its process number, which `exec` keeps.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output and standard error, where they are [`Streams::Piped`]; once.
    pub fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// The command's name as it was typed.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Lets the command run. To be called once the probes are live.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Ended`] where the held process is gone (Ctrl-C reaches it too).
    pub fn release(&mut self) -> Result<(), LaunchError> {
        let Some(hold) = self.hold.take() else { return Ok(()) };
        // The read end stays open here until the command has ended, so that this write can never meet a pipe without
        // a reader, however late the held process opens it.
        // Asked before the byte is written: after it, a quick command may have ended as it should.
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(LaunchError::Ended { command: self.command.as_str().into(), status });
        }
        rustix::io::write(&hold, &[1]).map(drop).map_err(|error| LaunchError::Start {
            command: self.command.as_str().into(),
            operation: "releasing it",
            source: error.into(),
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Wait`] where the kernel refuses.
    pub fn wait(&mut self) -> Result<ExitStatus, LaunchError> {
        let pid = self.pid();
        let status = self.child.wait().map_err(|source| LaunchError::Wait { pid, source })?;
        self.hold_read = None;
        Ok(status)
    }

    /// Waits for its end without blocking the runtime. Can be dropped and called again.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Wait`] where the kernel refuses.
    pub async fn wait_async(&mut self) -> Result<ExitStatus, LaunchError> {
        let mut ended = match &self.ended {
            Some(ended) => ended.clone(),
            None => self.watch_end()?,
        };
        // An error means that the thread is gone, which it is only after the end.
        let _ = ended.wait_for(|&ended| ended).await;
        self.wait()
    }

    /// Starts the one thread that waits for the pidfd to become readable, as it does when the process ends. Not tokio's
    /// `AsyncFd`, which has no safe constructor, and not its `process`, which would start the command for us.
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

    /// Passes a signal on to the command. That it has ended meanwhile is no error.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses: the command is another user's, and `CAP_KILL` is missing.
    pub fn forward(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Launched {
    /// A held process that is not released ends by itself when the pipe closes; it is not left a zombie.
    fn drop(&mut self) {
        if self.hold.take().is_some() {
            self.hold_read = None;
            let _ = self.child.wait();
        }
    }
}

/// The exit status that pidtap takes over from the command: its own, or 128 and the signal that ended it.
pub fn exit_status_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => 1,
    }
}

/// What is to be known of the command, beside its words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held<'a> {
    /// The pipe's own number, which nothing else has.
    pub inode: u64,
    /// As whom, where that is not who runs pidtap.
    pub ids: Option<&'a Ids>,
    /// The limits that pidtap raised for itself.
    pub limits: Option<&'a Given>,
}

/// The hidden subcommand: waits for the byte on the pipe at `path` (one in `/proc` of the parent) with the inode of
/// `held`, then becomes the command. Comes back only when that fails: with the exit status, and the message where there is something to say.
pub fn hold_and_exec(path: &Path, held: Held<'_>, command: &OsStr, args: &[OsString]) -> (u8, Option<String>) {
    if !is_of_parent(path) {
        return (2, Some(format!("`{HOLD_SUBCOMMAND}` is how `pidtap run` starts commands; use `pidtap run -- CMD`")));
    }
    // pidtap is gone already, or goes before it is ready: nothing is run, and it has said why itself.
    let Some(mut pipe) = open_pipe(path, held.inode) else { return (1, None) };
    // After the pipe was opened, which is root's; before the wait, so that nothing is left to do when tracing has begun.
    if let Some(ids) = held.ids
        && let Err(error) = ids.take()
    {
        let command = command.to_string_lossy();
        return (
            1,
            Some(format!("cannot run `{command}` as user {}: {error}; `--user root` runs it as root", ids.uid)),
        );
    }
    let mut byte = [0];
    if pipe.read_exact(&mut byte).is_err() {
        return (1, None);
    }
    drop(pipe);
    // What pidtap was granted is not for the command. (Root's is: that is what `sudo` is for.)
    if !rustix::process::getuid().is_root() {
        let _ = clear_ambient_capability_set();
    }
    let mut process = Command::new(command);
    process.args(args);
    // Last: with them, pidtap itself may not get far. What is refused here was so before pidtap raised it.
    let _ = held.limits.map(Given::restore);
    let error = process.exec();
    let status = if error.kind() == io::ErrorKind::NotFound { STATUS_NOT_FOUND } else { STATUS_NOT_EXECUTABLE };
    let command = command.to_string_lossy();
    let user = held.ids.map_or_else(String::new, |ids| format!(" as user {}", ids.uid));
    let advice = match error.kind() {
        // `execve` after a change of user (`PF_NPROC_EXCEEDED`).
        io::ErrorKind::WouldBlock => "raise the limit of that user's processes (`ulimit -u`)",
        _ => limits::advice(&error).unwrap_or("check the file, its format and its interpreter"),
    };
    (status, Some(format!("cannot run `{command}`{user}: {error}; {advice}")))
}

/// The pipe, unless the number means something else by now.
fn open_pipe(path: &Path, inode: u64) -> Option<File> {
    let pipe = File::open(path).or_else(|_| take_from_parent(path)).ok()?;
    let stat = fstat(&pipe).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && stat.st_ino == inode).then_some(pipe)
}

/// The parent's descriptor by its number. Its folder in `/proc` cannot be entered where the program file has capabilities and
/// the user is not root: the files there are root's then, and this process has no `CAP_DAC_READ_SEARCH`. It has
/// `CAP_SYS_PTRACE`, as the parent has.
fn take_from_parent(path: &Path) -> io::Result<File> {
    let number = path.file_name().and_then(OsStr::to_str).and_then(|number| number.parse().ok());
    let parent = i32::try_from(parent_id()).ok().and_then(Pid::from_raw);
    let (Some(number), Some(parent)) = (number, parent) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let parent = pidfd_open(parent, PidfdFlags::empty())?;
    Ok(File::from(pidfd_getfd(parent, number, PidfdGetfdFlags::empty())?))
}

/// The pipes belong to the command's user, who may then open `/dev/stdout` as well. (Both ends have one inode.) Without that, the
/// descriptors work all the same.
fn give_pipes(child: &Child, ids: &Ids) {
    let pipes = [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)];
    for pipe in pipes.into_iter().flatten() {
        let _ = fchown(pipe, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid)));
    }
}

/// Whether the path is one of the parent's descriptors: the subcommand opens nothing else.
fn is_of_parent(path: &Path) -> bool {
    path.to_str()
        .and_then(|path| path.strip_prefix(&format!("/proc/{}/fd/", parent_id())))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The file that `exec` would run, searched as it does.
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
            // Process 1 may be the parent of a test in a container; its other files are refused all the same.
            assert!(!is_of_parent(Path::new(path)), "{path}");
        }
    }
}
