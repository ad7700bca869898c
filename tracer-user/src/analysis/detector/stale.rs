//! Failures on idle reused connections that the server had closed, or that a device on the path had dropped.
//!
//! ```text
//! connection: request, response, ... idle ..., request, RST or FIN without a byte of a response
//! another:    request, response               the upstream itself is healthy
//! ```
//!
//! An upstream that is down also drops its connections, idle or not. A failure is therefore held back until the next
//! call to the same upstream ends: it is reported if that call succeeds, and discarded if that call is dropped too.

use std::{sync::Arc, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint,
    threshold::thresholds,
};
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionId, ConnectionInfo, Role},
        exchange::{Exchange, ExchangeId, Outcome, ProcessRef},
    },
    text::{redact::Redactor, units},
};

thresholds! {
    /// Thresholds of the detector `stale-connection`.
    pub struct StaleThresholds {
        /// minimum time that the connection was idle before the failed request
        idle: Duration = Duration::from_secs(1),
        /// maximum time from the request to the failure; after a later failure the server may have processed the
        /// request
        within: Duration = Duration::from_secs(2),
        /// maximum wait for the next call to the upstream, whose result confirms or rules out the incident
        hold: Duration = Duration::from_secs(10),
        /// time without another such failure after which the incident is closed
        quiet: Duration = Duration::from_mins(1),
    }
}

/// Maximum number of connections whose last exchange is remembered. At the limit, all are removed.
const MAX_CONNECTIONS: usize = 65_536;
/// Maximum number of upstreams with an incident.
const MAX_UPSTREAMS: usize = 256;
/// Maximum number of idle times and exchanges kept for display.
const SHOWN: usize = 8;

/// Evidence of stale connections.
#[derive(Clone, Debug)]
pub struct StaleEvidence {
    /// Authority of the calls.
    pub authority: Box<str>,
    /// Addresses of the failures, with counts; bounded.
    pub addresses: Vec<(Box<str>, u64)>,
    /// Number of failures.
    pub failures: u64,
    /// Idle times before the failures in nanoseconds: the first and the latest.
    pub idle: Vec<u64>,
    /// Shortest idle time in nanoseconds.
    pub shortest: u64,
    /// Outcome of the latest failure.
    pub outcome: &'static str,
    /// Whether the latest request is idempotent (neither POST nor PATCH).
    pub idempotent: bool,
}

#[derive(Debug)]
struct Upstream {
    opened: Opened,
    last: Timestamp,
    exchanges: Vec<ExchangeId>,
    connection: Arc<ConnectionInfo>,
    process: ProcessRef,
    /// Whether no later call has shown that the upstream is healthy.
    doubtful: bool,
    evidence: StaleEvidence,
}

/// Detects failures of idle connections.
#[derive(Debug)]
pub struct Stale {
    thresholds: StaleThresholds,
    /// Time at which the last successful exchange of a connection ended.
    ended: FxHashMap<ConnectionId, Timestamp>,
    /// Failures that wait for the next call to their upstream.
    held: Vec<Held>,
    upstreams: FxHashMap<Box<str>, Upstream>,
}

#[derive(Debug)]
struct Held {
    authority: Box<str>,
    exchange: ExchangeId,
    connection: Arc<ConnectionInfo>,
    process: ProcessRef,
    idle: u64,
    outcome: &'static str,
    idempotent: bool,
    since: Timestamp,
    /// The whole connection has closed, not only a stream.
    over: bool,
}

impl Detect for Stale {
    type Thresholds = StaleThresholds;
    type Evidence = StaleEvidence;
    const ABOUT: About = About {
        looks_for: "a request that failed without an answer on a reused connection after an idle period",
        example: "a reused connection to stock:8080 failed after 5.0 s idle (reset), 3 times",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, ended: FxHashMap::default(), held: Vec::new(), upstreams: FxHashMap::default() }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Finished(exchange) if exchange.role == Role::Client => self.finished(exchange, now, findings),
            Observation::Closed(connection) => {
                let id = connection.info.id;
                self.ended.remove(&id);
                self.held.iter_mut().filter(|held| held.connection.id == id).for_each(|held| held.over = true);
            }
            Observation::Tick(_) if !self.upstreams.is_empty() || !self.held.is_empty() => self.look(now, findings),
            _ => {}
        }
    }
}

