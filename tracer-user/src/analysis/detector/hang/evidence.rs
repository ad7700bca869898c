//! Evidence of a call that hangs.

use strum::IntoStaticStr;

use crate::{
    analysis::detector::Value,
    event::{Timestamp, wire::peer_window},
    model::exchange::{ExchangeId, Outcome},
};

/// Phase of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Phase {
    /// A name is being resolved.
    Dns,
    /// The connection is being established.
    Connect,
    /// The TLS handshake is in progress.
    Tls,
    /// The message to the peer is incomplete.
    Send,
    /// The request was sent, and no part of the response has arrived.
    Wait,
    /// The message from the peer is incomplete.
    Receive,
    /// The target has the request and has not responded.
    Serve,
}

impl Phase {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Party that does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum WaitingOn {
    /// The peer's application: its host has acknowledged everything that was sent.
    PeerApplication,
    /// The peer's host, which accepts no more bytes.
    PeerHost,
    /// The network, or the peer's host is gone. This side cannot tell them apart.
    Network,
    /// The traced process.
    ThisProcess,
    /// The evidence does not suffice.
    Unknown,
}

impl WaitingOn {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Description for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::PeerApplication => "the peer's application",
            Self::PeerHost => "the peer's host",
            Self::Network => "the network",
            Self::ThisProcess => "this process",
            Self::Unknown => "an unknown party",
        }
    }
}

/// Evidence for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// No name server responds.
    QueryUnanswered,
    /// The SYN is unanswered.
    SynUnanswered,
    /// Bytes in flight are retransmitted again and again.
    Unacknowledged,
    /// The peer's window is zero.
    ZeroWindow,
    /// Everything was acknowledged, and nothing has arrived.
    Unanswered,
    /// The request waits for `100 Continue`.
    NoContinue,
    /// The client waits for `100 Continue`, which the target does not send.
    ContinueNotSent,
    /// A part of the response has arrived, then nothing.
    BodyStalled,
    /// A part of a request has arrived, then nothing.
    RequestStalled,
    /// The receive queue holds bytes.
    Unread,
    /// The peer has closed, and the target does not react.
    CloseUnnoticed,
    /// The target stopped within its request.
    RequestUnwritten,
    /// The target stopped within its response.
    ResponseUnwritten,
    /// The target has the request and has not started to respond.
    NotServed,
    /// The evidence does not suffice.
    Unknown,
}

impl Reason {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Activity of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Doing {
    /// The thread is stopped by a signal or a debugger.
    Stopped,
    /// The thread computes.
    OnCpu,
    /// The thread waits for a lock, a condition, or another thread (`futex`).
    Lock,
    /// The thread sleeps.
    Sleep,
    /// The thread waits for a call that this process makes.
    OutboundCall,
    /// The thread waits on a socket.
    Socket,
    /// The thread waits on a pipe.
    Pipe,
    /// The thread waits for a child process to exit.
    Child,
    /// The thread waits on a file or device.
    File,
    /// The thread waits for the next event.
    EventLoop,
    /// The thread is in uninterruptible sleep: a disk, a file system.
    Uninterruptible,
    /// The thread is in no system call and uses little CPU.
    Runs,
    /// The thread is in another system call.
    Other,
}

impl Doing {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Description for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stopped => "is stopped (SIGSTOP or a debugger)",
            Self::OnCpu => "is computing",
            Self::Lock => "waits for a lock or another thread",
            Self::Sleep => "sleeps",
            Self::OutboundCall => "waits for its own outbound call",
            Self::Socket => "waits on a socket",
            Self::Pipe => "waits on a pipe",
            Self::Child => "waits for a child process",
            Self::File => "waits on a file",
            Self::EventLoop => "is back in its event loop",
            Self::Uninterruptible => "is stuck in the kernel (disk or file system)",
            Self::Runs => "is running",
            Self::Other => "is in a system call",
        }
    }
}

