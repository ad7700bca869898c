//! Groups of calls that are counted together: by authority, by address, by endpoint.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{
    ErrorBurstThresholds,
    evidence::{Course, ErrorBurstEvidence, Scope, Trend},
};
use crate::{
    analysis::detector::{Confidence, Findings, Opened, Report, endpoint},
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, ExchangeId, Outcome, ProcessRef},
    },
};

/// Number of parts of the window.
pub(super) const PARTS: u64 = 10;
/// Maximum number of distinct failing calls in the window.
const MAX_FAILING: usize = 256;
/// Number of calls before the window at which older counts are halved.
const USUAL: u64 = 10_000;
/// Minimum number of earlier calls for a meaningful share.
pub(super) const KNOWN: u64 = 20;
/// Maximum number of kinds, addresses and exchanges kept for display.
const SHOWN: usize = endpoint::NAMES;
/// Number of successes after the last failure that end a burst.
const RECOVERED: u64 = 3;
/// Minimum number of calls in each half of the window for a comparison.
const COMPARED: u64 = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    number: u64,
    total: u64,
    failed: u64,
}

/// Compact counters for calls of which none has failed yet.
#[derive(Debug, Default)]
pub(super) struct Successes {
    total: u64,
    /// Number of the latest part of the window, and the counts of it and of those before it.
    number: u64,
    parts: [u32; PARTS as usize],
}

impl Successes {
    pub(super) fn count(&mut self, now: Timestamp, window: u64) {
        let number = now.0 / (window / PARTS).max(1);
        if number != self.number {
            let passed = number.saturating_sub(self.number);
            for old in 1..=passed.min(PARTS) {
                self.parts[((self.number + old) % PARTS) as usize] = 0;
            }
            self.number = number;
        }
        let part = &mut self.parts[(number % PARTS) as usize];
        *part = part.saturating_add(1);
        self.total += 1;
    }

    /// Non-empty parts of the window, oldest first.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let first = (self.number + 1).saturating_sub(PARTS);
        (first..=self.number).filter_map(|number| {
            let total = u64::from(self.parts[(number % PARTS) as usize]);
            (total > 0).then_some(Part { number, total, failed: 0 })
        })
    }
}

#[derive(Debug)]
pub(super) struct Burst {
    pub(super) opened: Opened,
    told_share: f64,
    course: Course,
}

/// Calls of which at least one has failed.
#[derive(Debug)]
pub(super) struct Group {
    role: Role,
    pub(super) scope: Scope,
    parts: VecDeque<Part>,
    /// Calls before the window: total and failed.
    before: (u64, u64),
    /// Whether a call succeeded before the onset.
    had_success: bool,
    /// Number of calls so far, and number of calls before the onset.
    seen: u64,
    past: u64,
    /// Distinct failing calls within the window, with the time of their last failure.
    failing: FxHashMap<u64, Timestamp>,
    onset: Option<Timestamp>,
    /// Calls since the onset: total and failed.
    pub(super) since: (u64, u64),
    kinds: Vec<(Box<str>, u64)>,
    connects: Option<Outcome>,
    addresses: Vec<(Box<str>, u64)>,
    authorities: Vec<(Box<str>, u64)>,
    exchanges: Vec<ExchangeId>,
    process: ProcessRef,
    last_call: Timestamp,
    last_failure: Timestamp,
    /// Failures since the last success, and successes since the last failure.
    row: (u64, u64),
    pub(super) burst: Option<Burst>,
}

impl Group {
    pub(super) fn new(exchange: &Exchange, scope: Scope, well: &Successes, now: Timestamp, window: u64) -> Self {
        let parts: VecDeque<Part> = well.parts().collect();
        let before = well.total.saturating_sub(parts.iter().map(|part| part.total).sum());
        let mut group = Self {
            role: exchange.role,
            scope,
            parts,
            before: (before, 0),
            had_success: well.total > 0,
            seen: well.total,
            past: well.total,
            failing: FxHashMap::default(),
            onset: None,
            since: (0, 0),
            kinds: Vec::new(),
            connects: None,
            addresses: Vec::new(),
            authorities: Vec::new(),
            exchanges: Vec::new(),
            process: exchange.process.clone(),
            last_call: now,
            last_failure: now,
            row: (0, 0),
            burst: None,
        };
        group.advance(now, window);
        group
    }

    /// Whether the group can be dropped without losing more than its history: it has no burst and no failure in the
    /// window.
    pub(super) fn is_idle(&self, now: Timestamp, window: u64) -> bool {
        self.burst.is_none() && (self.failing.is_empty() || now.since(self.last_failure) >= window)
    }

