//! Listen queues of the targets.

use std::{fs, io, net::SocketAddr, os::unix::ffi::OsStrExt as _};

use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseBuffer, InetResponseHeader, SocketId, StateFlags},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{descriptor, event, netlink::DiagSocket};
use crate::event::{Event, Timestamp, wire::ListenerEvent};

/// Time in nanoseconds after which the owner of a foreign listening socket is searched again.
const FOREIGN_NS: u64 = 10_000_000_000;
/// Maximum number of remembered sockets per table.
const REMEMBERED: usize = 4096;

/// A listening socket with waiting connections.
#[derive(Clone, Copy, Debug)]
struct Listener {
    inode: u32,
    local: SocketAddr,
    waiting: u32,
    limit: u32,
}

/// Owners of listening sockets, and the sockets that had waiting connections at the last look.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Process ID and descriptor of the owner, by inode number.
    owners: FxHashMap<u32, (u32, i32)>,
    foreign: FxHashMap<u32, Timestamp>,
    /// Socket and process of the last report, by namespace and inode number.
    waited: FxHashMap<(u32, u32), (Listener, u32)>,
}

impl Listeners {
    /// Appends a LISTENER event for each listening socket of these processes that has waiting connections, or had some
    /// at the last look. Each namespace takes one dump per address family. The owner is searched only for sockets with
    /// waiting connections. `pids` are all traced processes.
    pub(super) fn look(
        &mut self,
        sockets: &mut dyn Iterator<Item = (&mut DiagSocket, u32)>,
        pids: &[u32],
        now: Timestamp,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        for (socket, netns) in sockets {
            let mut all = Vec::new();
            read(socket, |listener| {
                if listener.waiting > 0 {
                    all.push(listener);
                }
            })?;
            self.take(&all, pids, netns, now, buffer);
        }
        Ok(())
    }

    /// Processes one dump of a namespace, which lists the sockets with waiting connections. Sockets that are no longer
    /// listed are reported with 0: their connections were accepted, the socket was closed, or no traced process holds
    /// it.
    fn take(&mut self, all: &[Listener], pids: &[u32], netns: u32, now: Timestamp, buffer: &mut Vec<u8>) {
        let mut seen = FxHashSet::default();
        for listener in all {
            let Some(pid) = self.owner(listener.inode, pids, now) else { continue };
            let key = (netns, listener.inode);
            if self.waited.len() < REMEMBERED || self.waited.contains_key(&key) {
                self.waited.insert(key, (*listener, pid));
                seen.insert(listener.inode);
                Event::Listener(told(*listener, pid, netns, now)).encode(buffer);
            }
        }
        self.waited.retain(|(of, inode), (listener, pid)| {
            let waits = *of != netns || seen.contains(inode);
            if !waits {
                Event::Listener(told(Listener { waiting: 0, ..*listener }, *pid, netns, now)).encode(buffer);
            }
            waits
        });
    }

    fn owner(&mut self, inode: u32, pids: &[u32], now: Timestamp) -> Option<u32> {
        if let Some((pid, fd)) = self.owners.get(&inode) {
            // The process may have exited or closed the socket, and others may still hold it (a forking server).
            if pids.contains(pid) && holds(*pid, *fd, inode) {
                return Some(*pid);
            }
            self.owners.remove(&inode);
        }
        if self.foreign.get(&inode).is_some_and(|time| now.since(*time) < FOREIGN_NS) {
            return None;
        }
        let owner = pids.iter().find_map(|pid| {
            let sockets = descriptor::sockets(*pid).ok()?;
            sockets.iter().find(|socket| socket.inode == inode).map(|socket| (*pid, socket.fd))
        });
        if self.owners.len() >= REMEMBERED || self.foreign.len() >= REMEMBERED {
            self.owners.clear();
            self.foreign.clear();
        }
        match owner {
            Some(owner) => drop(self.owners.insert(inode, owner)),
            None => drop(self.foreign.insert(inode, now)),
        }
        owner.map(|(pid, _)| pid)
    }
}

/// Whether a descriptor of a process refers to this socket.
fn holds(pid: u32, fd: i32, inode: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/fd/{fd}"))
        .is_ok_and(|link| descriptor::parse_socket(link.as_os_str().as_bytes()) == Some(inode))
}

