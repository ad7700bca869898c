//! Candidates: pending calls in the form in which they may hang.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use strum::IntoStaticStr;

use super::{
    HangThresholds,
    evidence::Call,
    history::{Endpoint, History},
    kernel::{Kernel, Kernels},
    purpose::{self, Purpose},
    threads::Threads,
};
use crate::{
    analysis::detector::{Live, OpenConnection, endpoint},
    event::{
        Timestamp,
        wire::{direction, tcp_state},
    },
    model::{
        connection::{ConnectionId, ConnectionInfo, Endpoint as Address, Protocol, Role},
        exchange::{ExchangeId, OpenExchange, ProcessRef, Request},
    },
};

/// The subject of a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    Exchange(ExchangeId),
    /// A connect, or a connection whose content is not HTTP or unknown.
    Connection(ConnectionId),
    /// A thread that waits for a name server: its process and thread id.
    Query(u32, u32),
}

impl Subject {
    /// The first subject in order.
    pub(super) const FIRST: Self = Self::Exchange(ExchangeId(0));
}

/// Stage of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Query,
    Connect,
    /// The peer must send the next message of the TLS handshake.
    TlsPeer,
    /// The target must send the next message of the TLS handshake.
    TlsOwn,
    /// The target sends its request.
    SendRequest,
    /// The target waits for `100 Continue` before it sends the content.
    AwaitContinue,
    /// The target must send `100 Continue`, for which its client waits.
    OweContinue,
    AwaitResponse,
    ReceiveResponse,
    ReceiveRequest,
    Serve,
    SendResponse,
    /// The content is unknown, and the kernel reports that it is stuck.
    Stuck,
    /// The peer sent bytes that the target, the server, does not read.
    Unread,
}

/// A pending call that has not moved for a while.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) subject: Subject,
    pub(super) stage: Stage,
    pub(super) role: Role,
    pub(super) started: Timestamp,
    /// Time of its latest byte.
    pub(super) progress: Timestamp,
    /// The call began before `started`.
    pub(super) lower_bound: bool,
    /// Minimum silence of a hang in nanoseconds; `u64::MAX` for a call that is silent on purpose.
    pub(super) threshold: u64,
    /// A state other than a hang would look the same.
    pub(super) doubtful: bool,
    /// Purpose of its silence, if both sides intend it.
    pub(super) purpose: Purpose,
    /// The part of the call that moved last.
    pub(super) moved: Moved,
    /// Whether the peer has shut down sending.
    pub(super) peer_closed: bool,
    /// Whether the call shares its connection with other calls.
    pub(super) shared: bool,
    /// Whether other calls on the connection moved bytes recently, and later than this call.
    pub(super) others_move: bool,
    pub(super) process: ProcessRef,
    /// The thread that should move next if it is the target's turn, else the thread that waits.
    pub(super) tid: u32,
    pub(super) connection: Arc<ConnectionInfo>,
    pub(super) exchange: Option<ExchangeId>,
    pub(super) call: Call,
}

/// Knowledge for the judgement of a call.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) now: Timestamp,
    pub(super) thresholds: &'a HangThresholds,
    pub(super) history: &'a History,
    pub(super) kernels: &'a Kernels,
    pub(super) threads: &'a Threads,
    /// Inodes of the sockets that threads wait on.
    pub(super) waited: &'a FxHashSet<u64>,
}

impl Known<'_> {
    fn after(&self) -> u64 {
        self.thresholds.after.as_nanos() as u64
    }

    /// Silence in nanoseconds from which on a call is watched.
    fn watch(&self) -> u64 {
        self.after() / 2
    }

    fn later(&self, progress: Timestamp) -> Seen {
        Seen::Later(Timestamp(progress.0.saturating_add(self.watch())))
    }

    fn threshold(&self, endpoint: impl FnOnce() -> Endpoint, purpose: Purpose) -> u64 {
        let usual = self.history.usual(endpoint).unwrap_or(0) as f64 * self.thresholds.factor;
        let plain = self.after().max(usual as u64);
        match purpose {
            Purpose::None | Purpose::Endless => plain,
            Purpose::Wait(wait) => plain.max(wait.saturating_add(wait / 10).saturating_add(self.after())),
            Purpose::Perhaps => plain.max(self.thresholds.long_poll.as_nanos() as u64),
            Purpose::Stream => u64::MAX,
        }
    }
}

/// The part of a call that moved last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Moved {
    Unknown,
    Request,
    #[strum(serialize = "interim_response")]
    Interim,
    /// Part of the response head.
    #[strum(serialize = "response_head_begun")]
    HeadBegun,
    #[strum(serialize = "response_head")]
    Head,
    #[strum(serialize = "response_content")]
    Content,
}

