//! Names of processes, and the connection behind each descriptor.
//!
//! A program may create processes and sockets without end, and the event of an end may be lost. So the table bounds processes and
//! descriptors: the process without an event for the longest time is dropped, and counted. A dropped process has no name
//! until an event names it again.

use std::{
    collections::{BTreeMap, hash_map::Entry},
    sync::Arc,
};

use rustc_hash::FxHashMap;

use crate::text::escape::Foreign;

/// Processes in the table: twice the number that the probes follow (`MAX_TARGETS`).
pub(super) const MAX_PROCESSES: usize = 32_768;
/// Descriptors of all processes: several for each remembered connection.
pub(super) const MAX_DESCRIPTORS: usize = 524_288;
/// Descriptors that a child inherits in the table. A fork is one event; its cost must not grow with the descriptors of the parent.
const MAX_INHERITED: usize = 1_024;
/// Times that a process named by the user is spared before it is dropped.
const SPARED: usize = 64;

/// The traced processes.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    processes: FxHashMap<u32, Process>,
    /// Processes by their latest event.
    heard: BTreeMap<u64, u32>,
    last: u64,
    /// Descriptors of all processes.
    descriptors: usize,
    forgotten: u64,
    /// Number of descriptors, over all processes, that name a connection (inode). Every descriptor that closes needs it, and a child
    /// that exits closes all that it inherited: a search would be quadratic.
    holders: FxHashMap<u64, u32>,
}

#[derive(Debug, Default)]
struct Process {
    name: Option<Arc<str>>,
    /// Connection (inode) by file descriptor.
    descriptors: FxHashMap<i32, u64>,
    /// Its place in `heard`.
    heard: u64,
    /// The user named the process.
    named: bool,
}

/// Name of an unknown process.
const UNKNOWN: &str = "?";

impl ProcessTable {
    pub(super) fn name(&self, pid: u32) -> Arc<str> {
        self.processes.get(&pid).and_then(|process| process.name.clone()).unwrap_or_else(|| Arc::from(UNKNOWN))
    }

    pub(super) fn set_name(&mut self, pid: u32, name: &[u8; 16]) {
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let process = self.hear(pid);
        if length > 0 {
            // Made harmless here, once: every use of the name (lines, titles, evidence, JSON) is safe.
            process.name = Some(Foreign::from_bytes(&name[..length]).to_string().into());
        }
        self.make_room();
    }

    /// Marks a process that the user named: others are dropped before it.
    pub(super) fn spare(&mut self, pid: u32) {
        self.hear(pid).named = true;
    }

    /// Number of processes that were dropped.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The process, in the table from now on, with the latest event.
    fn hear(&mut self, pid: u32) -> &mut Process {
        let process = self.processes.entry(pid).or_default();
        if process.heard != self.last || self.last == 0 {
            self.heard.remove(&process.heard);
            self.last += 1;
            process.heard = self.last;
            self.heard.insert(self.last, pid);
        }
        process
    }

    /// Drops processes until the rest fits.
    fn make_room(&mut self) {
        let mut spared = 0;
        while self.processes.len() > MAX_PROCESSES || self.descriptors > MAX_DESCRIPTORS {
            let Some((_, pid)) = self.heard.pop_first() else { return };
            if let Some(process) = self.processes.get_mut(&pid).filter(|process| process.named && spared < SPARED) {
                spared += 1;
                process.heard = 0;
                self.hear(pid);
                continue;
            }
            self.forgotten += 1;
            let Some(process) = self.processes.remove(&pid) else { continue };
            self.release_all(process);
        }
    }

