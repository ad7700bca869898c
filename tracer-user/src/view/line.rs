//! An incident in one line: its subject, and what is wrong, in few words.

use super::{subject::hang_age, tense::past, viewpoint::Viewpoint};
use crate::{
    analysis::detector::{
        Attempt, Course, Doing, Evidence, HangEvidence, HangResult, Incident, LateCourse, Reason, RetryEvidence,
        RetryResult, State, Trend,
    },
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Failure, Outcome},
    },
    text::{escape::Visible, redact::Redactor, units},
};

/// Attempts that have a sign each, at most.
const DOTS: usize = 8;
/// Number of attempts from which on quick ones are reported together.
const CHATTY: u32 = 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Picture before the subject.
    pub picture: Picture,
    /// Its subject, redacted and escaped.
    pub about: String,
    /// Words, most important first. A reader without room leaves out the last ones.
    pub words: Vec<String>,
}

/// A picture that fits into a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// None.
    None,
    /// A sign for each attempt of a retry chain, and their number.
    Attempts(String, u32),
    /// The age of a call that hangs, and whether it still does.
    Age(String, bool),
}

/// The line of an incident.
pub fn line(incident: &Incident, viewpoint: &Viewpoint<'_>) -> Line {
    let evidence = &incident.report.evidence;
    let about = Visible(&about(evidence, viewpoint.redactor)).to_string();
    let (picture, words) = match evidence {
        Evidence::Retry(evidence) => {
            (Picture::Attempts(dots(evidence), evidence.attempts), retry(incident, evidence, viewpoint))
        }
        Evidence::Hang(evidence) => {
            let age = hang_age(incident, evidence, viewpoint);
            (Picture::Age(age, evidence.result == HangResult::Ongoing), hang(evidence, viewpoint))
        }
        evidence => (Picture::None, other(evidence, viewpoint)),
    };
    Line { picture, about, words }
}

/// The subject of an incident: a call, an upstream, a listen queue. Redacted, but not escaped.
pub fn about(evidence: &Evidence, redactor: Redactor) -> String {
    match evidence {
        Evidence::Retry(evidence) => evidence.call(redactor),
        Evidence::Hang(evidence) => evidence.name(redactor),
        Evidence::ErrorBurst(evidence) => evidence.subject(redactor),
        Evidence::Slow(evidence) => evidence.subject(redactor),
        Evidence::Duplicate(evidence) => evidence.call(redactor),
        Evidence::Stale(evidence) => format!("reused connections to {}", evidence.upstream(redactor)),
        Evidence::Leak(evidence) => format!("connections to {}", redactor.authority(&evidence.remote)),
        Evidence::Pool(evidence) => format!("connections to {}", redactor.authority(&evidence.remote)),
        Evidence::Late(_) => "responses of this process".to_owned(),
        Evidence::Listen(evidence) => format!("listen queue of {}", evidence.address),
    }
}

/// `✗✗✗◌`: attempts that failed, that did not, and that are open; the first and the last of many.
fn dots(evidence: &RetryEvidence) -> String {
    let dot = |attempt: &Attempt| match (attempt.failure, attempt.ended) {
        (Some(_), _) => '✗',
        (None, Some(_)) => '✓',
        (None, None) => '◌',
    };
    let listed = &evidence.listed;
    if evidence.attempts as usize <= DOTS && listed.len() == evidence.attempts as usize {
        return listed.iter().map(dot).collect();
    }
    let tail = listed.len().saturating_sub(3);
    let head = listed.iter().take(tail.min(4)).map(dot);
    head.chain(['…']).chain(listed[tail..].iter().map(dot)).collect()
}

/// `next in 1.2s`: time until the next attempt.
pub fn due(due: Timestamp, now: Timestamp) -> String {
    if due > now {
        format!("next in {}", units::duration(Some(due.since(now))))
    } else {
        format!("due {} ago", units::duration(Some(now.since(due))))
    }
}

/// A retry chain, most urgent first.
fn retry(incident: &Incident, evidence: &RetryEvidence, viewpoint: &Viewpoint<'_>) -> Vec<String> {
    let now = viewpoint.store.now();
    let is_over = viewpoint.is_over();
    let mut said = Vec::new();
    match evidence.result {
        RetryResult::Ongoing => {
            if is_over || incident.state == State::Closed {
                said.push("open at the end".to_owned());
            }
            said.extend(foretold(incident, evidence, now).filter(|_| !is_over).map(|next| due(next, now)));
            said.extend(evidence.last_failure().map(|last| format!("last {}", failure(last))));
        }
        RetryResult::Recovered => said.push(match evidence.answer {
            Some(status) => format!("recovered: {status}"),
            None => "recovered".to_owned(),
        }),
        RetryResult::Bypassed => {
            let got = evidence.caller.as_ref().and_then(|caller| caller.got.as_deref()).unwrap_or("a response");
            said.push(format!("failed, caller got {} anyway", Visible(got)));
        }
        RetryResult::GaveUp => {
            let got = evidence.caller.as_ref().and_then(|caller| caller.got.as_deref());
            said.push(match got {
                Some(got) => format!("GAVE UP, caller got {}", Visible(got)),
                None => "GAVE UP".to_owned(),
            });
            said.extend(evidence.last_failure().map(|last| format!("last {}", failure(last))));
        }
    }
    if let Some(pattern) = evidence.pattern {
        let factor = evidence.factor.map_or_else(String::new, |factor| format!(" x{factor:.1}"));
        said.push(format!("{}{factor}", pattern.name()));
    }
    said
}

