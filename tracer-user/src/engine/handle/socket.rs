//! SOCKET events: a connection was accepted, connected, found or used first; and names of Unix sockets.

use std::sync::Arc;

use super::super::{
    Engine,
    connection::{Connection, connect_returned, connecting_found},
    name::Name,
};
use crate::{
    analysis::detector::Observation,
    event::{Timestamp, wire},
    model::connection::{AF_UNIX, ConnectionInfo, Ending, Endpoint, Role},
    protocol::{decode::Decode as _, decoder::Decoder},
};

/// `IPPROTO_MPTCP` of `include/uapi/linux/in.h`.
const PROTOCOL_MPTCP: u16 = 262;

impl Engine {
    /// A connection was accepted, connected, found, or used first.
    pub(in crate::engine) fn socket(&mut self, event: &wire::SocketEvent) {
        use wire::origin;
        let sequence = event.header.flags & wire::flag::SEQUENCE != 0;
        let time = Timestamp(event.header.time_ns);
        let begins = match event.origin {
            origin::ACCEPT | origin::PAIR => true,
            // After a connect that failed, the next one on the same socket begins a new connection.
            origin::CONNECT => !self.connections.get(&event.connection).is_some_and(|known| known.life.is_open()),
            _ => false,
        };
        let role = match event.origin {
            origin::CONNECT => Some(Role::Client),
            origin::ACCEPT => Some(Role::Server),
            origin::FOUND if event.header.flags & wire::flag::LISTENING_PORT != 0 => Some(Role::Server),
            origin::FOUND if event.local_port != 0 => Some(Role::Client),
            _ => None,
        };
        let Self { connections, environment, queue, last_connection, names, .. } = self;
        if begins && let Some(mut old) = connections.remove(&event.connection) {
            old.close(Ending::ByTarget, time, environment);
        }
        let joined = !begins;
        let mut overtaken = None;
        let connection = connections.entry(event.connection).or_insert_with(|| {
            let decoder = Decoder::new(role, joined);
            Box::new(Connection::new(last_connection, environment, event.connection, &event.header, decoder))
        });
        if event.origin != origin::FOUND {
            connection.transport.sequence = sequence;
        }
        queue.get_mut().touch(connection, false);
        let local = Endpoint::from_wire(event.family, event.local, event.local_port);
        let remote = Endpoint::from_wire(event.family, event.remote, event.remote_port);
        let opened = connection.info.opened.or(begins.then_some(time));
        let better = |new: Endpoint, old: &Endpoint| match (&new, old) {
            (Endpoint::Unknown, _) | (Endpoint::Unix(_), Endpoint::Unix(_)) => old.clone(),
            (Endpoint::Inet(new), Endpoint::Inet(_)) if new.port() == 0 => old.clone(),
            _ => new,
        };
        let (local, remote) = (better(local, &connection.info.local), better(remote, &connection.info.remote));
        if local != connection.info.local || remote != connection.info.remote || opened != connection.info.opened {
            connection.info = Arc::new(ConnectionInfo {
                local_text: local.to_string().into(),
                remote_text: remote.to_string().into(),
                local,
                remote,
                opened,
                ..(*connection.info).clone()
            });
        }
        let decoder = &connection.channel.decoder;
        if role.is_some() && decoder.role().is_none() && !decoder.is_opaque() {
            connection.replace_decoder(Decoder::new(role, true), environment);
        }
        connection.role = connection.role.or(role);
        if event.family == AF_UNIX
            && let Some(name) = names.take(event.connection)
        {
            connection.set_name(name);
        }
        connection.transport.counted |= event.protocol == PROTOCOL_MPTCP;
        if event.state != 0 {
            // A reset that arrives during `accept` takes the port from the socket before it stores the state
            // (`tcp_set_state` in net/ipv4/tcp.c), and may say so before the connection is known.
            let closing = event.origin == origin::ACCEPT && event.remote_port != 0 && event.local_port == 0;
            connection.life.tcp_state = if closing { wire::tcp_state::CLOSE } else { event.state };
            if event.state == wire::tcp_state::CLOSE_WAIT {
                connection.life.close_by_peer();
            }
        }
        let found = joined && connection.info.opened.is_none() && event.origin == origin::FOUND;
        if found && connection.life.find() {
            queue.get_mut().find(event.connection);
        }
        if event.fd >= 0 && event.header.tgid != 0 {
            connection.holder = (event.header.tgid, event.fd);
            let old = environment.processes.open(event.header.tgid, event.fd, event.connection);
            // FOUND and SEEN observe a descriptor; with every other origin, a call has just returned it.
            overtaken = old.filter(|_| event.origin != origin::FOUND && event.origin != origin::SEEN);
        }
        match event.origin {
            origin::ACCEPT | origin::PAIR => {
                connection.life.accept();
                connection.transport.send.start_at(event.send_position, sequence);
                connection.transport.receive.start_at(event.receive_position, sequence);
                if event.origin == origin::ACCEPT {
                    connection.observe(environment, |connection| Observation::Accepted(connection));
                }
            }
            origin::CONNECT => connect_returned(connection, event, time, environment),
            origin::FOUND if event.state == wire::tcp_state::SYN_SENT => {
                connecting_found(connection, time, environment);
            }
            // The probes had dropped the connection, and count from zero again.
            origin::SEEN if !sequence && connection.transport.has_position() => {
                connection.transport.send.restart();
                connection.transport.receive.restart();
            }
            _ => {}
        }
        connection.settle(environment);
        self.due.attend(connection);
        if let Some(inode) = overtaken {
            self.let_go(inode, time);
        }
        self.bound_connections(time);
    }

    /// The kernel named one end of a Unix socket.
    pub(in crate::engine) fn socket_name(&mut self, event: &wire::SocketNameEvent, path: &[u8]) {
        let Some(name) = Name::of(event, path) else { return };
        match self.connections.get_mut(&event.connection).filter(|connection| !connection.life.is_over()) {
            Some(connection) => connection.set_name(name),
            None => self.names.keep(event.connection, name),
        }
    }
}
