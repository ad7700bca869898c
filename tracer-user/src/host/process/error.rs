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
    #[error("no process was given; specify a PID or a program name, for example `pidtap nginx`")]
    NothingNamed,
    /// No process has this ID.
    #[error("no process has PID {pid}{}; `ps -e` lists all processes", Hint(hint))]
    NoSuchPid {
        /// PID as typed.
        pid: Foreign,
        /// Suggestion; empty if there is none.
        hint: String,
    },
    /// No process has this name.
    #[error("no process is named `{name}`{}; `ps -e` lists all processes", Hint(hint))]
    NoSuchName {
        /// Name as typed.
        name: Foreign,
        /// Suggestion; empty if there is none.
        hint: String,
    },
    /// The process ended between look-up and tracing.
    #[error(
        "cannot trace process {pid} ({name}): it ended before tracing began; look up its new PID, or trace it by name"
    )]
    Vanished {
        /// Process ID.
        pid: u32,
        /// Process name.
        name: Foreign,
    },
    /// The process is a kernel thread.
    #[error(
        "cannot trace {pid} ({name}): it is a kernel thread, which makes no system calls; specify the program whose \
         traffic you want to see"
    )]
    KernelThread {
        /// Process ID.
        pid: u32,
        /// Process name.
        name: Foreign,
    },
    /// The process is a zombie.
    #[error(
        "cannot trace process {pid} ({name}): it has ended and is a zombie until its parent {parent} ({parent_name}) \
         reaps it; trace the parent, or the process that replaced it"
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
        "cannot trace process {pid} ({name}): it belongs to {owner}, but pidtap was started by user {uid} and may \
         trace only that user's processes; run pidtap with `sudo`, or let root add the line `any-user` to \
         {CONFIGURATION}, which applies to everyone who may start this pidtap"
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
    #[error("cannot use {CONFIGURATION}: {reason}; fix or remove it as root (see `ls -l {CONFIGURATION}`)")]
    Configuration {
        /// Reason of the refusal.
        reason: String,
    },
    /// The process is pidtap itself.
    #[error("cannot trace {pid}: it is this pidtap itself; specify another process")]
    Itself {
        /// Process ID.
        pid: u32,
    },
    /// pidtap does not run in the initial PID namespace.
    #[error(
        "cannot trace here: pidtap runs in its own PID namespace (probably a container), where PIDs differ from those \
         that the probes see; run pidtap on the host, or start its container with `--pid=host --privileged` (in \
         Kubernetes: `hostPID: true`)"
    )]
    InsidePidNamespace,
    /// `/proc` is missing or not readable.
    #[error("cannot read /proc: {reason}; mount it with `mount -t proc proc /proc`")]
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
