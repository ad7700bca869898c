//! TCP events: changes of state, and resets.

use std::sync::Arc;

use super::super::{
    Engine,
    connection::{Connection, End, connect_failed, connected},
};
use crate::{
    event::{Timestamp, wire},
    model::connection::{ConnectionInfo, Ending, Endpoint, Role},
    protocol::decoder::Decoder,
};

impl Engine {
    /// The TCP state of a connection changed, or it was reset.
    pub(in crate::engine) fn tcp(&mut self, event: &wire::TcpEvent) {
        use wire::{tcp, tcp_state};
        let time = Timestamp(event.header.time_ns);
        let counted = event.header.flags & wire::flag::COUNTED != 0;
        let Self { connections, environment, due, queue, last_connection, .. } = self;
        if event.what == tcp::STATE && event.new_state == tcp_state::SYN_SENT {
            if let Some(old) = connections.get_mut(&event.connection)
                && (!old.life.is_open() || old.life.is_up() || old.transport.send.next().is_some())
            {
                // The same socket may be connected again, after a `connect` to no address (AF_UNSPEC).
                let ending = old.life.ending().map_or(Ending::ByTarget, |end| end.how);
                old.close(ending, time, environment);
                connections.remove(&event.connection);
            }
            let connection = connections.entry(event.connection).or_insert_with(|| {
                let decoder = Decoder::new(Some(Role::Client), false);
                Box::new(Connection::new(last_connection, environment, event.connection, &event.header, decoder))
            });
            queue.get_mut().touch(connection, false);
            connection.transport.counted |= counted;
            connection.transport.sequence = !connection.transport.counted;
            connection.life.tcp_state = event.new_state;
            connection.life.connect(time);
            if connection.info.opened.is_none() {
                connection.info = Arc::new(ConnectionInfo { opened: Some(time), ..(*connection.info).clone() });
            }
            return;
        }
        let Some(connection) = connections.get_mut(&event.connection).filter(|connection| !connection.life.is_over())
        else {
            return;
        };
        queue.get_mut().touch(connection, false);
        connection.transport.counted |= counted;
        if connection.transport.counted && !counted {
            // Of a subflow, which is not the connection.
            return;
        }
        connection.transport.sequence = !counted;
        if event.what == tcp::STATE {
            connection.life.tcp_state = event.new_state;
        }
        let positions = (event.header.flags & wire::flag::SEQUENCE != 0).then(|| {
            (
                connection.transport.send.extend(event.send_position, true),
                connection.transport.receive.extend(event.receive_position, true),
            )
        });
        match event.what {
            tcp::RESET_RECEIVED => connection.life.set_reset(),
            tcp::STATE => match (event.old_state, event.new_state) {
                (tcp_state::SYN_SENT, tcp_state::ESTABLISHED) => {
                    connection.transport.send.start_at(event.send_position, !counted);
                    connection.transport.receive.start_at(event.receive_position, !counted);
                    connected(connection, time, environment);
                }
                (tcp_state::SYN_SENT, tcp_state::CLOSE) => {
                    let error = (event.error != 0).then_some(event.error);
                    if connection.info.remote == Endpoint::Unknown {
                        connection.life.delay_failure(error, time);
                    } else {
                        connect_failed(connection, error, time, environment);
                    }
                }
                (_, tcp_state::CLOSE_WAIT) => connection.peer_closes(environment),
                (_, tcp_state::FIN_WAIT1 | tcp_state::LAST_ACK) => {
                    let how = connection.life.closed_by();
                    connection.life.end(End { since: time, how, positions });
                }
                (_, tcp_state::CLOSE) => {
                    let role = connection.known_role();
                    let how = connection.life.ends_in_close(event.old_state, event.error, role);
                    connection.life.end(End { since: time, how, positions });
                }
                _ => {}
            },
            _ => {}
        }
        due.attend(connection);
    }
}
