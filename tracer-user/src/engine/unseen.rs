//! What the kernel has counted against what was seen: bytes that no traced call accounts for, and bytes of a call that has
//! not returned yet.

use super::{
    Engine,
    link::{Control, ProbeMemory},
    update::NoteKind,
};
use crate::{
    analysis::detector::Observation,
    event::{
        Timestamp,
        wire::{ProbeEvent, ThreadEvent, direction, flag, waits_on},
    },
};

/// A thread that was seen in a call is taken to be in it for so long: the kernel is asked about all connections once in
/// a second, and so are the threads.
const IN_CALL_NS: u64 = 2_500_000_000;

/// The direction in which a call moves bytes, by its name.
fn moves(call: &[u8]) -> Option<u8> {
    let end = call.iter().position(|byte| *byte == 0).unwrap_or(call.len());
    Some(match &call[..end] {
        b"write" | b"writev" | b"pwritev2" | b"sendto" | b"sendmsg" | b"sendmmsg" | b"sendfile" => direction::SEND,
        b"read" | b"readv" | b"preadv2" | b"recvfrom" | b"recvmsg" | b"recvmmsg" | b"splice" => direction::RECEIVE,
        _ => return None,
    })
}

impl Engine {
    /// What a thread does: it may be in a call that moves bytes and has not returned.
    pub(super) fn thread(&mut self, event: &ThreadEvent) {
        if event.waits_on == waits_on::SOCKET
            && let Some(direction) = moves(&event.call_name)
            && let Some(link) = self.links.get_mut(&event.connection)
        {
            link.in_call[usize::from(direction)] = Some(Timestamp(event.header.time_ns));
        }
        if let Some(link) = self.links.get(&event.connection) {
            self.queue.get_mut().touch(link, false);
        }
        self.environment.told.observe(&Observation::Thread(event));
    }

    /// Compares what the kernel has counted with what was seen. A difference that two probes in a row agree on is not
    /// one that events under way explain. A call that is blocked moves bytes and gives its event when it returns: its
    /// bytes are under way.
    pub(super) fn probe(&mut self, event: &ProbeEvent) {
        let explained = self.loss.is_possible();
        let Some(link) = self.links.get_mut(&event.connection).filter(|link| link.over.is_none()) else { return };
        let time = Timestamp(event.header.time_ns);
        self.queue.get_mut().touch(link, false);
        if event.header.flags & flag::GONE != 0 {
            return self.gone(event);
        }
        if event.header.flags & flag::UNIX != 0 {
            let event = link.with_own_counts(event);
            link.kernel = Some((&event).into());
            self.environment.told.observe(&Observation::Probe(&event, &link.view()));
            return;
        }
        link.kernel = Some(event.into());
        if link.counted {
            // Sums of subflows: one byte may be counted on several.
            self.environment.told.observe(&Observation::Probe(event, &link.view()));
            return;
        }
        let moved = (
            event.bytes_acked.saturating_add(u64::from(event.send_queue)) as i64,
            event.bytes_received.saturating_sub(u64::from(event.receive_queue)) as i64,
        );
        let seen = (link.send.accounted() as i64, link.receive.accounted() as i64);
        let difference = (moved.0 - seen.0, moved.1 - seen.1);
        // What was moved before tracing began was not to be seen.
        let baseline = match &link.probe {
            Some(memory) => memory.baseline,
            None if link.info.opened.is_some() => (0, 0),
            None => difference,
        };
        let unseen = (difference.0 - baseline.0, difference.1 - baseline.1);
        // One byte each way is a SYN or FIN.
        let bytes = [unseen.0 - 1, unseen.1 - 1].map(|bytes| bytes.max(0) as u64);
        let in_call = link.in_call.map(|seen| seen.is_some_and(|seen| time.since(seen) < IN_CALL_NS));
        // A call that sends blocks while the queue is full.
        let blocked = [in_call[0] || event.send_queue > 0, in_call[1]];
        for direction in [direction::SEND, direction::RECEIVE].map(usize::from) {
            let bytes = bytes[direction];
            (link.under_way[direction], link.unseen[direction]) =
                if blocked[direction] { (bytes, 0) } else { (0, bytes) };
        }
        self.environment.told.observe(&Observation::Probe(event, &link.view()));
        let Some(memory) = &mut link.probe else {
            link.joined_with_ages(event, &mut self.environment);
            link.probe = Some(ProbeMemory { baseline, difference, said: (0, 0) });
            return;
        };
        let confirmed = memory.difference == difference;
        memory.difference = difference;
        let news = bytes.iter().any(|bytes| *bytes > 0) && memory.said == (0, 0) && !explained;
        if !news {
            return;
        }
        if confirmed && link.unseen.iter().any(|bytes| *bytes > 0) {
            memory.said = unseen;
            let sent = if blocked[0] { 0 } else { unseen.0.max(0) as u64 };
            let received = if blocked[1] { 0 } else { unseen.1.max(0) as u64 };
            let kind = NoteKind::UnseenBytes { sent, received };
            self.environment.note(link, time, kind);
            return;
        }
        // Before it is said: is a thread in a call on it?
        let tid = link.turn.map_or(link.process.tid, |turn| turn.tid);
        self.environment.controls.push_back(Control::AskThreads { pid: link.process.pid, tid });
    }
}
