//! The verdict: which side does not move, by the kernel's state of the connection and the state of the target's
//! threads.

use super::{
    call::{Candidate, Stage},
    evidence::{Doing, Outbound, Phase, Reason, Sockets, ThreadFact, WaitingOn},
    kernel::Kernel,
    outbound::{OutboundCall, OutboundCalls},
    purpose::Purpose,
    threads::{COMPUTES, Thread, Threads},
};
use crate::{
    analysis::detector::{Confidence, Live},
    event::{
        Timestamp,
        wire::{tcp_state, waits_on},
    },
    model::connection::Role,
};

/// Maximum number of listed threads.
const LISTED: usize = 8;

/// The verdict on a call.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) phase: Phase,
    pub(super) waiting_on: WaitingOn,
    pub(super) reason: Reason,
    pub(super) confidence: Confidence,
    /// No further answer is outstanding.
    pub(super) settled: bool,
    /// The kernel reports that no byte gets through, whatever the purpose of the call.
    pub(super) stuck: bool,
    pub(super) socket: Option<Sockets>,
    pub(super) threads: Vec<ThreadFact>,
    pub(super) doing: Option<Doing>,
    pub(super) doing_is_likely: bool,
    pub(super) outbound: Option<Outbound>,
    pub(super) perhaps_on_purpose: Option<&'static str>,
}

impl Verdict {
    /// The parts whose change makes another verdict.
    pub(super) fn key(&self) -> (Phase, WaitingOn, Reason, Option<Doing>) {
        (self.phase, self.waiting_on, self.reason, self.doing)
    }
}

/// Evidence for a verdict.
#[derive(Clone, Copy)]
pub(super) struct Court<'a> {
    pub(super) now: Timestamp,
    pub(super) kernel: Option<&'a Kernel>,
    pub(super) threads: &'a Threads,
    pub(super) made: &'a OutboundCalls,
    /// Set if the list of outbound calls is not of this moment.
    pub(super) live: Option<&'a dyn Live>,
}

impl<'a> Court<'a> {
    /// Whether the call is still pending.
    fn is_made(&self, made: &OutboundCall) -> bool {
        let Some(live) = self.live else { return true };
        let mut is = false;
        live.calls(made.inode, &mut |_, exchange| is |= exchange.map(|exchange| exchange.id) == made.exchange);
        is
    }

    /// The oldest outbound call on this socket.
    fn made_on(&self, pid: u32, inode: u64) -> Option<&'a OutboundCall> {
        self.made.on(pid, inode).filter(|made| self.is_made(made))
    }

    /// The first outbound call of this thread since a time.
    fn made_by(&self, pid: u32, tid: u32, since: Timestamp) -> Option<&'a OutboundCall> {
        self.made.by(pid, tid, since).filter(|made| self.is_made(made))
    }

    /// The first outbound call of the process since a time, without those of threads that serve.
    fn made_after(&self, pid: u32, since: Timestamp) -> Option<&'a OutboundCall> {
        self.made.after(pid, since).filter(|made| self.is_made(made))
    }

    /// Facts about a thread.
    fn fact(&self, thread: &Thread) -> ThreadFact {
        let mut fact = self.threads.fact(thread, self.now);
        fact.peer = fact.socket.and_then(|inode| self.made.peer(inode)).map(Into::into);
        fact
    }
}

struct Finding {
    waiting_on: WaitingOn,
    reason: Reason,
    /// State that the kernel reports.
    explicit: Option<&'static str>,
    inferred: Option<&'static str>,
    doubtful: bool,
    settled: bool,
}

impl Finding {
    fn told(waiting_on: WaitingOn, reason: Reason, explicit: &'static str) -> Self {
        Self { waiting_on, reason, explicit: Some(explicit), inferred: None, doubtful: false, settled: true }
    }

    fn concluded(waiting_on: WaitingOn, reason: Reason, inferred: &'static str) -> Self {
        Self { waiting_on, reason, explicit: None, inferred: Some(inferred), doubtful: false, settled: true }
    }

