//! Processes: from what was typed (numbers and names) to targets that are certain.
//!
//! `/proc` is parsed by the `procfs` crate where a file has a grammar of its own (`stat` with its parentheses, `status`). It is
//! not read by it: the crate refuses a file that is not UTF-8, and so a process could hide by its name. Descriptors are read plainly (see [`crate::sockdiag`]): a target may have tens of
//! thousands, and the crate makes three system calls of each where one does.

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

/// `PF_KTHREAD` of `include/linux/sched.h`: the flag of a thread of the kernel in `/proc/PID/stat`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// One process to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Process (thread group) id, in the initial PID namespace.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: Foreign,
    /// Start time in clock ticks since boot: with `pid`, what tells this process from a later one of the same number.
    pub start_time: u64,
    /// Its parent, 0 where it has none (or none that is seen).
    pub parent: u32,
}

impl Target {
    /// The process with this number now.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] where there is none, or none that can be traced: a thread of the kernel, a zombie.
    pub fn find(pid: u32) -> Result<Self, ProcessError> {
        resolve::traceable(pid).map(|(target, _)| target)
    }

    /// Whether the process is still the one that was found. Called again once the probes are live: a process that
    /// ended before that gives no event.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Vanished`] where it ended, or another has its number now.
    pub fn confirm(&self) -> Result<(), ProcessError> {
        let vanished = || ProcessError::Vanished { pid: self.pid, name: self.name.clone() };
        let stat = stat(self.pid).ok_or_else(vanished)?;
        // The start time is the test: state Z with other threads is a process whose first thread ended.
        if stat.starttime != self.start_time || is_dead(&stat) {
            return Err(vanished());
        }
        Ok(())
    }

    /// A descriptor of the process, readable when it ends; certain to be of this process and no later one.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Vanished`] where it is not there any more.
    pub fn open(&self) -> Result<OwnedFd, ProcessError> {
        let vanished = || ProcessError::Vanished { pid: self.pid, name: self.name.clone() };
        let pid = Pid::from_raw(self.pid as i32).ok_or_else(vanished)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| vanished())?;
        // Open first, compare after: once the descriptor exists, it cannot come to mean another process.
        self.confirm()?;
        Ok(descriptor)
    }

    /// Appends the PROCESS event (`FOUND`) of this process. `named` is whether the user asked for it (it is not a
    /// child that is followed).
    pub fn encode_found(&self, time: Timestamp, named: bool, buffer: &mut Vec<u8>) {
        let mut name = [0; 16];
        // comm has at most 15 bytes; the last stays zero.
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

/// [`Target::confirm`] for several: those that are still there, and what is to be said of the others. Where a name means
/// many processes, one that ends in this moment (a worker that is replaced) is no reason not to trace the rest.
///
/// # Errors
///
/// [`ProcessError::Vanished`] where none is left; also where another process has the number of one by now, which would
/// be traced in its place.
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

/// Name (`comm`) of a process, for what has to be said of a process that is not a target.
pub fn name(pid: u32) -> Option<Foreign> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(Foreign::from_bytes(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
}

/// All processes that descend from `roots` now, parents before children, without the roots themselves. For following
/// children that were there before tracing began; those started later are followed in the kernel.
///
/// Whoever traces the own shell does not mean pidtap: it is left out, with all that it started and what started it alone (`sudo`).
/// The probes leave it out as well, and so follow none of its children.
pub fn descendants(roots: &[u32]) -> Vec<Target> {
    let stats: Vec<Stat> = all_stats().collect();
    let own = resolve::own_family(&stats);
    let mut children: HashMap<u32, Vec<Target>> = HashMap::new();
    for stat in stats {
        // Whose parent is pidtap is found only where pidtap is a root.
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
    // What `sudo` started beside pidtap stays.
    found.retain(|target| !roots.contains(&target.pid) && !own.contains(&target.pid));
    found
}

/// `/proc/PID/stat` of one process (not of a thread that is not a process's first).
fn stat(pid: u32) -> Option<Stat> {
    read_lossy(pid, "stat")
}

/// Every process there is. Those that end during the look are left out.
fn all_stats() -> impl Iterator<Item = Stat> {
    all_pids().filter_map(stat)
}

/// The numbers of all processes.
pub(crate) fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A file of a process in `/proc`, whatever bytes the process has for its name.
fn read_lossy<T: FromRead>(pid: u32, file: &str) -> Option<T> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    T::from_read(String::from_utf8_lossy(&bytes).as_bytes()).ok()
}

/// A zombie with no thread left that runs, or one being removed.
fn is_dead(stat: &Stat) -> bool {
    // When only the first thread ended, the process is shown as Z although the others run on; they count in
    // num_threads beside the first.
    matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1
}

fn is_kernel_thread(stat: &Stat) -> bool {
    stat.flags & PF_KTHREAD != 0
}

#[cfg(test)]
mod tests;
