//! The kernel's byte counts compared with events: bytes that no traced call accounts for, and bytes of a call that has not
//! returned yet.

use super::{Control, Engine, NoteKind, connection::Accounting};
use crate::{
    analysis::detector::Observation,
    event::{
        Timestamp,
        wire::{ProbeEvent, ThreadEvent, direction, flag, waits_on},
    },
};

/// Time for which a thread that was found in a call counts as in the call. Queries of connections and threads come about
/// once a second.
const IN_CALL_NS: u64 = 2_500_000_000;

/// The direction in which the system call of this name moves bytes.
fn moves(call: &[u8]) -> Option<u8> {
    let end = call.iter().position(|byte| *byte == 0).unwrap_or(call.len());
    Some(match &call[..end] {
        b"write" | b"writev" | b"pwritev2" | b"sendto" | b"sendmsg" | b"sendmmsg" | b"sendfile" => direction::SEND,
        b"read" | b"readv" | b"preadv2" | b"recvfrom" | b"recvmsg" | b"recvmmsg" | b"splice" => direction::RECEIVE,
        _ => return None,
    })
}

impl Engine {
    /// Handles the state of a thread, which may be in a call that moves bytes.
    pub(super) fn thread(&mut self, event: &ThreadEvent) {
        if event.waits_on == waits_on::SOCKET
            && let Some(direction) = moves(&event.call_name)
            && let Some(connection) = self.connections.get_mut(&event.connection)
        {
            connection.transport.in_call[usize::from(direction)] = Some(Timestamp(event.header.time_ns));
        }
        if let Some(connection) = self.connections.get(&event.connection) {
            self.queue.get_mut().touch(connection, false);
        }
        self.environment.reports.observe(&Observation::Thread(event));
    }

    /// Compares the kernel's counts with events. Events in flight explain a difference once, but not twice in a row. A
    /// blocked call moves bytes and has its event when it returns: these bytes are under way.
    pub(super) fn probe(&mut self, event: &ProbeEvent) {
        let explained = self.loss.is_possible();
        let Some(connection) =
            self.connections.get_mut(&event.connection).filter(|connection| !connection.life.is_over())
        else {
            return;
        };
        let time = Timestamp(event.header.time_ns);
        self.queue.get_mut().touch(connection, false);
        if event.header.flags & flag::GONE != 0 {
            return self.gone(event);
        }
        if event.header.flags & flag::UNIX != 0 {
            let event = connection.with_own_counts(event);
            connection.transport.kernel = Some((&event).into());
            self.environment.reports.observe(&Observation::Probe(&event, &connection.view()));
            return;
        }
        connection.transport.kernel = Some(event.into());
        if connection.transport.counted {
            // Sums of subflows: one byte may be counted on several.
            self.environment.reports.observe(&Observation::Probe(event, &connection.view()));
            return;
        }
        let moved = (
            event.bytes_acked.saturating_add(u64::from(event.send_queue)) as i64,
            event.bytes_received.saturating_sub(u64::from(event.receive_queue)) as i64,
        );
        let seen = (connection.transport.send.accounted() as i64, connection.transport.receive.accounted() as i64);
        let difference = (moved.0 - seen.0, moved.1 - seen.1);
        // Bytes from before tracing have no events.
        let baseline = match &connection.transport.accounting {
            Some(memory) => memory.baseline,
            None if connection.info.opened.is_some() => (0, 0),
            None => difference,
        };
        let unseen = (difference.0 - baseline.0, difference.1 - baseline.1);
        // One byte each way is a SYN or FIN.
        let bytes = [unseen.0 - 1, unseen.1 - 1].map(|bytes| bytes.max(0) as u64);
        let in_call = connection.transport.in_call.map(|seen| seen.is_some_and(|seen| time.since(seen) < IN_CALL_NS));
        // A call that sends blocks while the queue is full.
        let blocked = [in_call[0] || event.send_queue > 0, in_call[1]];
        for direction in [direction::SEND, direction::RECEIVE].map(usize::from) {
            let bytes = bytes[direction];
            (connection.transport.under_way[direction], connection.transport.unseen[direction]) =
                if blocked[direction] { (bytes, 0) } else { (0, bytes) };
        }
        self.environment.reports.observe(&Observation::Probe(event, &connection.view()));
        let Some(memory) = &mut connection.transport.accounting else {
            connection.joined(event, &mut self.environment);
            connection.transport.accounting = Some(Accounting { baseline, difference, reported: (0, 0) });
            return;
        };
        let confirmed = memory.difference == difference;
        memory.difference = difference;
        let news = bytes.iter().any(|bytes| *bytes > 0) && memory.reported == (0, 0) && !explained;
        if !news {
            return;
        }
        if confirmed && connection.transport.unseen.iter().any(|bytes| *bytes > 0) {
            memory.reported = unseen;
            let sent = if blocked[0] { 0 } else { unseen.0.max(0) as u64 };
            let received = if blocked[1] { 0 } else { unseen.1.max(0) as u64 };
            let kind = NoteKind::UnseenBytes { sent, received };
            connection.note(time, kind, &mut self.environment);
            return;
        }
        // Before the report: a thread may be in a call on the connection.
        let tid = connection.turn.map_or(connection.process.tid, |turn| turn.tid);
        self.environment.controls.push_back(Control::AskThreads { pid: connection.process.pid, tid });
    }
}
