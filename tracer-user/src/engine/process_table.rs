//! Names of processes, and which descriptor of which process names which connection.

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;

use crate::visible::Foreign;

/// What is known of the traced processes.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    processes: FxHashMap<u32, Process>,
    /// How many descriptors of all processes name a connection (inode). The table answers that for every descriptor that
    /// goes, and a child that exits lets go of all that it inherited: a search would be quadratic.
    holders: FxHashMap<u64, u32>,
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
            // Cleaned here, once: whatever names a process from here on (lines, titles, evidence, JSON) is harmless.
            process.name = Some(Foreign::from_bytes(&name[..length]).to_string().into());
        }
    }

    /// A child has its parent's name and descriptors until it says otherwise.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let Some(process) = self.processes.get(&parent) else { return };
        let copy = Process { name: process.name.clone(), descriptors: process.descriptors.clone() };
        for connection in copy.descriptors.values() {
            *self.holders.entry(*connection).or_default() += 1;
        }
        if let Some(old) = self.processes.insert(child, copy) {
            self.release_all(old);
        }
    }

    /// Forgets a process; gives the connections that it held.
    pub(super) fn exit(&mut self, pid: u32) -> Vec<u64> {
        let Some(process) = self.processes.remove(&pid) else { return Vec::new() };
        let mut held: Vec<u64> = process.descriptors.values().copied().collect();
        self.release_all(process);
        held.sort_unstable();
        held.dedup();
        held
    }

    /// `fd` names `connection`. Gives another one that it named before, whose close was not seen or is still to come.
    pub(super) fn open(&mut self, pid: u32, fd: i32, connection: u64) -> Option<u64> {
        *self.holders.entry(connection).or_default() += 1;
        let old = self.processes.entry(pid).or_default().descriptors.insert(fd, connection)?;
        self.release(old);
        (old != connection).then_some(old)
    }

    /// A `close` of `fd` returned, when `fd` named `now` (0: nothing). Gives the connection that it named and no longer
    /// does.
    pub(super) fn close(&mut self, pid: u32, fd: i32, now: u64) -> Option<u64> {
        let held = &mut self.processes.get_mut(&pid)?.descriptors;
        let connection = *held.get(&fd).filter(|connection| **connection != now)?;
        held.remove(&fd);
        self.release(connection);
        Some(connection)
    }

    /// Whether any process still holds the connection.
    pub(super) fn holds(&self, connection: u64) -> bool {
        self.holders.contains_key(&connection)
    }

    fn release_all(&mut self, process: Process) {
        for connection in process.descriptors.into_values() {
            self.release(connection);
        }
    }

    /// One descriptor less names the connection.
    fn release(&mut self, connection: u64) {
        if let Entry::Occupied(mut holders) = self.holders.entry(connection) {
            *holders.get_mut() -= 1;
            if *holders.get() == 0 {
                holders.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: u32 = 7;
    const CHILD: u32 = 8;

    fn with_one() -> ProcessTable {
        let mut table = ProcessTable::default();
        table.open(PARENT, 5, 100);
        table
    }

    #[test]
    fn a_connection_is_held_until_its_last_descriptor_goes() {
        let mut table = with_one();
        table.open(PARENT, 5, 100);
        table.open(PARENT, 6, 100);
        table.fork(PARENT, CHILD);
        assert_eq!(table.close(PARENT, 5, 0), Some(100));
        assert_eq!(table.close(PARENT, 6, 0), Some(100));
        assert!(table.holds(100), "the child holds it");
        assert_eq!(table.exit(CHILD), [100]);
        assert!(!table.holds(100));
        assert!(table.holders.is_empty());
    }

    #[test]
    fn a_child_whose_number_is_given_out_again_holds_what_it_inherits() {
        let mut table = with_one();
        table.fork(PARENT, CHILD);
        table.fork(PARENT, CHILD);
        table.exit(PARENT);
        assert!(table.holds(100));
        table.exit(CHILD);
        assert!(table.holders.is_empty());
    }

    #[test]
    fn a_close_that_returns_late_is_that_of_the_connection_before() {
        let mut table = with_one();
        assert_eq!(table.open(PARENT, 5, 101), Some(100), "given out again");
        assert_eq!(table.close(PARENT, 5, 101), None, "the close of the one before");
        assert_eq!(table.close(PARENT, 5, 0), Some(101));
    }

    /// The close returns before the call that was given the same number.
    #[test]
    fn a_close_returns_when_its_descriptor_names_another_already() {
        let mut table = with_one();
        assert_eq!(table.close(PARENT, 5, 101), Some(100));
        assert_eq!(table.open(PARENT, 5, 101), None);
        assert!(table.holds(101));
    }
}
