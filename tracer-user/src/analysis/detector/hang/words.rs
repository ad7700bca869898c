//! Wording of the evidence of a call that hangs.

use super::evidence::{Call, Doing, HangEvidence, HangResult, Phase, Reason, Sockets, ThreadFact};
use crate::{
    analysis::detector::{Explain, Facts, Value, endpoint},
    text::redact::Redactor,
};

/// Formats a duration: `85ms`, `1.52s`, `2m05s`.
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
    /// Name of the call, for titles.
    pub fn name(&self, redactor: Redactor) -> String {
        let Call { method, authority, path, inbound, .. } = &self.call;
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

    /// Evidence in words; in the past tense once the call has ended.
    pub fn why(&self) -> &'static str {
        let ongoing = self.result == HangResult::Ongoing;
        match (self.reason, ongoing) {
            (Reason::QueryUnanswered, true) => "the name server does not respond",
            (Reason::QueryUnanswered, false) => "the name server had not responded",
            (Reason::SynUnanswered, true) => "no response to the SYN: the peer is unreachable or drops it",
            (Reason::SynUnanswered, false) => {
                "there was no response to the SYN: the peer was unreachable or dropped it"
            }
            (Reason::Unacknowledged, true) => {
                "sent data is not acknowledged: the network is at fault, or the peer's host is gone"
            }
            (Reason::Unacknowledged, false) => {
                "sent data was not acknowledged: the network was at fault, or the peer's host was gone"
            }
            (Reason::ZeroWindow, true) if self.unix => {
                "the peer's receive buffer is full because the peer does not read"
            }
            (Reason::ZeroWindow, true) => {
                "the peer's receive buffer is full because the peer does not read (zero window)"
            }
            (Reason::ZeroWindow, false) => "the peer's receive buffer was full because the peer did not read",
            (Reason::Unanswered, true) if self.unix => "the peer has read or can read all data but does not respond",
            (Reason::Unanswered, true) => {
                "the peer's host acknowledged all data, but the peer's application does not respond"
            }
            (Reason::Unanswered, false) if self.unix => "the peer had not responded",
            (Reason::Unanswered, false) => {
                "the peer's host had acknowledged all data, but the peer's application had not responded"
            }
            (Reason::NoContinue, true) => {
                "the request waits for 100 Continue, which the peer's application does not send"
            }
            (Reason::NoContinue, false) => {
                "the request waited for 100 Continue, which the peer's application did not send"
            }
            (Reason::ContinueNotSent, true) => {
                "the client waits for 100 Continue before it sends the content, but this process does not send 100 \
                 Continue"
            }
            (Reason::ContinueNotSent, false) => {
                "the client waited for 100 Continue before sending the content, but this process did not send 100 \
                 Continue"
            }
            (Reason::BodyStalled, true) if self.head_begun() => {
                "the first bytes of a response arrived, but its head is incomplete"
            }
            (Reason::BodyStalled, true) => "the peer's application stopped in the middle of its response",
            (Reason::BodyStalled, false) => "the peer's application had stopped in the middle of its response",
            (Reason::RequestStalled, true) => "the client stopped in the middle of its request",
            (Reason::RequestStalled, false) => "the client had stopped in the middle of its request",
            (Reason::Unread, true) => "this process does not read data that has arrived",
            (Reason::Unread, false) => "this process did not read data that had arrived",
            (Reason::CloseUnnoticed, true) => "the peer closed the connection, but this process does not notice",
            (Reason::CloseUnnoticed, false) => "the peer had closed the connection, but this process did not notice",
            (Reason::RequestUnwritten, true) => "this process stopped in the middle of its request",
            (Reason::RequestUnwritten, false) => "this process had stopped in the middle of its request",
            (Reason::ResponseUnwritten, true) => "this process stopped in the middle of its response",
            (Reason::ResponseUnwritten, false) => "this process had stopped in the middle of its response",
            (Reason::NotServed, true) => "this process received the request but does not respond",
            (Reason::NotServed, false) => "this process had received the request but did not respond",
            (Reason::Unknown, true) => "the available data does not show which side is stalled",
            (Reason::Unknown, false) => "the available data does not show which side was stalled",
        }
    }

    fn head_begun(&self) -> bool {
        self.moved_last == Some("response_head_begun")
    }

    /// Uncertainty of a call that may be silent on purpose, in words; empty otherwise.
    fn purpose_words(&self) -> String {
        let last = match self.moved_last {
            Some("response_content") => "; the last data was response content",
            Some("response_head" | "response_head_begun") => "; the last data was the response head",
            Some("interim_response") => "; the last data was an interim response",
            Some("request") => "; the last data was the request",
            _ => "",
        };
        let silent = duration(self.threshold);
        match self.perhaps_on_purpose {
            Some("stream") => format!(
                "; or it is an intentionally silent stream, which looks the same (reported after {silent} of \
                 silence{last})"
            ),
            Some(_) => format!(
                "; or it is a long poll that waits intentionally, which looks the same (reported after {silent} of \
                 silence{last})"
            ),
            None => String::new(),
        }
    }

    /// Activity of the thread that has to act or waits, in words; empty if unknown.
    pub fn threads_words(&self) -> String {
        let (Some(doing), Some(thread)) = (self.doing, self.threads.first()) else { return String::new() };
        let own = matches!(
            self.reason,
            Reason::NotServed | Reason::ResponseUnwritten | Reason::RequestUnwritten | Reason::ContinueNotSent
        );
        if doing == Doing::EventLoop && self.outbound.is_none() && own {
            return "no thread is working on it: its handler waits for an event, and it has no open outbound call"
                .to_owned();
        }
        if doing == Doing::EventLoop && matches!(self.reason, Reason::Unread | Reason::CloseUnnoticed) {
            return "no thread waits for it: the process is in its event loop and ignores this connection".to_owned();
        }
        let likely = if self.doing_is_likely { "possibly " } else { "" };
        let Some(outbound) = &self.outbound else {
            return format!("{likely}thread {} ({}) {}", thread.tid, thread.name, thread.does(doing));
        };
        let call = thread.call.as_deref().map_or_else(String::new, |call| format!(" in {call}"));
        format!("{likely}thread {} ({}) {} to {}{call}", thread.tid, thread.name, doing.words(), outbound.remote)
    }
}