    fn unknown() -> Self {
        Self {
            waiting_on: WaitingOn::Unknown,
            reason: Reason::Unknown,
            explicit: None,
            inferred: Some("the kernel has not yet been queried about the connection"),
            doubtful: true,
            settled: false,
        }
    }

    fn and(self, inferred: &'static str) -> Self {
        Self { inferred: Some(inferred), ..self }
    }
}

fn phase(call: &Candidate, reason: Reason, kernel: Option<&Kernel>) -> Phase {
    // Sent bytes did not get through.
    let unsent = matches!(reason, Reason::Unacknowledged | Reason::ZeroWindow);
    match call.stage {
        Stage::Query => Phase::Dns,
        Stage::Connect => Phase::Connect,
        Stage::TlsPeer | Stage::TlsOwn => Phase::Tls,
        _ if unsent => Phase::Send,
        Stage::SendRequest | Stage::AwaitContinue | Stage::Stuck => Phase::Send,
        Stage::AwaitResponse if reason != Reason::Unread => Phase::Wait,
        Stage::AwaitResponse | Stage::ReceiveResponse | Stage::ReceiveRequest | Stage::OweContinue | Stage::Unread => {
            Phase::Receive
        }
        Stage::SendResponse if kernel.is_some_and(|kernel| kernel.latest.send_queue > 0) => Phase::Send,
        Stage::Serve | Stage::SendResponse => Phase::Serve,
    }
}

/// Finding for a call that is silent while other calls on its connection move: the kernel's state of the connection
/// does not concern it. Flow control of the protocol may hold back a message, so a stalled message is doubtful.
fn by_stream(call: &Candidate) -> Finding {
    use Reason as R;
    use WaitingOn as W;
    const MOVES: &str = "other calls on the connection make progress";
    const NOTHING: &str = "other calls on the connection make progress, but nothing was received for this one";
    let doubtful = |finding: Finding| Finding { doubtful: true, ..finding };
    match call.stage {
        Stage::AwaitContinue => Finding::concluded(W::PeerApplication, R::NoContinue, NOTHING),
        Stage::AwaitResponse => Finding::concluded(W::PeerApplication, R::Unanswered, NOTHING),
        Stage::ReceiveResponse => doubtful(Finding::concluded(W::PeerApplication, R::BodyStalled, NOTHING)),
        Stage::ReceiveRequest => doubtful(Finding::concluded(W::PeerApplication, R::RequestStalled, NOTHING)),
        Stage::SendRequest => doubtful(Finding::concluded(W::ThisProcess, R::RequestUnwritten, MOVES)),
        Stage::SendResponse => doubtful(Finding::concluded(W::ThisProcess, R::ResponseUnwritten, MOVES)),
        _ => without_kernel(call),
    }
}

