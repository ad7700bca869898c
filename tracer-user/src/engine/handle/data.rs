//! DATA events: calls that moved bytes, reached the end of the stream, or failed.

use super::super::{
    Engine,
    connection::{Connection, failed_call},
};
use crate::{
    event::{Timestamp, wire},
    protocol::decoder::Decoder,
    stream::{GapCause, Mark, Segment},
};

impl Engine {
    /// A call moved bytes, reached the end of the stream, or failed.
    pub(in crate::engine) fn data(&mut self, event: &wire::DataEvent, payload: &[u8]) {
        let flags = event.header.flags;
        if flags & (wire::flag::PEEK | wire::flag::OUT_OF_BAND) != 0 && event.result > 0 {
            return;
        }
        let sequence = flags & wire::flag::SEQUENCE != 0;
        let Self { connections, environment, due, queue, last_connection, .. } = self;
        let connection = connections.entry(event.connection).or_insert_with(|| {
            // The event that announced it was lost.
            let decoder = Decoder::new(None, true);
            Box::new(Connection::new(last_connection, environment, event.connection, &event.header, decoder))
        });
        if connection.life.is_over() {
            return;
        }
        queue.get_mut().touch(connection, true);
        connection.transport.sequence = sequence;
        let holder = (event.header.tgid, event.fd);
        if connection.holder != holder && event.fd >= 0 {
            connection.holder = holder;
            environment.processes.open(holder.0, holder.1, event.connection);
        }
        let time = Timestamp(event.header.time_ns);
        if event.result > 0 {
            connection.moved(event.direction, time, event.header.tid);
        }
        let (own, opposite) = if event.direction == wire::direction::SEND {
            (&connection.transport.send, &mut connection.transport.receive)
        } else {
            (&connection.transport.receive, &mut connection.transport.send)
        };
        let position = own.extend(event.position, sequence);
        let opposite_position = opposite.extend(event.opposite_position, sequence);
        opposite.start_at(event.opposite_position, sequence);
        match event.result {
            1.. => {
                let segment = Segment::of(event, payload, position, opposite_position);
                let skipped = own.next().map_or(0, |next| segment.mark.position.saturating_sub(next.max(position)));
                // The probes write the records of a call in order, and drop the rest after a lost one. So bytes of this
                // call before this record were skipped on request.
                let before = (skipped > 0 && own.next().is_some_and(|next| next >= position)).then(|| Segment {
                    mark: Mark { position: segment.mark.position - skipped, boundary: false, ..segment.mark },
                    payload: &[],
                    missing: skipped,
                    cause: GapCause::LengthOnly,
                });
                if let Some(before) = before {
                    connection
                        .with_stream(event.direction, environment, |stream, mut sink| stream.push(before, &mut sink));
                }
                connection
                    .with_stream(event.direction, environment, |stream, mut sink| stream.push(segment, &mut sink));
            }
            0 if event.direction == wire::direction::RECEIVE => connection.end_of_stream(time, environment),
            0 => {}
            _ => failed_call(connection, event, time, environment),
        }
        due.attend(connection);
        if connection.settle(environment) {
            self.bound_waiting(time);
        }
        self.bound_connections(time);
    }

    /// Bounds what waits on all connections together: those that have waited longest give up.
    fn bound_waiting(&mut self, time: Timestamp) {
        while let Some(inode) = self.environment.waiting.victim() {
            if let Some(connection) = self.connections.get_mut(&inode) {
                connection.give_up_waiting(time, &mut self.environment);
                self.due.attend(connection);
            }
        }
    }
}
