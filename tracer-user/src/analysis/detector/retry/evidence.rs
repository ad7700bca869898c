//! Evidence of a retry chain, and its wording.

use strum::IntoStaticStr;

use super::pattern::{self, Gap};
use crate::{
    analysis::detector::{Explain, Facts, Value, endpoint},
    event::Timestamp,
    model::exchange::{ExchangeId, Failure, Outcome},
    text::{redact::Redactor, units},
};

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Number of the attempt; 1 for the first call.
    pub number: u32,
    /// Exchange of the attempt; `None` while it is only a connect.
    pub exchange: Option<ExchangeId>,
    /// Start: of the connect if the attempt made a connection, otherwise of the request.
    pub started: Timestamp,
    /// End; for a timeout, the estimated time at which the client stopped waiting.
    pub ended: Option<Timestamp>,
    /// Time at which the connection was closed, if that was later than `ended`.
    pub closed: Option<Timestamp>,
    /// Failure; `None` while the attempt is open, or if it did not fail.
    pub failure: Option<Failure>,
    /// Nanoseconds from the end of the previous attempt to this start; `None` for the first attempt.
    pub gap: Option<u64>,
    /// Delay in nanoseconds that the `Retry-After` field of the response requests.
    pub retry_after: Option<u64>,
    /// Whether the transport resent the request at once, because the idle connection had been closed.
    pub resent: bool,
}

impl Attempt {
    /// Whether the client gave up waiting for the answer.
    pub(super) fn timed_out(&self) -> bool {
        self.failure == Some(Failure::Outcome(Outcome::ClientTimeout))
    }
}

/// Trend of the gaps between attempts.
#[derive(Clone, Copy, Debug, PartialEq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Pattern {
    /// No gaps.
    Immediate,
    /// Equal gaps.
    Constant,
    /// Gaps that grow by a constant step.
    Linear,
    /// Gaps that grow by a constant factor.
    Exponential,
    /// Gaps that grow with random variation.
    #[strum(serialize = "exponential+jitter")]
    ExponentialJitter,
    /// Gaps that follow `Retry-After`.
    RetryAfter,
    /// None of the other patterns.
    Irregular,
}

impl Pattern {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Result of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RetryResult {
    /// Another attempt is in flight or expected.
    Ongoing,
    /// An attempt succeeded.
    Recovered,
    /// No attempt came when one was due.
    GaveUp,
    /// The caller got a response below 400 without this call, such as from another upstream.
    Bypassed,
}

impl RetryResult {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Inbound exchange on whose behalf the calls were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// ID of the inbound exchange.
    pub exchange: ExchangeId,
    /// Evidence of the link: `trace id`, `request id`, `same thread`.
    pub by: &'static str,
    /// Method of the inbound request.
    pub method: Box<str>,
    /// Path of the inbound request, with query.
    pub path: Box<str>,
    /// Status that the caller got, or outcome; `None` while it waits.
    pub got: Option<Box<str>>,
}

/// Evidence of a retry chain.
#[derive(Clone, Debug)]
pub struct RetryEvidence {
    /// Method; `None` while there were only connects.
    pub method: Option<Box<str>>,
    /// Authority of the call.
    pub authority: Box<str>,
    /// Addresses of the attempts; bounded.
    pub addresses: Vec<Box<str>>,
    /// Path with query.
    pub path: Box<str>,
    /// Number of attempts, including those before tracing if their number is known.
    pub attempts: u32,
    /// The first attempts and the latest.
    pub listed: Vec<Attempt>,
    /// Pattern of the gaps; `None` while too few are known.
    pub pattern: Option<Pattern>,
    /// Whether more gaps agree with the pattern than it needs.
    pub settled: bool,
    /// First gap of the pattern in nanoseconds.
    pub base: Option<u64>,
    /// Growth factor of the gaps.
    pub factor: Option<f64>,
    /// Growth step of the gaps in nanoseconds.
    pub step: Option<u64>,
    /// Longest gap in nanoseconds, if the gaps reached a cap.
    pub cap: Option<u64>,
    /// Whether the first retry came at once, before the pattern began.
    pub first_immediate: bool,
    /// Predicted start of the next attempt, if one is expected and predictable.
    pub next_due: Option<Timestamp>,
    /// Result of the chain.
    pub result: RetryResult,
    /// Status of the successful attempt.
    pub answer: Option<u16>,
    /// Inbound exchange that waits for the call.
    pub caller: Option<Caller>,
    /// Problems of the retry behaviour, by name.
    pub pathologies: Vec<&'static str>,
    /// Number of logical calls to this upstream so far.
    pub upstream_calls: u64,
    /// Number of attempts made for these calls.
    pub upstream_attempts: u64,
}

impl RetryEvidence {
    /// Finds the attempt of an exchange.
    pub fn attempt_of(&self, exchange: ExchangeId) -> Option<&Attempt> {
        self.listed.iter().rev().find(|attempt| attempt.exchange == Some(exchange))
    }