impl Stale {
    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let end = exchange.timing.end.unwrap_or(now);
        if exchange.outcome == Outcome::Complete {
            if self.ended.len() >= MAX_CONNECTIONS {
                self.ended.clear();
            }
            self.ended.insert(exchange.connection.id, end);
            if !self.held.is_empty() {
                self.next_call(exchange, true, now, findings);
            }
            return;
        }
        let id = exchange.connection.id;
        if exchange.stream.is_some() && self.held.iter().any(|held| held.connection.id == id) {
            // All calls on a connection fail with it: that is one failure.
            return;
        }
        let before = self.ended.remove(&id);
        let (Some(before), Some(asked)) = (before, exchange.timing.request_start) else {
            // A failure on a connection that never worked is a failure of the upstream.
            return self.next_call(exchange, false, now, findings);
        };
        let idle = asked.since(before);
        let unanswered = exchange.response.is_none() && exchange.timing.response_start.is_none();
        let dropped = matches!(exchange.outcome, Outcome::Reset | Outcome::Closed);
        if dropped && unanswered && idle < self.thresholds.idle.as_nanos() as u64 {
            self.next_call(exchange, false, now, findings);
        }
        if !dropped
            || !unanswered
            || idle < self.thresholds.idle.as_nanos() as u64
            || end.since(asked) > self.thresholds.within.as_nanos() as u64
        {
            return;
        }
        if self.held.len() < MAX_UPSTREAMS {
            self.held.push(Held {
                authority: endpoint::cut(endpoint::authority(exchange)),
                exchange: exchange.id,
                connection: Arc::clone(&exchange.connection),
                process: exchange.process.clone(),
                idle,
                outcome: exchange.outcome.name(),
                idempotent: exchange
                    .request
                    .as_ref()
                    .is_some_and(|request| !matches!(&*request.method, "POST" | "PATCH")),
                since: now,
                over: exchange.stream.is_none(),
            });
        }
    }

    /// Decides the held failures of an upstream by the next call to it.
    fn next_call(&mut self, exchange: &Exchange, well: bool, now: Timestamp, findings: &mut Findings) {
        let authority = endpoint::cut(endpoint::authority(exchange));
        let (of, others) = std::mem::take(&mut self.held).into_iter().partition(|held| held.authority == authority);
        self.held = others;
        if well {
            let of: Vec<Held> = of;
            for held in of.into_iter().filter(|held| held.over) {
                self.failed(held, false, now, findings);
            }
        }
    }

    fn failed(&mut self, held: Held, doubtful: bool, now: Timestamp, findings: &mut Findings) {
        let Held { authority, exchange, connection, process, idle, outcome, idempotent, .. } = held;
        if let Some(upstream) = self.upstreams.get_mut(&authority) {
            let evidence = &mut upstream.evidence;
            evidence.failures += 1;
            endpoint::count(&mut evidence.addresses, endpoint::cut_str(&connection.remote_text));
            evidence.shortest = evidence.shortest.min(idle);
            (evidence.outcome, evidence.idempotent) = (outcome, idempotent);
            keep(&mut evidence.idle, idle);
            keep(&mut upstream.exchanges, exchange);
            upstream.last = now;
            upstream.doubtful &= doubtful;
            findings.update(upstream.opened, now, upstream.report());
            return;
        }
        if self.upstreams.len() >= MAX_UPSTREAMS {
            return;
        }
        let mut upstream = Upstream {
            opened: Opened { id: crate::model::exchange::IncidentId(0), since: now },
            last: now,
            exchanges: vec![exchange],
            connection: Arc::clone(&connection),
            process,
            doubtful,
            evidence: StaleEvidence {
                authority: authority.clone(),
                addresses: vec![(endpoint::cut(&connection.remote_text), 1)],
                failures: 1,
                idle: vec![idle],
                shortest: idle,
                outcome,
                idempotent,
            },
        };
        upstream.opened = findings.open(now, upstream.report());
        self.upstreams.insert(authority, upstream);
    }

    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        let hold = self.thresholds.hold.as_nanos() as u64;
        let (over, waiting) =
            std::mem::take(&mut self.held).into_iter().partition(|held| now.since(held.since) >= hold);
        self.held = waiting;
        let over: Vec<Held> = over;
        for held in over.into_iter().filter(|held| held.over) {
            self.failed(held, true, now, findings);
        }
        let quiet = self.thresholds.quiet.as_nanos() as u64;
        self.upstreams.retain(|_, upstream| {
            let goes_on = now.since(upstream.last) < quiet;
            if !goes_on {
                findings.close(upstream.opened, now, upstream.last, upstream.report());
            }
            goes_on
        });
    }
}

/// Appends an item. Beyond the limit the first item and the latest ones stay.
fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= SHOWN {
        list.remove(1);
    }
    list.push(item);
}

impl Upstream {
    fn report(&self) -> Report {
        Report {
            exchanges: self.exchanges.clone(),
            connection: Some(Arc::clone(&self.connection)),
            process: self.process.clone(),
            confidence: Confidence {
                explicit: vec![],
                inferred: vec![
                    "the connection had worked, was idle, and failed before any response; other calls succeeded",
                ],
                doubtful: self.doubtful,
            },
            evidence: self.evidence.clone().into(),
        }
    }
}

