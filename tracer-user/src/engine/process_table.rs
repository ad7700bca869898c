//! Names of processes, and which descriptor of which process names which connection.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::Timestamp;

/// What is known of the traced processes.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    processes: FxHashMap<u32, Process>,
}

#[derive(Debug, Default)]
struct Process {
    name: Option<Arc<str>>,
    /// Connection (inode) by file descriptor.
    descriptors: FxHashMap<i32, u64>,
    /// Descriptors that were given out again before the call that closed them returned, and when.
    overtaken: FxHashMap<i32, Timestamp>,
}

/// `close` frees a descriptor before it returns, so another thread may be given the same number meanwhile, and its event
/// comes first. Within this time the close that follows is that of the connection before.
const CLOSE_RETURNS_NS: u64 = 100_000_000;

/// Name of a process that is not known.
const UNKNOWN: &str = "?";

impl ProcessTable {
    pub(super) fn name(&self, pid: u32) -> Arc<str> {
        self.processes.get(&pid).and_then(|process| process.name.clone()).unwrap_or_else(|| Arc::from(UNKNOWN))
    }

    pub(super) fn set_name(&mut self, pid: u32, name: &[u8; 16]) {
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let process = self.processes.entry(pid).or_default();
        if length > 0 {
            process.name = Some(String::from_utf8_lossy(&name[..length]).into());
        }
    }

    /// A child has its parent's name and descriptors until it says otherwise.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let Some(process) = self.processes.get(&parent) else { return };
        let copy =
            Process { name: process.name.clone(), descriptors: process.descriptors.clone(), ..Process::default() };
        self.processes.insert(child, copy);
    }

    /// Forgets a process; gives the connections that it held.
    pub(super) fn exit(&mut self, pid: u32) -> Vec<u64> {
        let mut held: Vec<u64> =
            self.processes.remove(&pid).map(|process| process.descriptors.into_values().collect()).unwrap_or_default();
        held.sort_unstable();
        held.dedup();
        held
    }

    pub(super) fn open(&mut self, pid: u32, fd: i32, connection: u64) {
        self.processes.entry(pid).or_default().descriptors.insert(fd, connection);
    }

    /// A call gave out `fd`. Gives the connection that it named before, if that was not closed yet.
    pub(super) fn give_out(&mut self, pid: u32, fd: i32, connection: u64, time: Timestamp) -> Option<u64> {
        let process = self.processes.entry(pid).or_default();
        let old = process.descriptors.insert(fd, connection).filter(|old| *old != connection)?;
        process.overtaken.insert(fd, time);
        Some(old)
    }

    /// A `close` of `fd` returned. Gives the connection that it named and no longer does.
    pub(super) fn close(&mut self, pid: u32, fd: i32, time: Timestamp) -> Option<u64> {
        let process = self.processes.get_mut(&pid)?;
        if process.overtaken.remove(&fd).is_some_and(|since| time.since(since) < CLOSE_RETURNS_NS) {
            return None;
        }
        process.descriptors.remove(&fd)
    }

    /// `fd` names something else from here on. Gives the connection that it named.
    pub(super) fn replace(&mut self, pid: u32, fd: i32) -> Option<u64> {
        let process = self.processes.get_mut(&pid)?;
        process.overtaken.remove(&fd);
        process.descriptors.remove(&fd)
    }

    /// Whether any process still holds the connection.
    pub(super) fn holds(&self, connection: u64) -> bool {
        self.processes.values().any(|process| process.descriptors.values().any(|held| *held == connection))
    }
}