    /// Moves parts older than the window to the history.
    fn advance(&mut self, now: Timestamp, window: u64) {
        let number = now.0 / (window / PARTS).max(1);
        while let Some(old) = self.parts.front().filter(|part| part.number + PARTS <= number) {
            // Calls of a burst do not enter the history.
            if self.burst.is_none() {
                self.before = (self.before.0 + old.total, self.before.1 + old.failed);
                if self.before.0 > USUAL {
                    self.before = (self.before.0 / 2, self.before.1 / 2);
                }
            }
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|part| part.number != number) {
            self.parts.push_back(Part { number, ..Part::default() });
        }
    }

    /// Counts a call that did not fail, or whose failure belongs to another group's burst.
    pub(super) fn takes(&mut self, succeeded: bool, now: Timestamp, window: u64) {
        self.advance(now, window);
        if let Some(part) = self.parts.back_mut() {
            part.total += 1;
        }
        self.last_call = now;
        self.seen += 1;
        if self.onset.is_some() {
            self.since.0 += 1;
        }
        if succeeded {
            self.row = (0, self.row.1 + 1);
            self.had_success |= self.onset.is_none();
        }
    }

    /// Counts a failed call; `call` identifies distinct calls.
    pub(super) fn fails(&mut self, exchange: &Exchange, kind: &str, call: u64, now: Timestamp, window: u64) {
        self.failing.retain(|_, last| now.since(*last) < window);
        if self.failing.is_empty() && self.burst.is_none() {
            self.forget_onset();
        }
        self.takes(false, now, window);
        if let Some(part) = self.parts.back_mut() {
            part.failed += 1;
        }
        if self.failing.len() < MAX_FAILING || self.failing.contains_key(&call) {
            self.failing.insert(call, now);
        }
        if self.onset.is_none() {
            self.onset = Some(exchange.timing.end.unwrap_or(now));
            self.past = self.seen - 1;
            self.since.0 += 1;
        }
        self.since.1 += 1;
        self.row = (self.row.0 + 1, 0);
        self.last_failure = now;
        endpoint::count(&mut self.kinds, kind);
        self.connects = exchange.outcome.no_connection().map(|_| exchange.outcome);
        if exchange.role == Role::Client {
            endpoint::count(&mut self.addresses, endpoint::cut_str(&exchange.connection.remote_text));
            if let Some(authority) = exchange.request.as_ref().and_then(|request| request.authority()) {
                endpoint::count(&mut self.authorities, endpoint::cut_str(authority));
            }
        }
        if self.exchanges.len() >= SHOWN {
            self.exchanges.remove(1);
        }
        self.exchanges.push(exchange.id);
    }

    /// Withdraws a recent failure: the client connected to another address of the same name at once.
    pub(super) fn takes_back(&mut self, call: u64) {
        if self.failing.remove(&call).is_none() || self.burst.is_some() {
            return;
        }
        if let Some(part) = self.parts.back_mut() {
            part.failed = part.failed.saturating_sub(1);
            part.total = part.total.saturating_sub(1);
        }
        self.since = (self.since.0.saturating_sub(1), self.since.1.saturating_sub(1));
        self.row.0 = self.row.0.saturating_sub(1);
        if self.failing.is_empty() {
            self.forget_onset();
        }
    }

    fn forget_onset(&mut self) {
        self.had_success |= self.since.0 > self.since.1;
        self.onset = None;
        self.since = (0, 0);
        self.kinds.clear();
        self.addresses.clear();
        self.authorities.clear();
        self.exchanges.clear();
        self.failing.clear();
    }

    fn share(&self) -> f64 {
        let (total, failed) = self.parts.iter().fold((0, 0), |sum, part| (sum.0 + part.total, sum.1 + part.failed));
        failed as f64 / total.max(1) as f64
    }

    /// Share of failures before the window; without such calls, 0 if a call succeeded before the onset.
    fn share_before(&self) -> Option<f64> {
        match self.before.0 {
            0 => self.had_success.then_some(0.0),
            before => Some(self.before.1 as f64 / before as f64),
        }
    }

    /// Whether the recent failures are a burst.
    pub(super) fn bursts(&self, thresholds: &ErrorBurstThresholds) -> bool {
        let needed = thresholds.calls * if self.past < KNOWN { 2 } else { 1 };
        let share = self.share();
        self.burst.is_none()
            && self.failing.len() >= needed as usize
            && share >= thresholds.share
            && share >= thresholds.times * self.share_before().unwrap_or(0.0)
    }

    /// Whether this group contains the failures of a wider group, whose other calls succeed.
    pub(super) fn explains(&self, wider: &Self) -> bool {
        let others = (wider.since.0.saturating_sub(self.since.0), wider.since.1.saturating_sub(self.since.1));
        self.burst.is_none()
            && self.since.1 > 0
            && others.0 >= COMPARED
            && others.1 * 20 <= wider.since.1
            && others.1 * 10 <= others.0
    }

