//! State of one chain: its attempts, the pattern of their gaps, and its report.

use super::{
    Attempt, Caller, Pattern, RetryEvidence, RetryResult, RetryThresholds, TELL_EVERY_NS,
    call::{Call, Marks},
    fallback,
    pattern::{self, Fit, Gap},
};
use crate::{
    analysis::detector::{
        Confidence, Findings, Opened, Report,
        common_timeout::{self, FOLLOWS_AT_ONCE_NS, GivenUp},
        endpoint,
    },
    event::Timestamp,
    model::{
        connection::ConnectionId,
        exchange::{Answer, ExchangeId, Failure, ProcessRef},
    },
};

/// Maximum number of attempts kept: the first two and the latest.
const LISTED: usize = 32;
/// Maximum number of gaps used for the pattern.
const FITTED: usize = 24;

/// Attempts whose starts are this far apart (nanoseconds) are no hot loop.
const NOT_HOT_NS: u64 = 1_000_000_000;
/// Tolerated scheduling delay in nanoseconds.
const MISS_NS: u64 = 10_000_000;

/// Phase of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// The latest attempt failed.
    Waiting,
    /// The latest attempt is a connect in progress.
    Connecting(ConnectionId),
    /// The latest attempt has its connection, which has carried no bytes yet.
    Connected(ConnectionId, Timestamp),
    /// The latest attempt is in flight.
    Trying(ExchangeId),
    /// The chain was reported as given up because its caller was answered. Another attempt would resume it.
    GivenUp,
}

/// A failed call and its later attempts.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) call: Call,
    pub(super) marks: Marks,
    /// Keys for the look-up: that of the call and that of its connects.
    pub(super) keys: [u64; 2],
    pub(super) process: ProcessRef,
    pub(super) doing: Doing,
    pub(super) attempts: u32,
    pub(super) listed: Vec<Attempt>,
    gaps: Vec<Gap>,
    pub(super) fit: Fit,
    pub(super) opened: Option<Opened>,
    pub(super) said: Timestamp,
    /// Whether a change is not reported yet.
    pub(super) owed: bool,
    pub(super) deadline: Timestamp,
    pub(super) caller: Option<Caller>,
    pub(super) confidence: Confidence,
    pub(super) pathologies: Vec<&'static str>,
    /// Whether the latest failure is one that clients should not retry.
    pub(super) weak: bool,
    /// Whether the latest failure was on a reused connection without any response byte.
    pub(super) stale: bool,
    /// Whether the latest response set a cookie, which the next attempt may send.
    pub(super) cookie_set: bool,
    pub(super) answer: Option<u16>,
    /// Key of the upstream.
    pub(super) upstream: u64,
    /// Parent process, if several threads or children make the attempts one after the other.
    pub(super) loose: Option<u32>,
    /// Remote address as text.
    pub(super) remote: Box<str>,
    /// Addresses of the attempts; bounded.
    pub(super) addresses: Vec<Box<str>>,
    /// Whether the target was handling an inbound exchange at the start.
    pub(super) served: bool,
    /// Whether the attempts may be independent calls, which only clearly growing gaps rule out.
    pub(super) held: bool,
    /// Number of attempts that did not come when predicted.
    misses: u32,
}

/// End of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) time: Timestamp,
    pub(super) failure: Failure,
    pub(super) retry_after: Option<u64>,
    pub(super) weak: bool,
    pub(super) stale: bool,
    pub(super) cookie_set: bool,
}

impl Chain {
    pub(super) fn new(call: Call, marks: Marks, keys: [u64; 2], process: ProcessRef, upstream: u64) -> Self {
        Self {
            call,
            marks,
            keys,
            process,
            doing: Doing::Waiting,
            attempts: 0,
            listed: Vec::new(),
            gaps: Vec::new(),
            fit: Fit::default(),
            opened: None,
            said: Timestamp::default(),
            owed: false,
            deadline: Timestamp::default(),
            caller: None,
            confidence: Confidence::default(),
            pathologies: Vec::new(),
            weak: false,
            stale: false,
            cookie_set: false,
            answer: None,
            upstream,
            loose: None,
            remote: Box::default(),
            addresses: Vec::new(),
            served: false,
            held: false,
            misses: 0,
        }
    }

