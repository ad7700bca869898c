//! A burst of errors: many calls to one upstream, or of our own callers, fail that did not before.
//!
//! ```text
//! of the last seconds, many different calls failed, a much larger share than before -> open
//! the share changes, twice or half -> update
//! for as long, next to none -> closed
//! ```

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint,
    threshold::thresholds,
};
use crate::{
    connection::Role,
    event::Timestamp,
    exchange::{Exchange, ExchangeId, Outcome, ProcessRef, Step},
    redact::Redactor,
};

thresholds! {
    /// What the error-burst detector goes by.
    pub struct ErrorBurstThresholds {
        /// Calls are counted over so long
        window: Duration = Duration::from_secs(10),
        /// So many different calls must have failed in it (one retry chain is one call), twice as many without a past
        calls: u32 = 5,
        /// ... which are this share of all, at least
        share: f64 = 0.2,
        /// ... and so many times the share before
        times: f64 = 3.0,
    }
}

/// Upstreams that are watched; beyond it new ones are not.
const MAX_GROUPS: usize = 1024;
/// Parts of the window.
const PARTS: u64 = 10;
/// Different failing calls that are told apart within the window.
const MAX_FAILING: usize = 256;
/// Calls before the window that say what is usual; older ones count half.
const USUAL: u64 = 10_000;
/// Fewer calls before say nothing.
const KNOWN: u64 = 20;
const SHOWN: usize = 8;

/// How the share of failures develops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// More than in the first half of the window.
    Worse,
    /// About as in the first half.
    Steady,
    /// Less.
    Better,
}

/// What a burst of errors rests on.
#[derive(Clone, Debug)]
pub struct ErrorBurstEvidence {
    /// What the target is in the calls.
    pub role: Role,
    /// Whom they are for; of inbound calls, the target itself.
    pub authority: Box<str>,
    /// When the first of the failures happened.
    pub onset: Timestamp,
    /// Failures since then.
    pub failures: u64,
    /// All calls since then.
    pub total: u64,
    /// Different calls that failed within the window.
    pub failing_calls: u64,
    /// Share of failures within the window.
    pub share: f64,
    /// Share before.
    pub share_before: f64,
    /// Whether it gets worse.
    pub trend: Trend,
    /// What failed how often since the onset: statuses and outcomes.
    pub kinds: Vec<(Box<str>, u64)>,
    /// Nothing fails any more.
    pub over: bool,
}

impl ErrorBurstEvidence {
    /// Whether an exchange that is over is one of the failures, also one that ended before the burst was found.
    pub fn counts(&self, exchange: &Exchange) -> bool {
        let (role, end) = (exchange.role, exchange.timing.end);
        role == self.role
            && end.is_some_and(|end| end >= self.onset)
            && failure(exchange).is_some()
            && (role == Role::Server || endpoint::cut(endpoint::authority(exchange)) == self.authority)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    number: u64,
    total: u64,
    failed: u64,
}

#[derive(Debug)]
struct Burst {
    opened: Opened,
    told_share: f64,
    last_failure: Timestamp,
}

/// Calls of one upstream.
#[derive(Debug)]
struct Group {
    role: Role,
    authority: Box<str>,
    parts: VecDeque<Part>,
    /// Calls before the window: all, and those that failed.
    before: (u64, u64),
    /// Failing calls within the window, with when they failed last.
    failing: FxHashMap<u64, Timestamp>,
    onset: Option<Timestamp>,
    since: (u64, u64),
    kinds: Vec<(Box<str>, u64)>,
    exchanges: Vec<ExchangeId>,
    process: ProcessRef,
    burst: Option<Burst>,
}

/// Finds bursts of errors.
#[derive(Debug)]
pub struct ErrorBurst {
    thresholds: ErrorBurstThresholds,
    groups: FxHashMap<u64, Group>,
    /// Groups with a burst that is not over.
    open: u32,
}

impl Detect for ErrorBurst {
    type Thresholds = ErrorBurstThresholds;
    type Evidence = ErrorBurstEvidence;
    const ABOUT: About = About {
        looks_for: "many different calls to one upstream, or of our callers, that fail of late: since when, and whether it gets worse",
        example: "calls to gateway:8080 fail: 64 % of the last 10 s (0 % before), getting worse; mostly 503",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, groups: FxHashMap::default(), open: 0 }
    }

