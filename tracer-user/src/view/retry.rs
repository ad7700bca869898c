//! A retry chain: its attempts in time, and what happens, in sentences.

use std::fmt::Write as _;

use super::{line::due, members::Members, subject::Subject};
use crate::{
    analysis::detector::{Attempt, Caller, Pattern, RetryEvidence, RetryResult},
    event::Timestamp,
    model::exchange::{ExchangeId, Failure, Outcome},
    text::{escape::Visible, units},
};

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// The latest attempts in time.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Attempts that follow each other without one left out.
    pub attempts: Vec<Attempt>,
    /// Number of attempts before them.
    pub left_out: u32,
    /// Beginning of the first attempt.
    pub start: Timestamp,
    /// End of the time shown: the next attempt where one is due, else now or the last end.
    pub end: Timestamp,
    /// Now, while the chain goes on; else the end of the chain.
    pub now: Timestamp,
    /// The chain goes on.
    pub is_open: bool,
    /// Time of the next attempt, and words for it.
    pub due: Option<(Timestamp, String)>,
    /// Ends of attempts that are not among the reported ones yet.
    pub newer: Vec<Timestamp>,
    /// Times before which the server asked not to be called again, of all attempts but the last.
    pub asked: Vec<Timestamp>,
}

impl Timeline {
    /// End of an attempt; of an open one, now.
    pub fn end_of(&self, attempt: &Attempt) -> Timestamp {
        attempt.ended.unwrap_or_else(|| self.end.min(self.now))
    }

    /// The gaps between attempts, oldest first: beginning, end, and the length where it is known.
    pub fn gaps(&self) -> impl DoubleEndedIterator<Item = (Timestamp, Timestamp, Option<u64>)> {
        self.attempts.windows(2).map(|pair| (pair[0].ended.unwrap_or(pair[0].started), pair[1].started, pair[1].gap))
    }
}

/// The timeline; `None` where no attempt was seen.
pub fn timeline(subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) -> Option<Timeline> {
    let attempts = latest(evidence);
    let first = attempts.first()?;
    let is_open = evidence.result == RetryResult::Ongoing;
    let due = next(subject, evidence, members);
    let now = subject.until();
    let last_end = attempts.iter().filter_map(|attempt| attempt.ended).max().unwrap_or(first.started);
    let end = if is_open { now.max(due.unwrap_or_default()) } else { last_end };
    let asked = attempts.iter().filter_map(|attempt| {
        let (ended, asked) = (attempt.ended?, attempt.retry_after?);
        (evidence.listed.last() != Some(attempt)).then_some(Timestamp(ended.0.saturating_add(asked)))
    });
    let newer = members.ends().filter(|end| is_open && *end > subject.incident.updated);
    Some(Timeline {
        attempts: attempts.to_vec(),
        left_out: evidence.attempts.saturating_sub(attempts.len() as u32),
        start: first.started,
        end,
        now,
        is_open,
        due: due.map(|due| (due, next_words(subject, due))),
        newer: newer.collect(),
        asked: asked.filter(|asked| *asked <= end).collect(),
    })
}

/// The latest of the listed attempts, as far as none between them is left out.
fn latest(evidence: &RetryEvidence) -> &[Attempt] {
    let listed = &evidence.listed;
    let gap = (1..listed.len()).rev().find(|index| listed[*index].number != listed[index - 1].number + 1);
    &listed[gap.unwrap_or(0)..]
}

/// Time of the next attempt, where it is known now.
fn next(subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) -> Option<Timestamp> {
    let up_to_date = members.since(subject.incident.updated) == 0;
    evidence.next_due.filter(|_| evidence.result == RetryResult::Ongoing && up_to_date)
}

fn next_words(subject: &Subject<'_>, next: Timestamp) -> String {
    if subject.runs() {
        return due(next, subject.now());
    }
    format!("was due at {}", subject.viewpoint.clock_time(next))
}

/// The course of the chain, in a few sentences.
pub fn words(subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) -> String {
    let last = evidence.last_failure().map(Failure::words);
    let open = evidence.listed.last().is_some_and(|attempt| attempt.ended.is_none());
    let attempts = evidence.attempts;
    let mut text = match (evidence.result, last) {
        (RetryResult::Ongoing, Some(last)) if open => format!("Attempt {attempts} is open; previous: {last}."),
        (RetryResult::Ongoing, Some(last)) => format!("Attempt {attempts} failed: {last}."),
        (RetryResult::Ongoing, None) => format!("Attempt {attempts} is open."),
        (RetryResult::Recovered, _) => match evidence.answer {
            Some(status) => format!("Attempt {attempts} was answered with {status}."),
            None => format!("Attempt {attempts} succeeded."),
        },
        (RetryResult::Bypassed, _) => format!("{attempts} attempts failed; the caller was answered anyway."),
        (RetryResult::GaveUp, Some(last)) => format!("Gave up after {attempts} attempts; last: {last}."),
        (RetryResult::GaveUp, None) => format!("Gave up after {attempts} attempts."),
    };
    text.push(' ');
    text.push_str(&waits(evidence));
    let newer = members.since(subject.incident.updated);
    if newer > 0 {
        let _ = write!(text, " {newer} more since then (·), not yet counted above.");
    }
    if let Some(next) = next(subject, evidence, members) {
        if subject.runs() {
            let now = subject.now();
            let _ = if next > now {
                write!(text, " The next attempt is due in {}.", time(next.since(now)))
            } else {
                write!(text, " The next attempt was due {} ago.", time(now.since(next)))
            };
        } else {
            let _ = write!(text, " The next attempt was due at {}.", subject.viewpoint.clock_time(next));
        }
    }
    text
}

