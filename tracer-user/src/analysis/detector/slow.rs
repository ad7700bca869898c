//! Endpoints that are slow compared to their own history.
//!
//! The measure is the wait from the end of the request to the first byte of the response, as the duration of a body
//! depends on its size.
//!
//! ```text
//! median of the last calls is far above the usual median, and above the usual 95th percentile -> open
//! median is near the usual again -> closed
//! ```

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value,
    endpoint::{self, Endpoint},
    threshold::thresholds,
};
use crate::{
    analysis::histogram::{Histogram, Scale},
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, ExchangeId, Outcome, ProcessRef},
    },
    text::{redact::Redactor, units},
};

thresholds! {
    /// Thresholds of the detector `slow`.
    pub struct SlowThresholds {
        /// minimum ratio of the median wait of recent calls to the usual median
        times: f64 = 3.0,
        /// minimum difference between the median wait of recent calls and the usual median
        more: Duration = Duration::from_millis(50),
        /// number of calls from which the usual wait of an endpoint is known
        history: u32 = 50,
        /// number of recent calls that are compared with the usual wait
        last: u32 = 10,
    }
}

/// Maximum number of watched endpoints. At the limit, those without an incident are removed.
const MAX_ENDPOINTS: usize = 1024;
/// Upper bound of the threshold `last`.
const MAX_LAST: usize = 100;
/// Address index for inbound calls, and for addresses beyond the limit.
const NO_ADDRESS: u8 = u8::MAX;
/// Scale of the history; halving gives recent calls more weight.
static USUAL: Scale = Scale { unit_ns: 1_000, steps: 4, buckets: 140, limit: 10_000 };

/// Evidence of a slow endpoint.
#[derive(Clone, Debug)]
pub struct SlowEvidence {
    /// Endpoint of the calls.
    pub endpoint: Endpoint,
    /// Addresses of slow responses since the incident began, with counts; bounded, and empty for inbound calls.
    pub addresses: Vec<(Box<str>, u64)>,
    /// Median wait of the last calls in nanoseconds.
    pub now: u64,
    /// Median and 95th percentile of the calls before, in nanoseconds.
    pub usual: (u64, u64),
    /// Number of calls in the history.
    pub history: u32,
    /// Number of calls since the incident began.
    pub calls: u64,
    /// Longest wait since the incident began, in nanoseconds.
    pub longest: u64,
    /// Whether the endpoint is no longer slow.
    pub over: bool,
}

#[derive(Debug)]
struct Watched {
    endpoint: Endpoint,
    history: Histogram,
    /// Waits of the last calls and the indices of their addresses. A call enters the history when it leaves this queue.
    last: VecDeque<(u64, u8)>,
    /// Addresses with the number of the last calls to each.
    addresses: Vec<(Box<str>, u32)>,
    slow: Option<Slowness>,
}

#[derive(Debug)]
struct Slowness {
    opened: Opened,
    addresses: Vec<(Box<str>, u64)>,
    calls: u64,
    longest: u64,
    told: u64,
    exchanges: Vec<ExchangeId>,
    process: ProcessRef,
}

/// Detects endpoints that have become slow.
#[derive(Debug)]
pub struct Slow {
    thresholds: SlowThresholds,
    endpoints: FxHashMap<u64, Box<Watched>>,
    /// Keys of the endpoints that are slow.
    degraded: Vec<u64>,
}

impl Detect for Slow {
    type Thresholds = SlowThresholds;
    type Evidence = SlowEvidence;
    const ABOUT: About = About {
        looks_for: "an endpoint that responds much more slowly than before",
        example: "GET stock:8080/v1/items/{} became slow: 310 ms instead of 12 ms",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, endpoints: FxHashMap::default(), degraded: Vec::new() }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Finished(exchange) => self.finished(exchange, now, findings),
            Observation::Tick(_) if !self.degraded.is_empty() => self.look(now, findings),
            _ => {}
        }
    }
}