impl StaleEvidence {
    /// Authority of the calls, with the addresses that differ from it.
    pub fn upstream(&self, redactor: Redactor) -> String {
        let addresses = endpoint::others(endpoint::names(&self.addresses), &self.authority, redactor);
        format!("{}{addresses}", redactor.authority(&self.authority))
    }
}

impl Explain for StaleEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let upstream = self.upstream(redactor);
        let idle = units::seconds(self.idle.last().copied().unwrap_or_default());
        let times = if self.failures > 1 { format!(", {} times", self.failures) } else { String::new() };
        format!("a reused connection to {upstream} failed after {idle} idle ({}){times}", self.outcome)
    }

    fn advice(&self) -> String {
        let shortest = units::seconds(self.shortest);
        let repeat = if self.idempotent {
            "The client may resend the request automatically."
        } else {
            "The request is not idempotent: it is unknown whether it was executed."
        };
        format!(
            "The server, or a proxy or firewall in between, drops idle connections before the client does: make the \
             client keep idle connections for less than {shortest}, or make the server keep them longer. {repeat}"
        )
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        vec![
            ("authority", Value::Text(redactor.authority(&self.authority).into_owned())),
            ("failures", Value::Count(self.failures)),
            ("idle_ms", Value::list(&self.idle, |idle| Value::milliseconds(*idle))),
            ("shortest_idle_ms", Value::milliseconds(self.shortest)),
            ("outcome", self.outcome.into()),
            ("idempotent", Value::Flag(self.idempotent)),
            ("addresses", Value::counted(&self.addresses, "address", redactor)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::detector::{Evidence, Kind, State, tests::streams::Streams},
        engine::tests::scenario::Scenario,
        text::redact::Redactor,
    };

    fn found(text: &str) -> Vec<(State, u64)> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Stale).map(|incident| {
            let Evidence::Stale(evidence) = &incident.report.evidence else { unreachable!() };
            (incident.state, evidence.failures)
        });
        of.collect()
    }

    #[test]
    fn a_reset_after_idling_is_found_and_counted_by_upstream() {
        let text = "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset\n+10 t1 GET /a keep > 200\n\
                    +5000 t1 GET /a keep > closed\n+10 t1 GET /a keep > 200\n+61000 t1 GET /b keep > 200";
        assert_eq!(found(text), [(State::Open, 1), (State::Update, 2), (State::Closed, 2)]);
        let alone = "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset\n+11000 t1 GET /b port=99 host=x > 200";
        assert_eq!(found(alone), [(State::Open, 1)], "nothing more is known of the upstream");
    }

    #[test]
    fn the_address_is_named_beside_the_authority() {
        let round = |port: u32| {
            format!("+0 t1 GET /a keep host=api port={port} > 200\n+5000 t1 GET /a keep host=api > reset\n")
        };
        let told = Scenario::told(&(round(8081) + &round(8082) + "+10 t1 GET /a keep host=api > 200\n"));
        let titles: Vec<String> =
            told.incidents().iter().map(|incident| incident.report.evidence.title(Redactor::new(false))).collect();
        assert_eq!(
            titles,
            [
                "a reused connection to api (127.0.0.1:8081) failed after 5.0 s idle (reset)",
                "a reused connection to api (127.0.0.1:8081 and 1 more) failed after 5.0 s idle (reset), 2 times"
            ]
        );
    }

    #[test]
    fn what_is_not_stale() {
        // Failed at once; a first request; a partial response; long after the request; abandoned by the client.
        for text in [
            "+0 t1 GET /a keep > 200\n+10 t1 GET /a keep > reset",
            "+0 t1 GET /a keep > reset",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > 500",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset took=3000",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > timeout",
            // The upstream also drops new connections.
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset\n+100 t1 GET /a keep > reset\n+100 t1 GET /a keep > 200",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_connection_that_fails_with_several_calls_is_one_failure() {
        let idle = "+0 t1 GET /a on=c1 stream=1 > 200\n+6000 t1 GET /a on=c1 stream=3\n+0 t2 GET /b on=c1 stream=5\n";
        let again = "+10 t1 GET /a on=c2 stream=1 > 200\n";
        let incidents = Streams::found(Kind::Stale, &format!("{idle}+1 t1 on=c1 > lost\n{again}"));
        let failures = incidents.iter().map(|incident| match &incident.report.evidence {
            Evidence::Stale(evidence) => (incident.state, evidence.failures),
            other => panic!("{other:?}"),
        });
        assert_eq!(failures.collect::<Vec<_>>(), [(State::Open, 1)]);
        // A stream that is reset leaves the connection as it is.
        for rest in ["+10 t1 GET /a on=c1 stream=7 > 200\n", again] {
            let text = format!("{idle}+1 t1 on=c1 stream=3 > reset\n{rest}+11000 t1 GET /a on=c1 stream=9 > 200\n");
            assert!(Streams::found(Kind::Stale, &text).is_empty(), "{text}");
        }
    }
}