/// Reports the listening sockets of a namespace.
fn read(socket: &mut DiagSocket, mut found: impl FnMut(Listener)) -> io::Result<()> {
    for family in [AF_INET, AF_INET6] {
        let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::LISTEN,
            socket_id,
        };
        let result = socket.dump(SockDiagMessage::InetRequest(request), |answer| {
            if let Some(listener) = parse(answer) {
                found(listener);
            }
        });
        match result {
            // A kernel without IPv6 has no such sockets.
            Err(error) if family == AF_INET6 && error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Parses a listening socket: `idiag_rqueue` is the number of waiting connections, `idiag_wqueue` the backlog
/// (`net/ipv4/tcp_diag.c`).
fn parse(answer: &[u8]) -> Option<Listener> {
    let header = InetResponseHeader::parse(answer.get(..size_of::<InetResponseBuffer>())?).ok()?;
    let (address, port) = (header.socket_id.source_address, header.socket_id.source_port);
    Some(Listener {
        inode: header.inode,
        local: SocketAddr::new(address.to_canonical(), port),
        waiting: header.recv_queue,
        limit: header.send_queue,
    })
}

fn told(listener: Listener, pid: u32, netns: u32, now: Timestamp) -> ListenerEvent {
    let (descriptors, descriptor_limit) = if listener.waiting > 0 { descriptors(pid) } else { None }.unwrap_or((0, 0));
    event::listener(
        now,
        (pid, listener.inode, netns),
        listener.local,
        [listener.waiting, listener.limit, descriptors, descriptor_limit],
    )
}

/// Number of open descriptors of a process, and its limit.
fn descriptors(pid: u32) -> Option<(u32, u32)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some((u32::try_from(open).ok()?, limit.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn descriptors_of_this_process_are_counted() {
        let file = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (open, limit) = descriptors(std::process::id()).expect("they can be counted");
        assert!(open > 2 && limit as i32 > file.as_raw_fd(), "{open} of {limit}");
    }

    /// Result of one look: process and number of waiting connections.
    fn look(listeners: &mut Listeners, all: &[Listener], pids: &[u32], time: u64) -> Vec<(u32, u32)> {
        let mut buffer = Vec::new();
        listeners.take(all, pids, 1, Timestamp(time), &mut buffer);
        let mut rest = &buffer[..];
        let events = std::iter::from_fn(|| {
            let event = Event::decode(rest).ok()?;
            rest = &rest[event.header().length as usize..];
            let Event::Listener(event) = event else { panic!("{event:?}") };
            Some((event.header.tgid, event.waiting))
        });
        events.collect()
    }

    #[test]
    fn a_queue_ends_when_its_socket_does_and_changes_its_owner() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = std::process::id();
        let fd = socket.as_raw_fd();
        let found = descriptor::sockets(own).expect("own descriptors");
        let inode = found.iter().find(|socket| socket.fd == fd).expect("it is there").inode;
        let local = socket.local_addr().expect("its address");
        let all = [Listener { inode, local, waiting: 3, limit: 128 }];
        let mut listeners = Listeners::default();
        // The remembered owner no longer holds the socket; this process does.
        listeners.owners.insert(inode, (u32::MAX, fd));
        assert_eq!(look(&mut listeners, &all, &[u32::MAX, own], 1), [(own, 3)]);
        assert_eq!(look(&mut listeners, &all, &[own], 2), [(own, 3)]);
        // A dump of another namespace does not affect it. Then the socket is no longer listed.
        let mut buffer = Vec::new();
        listeners.take(&[], &[own], 2, Timestamp(3), &mut buffer);
        assert!(buffer.is_empty());
        assert_eq!(look(&mut listeners, &[], &[own], 4), [(own, 0)]);
        assert_eq!(look(&mut listeners, &[], &[own], 5), []);
        // No traced process holds the socket any more.
        assert_eq!(look(&mut listeners, &all, &[own], 6), [(own, 3)]);
        assert_eq!(look(&mut listeners, &all, &[], 7), [(own, 0)]);
    }

    #[test]
    fn the_queues_of_a_listening_socket_are_its_length_and_limit() {
        // `inet_diag_msg`: family, state, timer, retransmissions, ports, addresses, interface, cookie, expiry, queues.
        let mut answer = vec![AF_INET, 10, 0, 0];
        answer.extend(8080u16.to_be_bytes());
        answer.extend([0; 2]);
        answer.extend([127, 0, 0, 1]);
        answer.extend([0; 12 + 16 + 12 + 4]);
        for number in [3u32, 128, 1000, 77] {
            answer.extend(number.to_ne_bytes());
        }
        let listener = parse(&answer).expect("it is whole");
        assert_eq!((listener.waiting, listener.limit, listener.inode), (3, 128, 77));
        assert_eq!(listener.local.to_string(), "127.0.0.1:8080");
        assert!((0..answer.len()).all(|end| parse(&answer[..end]).is_none()));
    }
}