/// Finding by the connection alone.
fn by_connection(call: &Candidate, kernel: Option<&Kernel>) -> Finding {
    use Reason as R;
    use WaitingOn as W;
    if call.stage == Stage::Query {
        let found = Finding::told(W::Unknown, R::QueryUnanswered, "a thread waits on a socket to a name server");
        return found.and("UDP does not show whether the name server or the network to it is at fault");
    }
    if call.others_move {
        return by_stream(call);
    }
    let kernel = match kernel {
        Some(kernel) => kernel,
        None if call.stage == Stage::Connect => {
            let finding = Finding::concluded(W::Network, R::SynUnanswered, "the connection is not established");
            return Finding { settled: false, ..finding };
        }
        None => return without_kernel(call),
    };
    let event = &kernel.latest;
    if call.stage == Stage::Connect || event.state == tcp_state::SYN_SENT {
        let finding = Finding::told(W::Network, R::SynUnanswered, "the kernel sent a SYN and got no response");
        return if event.retransmits > 0 {
            finding.and("the network or the peer's host drops the SYN")
        } else {
            Finding { doubtful: true, ..finding.and("the SYN has not been retransmitted yet") }
        };
    }
    if call.connection.is_unix() && event.send_queue > 0 && event.receive_queue == 0 {
        let finding = match call.stage {
            Stage::SendRequest | Stage::SendResponse | Stage::Stuck => Some(Reason::ZeroWindow),
            Stage::AwaitResponse | Stage::TlsPeer => Some(Reason::Unanswered),
            Stage::AwaitContinue => Some(Reason::NoContinue),
            _ => None,
        };
        if let Some(reason) = finding {
            return Finding::told(W::PeerApplication, reason, "the kernel: the peer has not read all sent data");
        }
    }
    let sends = matches!(call.stage, Stage::SendRequest | Stage::SendResponse | Stage::Stuck);
    if kernel.zero_window() {
        return Finding::told(W::PeerHost, R::ZeroWindow, "the peer's window is zero");
    }
    if event.receive_queue > 0 && call.stage != Stage::Serve && !(sends && event.send_queue > 0) {
        return Finding::told(W::ThisProcess, R::Unread, "the receive queue contains unread bytes");
    }
    if kernel.resends() {
        return Finding::told(W::Network, R::Unacknowledged, "bytes in flight are being retransmitted")
            .and("the network drops them, or the peer's host is gone");
    }
    if event.unacknowledged > 0 || (sends && event.send_queue > 0) {
        let finding = Finding::told(W::Network, R::Unacknowledged, "bytes in flight are not acknowledged");
        return Finding { doubtful: true, settled: false, ..finding };
    }
    let peer_closed = event.state == tcp_state::CLOSE_WAIT || (call.connection.is_unix() && call.peer_closed);
    let acknowledged = if call.connection.is_unix() {
        "the kernel: the peer's queue is empty or holds the sent data, and nothing was received"
    } else {
        "the kernel: all sent data is acknowledged, and nothing was received"
    };
    match call.stage {
        Stage::AwaitResponse | Stage::ReceiveResponse if peer_closed => {
            Finding::told(W::ThisProcess, R::CloseUnnoticed, "the kernel: the peer closed the connection")
        }
        Stage::AwaitContinue => Finding::told(W::PeerApplication, R::NoContinue, acknowledged),
        Stage::AwaitResponse | Stage::TlsPeer => Finding::told(W::PeerApplication, R::Unanswered, acknowledged),
        Stage::ReceiveResponse => Finding::told(
            W::PeerApplication,
            R::BodyStalled,
            "the kernel: the receive queue is empty, and nothing more was received",
        )
        .and("the peer's application has stopped sending; data lost in the network would look the same"),
        Stage::OweContinue => {
            Finding::told(W::ThisProcess, R::ContinueNotSent, "the request expects 100 Continue, but nothing was sent")
        }
        Stage::ReceiveRequest => Finding::told(
            W::PeerApplication,
            R::RequestStalled,
            "the kernel: the receive queue is empty, and nothing more was received",
        ),
        Stage::SendRequest => Finding::told(
            W::ThisProcess,
            R::RequestUnwritten,
            "the kernel: the send queue is empty, but the request is incomplete",
        ),
        Stage::SendResponse => Finding::told(
            W::ThisProcess,
            R::ResponseUnwritten,
            "the kernel: the send queue is empty, but the response is incomplete",
        ),
        Stage::Serve | Stage::TlsOwn => {
            Finding::told(W::ThisProcess, R::NotServed, "the request was read, but nothing was sent")
        }
        // The connection is no longer stuck or unread.
        Stage::Stuck | Stage::Unread | Stage::Query | Stage::Connect => {
            Finding { settled: false, ..Finding::unknown() }
        }
    }
}

