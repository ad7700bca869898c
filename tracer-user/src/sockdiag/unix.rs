//! Unix stream sockets of a network namespace: path, peer, and who holds the peer.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use netlink_packet_core::{NlasIterator, Parseable as _};
use netlink_packet_sock_diag::{
    SOCK_STREAM, SockDiagMessage, UNIX_DIAG_NAME, UNIX_DIAG_PEER,
    unix::{ShowFlags, StateFlags, UnixRequest, UnixResponseBuffer, UnixResponseHeader},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{descriptor, netlink::DiagSocket};
use crate::event::wire::tcp_state;

/// The search for the holders of peers reads the descriptors of every process. It stops after this time: on a host with
/// hundreds of thousands of descriptors, to attach soon is worth more than to know all peers.
const SEARCH_TIME: Duration = Duration::from_millis(300);

/// What is known of one Unix stream socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnixSocket {
    /// Path without the final NUL, or an abstract name with its leading NUL; empty where it has none.
    pub(super) path: Vec<u8>,
    /// Inode of the peer, 0 where there is none.
    pub(super) peer: u32,
}

/// All Unix stream sockets of a namespace, by inode.
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
            show_flags: ShowFlags::NAME | ShowFlags::PEER,
            cookie: [0xff; 8],
        };
        let mut table = Self::default();
        socket.dump(SockDiagMessage::UnixRequest(request), |answer| table.take(answer))?;
        Ok(table)
    }

    /// A connected socket; `None` for what is not connected, not a stream, or not known.
    pub(super) fn connection(&self, inode: u32) -> Option<&UnixSocket> {
        self.sockets.get(&inode).filter(|socket| socket.peer != 0)
    }

    /// The listening side's path, and whether this is that side (a socket listens at its path; false where the
    /// listener is gone). An accepted socket has its listener's path; one that connected mostly has none of its own.
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

/// Which process holds each of these sockets, as far as [`SEARCH_TIME`] allows; whether all processes were looked at.
/// Where several hold one, the first found is given.
pub(super) fn holders(wanted: &FxHashSet<u32>, first: &[u32]) -> (FxHashMap<u32, u32>, bool) {
    let mut found = FxHashMap::default();
    if wanted.is_empty() {
        return (found, true);
    }
    let deadline = Instant::now() + SEARCH_TIME;
    // Targets often talk to each other.
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

/// All processes, those with few descriptors first, so that one with very many does not use up the time. Linux tells the
/// number as the size of the folder since 6.2; before, the order is that of `/proc`.
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
