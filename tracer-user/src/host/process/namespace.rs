//! Namespaces: where a process stands, and whether pidtap itself stands where it has to.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::ProcessError;

/// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`: the number of the initial PID namespace on every kernel.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Inode numbers of the namespaces of a process; 0 for what cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Network.
    pub net: u64,
    /// Process numbers.
    pub pid: u64,
    /// Mounts.
    pub mount: u64,
    /// Users.
    pub user: u64,
}

impl Namespaces {
    /// Of the process with this number.
    pub fn of(pid: u32) -> Self {
        Self::read(&pid.to_string())
    }

    /// Of pidtap itself.
    pub fn own() -> Self {
        Self::read("self")
    }

    fn read(process: &str) -> Self {
        let inode = |kind: &str| fs::metadata(format!("/proc/{process}/ns/{kind}")).map_or(0, |meta| meta.ino());
        Self { net: inode("net"), pid: inode("pid"), mount: inode("mnt"), user: inode("user") }
    }
}

/// Whether pidtap runs in the initial PID namespace. The probes see process numbers of that one alone, so that from
/// inside another nothing that is typed or printed would agree with what they see.
///
/// # Errors
///
/// [`ProcessError::InsidePidNamespace`], or [`ProcessError::NoProc`] where `/proc` does not tell.
pub fn check_initial_pid_namespace() -> Result<(), ProcessError> {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(meta) if meta.ino() == INITIAL_PID_NAMESPACE => Ok(()),
        Ok(_) => Err(ProcessError::InsidePidNamespace),
        // With another namespace's /proc mounted, `self` leads nowhere.
        Err(_) if fs::metadata("/proc/version").is_ok() => Err(ProcessError::InsidePidNamespace),
        Err(error) => Err(ProcessError::NoProc { reason: error.to_string() }),
    }
}