/// Time of the next attempt. Quick attempts are not reported one by one, so one that is due may be long over: then `None`.
fn foretold(incident: &Incident, evidence: &RetryEvidence, now: Timestamp) -> Option<Timestamp> {
    const QUICK: u64 = 1_000_000_000;
    let next = evidence.next_due?;
    (next > now || next.since(incident.updated) >= QUICK || evidence.attempts < CHATTY).then_some(next)
}

fn failure(failure: Failure) -> String {
    match failure {
        Failure::Status(status) => status.to_string(),
        Failure::Outcome(Outcome::Refused) => "refused".to_owned(),
        Failure::Outcome(Outcome::Reset) => "reset".to_owned(),
        Failure::Outcome(Outcome::Closed) => "closed".to_owned(),
        Failure::Outcome(Outcome::ClientTimeout) => "timed out".to_owned(),
        Failure::Outcome(_) => failure.words().into_owned(),
    }
}

fn hang(evidence: &HangEvidence, viewpoint: &Viewpoint<'_>) -> Vec<String> {
    let goes_on = evidence.result == HangResult::Ongoing && !viewpoint.is_over();
    let why = if goes_on { why(evidence) } else { past(&why(evidence)) };
    let had = |result: &str| vec![result.to_owned(), format!("it was: {why}")];
    match evidence.result {
        HangResult::Ongoing => vec![why],
        HangResult::Answered => had("was answered"),
        HangResult::Failed => had(&evidence.status.map_or_else(|| "FAILED".to_owned(), |status| status.to_string())),
        HangResult::ClientGone => had("CLIENT GONE"),
        HangResult::Resumed => had("resumed"),
        HangResult::Connected => had("connected"),
        HangResult::Reset => had("RESET"),
        HangResult::Closed => had("CLOSED"),
        HangResult::Refused => had("REFUSED"),
        HangResult::NoConnection(outcome) => had(outcome.word().unwrap_or("NO CONNECTION")),
        HangResult::ClientTimeout => {
            let times =
                if evidence.equal_timeouts > 1 { format!(", {}x", evidence.equal_timeouts) } else { String::new() };
            let timeout =
                evidence.timeout.map_or_else(String::new, |time| format!(" at {}", units::duration(Some(time))));
            had(&format!("GAVE UP{timeout}{times}"))
        }
        HangResult::Over => had("over"),
    }
}

/// The side that does not act, and what it does not do, in few words.
fn why(evidence: &HangEvidence) -> String {
    let this = match (evidence.doing, &evidence.outbound) {
        (Some(Doing::OutboundCall), Some(outbound)) => {
            format!("this process waits for {}", Visible(&outbound.remote))
        }
        (Some(doing), _) => format!("this process {}", does(doing)),
        (None, _) => String::new(),
    };
    let this = if evidence.doing_is_likely && !this.is_empty() { format!("{this}?") } else { this };
    let words = match evidence.reason {
        Reason::QueryUnanswered => "the name server is silent",
        Reason::SynUnanswered => "no response to the SYN",
        Reason::Unacknowledged => "not acknowledged: network or peer gone",
        Reason::ZeroWindow => "the peer does not read (zero window)",
        Reason::Unanswered => "the peer's application does not respond",
        Reason::NoContinue => "the peer sends no 100 Continue",
        Reason::ContinueNotSent => "this process sends no 100 Continue",
        Reason::BodyStalled => "the peer stopped mid-response",
        Reason::RequestStalled => "the client stopped mid-request",
        Reason::Unread => "this process does not read the response",
        Reason::CloseUnnoticed => "peer closed, this process ignores it",
        Reason::RequestUnwritten => "this process stopped mid-request",
        Reason::ResponseUnwritten => "this process stopped mid-response",
        Reason::NotServed if this.is_empty() => "this process does not respond",
        Reason::NotServed => return this,
        Reason::Unknown => "the stalled side is unknown",
    };
    words.to_owned()
}

