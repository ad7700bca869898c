//! Names of processes, and which descriptor of which process names which connection.

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;

use crate::event::Timestamp;

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
    descriptors: FxHashMap<i32, Held>,
    /// Descriptors that were given out again before the call that closed them returned, and when.
    overtaken: FxHashMap<i32, Timestamp>,
}

/// A descriptor that names a connection.
#[derive(Debug, Clone, Copy)]
struct Held {
    connection: u64,
    /// The process had it from its parent. It may have been closed by `exec` since, which no event says.
    inherited: bool,
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
        let inherit = |(fd, held): (&i32, &Held)| (*fd, Held { inherited: true, ..*held });
        let copy = Process {
            name: process.name.clone(),
            descriptors: process.descriptors.iter().map(inherit).collect(),
            overtaken: FxHashMap::default(),
        };
        for held in copy.descriptors.values() {
            *self.holders.entry(held.connection).or_default() += 1;
        }
        if let Some(old) = self.processes.insert(child, copy) {
            self.release_all(old);
        }
    }

    /// Forgets a process; gives the connections that it held.
    pub(super) fn exit(&mut self, pid: u32) -> Vec<u64> {
        let Some(process) = self.processes.remove(&pid) else { return Vec::new() };
        let mut held: Vec<u64> = process.descriptors.values().map(|held| held.connection).collect();
        self.release_all(process);
        held.sort_unstable();
        held.dedup();
        held
    }

    /// `fd` names `connection`.
    pub(super) fn open(&mut self, pid: u32, fd: i32, connection: u64) {
        self.insert(pid, fd, connection);
    }

    /// A call gave out `fd`. Gives the connection that it named before, if that was not closed yet.
    pub(super) fn give_out(&mut self, pid: u32, fd: i32, connection: u64, time: Timestamp) -> Option<u64> {
        let old = self.insert(pid, fd, connection).filter(|old| old.connection != connection)?;
        if !old.inherited {
            self.processes.entry(pid).or_default().overtaken.insert(fd, time);
        }
        Some(old.connection)
    }

    /// A `close` of `fd` returned. Gives the connection that it named and no longer does.
    pub(super) fn close(&mut self, pid: u32, fd: i32, time: Timestamp) -> Option<u64> {
        let process = self.processes.get_mut(&pid)?;
        if process.overtaken.remove(&fd).is_some_and(|since| time.since(since) < CLOSE_RETURNS_NS) {
            return None;
        }
        self.remove(pid, fd)
    }

    /// `fd` names something else from here on. Gives the connection that it named.
    pub(super) fn replace(&mut self, pid: u32, fd: i32) -> Option<u64> {
        self.processes.get_mut(&pid)?.overtaken.remove(&fd);
        self.remove(pid, fd)
    }

    /// Whether any process still holds the connection.
    pub(super) fn holds(&self, connection: u64) -> bool {
        self.holders.contains_key(&connection)
    }

    fn insert(&mut self, pid: u32, fd: i32, connection: u64) -> Option<Held> {
        *self.holders.entry(connection).or_default() += 1;
        let old = self.processes.entry(pid).or_default().descriptors.insert(fd, Held { connection, inherited: false });
        if let Some(old) = old {
            self.release(old.connection);
        }
        old
    }

    fn remove(&mut self, pid: u32, fd: i32) -> Option<u64> {
        let held = self.processes.get_mut(&pid)?.descriptors.remove(&fd)?;
        self.release(held.connection);
        Some(held.connection)
    }

    fn release_all(&mut self, process: Process) {
        for held in process.descriptors.into_values() {
            self.release(held.connection);
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
        assert_eq!(table.close(PARENT, 5, Timestamp(1)), Some(100));
        assert_eq!(table.replace(PARENT, 6), Some(100));
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
        assert_eq!(table.give_out(PARENT, 5, 101, Timestamp(1)), Some(100));
        assert_eq!(table.close(PARENT, 5, Timestamp(2)), None);
        assert_eq!(table.close(PARENT, 5, Timestamp(3)), Some(101));
    }

    /// `exec` closed it, or the child did before it was traced: no close of it follows.
    #[test]
    fn an_inherited_descriptor_is_given_out_again() {
        let mut table = with_one();
        table.fork(PARENT, CHILD);
        assert_eq!(table.give_out(CHILD, 5, 101, Timestamp(1)), Some(100));
        assert_eq!(table.close(CHILD, 5, Timestamp(2)), Some(101));
    }
}
