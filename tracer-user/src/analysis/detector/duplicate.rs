//! Identical requests of a non-idempotent method that are in flight at once: a race, not a retry.
//!
//! ```text
//! first  |------------------|        a retry would start after the first has failed
//! second        |-----------------|
//! ```

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint,
    threshold::thresholds,
};
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Role},
        exchange::{Exchange, ExchangeId, OpenExchange, ProcessRef, Request, Step},
    },
    text::redact::Redactor,
};

thresholds! {
    /// Thresholds of the detector `duplicate`.
    pub struct DuplicateThresholds {
        /// minimum body size in bytes from which requests without an idempotency key are compared by their body
        min_body: u32 = 8,
        /// number of consecutive calls with the same body after which the body counts as a normal repetition and is
        /// ignored
        habit: u32 = 3,
    }
}

/// Maximum number of watched requests; further ones are ignored.
const MAX_OPEN: usize = 4096;
/// Maximum number of remembered contents, to recognise those that repeat by design; at the limit, all are removed.
const MAX_HABITS: usize = 4096;

/// Headers whose equal values mark two requests as one operation.
const KEYS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// Evidence of a duplicate.
#[derive(Clone, Debug)]
pub struct DuplicateEvidence {
    /// Role of the target in the requests.
    pub role: Role,
    /// Request method.
    pub method: Box<str>,
    /// Authority of the requests.
    pub authority: Box<str>,
    /// Remote addresses of the two requests, with the number of requests to each; empty for inbound calls.
    pub addresses: Vec<(Box<str>, u64)>,
    /// Path with query.
    pub path: Box<str>,
    /// Header with the same value in both requests, if any.
    pub key: Option<&'static str>,
    /// Nanoseconds between the starts of the two requests.
    pub apart: u64,
    /// Statuses or outcomes of those that have ended.
    pub results: Vec<Box<str>>,
}

#[derive(Debug)]
struct First {
    exchange: ExchangeId,
    connection: Arc<ConnectionInfo>,
    started: Timestamp,
}

#[derive(Debug)]
struct Pair {
    opened: Opened,
    exchanges: [ExchangeId; 2],
    connection: Arc<ConnectionInfo>,
    process: ProcessRef,
    evidence: DuplicateEvidence,
}

/// Detects identical requests in flight.
#[derive(Debug)]
pub struct Duplicate {
    thresholds: DuplicateThresholds,
    first: FxHashMap<u64, First>,
    /// Key of each open request, to remove it when it ends.
    keys: FxHashMap<ExchangeId, u64>,
    /// Number of times that each content was repeated after its response.
    habits: FxHashMap<u64, u32>,
    pairs: Vec<Pair>,
}

impl Detect for Duplicate {
    type Thresholds = DuplicateThresholds;
    type Evidence = DuplicateEvidence;
    const ABOUT: About = About {
        looks_for: "the same non-idempotent request in flight twice at the same time, on two connections or streams",
        example: "POST bank:8080/v1/transfers was sent twice concurrently, 12 ms apart (same Idempotency-Key)",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self {
            thresholds,
            first: FxHashMap::default(),
            keys: FxHashMap::default(),
            habits: FxHashMap::default(),
            pairs: Vec::new(),
        }
    }

    fn wants(&self, step: Step, _role: Role) -> bool {
        step == Step::RequestDone
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Exchange(Step::RequestDone, exchange) => self.asked(exchange, now, findings),
            Observation::Finished(exchange) => self.finished(exchange, now, findings),
            _ => {}
        }
    }
}