/// Finding without kernel state. A Unix socket hands over sent bytes at once; for other connections, the answer is
/// outstanding.
fn without_kernel(call: &Candidate) -> Finding {
    use Reason as R;
    use WaitingOn as W;
    let unix = call.connection.is_unix();
    let finding = match call.stage {
        Stage::Serve | Stage::TlsOwn => {
            Finding::told(W::ThisProcess, R::NotServed, "the request was read, but nothing was sent")
        }
        Stage::OweContinue => {
            Finding::told(W::ThisProcess, R::ContinueNotSent, "the request expects 100 Continue, but nothing was sent")
        }
        _ if !unix => return Finding::unknown(),
        Stage::AwaitResponse | Stage::TlsPeer => {
            Finding::concluded(W::PeerApplication, R::Unanswered, "a Unix socket delivers sent data immediately")
        }
        Stage::AwaitContinue => {
            Finding::concluded(W::PeerApplication, R::NoContinue, "a Unix socket delivers sent data immediately")
        }
        Stage::ReceiveResponse => {
            Finding::concluded(W::PeerApplication, R::BodyStalled, "a Unix socket delivers sent data immediately")
        }
        Stage::ReceiveRequest => {
            Finding::concluded(W::PeerApplication, R::RequestStalled, "a Unix socket delivers sent data immediately")
        }
        _ => return Finding::unknown(),
    };
    Finding { settled: unix, ..finding }
}

/// The thread that should move, its activity, and the call that it waits for.
struct Hands<'a> {
    thread: Option<&'a Thread>,
    doing: Option<Doing>,
    outbound: Option<Outbound>,
    doubtful: bool,
}

fn hands<'a>(call: &Candidate, court: Court<'a>) -> Hands<'a> {
    let pid = call.process.pid;
    let Some(thread) = court.threads.get(pid, call.tid).filter(|thread| thread.time() >= call.progress) else {
        return elsewhere(call, court);
    };
    let doing = thread.doing();
    let outbound = |made: &OutboundCall, by: &'static str| {
        Some(Outbound { exchange: made.exchange, remote: made.connection.remote_text.clone(), by })
    };
    if call.exchange.is_none() && doing == Doing::EventLoop {
        return elsewhere(call, court);
    }
    let socket = thread.latest.connection;
    let own = socket == call.connection.inode.0;
    if doing == Doing::Socket
        && !own
        && let Some(made) = court.made_on(pid, socket)
    {
        let outbound = outbound(made, "same socket");
        let doubtful = court.made.are_several_on(socket);
        return Hands { thread: Some(thread), doing: Some(Doing::OutboundCall), outbound, doubtful };
    }
    let waits = matches!(doing, Doing::Lock | Doing::EventLoop | Doing::Runs | Doing::Other | Doing::Socket);
    // An outbound call waits for its own answer. Another call explains it only if a thread waits on that call.
    if waits && call.role == Role::Server {
        // Calls of the same thread come first, then any later call of a thread that serves no other request.
        let other = |made: &&OutboundCall| made.inode != call.connection.inode.0;
        let same = court.made_by(pid, call.tid, call.started).filter(other);
        let after = || court.made_after(pid, call.started).filter(other);
        if let Some((made, by)) = same.map(|made| (made, "same thread")).or_else(|| Some((after()?, "time"))) {
            return Hands {
                thread: Some(thread),
                doing: Some(Doing::OutboundCall),
                outbound: outbound(made, by),
                doubtful: by == "time" || court.made.serves_several(pid, call.tid),
            };
        }
    }
    // The thread waits, and another one may do the work.
    if doing == Doing::EventLoop || thread.waits_in_futex() || (doing == Doing::Socket && own) {
        let elsewhere = elsewhere(call, court);
        if elsewhere.thread.is_some() {
            return elsewhere;
        }
    }
    // Idle threads of a runtime wait like threads that want a lock. If several wait in this way, the request may be
    // with any of them.
    let several = thread.waits_in_futex() && {
        let tid = thread.latest.header.tid;
        let others = court.threads.of(pid, call.progress);
        let mut others = others.iter().filter(|other| other.latest.header.tid != tid);
        others.any(|other| other.doing() == Doing::EventLoop || other.waits_in_futex())
    };
    Hands { thread: Some(thread), doing: Some(doing), outbound: None, doubtful: several || doing == Doing::EventLoop }
}