impl Moved {
    fn of(exchange: &OpenExchange<'_>) -> Self {
        match exchange.response {
            Some(response) if response.body.bytes > 0 => Self::Content,
            Some(_) => Self::Head,
            None if !exchange.interim.is_empty() => Self::Interim,
            None => Self::Request,
        }
    }

    /// Name in JSON; `None` if unknown.
    pub(super) fn name(self) -> Option<&'static str> {
        (self != Self::Unknown).then(|| self.into())
    }
}

/// Description of an exchange's call.
pub(super) fn call_of(role: Role, connection: &ConnectionInfo, request: Option<&Request>) -> Call {
    let inbound = role == Role::Server;
    let address = if inbound && request.is_some() { &connection.local_text } else { &connection.remote_text };
    match request {
        Some(request) => Call {
            method: Some(request.method.clone()),
            authority: endpoint::cut(request.authority().unwrap_or(address)),
            address: (!inbound && request.authority().is_some_and(|authority| *authority != **address))
                .then(|| address.clone()),
            // Each update repeats the text, so a long text of a peer is cut.
            path: endpoint::cut(request.path()),
            inbound,
        },
        None => Call { method: None, authority: address.clone(), address: None, path: "".into(), inbound },
    }
}

/// Whether the client still waits for `100 Continue` before it sends the content (RFC 9110 section 10.1.1).
fn expects_continue(exchange: &OpenExchange<'_>) -> bool {
    exchange.request.is_some_and(|request| {
        let expects = request.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        expects && request.body.bytes == 0 && exchange.interim.iter().all(|interim| interim.status != 100)
    })
}

/// Stage of an exchange; `None` if nothing of it is pending.
fn stage(exchange: &OpenExchange<'_>) -> Option<Stage> {
    let answered = exchange.response.is_some();
    Some(match (exchange.role, exchange.request_done, answered) {
        (_, _, true) if exchange.response_done => return None,
        (Role::Client, false, false) if expects_continue(exchange) => Stage::AwaitContinue,
        (Role::Client, false, false) => Stage::SendRequest,
        (Role::Client, true, false) => Stage::AwaitResponse,
        (Role::Client, _, true) => Stage::ReceiveResponse,
        (Role::Server, false, false) if expects_continue(exchange) => Stage::OweContinue,
        (Role::Server, false, false) => Stage::ReceiveRequest,
        (Role::Server, true, false) => Stage::Serve,
        (Role::Server, _, true) => Stage::SendResponse,
    })
}

/// Result of a look at a call.
#[derive(Debug)]
pub(super) enum Seen {
    /// No call is pending.
    Nothing,
    /// The call is not silent for long enough before this time.
    Later(Timestamp),
    /// The call is silent.
    Silent(Box<Candidate>),
}

impl Seen {
    fn of(candidate: Candidate, known: Known<'_>) -> Self {
        if known.now.since(candidate.progress) < known.watch() {
            return known.later(candidate.progress);
        }
        Self::Silent(Box::new(candidate))
    }
}

/// Time at which the exchange itself last moved. An interim response shows that the server works on it (RFC 9110
/// section 15.2).
pub(super) fn progress(exchange: &OpenExchange<'_>) -> Timestamp {
    let timing = exchange.timing;
    let interim = exchange.interim.last().map(|interim| interim.time);
    let progress = [timing.request_end, timing.response_end, interim].into_iter().flatten().max();
    progress.unwrap_or(exchange.started).max(exchange.started)
}

/// Looks at a call on a connection.
pub(super) fn on(connection: &OpenConnection<'_>, exchange: Option<&OpenExchange<'_>>, known: Known<'_>) -> Seen {
    let Some(exchange) = exchange else {
        return without_exchange(connection, known).map_or(Seen::Nothing, |candidate| Seen::of(candidate, known));
    };
    let Some(stage) = stage(exchange) else { return Seen::Nothing };
    let progress = progress(exchange);
    if known.now.since(progress) < known.watch() {
        return known.later(progress);
    }
    let remote = &exchange.connection.remote_text;
    let endpoint = || Endpoint::of(exchange.role, remote, exchange.request);
    let purpose = purpose::of(exchange.request, exchange.response);
    let mut candidate = Candidate {
        subject: Subject::Exchange(exchange.id),
        stage,
        role: exchange.role,
        started: exchange.started,
        progress,
        lower_bound: exchange.late,
        threshold: known.threshold(endpoint, purpose),
        doubtful: false,
        purpose,
        moved: Moved::of(exchange),
        peer_closed: false,
        shared: exchange.stream.is_some(),
        others_move: false,
        process: exchange.process.clone(),
        tid: exchange.thread,
        connection: Arc::clone(exchange.connection),
        exchange: Some(exchange.id),
        call: call_of(exchange.role, exchange.connection, exchange.request),
    };
    if candidate.shared {
        shared(&mut candidate, connection, known);
    } else {
        moved(&mut candidate, connection, known);
        stage_now(&mut candidate, connection);
    }
    Seen::of(candidate, known)
}

