//! Current state of the threads of a process: its system call, the object it waits on, and whether it runs.
//!
//! The sources are `/proc/PID/task/TID/{stat,schedstat,syscall,wchan}`. A descriptor is looked up in `/proc/PID/fd`;
//! those of `poll` and `select` are read from the process's memory. Nothing is stopped or modified.
//!
//! Cost: about 15 us of CPU per thread; see [`look`].

mod call;
mod memory;
mod thread;

use std::{fs, io};

use memory::Memory;
use rustc_hash::FxHashSet;

use crate::event::{Timestamp, wire};

/// Maximum number of threads inspected per process.
pub const MAX_THREADS: usize = 64;

/// Maximum number of awaited children inspected per process.
const MAX_CHILDREN: usize = 4;

/// Selection of the threads to inspect.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Threads that come before all others.
    pub tids: &'a [u32],
    /// Sockets (inode numbers) that are preferred if a thread waits on several.
    pub connections: &'a FxHashSet<u64>,
    /// Thread ID after which the other threads begin, in ascending order and then from the first again. Successive
    /// looks with rising values cover all threads of a process.
    pub after: u32,
}

/// Inspects threads of a process: the wanted ones, the first, and others, up to [`MAX_THREADS`]. Awaited children come
/// first. The last event has [`wire::flag::LOOKED`] and belongs to the process itself. The result is empty if the
/// process has ended or may not be inspected.
///
/// The cost is one listing of the threads, and 10 to 15 system calls per inspected thread.
pub fn look(pid: u32, wanted: Wanted<'_>, time: Timestamp) -> Vec<wire::ThreadEvent> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut all: Vec<u32> = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let threads = all.len() as u32;
    sort(&mut all, pid, wanted);
    all.truncate(MAX_THREADS);
    // Opened on first use, by a thread whose call has arguments in memory.
    let mut memory: Option<Memory> = None;
    let mut events: Vec<wire::ThreadEvent> = all
        .into_iter()
        .filter_map(|tid| {
            let mut event = thread::read(pid, tid, time)?;
            event.threads = threads;
            call::explain(&mut event, pid, wanted.connections, &mut memory);
            Some(event)
        })
        .collect();
    // Awaited children: one thread of each, for its name and state. This is no complete look at the child.
    let children: Vec<wire::ThreadEvent> = events
        .iter()
        .filter_map(call::child)
        .take(MAX_CHILDREN)
        .filter_map(|child| {
            let mut event = thread::read(child, child, time)?;
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

/// Error if inspecting the threads of a process is forbidden.
pub fn refused(pid: u32) -> Option<io::Error> {
    let error = fs::read(format!("/proc/{pid}/task/{pid}/syscall")).err()?;
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(error)
}

/// Finds threads of a process that wait for input on a single socket. Inspects [`MAX_THREADS`] threads after `after`,
/// in turn, and also returns the last inspected thread ID. The cost is 3 system calls per thread, plus that of [`look`]
/// for the matching ones.
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
        if !thread::call(pid, tid).is_some_and(call::receives) {
            return None;
        }
        let mut event = thread::read(pid, tid, time)?;
        event.threads = threads;
        call::explain(&mut event, pid, &connections, &mut memory);
        (event.waits_on == wire::waits_on::SOCKET).then_some(event)
    });
    (receiving.collect(), last)
}

/// Orders the wanted threads first, then the first thread of the process, then the others in turn.
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