    fn wants(&self, _step: Step, _role: Role) -> bool {
        false
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Finished(exchange) => self.finished(exchange, now, findings),
            Observation::Tick(_) if self.open > 0 => self.look(now, findings),
            _ => {}
        }
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = rustc_hash::FxHasher::default();
    for part in parts {
        hasher.write(part);
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// How a call failed, if it did: a status from 500 on, or no whole answer.
fn failure(exchange: &Exchange) -> Option<Box<str>> {
    match exchange.outcome {
        Outcome::Complete => {
            let status = exchange.response.as_ref()?.status;
            (status >= 500).then(|| status.to_string().into_boxed_str())
        }
        Outcome::Upgraded | Outcome::InFlight => None,
        // The caller of a server that goes away is no error of the server.
        Outcome::Closed | Outcome::Reset if exchange.role == Role::Server => None,
        outcome => Some(outcome.name().into()),
    }
}

impl ErrorBurst {
    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let authority = if exchange.role == Role::Client { endpoint::authority(exchange) } else { "" };
        let key = hash(&[&[u8::from(exchange.role == Role::Client)], authority.as_bytes()]);
        let failure = failure(exchange);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            return;
        }
        let group = self.groups.entry(key).or_insert_with(|| Group::new(exchange, authority));
        let window = self.thresholds.window.as_nanos() as u64;
        group.advance(now, window);
        if let Some(part) = group.parts.back_mut() {
            part.total += 1;
            part.failed += u64::from(failure.is_some());
        }
        if group.onset.is_some() {
            group.since.0 += 1;
        }
        let Some(failure) = failure else { return };
        group.fails(exchange, failure, now, window);
        if let Some(burst) = &group.burst {
            findings.belongs(burst.opened);
        }
        group.judge(&self.thresholds, now, findings, &mut self.open);
    }

    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        let window = self.thresholds.window.as_nanos() as u64;
        for group in self.groups.values_mut() {
            let Some(burst) = &group.burst else { continue };
            let (opened, last) = (burst.opened, burst.last_failure);
            if now.since(last) >= window {
                group.advance(now, window);
                findings.close(opened, now, last, group.report(now, window, true));
                group.burst = None;
                group.forget_onset();
                self.open -= 1;
            }
        }
    }
}

impl Group {
    fn new(exchange: &Exchange, authority: &str) -> Self {
        Self {
            role: exchange.role,
            authority: endpoint::cut(authority),
            parts: VecDeque::new(),
            before: (0, 0),
            failing: FxHashMap::default(),
            onset: None,
            since: (0, 0),
            kinds: Vec::new(),
            exchanges: Vec::new(),
            process: exchange.process.clone(),
            burst: None,
        }
    }

