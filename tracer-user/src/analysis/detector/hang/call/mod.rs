//! Candidates: pending calls in the form in which they may hang.

mod quiet;
mod stage;

use std::sync::Arc;

pub(super) use quiet::{last, with_silent_connections};
use rustc_hash::FxHashSet;
use strum::IntoStaticStr;

use super::{
    HangThresholds,
    evidence::Call,
    history::{Endpoint, History},
    kernel::Kernels,
    purpose::{self, Purpose},
    threads::Threads,
};
use crate::{
    analysis::detector::{OpenConnection, endpoint},
    event::Timestamp,
    model::{
        connection::{ConnectionId, ConnectionInfo, Role},
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
        return quiet::without_exchange(connection, known)
            .map_or(Seen::Nothing, |candidate| Seen::of(candidate, known));
    };
    let Some(stage) = stage::of(exchange) else { return Seen::Nothing };
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
        stage::shared(&mut candidate, connection, known);
    } else {
        stage::moved(&mut candidate, connection, known);
        stage::correct(&mut candidate, connection);
    }
    Seen::of(candidate, known)
}