impl Duplicate {
    fn asked(&mut self, exchange: &OpenExchange<'_>, now: Timestamp, findings: &mut Findings) {
        let Some(request) = exchange.request.filter(|request| !is_idempotent(&request.method)) else { return };
        let Some((key, header)) = self.key(exchange, request) else { return };
        let Some(first) = self.first.get(&key) else {
            if self.first.len() < MAX_OPEN {
                let first = First {
                    exchange: exchange.id,
                    connection: Arc::clone(exchange.connection),
                    started: exchange.started,
                };
                self.first.insert(key, first);
                self.keys.insert(exchange.id, key);
            }
            return;
        };
        // Pipelined requests on one connection run one after the other. Requests on streams run at once.
        let is_pipelined = first.connection.id == exchange.connection.id && exchange.stream.is_none();
        if is_pipelined
            || (header.is_none() && self.habits.get(&key).is_some_and(|times| *times >= self.thresholds.habit))
        {
            return;
        }
        let mut addresses = Vec::new();
        if exchange.role == Role::Client {
            for connection in [&first.connection, exchange.connection] {
                endpoint::count(&mut addresses, endpoint::cut_str(&connection.remote_text));
            }
        }
        let evidence = DuplicateEvidence {
            addresses,
            role: exchange.role,
            method: endpoint::cut(&request.method),
            authority: endpoint::cut(request.authority().unwrap_or(&exchange.connection.remote_text)),
            path: endpoint::cut(request.path()),
            key: header,
            apart: exchange.started.since(first.started),
            results: Vec::new(),
        };
        let (exchanges, process) = ([first.exchange, exchange.id], exchange.process.clone());
        let mut pair = Pair {
            opened: Opened { id: crate::model::exchange::IncidentId(0), since: now },
            exchanges,
            connection: Arc::clone(exchange.connection),
            process,
            evidence,
        };
        pair.opened = findings.open(now, pair.report());
        if self.pairs.len() < MAX_OPEN {
            self.pairs.push(pair);
        }
    }

    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        if self.keys.is_empty() && self.pairs.is_empty() {
            return;
        }
        if let Some(key) = self.keys.remove(&exchange.id) {
            self.first.remove(&key);
            if self.habits.len() >= MAX_HABITS {
                self.habits.clear();
            }
            *self.habits.entry(key).or_default() += 1;
        }
        let result = || match &exchange.response {
            Some(response) => response.status.to_string().into_boxed_str(),
            None => exchange.outcome.name().into(),
        };
        self.pairs.retain_mut(|pair| {
            if !pair.exchanges.contains(&exchange.id) {
                return true;
            }
            pair.evidence.results.push(result());
            findings.belongs(pair.opened);
            if pair.evidence.results.len() < 2 {
                return true;
            }
            findings.close(pair.opened, now, exchange.timing.end.unwrap_or(now), pair.report());
            false
        });
    }

    /// Key that identical requests share, and the header that it includes.
    fn key(&self, exchange: &OpenExchange<'_>, request: &Request) -> Option<(u64, Option<&'static str>)> {
        use std::hash::{Hash as _, Hasher as _};
        let header = KEYS.into_iter().find_map(|name| Some((name, request.headers.get(name)?)));
        if header.is_none() && request.body.captured.len() < self.thresholds.min_body as usize {
            return None;
        }
        let mut hasher = rustc_hash::FxHasher::default();
        (exchange.role == Role::Client, exchange.process.pid).hash(&mut hasher);
        request.method.hash(&mut hasher);
        request.authority().hash(&mut hasher);
        request.path().hash(&mut hasher);
        request.body.bytes.hash(&mut hasher);
        request.body.captured.hash(&mut hasher);
        // The user of the request.
        request.headers.get("authorization").hash(&mut hasher);
        request.headers.get("cookie").hash(&mut hasher);
        if let Some((name, value)) = header {
            (name, value).hash(&mut hasher);
        }
        Some((hasher.finish(), header.map(|(name, _)| name)))
    }
}

/// Idempotent methods of RFC 9110 section 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "CONNECT")
}

impl Pair {
    fn report(&self) -> Report {
        let explicit = self.evidence.key.into_iter().collect();
        let inferred =
            if self.evidence.key.is_some() { vec![] } else { vec!["same method, URL, credentials and content"] };
        Report {
            exchanges: self.exchanges.to_vec(),
            connection: Some(Arc::clone(&self.connection)),
            process: self.process.clone(),
            confidence: Confidence { explicit, inferred, doubtful: self.evidence.key.is_none() },
            evidence: self.evidence.clone().into(),
        }
    }
}

impl DuplicateEvidence {
    /// The call in words, with the addresses that differ from the authority.
    pub fn call(&self, redactor: Redactor) -> String {
        let addresses = endpoint::others(endpoint::names(&self.addresses), &self.authority, redactor);
        format!("{} {}{}{addresses}", self.method, redactor.authority(&self.authority), redactor.url(&self.path))
    }
}

