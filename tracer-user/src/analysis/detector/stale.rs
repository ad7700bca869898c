//! A failure on a kept connection that had idled: the other side had closed it, or somebody between had forgotten it.
//!
//! ```text
//! connection: request, answer, ... idle ..., request, RST or FIN without a byte of an answer
//! another:    request, answer               the upstream itself is well
//! ```
//!
//! An upstream that is down drops its connections as well, idle or not. So it is held back until the next call to the
//! same upstream has ended: well, and it is said; dropped too, and it is not.

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
        exchange::{Exchange, ExchangeId, Outcome, ProcessRef, Step},
    },
    text::redact::Redactor,
};

thresholds! {
    /// What the stale-connection detector goes by.
    pub struct StaleThresholds {
        /// The connection had been idle for so long
        idle: Duration = Duration::from_secs(1),
        /// It failed so soon after the request: later, the server had taken it
        within: Duration = Duration::from_secs(2),
        /// What the next call would tell is waited for, so long
        hold: Duration = Duration::from_secs(10),
        /// An upstream where it did not happen again for so long is no incident any more
        quiet: Duration = Duration::from_mins(1),
    }
}

/// Connections whose last exchange is remembered; beyond it those of all are forgotten.
const MAX_CONNECTIONS: usize = 65_536;
/// Upstreams with an incident, at most.
const MAX_UPSTREAMS: usize = 256;
/// Idle times and exchanges that are kept to be shown.
const SHOWN: usize = 8;

/// What a stale connection rests on.
#[derive(Clone, Debug)]
pub struct StaleEvidence {
    /// Whom the calls were for.
    pub authority: Box<str>,
    /// Addresses where they failed, as far as they are kept, with how often.
    pub addresses: Vec<(Box<str>, u64)>,
    /// Failures.
    pub failures: u64,
    /// How long the connections had been idle, the latest ones, nanoseconds.
    pub idle: Vec<u64>,
    /// The shortest of all.
    pub shortest: u64,
    /// How the latest failed.
    pub outcome: &'static str,
    /// The latest request may have been carried out.
    pub idempotent: bool,
}

#[derive(Debug)]
struct Upstream {
    opened: Opened,
    last: Timestamp,
    exchanges: Vec<ExchangeId>,
    connection: Arc<ConnectionInfo>,
    process: ProcessRef,
    /// Nothing tells that the upstream was well.
    doubtful: bool,
    evidence: StaleEvidence,
}

/// Finds failures of connections that had idled.
#[derive(Debug)]
pub struct Stale {
    thresholds: StaleThresholds,
    /// When the last exchange of a connection ended well.
    ended: FxHashMap<ConnectionId, Timestamp>,
    /// Failures of which it is not known yet whether the upstream is well.
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
}

impl Detect for Stale {
    type Thresholds = StaleThresholds;
    type Evidence = StaleEvidence;
    const ABOUT: About = About {
        looks_for: "a failure without any answer on a kept connection that had idled",
        example: "a kept connection to stock:8080 failed after 5.0 s idle (reset), 3 times: its keep-alive is over before ours",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, ended: FxHashMap::default(), held: Vec::new(), upstreams: FxHashMap::default() }
    }

    fn wants(&self, _step: Step, _role: Role) -> bool {
        false
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Finished(exchange) if exchange.role == Role::Client => self.finished(exchange, now, findings),
            Observation::Closed(connection) => {
                self.ended.remove(&connection.info.id);
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
        let before = self.ended.remove(&exchange.connection.id);
        let (Some(before), Some(asked)) = (before, exchange.timing.request_start) else {
            // Fails on a connection that had never worked: so does the upstream.
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
            });
        }
    }

    /// A call to an upstream has ended that may be well.
    fn next_call(&mut self, exchange: &Exchange, well: bool, now: Timestamp, findings: &mut Findings) {
        let authority = endpoint::cut(endpoint::authority(exchange));
        let (of, others) = std::mem::take(&mut self.held).into_iter().partition(|held| held.authority == authority);
        self.held = others;
        if well {
            let of: Vec<Held> = of;
            for held in of {
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
        for held in over {
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

/// The first stays, of the others the latest.
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
                    "the connection had worked, had idled, and failed before any answer; other calls went well",
                ],
                doubtful: self.doubtful,
            },
            evidence: self.evidence.clone().into(),
        }
    }
}

impl StaleEvidence {
    /// Whom the calls were for; authority and address where they differ.
    pub fn upstream(&self, redactor: Redactor) -> String {
        let addresses = endpoint::others(endpoint::names(&self.addresses), &self.authority, redactor);
        format!("{}{addresses}", redactor.authority(&self.authority))
    }
}

impl Explain for StaleEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let upstream = self.upstream(redactor);
        let idle = self.idle.last().copied().unwrap_or_default() as f64 / 1e9;
        let times = if self.failures > 1 { format!(", {} times", self.failures) } else { String::new() };
        format!("a kept connection to {upstream} failed after {idle:.1} s idle ({}){times}", self.outcome)
    }

    fn advice(&self) -> String {
        let shortest = self.shortest as f64 / 1e9;
        let repeat = if self.idempotent {
            "The client may send the request again by itself."
        } else {
            "The request is not idempotent: whether it was carried out is not known."
        };
        format!(
            "The server, or a proxy or firewall between, gives up idle connections before the client does: let the client \
             keep them for less than {shortest:.1} s idle, or the server for longer. {repeat}"
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
        analysis::detector::{Evidence, Kind, State},
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
                "a kept connection to api (127.0.0.1:8081) failed after 5.0 s idle (reset)",
                "a kept connection to api (127.0.0.1:8081 and 1 more) failed after 5.0 s idle (reset), 2 times"
            ]
        );
    }

    #[test]
    fn what_is_not_stale() {
        // At once; a first request; an answer; long after the request; given up by the client.
        for text in [
            "+0 t1 GET /a keep > 200\n+10 t1 GET /a keep > reset",
            "+0 t1 GET /a keep > reset",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > 500",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset took=3000",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > timeout",
            // The upstream drops new connections as well.
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset\n+100 t1 GET /a keep > reset\n+100 t1 GET /a keep > 200",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
