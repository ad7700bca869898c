//! A call that hangs: what each side did last, what the kernel and the threads tell.

use std::{fmt::Write as _, sync::Arc};

use super::{
    page::{Part, Rows, Target},
    scale::{Scale, Track},
    subject::Subject,
};
use crate::{
    analysis::detector::{Doing, Evidence, HangEvidence, HangResult, Incident, Phase, Sockets, ThreadFact, WaitingOn},
    event::{
        Timestamp,
        wire::{peer_window, tcp_state},
    },
    model::exchange::{Exchange, Fields, Outcome},
    text::{escape::Visible, units},
    tui::{
        overview::{draw_incident, hang_age, place},
        tense::past,
        theme::Tone,
    },
};

/// What the kernel has times of: they begin with the handshake.
const LAST: &str = "last data, or the handshake";
/// Columns for the names of the two sides.
const SIDES: u16 = 17;
/// Other incidents that are shown with it.
const RELATED: usize = 3;

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

fn size(bytes: u64) -> String {
    units::size(Some(bytes))
}

/// `body 16B of 4.1kB`; nothing where there is none.
fn body(bytes: u64, headers: &Fields) -> Option<String> {
    let announced =
        headers.get("content-length").and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    match announced.unwrap_or(bytes) {
        0 => None,
        announced if announced == bytes => Some(format!("body {}", size(bytes))),
        announced => Some(format!("body {} of {}", size(bytes), size(announced))),
    }
}

/// What one side sent: from when to when, and what it was.
#[derive(Default)]
struct Side {
    sent: Vec<(Timestamp, Timestamp)>,
    what: String,
}

/// The call's exchange, where it is one and is remembered.
fn own(subject: &Subject<'_>) -> Option<Arc<Exchange>> {
    let id = subject.incident.report.exchanges.first()?;
    subject.context.store.exchange_by_id(*id).cloned()
}

/// What the asking side did, and what the answering side did.
fn sides(subject: &Subject<'_>, evidence: &HangEvidence) -> [Side; 2] {
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
        (if connects { "SYN, to connect" } else { "not seen" }).clone_into(&mut asking.what);
    }
    if answering.what.is_empty() {
        let connects = evidence.phase == Phase::Connect;
        let begun = evidence.moved_last == Some("response_head_begun");
        let none = if begun { "the first bytes of an answer" } else { "not a byte of an answer" };
        (if connects { "nothing came back" } else { none }).clone_into(&mut answering.what);
    }
    [asking, answering]
}

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
            None => what.push("request, its head was not seen".to_owned()),
        }
        if evidence.phase == Phase::Send {
            what.push("not the whole".to_owned());
        }
    }
    asking.what = what.join(", ");
}

