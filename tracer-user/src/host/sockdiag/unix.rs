//! Unix stream sockets of a network namespace: path, peer, and the process that holds the peer.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use netlink_packet_core::{NlasIterator, Parseable as _};
use netlink_packet_sock_diag::{
    SOCK_STREAM, SockDiagMessage, UNIX_DIAG_NAME, UNIX_DIAG_PEER, UNIX_DIAG_RQLEN, UNIX_DIAG_SHUTDOWN,
    unix::{ShowFlags, StateFlags, UnixRequest, UnixResponseBuffer, UnixResponseHeader},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{descriptor, netlink::DiagSocket};
use crate::event::wire::tcp_state;

/// Time limit of the search for the holders of peers, which reads the descriptors of every process. On a host with
/// hundreds of thousands of descriptors, attaching soon matters more than knowing all peers.
const SEARCH_TIME: Duration = Duration::from_millis(300);

/// A Unix stream socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnixSocket {
    /// Path without the final NUL, or an abstract name with its leading NUL; empty if the socket has no name.
    pub(super) path: Vec<u8>,
    /// Inode number of the peer; 0 if there is none.
    pub(super) peer: u32,
    /// Unread bytes; for a listening socket, the number of connections that wait for `accept`.
    pub(super) receive_queue: u32,
    /// Memory of the bytes that the peer has not read; for a listening socket, the backlog.
    pub(super) send_queue: u32,
    /// Whether the peer has closed the connection or shut down sending.
    pub(super) peer_closed: bool,
}

/// `RCV_SHUTDOWN` of `include/net/sock.h`.
const RECEIVE_SHUTDOWN: u8 = 1;
/// Cookie that matches every socket.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// Queries the connected stream socket with this inode number; `None` if there is none. The kernel scans its table of
/// Unix sockets.
pub(super) fn read_one(socket: &mut DiagSocket, inode: u32) -> io::Result<Option<UnixSocket>> {
    let request = UnixRequest {
        state_flags: StateFlags::all(),
        inode,
        show_flags: ShowFlags::NAME | ShowFlags::PEER | ShowFlags::RQLEN,
        cookie: ANY_COOKIE,
    };
    let mut table = UnixTable::default();
    socket.one(SockDiagMessage::UnixRequest(request), |answer| table.take(answer))?;
    Ok(table.sockets.remove(&inode))
}

/// Like [`read_one`], with the number of bytes that the peer has not read as the send queue, if the peer is in the same
/// namespace. The kernel itself reports only the memory that these bytes take (`unix_outq_len`).
pub(super) fn read_with_peer(socket: &mut DiagSocket, inode: u32) -> io::Result<Option<UnixSocket>> {
    let Some(mut unix) = read_one(socket, inode)? else { return Ok(None) };
    if unix.send_queue > 0
        && unix.peer != 0
        && let Some(peer) = read_one(socket, unix.peer)?
    {
        unix.send_queue = peer.receive_queue;
    }
    Ok(Some(unix))
}

/// Unix stream sockets of a namespace, by inode number.
#[derive(Debug, Default)]
pub(super) struct UnixTable {
    sockets: FxHashMap<u32, UnixSocket>,
    listening: FxHashSet<Vec<u8>>,
}

impl UnixTable {
    pub(super) fn read(socket: &mut DiagSocket) -> io::Result<Self> {
        let request = UnixRequest {
            state_flags: StateFlags::all(),
            inode: 0,
            show_flags: ShowFlags::NAME | ShowFlags::PEER | ShowFlags::RQLEN,
            cookie: ANY_COOKIE,
        };
        let mut table = Self::default();
        socket.dump(SockDiagMessage::UnixRequest(request), |answer| table.take(answer))?;
        Ok(table)
    }

    /// Returns a connected stream socket; `None` for any other inode number.
    pub(super) fn connection(&self, inode: u32) -> Option<&UnixSocket> {
        self.sockets.get(&inode).filter(|socket| socket.peer != 0)
    }

    /// Number of bytes that the peer has not read; if the peer is not in this table, the memory that they take.
    pub(super) fn unread_by_peer(&self, socket: &UnixSocket) -> u32 {
        self.sockets.get(&socket.peer).map_or(socket.send_queue, |peer| peer.receive_queue)
    }

    /// Path of the listening side, and whether this socket is that side; false if the listener is gone. An accepted
    /// socket has the path of its listener; a connecting socket usually has none.
    pub(super) fn path<'a>(&'a self, socket: &'a UnixSocket) -> (&'a [u8], bool) {
        if self.listening.contains(&socket.path) {
            return (&socket.path, true);
        }
        let peer = self.sockets.get(&socket.peer).map_or(&[][..], |peer| &peer.path);
        (if peer.is_empty() { &socket.path } else { peer }, false)
    }

    fn take(&mut self, answer: &[u8]) {
        let Some(header) = answer.get(..size_of::<UnixResponseBuffer>()) else { return };
        let Ok(header) = UnixResponseHeader::parse(header) else { return };
        if header.kind != SOCK_STREAM {
            return;
        }
        let mut socket = UnixSocket::default();
        for attribute in NlasIterator::new(&answer[size_of::<UnixResponseBuffer>()..]).map_while(Result::ok) {
            match (attribute.kind(), attribute.value()) {
                (UNIX_DIAG_NAME, name @ [0, ..]) => socket.path = name.to_vec(),
                (UNIX_DIAG_NAME, path) => socket.path = path.strip_suffix(&[0]).unwrap_or(path).to_vec(),
                (UNIX_DIAG_PEER, inode) => {
                    socket.peer = inode.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
                }
                // `struct unix_diag_rqlen`.
                (UNIX_DIAG_RQLEN, queues) => {
                    let word =
                        |at| queues.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
                    socket.receive_queue = word(0).unwrap_or(0);
                    socket.send_queue = word(4).unwrap_or(0);
                }
                (UNIX_DIAG_SHUTDOWN, [mask, ..]) => socket.peer_closed = mask & RECEIVE_SHUTDOWN != 0,
                _ => {}
            }
        }
        if header.state == tcp_state::LISTEN {
            self.listening.insert(socket.path);
        } else {
            self.sockets.insert(header.inode, socket);
        }
    }
}

