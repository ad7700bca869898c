//! A call that hangs: the last acts of each side, the verdict, and what kernel and threads report.

use std::{fmt::Write as _, sync::Arc};

use super::{exchange::place, subject::Subject, tense::past};
use crate::{
    analysis::detector::{Doing, Evidence, HangEvidence, HangResult, Incident, Phase, Sockets, ThreadFact, WaitingOn},
    event::{
        Timestamp,
        wire::{peer_window, tcp_state},
    },
    model::exchange::{Exchange, ExchangeId, Fields, Outcome},
    text::{escape::Visible, units},
};

/// The kernel has times of the last segments only, and the handshake counts as one.
const LAST: &str = "last data or handshake";
/// Incidents that are related, at most.
const RELATED: usize = 3;

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

fn size(bytes: u64) -> String {
    units::size(Some(bytes))
}

/// `body 16B of 4.1kB`; `None` without a body.
fn body(bytes: u64, headers: &Fields) -> Option<String> {
    let announced =
        headers.get("content-length").and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    match announced.unwrap_or(bytes) {
        0 => None,
        announced if announced == bytes => Some(format!("body {}", size(bytes))),
        announced => Some(format!("body {} of {}", size(bytes), size(announced))),
    }
}

/// The last acts of one side of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Beginning and end of each piece that it sent.
    pub sent: Vec<(Timestamp, Timestamp)>,
    /// The pieces in words.
    pub what: String,
}

/// The exchange of the call, where it is one and is kept.
fn own(subject: &Subject<'_>) -> Option<Arc<Exchange>> {
    let id = subject.incident.report.exchanges.first()?;
    subject.viewpoint.store.exchange_by_id(*id).cloned()
}

/// The client's side, then the server's.
pub fn sides(subject: &Subject<'_>, evidence: &HangEvidence) -> [Side; 2] {
    let mut asking = Side::default();
    let mut answering = Side::default();
    if let Some(exchange) = own(subject) {
        asked(&mut asking, &exchange, evidence);
        if let Some(start) = exchange.timing.response_start {
            answering.sent.push((start, exchange.timing.response_end.unwrap_or(start)));
            answering.what = exchange.response.as_ref().map_or_else(
                || "the response began".to_owned(),
                |response| {
                    let body = body(response.body.bytes, &response.headers);
                    [Some(response.status.to_string()), body].into_iter().flatten().collect::<Vec<_>>().join(", ")
                },
            );
        }
    }
    if let Some(socket) = &evidence.socket {
        let (own, peer) =
            if evidence.call.inbound { (&mut answering, &mut asking) } else { (&mut asking, &mut answering) };
        from_kernel(own, peer, evidence, socket, subject.since());
    }
    if asking.what.is_empty() {
        let connects = evidence.phase == Phase::Connect;
        (if connects { "SYN to connect" } else { "not seen" }).clone_into(&mut asking.what);
    }
    if answering.what.is_empty() {
        let connects = evidence.phase == Phase::Connect;
        let begun = evidence.moved_last == Some("response_head_begun");
        let none = if begun { "the first bytes of a response" } else { "no byte of a response" };
        (if connects { "no reply" } else { none }).clone_into(&mut answering.what);
    }
    [asking, answering]
}

/// Adds the connect and the request.
fn asked(asking: &mut Side, exchange: &Exchange, evidence: &HangEvidence) {
    let timing = &exchange.timing;
    let mut what = Vec::new();
    if let Some(start) = timing.connect_start.filter(|_| !evidence.call.inbound) {
        asking.sent.push((start, timing.connect_end.unwrap_or(start)));
        what.extend(timing.connect_end.map(|end| format!("connected in {}", time(end.since(start)))));
    }
    if let Some(start) = timing.request_start {
        asking.sent.push((start, timing.request_end.unwrap_or(start)));
        match &exchange.request {
            Some(request) => {
                what.push("request".to_owned());
                what.extend(body(request.body.bytes, &request.headers));
            }
            None => what.push("request (head not seen)".to_owned()),
        }
        if evidence.phase == Phase::Send {
            what.push("incomplete".to_owned());
        }
    }
    asking.what = what.join(", ");
}

