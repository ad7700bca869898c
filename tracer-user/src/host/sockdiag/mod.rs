//! Connections that exist when tracing begins, and the current kernel state of connections.
//!
//! The descriptors of the targets reveal their sockets, and `sock_diag` in each target's network namespace describes
//! them. Neither `sock_diag` nor the socket's inode, whose times are zero, reports the age of a connection. PROBE
//! events carry the time since bytes last moved, which is a lower bound of the age.
//!
//! Cost: see [`Prober::probe`].

pub(crate) mod descriptor;
mod event;
mod inet;
mod listen;
mod netlink;
mod unix;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
};

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::time::{ClockId, clock_gettime};

use self::{
    event::Place,
    inet::{Key, TcpTable},
    netlink::DiagSocket,
    unix::{UnixTable, holders},
};
use crate::{
    event::{SocketInode, Timestamp, wire::ThreadEvent},
    host::{confine::Duty, process::all_pids},
};

/// Current time of the clock that all events use.
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Monotonic);
    Timestamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Result of [`Prober::find`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Number of TCP connections.
    pub tcp: usize,
    /// Number of Unix stream connections.
    pub unix: usize,
    /// Messages on parts that could not be read, with remedies. The affected connections lack addresses.
    pub notes: Vec<String>,
}

/// A network namespace of targets.
#[derive(Debug)]
struct Namespace {
    inode: u64,
    socket: DiagSocket,
}

/// Number of queries above which one dump of all sockets is cheaper than single queries.
const ASK_ONE_BY_ONE: usize = 64;
/// Maximum number of remembered sockets per table; at the limit, the tables are cleared.
const REMEMBERED: usize = 40_000;

/// Maximum number of network namespaces. Unprivileged processes can create them, and the `sock_diag` socket keeps each
/// alive.
const MAX_NAMESPACES: usize = 256;

/// Minimum time in nanoseconds between two scans of all processes; a scan costs a system call per process.
const BETWEEN_LOOKS_NS: u64 = 1_000_000_000;

/// Queries the kernel about connections in the network namespaces of the targets.
#[derive(Debug, Default)]
pub struct Prober {
    namespaces: Vec<Namespace>,
    /// Index of the namespace, key, and whether it was accepted, by inode number.
    keys: FxHashMap<u32, (usize, Key, bool)>,
    /// Inode numbers of MPTCP connections. They have no key, as subflows come and go.
    mptcp: FxHashSet<u32>,
    /// Inode numbers that were missing from the last complete dump.
    missed: FxHashSet<u32>,
    /// Index of the namespace of each Unix socket, by inode number.
    unix: FxHashMap<u32, usize>,
    /// Inode numbers that were not found: closed, or of another kind.
    unknown: FxHashSet<u32>,
    /// Inode numbers of sockets that threads wait on and that are no connected UDP sockets.
    no_udp: FxHashSet<u64>,
    listeners: listen::Listeners,
    /// Time of the last scan of all processes for empty namespaces.
    looked_for_empty: Timestamp,
}

impl Prober {
    /// Creates a prober without namespaces.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the connections of these processes. Appends SOCKET (`FOUND`) and PROBE for each, and SOCKET_NAME for Unix
    /// stream sockets. A connection that several processes hold is reported once, for the first of them. Remembers the
    /// namespaces of the processes for [`Self::probe`].
    pub fn find(&mut self, pids: &[u32], buffer: &mut Vec<u8>) -> Found {
        let mut found = Found::default();
        let mut held: FxHashMap<u64, FxHashMap<u32, (u32, i32)>> = FxHashMap::default();
        let mut seen = FxHashSet::default();
        for &pid in pids {
            let descriptors = descriptor::sockets(pid);
            let namespace = self.add_namespace_of(pid);
            match (descriptors, namespace) {
                (Ok(descriptors), Ok(namespace)) => {
                    let held = held.entry(namespace).or_default();
                    for descriptor in descriptors {
                        if seen.insert(descriptor.inode) {
                            held.insert(descriptor.inode, (pid, descriptor.fd));
                        }
                    }
                }
                // A process that has exited has no connections.
                (Err(error), _) | (_, Err(error)) if has_ended(&error) => {}
                (Err(error), _) => found.notes.push(note(pid, "its descriptors", &error)),
                (_, Err(error)) => found.notes.push(note(pid, "its network namespace", &error)),
            }
        }
        for namespace in &mut self.namespaces {
            let Some(held) = held.remove(&namespace.inode).filter(|held| !held.is_empty()) else { continue };
            let pid = held.values().next().map_or(0, |(pid, _)| *pid);
            match find_tcp(namespace, &held, buffer) {
                Ok(count) => found.tcp += count,
                Err(error) => found.notes.push(note(pid, "its TCP connections", &error)),
            }
            match find_unix(namespace, &held, pids, buffer) {
                Ok((count, whole)) => {
                    found.unix += count;
                    if !whole {
                        found.notes.push(
                            "the peers of some Unix sockets are unknown: this host has too many open files to inspect \
                             them all"
                                .to_owned(),
                        );
                    }
                }
                Err(error) => found.notes.push(note(pid, "its Unix sockets", &error)),
            }
        }
        found
    }