/// Time from the end of the request to the first byte of the response, in nanoseconds; `None` for failed calls.
fn wait(exchange: &Exchange) -> Option<u64> {
    let timing = &exchange.timing;
    if exchange.outcome != Outcome::Complete || exchange.response.is_none() || exchange.is_failed() {
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
        let (last, addresses) = (VecDeque::new(), Vec::new());
        let mut watched = Watched { endpoint, history: Histogram::new(&USUAL), last, addresses, slow: None };
        watched.keep(wait, exchange);
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
        let mut sorted: Vec<u64> = self.last.iter().map(|(wait, _)| *wait).collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn keep(&mut self, wait: u64, exchange: &Exchange) {
        let place =
            if exchange.role == Role::Client { self.place(&exchange.connection.remote_text) } else { NO_ADDRESS };
        self.last.push_back((wait, place));
    }

    /// Removes the oldest of the last calls and returns its wait.
    fn oldest(&mut self) -> Option<u64> {
        let (wait, place) = self.last.pop_front()?;
        if let Some((_, calls)) = self.addresses.get_mut(usize::from(place)) {
            *calls -= 1;
        }
        Some(wait)
    }

    /// Index of an address, with its count increased. A new address may reuse an index whose count is 0.
    fn place(&mut self, address: &str) -> u8 {
        let address = endpoint::cut_str(address);
        let known = self.addresses.iter().position(|(known, _)| **known == *address);
        let place = known.or_else(|| {
            if self.addresses.len() < endpoint::NAMES {
                self.addresses.push((address.into(), 0));
                return Some(self.addresses.len() - 1);
            }
            let free = self.addresses.iter().position(|(_, calls)| *calls == 0)?;
            self.addresses[free].0 = address.into();
            Some(free)
        });
        let Some(place) = place else { return NO_ADDRESS };
        self.addresses[place].1 += 1;
        place as u8
    }

    /// Addresses of the last calls that waited longer than `usual`.
    fn late(&self, usual: u64) -> Vec<(Box<str>, u64)> {
        let mut late = Vec::new();
        for (_, place) in self.last.iter().filter(|(wait, _)| *wait > usual) {
            if let Some((address, _)) = self.addresses.get(usize::from(*place)) {
                endpoint::count(&mut late, address);
            }
        }
        late
    }

    /// Median and 95th percentile of the history.
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
        self.keep(wait, exchange);
        if self.last.len() > size
            && let Some(old) = self.oldest()
            // Slow calls do not enter the history.
            && self.slow.is_none()
        {
            self.history.add(old);
        }
        if let Some(slow) = &mut self.slow {
            if exchange.role == Role::Client && wait > self.history.quantile(0.95) {
                endpoint::count(&mut slow.addresses, endpoint::cut_str(&exchange.connection.remote_text));
            }
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
        let mut sorted: Vec<u64> = self.last.iter().map(|(wait, _)| *wait).collect();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2];
        let usual = (self.history.quantile(0.5), self.history.quantile(0.95));
        let more = thresholds.more.as_nanos() as u64;
        let far = median as f64 >= thresholds.times * usual.0 as f64 && median >= usual.0 + more && median > usual.1;
        match &mut self.slow {
            None if far => {
                let mut slow = Slowness {
                    opened: Opened { id: crate::model::exchange::IncidentId(0), since: now },
                    addresses: self.late(usual.1),
                    calls: self.last.iter().filter(|(wait, _)| *wait > usual.1).count() as u64,
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
            // Closes halfway between the usual and the threshold, as hysteresis.
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
            addresses: slow.addresses.clone(),
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
                inferred: vec!["the median wait of recent calls compared with that of earlier calls"],
                doubtful: false,
            },
            evidence: evidence.into(),
        }
    }
}

impl SlowEvidence {
    /// Endpoint in words, with the addresses that differ from the authority.
    pub fn subject(&self, redactor: Redactor) -> String {
        self.endpoint.named(endpoint::names(&self.addresses), redactor)
    }
}

impl Explain for SlowEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let what = self.subject(redactor);
        let (now, usual) = (units::in_words(self.now), units::in_words(self.usual.0));
        if self.over {
            let (calls, longest) = (self.calls, units::in_words(self.longest));
            return format!("{what} is no longer slow: {now}, after {calls} calls of up to {longest}");
        }
        format!("{what} became slow: {now} instead of {usual}")
    }

    fn advice(&self) -> String {
        match self.endpoint.role {
            Role::Client => "Check the upstream (its load and its dependencies) and the network to it.",
            Role::Server => "Check the calls that this process makes, its CPU load and its locks.",
        }
        .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let Endpoint { role, method, authority, path } = &self.endpoint;
        vec![
            ("role", role.name().into()),
            ("method", Value::Text(method.to_string())),
            ("authority", Value::Text(redactor.authority(authority).into_owned())),
            ("path", Value::Text(redactor.url(path).into_owned())),
            ("wait_ms", Value::Decimal(self.now as f64 / 1e6)),
            ("usual_ms", Value::Decimal(self.usual.0 as f64 / 1e6)),
            ("usual_p95_ms", Value::Decimal(self.usual.1 as f64 / 1e6)),
            ("history", Value::Count(self.history.into())),
            ("calls", Value::Count(self.calls)),
            ("longest_ms", Value::Decimal(self.longest as f64 / 1e6)),
            ("addresses", Value::counted(&self.addresses, "address", redactor)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::detector::{Kind, State},
        engine::tests::scenario::Scenario,
        text::redact::Redactor,
    };

    fn found(text: &str) -> Vec<State> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Slow);
        of.map(|incident| incident.state).collect()
    }

    #[test]
    fn the_address_that_is_slow_is_named_beside_the_authority() {
        let title = |text: &str| {
            let told = Scenario::told(text);
            let of = told.incidents().into_iter().rfind(|incident| incident.kind() == Kind::Slow);
            let title = of.map(|incident| incident.report.evidence.title(Redactor::new(false)));
            title.expect("it is found").split(" became").next().unwrap_or_default().to_owned()
        };
        // Two addresses in turn.
        let call = |n: u32, took: u32| {
            format!("+20 t1 GET /o/{n} host=api.internal port={} > 200 took={took}\n", 8081 + n % 2)
        };
        let usual: String = (0..80).map(|n| call(n, 10)).collect();
        let both: String = (0..20).map(|n| call(n, 200)).collect();
        assert_eq!(title(&(usual + &both)), "GET api.internal/o/{} (127.0.0.1:8081 and 1 more)");
        let same = "*80 +20 t1 GET /o/1 host=127.0.0.1:8080 > 200 took=10\n*12 +20 t1 GET /o/2 host=127.0.0.1:8080 > 200 took=200";
        assert_eq!(title(same), "GET 127.0.0.1:8080/o/{}");
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
            // Too short a history; too few; always slow; slightly slower; large responses.
            "*20 +20 t1 GET /a keep > 200 took=10\n*12 +20 t1 GET /a keep > 200 took=200".to_owned(),
            format!("{USUAL}*3 +20 t1 GET /o/2 keep > 200 took=900\n{USUAL}"),
            "*100 +20 t1 GET /a keep > 200 took=300\n*20 +20 t1 GET /a keep > 200 took=400".to_owned(),
            format!("{USUAL}*20 +20 t1 GET /o/2 keep > 200 took=25\n"),
        ] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }
}
