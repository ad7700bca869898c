//! Connections that were there before tracing began, and what the kernel says of connections now.
//!
//! Sockets are found among the descriptors of the targets and looked up by `sock_diag` in each target's own network
//! namespace. `sock_diag` does not tell the age of a connection (nor does the socket's inode, whose times are zero);
//! what is known is how long ago bytes last moved, which the PROBE events carry: the age is at least that.
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

/// The moment now on the clock of all events.
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Monotonic);
    Timestamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// What [`Prober::find`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// TCP connections.
    pub tcp: usize,
    /// Unix stream connections.
    pub unix: usize,
    /// What could not be looked at, why, and what to do about it: to be said, as those connections then lack addresses.
    pub notes: Vec<String>,
}

/// A network namespace in which targets live.
#[derive(Debug)]
struct Namespace {
    inode: u64,
    socket: DiagSocket,
}

/// With more questions than this, one look at all sockets is cheaper than to ask for each.
const ASK_ONE_BY_ONE: usize = 64;
/// Sockets whose keys, or of which it is known what they are not, are remembered. Beyond it all are forgotten.
const REMEMBERED: usize = 40_000;

/// Network namespaces that are looked into, at most. A process without privilege can make them, and the socket keeps each there.
const MAX_NAMESPACES: usize = 256;

/// That costs a system call for each process of the host.
const BETWEEN_LOOKS_NS: u64 = 1_000_000_000;

/// Asks the kernel about connections, in whatever network namespaces the targets live.
#[derive(Debug, Default)]
pub struct Prober {
    namespaces: Vec<Namespace>,
    /// By inode: index of the namespace, the key there, and whether it was accepted.
    keys: FxHashMap<u32, (usize, Key, bool)>,
    /// MPTCP connections, which have no key: subflows come and go.
    mptcp: FxHashSet<u32>,
    /// Not there when all were looked at last.
    missed: FxHashSet<u32>,
    /// By inode, of Unix sockets: index of the namespace.
    unix: FxHashMap<u32, usize>,
    /// Asked for and not found: closed by now, or of another kind.
    unknown: FxHashSet<u32>,
    /// Sockets that threads waited on, which are no UDP ones with a peer.
    no_udp: FxHashSet<u64>,
    listeners: listen::Listeners,
    /// When all processes were looked at last, for namespaces without any.
    looked_for_empty: Timestamp,
}