    /// Earliest time of the next report.
    pub(super) fn may_tell(&self) -> Timestamp {
        Timestamp(self.said.0.saturating_add(TELL_EVERY_NS))
    }

    /// Reports the current state.
    pub(super) fn tell(&mut self, upstream: (u64, u64), now: Timestamp, findings: &mut Findings) {
        self.owed = false;
        if let Some(opened) = self.opened {
            findings.update(opened, now, self.report(RetryResult::Ongoing, upstream));
            self.said = now;
        }
    }

    /// Time until which the connects may belong to several calls that each fall back to another address.
    pub(super) fn may_go_elsewhere(&self) -> Option<Timestamp> {
        let at_once = self.call.method.is_none() && self.gaps.iter().all(|gap| gap.length <= fallback::AT_ONCE_NS);
        at_once.then(|| Timestamp(self.span().0.0.saturating_add(fallback::OTHER_FAMILY_NS)))
    }

    /// Start and end of the latest attempt.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        self.listed.last().map_or_else(Default::default, |last| (last.started, last.ended.unwrap_or(last.started)))
    }

    /// Adds an attempt.
    pub(super) fn begin(
        &mut self,
        exchange: Option<ExchangeId>,
        started: Timestamp,
        remote: &str,
        thresholds: &RetryThresholds,
    ) {
        let address = endpoint::cut_str(remote);
        if self.addresses.len() < endpoint::NAMES && self.addresses.iter().all(|known| **known != *address) {
            self.addresses.push(address.into());
        }
        if let Some(due) = self.next_due() {
            let (_, ended) = self.span();
            let (foretold, came) = (due.since(ended), started.since(ended));
            self.misses += u32::from(foretold.abs_diff(came) > came / 4 + MISS_NS);
        }
        self.attempts = self.attempts.saturating_add(1);
        let before = self.listed.last();
        let gap = before.and_then(|before| before.ended).map(|ended| started.since(ended));
        let retry_after = before.and_then(|before| before.retry_after);
        let resent = self.stale && gap.is_some_and(|gap| gap <= thresholds.resend.as_nanos() as u64);
        self.listed.push(Attempt {
            number: self.attempts,
            exchange,
            started,
            ended: None,
            closed: None,
            failure: None,
            gap,
            retry_after: None,
            resent,
        });
        if self.listed.len() > LISTED {
            self.listed.remove(2);
        }
        if gap.is_none() {
            return;
        }
        self.add_gap(thresholds);
        self.find_timeout(false, thresholds);
        let Some(length) = self.listed.last().and_then(|last| last.gap) else { return };
        if let Some(asked) = retry_after
            && length < asked / 10 * 9
        {
            self.pathology("retry_after_ignored");
        }
        let hot = thresholds.hot_attempts.saturating_sub(1) as usize;
        let short = |pair: &&[Attempt]| {
            pair[1].gap.is_some_and(|gap| gap <= thresholds.hot_gap.as_nanos() as u64 && !pair[1].resent)
                // A client whose attempts take this long is no hot loop.
                && pair[1].started.since(pair[0].started) < NOT_HOT_NS
        };
        if hot > 0 && self.listed.windows(2).rev().take_while(short).count() >= hot {
            self.pathology("hot_loop");
        }
        if self.attempts > 1 && self.is_risky() {
            self.pathology("non_idempotent");
        }
        if self.weak {
            self.pathology("client_error_retried");
        }
    }

    /// Adds the gap before the latest attempt to the pattern.
    fn add_gap(&mut self, thresholds: &RetryThresholds) {
        let [.., before, last] = &self.listed[..] else { return };
        let Some(length) = last.gap else { return };
        if self.gaps.len() < FITTED {
            self.gaps.push(Gap { length, retry_after: before.retry_after, resent: last.resent });
            self.fit = pattern::fit(&self.gaps, thresholds);
        } else {
            self.fit.next = Some(length);
        }
    }

    /// Separates timeout and backoff for clients that close only after their backoff, and corrects the gaps. `over`
    /// means that no attempt follows the latest.
    pub(super) fn find_timeout(&mut self, over: bool, thresholds: &RetryThresholds) {
        let known = self.listed.len();
        // Attempts that are no longer listed cannot be corrected.
        if known as u32 != self.attempts.min(LISTED as u32) || known < 2 {
            return;
        }
        let closed = |attempt: &Attempt| attempt.closed.or(attempt.ended);
        let of = |index: usize, attempt: &Attempt| {
            let lasted = closed(attempt).filter(|_| attempt.timed_out())?.since(attempt.started);
            let next = self.listed.get(index + 1);
            let followed =
                next.is_some_and(|next| next.started.since(closed(attempt).unwrap_or_default()) <= FOLLOWS_AT_ONCE_NS);
            (next.is_some() || over).then_some(GivenUp { lasted, followed })
        };
        let calls: Vec<GivenUp> =
            self.listed.iter().enumerate().filter_map(|(index, attempt)| of(index, attempt)).collect();
        if calls.len() < 2 || !calls.iter().any(|call| call.followed) {
            return;
        }
        let timeout = common_timeout::common(&calls).map(|common| common.timeout);
        let mut changed = false;
        for attempt in self.listed.iter_mut().filter(|attempt| attempt.timed_out()) {
            let Some(end) = attempt.closed.or(attempt.ended) else { continue };
            let lasted = end.since(attempt.started);
            let failed = timeout.filter(|timeout| *timeout < lasted && !common_timeout::same(*timeout, lasted));
            let ended = failed.map_or(end, |timeout| Timestamp(attempt.started.0 + timeout));
            changed |= attempt.ended != Some(ended);
            attempt.ended = Some(ended);
            attempt.closed = failed.map(|_| end);
        }
        if !changed {
            return;
        }
        for index in 1..known {
            let ended = self.listed[index - 1].ended;
            if let (Some(_), Some(ended)) = (self.listed[index].gap, ended) {
                self.listed[index].gap = Some(self.listed[index].started.since(ended));
            }
        }
        // The pattern uses as many gaps.
        for (gap, attempt) in self.gaps.iter_mut().zip(self.listed.iter().filter_map(|attempt| attempt.gap)) {
            gap.length = attempt;
        }
        self.fit = pattern::fit(&self.gaps, thresholds);
    }

    /// Whether the failed request may have been executed and is repeated without protection (RFC 9110 section 9.2.2).
    fn is_risky(&self) -> bool {
        let before = self.listed.iter().rev().nth(1).and_then(|attempt| attempt.failure);
        let done = match before {
            Some(Failure::Status(status)) => Answer::of(status) == Answer::Failed && status != 503,
            Some(Failure::Outcome(outcome)) => outcome.no_connection().is_none(),
            None => false,
        };
        done && matches!(self.call.method.as_deref(), Some("POST" | "PATCH")) && self.marks.key.is_none()
    }

    pub(super) fn pathology(&mut self, name: &'static str) {
        if !self.pathologies.contains(&name) {
            self.pathologies.push(name);
        }
    }

    /// Records that the latest attempt failed.
    pub(super) fn fail(&mut self, ended: Ended, thresholds: &RetryThresholds) {
        if let Some(attempt) = self.listed.last_mut() {
            attempt.ended = Some(ended.time);
            attempt.failure = Some(ended.failure);
            attempt.retry_after = ended.retry_after;
        }
        self.weak = ended.weak;
        self.stale = ended.stale;
        self.cookie_set = ended.cookie_set;
        self.doing = Doing::Waiting;
        self.deadline = Timestamp(ended.time.0.saturating_add(self.patience(ended.retry_after, thresholds)));
    }

    /// Records that the latest attempt ended without a known response.
    pub(super) fn unseen(&mut self, time: Timestamp, thresholds: &RetryThresholds) {
        if let Some(attempt) = self.listed.last_mut() {
            attempt.ended = Some(time);
        }
        self.confidence.doubtful = true;
        self.doing = Doing::Waiting;
        self.deadline = Timestamp(time.0.saturating_add(self.patience(None, thresholds)));
    }

    /// Time in nanoseconds to wait for another attempt, well beyond its due time.
    fn patience(&self, retry_after: Option<u64>, thresholds: &RetryThresholds) -> u64 {
        const SECOND: u64 = 1_000_000_000;
        let longest = self.gaps.iter().map(|gap| gap.length).max().unwrap_or_default();
        let patience = match (self.fit.next.filter(|_| self.fit.settled), self.gaps.iter().any(|gap| !gap.resent)) {
            (Some(next), _) => next.saturating_mul(3).max(next.saturating_add(SECOND)),
            (None, true) => longest.saturating_mul(4).max(thresholds.give_up_after.as_nanos() as u64),
            (None, false) => thresholds.window.as_nanos() as u64,
        };
        let asked = retry_after.map_or(0, |asked| asked + asked / 2 + SECOND);
        patience.min(thresholds.longest.as_nanos() as u64).max(asked)
    }

    /// Predicted start of the next attempt.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if self.doing != Doing::Waiting {
            return None;
        }
        let last = self.listed.last()?;
        let asked = last.retry_after.filter(|_| !self.pathologies.contains(&"retry_after_ignored"));
        // If the server stated a delay before and not now, the client's own backoff is unknown.
        let own = self.fit.next.filter(|_| self.fit.pattern != Some(Pattern::RetryAfter));
        // Random gaps may look like a pattern for a while.
        let own = own.filter(|_| self.misses == 0 || (self.misses == 1 && self.fit.settled));
        Some(Timestamp(last.ended?.0.saturating_add(asked.or(own)?)))
    }

    /// Whether the time from start to start is steadier than a backoff after attempts of varying length could be.
    fn is_steady(&self) -> bool {
        let periods: Vec<f64> =
            self.listed.windows(2).map(|pair| pair[1].started.since(pair[0].started) as f64).collect();
        let mean = periods.iter().sum::<f64>() / periods.len().max(1) as f64;
        periods.len() >= 2 && periods.iter().all(|period| (period - mean).abs() <= 0.03 * mean + 2e6)
    }

    /// Whether the evidence suffices to report a chain; the module documentation lists the counter-evidence.
    pub(super) fn is_sure(&self, thresholds: &RetryThresholds) -> bool {
        let own: Vec<&Gap> = self.gaps.iter().filter(|gap| !gap.resent).collect();
        let Some(first) = own.first() else { return !self.confidence.explicit.is_empty() };
        let grows =
            matches!(self.fit.pattern, Some(Pattern::Exponential | Pattern::Linear | Pattern::ExponentialJitter));
        let asked = own.iter().any(|gap| pattern::obeys(gap));
        if self.held && self.confidence.explicit.is_empty() {
            let rises = own.len() >= 3 && own[..3].windows(2).all(|pair| pair[1].length > pair[0].length);
            return grows && rises && self.fit.settled;
        }
        if !self.confidence.explicit.is_empty() || grows || (asked && !self.weak) {
            return true;
        }
        let slow = first.length >= thresholds.poll_gap.as_nanos() as u64;
        let irregular = self.fit.pattern == Some(Pattern::Irregular) && !self.is_steady();
        !self.weak && !self.marks.prober && (!slow || self.caller.is_some() || irregular)
    }

    pub(super) fn evidence(&self, result: RetryResult, upstream: (u64, u64)) -> RetryEvidence {
        RetryEvidence {
            method: self.call.method.clone(),
            authority: self.call.authority.clone(),
            addresses: self.addresses.clone(),
            path: self.call.path.clone(),
            attempts: self.attempts,
            listed: self.listed.clone(),
            pattern: self.fit.pattern,
            settled: self.fit.settled,
            base: self.fit.base,
            factor: self.fit.factor,
            step: self.fit.step,
            cap: self.fit.cap,
            first_immediate: self.fit.first_immediate,
            next_due: self.next_due(),
            result,
            answer: self.answer,
            caller: self.caller.clone(),
            pathologies: self.pathologies.clone(),
            upstream_calls: upstream.0,
            upstream_attempts: upstream.1,
        }
    }

    pub(super) fn report(&self, result: RetryResult, upstream: (u64, u64)) -> Report {
        let mut confidence = self.confidence.clone();
        let alone = confidence.explicit.is_empty() && self.caller.is_none();
        // A poller with this period fails in the same way.
        confidence.doubtful |=
            alone && self.attempts > 2 && self.fit.pattern == Some(Pattern::Constant) && self.is_steady();
        Report {
            exchanges: self.listed.iter().filter_map(|attempt| attempt.exchange).collect(),
            connection: None,
            process: self.process.clone(),
            confidence,
            evidence: self.evidence(result, upstream).into(),
        }
    }
}