fn does(doing: Doing) -> &'static str {
    match doing {
        Doing::Stopped => "is stopped",
        Doing::OnCpu => "is computing",
        Doing::Lock => "waits for a lock or thread",
        Doing::Sleep => "sleeps",
        Doing::OutboundCall => "waits for its own call",
        Doing::Socket => "waits on a socket",
        Doing::Pipe => "waits on a pipe",
        Doing::Child => "waits for a child process",
        Doing::File => "waits on a file",
        Doing::EventLoop => "is idle in its event loop",
        Doing::Uninterruptible => "is stuck in the kernel",
        Doing::Runs | Doing::Other => "does not respond",
    }
}

/// The kinds that have no picture in the line.
fn other(evidence: &Evidence, viewpoint: &Viewpoint<'_>) -> Vec<String> {
    let time = |nanoseconds: u64| units::duration(Some(nanoseconds));
    let said = match evidence {
        // They have functions of their own.
        Evidence::Retry(_) | Evidence::Hang(_) => Vec::new(),
        Evidence::ErrorBurst(evidence) => {
            let (failures, total, share) = (evidence.failures, evidence.total, evidence.share * 100.0);
            let mut said = vec![match (evidence.course, evidence.share_before) {
                (Course::Recovered, _) => format!("recovered: {failures} of {total} failed"),
                (Course::Stopped, _) => {
                    let since = viewpoint.clock_time(evidence.last_call);
                    format!("no more calls since {}, {failures} of {total} failed", &since[..8])
                }
                (Course::Ongoing, _) if evidence.no_connection.is_some() => {
                    format!("{failures} of {total} not connected")
                }
                (Course::Ongoing, Some(before)) => format!("{share:.0} % failing ({:.0} % before)", before * 100.0),
                (Course::Ongoing, None) => format!("{share:.0} % failing"),
            }];
            match evidence.trend {
                _ if evidence.course != Course::Ongoing => {}
                Trend::Worse => said.push("getting worse".to_owned()),
                Trend::Better => said.push("getting better".to_owned()),
                Trend::Steady => {}
            }
            said.extend(evidence.kinds.first().map(|(kind, _)| {
                let mostly = if evidence.kinds.len() > 1 { "mostly " } else { "" };
                format!("{mostly}{}", Visible(&kind.replace('_', " ")))
            }));
            said
        }
        Evidence::Slow(evidence) if evidence.over => {
            vec![format!("no longer slow: {}", time(evidence.now)), format!("was up to {}", time(evidence.longest))]
        }
        Evidence::Slow(evidence) => {
            vec![format!("slow: {}", time(evidence.now)), format!("usually {}", time(evidence.usual.0))]
        }
        Evidence::Duplicate(evidence) => {
            let was = if evidence.role == Role::Client { "sent" } else { "received" };
            let mut said = vec![format!("{was} twice concurrently")];
            if !evidence.results.is_empty() {
                said.push(format!("got {}", Visible(&evidence.results.join(" and "))));
            }
            said.push(format!("{} apart", time(evidence.apart)));
            said
        }
        Evidence::Stale(evidence) => {
            let idle = time(evidence.idle.last().copied().unwrap_or_default());
            let times = match evidence.failures {
                1 => "failed".to_owned(),
                times => format!("failed {times}x"),
            };
            vec![format!("{times} after {idle} idle"), evidence.outcome.replace('_', " ")]
        }
        Evidence::Leak(evidence) if evidence.over => vec![format!("closing again, {} open", evidence.open)],
        Evidence::Leak(evidence) => {
            vec![format!("growing: {} open", evidence.open), format!("none closed for {}", time(evidence.growing))]
        }
        Evidence::Late(evidence) => {
            let (gone, total, waited) = (evidence.gone, evidence.total, time(evidence.waited.1));
            let course = match evidence.course {
                LateCourse::Ongoing => "too late",
                LateCourse::Recovered => "in time again",
                LateCourse::Stopped => "no more calls",
                LateCourse::Ended => "process ended",
            };
            vec![format!("{course}: {gone} of {total} callers gone"), format!("after {waited}")]
        }
        Evidence::Listen(evidence) if evidence.over => {
            vec!["cleared".to_owned(), format!("up to {} waited", evidence.most)]
        }
        Evidence::Listen(evidence) => {
            let (waiting, limit) = (evidence.waiting, evidence.limit);
            let mut said = vec![format!("{waiting} waiting to be accepted (limit {limit})")];
            if evidence.no_descriptors() {
                said.push("no free descriptor".to_owned());
            } else if evidence.is_full() {
                said.push("full".to_owned());
            }
            said
        }
        Evidence::Pool(evidence) if evidence.over => {
            vec!["cleared".to_owned(), format!("after {}", time(evidence.lasting))]
        }
        Evidence::Pool(evidence) => {
            vec![format!("all {} busy", evidence.busy), format!("{} callers waiting", evidence.inbound)]
        }
    };
    if viewpoint.is_over() { said.iter().map(|words| past(words)).collect() } else { said }
}