/// What the kernel remembers of a connection: what lies in its queues, and when data moved last.
fn from_kernel(own: &mut Side, peer: &mut Side, evidence: &HangEvidence, socket: &Sockets, since: Timestamp) {
    if evidence.phase == Phase::Connect {
        if own.sent.is_empty() {
            own.sent.push((since, since));
        }
        if socket.retransmits > 0 {
            own.what = format!("SYN, sent again {} times", socket.retransmits);
        }
        return;
    }
    let ago = |milliseconds: u32| {
        let time = socket.time.0.checked_sub(u64::from(milliseconds) * 1_000_000)?;
        Some((Timestamp(time), Timestamp(time)))
    };
    if socket.receive_queue > 0 {
        peer.sent.extend(ago(socket.last_received_ms));
        peer.what = format!("{} came, not read by this process", size(socket.receive_queue.into()));
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

/// Both sides over time.
pub(super) fn timeline(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &HangEvidence) {
    rows.rule("What each side did last, to scale", "█ bytes  ┄ silence  ▲ should move");
    let sides = sides(subject, evidence);
    let (start, until) = (subject.since(), subject.until());
    let width = rows.width().saturating_sub(SIDES + 2);
    let scale = Scale::new(start, until, width);
    let own_turn = evidence.waiting_on == WaitingOn::ThisProcess;
    let good = evidence.result.is_good();
    for (asks, side) in [true, false].into_iter().zip(sides) {
        let is_own = asks != evidence.call.inbound;
        let name = if is_own { "this process" } else { "the peer" };
        let turn = evidence.waiting_on != WaitingOn::Unknown && is_own == own_turn;
        let mut track = Track::new(width);
        let last = side.sent.iter().map(|(_, end)| *end).max();
        let from = last.map_or(0, |last| scale.column(last));
        track.fill(from, width, '┄', Tone::Faint);
        for (start, end) in side.sent {
            track.fill(scale.column(start), scale.column(end), '█', Tone::Plain);
        }
        // Beside what was sent, where there is room: behind it, else before it.
        let text = format!(" {} ", side.what);
        let length = text.chars().count() as u16;
        if from + length + 2 < width {
            track.write(from + 1, Tone::Plain, &text);
        } else if let Some(before) = from.checked_sub(length) {
            track.write(before, Tone::Plain, &text);
        }
        match (evidence.result, asks) {
            (HangResult::Ongoing, _) => track.set(width.saturating_sub(1), '│', Tone::Open),
            (_, false) if good => track.set(width.saturating_sub(1), '✓', Tone::Good),
            (HangResult::Over, _) => track.set(width.saturating_sub(1), '│', Tone::Faint),
            (_, true) | (HangResult::Closed | HangResult::Reset | HangResult::Refused, false) => {
                track.set(width.saturating_sub(1), if good { '│' } else { '✗' }, Tone::Bad);
            }
            _ => track.set(width.saturating_sub(1), '│', Tone::Faint),
        }
        rows.put(move |pen| {
            let tone = if turn { Tone::Bad } else { Tone::Plain };
            pen.skip(1).cell(1, tone, if turn { "▲" } else { "" }).cell(SIDES - 4, tone, name);
            track.draw(pen);
        });
    }
    axis(rows, subject, evidence, scale, start);
}

fn axis(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &HangEvidence, scale: Scale, start: Timestamp) {
    let width = rows.width().saturating_sub(SIDES + 2);
    let mut track = Track::new(width);
    let age = hang_age(&subject.incident, evidence, subject.context);
    track.label(width, Tone::Strong, &if subject.runs() { format!("now, +{age}") } else { format!("+{age}") });
    let hangs = Timestamp(start.0.saturating_add(evidence.threshold));
    let text = format!("╵{}: hangs", time(evidence.threshold));
    if hangs < subject.until() {
        let column = scale.column(hangs);
        let _ = track.label(column, Tone::Faint, &text) || track.label(column, Tone::Faint, "╵");
    }
    let clock = subject.context.clock_time(start);
    let before = if evidence.age_is_lower_bound { "before " } else { "" };
    track.label(0, Tone::Faint, &format!("{before}{clock}"));
    rows.put(move |pen| track.draw(pen.skip(SIDES - 1)));
}

/// The verdict in words, and what it leads to.
pub(super) fn words<'a>(rows: &mut Rows<'a>, subject: &Subject<'a>, evidence: &HangEvidence) {
    let whom = evidence.waiting_on.words();
    let goes_on = evidence.result == HangResult::Ongoing;
    let ended = goes_on && subject.context.store.summary().is_some();
    let why = evidence.why();
    let why = if goes_on && !ended { why.to_string() } else { past(why) };
    let unknown = evidence.waiting_on == WaitingOn::Unknown;
    let had = if unknown {
        "What is known does not tell who did not move.".to_owned()
    } else {
        format!("It had waited on {whom}: {why}.")
    };
    let mut text = match evidence.result {
        HangResult::Ongoing if ended && unknown => had,
        HangResult::Ongoing if ended => format!("Waited on {whom} when tracing ended: {why}."),
        HangResult::Ongoing if unknown => "What is known does not tell who does not move.".to_owned(),
        HangResult::Ongoing => format!("Waits on {whom}: {why}."),
        HangResult::ClientTimeout => {
            let times = match evidence.equal_timeouts {
                0 | 1 => String::new(),
                times => format!(", {times} times after the same"),
            };
            let timeout = evidence.timeout.map_or_else(String::new, |timeout| format!(" of {}", time(timeout)));
            format!("Given up by this process (its time-out{timeout}{times}). {had}")
        }
        result => format!("The call {}. {had}", result.words()),
    };
    let grown = if goes_on { subject.until().since(subject.incident.updated) } else { 0 };
    let silent = time(evidence.stalled + grown);
    let _ = write!(text, " Nothing moved for {silent}, while {}.", phase(evidence.phase));
    rows.words(Tone::Plain, &text);
    if goes_on && evidence.doing.is_some() && !evidence.threads.is_empty() {
        let words = evidence.threads_words();
        let words = if ended { past(&words) } else { words };
        let first = words.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        let rest = words.get(first.len()..).unwrap_or_default();
        rows.words(Tone::Plain, &format!("{first}{}.", Visible(rest)));
    }
    leads(rows, subject, evidence);
}

/// The call it waits for, and the incidents before and behind this one.
fn leads<'a>(rows: &mut Rows<'a>, subject: &Subject<'a>, evidence: &HangEvidence) {
    let context = subject.context;
    let outbound = evidence.outbound.as_ref().and_then(|outbound| outbound.exchange);
    if let Some(id) = outbound {
        let call = context.store.exchange_by_id(id).map_or_else(
            || format!("exchange {} (forgotten)", id.0),
            |exchange| {
                let (host, path) = place(exchange, context);
                let method = exchange.request.as_ref().map_or("-", |request| &request.method);
                let state = match (exchange.outcome, &exchange.response) {
                    (Outcome::InFlight, _) => "open for",
                    (_, Some(response)) => &format!("{} after", response.status),
                    (outcome, None) => outcome.word().unwrap_or("over after"),
                };
                let age = time(context.store.duration(exchange));
                format!("{} {host}{path}, {state} {age}", Visible(method))
            },
        );
        let by = evidence.outbound.as_ref().map_or("", |outbound| outbound.by);
        rows.item(Part::Lead, Target::Exchange(id), move |pen| {
            let lead = if pen.is_selected() { '>' } else { ' ' };
            pen.put(Tone::Plain, lead).put(Tone::Strong, "It waits for: ");
            pen.put(Tone::Plain, &call).put(Tone::Faint, format_args!(" (known by: {by})"));
        });
    }
    let mine = &subject.incident.report.exchanges;
    let waits_for_this = |other: &Incident| match &other.report.evidence {
        Evidence::Hang(other) => {
            other.outbound.as_ref().and_then(|call| call.exchange).is_some_and(|id| mine.contains(&id))
        }
        Evidence::Retry(other) => other.caller.as_ref().is_some_and(|caller| mine.contains(&caller.exchange)),
        _ => false,
    };
    let is_behind = |other: &Incident| outbound.is_some_and(|id| other.report.exchanges.contains(&id));
    let others = context.store.incidents().iter().filter(|other| other.id != subject.incident.id);
    let related = others.filter(|other| waits_for_this(other) || is_behind(other)).take(RELATED);
    for other in related {
        rows.item(Part::Words, Target::Incident(other.id), move |pen| draw_incident(pen, other, context));
    }
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

/// What the kernel and the threads tell.
pub(super) fn evidence(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &HangEvidence) {
    if let Some(connection) = &subject.incident.report.connection {
        let remote = Visible(&connection.remote_text);
        rows.fact("connection", &format!("#{} to {remote}", connection.id.0));
    }
    let process = &subject.incident.report.process;
    rows.fact("process", &format!("{}[{}]", Visible(&process.name), process.pid));
    match &evidence.socket {
        Some(socket) => kernel(rows, subject, socket),
        None => rows.fact("kernel", "has not told anything about the connection"),
    }
    for (index, thread) in evidence.threads.iter().enumerate() {
        rows.fact(if index == 0 { "threads" } else { "" }, &thread_words(thread));
    }
    if evidence.threads.is_empty() {
        rows.fact("threads", "not looked at");
    }
    rows.fact("hangs from", &format!("{} on, for calls like this one", time(evidence.threshold)));
    if evidence.hanging > 1 {
        rows.fact("hanging now", &format!("{} calls, this one included", evidence.hanging));
    }
}

fn kernel(rows: &mut Rows<'_>, subject: &Subject<'_>, socket: &Sockets) {
    let ago = |milliseconds: u32| time(u64::from(milliseconds) * 1_000_000);
    let clock = subject.context.clock_time(socket.time);
    rows.fact("kernel", &format!("{}, asked at {clock}", socket.state_name().replace('_', "-").to_uppercase()));
    let unread = if socket.receive_queue > 0 { "not read by this process" } else { "all was read" };
    rows.fact("receive queue", &format!("{} ({unread})", size(socket.receive_queue.into())));
    let unsent = match (socket.send_queue, socket.state) {
        (0, _) => "0B (all was acknowledged)".to_owned(),
        (_, tcp_state::SYN_SENT) => "its SYN (not acknowledged by the peer)".to_owned(),
        (bytes, _) => format!("{} (not acknowledged by the peer)", size(bytes.into())),
    };
    rows.fact("send queue", &unsent);
    let Sockets { in_flight, retransmits, backoff, window_probes, .. } = *socket;
    let flight = match (in_flight, retransmits) {
        (0, 0) => "none in flight, none sent again".to_owned(),
        (flight, again) => format!("{flight} in flight, {again} sent again, time to the next doubled {backoff} times"),
    };
    rows.fact("segments", &flight);
    let window = match socket.peer_window {
        peer_window::ZERO => "zero: the peer takes nothing",
        peer_window::SMALL => "small",
        peer_window::OPEN => "open",
        _ => "not known",
    };
    let probes = if window_probes > 0 { format!(", {window_probes} probes") } else { String::new() };
    rows.fact("peer's window", &format!("{window}{probes}"));
    let (sent, received) = (ago(socket.last_sent_ms), ago(socket.last_received_ms));
    rows.fact("last segment", &format!("sent {sent}, received {received} before that"));
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
        still => format!(", not moved for {}", time(still)),
    };
    format!("{} {} ({}) {}{call}{cpu}{still}", thread.tid, Visible(&thread.name), thread.state, thread.doing.words())
}