    /// Parts that are older than the window become what was before.
    fn advance(&mut self, now: Timestamp, window: u64) {
        let number = now.0 / (window / PARTS).max(1);
        while let Some(old) = self.parts.front().filter(|part| part.number + PARTS <= number) {
            // What belongs to a burst is not what is usual.
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

    fn fails(&mut self, exchange: &Exchange, failure: Box<str>, now: Timestamp, window: u64) {
        self.failing.retain(|_, last| now.since(*last) < window);
        if self.failing.is_empty() && self.burst.is_none() {
            self.forget_onset();
        }
        let (method, path, body) = exchange
            .request
            .as_ref()
            .map_or(("", "", &[][..]), |request| (&*request.method, request.path(), &request.body.captured[..]));
        let call = hash(&[method.as_bytes(), path.as_bytes(), body]);
        if self.failing.len() < MAX_FAILING || self.failing.contains_key(&call) {
            self.failing.insert(call, now);
        }
        self.onset.get_or_insert(exchange.timing.end.unwrap_or(now));
        self.since = (self.since.0.max(1), self.since.1 + 1);
        if let Some((_, count)) = self.kinds.iter_mut().find(|(kind, _)| *kind == failure) {
            *count += 1;
        } else if self.kinds.len() < SHOWN {
            self.kinds.push((failure, 1));
        }
        if self.exchanges.len() >= SHOWN {
            self.exchanges.remove(1);
        }
        self.exchanges.push(exchange.id);
        if let Some(burst) = &mut self.burst {
            burst.last_failure = now;
        }
    }

    fn forget_onset(&mut self) {
        self.onset = None;
        self.since = (0, 0);
        self.kinds.clear();
        self.exchanges.clear();
        self.failing.clear();
    }

    fn share(&self) -> f64 {
        let (total, failed) = self.parts.iter().fold((0, 0), |sum, part| (sum.0 + part.total, sum.1 + part.failed));
        failed as f64 / total.max(1) as f64
    }

    fn share_before(&self) -> f64 {
        self.before.1 as f64 / self.before.0.max(1) as f64
    }

    fn judge(&mut self, thresholds: &ErrorBurstThresholds, now: Timestamp, findings: &mut Findings, open: &mut u32) {
        let window = thresholds.window.as_nanos() as u64;
        let share = self.share();
        match &mut self.burst {
            None => {
                let needed = thresholds.calls * if self.before.0 < KNOWN { 2 } else { 1 };
                let enough = self.failing.len() >= needed as usize;
                if enough && share >= thresholds.share && share >= thresholds.times * self.share_before() {
                    let opened = findings.open(now, self.report(now, window, false));
                    findings.belongs(opened);
                    self.burst = Some(Burst { opened, told_share: share, last_failure: now });
                    *open += 1;
                }
            }
            Some(burst) if share >= 2.0 * burst.told_share || share <= 0.5 * burst.told_share => {
                burst.told_share = share;
                let opened = burst.opened;
                findings.update(opened, now, self.report(now, window, false));
            }
            Some(_) => {}
        }
    }

    fn trend(&self, now: Timestamp, window: u64) -> Trend {
        let middle = now.0.saturating_sub(window / 2) / (window / PARTS).max(1);
        let share = |late: bool| {
            let parts = self.parts.iter().filter(|part| (part.number > middle) == late);
            let (total, failed) = parts.fold((0, 0), |sum, part| (sum.0 + part.total, sum.1 + part.failed));
            failed as f64 / total.max(1) as f64
        };
        let (early, late) = (share(false), share(true));
        if late > 1.5 * early + 0.02 {
            Trend::Worse
        } else if early > 1.5 * late + 0.02 {
            Trend::Better
        } else {
            Trend::Steady
        }
    }

    fn report(&self, now: Timestamp, window: u64, over: bool) -> Report {
        let mut kinds = self.kinds.clone();
        kinds.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let evidence = ErrorBurstEvidence {
            role: self.role,
            authority: self.authority.clone(),
            onset: self.onset.unwrap_or(now),
            failures: self.since.1,
            total: self.since.0.max(self.since.1),
            failing_calls: self.failing.len() as u64,
            share: self.share(),
            share_before: self.share_before(),
            trend: self.trend(now, window),
            kinds,
            over,
        };
        Report {
            exchanges: self.exchanges.clone(),
            connection: None,
            process: self.process.clone(),
            confidence: Confidence {
                explicit: vec![],
                inferred: vec!["the share of failures, against the share before"],
                // Of what was before, too little is known.
                doubtful: self.before.0 < KNOWN,
            },
            evidence: evidence.into(),
        }
    }
}

impl Explain for ErrorBurstEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let what = match self.role {
            Role::Client => format!("calls to {} fail", redactor.authority(&self.authority)),
            Role::Server => "calls of others to this process fail".to_owned(),
        };
        let trend = match self.trend {
            Trend::Worse => ", getting worse",
            Trend::Steady => "",
            Trend::Better => ", getting better",
        };
        let mostly = self.kinds.first().map_or_else(String::new, |(kind, _)| format!("; mostly {kind}"));
        let (share, before) = (self.share * 100.0, self.share_before * 100.0);
        if self.over {
            let what = what.trim_end_matches(" fail");
            let (failures, total) = (self.failures, self.total);
            return format!("{what} fail no longer: {failures} of {total} had failed{mostly}");
        }
        format!(
            "{what}: {} of {} since the first failure, {share:.0} % of late ({before:.0} % before){trend}{mostly}",
            self.failures, self.total
        )
    }