    /// Gap in nanoseconds before the attempt with this number.
    pub fn gap_before(&self, number: u32) -> Option<u64> {
        self.listed.iter().rev().find(|attempt| attempt.number == number)?.gap
    }

    /// Whether the attempt with this number followed the `Retry-After` of the previous one.
    pub fn came_as_asked(&self, number: u32) -> bool {
        let before = self.listed.iter().rev().find(|attempt| attempt.number + 1 == number);
        let gap = |length| Gap { length, retry_after: before.and_then(|before| before.retry_after), resent: false };
        self.gap_before(number).is_some_and(|length| pattern::obeys(&gap(length)))
    }

    /// Method and URL for display.
    pub fn call(&self, redactor: Redactor) -> String {
        let authority = redactor.authority(&self.authority);
        match &self.method {
            Some(method) => {
                let path = redactor.url(&self.path);
                let gap = if path.starts_with('/') || path.is_empty() { "" } else { " " };
                format!("{method} {authority}{gap}{path}")
            }
            None => format!("connect to {authority}"),
        }
    }

    /// Backoff in words.
    fn backoff(&self) -> Option<String> {
        let ms = |nanoseconds: Option<u64>| units::in_words(nanoseconds.unwrap_or_default());
        let cap = self.cap.map_or_else(String::new, |cap| format!(" up to {}", ms(Some(cap))));
        Some(match self.pattern? {
            Pattern::Immediate => "no backoff".to_owned(),
            Pattern::Constant => format!("constant backoff of {}", ms(self.base)),
            Pattern::Linear => format!("linear backoff: {}, +{} each time{cap}", ms(self.base), ms(self.step)),
            Pattern::Exponential => {
                format!(
                    "exponential backoff: {}, x{:.1} each time{cap}",
                    ms(self.base),
                    self.factor.unwrap_or_default()
                )
            }
            Pattern::ExponentialJitter => "backoff with jitter".to_owned(),
            Pattern::RetryAfter => "follows Retry-After".to_owned(),
            Pattern::Irregular => "irregular backoff".to_owned(),
        })
    }