    pub(super) fn open(&mut self, now: Timestamp, window: u64, began: Timestamp, findings: &mut Findings) {
        let report = self.report(Course::Ongoing, now, window, began);
        let opened = findings.open(now, report);
        findings.belongs(opened);
        self.burst = Some(Burst { opened, told_share: self.share(), course: Course::Ongoing });
    }

    /// Updates the burst if the share has doubled or halved since the last report.
    pub(super) fn develops(&mut self, now: Timestamp, window: u64, began: Timestamp, findings: &mut Findings) {
        let share = self.share();
        let Some(burst) = &mut self.burst else { return };
        if share >= 2.0 * burst.told_share || share <= 0.5 * burst.told_share {
            (burst.told_share, burst.course) = (share, Course::Ongoing);
            let opened = burst.opened;
            findings.update(opened, now, self.report(Course::Ongoing, now, window, began));
        }
    }

    /// Re-evaluates the burst after some time. Returns whether it has ended.
    pub(super) fn look(&mut self, now: Timestamp, window: u64, began: Timestamp, findings: &mut Findings) -> bool {
        let Some(burst) = &self.burst else { return false };
        let (opened, told) = (burst.opened, burst.course);
        let course = if now.since(self.last_failure) < window {
            Course::Ongoing
        } else if self.row.1 >= RECOVERED {
            Course::Recovered
        } else if now.since(self.last_call) >= window {
            Course::Stopped
        } else {
            Course::Ongoing
        };
        self.advance(now, window);
        if course == Course::Recovered {
            findings.close(opened, now, self.last_failure, self.report(course, now, window, began));
            self.burst = None;
            self.forget_onset();
            return true;
        }
        if course == told {
            findings.keep(opened, now, self.since.0, || self.report(course, now, window, began));
        } else {
            findings.update(opened, now, self.report(course, now, window, began));
            if let Some(burst) = &mut self.burst {
                burst.course = course;
            }
        }
        false
    }

    fn trend(&self, now: Timestamp, window: u64) -> Trend {
        let middle = now.0.saturating_sub(window / 2) / (window / PARTS).max(1);
        let count = |late: bool| {
            let parts = self.parts.iter().filter(|part| (part.number > middle) == late);
            parts.fold((0, 0), |sum, part| (sum.0 + part.total, sum.1 + part.failed))
        };
        let (early, late) = (count(false), count(true));
        if early.0 < COMPARED || late.0 < COMPARED {
            return Trend::Steady;
        }
        let (early, late) = (early.1 as f64 / early.0 as f64, late.1 as f64 / late.0 as f64);
        if late > 1.5 * early + 0.02 {
            Trend::Worse
        } else if early > 1.5 * late + 0.02 {
            Trend::Better
        } else {
            Trend::Steady
        }
    }

    fn report(&self, course: Course, now: Timestamp, window: u64, began: Timestamp) -> Report {
        let mut kinds = self.kinds.clone();
        kinds.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let onset = self.onset.unwrap_or(now);
        let no_connection = self.connects.filter(|outcome| kinds.len() == 1 && *kinds[0].0 == *outcome.name());
        let none_connects = no_connection.is_some() && self.since.1 >= self.since.0;
        let evidence = ErrorBurstEvidence {
            role: self.role,
            scope: self.scope.clone(),
            addresses: self.addresses.clone(),
            authorities: self.authorities.clone(),
            onset,
            from_the_first: !self.had_success,
            from_the_beginning: onset.since(began) < window,
            failures: self.since.1,
            total: self.since.0.max(self.since.1),
            failing_calls: self.failing.len() as u64,
            share: self.share(),
            share_before: self.share_before(),
            trend: self.trend(now, window),
            kinds,
            no_connection,
            last_call: self.last_call,
            last_failed: self.row.0,
            course,
        };
        Report {
            exchanges: self.exchanges.clone(),
            connection: None,
            process: self.process.clone(),
            confidence: Confidence {
                explicit: if none_connects && no_connection.is_some_and(is_one_error) {
                    vec!["the kernel failed each of these connects with the same error"]
                } else {
                    vec![]
                },
                inferred: vec!["the share of failures compared with the share before"],
                // The history is too short for a certain statement.
                doubtful: self.past < KNOWN && !none_connects,
            },
            evidence: evidence.into(),
        }
    }
}

/// Whether all connects with this outcome failed with one errno. A timeout may be the client's, and
/// [`Outcome::ConnectFailed`] covers all other errors.
fn is_one_error(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::ConnectTimeout | Outcome::ConnectFailed)
}