    /// Remembers the network namespace of a process, even beyond its exit. Returns the inode number of the namespace.
    ///
    /// # Errors
    ///
    /// The error of the kernel if the process is gone or its namespace must not be entered (`CAP_SYS_ADMIN`).
    pub fn add_namespace_of(&mut self, pid: u32) -> io::Result<u64> {
        let file = File::open(format!("/proc/{pid}/ns/net"))?;
        let inode = file.metadata()?.ino();
        if !self.namespaces.iter().any(|namespace| namespace.inode == inode) {
            if self.namespaces.len() >= MAX_NAMESPACES
                && now().0.saturating_sub(self.looked_for_empty.0) >= BETWEEN_LOOKS_NS
            {
                self.forget_empty_namespaces(&namespaces_of_processes());
                self.looked_for_empty = now();
            }
            if self.namespaces.len() >= MAX_NAMESPACES {
                return Err(io::Error::other(format!("pidtap inspects at most {MAX_NAMESPACES} network namespaces")));
            }
            let socket = DiagSocket::open(&file)?;
            self.namespaces.push(Namespace { inode, socket });
        }
        Ok(inode)
    }

    /// Removes namespaces without processes, and all remembered connections, which refer to namespaces by index.
    fn forget_empty_namespaces(&mut self, inhabited: &FxHashSet<u64>) {
        self.namespaces.retain(|namespace| inhabited.contains(&namespace.inode));
        self.keys.clear();
        self.mptcp.clear();
        self.unix.clear();
        self.unknown.clear();
    }

    /// Appends a PROBE event for each of these TCP connections that still exists. Returns their number. Covers the
    /// namespaces of [`Self::find`] and [`Self::add_namespace_of`].
    ///
    /// Takes one dump of all TCP sockets per address family and namespace, however few are requested. Measured on a
    /// 2-core x86-64 with 10,000 open connections (20,000 sockets, as both ends were on the host) in a debug build: 22
    /// ms for 10 connections, 41 ms for all; the first find takes 190 ms. The test
    /// `ten_thousand_connections_are_found_and_probed` prints the times. Once a second this costs 2 to 4 % of one
    /// processor.
    ///
    /// # Errors
    ///
    /// The first error of a dump; the events of the namespaces before it have been appended.
    pub fn probe(&mut self, connections: &[SocketInode], buffer: &mut Vec<u8>) -> io::Result<usize> {
        if connections.is_empty() {
            return Ok(0);
        }
        let wanted = connections.iter().filter_map(|inode| u32::try_from(inode.0).ok()).collect();
        Ok(self.look_at(&wanted, buffer)?.len())
    }