/// Latest known state of a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadFact {
    /// Thread ID.
    pub tid: u32,
    /// Thread name.
    pub name: Box<str>,
    /// State letter of `/proc/PID/stat`.
    pub state: char,
    /// Name of the system call that the thread is in.
    pub call: Option<Box<str>>,
    /// Kernel function that the thread waits in.
    pub wait_channel: Option<Box<str>>,
    /// Interpretation of the state.
    pub doing: Doing,
    /// Share of CPU time between the last two looks, from 0 to 1.
    pub cpu: Option<f64>,
    /// Nanoseconds for which the thread is known not to have run.
    pub still_ns: u64,
    /// Inode number of the socket that the thread waits on.
    pub socket: Option<u64>,
    /// Remote address of that socket, if its connection was seen.
    pub peer: Option<Box<str>>,
    /// Child process that the thread waits for, and its name if known.
    pub child: Option<(u32, Box<str>)>,
}

impl ThreadFact {
    pub(super) fn value(&self) -> Value {
        Value::Object(vec![
            ("tid", Value::Count(self.tid.into())),
            ("name", Value::from(&*self.name)),
            ("state", Value::Text(self.state.to_string())),
            ("call", Value::from(self.call.as_deref())),
            ("wait_channel", Value::from(self.wait_channel.as_deref())),
            ("doing", self.doing.name().into()),
            ("cpu", self.cpu.map_or(Value::Null, Value::Decimal)),
            ("still_ms", Value::milliseconds(self.still_ns)),
            ("socket", self.socket.map_or(Value::Null, Value::Count)),
            ("peer", Value::from(self.peer.as_deref())),
            ("child", self.child.as_ref().map_or(Value::Null, |(pid, _)| Value::Count((*pid).into()))),
        ])
    }
}

/// A call of the target that another of its calls waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// ID of its exchange, if there is one.
    pub exchange: Option<ExchangeId>,
    /// Remote address of the call.
    pub remote: Box<str>,
    /// Evidence of the link: `same socket`, `same thread`, `time`.
    pub by: &'static str,
}

/// Kernel state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Time of the query.
    pub time: Timestamp,
    /// TCP state as in `include/net/tcp_states.h`.
    pub state: u8,
    /// Bytes that the target has not read.
    pub receive_queue: u32,
    /// Bytes that the peer has not acknowledged.
    pub send_queue: u32,
    /// Segments in flight.
    pub in_flight: u32,
    /// Segments retransmitted since the connection opened.
    pub retransmits: u32,
    /// Number of times that the retransmission timer doubled.
    pub backoff: u32,
    /// Zero-window probes without a response.
    pub window_probes: u32,
    /// One of [`peer_window`].
    pub peer_window: u8,
    /// Milliseconds since the target last sent.
    pub last_sent_ms: u32,
    /// Milliseconds since the target last received.
    pub last_received_ms: u32,
}

const STATES: [&str; 12] = [
    "unknown",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

impl Sockets {
    /// Name of the TCP state in JSON.
    pub fn state_name(&self) -> &'static str {
        STATES.get(usize::from(self.state)).copied().unwrap_or(STATES[0])
    }

    pub(super) fn value(&self) -> Value {
        let window = match self.peer_window {
            peer_window::ZERO => "zero",
            peer_window::SMALL => "small",
            peer_window::OPEN => "open",
            _ => "unknown",
        };
        let count = |number: u32| Value::Count(number.into());
        Value::Object(vec![
            ("time", self.time.into()),
            ("state", self.state_name().into()),
            ("receive_queue", count(self.receive_queue)),
            ("send_queue", count(self.send_queue)),
            ("in_flight", count(self.in_flight)),
            ("retransmits", count(self.retransmits)),
            ("backoff", count(self.backoff)),
            ("window_probes", count(self.window_probes)),
            ("peer_window", window.into()),
            ("last_sent_ms", count(self.last_sent_ms)),
            ("last_received_ms", count(self.last_received_ms)),
        ])
    }
}