impl Explain for DuplicateEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let call = self.call(redactor);
        let was = if self.role == Role::Client { "sent" } else { "received" };
        let same = self.key.map_or_else(String::new, |key| format!(" (same {key})"));
        let results = if self.results.is_empty() { String::new() } else { format!(": {}", self.results.join(", ")) };
        let apart = self.apart as f64 / 1e6;
        format!("{call} was {was} twice concurrently, {apart:.0} ms apart{same}{results}")
    }

    fn advice(&self) -> String {
        if self.key.is_some() {
            "Two places send the same operation: the server must make one request wait for the other, or reject it."
        } else {
            "If this is one operation (a double click, two workers, a hedged call), it may be executed twice: send an \
             idempotency key, and make sure that only one place sends it."
        }
        .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        vec![
            ("method", Value::Text(self.method.to_string())),
            ("authority", Value::Text(redactor.authority(&self.authority).into_owned())),
            ("path", Value::Text(redactor.url(&self.path).into_owned())),
            ("key", Value::from(self.key)),
            ("apart_ms", Value::milliseconds(self.apart)),
            ("results", Value::list(&self.results, |result| Value::Text(result.to_string()))),
            ("addresses", Value::counted(&self.addresses, "address", redactor)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::detector::{Evidence, Kind, State, tests::streams::states},
        engine::tests::scenario::Scenario,
    };

    fn found(text: &str) -> Vec<(State, String, String)> {
        let told = Scenario::told(text);
        let incidents = told.incidents();
        let of = incidents.iter().filter(|incident| incident.kind() == Kind::Duplicate);
        of.map(|incident| {
            let Evidence::Duplicate(evidence) = &incident.report.evidence else { unreachable!() };
            (incident.state, evidence.results.join(","), incident.report.confidence.level().to_owned())
        })
        .collect()
    }

    #[test]
    fn the_same_post_twice_at_once_is_found_and_closed_with_both_answers() {
        let text = "+0 t1 POST /pay body=12345678\n+5 t2 POST /pay body=12345678\n+50 t1 > 201\n+9 t2 > 409";
        let said = found(text);
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!((said[0].0, &*said[0].2), (State::Open, "possible"));
        assert_eq!((said[1].0, &*said[1].1), (State::Closed, "201,409"));
        let told = Scenario::told(text);
        assert!(told.exchanges().iter().all(|exchange| exchange.incidents.len() == 1), "{:?}", told.exchanges());
    }

    #[test]
    fn the_same_key_makes_it_certain() {
        let text = "+0 t1 POST /pay Idempotency-Key=a\n+5 t2 POST /pay Idempotency-Key=a\n+50 t1 > 201\n+9 t2 > 201";
        assert_eq!(found(text)[0].2, "certain");
        let text = "+0 t1 POST /pay Idempotency-Key=a\n+5 t2 POST /pay Idempotency-Key=b\n+50 t1 > 201\n+9 t2 > 201";
        assert!(found(text).is_empty());
    }

    #[test]
    fn what_is_no_race() {
        // One after the other; a retry; other content; an idempotent method; no content to compare; a habit.
        for text in [
            "+0 t1 POST /a body=12345678 > 200\n+1 t2 POST /a body=12345678 > 200",
            "+0 t1 POST /a body=12345678 > 503\n+100 t1 POST /a body=12345678 > 200",
            "+0 t1 POST /a body=12345678\n+1 t2 POST /a body=12345679\n+1 t1 > 200\n+1 t2 > 200",
            "+0 t1 PUT /a body=12345678\n+1 t2 PUT /a body=12345678\n+1 t1 > 200\n+1 t2 > 200",
            "+0 t1 POST /a\n+1 t2 POST /a\n+1 t1 > 200\n+1 t2 > 200",
            "*4 +10 t1 POST /beat body=12345678 > 200\n+0 t1 POST /beat body=12345678\n+1 t2 POST /beat body=12345678\n+1 t1 > 200\n+1 t2 > 200",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn streams_of_one_connection_run_at_once_and_pipelined_requests_do_not() {
        let twice = |first: &str, second: &str| {
            format!(
                "+0 t1 POST /pay on=c1 {first} body=12345678\n+5 t2 POST /pay on=c1 {second} body=12345678\n\
                 +50 t1 on=c1 {first} > 201\n+9 t2 on=c1 {second} > 409"
            )
        };
        assert_eq!(states(Kind::Duplicate, &twice("stream=1", "stream=3")), [State::Open, State::Closed]);
        assert!(states(Kind::Duplicate, &twice("", "")).is_empty());
    }
}
