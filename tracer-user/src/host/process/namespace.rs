//! Namespaces of processes and of pidtap.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::ProcessError;

/// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`: inode number of the initial PID namespace on every kernel.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Inode numbers of the namespaces of a process; 0 if unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Network namespace.
    pub net: u64,
    /// PID namespace.
    pub pid: u64,
    /// Mount namespace.
    pub mount: u64,
    /// User namespace.
    pub user: u64,
}

impl Namespaces {
    /// Namespaces of the process with this PID.
    pub fn of(pid: u32) -> Self {
        Self::read(&pid.to_string())
    }

    /// Namespaces of pidtap.
    pub fn own() -> Self {
        Self::read("self")
    }

    fn read(process: &str) -> Self {
        let inode = |kind: &str| fs::metadata(format!("/proc/{process}/ns/{kind}")).map_or(0, |meta| meta.ino());
        Self { net: inode("net"), pid: inode("pid"), mount: inode("mnt"), user: inode("user") }
    }
}

/// Checks that pidtap runs in the initial PID namespace. The probes see only PIDs of that namespace, which would not
/// match the PIDs that pidtap reads and prints in another one.
///
/// # Errors
///
/// [`ProcessError::InsidePidNamespace`], or [`ProcessError::NoProc`] if `/proc` is not readable.
pub fn check_initial_pid_namespace() -> Result<(), ProcessError> {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(meta) if meta.ino() == INITIAL_PID_NAMESPACE => Ok(()),
        Ok(_) => Err(ProcessError::InsidePidNamespace),
        // If `/proc` belongs to another PID namespace, `self` leads nowhere.
        Err(_) if fs::metadata("/proc/version").is_ok() => Err(ProcessError::InsidePidNamespace),
        Err(error) => Err(ProcessError::NoProc { reason: error.to_string() }),
    }
}