impl Prober {
    /// One that knows no namespace yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the connections of these processes. Appends, for each, SOCKET (`FOUND`) and then PROBE, and
    /// SOCKET_NAME before that for Unix stream sockets. A connection that several of the processes hold comes once, for the first.
    /// Also remembers the processes' namespaces for [`Self::probe`].
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
                // An ended process has no connections: nothing is missing.
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
                            "who is at the other end of some Unix sockets is not known: this host has too many open \
                             files to look at all"
                                .to_owned(),
                        );
                    }
                }
                Err(error) => found.notes.push(note(pid, "its Unix sockets", &error)),
            }
        }
        found
    }

    /// Remembers the network namespace of a process, which then outlives it; gives its inode number.
    ///
    /// # Errors
    ///
    /// What the kernel says where the process is gone or its namespace must not be entered (`CAP_SYS_ADMIN`).
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
                return Err(io::Error::other(format!("{MAX_NAMESPACES} network namespaces are looked into at most")));
            }
            let socket = DiagSocket::open(&file)?;
            self.namespaces.push(Namespace { inode, socket });
        }
        Ok(inode)
    }

    /// Those in which no process is any more. What is remembered of connections goes with them: it names namespaces by their place.
    fn forget_empty_namespaces(&mut self, inhabited: &FxHashSet<u64>) {
        self.namespaces.retain(|namespace| inhabited.contains(&namespace.inode));
        self.keys.clear();
        self.mptcp.clear();
        self.unix.clear();
        self.unknown.clear();
    }

    /// Appends a PROBE for each of these TCP connections that there still is; gives how many. The processes' namespaces
    /// are those that [`Self::find`] and [`Self::add_namespace_of`] were told of.
    ///
    /// One dump for each address family and namespace, of all its TCP sockets, however few are asked for. Measured on
    /// a 2-core x86-64 with 10,000 open connections (20,000 sockets, as both ends were there), without optimisation:
    /// 22 ms for 10 connections, 41 ms for all; finding them at first 190 ms. The test
    /// `ten_thousand_connections_are_found_and_probed` prints it. Once a second that is 2 to 4 % of one processor.
    ///
    /// # Errors
    ///
    /// The first error of a dump; the events of the namespaces before it are there.
    pub fn probe(&mut self, connections: &[SocketInode], buffer: &mut Vec<u8>) -> io::Result<usize> {
        if connections.is_empty() {
            return Ok(0);
        }
        let wanted = connections.iter().filter_map(|inode| u32::try_from(inode.0).ok()).collect();
        Ok(self.look_at(&wanted, buffer)?.len())
    }

    /// The same for all connections that are taken for open, with the namespace of each; those that the kernel does not have
    /// any more are told as such. No end of a connection is known where its event was lost.
    ///
    /// A dump that is in several parts may pass over a connection while others come and go. So one must be missing twice,
    /// and where its key is known, the kernel is asked for it alone. One of a namespace that is not looked at is not missing.
    ///
    /// # Errors
    ///
    /// As of [`Self::probe`].
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
        // What is over makes room: beyond the limit no key is kept, and a dump alone would say what is gone.
        let is_open = |inode: &u32| open.contains_key(&u64::from(*inode));
        self.keys.retain(|inode, _| is_open(inode));
        self.mptcp.retain(is_open);
        Ok(())
    }

    /// Whether the kernel has the connection, where it is known by which key.
    fn is_there(&mut self, inode: u32) -> io::Result<bool> {
        let Some((index, key, _)) = self.keys.get(&inode) else { return Ok(false) };
        let Some(namespace) = self.namespaces.get_mut(*index) else { return Ok(false) };
        let is_there = inet::read_one(&mut namespace.socket, key)?.is_some_and(|tcp| tcp.inode == inode);
        if !is_there {
            self.keys.remove(&inode);
        }
        Ok(is_there)
    }

    /// Looks at all TCP sockets; gives those of the wanted ones that are there.
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

    /// The same for the few connections of which calls are open, Unix stream sockets as well: each is asked for alone,
    /// which costs some 5 us, where it is known by which key. Others are looked for among all once. Of those that connect,
    /// SOCKET (`FOUND`) says where to.
    ///
    /// # Errors
    ///
    /// As of [`Self::probe`].
    pub fn ask(&mut self, connections: &[SocketInode], buffer: &mut Vec<u8>) -> io::Result<usize> {
        let inodes = connections.iter().filter_map(|inode| u32::try_from(inode.0).ok());
        let (unix, wanted): (Vec<u32>, Vec<u32>) =
            inodes.filter(|inode| !self.unknown.contains(inode)).partition(|inode| self.unix.contains_key(inode));
        let mut count = 0;
        // Beyond that, the rest waits for the next question.
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
            // The inode is compared as well: sockets that are being closed answer without one.
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

    /// PROBE of a Unix stream socket; whether it is there.
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

    /// Whether the inode is that of a Unix stream socket, which is remembered then, and its PROBE appended.
    fn look_for_unix(&mut self, inode: u32, buffer: &mut Vec<u8>) -> bool {
        for index in 0..self.namespaces.len() {
            self.unix.insert(inode, index);
            // Without the module unix_diag there is no answer.
            if self.ask_unix(inode, buffer).unwrap_or(false) {
                return true;
            }
        }
        self.unix.remove(&inode);
        false
    }

    /// Appends a LISTENER for each listening socket of these processes in which connections wait, or did at the last look.
    ///
    /// # Errors
    ///
    /// The first error of a dump; the events before it are there.
    pub fn look_at_listeners(&mut self, pids: &[u32], buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut sockets = self.namespaces.iter_mut().map(|namespace| (&mut namespace.socket, namespace.inode as u32));
        self.listeners.look(&mut sockets, pids, now(), buffer)
    }

    /// Says of threads that wait on a UDP socket where its peer is. Looks at the UDP sockets only where a thread waits
    /// on a socket that is not known to be another.
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
            // What could not be looked at stays unnamed.
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

/// The network namespaces of all processes that there are.
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

/// The Unix stream connections; whether the search for their peers' holders was whole.
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

/// Whether an error says that the process is gone.
pub(crate) fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// What is not known while it cannot be looked into the namespace of a process that came later.
pub(crate) fn unseen_namespace(pid: u32, error: &io::Error) -> String {
    format!(
        "the network namespace of process {pid} cannot be entered ({error}){}: the kernel is not asked about its connections, so \
         why calls hang there is not known",
        why_refused(error)
    )
}

/// Why the kernel does not permit it, as far as that is known: to go into the message after the error.
pub(crate) fn why_refused(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    match Duty::Look.missing() {
        none if none.is_empty() => "; a security module, or the container that pidtap runs in, forbids it".to_owned(),
        missing => format!("; pidtap lacks {missing}"),
    }
}

/// What could not be looked at, and what to do.
fn note(pid: u32, what: &str, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "run pidtap with `sudo`",
        io::ErrorKind::NotFound if what.ends_with("connections") => "load the module tcp_diag (`modprobe tcp_diag`)",
        io::ErrorKind::NotFound if what.ends_with("sockets") => "load the module unix_diag (`modprobe unix_diag`)",
        io::ErrorKind::NotFound => "the process has ended",
        _ => "`pidtap doctor` tells what this host allows",
    };
    format!(
        "process {pid}: {what} cannot be read ({error}{}); connections from before now lack addresses until they are used: \
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
        // No namespace has such a number: the kernel's have 32 bits.
        let mut prober = with_namespaces((0..MAX_NAMESPACES as u64).map(|index| u64::MAX - index));
        let own = prober.add_namespace_of(std::process::id()).expect("there is room");
        assert_eq!(prober.namespaces.iter().map(|namespace| namespace.inode).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn where_all_are_inhabited_one_more_is_refused() {
        let mut prober = with_namespaces((0..MAX_NAMESPACES as u64).map(|index| u64::MAX - index));
        // They were looked at just now.
        prober.looked_for_empty = now();
        let error = prober.add_namespace_of(std::process::id()).expect_err("there is no room");
        assert!(unseen_namespace(7, &error).contains("256 network namespaces"), "{error}");
        assert_eq!(prober.namespaces.len(), MAX_NAMESPACES);
    }
}
