//! TCP sockets of a network namespace: addresses, state and `tcp_info`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{NlasIterator, Parseable as _};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, INET_DIAG_INFO, IPPROTO_TCP, IPPROTO_UDP, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseBuffer, InetResponseHeader, SocketId, StateFlags, nlas::TcpInfo},
};

use rustc_hash::FxHashMap;

use super::netlink::DiagSocket;
use crate::event::wire::tcp_state;

/// `INET_DIAG_ULP_INFO` of `include/uapi/linux/inet_diag.h`.
const ULP_INFO: u16 = 19;
/// Size in bytes to which `tcp_info` is padded; at least the size that the parser needs.
const TCP_INFO: usize = 512;

/// A TCP connection as `sock_diag` reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    pub(super) inode: u32,
    pub(super) state: u8,
    /// IPv4-mapped addresses are converted to IPv4.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) receive_queue: u32,
    pub(super) send_queue: u32,
    pub(super) info: Option<TcpInfo>,
    /// Whether this is an MPTCP connection; the numbers are then sums over its subflows.
    pub(super) mptcp: bool,
    /// Key to query this socket alone.
    pub(super) key: Key,
}

/// Identity of a socket for the kernel: family, addresses, and a cookie that no other socket gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    family: u8,
    socket_id: SocketId,
}

/// Queries the connection with this key; `None` if it no longer exists. One query takes a few microseconds.
pub(super) fn read_one(socket: &mut DiagSocket, key: &Key) -> io::Result<Option<TcpSocket>> {
    let request = InetRequest {
        family: key.family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: key.socket_id.clone(),
    };
    let mut table = TcpTable::default();
    socket.one(SockDiagMessage::InetRequest(request), |answer| table.take(answer, |_| true))?;
    Ok(table.connections.pop())
}

