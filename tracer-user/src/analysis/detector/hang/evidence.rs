//! What is said of a call that hangs.

use crate::{
    analysis::detector::Value,
    event::{Timestamp, wire::peer_window},
    model::exchange::{ExchangeId, Outcome},
};

/// Where in its life the call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A name is being resolved.
    Dns,
    /// The connection is being made.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The message that goes to the peer is not over.
    Send,
    /// The request was sent, nothing of the response came.
    Wait,
    /// The message that comes from the peer is not over.
    Receive,
    /// The target has the request, and has not answered.
    Serve,
}

impl Phase {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
            Self::Serve => "serve",
        }
    }
}

/// Who does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// The program at the other end: its host has acknowledged all that was sent.
    PeerApplication,
    /// The host at the other end takes nothing more.
    PeerHost,
    /// Nothing comes back: the network, or the host at the other end is gone. From here that cannot be told apart.
    Network,
    /// The traced process.
    ThisProcess,
    /// What is known does not tell.
    Unknown,
}

impl WaitingOn {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerApplication => "peer_application",
            Self::PeerHost => "peer_host",
            Self::Network => "network",
            Self::ThisProcess => "this_process",
            Self::Unknown => "unknown",
        }
    }

    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::PeerApplication => "the peer's application",
            Self::PeerHost => "the peer's host",
            Self::Network => "the network",
            Self::ThisProcess => "this process",
            Self::Unknown => "something unknown",
        }
    }
}

/// What shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No name server answers.
    QueryUnanswered,
    /// The SYN is not answered.
    SynUnanswered,
    /// Bytes in flight are sent again and again.
    Unacknowledged,
    /// The peer's window is zero.
    ZeroWindow,
    /// All was acknowledged, nothing came.
    Unanswered,
    /// The request waits for `100 Continue`.
    NoContinue,
    /// The client waits for `100 Continue`, which the target does not send.
    ContinueNotSent,
    /// Part of the response came, then nothing.
    BodyStalled,
    /// Part of a request came, then nothing.
    RequestStalled,
    /// Bytes lie in the receive queue.
    Unread,
    /// The peer has closed, and the target takes no notice.
    CloseUnnoticed,
    /// The target stopped within its request.
    RequestUnwritten,
    /// The target stopped within its response.
    ResponseUnwritten,
    /// The target has the request, and has not begun to answer.
    NotServed,
    /// What is known does not tell.
    Unknown,
}

impl Reason {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueryUnanswered => "query_unanswered",
            Self::SynUnanswered => "syn_unanswered",
            Self::Unacknowledged => "unacknowledged",
            Self::ZeroWindow => "zero_window",
            Self::Unanswered => "unanswered",
            Self::NoContinue => "no_continue",
            Self::ContinueNotSent => "continue_not_sent",
            Self::BodyStalled => "body_stalled",
            Self::RequestStalled => "request_stalled",
            Self::Unread => "unread",
            Self::CloseUnnoticed => "close_unnoticed",
            Self::RequestUnwritten => "request_unwritten",
            Self::ResponseUnwritten => "response_unwritten",
            Self::NotServed => "not_served",
            Self::Unknown => "unknown",
        }
    }
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Stopped by a signal or a debugger.
    Stopped,
    /// It computes.
    OnCpu,
    /// It waits for a lock, a condition, or another thread (`futex`).
    Lock,
    /// It sleeps.
    Sleep,
    /// It waits for a call that this process makes.
    OutboundCall,
    /// It waits on a socket.
    Socket,
    /// It waits on a pipe.
    Pipe,
    /// It waits for a child process to end.
    Child,
    /// It waits on a file or device.
    File,
    /// It waits for whatever comes next.
    EventLoop,
    /// It is in the kernel and cannot be interrupted: a disk, a file system.
    Uninterruptible,
    /// It is in no system call, and computes little.
    Runs,
    /// In another system call.
    Other,
}

impl Doing {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::OnCpu => "on_cpu",
            Self::Lock => "lock",
            Self::Sleep => "sleep",
            Self::OutboundCall => "outbound_call",
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::Child => "child",
            Self::File => "file",
            Self::EventLoop => "event_loop",
            Self::Uninterruptible => "uninterruptible",
            Self::Runs => "runs",
            Self::Other => "other",
        }
    }

    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stopped => "is stopped (SIGSTOP, or a debugger)",
            Self::OnCpu => "computes",
            Self::Lock => "waits for a lock or another thread",
            Self::Sleep => "sleeps",
            Self::OutboundCall => "waits for a call of its own",
            Self::Socket => "waits on a socket",
            Self::Pipe => "waits on a pipe",
            Self::Child => "waits for a child process",
            Self::File => "waits on a file",
            Self::EventLoop => "is back in its event loop",
            Self::Uninterruptible => "is stuck in the kernel (disk, file system)",
            Self::Runs => "runs",
            Self::Other => "is in a system call",
        }
    }
}