    fn advice(&self) -> String {
        match self.role {
            Role::Client => {
                "Look at what changed at that upstream at the onset: a deployment, load, something behind it."
            }
            Role::Server => "Look at what this process calls: a failing upstream at the same time is the likely cause.",
        }
        .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let trend = match self.trend {
            Trend::Worse => "worse",
            Trend::Steady => "steady",
            Trend::Better => "better",
        };
        vec![
            ("role", if self.role == Role::Client { "client" } else { "server" }.into()),
            ("authority", Value::Text(redactor.authority(&self.authority).into_owned())),
            ("onset", self.onset.into()),
            ("failures", Value::Count(self.failures)),
            ("total", Value::Count(self.total)),
            ("failing_calls", Value::Count(self.failing_calls)),
            ("share", Value::Decimal(self.share)),
            ("share_before", Value::Decimal(self.share_before)),
            ("trend", trend.into()),
            (
                "kinds",
                Value::list(&self.kinds, |(kind, count)| {
                    Value::Object(vec![("kind", Value::Text(kind.to_string())), ("count", Value::Count(*count))])
                }),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detector::{Evidence, Kind, State},
        engine::tests::scenario::Scenario,
    };

    fn found(text: &str) -> Vec<(State, ErrorBurstEvidence)> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::ErrorBurst).map(|incident| {
            let Evidence::ErrorBurst(evidence) = &incident.report.evidence else { unreachable!() };
            (incident.state, (**evidence).clone())
        });
        of.collect()
    }

    /// Different calls one after the other.
    fn calls(range: std::ops::Range<u32>, gap: u32, status: &str) -> String {
        range.map(|number| format!("+{gap} t{} GET /o/{number} > {status}\n", number % 7)).collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_burst_has_an_onset_and_an_end() {
        let text = calls(0..60, 500, "200") + &calls(60..90, 100, "503") + &calls(90..130, 500, "200");
        let said = found(&text);
        assert_eq!(said.first().map(|(state, _)| *state), Some(State::Open), "{said:?}");
        assert_eq!(said.last().map(|(state, _)| *state), Some(State::Closed), "{said:?}");
        let (_, open) = &said[0];
        assert_eq!((open.trend, open.share_before), (Trend::Worse, 0.0));
        let (_, closed) = &said[said.len() - 1];
        assert_eq!((closed.failures, &*closed.kinds[0].0, closed.kinds[0].1), (30, "503", 30));
    }

    #[test]
    fn what_is_no_burst() {
        // A few; one call again and again; a share that is usual; errors of the caller.
        for text in [
            calls(0..60, 100, "200") + &calls(60..64, 100, "503"),
            calls(0..30, 100, "200") + "*20 +100 t1 GET /same > 503\n",
            (0..60)
                .map(|round| {
                    calls(round * 4..round * 4 + 3, 100, "200") + &calls(round * 4 + 3..round * 4 + 4, 100, "503")
                })
                .collect(),
            calls(0..60, 100, "404"),
        ] {
            let said = found(&text);
            let unusual = said.iter().filter(|(_, evidence)| evidence.share_before < 0.05).count();
            assert_eq!(unusual * usize::from(!text.contains("/o/3 > 503")), 0, "{said:?}");
        }
    }
}
