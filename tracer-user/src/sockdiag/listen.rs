//! What waits in the listen queues of the targets.

use std::{fs, io, net::SocketAddr};

use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseBuffer, InetResponseHeader, SocketId, StateFlags},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{descriptor, event, netlink::DiagSocket};
use crate::event::{Event, Timestamp, wire::ListenerEvent};

/// Whose a listening socket is, is looked for again after so long.
const FOREIGN_NS: u64 = 10_000_000_000;
/// Sockets of others that are remembered.
const REMEMBERED: usize = 4096;

/// A listening socket in which connections wait.
#[derive(Clone, Copy, Debug)]
struct Listener {
    inode: u32,
    local: SocketAddr,
    waiting: u32,
    limit: u32,
}

/// Which listening sockets are the targets', and in which of them connections waited at the last look.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    owners: FxHashMap<u32, u32>,
    foreign: FxHashMap<u32, Timestamp>,
    waited: FxHashSet<u32>,
}

impl Listeners {
    /// Appends LISTENER for each listening socket of these processes in which connections wait, or did at the last look.
    /// One dump of the listening sockets of a namespace for each family; whose they are is looked for only where some wait.
    pub(super) fn look(
        &mut self,
        sockets: &mut dyn Iterator<Item = (&mut DiagSocket, u32)>,
        pids: &[u32],
        now: Timestamp,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        for (socket, netns) in sockets {
            let mut all = Vec::new();
            let waited = &self.waited;
            read(socket, |listener| {
                if listener.waiting > 0 || waited.contains(&listener.inode) {
                    all.push(listener);
                }
            })?;
            for listener in all {
                let Some(pid) = self.owner(listener.inode, pids, now) else { continue };
                if listener.waiting > 0 {
                    self.waited.insert(listener.inode);
                } else {
                    self.waited.remove(&listener.inode);
                }
                Event::Listener(told(listener, pid, netns, now)).encode(buffer);
            }
        }
        Ok(())
    }

    fn owner(&mut self, inode: u32, pids: &[u32], now: Timestamp) -> Option<u32> {
        if let Some(pid) = self.owners.get(&inode) {
            return Some(*pid);
        }
        if self.foreign.get(&inode).is_some_and(|time| now.since(*time) < FOREIGN_NS) {
            return None;
        }
        let holds = |pid: &&u32| {
            descriptor::sockets(**pid).is_ok_and(|sockets| sockets.iter().any(|socket| socket.inode == inode))
        };
        let owner = pids.iter().find(holds).copied();
        if self.owners.len() >= REMEMBERED || self.foreign.len() >= REMEMBERED {
            self.owners.clear();
            self.foreign.clear();
        }
        match owner {
            Some(pid) => drop(self.owners.insert(inode, pid)),
            None => drop(self.foreign.insert(inode, now)),
        }
        owner
    }
}

/// Shows the listening sockets of a namespace.
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

/// Of a listening socket, `idiag_rqueue` is how many wait and `idiag_wqueue` how many may (`net/ipv4/tcp_diag.c`).
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

/// How many descriptors a process has, and how many it may have.
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