/// A thread, as it was seen last.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadFact {
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: Box<str>,
    /// Its state, as in `/proc/PID/stat`.
    pub state: char,
    /// The system call it is in.
    pub call: Option<Box<str>>,
    /// Where in the kernel it waits.
    pub wait_channel: Option<Box<str>>,
    /// What that means.
    pub doing: Doing,
    /// Share of the time on a processor between two looks.
    pub cpu: Option<f64>,
    /// It is known not to have run for so many nanoseconds.
    pub still_ns: u64,
    /// The socket that it waits on: inode.
    pub socket: Option<u64>,
    /// Where that goes to, where it is a connection that was seen.
    pub peer: Option<Box<str>>,
    /// The child that it waits for, and its name where that was seen.
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
    /// Its exchange, where it is one.
    pub exchange: Option<ExchangeId>,
    /// Whom it is made to.
    pub remote: Box<str>,
    /// How that is known: `same socket`, `same thread`, `time`.
    pub by: &'static str,
}

/// What the kernel said of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// When.
    pub time: Timestamp,
    /// TCP state.
    pub state: u8,
    /// Bytes that the target has not read.
    pub receive_queue: u32,
    /// Bytes that the peer has not acknowledged.
    pub send_queue: u32,
    /// Segments in flight.
    pub in_flight: u32,
    /// Segments sent again, since the connection began.
    pub retransmits: u32,
    /// How often the time to the next try was doubled.
    pub backoff: u32,
    /// Zero-window probes without an answer.
    pub window_probes: u32,
    /// One of [`peer_window`].
    pub peer_window: u8,
    /// Milliseconds since the target last sent.
    pub last_sent_ms: u32,
    /// Milliseconds since it last received.
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
    /// The TCP state's name.
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

/// How a call that hung ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangResult {
    /// It hangs.
    Ongoing,
    /// It was answered, or went on.
    Answered,
    /// It was answered by a status that says that the server failed.
    Failed,
    /// The target answered, but its client had closed before.
    ClientGone,
    /// Bytes move again.
    Resumed,
    /// The connection is up.
    Connected,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the end.
    Closed,
    /// The connection was refused.
    Refused,
    /// The kernel gave up making the connection; the outcome tells why.
    NoConnection(Outcome),
    /// The target gave up.
    ClientTimeout,
    /// It is over; how, was not seen.
    Over,
}

impl HangResult {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ongoing => "ongoing",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::ClientGone => "client_gone",
            Self::Resumed => "resumed",
            Self::Connected => "connected",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::NoConnection(outcome) => outcome.name(),
            Self::ClientTimeout => "client_timeout",
            Self::Over => "over",
        }
    }

    /// Nobody had to give up.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered | Self::Resumed | Self::Connected)
    }

    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ongoing => "hangs",
            Self::Answered => "was answered",
            Self::Failed => "failed",
            Self::ClientGone => "was answered too late, its client had closed,",
            Self::Resumed => "goes on",
            Self::Connected => "is connected",
            Self::Reset => "was reset",
            Self::Closed => "was closed before its end",
            Self::Refused => "was refused",
            Self::NoConnection(_) => "was given up by the kernel",
            Self::ClientTimeout => "was given up by this process (its time-out)",
            Self::Over => "is over",
        }
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Method, where a request was seen.
    pub method: Option<Box<str>>,
    /// Authority of the request, else the peer's address.
    pub authority: Box<str>,
    /// Where it goes, where the authority does not say so; none of an inbound call.
    pub address: Option<Box<str>>,
    /// Path with query; empty without a request.
    pub path: Box<str>,
    /// The peer asks, the target answers.
    pub inbound: bool,
}

/// A call that hangs, or hung.
#[derive(Clone, Debug)]
pub struct HangEvidence {
    /// What is called.
    pub call: Call,
    /// Where it stands.
    pub phase: Phase,
    /// Who does not move.
    pub waiting_on: WaitingOn,
    /// What shows it.
    pub reason: Reason,
    /// Nanoseconds since it began, or in all.
    pub age: u64,
    /// It is older than that: it began before tracing.
    pub age_is_lower_bound: bool,
    /// Nanoseconds since anything of it moved.
    pub stalled: u64,
    /// Nanoseconds after which this call is said to hang.
    pub threshold: u64,
    /// How it stands.
    pub result: HangResult,
    /// What the kernel said of its connection.
    pub socket: Option<Sockets>,
    /// What the target's threads do that have to do with it.
    pub threads: Vec<ThreadFact>,
    /// What the one does that should move; it is the first of `threads`.
    pub doing: Option<Doing>,
    /// That it is this thread which should move, and `outbound` which it waits for, is not known for certain.
    pub doing_is_likely: bool,
    /// The call of the target that it waits for.
    pub outbound: Option<Outbound>,
    /// The time-out that the target evidently uses, in nanoseconds, where it gave up.
    pub timeout: Option<u64>,
    /// How often calls like this one were given up after that same time.
    pub equal_timeouts: u32,
    /// Calls that hang now, this one included.
    pub hanging: u32,
    /// Why it may be silent because both sides mean it to be: `stream`, `long_poll`.
    pub perhaps_on_purpose: Option<&'static str>,
    /// What of it moved last: `request`, `interim_response`, `response_head_begun`, `response_head`, `response_content`.
    pub moved_last: Option<&'static str>,
    /// Status of the answer, where it ended with one.
    pub status: Option<u16>,
    /// The client of the target has closed.
    pub client_gone: bool,
    /// Calls that the process forgot in the same way, this one included: it holds them, and nothing reads them.
    pub forgotten: u32,
    /// It goes over a Unix socket: there is no other host.
    pub unix: bool,
    /// The process has given up calls like this one before: it has a time-out.
    pub has_timeout: bool,
}
