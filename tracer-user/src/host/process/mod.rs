//! Processes: resolves the words of the command line (PIDs and names) to targets.
//!
//! The `procfs` crate parses files of `/proc` that have a grammar (`stat` with its parentheses, `status`), but does not
//! read them: the crate rejects files that are not UTF-8, so a process could hide by its name. Descriptors are read
//! without the crate (see [`crate::host::sockdiag`]): a target may have tens of thousands, and the crate makes three
//! system calls for each instead of one.

mod error;
mod namespace;
mod permit;
mod program;
mod resolve;

use std::{collections::HashMap, fs};

pub use error::{ExitClass, ProcessError};
pub use namespace::{Namespaces, check_initial_pid_namespace};
pub use permit::{CONFIGURATION, Permit};
use procfs::{FromRead, process::Stat};
pub use program::is_32_bit;
pub(crate) use program::read_bounded;
pub use resolve::{Resolved, resolve};
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    event::{
        Event, Timestamp,
        wire::{EventHeader, ProcessEvent, flag, process as process_action},
    },
    text::escape::Foreign,
};

/// `PF_KTHREAD` of `include/linux/sched.h`: the flag of a kernel thread in `/proc/PID/stat`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A process to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Process ID (thread group ID) in the initial PID namespace.
    pub pid: u32,
    /// Process name (`comm`).
    pub name: Foreign,
    /// Start time in clock ticks since boot. Together with `pid` it distinguishes the process from later ones with the
    /// same PID.
    pub start_time: u64,
    /// Process ID of the parent; 0 if there is none or it is not visible.
    pub parent: u32,
}

impl Target {
    /// Finds the process with this PID.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] if it does not exist or cannot be traced (a kernel thread or a zombie).
    pub fn find(pid: u32) -> Result<Self, ProcessError> {
        resolve::traceable(pid).map(|(target, _)| target)
    }

    /// Checks that the process is still the one that was found. Called again once the probes are attached, as a process
    /// that ended before produces no event.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Vanished`] if it has ended, also if another process has the PID now.
    pub fn confirm(&self) -> Result<(), ProcessError> {
        let vanished = || ProcessError::Vanished { pid: self.pid, name: self.name.clone() };
        let stat = stat(self.pid).ok_or_else(vanished)?;
        // The start time decides: state Z with other threads is a process whose first thread ended.
        if stat.starttime != self.start_time || is_dead(&stat) {
            return Err(vanished());
        }
        Ok(())
    }

    /// Opens a pidfd of the process, which becomes readable when the process ends. The pidfd certainly refers to this
    /// process, not to a later one.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Vanished`] if it has ended.
    pub fn open(&self) -> Result<OwnedFd, ProcessError> {
        let vanished = || ProcessError::Vanished { pid: self.pid, name: self.name.clone() };
        let pid = Pid::from_raw(self.pid as i32).ok_or_else(vanished)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| vanished())?;
        // Open before the check: an open pidfd cannot come to refer to another process.
        self.confirm()?;
        Ok(descriptor)
    }

    /// Appends the PROCESS event (`FOUND`) of this process. `named` means that the user named it, as opposed to a
    /// followed child.
    pub fn encode_found(&self, time: Timestamp, named: bool, buffer: &mut Vec<u8>) {
        let mut name = [0; 16];
        // `comm` has at most 15 bytes; the last one stays zero.
        for (to, from) in name[..15].iter_mut().zip(self.name.raw().bytes()) {
            *to = from;
        }
        let event = ProcessEvent {
            header: EventHeader {
                time_ns: time.0,
                kind: 0,
                flags: if named { flag::NAMED_TARGET } else { 0 },
                length: 0,
                tgid: self.pid,
                tid: self.pid,
            },
            other_tgid: self.parent,
            exit_code: 0,
            action: process_action::FOUND,
            reserved: [0; 7],
            name,
        };
        Event::Process(event).encode(buffer);
    }

    fn from_stat(stat: Stat) -> Self {
        Self {
            pid: stat.pid as u32,
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            start_time: stat.starttime,
            name: stat.comm.into(),
        }
    }
}

/// Confirms several targets ([`Target::confirm`]). Returns the existing ones and the errors of the others. If a name
/// matches many processes, one that ends right now (a replaced worker) does not prevent the trace of the others.
///
/// # Errors
///
/// [`ProcessError::Vanished`] if none is left, or if another process has the PID of one, as that process would be
/// traced instead.
pub fn confirm_all(targets: Vec<Target>) -> Result<(Vec<Target>, Vec<ProcessError>), ProcessError> {
    let mut there = Vec::with_capacity(targets.len());
    let mut gone = Vec::new();
    for target in targets {
        match target.confirm() {
            Ok(()) => there.push(target),
            Err(error) if stat(target.pid).is_some_and(|stat| stat.starttime != target.start_time) => {
                return Err(error);
            }
            Err(error) => gone.push(error),
        }
    }
    if there.is_empty() { Err(gone.pop().unwrap_or(ProcessError::NothingNamed)) } else { Ok((there, gone)) }
}

/// Name (`comm`) of any process, for messages.
pub fn name(pid: u32) -> Option<Foreign> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(Foreign::from_bytes(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
}

/// All current descendants of `roots`, parents before children, without the roots. This covers children that exist when
/// tracing begins; the kernel side follows later ones.
///
/// If pidtap itself is a descendant, as in a trace of the own shell, the result excludes pidtap, its children, and the
/// processes that only started it (`sudo`). The probes also exclude pidtap and therefore follow none of its children.
pub fn descendants(roots: &[u32]) -> Vec<Target> {
    let stats: Vec<Stat> = all_stats().collect();
    let own = resolve::own_family(&stats);
    let mut children: HashMap<u32, Vec<Target>> = HashMap::new();
    for stat in stats {
        // Skipping pidtap also skips its children, unless pidtap is a root.
        if !is_dead(&stat) && stat.pid as u32 != std::process::id() {
            let target = Target::from_stat(stat);
            children.entry(target.parent).or_default().push(target);
        }
    }
    let mut found: Vec<Target> = roots.iter().flat_map(|root| children.remove(root).unwrap_or_default()).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|target| target.pid) {
        found.extend(children.remove(&parent).unwrap_or_default());
        next += 1;
    }
    // Other children of `sudo` stay in the result.
    found.retain(|target| !roots.contains(&target.pid) && !own.contains(&target.pid));
    found
}

/// Parsed `/proc/PID/stat` of a process.
fn stat(pid: u32) -> Option<Stat> {
    read_lossy(pid, "stat")
}

/// All processes, without those that end during the scan.
fn all_stats() -> impl Iterator<Item = Stat> {
    all_pids().filter_map(stat)
}

/// The PIDs of all processes.
pub(crate) fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Reads and parses a file of a process in `/proc`; bytes of the name that are not UTF-8 are replaced.
fn read_lossy<T: FromRead>(pid: u32, file: &str) -> Option<T> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    T::from_read(String::from_utf8_lossy(&bytes).as_bytes()).ok()
}

/// Whether the process is a zombie without a running thread, or is being removed.
fn is_dead(stat: &Stat) -> bool {
    // If only the first thread has ended, the state is Z although other threads run. They count in num_threads besides
    // the first.
    matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1
}

fn is_kernel_thread(stat: &Stat) -> bool {
    stat.flags & PF_KTHREAD != 0
}

#[cfg(test)]
mod tests;