    /// Gives a child the name and the descriptors of its parent.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let Some(process) = self.processes.get(&parent) else { return };
        let name = process.name.clone();
        let descriptors: FxHashMap<i32, u64> =
            process.descriptors.iter().take(MAX_INHERITED).map(|(fd, connection)| (*fd, *connection)).collect();
        for connection in descriptors.values() {
            *self.holders.entry(*connection).or_default() += 1;
        }
        self.descriptors += descriptors.len();
        self.hear(parent);
        let process = self.hear(child);
        process.name = name;
        process.named = false;
        let old = std::mem::replace(&mut process.descriptors, descriptors);
        self.release_descriptors(old);
        self.make_room();
    }

    /// Drops a process. Returns the connections that it held.
    pub(super) fn exit(&mut self, pid: u32) -> Vec<u64> {
        let Some(process) = self.processes.remove(&pid) else { return Vec::new() };
        self.heard.remove(&process.heard);
        let mut held: Vec<u64> = process.descriptors.values().copied().collect();
        self.release_all(process);
        held.sort_unstable();
        held.dedup();
        held
    }

    /// `fd` names `connection`. Returns the connection that it named before, if its close was lost or has not arrived.
    pub(super) fn open(&mut self, pid: u32, fd: i32, connection: u64) -> Option<u64> {
        *self.holders.entry(connection).or_default() += 1;
        self.descriptors += 1;
        let Some(old) = self.hear(pid).descriptors.insert(fd, connection) else {
            self.make_room();
            return None;
        };
        self.release(old);
        (old != connection).then_some(old)
    }

    /// A `close` of `fd` returned, when `fd` named `now` (0 for nothing). Returns the connection that it named and no longer
    /// names.
    pub(super) fn close(&mut self, pid: u32, fd: i32, now: u64) -> Option<u64> {
        let held = &mut self.processes.get_mut(&pid)?.descriptors;
        let connection = *held.get(&fd).filter(|connection| **connection != now)?;
        held.remove(&fd);
        self.release(connection);
        self.hear(pid);
        Some(connection)
    }

    /// Whether a process still holds the connection.
    pub(super) fn holds(&self, connection: u64) -> bool {
        self.holders.contains_key(&connection)
    }

    fn release_all(&mut self, process: Process) {
        self.release_descriptors(process.descriptors);
    }

    fn release_descriptors(&mut self, descriptors: FxHashMap<i32, u64>) {
        for connection in descriptors.into_values() {
            self.release(connection);
        }
    }

    /// Counts one descriptor less for the connection.
    fn release(&mut self, connection: u64) {
        self.descriptors = self.descriptors.saturating_sub(1);
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

    /// The close returns before the call that got the same number.
    #[test]
    fn a_close_returns_when_its_descriptor_names_another_already() {
        let mut table = with_one();
        assert_eq!(table.close(PARENT, 5, 101), Some(100));
        assert_eq!(table.open(PARENT, 5, 101), None);
        assert!(table.holds(101));
    }

    #[test]
    fn a_hundred_thousand_children_hold_no_more_than_fits() {
        let mut table = ProcessTable::default();
        table.set_name(PARENT, b"prefork\0\0\0\0\0\0\0\0\0");
        table.spare(PARENT);
        for fd in 0..20 {
            table.open(PARENT, fd, 100 + fd as u64);
        }
        for child in 1_000..101_000 {
            table.fork(PARENT, child);
            assert!(table.processes.len() <= MAX_PROCESSES && table.descriptors <= MAX_DESCRIPTORS);
        }
        assert_eq!(table.heard.len(), table.processes.len());
        assert_eq!(table.forgotten() as usize + table.processes.len(), 100_001);
        assert_eq!(&*table.name(PARENT), "prefork", "it was named");
        assert_eq!((&*table.name(100_999), &*table.name(1_000)), ("prefork", "?"), "the oldest go");
        let count: usize = table.processes.values().map(|process| process.descriptors.len()).sum();
        assert_eq!((count, table.holders.len()), (table.descriptors, 20));
        for pid in table.processes.keys().copied().collect::<Vec<_>>() {
            table.exit(pid);
        }
        assert!(table.holders.is_empty() && table.heard.is_empty() && table.descriptors == 0);
    }

    #[test]
    fn a_million_descriptors_hold_no_more_than_fits() {
        let mut table = ProcessTable::default();
        for number in 0..1_000_000_u64 {
            // Some processes, one of which makes most of them.
            let pid = if number % 100 == 0 { number as u32 % 5_000 } else { PARENT };
            table.open(pid, number as i32, number);
            assert!(table.descriptors <= MAX_DESCRIPTORS);
        }
        assert!(table.holds(999_999) && table.forgotten() > 0);
        let count: usize = table.processes.values().map(|process| process.descriptors.len()).sum();
        assert_eq!((count, table.holders.len()), (table.descriptors, table.descriptors));
    }

    #[test]
    fn a_fork_costs_little_whatever_its_parent_holds() {
        let mut table = ProcessTable::default();
        for fd in 0..50_000 {
            table.open(PARENT, fd, fd as u64);
        }
        table.fork(PARENT, CHILD);
        assert_eq!(table.processes[&CHILD].descriptors.len(), MAX_INHERITED);
    }
}