/// Completes a candidate whose connection carries several calls. The bytes of the connection may belong to any of them,
/// so they say less than [`moved`] and [`stage_now`] take from them.
fn shared(candidate: &mut Candidate, connection: &OpenConnection<'_>, known: Known<'_>) {
    let kernel = known.kernels.get(connection.info.inode.0);
    let sends = matches!(candidate.stage, Stage::SendRequest | Stage::AwaitContinue | Stage::SendResponse);
    // The send queue may hold the rest of this call's message.
    if let Some(kernel) = kernel.filter(|kernel| sends && kernel.latest.send_queue > 0) {
        candidate.progress = candidate.progress.max(kernel.acknowledged.unwrap_or_default());
    }
    let moved = connection.sent.last.max(connection.received.last).unwrap_or_default();
    candidate.others_move = moved > candidate.progress && known.now.since(moved) < known.watch();
    candidate.peer_closed |= connection.peer_closed;
    // The response may have bypassed the traced calls.
    let answers = match candidate.stage {
        Stage::AwaitResponse => direction::RECEIVE,
        Stage::Serve => direction::SEND,
        _ => return,
    };
    if connection.unseen[usize::from(answers)] > 0 {
        candidate.threshold = u64::MAX;
    }
}

fn moved(candidate: &mut Candidate, connection: &OpenConnection<'_>, known: Known<'_>) {
    let (sends, receives) = match candidate.stage {
        Stage::SendRequest | Stage::AwaitContinue | Stage::SendResponse => (true, false),
        Stage::ReceiveResponse | Stage::ReceiveRequest | Stage::AwaitResponse => (false, true),
        _ => (false, false),
    };
    let mut progress = candidate.progress;
    if sends {
        progress = progress.max(connection.sent.last.unwrap_or_default());
    }
    if receives {
        progress = progress.max(connection.received.last.unwrap_or_default());
    }
    // A blocked system call reports its bytes only when it returns, and returned bytes may still lie in the kernel.
    // Until then, acknowledged bytes and bytes that leave the receive queue show progress.
    if let Some(kernel) = known.kernels.get(connection.info.inode.0) {
        progress = progress.max(kernel.acknowledged.unwrap_or_default()).max(kernel.read.unwrap_or_default());
    }
    candidate.progress = progress;
    candidate.peer_closed |= connection.peer_closed;
}

/// Corrects the stage by bytes that are not part of a whole head yet, or of a system call that has not returned.
fn stage_now(candidate: &mut Candidate, connection: &OpenConnection<'_>) {
    let since = connection.turn.map(|turn| (turn.direction, turn.since));
    let [sends, receives] = [direction::SEND, direction::RECEIVE].map(usize::from);
    match candidate.stage {
        // The answer has begun, but its head is not whole.
        Stage::AwaitResponse
            if since
                .is_some_and(|(direction, since)| direction == direction::RECEIVE && since >= candidate.started)
                || connection.under_way[receives] > 0 =>
        {
            candidate.stage = Stage::ReceiveResponse;
            candidate.moved = if candidate.moved == Moved::Interim { Moved::Interim } else { Moved::HeadBegun };
        }
        // The system call that sends the answer has not returned.
        Stage::Serve if connection.under_way[sends] > 0 => {
            candidate.stage = Stage::SendResponse;
            candidate.moved = Moved::HeadBegun;
        }
        // A response bypassed the traced calls.
        Stage::AwaitResponse if connection.unseen[receives] > 0 => candidate.threshold = u64::MAX,
        Stage::Serve if connection.unseen[sends] > 0 => candidate.threshold = u64::MAX,
        _ => {}
    }
}

/// Latest direction of a connection's bytes: by the events, or before any event by the kernel's ages.
pub(super) struct Last {
    pub(super) sent: bool,
    pub(super) since: Timestamp,
    number: u32,
    tid: u32,
    /// The bytes moved before tracing.
    before: bool,
}

pub(super) fn last(connection: &OpenConnection<'_>, kernel: Option<&Kernel>) -> Option<Last> {
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
pub(super) fn with_silent_connections(live: &dyn Live) -> Vec<u32> {
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

fn without_exchange(connection: &OpenConnection<'_>, known: Known<'_>) -> Option<Candidate> {
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
