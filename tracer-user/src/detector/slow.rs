//! An endpoint that is slow against its own past.
//!
//! What counts is the time a call waits for the first byte of its answer: how long a body takes depends on its size.
//!
//! ```text
//! the median of the last calls is far above what is usual, and above nearly all that was -> open
//! it is near the usual again -> closed
//! ```

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint::Endpoint,
    threshold::thresholds,
};
use crate::{
    connection::Role,
    event::Timestamp,
    exchange::{Exchange, ExchangeId, Outcome, ProcessRef, Step},
    histogram::{Histogram, Scale},
    redact::Redactor,
};

thresholds! {
    /// What the slow detector goes by.
    pub struct SlowThresholds {
        /// The median of the last calls is so many times the usual one
        times: f64 = 3.0,
        /// ... and so much longer, at least
        more: Duration = Duration::from_millis(50),
        /// What is usual is known after so many calls
        history: u32 = 50,
        /// So many of the last calls are looked at
        last: u32 = 10,
    }
}

/// Endpoints that are watched; beyond it all that are in order are forgotten.
const MAX_ENDPOINTS: usize = 1024;
/// The most of the last calls that are kept.
const MAX_LAST: usize = 100;
/// What is usual is what was of late.
static USUAL: Scale = Scale { unit_ns: 1_000, steps: 4, buckets: 140, limit: 10_000 };

/// What a slow endpoint rests on.
#[derive(Clone, Debug)]
pub struct SlowEvidence {
    /// Which calls.
    pub endpoint: Endpoint,
    /// Median wait of the last calls, nanoseconds.
    pub now: u64,
    /// Median and 95th percentile of the calls before.
    pub usual: (u64, u64),
    /// Calls that the usual rests on.
    pub history: u32,
    /// Calls since it began.
    pub calls: u64,
    /// The longest wait since it began.
    pub longest: u64,
    /// It is no longer slow.
    pub over: bool,
}

#[derive(Debug)]
struct Watched {
    endpoint: Endpoint,
    history: Histogram,
    /// The last calls; they enter the history as they leave here.
    last: VecDeque<u64>,
    slow: Option<Slowness>,
}

#[derive(Debug)]
struct Slowness {
    opened: Opened,
    calls: u64,
    longest: u64,
    told: u64,
    exchanges: Vec<ExchangeId>,
    process: ProcessRef,
}

/// Finds endpoints that have become slow.
#[derive(Debug)]
pub struct Slow {
    thresholds: SlowThresholds,
    endpoints: FxHashMap<u64, Box<Watched>>,
    /// Those that are slow.
    degraded: Vec<u64>,
}

impl Detect for Slow {
    type Thresholds = SlowThresholds;
    type Evidence = SlowEvidence;
    const ABOUT: About = About {
        looks_for: "an endpoint that answers far later than it used to",
        example: "GET stock:8080/v1/items/{} has become slow: 310 ms instead of 12 ms",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, endpoints: FxHashMap::default(), degraded: Vec::new() }
    }

    fn wants(&self, _step: Step, _role: Role) -> bool {
        false
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Finished(exchange) => self.finished(exchange, now, findings),
            Observation::Tick(_) if !self.degraded.is_empty() => self.look(now, findings),
            _ => {}
        }
    }
}

/// From the end of the request to the first byte of the answer.
fn wait(exchange: &Exchange) -> Option<u64> {
    let timing = &exchange.timing;
    if exchange.outcome != Outcome::Complete || exchange.response.as_ref()?.status >= 500 {
        return None;
    }
    Some(timing.response_start?.since(timing.request_end?))
}

impl Slow {
    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let Some(wait) = wait(exchange) else { return };
        let Some(key) = findings.endpoint_key(exchange) else { return };
        if let Some(watched) = self.endpoints.get_mut(&key) {
            let was = watched.slow.is_some();
            watched.takes(wait, exchange, now, &self.thresholds, findings);
            match (was, watched.slow.is_some()) {
                (false, true) => self.degraded.push(key),
                (true, false) => self.degraded.retain(|slow| *slow != key),
                _ => {}
            }
            return;
        }
        if self.endpoints.len() >= MAX_ENDPOINTS {
            self.endpoints.retain(|_, watched| watched.slow.is_some());
        }
        let Some(endpoint) = Endpoint::of(exchange) else { return };
        let last = VecDeque::from([wait]);
        let watched = Watched { endpoint, history: Histogram::new(&USUAL), last, slow: None };
        self.endpoints.insert(key, Box::new(watched));
    }
}

impl Slow {
    fn look(&self, now: Timestamp, findings: &mut Findings) {
        for watched in self.degraded.iter().filter_map(|key| self.endpoints.get(key)) {
            let Some(slow) = &watched.slow else { continue };
            findings
                .keep(slow.opened, now, slow.calls, || watched.report(slow, watched.median(), watched.usual(), false));
        }
    }
}