/// Result of a call that hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HangResult {
    /// The call still hangs.
    Ongoing,
    /// The call was answered, or continued.
    Answered,
    /// The call was answered with a status that reports a server failure.
    Failed,
    /// The target answered, but its client had already closed.
    ClientGone,
    /// Bytes move again.
    Resumed,
    /// The connection is established.
    Connected,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the end.
    Closed,
    /// The connection was refused.
    Refused,
    /// The kernel gave up connecting; the outcome names the cause.
    #[strum(transparent)]
    NoConnection(Outcome),
    /// The target gave up.
    ClientTimeout,
    /// The call ended in an unknown way.
    Over,
}

impl HangResult {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the call ended without a failure.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered | Self::Resumed | Self::Connected)
    }

    /// Description for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ongoing => "hangs",
            Self::Answered => "was answered",
            Self::Failed => "failed",
            Self::ClientGone => "was answered too late (its client had disconnected)",
            Self::Resumed => "resumed",
            Self::Connected => "connected",
            Self::Reset => "was reset",
            Self::Closed => "was closed before it completed",
            Self::Refused => "was refused",
            Self::NoConnection(_) => "was aborted by the kernel",
            Self::ClientTimeout => "was abandoned by this process (client timeout)",
            Self::Over => "ended",
        }
    }
}

/// Call to which the hang belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Method, if a request was seen.
    pub method: Option<Box<str>>,
    /// Authority of the request, or the peer's address.
    pub authority: Box<str>,
    /// Remote address if it differs from the authority; `None` for an inbound call.
    pub address: Option<Box<str>>,
    /// Path with query; empty without a request.
    pub path: Box<str>,
    /// Whether the target responds to the peer's request.
    pub inbound: bool,
}

/// A call that hangs or has hung.
#[derive(Clone, Debug)]
pub struct HangEvidence {
    /// The call.
    pub call: Call,
    /// Phase of the call.
    pub phase: Phase,
    /// Party that does not move.
    pub waiting_on: WaitingOn,
    /// Evidence for `waiting_on`.
    pub reason: Reason,
    /// Nanoseconds since the start, or total duration.
    pub age: u64,
    /// Whether the call started before tracing, so that its true age is higher.
    pub age_is_lower_bound: bool,
    /// Nanoseconds since the last progress.
    pub stalled: u64,
    /// Silence in nanoseconds after which the call counts as hanging.
    pub threshold: u64,
    /// Current state, or how the call ended.
    pub result: HangResult,
    /// Kernel state of the connection.
    pub socket: Option<Sockets>,
    /// States of the related threads of the target.
    pub threads: Vec<ThreadFact>,
    /// Activity of the thread that has to act, which is the first of `threads`.
    pub doing: Option<Doing>,
    /// Whether the choice of that thread, or of `outbound`, is uncertain.
    pub doing_is_likely: bool,
    /// Call of the target that this call waits for.
    pub outbound: Option<Outbound>,
    /// Timeout in nanoseconds that the target evidently uses, if it gave up.
    pub timeout: Option<u64>,
    /// Number of consecutive calls of this kind that were given up after this timeout.
    pub equal_timeouts: u32,
    /// Number of calls that hang now, including this one.
    pub hanging: u32,
    /// Possible intention behind the silence: `stream` or `long_poll`.
    pub perhaps_on_purpose: Option<&'static str>,
    /// Part that moved last: `request`, `interim_response`, `response_head_begun`, `response_head`, `response_content`.
    pub moved_last: Option<&'static str>,
    /// Status of the response, if the call ended with one.
    pub status: Option<u16>,
    /// Whether the client of the target has closed.
    pub client_gone: bool,
    /// Number of calls that the process has abandoned in the same way, including this one: it holds them, and nothing
    /// reads them.
    pub forgotten: u32,
    /// Whether the connection is a Unix socket, so that no other host is involved.
    pub unix: bool,
    /// Whether the process has given up similar calls before, so that it has a timeout.
    pub has_timeout: bool,
}
