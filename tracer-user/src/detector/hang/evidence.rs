//! What is said of a call that hangs.

use crate::{
    detector::{Explain, Facts, Value},
    event::{Timestamp, wire::peer_window},
    exchange::{ExchangeId, Outcome},
    redact::Redactor,
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

    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::QueryUnanswered => "the name server does not answer",
            Self::SynUnanswered => "no answer to its SYN: the peer is unreachable, or drops it",
            Self::Unacknowledged => "what was sent is not acknowledged: the network, or the peer's host is gone",
            Self::ZeroWindow => "the peer's receive buffer is full, nothing reads there (zero window)",
            Self::Unanswered => "the peer's host has acknowledged all, its application does not answer",
            Self::NoContinue => "it waits for 100 Continue, which the peer's application does not send",
            Self::BodyStalled => "the peer's application stopped within its response",
            Self::RequestStalled => "the client stopped within its request",
            Self::Unread => "bytes have come that this process does not read",
            Self::CloseUnnoticed => "the peer has closed, and this process takes no notice",
            Self::RequestUnwritten => "this process stopped within its request",
            Self::ResponseUnwritten => "this process stopped within its response",
            Self::NotServed => "this process has the request and does not answer",
            Self::Unknown => "what is known does not tell who does not move",
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
}

impl ThreadFact {
    fn value(&self) -> Value {
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

    fn value(&self) -> Value {
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
            Self::Answered => "ended well",
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
}

/// `85ms`, `1.52s`, `2m05s`.
fn duration(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..100_000 => format!("{:.1}s", milliseconds as f64 / 1e3),
        100_000..3_600_000 => format!("{}m{:02}s", milliseconds / 60_000, milliseconds / 1000 % 60),
        _ => format!("{}h{:02}m", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}

impl HangEvidence {
    /// What is called, in words.
    pub fn name(&self, redactor: Redactor) -> String {
        let Call { method, authority, path, inbound } = &self.call;
        let authority = redactor.authority(authority);
        match (method, self.phase) {
            (Some(method), _) => {
                let path = redactor.url(path);
                let gap = if path.starts_with('/') || path.is_empty() { "" } else { " " };
                format!("{method} {authority}{gap}{path}")
            }
            (None, Phase::Dns) => format!("name query to {authority}"),
            (None, Phase::Connect) => format!("connect to {authority}"),
            (None, Phase::Tls) if *inbound => format!("TLS handshake of {authority}"),
            (None, Phase::Tls) => format!("TLS handshake with {authority}"),
            (None, _) if *inbound => format!("call from {authority}"),
            (None, _) => format!("call to {authority}"),
        }
    }

    fn threads_words(&self) -> String {
        let (Some(doing), Some(thread)) = (self.doing, self.threads.first()) else { return String::new() };
        let call = thread.call.as_deref().map_or_else(String::new, |call| format!(" in {call}"));
        let whom = match &self.outbound {
            Some(outbound) => format!(" to {}", outbound.remote),
            None => String::new(),
        };
        let likely = if self.doing_is_likely { "perhaps " } else { "" };
        format!("; {likely}thread {} ({}) {}{whom}{call}", thread.tid, thread.name, doing.words())
    }
}

impl Explain for HangEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let name = self.name(redactor);
        let least = if self.age_is_lower_bound { "at least " } else { "" };
        let age = duration(self.age);
        let stalled = if self.stalled.saturating_add(self.age / 10) < self.age {
            format!(", {} without a byte", duration(self.stalled))
        } else {
            String::new()
        };
        let why = self.reason.words();
        let result = self.result.words();
        match self.result {
            HangResult::Ongoing => format!("{name} hangs for {least}{age}{stalled}: {why}{}", self.threads_words()),
            HangResult::ClientTimeout => {
                let times = match self.equal_timeouts {
                    0 | 1 => String::new(),
                    times => format!(", {times} times after the same"),
                };
                let timeout = self.timeout.map_or_else(String::new, |timeout| format!(" of {}", duration(timeout)));
                format!("{name} was given up by this process after {least}{age} (its time-out{timeout}{times}): {why}")
            }
            _ => format!("{name} {result} after {least}{age}: {why}"),
        }
    }

    fn advice(&self) -> String {
        let advice = match (self.reason, self.doing) {
            (Reason::QueryUnanswered, _) => "Check that the name server in /etc/resolv.conf can be reached.",
            (Reason::SynUnanswered, _) => {
                "Check that the peer's host is up, and routes and firewalls on the way; a listener whose queue is full \
                 drops SYNs too."
            }
            (Reason::Unacknowledged, _) => "Check the way to the peer, and that its host is up: nothing of it answers.",
            (Reason::ZeroWindow, _) => "Look at the peer: its host answers, but its application reads nothing.",
            (Reason::Unanswered | Reason::NoContinue | Reason::BodyStalled, _) => {
                "Look at the peer's application: the request is there, and it does not go on. Give the client a time-out \
                 if it has none."
            }
            (Reason::RequestStalled, _) => "Look at the client; a server should have a time-out for reading requests.",
            _ if self.doing_is_likely => {
                "Look at what this process does: a stack of its threads tells for certain (gdb, jstack, py-spy)."
            }
            (_, Some(Doing::Stopped)) => "The process is stopped: continue it (kill -CONT), or let the debugger go on.",
            (_, Some(Doing::OnCpu)) => "The thread computes: take a profile of it (perf top -t TID).",
            (_, Some(Doing::Lock)) => {
                "The thread waits for another: take a stack of all threads (gdb, jstack, py-spy)."
            }
            (_, Some(Doing::OutboundCall)) => "This process waits itself: look at the call it makes.",
            (_, Some(Doing::Uninterruptible)) => "The kernel holds it: look at disks and network file systems.",
            (Reason::Unknown, _) => {
                "The kernel could not be asked about this connection; `pidtap doctor` may tell why."
            }
            _ => "Look at what this process does: a stack of its threads tells (gdb, jstack, py-spy).",
        };
        advice.to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let ms = |nanoseconds: Option<u64>| nanoseconds.map_or(Value::Null, Value::milliseconds);
        vec![
            ("method", Value::from(self.call.method.as_deref())),
            ("authority", Value::Text(redactor.authority(&self.call.authority).into_owned())),
            ("path", Value::Text(redactor.url(&self.call.path).into_owned())),
            ("phase", self.phase.name().into()),
            ("waiting_on", self.waiting_on.name().into()),
            ("reason", self.reason.name().into()),
            ("age_ms", Value::milliseconds(self.age)),
            ("age_is_lower_bound", Value::Flag(self.age_is_lower_bound)),
            ("stalled_ms", Value::milliseconds(self.stalled)),
            ("threshold_ms", Value::milliseconds(self.threshold)),
            ("result", self.result.name().into()),
            ("timeout_ms", ms(self.timeout)),
            ("equal_timeouts", Value::Count(self.equal_timeouts.into())),
            ("hanging", Value::Count(self.hanging.into())),
            ("doing", Value::from(self.doing.map(Doing::name))),
            ("doing_is_likely", Value::Flag(self.doing_is_likely)),
            (
                "outbound",
                self.outbound.as_ref().map_or(Value::Null, |outbound| {
                    Value::Object(vec![
                        ("exchange", outbound.exchange.into()),
                        ("remote", Value::from(&*outbound.remote)),
                        ("by", outbound.by.into()),
                    ])
                }),
            ),
            ("threads", Value::list(&self.threads, ThreadFact::value)),
            ("socket", self.socket.as_ref().map_or(Value::Null, Sockets::value)),
        ]
    }
}
