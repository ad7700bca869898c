//! Encoding of the results as events.

use std::net::{IpAddr, SocketAddr};

use zerocopy::FromZeros as _;

use super::{inet::TcpSocket, unix::UnixSocket};
use crate::{
    event::{
        Event, Timestamp,
        wire::{
            EventHeader, ListenerEvent, ProbeEvent, SocketEvent, SocketNameEvent, ThreadEvent, flag, origin,
            peer_window, tcp_state,
        },
    },
    model::connection::{AF_INET, AF_INET6, AF_UNIX},
};

/// `IPPROTO_TCP`.
const PROTOCOL_TCP: u16 = 6;
/// `IPPROTO_MPTCP`.
const PROTOCOL_MPTCP: u16 = 262;

/// Process, descriptor and namespace in which a connection was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) pid: u32,
    pub(super) fd: i32,
    pub(super) netns: u32,
}

fn header(time: Timestamp, pid: u32, accepted: bool) -> EventHeader {
    let flags = if accepted { flag::LISTENING_PORT } else { 0 };
    EventHeader { time_ns: time.0, kind: 0, flags, length: 0, tgid: pid, tid: pid }
}

/// SOCKET event of a found socket with only its place and family. `sock_diag` does not report positions.
fn socket(header: EventHeader, inode: u32, family: u16, place: Place) -> SocketEvent {
    SocketEvent {
        header,
        connection: u64::from(inode),
        send_position: 0,
        receive_position: 0,
        local: [0; 16],
        remote: [0; 16],
        local_port: 0,
        remote_port: 0,
        family,
        protocol: 0,
        result: 0,
        fd: place.fd,
        state: tcp_state::ESTABLISHED,
        origin: origin::FOUND,
        reserved: [0; 2],
        netns: place.netns,
    }
}

/// Appends the SOCKET event of a TCP connection.
pub(super) fn tcp_found(time: Timestamp, place: Place, tcp: &TcpSocket, accepted: bool, buffer: &mut Vec<u8>) {
    let family = if tcp.local.is_ipv4() { AF_INET } else { AF_INET6 };
    let event = SocketEvent {
        local: address(tcp.local),
        remote: address(tcp.remote),
        local_port: tcp.local.port(),
        remote_port: tcp.remote.port(),
        protocol: if tcp.mptcp { PROTOCOL_MPTCP } else { PROTOCOL_TCP },
        state: tcp.state,
        ..socket(header(time, place.pid, accepted), tcp.inode, family, place)
    };
    Event::Socket(event).encode(buffer);
}

/// Appends the SOCKET and SOCKET_NAME events of a Unix connection.
pub(super) fn unix_found(
    time: Timestamp,
    place: Place,
    (inode, peer, peer_pid): (u32, u32, u32),
    (path, accepted): (&[u8], bool),
    buffer: &mut Vec<u8>,
) {
    let header = header(time, place.pid, accepted);
    Event::Socket(socket(header, inode, AF_UNIX, place)).encode(buffer);
    let event = SocketNameEvent {
        header,
        connection: u64::from(inode),
        peer,
        peer_tgid: peer_pid,
        path_length: path.len() as u32,
        reserved: 0,
    };
    Event::SocketName(event, path).encode(buffer);
}

/// Appends the PROBE event of a TCP connection; nothing if the kernel sent no `tcp_info`.
pub(super) fn probe(time: Timestamp, pid: u32, tcp: &TcpSocket, accepted: bool, buffer: &mut Vec<u8>) {
    let Some(info) = &tcp.info else { return };
    let event = ProbeEvent {
        header: header(time, pid, accepted),
        connection: u64::from(tcp.inode),
        bytes_acked: info.bytes_acked,
        bytes_received: info.bytes_received,
        receive_queue: tcp.receive_queue,
        send_queue: tcp.send_queue,
        last_sent_ms: info.last_data_sent,
        last_received_ms: info.last_data_recv,
        unacknowledged: info.unacked,
        retransmits: info.total_retrans,
        backoff: u32::from(info.backoff),
        window_probes: u32::from(info.probes),
        state: tcp.state,
        peer_window: match info.snd_wnd {
            // No window is advertised before the connection is established.
            _ if tcp.state == tcp_state::SYN_SENT => peer_window::UNKNOWN,
            0 => peer_window::ZERO,
            window if window < info.snd_mss => peer_window::SMALL,
            _ => peer_window::OPEN,
        },
        reserved: [0; 6],
        bytes_sent: info.bytes_sent,
    };
    Event::Probe(event).encode(buffer);
}

/// Appends the PROBE event of a Unix connection. `unread` is the number of bytes that its peer has not read.
pub(super) fn unix_probe(time: Timestamp, inode: u32, unix: &UnixSocket, unread: u32, buffer: &mut Vec<u8>) {
    let mut header = header(time, 0, false);
    header.flags |= flag::UNIX;
    let event = ProbeEvent {
        header,
        connection: u64::from(inode),
        receive_queue: unix.receive_queue,
        send_queue: unread,
        state: if unix.peer_closed { tcp_state::CLOSE_WAIT } else { tcp_state::ESTABLISHED },
        ..ProbeEvent::new_zeroed()
    };
    Event::Probe(event).encode(buffer);
}

/// Appends a PROBE event for a connection that no longer exists.
pub(super) fn gone(time: Timestamp, inode: u64, buffer: &mut Vec<u8>) {
    let mut header = header(time, 0, false);
    header.flags |= flag::GONE;
    Event::Probe(ProbeEvent { header, connection: inode, ..ProbeEvent::new_zeroed() }).encode(buffer);
}

/// Appends a SOCKET event if the connection is being established, as `connect`, which reveals the address, has not
/// returned.
pub(super) fn connecting(time: Timestamp, tcp: &TcpSocket, netns: u32, buffer: &mut Vec<u8>) {
    if tcp.state == tcp_state::SYN_SENT {
        tcp_found(time, Place { pid: 0, fd: -1, netns }, tcp, false, buffer);
    }
}

/// LISTENER event with waiting connections, backlog, open descriptors and descriptor limit.
pub(super) fn listener(
    time: Timestamp,
    (pid, inode, netns): (u32, u32, u32),
    local: SocketAddr,
    [waiting, limit, descriptors, descriptor_limit]: [u32; 4],
) -> ListenerEvent {
    ListenerEvent {
        header: header(time, pid, false),
        connection: u64::from(inode),
        local: address(local),
        local_port: local.port(),
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        netns,
        waiting,
        limit,
        descriptors,
        descriptor_limit,
        reserved: 0,
    }
}

/// Sets the remote address of the UDP socket that a thread waits on.
pub(super) fn set_peer(thread: &mut ThreadEvent, peer: SocketAddr) {
    thread.family = if peer.is_ipv4() { AF_INET } else { AF_INET6 };
    thread.remote = address(peer);
    thread.remote_port = peer.port();
}

fn address(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}