    /// Probes all connections that are considered open, given with their namespaces, and reports those that no longer
    /// exist. Without this, a connection whose closing event was lost would stay open.
    ///
    /// A dump in several parts may skip a connection while others come and go. A connection is therefore reported only
    /// after it is missing from two dumps, and also from a query of its own if its key is known. Connections of unknown
    /// namespaces are ignored.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::probe`].
    pub fn reconcile(&mut self, open: &FxHashMap<u64, u32>, buffer: &mut Vec<u8>) -> io::Result<()> {
        let time = now();
        let wanted = open.keys().filter_map(|inode| u32::try_from(*inode).ok()).collect();
        let found = self.look_at(&wanted, buffer)?;
        let mut missed = FxHashSet::default();
        for (&inode, &netns) in open {
            let Ok(inode) = u32::try_from(inode) else { continue };
            let is_looked_at = self.namespaces.iter().any(|namespace| namespace.inode == u64::from(netns));
            if !is_looked_at || found.contains(&inode) {
                continue;
            }
            if self.missed.contains(&inode) && !self.is_there(inode)? {
                event::gone(time, u64::from(inode), buffer);
            } else {
                missed.insert(inode);
            }
        }
        self.missed = missed;
        // Closed connections make room, as no keys are kept beyond the limit and then a dump alone would decide.
        let is_open = |inode: &u32| open.contains_key(&u64::from(*inode));
        self.keys.retain(|inode, _| is_open(inode));
        self.mptcp.retain(is_open);
        Ok(())
    }

    /// Whether the kernel still has the connection; false if its key is unknown.
    fn is_there(&mut self, inode: u32) -> io::Result<bool> {
        let Some((index, key, _)) = self.keys.get(&inode) else { return Ok(false) };
        let Some(namespace) = self.namespaces.get_mut(*index) else { return Ok(false) };
        let is_there = inet::read_one(&mut namespace.socket, key)?.is_some_and(|tcp| tcp.inode == inode);
        if !is_there {
            self.keys.remove(&inode);
        }
        Ok(is_there)
    }

    /// Dumps all TCP sockets. Returns the wanted ones that exist.
    fn look_at(&mut self, wanted: &FxHashSet<u32>, buffer: &mut Vec<u8>) -> io::Result<FxHashSet<u32>> {
        let mut found = FxHashSet::default();
        for (index, namespace) in self.namespaces.iter_mut().enumerate() {
            let table = TcpTable::read(&mut namespace.socket, |inode| wanted.contains(&inode))?;
            let time = now();
            for tcp in &table.connections {
                let accepted = table.was_accepted(tcp);
                event::probe(time, 0, tcp, accepted, buffer);
                event::connecting(time, tcp, namespace.inode as u32, buffer);
                found.insert(tcp.inode);
                if tcp.mptcp {
                    self.mptcp.insert(tcp.inode);
                } else if self.keys.len() < REMEMBERED {
                    self.keys.insert(tcp.inode, (index, tcp.key.clone(), accepted));
                }
            }
        }
        Ok(found)
    }

    /// Probes the few connections with open calls, including Unix stream sockets. Connections with a known key are
    /// queried one by one, at about 5 us each; others are searched once in a dump. For connecting sockets, a SOCKET
    /// event (`FOUND`) carries the address.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::probe`].
    pub fn ask(&mut self, connections: &[SocketInode], buffer: &mut Vec<u8>) -> io::Result<usize> {
        let inodes = connections.iter().filter_map(|inode| u32::try_from(inode.0).ok());
        let (unix, wanted): (Vec<u32>, Vec<u32>) =
            inodes.filter(|inode| !self.unknown.contains(inode)).partition(|inode| self.unix.contains_key(inode));
        let mut count = 0;
        // The rest is covered by later queries.
        for inode in unix.into_iter().take(ASK_ONE_BY_ONE) {
            count += usize::from(self.ask_unix(inode, buffer)?);
        }
        let all_known = wanted.iter().all(|inode| self.keys.contains_key(inode));
        if !all_known || wanted.len() > ASK_ONE_BY_ONE {
            return Ok(count + self.look_for(&wanted, buffer)?);
        }
        for inode in wanted {
            let Some((index, key, accepted)) = self.keys.get(&inode) else { continue };
            let Some(namespace) = self.namespaces.get_mut(*index) else { continue };
            // The inode is compared, as closing sockets answer without one.
            match inet::read_one(&mut namespace.socket, key)?.filter(|tcp| tcp.inode == inode) {
                Some(tcp) => {
                    let time = now();
                    event::probe(time, 0, &tcp, *accepted, buffer);
                    event::connecting(time, &tcp, namespace.inode as u32, buffer);
                    count += 1;
                }
                None => drop(self.keys.remove(&inode)),
            }
        }
        Ok(count)
    }