/// Reports the remote addresses of the UDP sockets that match `wanted` and are connected.
pub(super) fn udp_peers(
    socket: &mut DiagSocket,
    wanted: impl Fn(u32) -> bool,
    mut found: impl FnMut(u32, SocketAddr),
) -> io::Result<()> {
    for family in [AF_INET, AF_INET6] {
        let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        let request = InetRequest {
            family,
            protocol: IPPROTO_UDP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id,
        };
        let result = socket.dump(SockDiagMessage::InetRequest(request), |answer| {
            let Some(header) = answer.get(..size_of::<InetResponseBuffer>()) else { return };
            let Ok(header) = InetResponseHeader::parse(header) else { return };
            let (address, port) = (header.socket_id.destination_address, header.socket_id.destination_port);
            if wanted(header.inode) && port != 0 {
                found(header.inode, SocketAddr::new(address.to_canonical(), port));
            }
        });
        match result {
            // The module udp_diag or IPv6 is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

impl TcpSocket {
    /// Adds another subflow of the same MPTCP connection. The connection keeps the addresses of its first subflow, and
    /// is established if any subflow is.
    fn add_subflow(&mut self, other: &Self) {
        self.receive_queue = self.receive_queue.saturating_add(other.receive_queue);
        self.send_queue = self.send_queue.saturating_add(other.send_queue);
        if other.state == tcp_state::ESTABLISHED {
            self.state = other.state;
        }
        if let (Some(own), Some(other)) = (&mut self.info, &other.info) {
            own.bytes_acked = own.bytes_acked.saturating_add(other.bytes_acked);
            own.bytes_received = own.bytes_received.saturating_add(other.bytes_received);
            own.bytes_sent = own.bytes_sent.saturating_add(other.bytes_sent);
            own.last_data_sent = own.last_data_sent.min(other.last_data_sent);
            own.last_data_recv = own.last_data_recv.min(other.last_data_recv);
            own.unacked = own.unacked.saturating_add(other.unacked);
            own.total_retrans = own.total_retrans.saturating_add(other.total_retrans);
        }
    }
}

/// Result of one dump of a namespace.
#[derive(Debug, Default)]
pub(super) struct TcpTable {
    pub(super) connections: Vec<TcpSocket>,
    /// Index in `connections` of each MPTCP connection, by inode number.
    mptcp: FxHashMap<u32, usize>,
    listeners: Vec<SocketAddr>,
}

impl TcpTable {
    /// Reads the connections that match `wanted`, and all listening addresses. One dump per address family.
    pub(super) fn read(socket: &mut DiagSocket, wanted: impl Fn(u32) -> bool) -> io::Result<Self> {
        let mut table = Self::default();
        for family in [AF_INET, AF_INET6] {
            let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
            let request = InetRequest {
                family,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::INFO,
                // Sockets in these states have no file descriptor.
                states: StateFlags::all() - StateFlags::TIME_WAIT - StateFlags::SYN_RECV,
                socket_id,
            };
            let result = socket.dump(SockDiagMessage::InetRequest(request), |answer| table.take(answer, &wanted));
            match result {
                // A kernel without IPv6 has no such sockets.
                Err(error) if family == AF_INET6 && error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(table)
    }

    /// Whether a socket of the namespace listens on the connection's local address, so that it was accepted.
    pub(super) fn was_accepted(&self, connection: &TcpSocket) -> bool {
        self.listeners.iter().any(|listener| {
            listener.port() == connection.local.port()
                && (listener.ip().is_unspecified() || listener.ip() == connection.local.ip())
        })
    }

    fn take(&mut self, answer: &[u8], wanted: impl Fn(u32) -> bool) {
        // The header is parsed without an allocation, as a host may have a hundred thousand other sockets.
        let Some(header) = answer.get(..size_of::<InetResponseBuffer>()) else { return };
        let Ok(header) = InetResponseHeader::parse(header) else { return };
        let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
        let local = address(header.socket_id.source_address, header.socket_id.source_port);
        if header.state == tcp_state::LISTEN {
            self.listeners.push(local);
        } else if wanted(header.inode) {
            let attributes = &answer[size_of::<InetResponseBuffer>()..];
            let mptcp = is_mptcp(attributes);
            let info = attribute(attributes, INET_DIAG_INFO, |value| {
                // Older kernels omit fields at the end.
                let mut value = value.to_vec();
                value.resize(value.len().max(TCP_INFO), 0);
                TcpInfo::parse(&value).ok()
            });
            let found = TcpSocket {
                inode: header.inode,
                state: header.state,
                local,
                remote: address(header.socket_id.destination_address, header.socket_id.destination_port),
                receive_queue: header.recv_queue,
                send_queue: header.send_queue,
                info,
                mptcp,
                key: Key { family: header.family, socket_id: header.socket_id },
            };
            if mptcp {
                if let Some(known) = self.mptcp.get(&found.inode).and_then(|at| self.connections.get_mut(*at)) {
                    return known.add_subflow(&found);
                }
                self.mptcp.insert(found.inode, self.connections.len());
            }
            self.connections.push(found);
        }
    }
}

/// Applies `take` to the attribute of this kind; `None` if it is absent.
fn attribute<T>(attributes: &[u8], kind: u16, take: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let found = NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == kind)?;
    take(found.value())
}

/// Whether the upper layer (`INET_DIAG_ULP_INFO`) is MPTCP, so that the socket is a subflow. `sock_diag` reports a
/// subflow with the inode of the connection's own socket.
fn is_mptcp(attributes: &[u8]) -> bool {
    /// `INET_ULP_INFO_NAME`.
    const NAME: u16 = 1;
    let is_mptcp = |name: &[u8]| (name.strip_suffix(&[0]) == Some(b"mptcp")).then_some(());
    attribute(attributes, ULP_INFO, |info| attribute(info, NAME, is_mptcp)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `inet_diag_msg` with these values in the kernel's layout.
    fn answer(family: u8, state: u8, ports: (u16, u16), addresses: [[u8; 16]; 2], inode: u32) -> Vec<u8> {
        let mut bytes = vec![family, state, 0, 0];
        bytes.extend(ports.0.to_be_bytes());
        bytes.extend(ports.1.to_be_bytes());
        bytes.extend(addresses.concat());
        bytes.extend([0; 16]);
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(9u32.to_ne_bytes());
        bytes.extend(1000u32.to_ne_bytes());
        bytes.extend(inode.to_ne_bytes());
        bytes
    }

    fn v4(last: u8) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[127, 0, 0, last]);
        bytes
    }

    fn mapped(last: u8) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, last]);
        bytes
    }

    #[test]
    fn a_mapped_address_is_ipv4_and_the_listener_tells_who_accepted() {
        let mut table = TcpTable::default();
        table.take(&answer(AF_INET6, tcp_state::ESTABLISHED, (80, 5000), [mapped(1), mapped(2)], 11), |_| true);
        table.take(&answer(AF_INET, tcp_state::ESTABLISHED, (5000, 80), [v4(2), v4(1)], 12), |_| true);
        table.take(&answer(AF_INET, tcp_state::ESTABLISHED, (1, 2), [v4(1), v4(1)], 13), |inode| inode != 13);
        // A listener on all IPv6 addresses also accepts IPv4; it follows the connections.
        table.take(&answer(AF_INET6, tcp_state::LISTEN, (80, 0), [[0; 16]; 2], 10), |_| true);
        let [server, client] = table.connections.as_slice() else { panic!("two connections: {table:?}") };
        assert_eq!(server.local, "127.0.0.1:80".parse().expect("an address"));
        assert_eq!(client.remote, server.local);
        assert_eq!((server.receive_queue, server.send_queue), (7, 9));
        assert!(table.was_accepted(server) && !table.was_accepted(client));
    }

    #[test]
    fn short_answers_are_passed_over() {
        let whole = answer(AF_INET, tcp_state::ESTABLISHED, (80, 5000), [v4(1), v4(2)], 11);
        for end in 0..whole.len() {
            let mut table = TcpTable::default();
            table.take(&whole[..end], |_| true);
            assert!(table.connections.is_empty());
        }
    }

    #[test]
    fn subflows_are_one_connection() {
        let ulp = [10u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat();
        let mut attribute = [20u16.to_ne_bytes(), ULP_INFO.to_ne_bytes()].concat();
        attribute.extend(ulp);
        attribute.extend(b"mptcp\0\0\0");
        attribute.truncate(20);
        attribute.resize(20, 0);
        let subflow = |state| {
            let mut bytes = answer(AF_INET, state, (5000, 80), [v4(1), v4(2)], 11);
            bytes.extend(&attribute);
            bytes
        };
        let mut table = TcpTable::default();
        table.take(&subflow(tcp_state::CLOSE_WAIT), |_| true);
        table.take(&subflow(tcp_state::ESTABLISHED), |_| true);
        assert_eq!(table.connections.len(), 1);
        let connection = &table.connections[0];
        assert!(connection.mptcp);
        assert_eq!((connection.state, connection.receive_queue), (tcp_state::ESTABLISHED, 14));
        // Sockets that are not MPTCP do not share an inode.
        table.take(&answer(AF_INET, tcp_state::ESTABLISHED, (5001, 80), [v4(1), v4(2)], 12), |_| true);
        assert_eq!(table.connections.len(), 2);
        assert!(!table.connections[1].mptcp);
    }
}