/// Adds what the kernel keeps of the connection: its queues, and the times of the last data.
fn from_kernel(own: &mut Side, peer: &mut Side, evidence: &HangEvidence, socket: &Sockets, since: Timestamp) {
    if evidence.phase == Phase::Connect {
        if own.sent.is_empty() {
            own.sent.push((since, since));
        }
        if socket.retransmits > 0 {
            own.what = format!("SYN, retransmitted {} times", socket.retransmits);
        }
        return;
    }
    let ago = |milliseconds: u32| {
        let time = socket.time.0.checked_sub(u64::from(milliseconds) * 1_000_000)?;
        Some((Timestamp(time), Timestamp(time)))
    };
    if socket.receive_queue > 0 {
        peer.sent.extend(ago(socket.last_received_ms));
        peer.what = format!("{} received, not read by this process", size(socket.receive_queue.into()));
    } else if peer.sent.is_empty() && own.sent.is_empty() {
        peer.sent.extend(ago(socket.last_received_ms));
        LAST.clone_into(&mut peer.what);
    }
    if own.sent.is_empty() && own.what.is_empty() && !evidence.call.inbound {
        own.sent.extend(ago(socket.last_sent_ms));
        LAST.clone_into(&mut own.what);
    }
    if socket.send_queue > 0 {
        let gap = if own.what.is_empty() { "" } else { "; " };
        let _ = write!(own.what, "{gap}{} not acknowledged", size(socket.send_queue.into()));
    }
}

/// The verdict, in sentences.
pub fn words(subject: &Subject<'_>, evidence: &HangEvidence) -> String {
    let whom = evidence.waiting_on.words();
    let goes_on = evidence.result == HangResult::Ongoing;
    let ended = goes_on && subject.viewpoint.is_over();
    let why = evidence.why();
    let why = if goes_on && !ended { why.to_string() } else { past(why) };
    let unknown = evidence.waiting_on == WaitingOn::Unknown;
    let had = if unknown {
        "The available data does not show which side was stalled.".to_owned()
    } else {
        format!("It had been waiting on {whom}: {why}.")
    };
    let mut text = match evidence.result {
        HangResult::Ongoing if ended && unknown => had,
        HangResult::Ongoing if ended => format!("Waited on {whom} when tracing ended: {why}."),
        HangResult::Ongoing if unknown => "The available data does not show which side is stalled.".to_owned(),
        HangResult::Ongoing => format!("Waits on {whom}: {why}."),
        HangResult::ClientTimeout => {
            let times = match evidence.equal_timeouts {
                0 | 1 => String::new(),
                times => format!(", {times} times in a row"),
            };
            let timeout = evidence.timeout.map_or_else(String::new, |timeout| format!(" of {}", time(timeout)));
            format!("Abandoned by this process (client timeout{timeout}{times}). {had}")
        }
        result => format!("The call {}. {had}", result.words()),
    };
    let grown = if goes_on { subject.until().since(subject.incident.updated) } else { 0 };
    let silent = time(evidence.stalled + grown);
    let _ = write!(text, " No progress for {silent} while {}.", phase(evidence.phase));
    text
}

/// The threads in a sentence, while the call hangs; `None` where they were not looked at.
pub fn threads(subject: &Subject<'_>, evidence: &HangEvidence) -> Option<String> {
    if evidence.result != HangResult::Ongoing || evidence.doing.is_none() || evidence.threads.is_empty() {
        return None;
    }
    let words = evidence.threads_words();
    let words = if subject.viewpoint.is_over() { past(&words) } else { words };
    let first = words.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let rest = words.get(first.len()..).unwrap_or_default();
    Some(format!("{first}{}.", Visible(rest)))
}

/// A call that this one waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Its exchange.
    pub exchange: ExchangeId,
    /// The call and its state, redacted and escaped.
    pub call: String,
    /// Evidence of the link.
    pub by: &'static str,
}

/// The call that this one waits for.
pub fn lead(subject: &Subject<'_>, evidence: &HangEvidence) -> Option<Lead> {
    let viewpoint = &subject.viewpoint;
    let outbound = evidence.outbound.as_ref()?;
    let id = outbound.exchange?;
    let call = viewpoint.store.exchange_by_id(id).map_or_else(
        || format!("exchange {} (forgotten)", id.0),
        |exchange| {
            let (host, path) = place(exchange, viewpoint.redactor);
            let method = exchange.request.as_ref().map_or("-", |request| &request.method);
            let state = match (exchange.outcome, &exchange.response) {
                (Outcome::InFlight, _) => "open for",
                (_, Some(response)) => &format!("{} after", response.status),
                (outcome, None) => outcome.word().unwrap_or("over after"),
            };
            let age = time(viewpoint.store.duration(exchange));
            format!("{} {host}{path}, {state} {age}", Visible(method))
        },
    );
    Some(Lead { exchange: id, call, by: outbound.by })
}