impl ThreadFact {
    /// Activity in words, with the object that the thread waits for.
    pub fn does(&self, doing: Doing) -> String {
        let call = self.call.as_deref().map_or_else(String::new, |call| format!(" in {call}"));
        match (doing, &self.child, &self.peer) {
            (Doing::Child, Some((pid, name)), _) if name.is_empty() => {
                format!("waits for its child process {pid}{call}")
            }
            (Doing::Child, Some((pid, name)), _) => format!("waits for its child process {pid} ({name}){call}"),
            (Doing::Socket, _, Some(peer)) => format!("waits on a socket to {peer}{call}"),
            (doing, ..) => format!("{}{call}", doing.words()),
        }
    }
}

impl Explain for HangEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let address = endpoint::others(self.call.address.as_deref(), &self.call.authority, redactor);
        let name = format!("{}{address}", self.name(redactor));
        let least = if self.age_is_lower_bound { "at least " } else { "" };
        let age = duration(self.age);
        let stalled = if self.stalled.saturating_add(self.age / 10) < self.age {
            format!(", {} without progress", duration(self.stalled))
        } else {
            String::new()
        };
        let why = self.why();
        let result = self.result.words();
        if self.forgotten > 1 {
            let forgotten = self.forgotten;
            let tense = if self.result == HangResult::Ongoing { "are" } else { "were" };
            return format!("{forgotten} calls like {name} {tense} forgotten by this process (a leak): {why}");
        }
        match self.result {
            HangResult::Ongoing => {
                let threads = self.threads_words();
                let gap = if threads.is_empty() { "" } else { "; " };
                let gone = if self.client_gone { "; its client has disconnected" } else { "" };
                let hangs = if self.perhaps_on_purpose.is_some() { "has been silent" } else { "has been hanging" };
                let purpose = self.purpose_words();
                format!("{name} {hangs} for {least}{age}{stalled}: {why}{gap}{threads}{gone}{purpose}")
            }
            HangResult::Failed => {
                let status = self.status.map_or_else(String::new, |status| format!(" with {status}"));
                format!("{name} failed{status} after {least}{age}: {why}")
            }
            HangResult::ClientTimeout => {
                let times = match self.equal_timeouts {
                    0 | 1 => String::new(),
                    times => format!(", {times} times in a row"),
                };
                let timeout = self.timeout.map_or_else(String::new, |timeout| format!(" of {}", duration(timeout)));
                format!(
                    "{name} was abandoned by this process after {least}{age} (client timeout{timeout}{times}): {why}"
                )
            }
            _ => format!("{name} {result} after {least}{age}: {why}"),
        }
    }

    fn advice(&self) -> String {
        if self.forgotten > 1 {
            return "Read each response to its end or close it, even if its content is not needed: each unread \
                    response holds a connection."
                .to_owned();
        }
        let advice = match (self.reason, self.doing) {
            (Reason::QueryUnanswered, _) => "Check that the name server in /etc/resolv.conf is reachable.",
            (Reason::SynUnanswered, _) => {
                "Check that the peer's host is up, and check the routes and firewalls to it; a listener with a full \
                 queue also drops SYNs."
            }
            (Reason::Unacknowledged, _) => {
                "Check the network to the peer and that its host is up: the host does not respond."
            }
            (Reason::ZeroWindow, _) => "Examine the peer: its host responds, but its application does not read.",
            (Reason::Unanswered | Reason::NoContinue | Reason::BodyStalled, _) => {
                if self.has_timeout || self.result == HangResult::ClientTimeout {
                    "Examine the peer's application: it has the request but makes no progress."
                } else {
                    "Examine the peer's application: it has the request but makes no progress. Set a client timeout \
                     if there is none."
                }
            }
            (Reason::ContinueNotSent, _) => {
                "Make the server send 100 Continue, or a final status at once, when a request expects it (RFC 9110 \
                 section 10.1.1)."
            }
            (Reason::RequestStalled, _) => "Examine the client; a server should have a timeout for reading requests.",
            _ if self.doing_is_likely => {
                "Examine this process: a stack trace of its threads shows the exact cause (gdb, jstack, py-spy)."
            }
            (_, Some(Doing::Stopped)) => {
                "The process is stopped: continue it with kill -CONT, or resume it in the debugger."
            }
            (_, Some(Doing::OnCpu)) => "The thread is computing: profile it (perf top -t TID).",
            (_, Some(Doing::Lock)) => {
                "The thread waits for another thread: take a stack trace of all threads (gdb, jstack, py-spy)."
            }
            (_, Some(Doing::Child)) => "This process waits for a program that it started: examine that program.",
            (_, Some(Doing::OutboundCall)) => "This process waits for its own outbound call: examine that call.",
            (_, Some(Doing::Uninterruptible)) => {
                "The thread is blocked in the kernel: check disks and network file systems."
            }
            (Reason::Unknown, _) => {
                "The kernel could not be queried about this connection; `pidtap doctor` may show why."
            }
            _ => "Examine this process: a stack trace of its threads shows where it waits (gdb, jstack, py-spy).",
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
            ("perhaps_on_purpose", Value::from(self.perhaps_on_purpose)),
            ("moved_last", Value::from(self.moved_last)),
            ("status", self.status.map_or(Value::Null, |status| Value::Count(status.into()))),
            ("client_gone", Value::Flag(self.client_gone)),
            ("forgotten", Value::Count(self.forgotten.into())),
            ("socket", self.socket.as_ref().map_or(Value::Null, Sockets::value)),
        ]
    }
}
