//! Errors of a target, with remedies.

use std::fmt;

use thiserror::Error;

use super::CONFIGURATION;
use crate::text::escape::Foreign;

/// Class of an error for the exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitClass {
    /// The command line is invalid (status 2).
    Usage,
    /// The process does not exist (status 3).
    NoProcess,
    /// Permission is missing (status 4).
    NotPermitted,
    /// The kernel or the environment lacks a feature (status 5).
    NotSupported,
}

/// Reason why a target cannot be traced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProcessError {
    /// No target was named.
    #[error("no process was named; give a PID or a program name, as in `pidtap nginx`")]
    NothingNamed,
    /// No process has this ID.
    #[error("there is no process {pid}{}; `ps -e` lists those there are", Hint(hint))]
    NoSuchPid {
        /// PID as typed.
        pid: Foreign,
        /// Suggestion; empty if there is none.
        hint: String,
    },
    /// No process has this name.
    #[error("no process is called `{name}`{}; `ps -e` lists those there are", Hint(hint))]
    NoSuchName {
        /// Name as typed.
        name: Foreign,
        /// Suggestion; empty if there is none.
        hint: String,
    },
    /// The process ended between look-up and tracing.
    #[error("process {pid} ({name}) ended before tracing began; look it up again, or trace it by name")]
    Vanished {
        /// Process ID.
        pid: u32,
        /// Process name.
        name: Foreign,
    },
    /// The process is a kernel thread.
    #[error(
        "{pid} ({name}) is a thread of the kernel: it makes no system calls, so there is nothing to trace; \
         name the program whose traffic you want to see"
    )]
    KernelThread {
        /// Process ID.
        pid: u32,
        /// Process name.
        name: Foreign,
    },
    /// The process is a zombie.
    #[error(
        "process {pid} ({name}) has ended already: it is a zombie until its parent {parent} ({parent_name}) \
         asks how it ended; trace the parent, or the process that took its place"
    )]
    Zombie {
        /// Process ID.
        pid: u32,
        /// Process name.
        name: Foreign,
        /// Process ID of the parent.
        parent: u32,
        /// Name of the parent.
        parent_name: Foreign,
    },
    /// Another user owns the process, and root did not start pidtap.
    #[error(
        "process {pid} ({name}) belongs to {owner}, and pidtap was started by user {uid}: its capabilities are for that \
         user's own processes; run it with `sudo`, or root writes the line `any-user` into {CONFIGURATION}, for all who may \
         start this pidtap"
    )]
    OfAnother {
        /// Process ID.
        pid: u32,
        /// Process name.
        name: Foreign,
        /// Owner, as text.
        owner: String,
        /// Real user ID of pidtap.
        uid: u32,
    },
    /// The configuration file is not trustworthy or not valid.
    #[error("{CONFIGURATION} is refused: {reason}; root mends or removes it (`ls -l {CONFIGURATION}`)")]
    Configuration {
        /// Reason of the refusal.
        reason: String,
    },
    /// The process is pidtap itself.
    #[error("{pid} is this pidtap itself, which cannot trace itself; name another process")]
    Itself {
        /// Process ID.
        pid: u32,
    },
    /// pidtap does not run in the initial PID namespace.
    #[error(
        "pidtap runs inside a PID namespace of its own (a container, most likely), where process numbers are not \
         those that the kernel's probes see; run pidtap on the host, or start its container with `--pid=host \
         --privileged` (in Kubernetes: `hostPID: true`)"
    )]
    InsidePidNamespace,
    /// `/proc` is missing or not readable.
    #[error("/proc cannot be read ({reason}); mount it with `mount -t proc proc /proc`")]
    NoProc {
        /// Error of reading it.
        reason: String,
    },
}

impl ProcessError {
    /// Class of the error for the exit status.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::NothingNamed | Self::Itself { .. } => ExitClass::Usage,
            Self::NoSuchPid { .. }
            | Self::NoSuchName { .. }
            | Self::Vanished { .. }
            | Self::KernelThread { .. }
            | Self::Zombie { .. } => ExitClass::NoProcess,
            Self::OfAnother { .. } | Self::Configuration { .. } => ExitClass::NotPermitted,
            Self::InsidePidNamespace | Self::NoProc { .. } => ExitClass::NotSupported,
        }
    }
}

/// Displays a hint in parentheses, or nothing if it is empty.
struct Hint<'a>(&'a str);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}