/// The thread that read the request has passed it on: another thread may compute, or be stopped. If the reader is
/// unknown, any waiting thread may hold the request.
fn elsewhere<'a>(call: &Candidate, court: Court<'a>) -> Hands<'a> {
    let pid = call.process.pid;
    let threads = court.threads.of(pid, call.progress);
    if call.exchange.is_none() && call.role == Role::Server {
        let waits_for = |thread: &Thread| match thread.doing() {
            Doing::Socket => court.made_on(pid, thread.latest.connection),
            _ => None,
        };
        if let Some((thread, made)) = threads.iter().find_map(|thread| Some((*thread, waits_for(thread)?))) {
            let remote = made.connection.remote_text.clone();
            let outbound = Some(Outbound { exchange: made.exchange, remote, by: "time" });
            return Hands { thread: Some(thread), doing: Some(Doing::OutboundCall), outbound, doubtful: true };
        }
    }
    let rank = |thread: &Thread| match thread.doing() {
        Doing::OnCpu => Some(0),
        Doing::Stopped => Some(1),
        _ if call.exchange.is_some() => None,
        Doing::Uninterruptible => Some(2),
        // Beside an event loop, threads that wait for locks are mostly idle.
        Doing::EventLoop if thread.latest.waits_on == waits_on::EPOLL => Some(3),
        Doing::Lock => Some(4),
        Doing::Sleep => Some(5),
        Doing::Pipe | Doing::File | Doing::Other => Some(6),
        _ => None,
    };
    let all = threads.clone();
    let thread = threads.into_iter().filter(|thread| rank(thread).is_some()).min_by_key(|thread| rank(thread));
    // A runtime moves work between its threads, so each holds it only briefly.
    if thread.is_none_or(|thread| thread.doing() != Doing::OnCpu)
        && let (sum, 2..) = court.threads.computing(pid, call.progress)
        && sum >= COMPUTES
    {
        let share = |thread: &&Thread| (thread.share.unwrap_or(0.0) * 1e6) as u64;
        let most = all.into_iter().max_by_key(share);
        return Hands { thread: most, doing: Some(Doing::OnCpu), outbound: None, doubtful: true };
    }
    let mut hands = Hands { thread, doing: thread.map(Thread::doing), outbound: None, doubtful: true };
    if hands.doing == Some(Doing::EventLoop)
        && let Some(made) = court.made_after(pid, Timestamp(0)).filter(|made| made.inode != call.connection.inode.0)
        && call.role == Role::Server
    {
        let remote = made.connection.remote_text.clone();
        hands.outbound = Some(Outbound { exchange: made.exchange, remote, by: "time" });
        hands.doing = Some(Doing::OutboundCall);
    }
    hands
}

/// Judges a call by all evidence.
pub(super) fn judge(call: &Candidate, court: Court<'_>) -> Verdict {
    // State from before the latest byte is outdated.
    let kernel = court.kernel.filter(|kernel| kernel.time() >= call.progress || call.lower_bound);
    let finding = by_connection(call, kernel);
    let mut confidence = Confidence {
        explicit: finding.explicit.into_iter().collect(),
        inferred: finding.inferred.into_iter().collect(),
        doubtful: finding.doubtful || call.doubtful,
    };
    let stuck =
        matches!(finding.reason, Reason::Unread | Reason::ZeroWindow | Reason::Unacknowledged | Reason::CloseUnnoticed);
    // A requested wait (`Wait`) has ended by now.
    let perhaps_on_purpose = match call.purpose {
        _ if stuck => None,
        Purpose::Endless | Purpose::Stream => Some("stream"),
        Purpose::Perhaps => Some("long_poll"),
        Purpose::None | Purpose::Wait(_) => None,
    };
    if let Some(purpose) = perhaps_on_purpose {
        confidence.doubtful = true;
        confidence.inferred.push(match purpose {
            "stream" => "the response has no declared length: an intentionally silent stream looks the same",
            _ => "the request looks like a long poll, which is silent intentionally",
        });
    }
    if call.doubtful {
        confidence.inferred.push(match call.stage {
            Stage::Unread => "the received data may be something that nobody waits for",
            Stage::ReceiveResponse => {
                "the protocol of the connection is unknown: a thread that waits for events looks the same"
            }
            _ => "the protocol of the connection is unknown; the target sent last and received nothing",
        });
    }
    let mut verdict = Verdict {
        phase: phase(call, finding.reason, kernel),
        waiting_on: finding.waiting_on,
        reason: finding.reason,
        confidence,
        settled: finding.settled,
        stuck: matches!(finding.reason, Reason::Unread | Reason::ZeroWindow | Reason::Unacknowledged)
            && finding.settled,
        socket: kernel.map(sockets),
        threads: Vec::new(),
        doing: None,
        doing_is_likely: false,
        outbound: None,
        perhaps_on_purpose,
    };
    if finding.waiting_on == WaitingOn::ThisProcess {
        own_threads(call, court, &mut verdict);
    } else {
        // The thread that waits shows the place in the program.
        let pid = call.process.pid;
        let waits = court.threads.blocked_on(pid, call.connection.inode.0, call.progress);
        let waits = waits.or_else(|| court.threads.get(pid, call.tid).filter(|thread| thread.time() >= call.progress));
        // The report on a call from before tracing names the thread that waits, so that thread is searched first.
        verdict.settled &= !call.lower_bound || call.stage == Stage::Query || court.threads.seen(pid, call.progress);
        if let Some(thread) = waits {
            verdict.doing = Some(thread.doing());
            verdict.threads.push(court.fact(thread));
        }
    }
    verdict
}