/// Incidents that wait for this call, and those of the call that it waits for; a few of them.
pub fn related<'a>(subject: &Subject<'a>, evidence: &HangEvidence) -> Vec<&'a Incident> {
    let outbound = evidence.outbound.as_ref().and_then(|outbound| outbound.exchange);
    let mine = &subject.incident.report.exchanges;
    let waits_for_this = |other: &Incident| match &other.report.evidence {
        Evidence::Hang(other) => {
            other.outbound.as_ref().and_then(|call| call.exchange).is_some_and(|id| mine.contains(&id))
        }
        Evidence::Retry(other) => other.caller.as_ref().is_some_and(|caller| mine.contains(&caller.exchange)),
        _ => false,
    };
    let is_behind = |other: &Incident| outbound.is_some_and(|id| other.report.exchanges.contains(&id));
    let others = subject.viewpoint.store.incidents().iter().map(|other| &**other);
    let others = others.filter(|other| other.id != subject.incident.id);
    others.filter(|other| waits_for_this(other) || is_behind(other)).take(RELATED).collect()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "resolving the name",
        Phase::Connect => "connecting",
        Phase::Tls => "in the TLS handshake",
        Phase::Send => "sending",
        Phase::Wait => "waiting for the response",
        Phase::Receive => "receiving",
        Phase::Serve => "answering",
    }
}

/// A name and a value beside it; a value that goes on has an empty name.
pub type Fact = (&'static str, String);

/// State of the connection, the kernel's queues and the threads.
pub fn facts(subject: &Subject<'_>, evidence: &HangEvidence) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut fact = |name, text: &str| facts.push((name, text.to_owned()));
    if let Some(connection) = &subject.incident.report.connection {
        let remote = Visible(&connection.remote_text);
        fact("connection", &format!("#{} to {remote}", connection.id.0));
    }
    let process = &subject.incident.report.process;
    fact("process", &format!("{}[{}]", Visible(&process.name), process.pid));
    match &evidence.socket {
        Some(socket) => kernel(&mut fact, subject, socket),
        None => fact("kernel", "not yet queried about the connection"),
    }
    for (index, thread) in evidence.threads.iter().enumerate() {
        fact(if index == 0 { "threads" } else { "" }, &thread_words(thread));
    }
    if evidence.threads.is_empty() {
        fact("threads", "not inspected");
    }
    fact("threshold", &format!("{} of silence, for calls like this one", time(evidence.threshold)));
    if evidence.hanging > 1 {
        fact("hanging now", &format!("{} calls, including this one", evidence.hanging));
    }
    facts
}

fn kernel(fact: &mut impl FnMut(&'static str, &str), subject: &Subject<'_>, socket: &Sockets) {
    let ago = |milliseconds: u32| time(u64::from(milliseconds) * 1_000_000);
    let clock = subject.viewpoint.clock_time(socket.time);
    fact("kernel", &format!("{}, queried at {clock}", socket.state_name().replace('_', "-").to_uppercase()));
    let unread = if socket.receive_queue > 0 { "not read by this process" } else { "all data was read" };
    fact("receive queue", &format!("{} ({unread})", size(socket.receive_queue.into())));
    let unsent = match (socket.send_queue, socket.state) {
        (0, _) => "0B (all data was acknowledged)".to_owned(),
        (_, tcp_state::SYN_SENT) => "the SYN (not acknowledged by the peer)".to_owned(),
        (bytes, _) => format!("{} (not acknowledged by the peer)", size(bytes.into())),
    };
    fact("send queue", &unsent);
    let Sockets { in_flight, retransmits, backoff, window_probes, .. } = *socket;
    let flight = match (in_flight, retransmits) {
        (0, 0) => "none in flight, none retransmitted".to_owned(),
        (flight, again) => format!("{flight} in flight, {again} retransmitted, timeout doubled {backoff} times"),
    };
    fact("segments", &flight);
    let window = match socket.peer_window {
        peer_window::ZERO => "zero: the peer accepts no data",
        peer_window::SMALL => "small",
        peer_window::OPEN => "open",
        _ => "unknown",
    };
    let probes = if window_probes > 0 { format!(", {window_probes} probes") } else { String::new() };
    fact("peer's window", &format!("{window}{probes}"));
    let (sent, received) = (ago(socket.last_sent_ms), ago(socket.last_received_ms));
    fact("last segment", &format!("sent {sent}, received {received} before that"));
}

fn thread_words(thread: &ThreadFact) -> String {
    let call = match (&thread.call, &thread.wait_channel) {
        (Some(call), Some(channel)) => format!(" in {} ({})", Visible(call), Visible(channel)),
        (Some(call), None) => format!(" in {}", Visible(call)),
        (None, Some(channel)) => format!(" ({})", Visible(channel)),
        (None, None) => String::new(),
    };
    let cpu = thread.cpu.map_or_else(String::new, |cpu| format!(", {:.0} % CPU", cpu * 100.0));
    let still = match thread.still_ns {
        0 => String::new(),
        still if thread.doing == Doing::OnCpu => format!(", seen for {}", time(still)),
        still => format!(", idle for {}", time(still)),
    };
    format!("{} {} ({}) {}{call}{cpu}{still}", thread.tid, Visible(&thread.name), thread.state, thread.doing.words())
}