fn waits(evidence: &RetryEvidence) -> String {
    let Some(pattern) = evidence.pattern else { return "The backoff is not known yet.".to_owned() };
    let base = evidence.base.map_or_else(|| "some time".to_owned(), time);
    let step = evidence.step.map_or_else(|| "the same".to_owned(), time);
    let cap = evidence.cap.map_or_else(String::new, |cap| format!(", up to {}", time(cap)));
    let factor = evidence.factor.unwrap_or_default();
    let ongoing = evidence.result == RetryResult::Ongoing;
    let how = match pattern {
        Pattern::Immediate if ongoing => return "The client does not wait between attempts.".to_owned(),
        Pattern::Immediate => return "The client did not wait between attempts.".to_owned(),
        Pattern::Constant => format!("{base} each time"),
        Pattern::Linear => format!("{base} at first, {step} more each time{cap}"),
        Pattern::Exponential => format!("{base} at first, x{factor:.1} each time{cap}"),
        Pattern::ExponentialJitter => format!("longer each time, with jitter{cap}"),
        Pattern::RetryAfter => "as long as the server requests (Retry-After)".to_owned(),
        Pattern::Irregular => "without a regular pattern".to_owned(),
    };
    let verb = if ongoing { "waits" } else { "waited" };
    let first = if evidence.first_immediate { " (but the first retry was immediate)" } else { "" };
    let so_far = if evidence.settled { "" } else { ", as far as is known" };
    format!("The client {verb} {how}{first}{so_far}.")
}

/// Faults of the retry policy, in a sentence; `None` without any.
pub fn pathologies(evidence: &RetryEvidence) -> Option<String> {
    let named: Vec<&str> = evidence.pathologies.iter().map(|name| pathology(name)).collect();
    (!named.is_empty()).then(|| format!("Problems: {}.", named.join("; ")))
}

fn pathology(name: &str) -> &'static str {
    match name {
        "hot_loop" => "no pause between attempts (hot loop)",
        "non_idempotent" => "the method is not idempotent",
        "retry_after_ignored" => "Retry-After is ignored",
        "client_error_retried" => "a 4xx is retried",
        "in_step" => "several chains retry in step",
        "layered" => "the caller retries too (retries multiply)",
        _ => "unknown problem",
    }
}

/// The call that waits for the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerWords {
    /// `The caller got 502`.
    pub got: String,
    /// Its method and path, redacted and escaped.
    pub call: String,
    /// Evidence of the link.
    pub by: &'static str,
    /// Its exchange.
    pub exchange: ExchangeId,
}

/// The call that waits for the chain, in words.
pub fn caller(subject: &Subject<'_>, caller: &Caller) -> CallerWords {
    let path = subject.viewpoint.redactor.url(&caller.path);
    let call = format!("{} {}", Visible(&caller.method), Visible(&path));
    // The answer to it may have come after the chain was over.
    let exchange = subject.viewpoint.store.exchange_by_id(caller.exchange);
    let got = match (&caller.got, exchange) {
        (Some(got), _) => format!("The caller got {}", Visible(got)),
        (None, Some(exchange)) if exchange.outcome == Outcome::InFlight => "The caller is still waiting".to_owned(),
        (None, Some(exchange)) => match &exchange.response {
            Some(response) => format!("The caller got {}", response.status),
            None => format!("The caller got no response ({})", exchange.outcome.name().replace('_', " ")),
        },
        (None, None) => "The caller".to_owned(),
    };
    CallerWords { got, call, by: caller.by, exchange: caller.exchange }
}

/// A row of the table of attempts.
#[derive(Clone, Debug)]
pub enum Row {
    /// Attempts that are not listed, and their number.
    LeftOut(u32),
    /// An attempt, and the factor by which its gap is longer than the one before.
    Attempt(Attempt, Option<f64>),
}

/// The table of attempts.
pub fn rows(evidence: &RetryEvidence) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut before: Option<&Attempt> = None;
    for attempt in &evidence.listed {
        if let Some(missing) = before.map(|before| attempt.number - before.number - 1).filter(|missing| *missing > 0) {
            rows.push(Row::LeftOut(missing));
        }
        let factor = before.and_then(|before| Some(attempt.gap? as f64 / before.gap.filter(|gap| *gap > 0)? as f64));
        let factor = factor.filter(|_| before.is_some_and(|before| before.number + 1 == attempt.number));
        rows.push(Row::Attempt(*attempt, factor));
        before = Some(attempt);
    }
    rows
}

/// The result of an attempt, in words.
pub fn result(attempt: &Attempt) -> String {
    match (attempt.failure, attempt.ended) {
        (Some(failure), _) => failure.words().into_owned(),
        (None, Some(_)) => "did not fail".to_owned(),
        (None, None) => "is open".to_owned(),
    }
}

/// Names and values beside the table.
pub fn facts(evidence: &RetryEvidence) -> [(&'static str, String); 2] {
    let mut pattern = evidence.pattern.map_or("not yet known", Pattern::name).to_owned();
    for (name, length) in [("base", evidence.base), ("step", evidence.step), ("cap", evidence.cap)] {
        pattern.push_str(&length.map_or_else(String::new, |length| format!(", {name} {}", time(length))));
    }
    if let Some(factor) = evidence.factor {
        let _ = write!(pattern, ", factor {factor:.2}");
    }
    let (calls, made) = (evidence.upstream_calls, evidence.upstream_attempts);
    let times = made as f64 / calls.max(1) as f64;
    let upstream = format!("{made} attempts for {calls} calls so far (x{times:.1})");
    [("backoff", pattern), ("this upstream", upstream)]
}