    /// Failure of the latest failed attempt.
    pub fn last_failure(&self) -> Option<Failure> {
        self.listed.iter().rev().find_map(|attempt| attempt.failure)
    }
}

impl Explain for RetryEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let addresses = endpoint::others(self.addresses.iter().map(|address| &**address), &self.authority, redactor);
        let call = format!("{}{addresses}", self.call(redactor));
        let last = self.last_failure().map(|last| format!("last: {}", last.words()));
        let known = last.into_iter().chain(self.backoff()).collect::<Vec<_>>().join("; ");
        let last = if known.is_empty() { known } else { format!(" ({known})") };
        let attempts = self.attempts;
        match self.result {
            RetryResult::Ongoing => format!("{call} is being retried: attempt {attempts}{last}"),
            RetryResult::Recovered => match self.answer {
                Some(status) => format!("{call} was answered with {status} on attempt {attempts}{last}"),
                None => format!("{call} succeeded on attempt {attempts}{last}"),
            },
            RetryResult::Bypassed => {
                let got = self.caller.as_ref().and_then(|caller| caller.got.as_deref()).unwrap_or("a response");
                format!("{call} failed {attempts} times{last}; the caller got {got} anyway")
            }
            RetryResult::GaveUp => {
                let got = self.caller.as_ref().and_then(|caller| caller.got.as_deref());
                let got = got.map_or_else(String::new, |got| format!("; the caller got {got}"));
                format!("{call} gave up after {attempts} attempts{last}{got}")
            }
        }
    }

    fn advice(&self) -> String {
        let mut advice = Vec::new();
        for pathology in &self.pathologies {
            advice.push(match *pathology {
                "hot_loop" => {
                    "The client retries without a pause: add a backoff, or the retries will make the problem worse."
                }
                "non_idempotent" => {
                    "The method is not idempotent and the request has no idempotency key: a request that was executed \
                     before it failed is executed again."
                }
                "retry_after_ignored" => "The server sent a Retry-After header, but the client did not wait that long.",
                "client_error_retried" => {
                    "A 4xx status means that the request itself is wrong: retrying it does not help."
                }
                "in_step" => {
                    "Several chains retry at the same moments: add jitter, so that they do not hit the server \
                     together."
                }
                "layered" => "The caller retries too, so retries multiply: let only one layer retry.",
                _ => "",
            });
        }
        if advice.is_empty() {
            advice.push(match self.last_failure() {
                Some(Failure::Outcome(Outcome::Refused)) => {
                    "No server listens at this address: check whether the \
                    upstream is running, and on which port."
                }
                Some(Failure::Outcome(Outcome::NoLocalPort)) => {
                    "No local port is free: reuse connections, and look for connections that are not closed; more \
                     ports (net.ipv4.ip_local_port_range) only delay the problem."
                }
                Some(Failure::Outcome(outcome)) if outcome.no_connection().is_some() => {
                    "The upstream's host does not \
                    respond: check routes, firewalls and host names."
                }
                Some(Failure::Outcome(Outcome::ClientTimeout)) => {
                    "The upstream does not respond in time: find out \
                    what it waits for."
                }
                Some(Failure::Outcome(_)) => "The upstream drops the connection: check its log.",
                Some(Failure::Status(429)) => {
                    "The upstream limits the rate: send fewer requests, or request a higher limit."
                }
                Some(Failure::Status(_)) | None => "The upstream fails: check its log for these requests.",
            });
        }
        advice.join(" ")
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let ms = |nanoseconds: Option<u64>| nanoseconds.map_or(Value::Null, Value::milliseconds);
        let mut facts = vec![
            ("method", Value::from(self.method.as_deref())),
            ("authority", Value::Text(redactor.authority(&self.authority).into_owned())),
            ("path", Value::Text(redactor.url(&self.path).into_owned())),
            ("attempts", Value::Count(self.attempts.into())),
            ("gaps_ms", Value::list(self.listed.iter().filter_map(|attempt| attempt.gap), Value::milliseconds)),
            ("pattern", Value::from(self.pattern.map(Pattern::name))),
            ("settled", Value::Flag(self.settled)),
            ("factor", self.factor.map_or(Value::Null, Value::Decimal)),
            ("base_ms", ms(self.base)),
            ("step_ms", ms(self.step)),
            ("cap_ms", ms(self.cap)),
            ("first_immediate", Value::Flag(self.first_immediate)),
            ("next_due", Value::from(self.next_due)),
            ("result", self.result.name().into()),
            ("answer", self.answer.map_or(Value::Null, |status| Value::Count(status.into()))),
        ];
        let caller = self.caller.as_ref().map_or(Value::Null, |caller| {
            Value::Object(vec![
                ("exchange", caller.exchange.into()),
                ("by", caller.by.into()),
                ("method", Value::Text(caller.method.to_string())),
                ("path", Value::Text(redactor.url(&caller.path).into_owned())),
                ("got", Value::from(caller.got.as_deref())),
            ])
        });
        facts.push(("caller", caller));
        facts.push(("pathologies", Value::list(&self.pathologies, |name| (*name).into())));
        facts.push((
            "upstream",
            Value::Object(vec![
                ("calls", Value::Count(self.upstream_calls)),
                ("attempts", Value::Count(self.upstream_attempts)),
                ("amplification", Value::Decimal(self.upstream_attempts as f64 / self.upstream_calls.max(1) as f64)),
            ]),
        ));
        let attempts = self.listed.iter().map(|attempt| {
            let mut attempt_facts = vec![
                ("number", Value::Count(attempt.number.into())),
                ("exchange", attempt.exchange.into()),
                ("started", attempt.started.into()),
                ("ended", attempt.ended.into()),
                ("failure", attempt.failure.map_or(Value::Null, |failure| Value::from(&*failure.name()))),
                ("gap_ms", ms(attempt.gap)),
                ("retry_after_ms", ms(attempt.retry_after)),
                ("resent", Value::Flag(attempt.resent)),
            ];
            // Present only if it differs from the end.
            attempt_facts.extend(attempt.closed.map(|closed| ("closed", closed.into())));
            Value::Object(attempt_facts)
        });
        facts.push(("list", Value::List(attempts.collect())));
        facts
    }
}