fn own_threads(call: &Candidate, court: Court<'_>, verdict: &mut Verdict) {
    let hands = hands(call, court);
    let all = court.threads.of(call.process.pid, call.progress);
    // The processor time of a thread needs two looks.
    let looked = hands.thread.or(all.first().copied());
    verdict.settled &= looked.is_some_and(|thread| thread.share.is_some() || thread.doing() == Doing::Stopped);
    verdict.doing = hands.doing;
    verdict.doing_is_likely = hands.doubtful && hands.doing.is_some();
    verdict.outbound = hands.outbound;
    if let Some(thread) = hands.thread {
        verdict.threads.push(court.fact(thread));
        verdict.confidence.explicit.push("the state of its threads according to /proc");
        if hands.doubtful {
            verdict.confidence.inferred.push(match hands.doing {
                Some(Doing::OutboundCall) => {
                    "the outbound call began while this call was open; it may belong to another request"
                }
                Some(Doing::OnCpu) => {
                    "threads of the process are computing; it is unknown whether they do so for this call"
                }
                Some(Doing::Lock) => "idle threads of a runtime wait in the same way",
                Some(Doing::EventLoop) => "the request does not wait for a thread",
                _ => "this is not the thread that read the request",
            });
            verdict.confidence.doubtful |= verdict.reason != Reason::Unread;
        }
    }
    let first = verdict.threads.first().map(|thread| thread.tid);
    let rest = all.iter().filter(|thread| Some(thread.latest.header.tid) != first);
    verdict.threads.extend(rest.take(LISTED - verdict.threads.len()).map(|thread| court.fact(thread)));
}

fn sockets(kernel: &Kernel) -> Sockets {
    let event = &kernel.latest;
    Sockets {
        time: kernel.time(),
        state: event.state,
        receive_queue: event.receive_queue,
        send_queue: event.send_queue,
        in_flight: event.unacknowledged,
        retransmits: event.retransmits,
        backoff: event.backoff,
        window_probes: event.window_probes,
        peer_window: event.peer_window,
        last_sent_ms: event.last_sent_ms,
        last_received_ms: event.last_received_ms,
    }
}

/// Whether the verdict on this call needs the state of threads.
pub(super) fn needs_threads(call: &Candidate, kernel: Option<&Kernel>) -> bool {
    call.role == Role::Server
        || call.lower_bound
        || call.exchange.is_none()
        || call.stage == Stage::SendRequest
        || kernel.is_some_and(|kernel| kernel.latest.receive_queue > 0 || kernel.latest.state == tcp_state::CLOSE_WAIT)
}
