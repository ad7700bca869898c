//! DESCRIPTOR events: descriptors that are closed or duplicated, and what that means for their connections.

use super::super::{Engine, connection::End};
use crate::{
    event::{Timestamp, wire},
    model::connection::Ending,
};

impl Engine {
    pub(in crate::engine) fn descriptor(&mut self, event: &wire::DescriptorEvent) {
        use wire::descriptor;
        let time = Timestamp(event.header.time_ns);
        let pid = event.header.tgid;
        match event.action {
            descriptor::CLOSE => {
                if let Some(inode) = self.environment.processes.close(pid, event.fd, event.connection) {
                    self.let_go(inode, time);
                }
            }
            descriptor::DUPLICATE => {
                let old = self.environment.processes.close(pid, event.new_fd, event.connection);
                if event.connection != 0 && self.connections.contains_key(&event.connection) {
                    self.environment.processes.open(pid, event.new_fd, event.connection);
                }
                if let Some(inode) = old {
                    self.let_go(inode, time);
                }
            }
            descriptor::SHUTDOWN_WRITE => {
                // A half-close: the FIN that was seen does not end the connection.
                if let Some(connection) = self.connections.get_mut(&event.connection)
                    && connection.life.tcp_state != wire::tcp_state::CLOSE
                    && connection.life.ending().is_some_and(|end| end.how == Ending::ByTarget)
                {
                    connection.life.reopen();
                }
            }
            _ => {}
        }
    }

    /// A descriptor that named the connection is gone.
    pub(in crate::engine) fn let_go(&mut self, inode: u64, time: Timestamp) {
        let Self { connections, environment, .. } = self;
        let Some(connection) = connections.get_mut(&inode).filter(|connection| !connection.life.is_over()) else {
            return;
        };
        connection.holder = (0, -1);
        let how = connection.life.closed_by();
        let (since, ending) = match connection.life.ending() {
            // The kernel has already said that it ends.
            Some(end) => (end.since, end.how),
            // Others than TCP end with the last descriptor that is known.
            None if environment.processes.holds(inode) => return,
            None if !connection.transport.sequence => (time, how),
            None => {
                // TCP says so itself when the last descriptor goes, unless it has sent its FIN before that (a half-close), or
                // was reset before it was known.
                if connection.life.reports_no_more() {
                    connection.life.end(End { since: time, how, positions: None });
                    self.attend(inode);
                }
                return;
            }
        };
        connection.close(ending, since, environment);
        self.attend(inode);
    }

    /// The kernel has no such connection any more, and its end was not seen: an event of it was lost, or came before the
    /// connection was known.
    pub(in crate::engine) fn gone(&mut self, event: &wire::ProbeEvent) {
        let time = Timestamp(event.header.time_ns);
        let Self { connections, environment, .. } = self;
        let Some(connection) = connections.get_mut(&event.connection).filter(|connection| !connection.life.is_over())
        else {
            return;
        };
        // What moves is there, whatever was said a moment ago.
        if connection.transport.last_moved.iter().flatten().any(|moved| *moved >= time) {
            return;
        }
        let how = connection.life.vanished_by();
        connection.close(how, time, environment);
        self.attend(event.connection);
    }
}
