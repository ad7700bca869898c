//! What the threads of a process do at this moment: which system call each is in, on what, and whether it runs.
//!
//! Read from `/proc/PID/task/TID/{stat,schedstat,syscall,wchan}`; the descriptor that a call waits on is looked up in
//! `/proc/PID/fd`, those of `poll` and `select` in the process's memory, which is read only. Nothing is stopped and
//! nothing is changed.
//!
//! Cost: about 15 us of CPU for each thread looked at; see [`look`].

mod call;
mod memory;
mod task;

use std::{fs, io};

use memory::Memory;
use rustc_hash::FxHashSet;

use crate::event::{Timestamp, wire};

/// Threads of one process that are looked at, at most.
pub const MAX_THREADS: usize = 64;

/// Children of one process that are looked at because its threads wait for them, at most.
const MAX_CHILDREN: usize = 4;

/// Which threads matter.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Threads that are looked at before all others.
    pub tids: &'a [u32],
    /// Sockets that are named before others where a thread waits on several.
    pub connections: &'a FxHashSet<u64>,
    /// From which of the other threads on: those after it, in the order of their numbers, then from the first again.
    /// Looks with rising values see all threads of a process in turn.
    pub after: u32,
}

/// Looks at a process's threads: those that are wanted, the first, and others, [`MAX_THREADS`] in all. The last event
/// has [`wire::flag::LOOKED`], and is of the process itself: children that its threads wait for come before. Empty where the
/// process has ended, or must not be looked at.
///
/// Costs one listing of the threads, and 10 to 15 system calls for each that is looked at.
pub fn look(pid: u32, wanted: Wanted<'_>, time: Timestamp) -> Vec<wire::ThreadEvent> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut all: Vec<u32> = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let threads = all.len() as u32;
    sort(&mut all, pid, wanted);
    all.truncate(MAX_THREADS);
    // Opened once, and only where a thread is in a call whose arguments are in memory.
    let mut memory: Option<Memory> = None;
    let mut events: Vec<wire::ThreadEvent> = all
        .into_iter()
        .filter_map(|tid| {
            let mut event = task::read(pid, tid, time)?;
            event.threads = threads;
            call::explain(&mut event, pid, wanted.connections, &mut memory);
            Some(event)
        })
        .collect();
    // The children that they wait for: what they are called, and what they do. Of a child, one thread is looked at: that
    // is no look at all of it.
    let children: Vec<wire::ThreadEvent> = events
        .iter()
        .filter_map(call::child)
        .take(MAX_CHILDREN)
        .filter_map(|child| {
            let mut event = task::read(child, child, time)?;
            call::explain(&mut event, child, wanted.connections, &mut None);
            Some(event)
        })
        .collect();
    events.splice(..0, children);
    if let Some(last) = events.last_mut() {
        last.header.flags |= wire::flag::LOOKED;
    }
    events
}

/// Why it cannot be known what the threads of a process wait on, where that is forbidden.
pub fn refused(pid: u32) -> Option<io::Error> {
    let error = fs::read(format!("/proc/{pid}/task/{pid}/syscall")).err()?;
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(error)
}

/// Threads of a process that wait for something to come on a single socket: [`MAX_THREADS`] are looked at, from `after` on
/// in turn. Also gives the last that was looked at. Costs 3 system calls a thread, and what [`look`] does for those that
/// wait so.
pub fn receiving(pid: u32, after: u32, time: Timestamp) -> (Vec<wire::ThreadEvent>, u32) {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/task")) else { return (Vec::new(), 0) };
    let mut all: Vec<u32> = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let threads = all.len() as u32;
    all.sort_unstable_by_key(|tid| (*tid <= after, *tid));
    all.truncate(MAX_THREADS);
    let last = all.last().copied().unwrap_or(0);
    let connections = FxHashSet::default();
    let mut memory: Option<Memory> = None;
    let receiving = all.into_iter().filter_map(|tid| {
        if !task::call(pid, tid).is_some_and(call::receives) {
            return None;
        }
        let mut event = task::read(pid, tid, time)?;
        event.threads = threads;
        call::explain(&mut event, pid, &connections, &mut memory);
        (event.waits_on == wire::waits_on::SOCKET).then_some(event)
    });
    (receiving.collect(), last)
}

/// Wanted ones first, then the process's first thread, then the others in turn.
fn sort(all: &mut [u32], pid: u32, wanted: Wanted<'_>) {
    all.sort_unstable_by_key(|tid| {
        let place = if wanted.tids.contains(tid) {
            0
        } else if *tid == pid {
            1
        } else if *tid > wanted.after {
            2
        } else {
            3
        };
        (place, *tid)
    });
}

#[cfg(test)]
mod tests;