    /// Appends the PROBE event of a Unix stream socket. Returns whether it exists.
    fn ask_unix(&mut self, inode: u32, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let namespace = self.unix.get(&inode).and_then(|index| self.namespaces.get_mut(*index));
        let found =
            namespace.map(|namespace| unix::read_with_peer(&mut namespace.socket, inode)).transpose()?.flatten();
        match &found {
            Some(unix) => event::unix_probe(now(), inode, unix, unix.send_queue, buffer),
            None => drop(self.unix.remove(&inode)),
        }
        Ok(found.is_some())
    }

    fn look_for(&mut self, inodes: &[u32], buffer: &mut Vec<u8>) -> io::Result<usize> {
        if [self.keys.len(), self.mptcp.len(), self.unix.len(), self.unknown.len()].iter().any(|len| *len >= REMEMBERED)
        {
            self.keys.clear();
            self.mptcp.clear();
            self.unix.clear();
            self.unknown.clear();
        }
        let connections: Vec<SocketInode> = inodes.iter().map(|inode| SocketInode(u64::from(*inode))).collect();
        let mut count = self.probe(&connections, buffer)?;
        if count < inodes.len() {
            let no_tcp: Vec<u32> = inodes
                .iter()
                .copied()
                .filter(|inode| !self.keys.contains_key(inode) && !self.mptcp.contains(inode))
                .collect();
            for inode in no_tcp {
                if self.look_for_unix(inode, buffer) {
                    count += 1;
                } else {
                    self.unknown.insert(inode);
                }
            }
        }
        Ok(count)
    }

    /// Probes and remembers a Unix stream socket. Returns whether the inode belongs to one.
    fn look_for_unix(&mut self, inode: u32, buffer: &mut Vec<u8>) -> bool {
        for index in 0..self.namespaces.len() {
            self.unix.insert(inode, index);
            // The module unix_diag may be missing.
            if self.ask_unix(inode, buffer).unwrap_or(false) {
                return true;
            }
        }
        self.unix.remove(&inode);
        false
    }

    /// Appends a LISTENER event for each listening socket of these processes that has waiting connections, or had some
    /// at the last look.
    ///
    /// # Errors
    ///
    /// The first error of a dump; the events before it have been appended.
    pub fn look_at_listeners(&mut self, pids: &[u32], buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut sockets = self.namespaces.iter_mut().map(|namespace| (&mut namespace.socket, namespace.inode as u32));
        self.listeners.look(&mut sockets, pids, now(), buffer)
    }

    /// Fills in the peers of UDP sockets that threads wait on. Dumps the UDP sockets only if a thread waits on a socket
    /// of unknown kind.
    pub fn name_udp(&mut self, threads: &mut [ThreadEvent]) {
        let waited: Vec<u64> = threads.iter().map(|thread| thread.connection).filter(|inode| *inode != 0).collect();
        let is_tcp = |inode: &u64| u32::try_from(*inode).is_ok_and(|inode| self.keys.contains_key(&inode));
        if waited.iter().all(|inode| self.no_udp.contains(inode) || is_tcp(inode)) {
            return;
        }
        if self.no_udp.len() >= REMEMBERED {
            self.no_udp.clear();
        }
        let mut peers = FxHashMap::default();
        for namespace in &mut self.namespaces {
            // On errors the sockets stay unnamed.
            let _ = inet::udp_peers(
                &mut namespace.socket,
                |inode| waited.contains(&u64::from(inode)),
                |inode, peer| {
                    peers.insert(u64::from(inode), peer);
                },
            );
        }
        for thread in threads {
            match peers.get(&thread.connection) {
                Some(peer) => event::set_peer(thread, *peer),
                None => drop(self.no_udp.insert(thread.connection)),
            }
        }
    }
}

/// Inode numbers of the network namespaces of all processes.
fn namespaces_of_processes() -> FxHashSet<u64> {
    let inode = |pid| fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|meta| meta.ino());
    all_pids().filter_map(inode).collect()
}

