//! Names of processes, and which descriptor of which process names which connection.

use std::sync::Arc;

use rustc_hash::FxHashMap;

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
}

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
        let copy = Process { name: process.name.clone(), descriptors: process.descriptors.clone() };
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

    /// The connection that `fd` named, which it no longer does.
    pub(super) fn close(&mut self, pid: u32, fd: i32) -> Option<u64> {
        self.processes.get_mut(&pid)?.descriptors.remove(&fd)
    }

    /// Whether any process still holds the connection.
    pub(super) fn holds(&self, connection: u64) -> bool {
        self.processes.values().any(|process| process.descriptors.values().any(|held| *held == connection))
    }
}
