//! Connections that exist when tracing begins.

use std::io;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Inspector, Namespace, descriptor,
    event::{self, Place},
    has_ended,
    inet::TcpTable,
    now,
    refusal::note,
    unix::{UnixTable, holders},
};

/// Result of [`Inspector::find`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Number of TCP connections.
    pub tcp: usize,
    /// Number of Unix stream connections.
    pub unix: usize,
    /// Messages on parts that could not be read, with remedies. The affected connections lack addresses.
    pub notes: Vec<String>,
}

impl Inspector {
    /// Finds the connections of these processes. Appends SOCKET (`FOUND`) and PROBE for each, and SOCKET_NAME for Unix
    /// stream sockets. A connection that several processes hold is reported once, for the first of them. Remembers the
    /// namespaces of the processes for [`Self::inspect`].
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