impl Watched {
    fn median(&self) -> u64 {
        let mut sorted: Vec<u64> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// Median and 95th percentile of what is usual.
    fn usual(&self) -> (u64, u64) {
        (self.history.quantile(0.5), self.history.quantile(0.95))
    }

    fn takes(
        &mut self,
        wait: u64,
        exchange: &Exchange,
        now: Timestamp,
        thresholds: &SlowThresholds,
        findings: &mut Findings,
    ) {
        let size = (thresholds.last as usize).clamp(3, MAX_LAST);
        self.last.push_back(wait);
        if self.last.len() > size
            && let Some(old) = self.last.pop_front()
            // What is slow is not what is usual.
            && self.slow.is_none()
        {
            self.history.add(old);
        }
        if let Some(slow) = &mut self.slow {
            slow.calls += 1;
            slow.longest = slow.longest.max(wait);
            if slow.exchanges.len() < 8 {
                slow.exchanges.push(exchange.id);
            }
            findings.belongs(slow.opened);
        } else if self.history.count() < thresholds.history
            || self.last.len() < size
            || wait < thresholds.more.as_nanos() as u64
        {
            // Most calls end here.
            return;
        }
        let mut sorted: Vec<u64> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2];
        let usual = (self.history.quantile(0.5), self.history.quantile(0.95));
        let more = thresholds.more.as_nanos() as u64;
        let far = median as f64 >= thresholds.times * usual.0 as f64 && median >= usual.0 + more && median > usual.1;
        match &mut self.slow {
            None if far => {
                let mut slow = Slowness {
                    opened: Opened { id: crate::exchange::IncidentId(0), since: now },
                    calls: self.last.iter().filter(|wait| **wait > usual.1).count() as u64,
                    longest: sorted[sorted.len() - 1],
                    told: median,
                    exchanges: vec![exchange.id],
                    process: exchange.process.clone(),
                };
                slow.opened = findings.open(now, self.report(&slow, median, usual, false));
                findings.belongs(slow.opened);
                self.slow = Some(slow);
            }
            Some(slow) if median >= 2 * slow.told => {
                slow.told = median;
                if let Some(slow) = self.slow.take() {
                    findings.update(slow.opened, now, self.report(&slow, median, usual, false));
                    self.slow = Some(slow);
                }
            }
            // Half the way back is back, so that it does not swing.
            Some(_) if median < usual.0 + (more.max(((thresholds.times - 1.0) * usual.0 as f64) as u64)) / 2 => {
                if let Some(slow) = self.slow.take() {
                    findings.close(slow.opened, now, now, self.report(&slow, median, usual, true));
                }
            }
            _ => {}
        }
    }

    fn report(&self, slow: &Slowness, median: u64, usual: (u64, u64), over: bool) -> Report {
        let evidence = SlowEvidence {
            endpoint: self.endpoint.clone(),
            now: median,
            usual,
            history: self.history.count(),
            calls: slow.calls,
            longest: slow.longest,
            over,
        };
        Report {
            exchanges: slow.exchanges.clone(),
            connection: None,
            process: slow.process.clone(),
            confidence: Confidence {
                explicit: vec![],
                inferred: vec!["the median wait of the last calls, against that of the calls before"],
                doubtful: false,
            },
            evidence: evidence.into(),
        }
    }
}

/// As people say it.
fn words(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds as f64 / 1e6;
    if milliseconds >= 1000.0 {
        format!("{:.1} s", milliseconds / 1e3)
    } else if milliseconds >= 1.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{:.0} us", milliseconds * 1e3)
    }
}

impl Explain for SlowEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let Endpoint { method, authority, path, .. } = &self.endpoint;
        let (authority, path) = (redactor.authority(authority), redactor.url(path));
        let (now, usual) = (words(self.now), words(self.usual.0));
        if self.over {
            let (calls, longest) = (self.calls, words(self.longest));
            return format!(
                "{method} {authority}{path} is no longer slow: {now}, after {calls} calls of up to {longest}"
            );
        }
        format!("{method} {authority}{path} has become slow: {now} instead of {usual}")
    }

    fn advice(&self) -> String {
        match self.endpoint.role {
            Role::Client => "Look at that upstream: its load, and what it waits for; or at the network to it.",
            Role::Server => "Look at what this process calls meanwhile, and at its processors and locks.",
        }
        .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let Endpoint { role, method, authority, path } = &self.endpoint;
        vec![
            ("role", if *role == Role::Client { "client" } else { "server" }.into()),
            ("method", Value::Text(method.to_string())),
            ("authority", Value::Text(redactor.authority(authority).into_owned())),
            ("path", Value::Text(redactor.url(path).into_owned())),
            ("wait_ms", Value::Decimal(self.now as f64 / 1e6)),
            ("usual_ms", Value::Decimal(self.usual.0 as f64 / 1e6)),
            ("usual_p95_ms", Value::Decimal(self.usual.1 as f64 / 1e6)),
            ("history", Value::Count(self.history.into())),
            ("calls", Value::Count(self.calls)),
            ("longest_ms", Value::Decimal(self.longest as f64 / 1e6)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        detector::{Kind, State},
        engine::tests::scenario::Scenario,
    };

    fn found(text: &str) -> Vec<State> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Slow);
        of.map(|incident| incident.state).collect()
    }

    const USUAL: &str = "*80 +20 t1 GET /o/1 keep > 200 took=10\n";

    #[test]
    fn an_endpoint_that_becomes_slow_is_found_and_closed_when_it_is_not_any_more() {
        let text = format!("{USUAL}*12 +20 t1 GET /o/2 keep > 200 took=200\n*12 +20 t1 GET /o/3 keep > 200 took=10\n");
        assert_eq!(found(&text), [State::Open, State::Closed]);
    }

    #[test]
    fn what_is_not_slow() {
        for text in [
            // Too little is known; a few; always so; a little longer; large answers.
            "*20 +20 t1 GET /a keep > 200 took=10\n*12 +20 t1 GET /a keep > 200 took=200".to_owned(),
            format!("{USUAL}*3 +20 t1 GET /o/2 keep > 200 took=900\n{USUAL}"),
            "*100 +20 t1 GET /a keep > 200 took=300\n*20 +20 t1 GET /a keep > 200 took=400".to_owned(),
            format!("{USUAL}*20 +20 t1 GET /o/2 keep > 200 took=25\n"),
        ] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }
}
