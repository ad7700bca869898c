//! What can be wrong with a target, and what to do about it.

use std::fmt;

use thiserror::Error;

use super::CONFIGURATION;
use crate::text::escape::Foreign;

/// What an error means for the exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitClass {
    /// The command line asks for what makes no sense (status 2).
    Usage,
    /// There is no such process (status 3).
    NoProcess,
    /// Not permitted (status 4).
    NotPermitted,
    /// The kernel, or where pidtap runs, lacks something (status 5).
    NotSupported,
}

/// Why a target cannot be traced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProcessError {
    /// Nothing was named.
    #[error("no process was named; give a PID or a program name, as in `pidtap nginx`")]
    NothingNamed,
    /// No process has this number.
    #[error("there is no process {pid}{}; `ps -e` lists those there are", Hint(hint))]
    NoSuchPid {
        /// As it was typed.
        pid: Foreign,
        /// What may have been meant, empty where nothing is near.
        hint: String,
    },
    /// No process has this name.
    #[error("no process is called `{name}`{}; `ps -e` lists those there are", Hint(hint))]
    NoSuchName {
        /// As it was typed.
        name: Foreign,
        /// What may have been meant, empty where nothing is near.
        hint: String,
    },
    /// It was there when it was looked up, and is not any more.
    #[error("process {pid} ({name}) ended before tracing began; look it up again, or trace it by name")]
    Vanished {
        /// Its number.
        pid: u32,
        /// Its name.
        name: Foreign,
    },
    /// A thread of the kernel.
    #[error(
        "{pid} ({name}) is a thread of the kernel: it makes no system calls, so there is nothing to trace; \
         name the program whose traffic you want to see"
    )]
    KernelThread {
        /// Its number.
        pid: u32,
        /// Its name.
        name: Foreign,
    },
    /// It ended, and its parent has not taken notice yet.
    #[error(
        "process {pid} ({name}) has ended already: it is a zombie until its parent {parent} ({parent_name}) \
         asks how it ended; trace the parent, or the process that took its place"
    )]
    Zombie {
        /// Its number.
        pid: u32,
        /// Its name.
        name: Foreign,
        /// Number of its parent.
        parent: u32,
        /// Name of its parent.
        parent_name: Foreign,
    },
    /// It belongs to another user, and pidtap was not started by root.
    #[error(
        "process {pid} ({name}) belongs to {owner}, and pidtap was started by user {uid}: its capabilities are for that \
         user's own processes; run it with `sudo`, or root writes the line `any-user` into {CONFIGURATION}, for all who may \
         start this pidtap"
    )]
    OfAnother {
        /// Its number.
        pid: u32,
        /// Its name.
        name: Foreign,
        /// Whose it is.
        owner: String,
        /// The real user of pidtap.
        uid: u32,
    },
    /// The configuration cannot be believed.
    #[error("{CONFIGURATION} is refused: {reason}; root mends or removes it (`ls -l {CONFIGURATION}`)")]
    Configuration {
        /// Why.
        reason: String,
    },
    /// pidtap itself.
    #[error("{pid} is this pidtap itself, which cannot trace itself; name another process")]
    Itself {
        /// Its number.
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
        /// What the kernel said.
        reason: String,
    },
}

impl ProcessError {
    /// What it means for the exit status.
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

/// A hint in brackets, or nothing.
struct Hint<'a>(&'a str);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}