fn find_tcp(namespace: &mut Namespace, held: &FxHashMap<u32, (u32, i32)>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let table = TcpTable::read(&mut namespace.socket, |inode| held.contains_key(&inode))?;
    let time = now();
    for tcp in &table.connections {
        let Some(&(pid, fd)) = held.get(&tcp.inode) else { continue };
        let place = Place { pid, fd, netns: namespace.inode as u32 };
        let accepted = table.was_accepted(tcp);
        event::tcp_found(time, place, tcp, accepted, buffer);
        event::probe(time, pid, tcp, accepted, buffer);
    }
    Ok(table.connections.len())
}

/// Finds the Unix stream connections. Returns their number, and whether the search for the holders of peers was
/// complete.
fn find_unix(
    namespace: &mut Namespace,
    held: &FxHashMap<u32, (u32, i32)>,
    pids: &[u32],
    buffer: &mut Vec<u8>,
) -> io::Result<(usize, bool)> {
    let table = UnixTable::read(&mut namespace.socket)?;
    let connections: Vec<_> =
        held.iter().filter_map(|(&inode, &holder)| Some((inode, holder, table.connection(inode)?))).collect();
    let peers = connections.iter().map(|(_, _, unix)| unix.peer).collect();
    let (holders, whole) = holders(&peers, pids);
    let time = now();
    for &(inode, (pid, fd), unix) in &connections {
        let place = Place { pid, fd, netns: namespace.inode as u32 };
        let peer_pid = holders.get(&unix.peer).copied().unwrap_or(0);
        event::unix_found(time, place, (inode, unix.peer, peer_pid), table.path(unix), buffer);
        event::unix_probe(time, inode, unix, table.unread_by_peer(unix), buffer);
    }
    Ok((connections.len(), whole))
}

/// Whether an error means that the process has exited.
pub(crate) fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Message for a process whose network namespace cannot be entered.
pub(crate) fn unseen_namespace(pid: u32, error: &io::Error) -> String {
    format!(
        "cannot enter the network namespace of process {pid} ({error}){}: pidtap cannot query the kernel about its \
         connections, so the causes of hanging calls there remain unknown",
        why_refused(error)
    )
}

/// Suffix for a message with the reason why the kernel denied permission, if known.
pub(crate) fn why_refused(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    match Duty::Look.missing() {
        none if none.is_empty() => "; a security module, or the container that pidtap runs in, denies it".to_owned(),
        missing => format!("; pidtap lacks {missing}"),
    }
}

/// Message on a part that could not be read, with a remedy.
fn note(pid: u32, what: &str, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "run pidtap with `sudo`",
        io::ErrorKind::NotFound if what.ends_with("connections") => "load the module tcp_diag (`modprobe tcp_diag`)",
        io::ErrorKind::NotFound if what.ends_with("sockets") => "load the module unix_diag (`modprobe unix_diag`)",
        io::ErrorKind::NotFound => "the process has ended",
        _ => "`pidtap doctor` checks this host",
    };
    format!(
        "process {pid}: cannot read {what} ({error}{}); existing connections have no addresses until they are used; \
         {advice}",
        why_refused(error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_namespaces(inodes: impl Iterator<Item = u64>) -> Prober {
        let own = File::open("/proc/self/ns/net").expect("there");
        let socket = || DiagSocket::open(&own).expect("a socket");
        let namespaces = inodes.map(|inode| Namespace { inode, socket: socket() }).collect();
        Prober { namespaces, ..Prober::default() }
    }

    #[test]
    fn namespaces_without_processes_make_room() {
        // No namespace has such a number: those of the kernel have 32 bits.
        let mut prober = with_namespaces((0..MAX_NAMESPACES as u64).map(|index| u64::MAX - index));
        let own = prober.add_namespace_of(std::process::id()).expect("there is room");
        assert_eq!(prober.namespaces.iter().map(|namespace| namespace.inode).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn where_all_are_inhabited_one_more_is_refused() {
        let mut prober = with_namespaces((0..MAX_NAMESPACES as u64).map(|index| u64::MAX - index));
        // The processes were scanned just now.
        prober.looked_for_empty = now();
        let error = prober.add_namespace_of(std::process::id()).expect_err("there is no room");
        assert!(unseen_namespace(7, &error).contains("256 network namespaces"), "{error}");
        assert_eq!(prober.namespaces.len(), MAX_NAMESPACES);
    }
}