/// Finds a process that holds each of these sockets, within [`SEARCH_TIME`]. Also returns whether all processes were
/// searched.
pub(super) fn holders(wanted: &FxHashSet<u32>, first: &[u32]) -> (FxHashMap<u32, u32>, bool) {
    let mut found = FxHashMap::default();
    if wanted.is_empty() {
        return (found, true);
    }
    let deadline = Instant::now() + SEARCH_TIME;
    // The targets first, as they often talk to each other.
    for pid in first.iter().copied().chain(by_descriptors()) {
        for descriptor in descriptor::sockets(pid).unwrap_or_default() {
            if wanted.contains(&descriptor.inode) {
                found.entry(descriptor.inode).or_insert(pid);
            }
        }
        if found.len() == wanted.len() {
            break;
        }
        if Instant::now() > deadline {
            return (found, false);
        }
    }
    (found, true)
}

/// All processes, those with few descriptors first, so that a single process cannot use up the time. Since Linux 6.2
/// the size of the directory is the number of descriptors; before, the order is that of `/proc`.
fn by_descriptors() -> impl Iterator<Item = u32> {
    let mut processes: Vec<(u64, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((fs::metadata(format!("/proc/{pid}/fd")).ok()?.size(), pid))
        })
        .collect();
    processes.sort_by_key(|&(descriptors, _)| descriptors);
    processes.into_iter().map(|(_, pid)| pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `unix_diag` response: `unix_diag_msg`, then attributes.
    fn answer(state: u8, inode: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![1, 1, state, 0];
        bytes.extend(inode.to_ne_bytes());
        bytes.extend([0; 8]);
        for (kind, value) in attributes {
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn queues_and_the_peer_that_has_closed_are_told() {
        let mut table = UnixTable::default();
        let queues = [7u32.to_ne_bytes(), 900u32.to_ne_bytes()].concat();
        let peer = 12u32.to_ne_bytes();
        table.take(&answer(
            tcp_state::ESTABLISHED,
            11,
            &[(UNIX_DIAG_PEER, &peer), (UNIX_DIAG_RQLEN, &queues), (UNIX_DIAG_SHUTDOWN, &[3])],
        ));
        let socket = table.connection(11).expect("it is connected").clone();
        assert_eq!((socket.receive_queue, socket.send_queue, socket.peer_closed), (7, 900, true));
        // Without the peer, only the memory is known.
        assert_eq!(table.unread_by_peer(&socket), 900);
        let queues = [20u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat();
        table.take(&answer(tcp_state::ESTABLISHED, 12, &[(UNIX_DIAG_RQLEN, &queues), (UNIX_DIAG_SHUTDOWN, &[0])]));
        assert_eq!(table.unread_by_peer(&socket), 20);
    }

    #[test]
    fn an_answer_cut_anywhere_is_harmless() {
        let whole = answer(tcp_state::ESTABLISHED, 11, &[(UNIX_DIAG_RQLEN, &[1; 8]), (UNIX_DIAG_NAME, b"\0name")]);
        for end in 0..whole.len() {
            UnixTable::default().take(&whole[..end]);
        }
    }

    #[test]
    fn the_queues_of_own_sockets_are_read() {
        use std::{io::Write as _, os::fd::AsRawFd as _};
        let (mut one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        one.write_all(b"twelve bytes").expect("there is room");
        let inode_of = |fd| {
            let sockets = descriptor::sockets(std::process::id()).expect("own descriptors");
            sockets.iter().find(|socket| socket.fd == fd).expect("it is open").inode
        };
        let namespace = fs::File::open("/proc/self/ns/net").expect("it is there");
        let mut socket = DiagSocket::open(&namespace).expect("sock_diag");
        let receiver =
            read_with_peer(&mut socket, inode_of(other.as_raw_fd())).expect("a response").expect("it is there");
        assert_eq!((receiver.receive_queue, receiver.send_queue), (12, 0));
        let sender = read_with_peer(&mut socket, inode_of(one.as_raw_fd())).expect("a response").expect("it is there");
        assert_eq!((sender.receive_queue, sender.send_queue, sender.peer_closed), (0, 12, false));
        drop(other);
        let sender = read_with_peer(&mut socket, inode_of(one.as_raw_fd())).expect("a response").expect("it is there");
        assert!(sender.peer_closed);
    }
}
