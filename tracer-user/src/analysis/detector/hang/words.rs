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
            (Reason::QueryUnanswered, true) => "the name server does not answer",
            (Reason::QueryUnanswered, false) => "the name server had not answered",
            (Reason::SynUnanswered, true) => "no answer to its SYN: the peer is unreachable, or drops it",
            (Reason::SynUnanswered, false) => "there was no answer to its SYN: the peer was unreachable, or dropped it",
            (Reason::Unacknowledged, true) => {
                "what was sent is not acknowledged: the network, or the peer's host is gone"
            }
            (Reason::Unacknowledged, false) => {
                "what was sent was not acknowledged: the network, or the peer's host was gone"
            }
            (Reason::ZeroWindow, true) if self.unix => "the peer's receive buffer is full, nothing reads there",
            (Reason::ZeroWindow, true) => "the peer's receive buffer is full, nothing reads there (zero window)",
            (Reason::ZeroWindow, false) => "the peer's receive buffer was full, nothing read there",
            (Reason::Unanswered, true) if self.unix => "the peer has read or could read all, and does not answer",
            (Reason::Unanswered, true) => "the peer's host has acknowledged all, its application does not answer",
            (Reason::Unanswered, false) if self.unix => "the peer had not answered",
            (Reason::Unanswered, false) => "the peer's host had acknowledged all, its application had not answered",
            (Reason::NoContinue, true) => "it waits for 100 Continue, which the peer's application does not send",
            (Reason::NoContinue, false) => "it waited for 100 Continue, which the peer's application did not send",
            (Reason::ContinueNotSent, true) => {
                "the client waits for 100 Continue before it sends the content, and this process does not send it"
            }
            (Reason::ContinueNotSent, false) => {
                "the client waited for 100 Continue before it sends the content, and this process did not send it"
            }
            (Reason::BodyStalled, true) if self.head_begun() => {
                "the first bytes of an answer have come, and nothing more: its head is not whole"
            }
            (Reason::BodyStalled, true) => "the peer's application stopped within its response",
            (Reason::BodyStalled, false) => "the peer's application had stopped within its response",
            (Reason::RequestStalled, true) => "the client stopped within its request",
            (Reason::RequestStalled, false) => "the client had stopped within its request",
            (Reason::Unread, true) => "bytes have come that this process does not read",
            (Reason::Unread, false) => "bytes had come that this process did not read",
            (Reason::CloseUnnoticed, true) => "the peer has closed, and this process takes no notice",
            (Reason::CloseUnnoticed, false) => "the peer had closed, and this process took no notice",
            (Reason::RequestUnwritten, true) => "this process stopped within its request",
            (Reason::RequestUnwritten, false) => "this process had stopped within its request",
            (Reason::ResponseUnwritten, true) => "this process stopped within its response",
            (Reason::ResponseUnwritten, false) => "this process had stopped within its response",
            (Reason::NotServed, true) => "this process has the request and does not answer",
            (Reason::NotServed, false) => "this process had the request and did not answer",
            (Reason::Unknown, true) => "what is known does not tell who does not move",
            (Reason::Unknown, false) => "what is known does not tell who did not move",
        }
    }

    fn head_begun(&self) -> bool {
        self.moved_last == Some("response_head_begun")
    }

    /// Uncertainty of a call that may be silent on purpose, in words; empty otherwise.
    fn purpose_words(&self) -> String {
        let last = match self.moved_last {
            Some("response_content") => "; content of the response moved last",
            Some("response_head" | "response_head_begun") => "; the head of the response moved last",
            Some("interim_response") => "; an interim response moved last",
            Some("request") => "; the request moved last",
            _ => "",
        };
        let silent = duration(self.threshold);
        match self.perhaps_on_purpose {
            Some("stream") => format!(
                "; or it is a stream that is silent on purpose, which looks the same (told from {silent} of silence on{last})"
            ),
            Some(_) => format!(
                "; or it waits for news on purpose, which looks the same (told from {silent} of silence on{last})"
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
            return "no thread works on it: its handler waits for something that has not come, and no call of its own is \
                    open"
                .to_owned();
        }
        if doing == Doing::EventLoop && matches!(self.reason, Reason::Unread | Reason::CloseUnnoticed) {
            return "no thread waits for it: the process is in its event loop and leaves it alone".to_owned();
        }
        let likely = if self.doing_is_likely { "perhaps " } else { "" };
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
            format!(", {} without a byte", duration(self.stalled))
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
                let gone = if self.client_gone { "; its client has gone" } else { "" };
                let hangs = if self.perhaps_on_purpose.is_some() { "is silent" } else { "hangs" };
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
                    times => format!(", {times} times after the same"),
                };
                let timeout = self.timeout.map_or_else(String::new, |timeout| format!(" of {}", duration(timeout)));
                format!("{name} was given up by this process after {least}{age} (its time-out{timeout}{times}): {why}")
            }
            _ => format!("{name} {result} after {least}{age}: {why}"),
        }
    }

    fn advice(&self) -> String {
        if self.forgotten > 1 {
            return "Read each answer to its end, or close it, also where nothing of it is wanted: each holds a connection."
                .to_owned();
        }
        let advice = match (self.reason, self.doing) {
            (Reason::QueryUnanswered, _) => "Check that the name server in /etc/resolv.conf can be reached.",
            (Reason::SynUnanswered, _) => {
                "Check that the peer's host is up, and routes and firewalls on the way; a listener whose queue is full \
                 drops SYNs too."
            }
            (Reason::Unacknowledged, _) => "Check the way to the peer, and that its host is up: nothing of it answers.",
            (Reason::ZeroWindow, _) => "Look at the peer: its host answers, but its application reads nothing.",
            (Reason::Unanswered | Reason::NoContinue | Reason::BodyStalled, _) => {
                if self.has_timeout || self.result == HangResult::ClientTimeout {
                    "Look at the peer's application: the request is there, and it does not go on."
                } else {
                    "Look at the peer's application: the request is there, and it does not go on. Give the client a \
                     time-out if it has none."
                }
            }
            (Reason::ContinueNotSent, _) => {
                "Let the server send 100 Continue where a request expects it, or a final status at once (RFC 9110 section \
                 10.1.1)."
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
            (_, Some(Doing::Child)) => "This process waits for another program that it has started: look at that one.",
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
            ("perhaps_on_purpose", Value::from(self.perhaps_on_purpose)),
            ("moved_last", Value::from(self.moved_last)),
            ("status", self.status.map_or(Value::Null, |status| Value::Count(status.into()))),
            ("client_gone", Value::Flag(self.client_gone)),
            ("forgotten", Value::Count(self.forgotten.into())),
            ("socket", self.socket.as_ref().map_or(Value::Null, Sockets::value)),
        ]
    }
}
