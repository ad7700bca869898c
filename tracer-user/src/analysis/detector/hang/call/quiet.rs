//! Connections without an exchange that are silent.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Candidate, Known, Moved, Stage, Subject, call_of};
use crate::{
    analysis::detector::{
        Live, OpenConnection,
        hang::{history::Endpoint, kernel::Kernel, purpose::Purpose},
    },
    event::{
        Timestamp,
        wire::{direction, tcp_state},
    },
    model::connection::{Endpoint as Address, Protocol, Role},
};

/// Latest direction of a connection's bytes: by the events, or before any event by the kernel's ages.
pub(in crate::analysis::detector::hang) struct Last {
    pub(in crate::analysis::detector::hang) sent: bool,
    pub(in crate::analysis::detector::hang) since: Timestamp,
    number: u32,
    tid: u32,
    /// The bytes moved before tracing.
    before: bool,
}

pub(in crate::analysis::detector::hang) fn last(
    connection: &OpenConnection<'_>,
    kernel: Option<&Kernel>,
) -> Option<Last> {
    if let Some(turn) = connection.turn {
        return Some(Last {
            sent: turn.direction == direction::SEND,
            since: turn.since,
            number: turn.number,
            tid: turn.tid,
            before: false,
        });
    }
    let kernel = kernel.filter(|_| connection.found)?;
    let (sent, since) = match (kernel.sent_last(), kernel.received_last()) {
        (true, _) => (true, kernel.first.sent),
        (_, true) => (false, kernel.first.received),
        _ => return None,
    };
    Some(Last { sent, since, number: 0, tid: connection.process.tid, before: true })
}

/// Minimum number of turns of a request-response protocol.
const BACK_AND_FORTH: u32 = 4;

/// Unread bytes of a client below this number may be no answer, but an alert, a ping or a short farewell.
const SMALL: u32 = 4096;

/// On a client's connection from before tracing without traffic since, on which the peer moved last: a thread that
/// waits on the socket waits for the rest of an answer, or for news. Returns the start of the silence, and the thread.
fn answer_awaited(connection: &OpenConnection<'_>, known: Known<'_>, kernel: &Kernel) -> Option<(Timestamp, u32)> {
    let inode = connection.info.inode.0;
    if connection.turn.is_some() || connection.info.protocol != Protocol::Unknown || !known.waited.contains(&inode) {
        return None;
    }
    let since = kernel.first.received.max(kernel.first.sent);
    let thread = known.threads.blocked_on(connection.process.pid, inode, since)?;
    Some((since, thread.latest.header.tid))
}

/// Processes with connections from before tracing without traffic since. The state of their threads shows whether one
/// waits on such a connection.
pub(in crate::analysis::detector::hang) fn with_silent_connections(live: &dyn Live) -> Vec<u32> {
    let mut processes = FxHashSet::default();
    live.found(&mut |connection| {
        if connection.role == Some(Role::Client) {
            processes.insert(connection.process.pid);
        }
    });
    let mut processes: Vec<u32> = processes.into_iter().collect();
    processes.sort_unstable();
    processes
}

/// The candidate of a connection without an exchange: a connect, or content that is not HTTP or unknown.
pub(super) fn without_exchange(connection: &OpenConnection<'_>, known: Known<'_>) -> Option<Candidate> {
    let info = connection.info;
    let kernel = known.kernels.get(info.inode.0);
    let make = |stage: Stage, role: Role, since: Timestamp, lower_bound: bool, doubtful: bool, tid: u32| {
        let endpoint = || Endpoint::of(role, &info.remote_text, None);
        Candidate {
            subject: Subject::Connection(info.id),
            stage,
            role,
            started: since,
            progress: since,
            lower_bound,
            threshold: known.threshold(endpoint, Purpose::None),
            doubtful,
            purpose: Purpose::None,
            moved: Moved::Unknown,
            peer_closed: connection.peer_closed,
            shared: false,
            others_move: false,
            process: connection.process.clone(),
            tid,
            connection: Arc::clone(info),
            exchange: None,
            call: call_of(role, info, None),
        }
    };
    if connection.is_connecting() || kernel.is_some_and(|kernel| kernel.latest.state == tcp_state::SYN_SENT) {
        let start = connection.connect_start.unwrap_or(known.now);
        let before = if connection.found { kernel.map_or(0, Kernel::resending_for) } else { 0 };
        let since = start.min(Timestamp(known.now.0.saturating_sub(before)));
        return Some(make(Stage::Connect, Role::Client, since, connection.found, false, connection.process.tid));
    }
    let role = connection.role?;
    if let Some((kernel, stuck)) = kernel.and_then(|kernel| Some((kernel, kernel.stuck?))) {
        let since = stuck.min(Timestamp(known.now.0.saturating_sub(kernel.resending_for())));
        return Some(make(Stage::Stuck, role, since, true, false, connection.process.tid));
    }
    let farewell = role == Role::Client && kernel.is_some_and(|kernel| kernel.latest.state == tcp_state::CLOSE_WAIT);
    if let Some((kernel, since)) = kernel.and_then(|kernel| Some((kernel, kernel.unread?))).filter(|_| !farewell) {
        let read = connection.received.last.unwrap_or_default();
        // Unread bytes on an idle connection may be a farewell, or bytes that no thread waits for.
        let doubtful = role == Role::Client && kernel.latest.receive_queue < SMALL;
        return (read < since)
            .then(|| make(Stage::Unread, role, since, connection.found, doubtful, connection.process.tid));
    }
    let last = last(connection, kernel);
    if role == Role::Client
        && connection.found
        && !connection.peer_closed
        && !last.as_ref().is_some_and(|last| last.sent)
    {
        return answer_awaited(connection, known, kernel?).map(|(since, tid)| {
            let candidate = make(Stage::ReceiveResponse, role, since, true, true, tid);
            Candidate { moved: Moved::Content, ..candidate }
        });
    }
    let last = last?;
    let waits = known.threads.blocked_on(connection.process.pid, info.inode.0, last.since);
    // After bytes of the client it is the server's turn, and vice versa.
    if last.sent != (role == Role::Client) {
        return None;
    }
    let found = |stage, doubtful| {
        let tid = waits.map_or(last.tid, |thread| thread.latest.header.tid);
        Some(make(stage, role, last.since, last.before, doubtful, tid))
    };
    // The state of a thread is known only after a query: the candidate causes a query, and is not reported.
    let suspected = || {
        let candidate = make(Stage::AwaitResponse, role, last.since, last.before, true, last.tid);
        Some(Candidate { threshold: u64::MAX, ..candidate })
    };
    match (role, info.protocol) {
        (Role::Client, Protocol::Tls) if connection.received.bytes == 0 && !last.before => found(Stage::TlsPeer, false),
        // Control frames need no answer. Only a thread that waits right after it sent bytes shows a call.
        (Role::Client, Protocol::Tls | Protocol::Http2 | Protocol::Tunnel) => {
            match waits.filter(|thread| thread.latest.header.tid == last.tid) {
                Some(_) => found(Stage::AwaitResponse, true),
                None => suspected(),
            }
        }
        (Role::Client, Protocol::Other) if waits.is_some() => found(Stage::AwaitResponse, false),
        (Role::Client, Protocol::Other) if last.number >= BACK_AND_FORTH => found(Stage::AwaitResponse, true),
        (Role::Client, Protocol::Other) => suspected(),
        // No byte was observed yet, or none that shows the protocol.
        (Role::Client, Protocol::Unknown | Protocol::Http1) => {
            let never = kernel.is_some_and(Kernel::never_answered);
            let secret = matches!(&info.remote, Address::Inet(address) if address.port() == 443);
            if waits.is_none() && !never && (secret || !last.before) {
                return suspected();
            }
            found(Stage::AwaitResponse, waits.is_none() && !never)
        }
        (Role::Server, Protocol::Tls) if connection.sent.bytes == 0 && !last.before => found(Stage::TlsOwn, false),
        (Role::Server, Protocol::Other) if last.number >= BACK_AND_FORTH && waits.is_none() => {
            found(Stage::Serve, true)
        }
        // A thread that waits for more has not received the whole request.
        (Role::Server, Protocol::Unknown | Protocol::Http1) if last.before => {
            let never = kernel.is_some_and(Kernel::never_spoke);
            found(if waits.is_some() { Stage::ReceiveRequest } else { Stage::Serve }, !never)
        }
        _ => None,
    }
}
