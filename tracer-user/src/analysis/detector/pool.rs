//! Exhausted pools: all connections to one upstream are busy, and calls wait for one inside the target.
//!
//! ```text
//! inbound open   12   more than the pool has connections: some of them wait
//! outbound busy   8   a constant number; as one call ends, the next starts at once on its connection
//! ```
//!
//! The waiting itself is invisible from outside. It is inferred, and only if the target has inbound calls: a program
//! that intentionally makes a fixed number of calls at once looks the same.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint,
    threshold::thresholds,
};
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionId, ConnectionInfo, Role},
        exchange::{Exchange, ExchangeId, OpenExchange, ProcessRef, Step},
    },
    text::{redact::Redactor, units},
};

thresholds! {
    /// Thresholds of the detector `pool-exhaustion`.
    pub struct PoolThresholds {
        /// maximum gap between the end of one call and the start of the next on the same connection that indicates a
        /// waiting call
        at_once: Duration = Duration::from_millis(3),
        /// minimum share of recent calls to the upstream that waited for a connection
        share: f64 = 0.8,
        /// number of recent calls to the upstream that are examined
        calls: u32 = 20,
        /// minimum number of open inbound calls beyond the number of busy connections
        waiting: u32 = 2,
    }
}

/// Maximum number of watched upstreams; further ones are ignored.
const MAX_UPSTREAMS: usize = 1024;
/// Maximum number of watched calls; further ones are ignored.
const MAX_OPEN: usize = 65_536;
/// Time in nanoseconds without a call after which waiting has ended.
const QUIET: u64 = 5_000_000_000;

/// Evidence of an exhausted pool.
#[derive(Clone, Debug)]
pub struct PoolEvidence {
    /// Remote address of the connections.
    pub remote: Box<str>,
    /// Number of connections that are constantly busy.
    pub busy: u64,
    /// Maximum number of inbound calls open at the same time.
    pub inbound: u64,
    /// Share of the last calls that started as another ended on their connection, from 0 to 1.
    pub share: f64,
    /// Duration of the incident in nanoseconds.
    pub lasting: u64,
    /// Whether waiting has ended.
    pub over: bool,
}

#[derive(Debug)]
struct Upstream {
    /// Pending calls by connection. A connection that carries several is one busy connection.
    busy: FxHashMap<ConnectionId, u32>,
    /// Time at which the last call on each connection ended.
    freed: FxHashMap<ConnectionId, Timestamp>,
    /// The last calls: whether each had waited for its connection, the busy connections, and the pending inbound calls.
    last: VecDeque<(bool, u64, u64)>,
    last_call: Timestamp,
    told: Option<Opened>,
    connection: Arc<ConnectionInfo>,
    process: ProcessRef,
}

/// Detects pools in which calls wait.
#[derive(Debug)]
pub struct Pool {
    thresholds: PoolThresholds,
    upstreams: FxHashMap<(u32, Box<str>), Upstream>,
    open: FxHashSet<ExchangeId>,
    /// Number of open inbound calls by process.
    inbound: FxHashMap<u32, u64>,
    /// Whether there were any inbound calls.
    serves: bool,
    /// Whether any process makes calls; otherwise no call can wait for a connection.
    asks: bool,
    told: u32,
}

impl Detect for Pool {
    type Thresholds = PoolThresholds;
    type Evidence = PoolEvidence;
    const ABOUT: About = About {
        looks_for: "a connection pool whose connections are all busy while callers of the target wait",
        example: "all 8 connections to 10.0.0.7:8080 are busy while 12 callers wait: each call begins as soon as \
                  another ends",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self {
            thresholds,
            upstreams: FxHashMap::default(),
            open: FxHashSet::default(),
            inbound: FxHashMap::default(),
            serves: false,
            asks: false,
            told: 0,
        }
    }

    fn wants(&self, step: Step, role: Role) -> bool {
        // A process without inbound calls has no waiting callers.
        step == Step::RequestDone && if role == Role::Server { self.asks } else { self.serves }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            // Other detectors may request the step, so it also arrives unrequested.
            Observation::Exchange(Step::RequestDone, exchange) if self.wants(Step::RequestDone, exchange.role) => {
                self.began(exchange, now, findings);
            }
            Observation::Finished(exchange) => self.ended(exchange, now),
            Observation::Tick(_) if self.told > 0 => self.look(now, findings),
            Observation::ProcessEnded(pid) => {
                self.inbound.remove(pid);
            }
            _ => {}
        }
    }
}

impl Pool {
    fn began(&mut self, exchange: &OpenExchange<'_>, now: Timestamp, findings: &mut Findings) {
        if self.open.len() >= MAX_OPEN || !self.open.insert(exchange.id) {
            return;
        }
        let pid = exchange.process.pid;
        if exchange.role == Role::Server {
            self.serves = true;
            *self.inbound.entry(pid).or_default() += 1;
            return;
        }
        let inbound = self.inbound.get(&pid).copied().unwrap_or_default();
        let key = (pid, endpoint::cut(&exchange.connection.remote_text));
        if !self.upstreams.contains_key(&key) {
            if self.upstreams.len() >= MAX_UPSTREAMS {
                return;
            }
            self.upstreams.insert(key.clone(), Upstream::new(exchange, now));
        }
        let Some(upstream) = self.upstreams.get_mut(&key) else { return };
        let calls = upstream.busy.entry(exchange.connection.id).or_default();
        *calls += 1;
        // A call that joins others on a connection waits for none.
        let joins = *calls > 1;
        upstream.last_call = now;
        let at_once = self.thresholds.at_once.as_nanos() as u64;
        let freed = upstream.freed.remove(&exchange.connection.id);
        let waited = !joins && freed.is_some_and(|freed| exchange.started.since(freed) <= at_once);
        if upstream.last.len() >= self.thresholds.calls.max(1) as usize {
            upstream.last.pop_front();
        }
        upstream.last.push_back((waited, upstream.busy.len() as u64, inbound));
        upstream.judge(&self.thresholds, now, findings, &mut self.told);
    }

    fn ended(&mut self, exchange: &Exchange, now: Timestamp) {
        self.asks |= exchange.role == Role::Client;
        if self.open.is_empty() || !self.open.remove(&exchange.id) {
            return;
        }
        let pid = exchange.process.pid;
        if exchange.role == Role::Server {
            // Processes come and go, and their ends may not be seen. One that ended took its calls with it.
            if let Entry::Occupied(mut open) = self.inbound.entry(pid) {
                *open.get_mut() -= 1;
                if *open.get() == 0 {
                    open.remove();
                }
            }
            return;
        }
        if let Some(upstream) = self.upstreams.get_mut(&(pid, endpoint::cut(&exchange.connection.remote_text))) {
            let id = exchange.connection.id;
            let Entry::Occupied(mut calls) = upstream.busy.entry(id) else { return };
            *calls.get_mut() -= 1;
            if *calls.get() > 0 {
                return;
            }
            calls.remove();
            if upstream.freed.len() >= 1024 {
                upstream.freed.clear();
            }
            upstream.freed.insert(id, exchange.timing.end.unwrap_or(now));
        }
    }

    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        for upstream in self.upstreams.values_mut() {
            if let Some(opened) = upstream.told
                && now.since(upstream.last_call) >= QUIET
            {
                findings.close(opened, now, upstream.last_call, upstream.report(now, true));
                upstream.told = None;
                upstream.last.clear();
                self.told -= 1;
            }
            if let Some(opened) = upstream.told {
                findings.keep(opened, now, upstream.last_call.0, || upstream.report(now, false));
            }
        }
    }
}

impl Upstream {
    fn new(exchange: &OpenExchange<'_>, now: Timestamp) -> Self {
        Self {
            busy: FxHashMap::default(),
            freed: FxHashMap::default(),
            last: VecDeque::new(),
            last_call: now,
            told: None,
            connection: Arc::clone(exchange.connection),
            process: exchange.process.clone(),
        }
    }

    fn share(&self) -> f64 {
        let waited = self.last.iter().filter(|(waited, ..)| *waited).count();
        waited as f64 / self.last.len().max(1) as f64
    }

    fn judge(&mut self, thresholds: &PoolThresholds, now: Timestamp, findings: &mut Findings, told: &mut u32) {
        if self.last.len() < thresholds.calls as usize {
            return;
        }
        let share = self.share();
        let busiest = self.last.iter().map(|(_, busy, _)| *busy).max().unwrap_or_default();
        // Each call finds the maximum number of connections busy, and more callers than connections.
        let full = self.last.iter().filter(|(_, busy, _)| *busy == busiest).count();
        let crowded =
            self.last.iter().filter(|(_, busy, inbound)| *inbound >= *busy + u64::from(thresholds.waiting)).count();
        let most = |count: usize| count as f64 >= thresholds.share * self.last.len() as f64;
        let exhausted = share >= thresholds.share && busiest >= 1 && most(full) && most(crowded);
        match self.told {
            None if exhausted => {
                self.told = Some(findings.open(now, self.report(now, false)));
                *told += 1;
            }
            Some(opened) if share < thresholds.share / 2.0 => {
                findings.close(opened, now, now, self.report(now, true));
                self.told = None;
                *told -= 1;
            }
            _ => {}
        }
    }

    fn report(&self, now: Timestamp, over: bool) -> Report {
        let evidence = PoolEvidence {
            remote: endpoint::cut(&self.connection.remote_text),
            busy: self.last.iter().map(|(_, busy, _)| *busy).max().unwrap_or_default(),
            inbound: self.last.iter().map(|(_, _, inbound)| *inbound).max().unwrap_or_default(),
            share: self.share(),
            over,
            lasting: self.told.map_or(0, |opened| now.since(opened.since)),
        };
        Report {
            exchanges: Vec::new(),
            connection: Some(Arc::clone(&self.connection)),
            process: self.process.clone(),
            confidence: Confidence {
                explicit: vec![],
                inferred: vec![
                    "each call begins as another ends, the number of concurrent calls is constant, and more callers \
                     are waiting",
                ],
                doubtful: true,
            },
            evidence: evidence.into(),
        }
    }
}

impl Explain for PoolEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let remote = redactor.authority(&self.remote);
        let (busy, inbound) = (self.busy, self.inbound);
        if self.over {
            let lasting = units::seconds(self.lasting);
            return format!("callers no longer wait for one of the {busy} connections to {remote}, after {lasting}");
        }
        format!(
            "all {busy} connections to {remote} are busy while {inbound} callers wait: each call begins as soon as \
             another ends"
        )
    }

    fn advice(&self) -> String {
        "Calls seem to wait for a pooled connection: make the upstream respond sooner, or enlarge the pool if the \
         upstream can handle it; and limit how long a call may wait for a connection."
            .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        vec![
            ("remote", Value::Text(redactor.authority(&self.remote).into_owned())),
            ("busy", Value::Count(self.busy)),
            ("inbound", Value::Count(self.inbound)),
            ("share_at_once", Value::Decimal(self.share)),
            ("lasting_ms", Value::milliseconds(self.lasting)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::{
        analysis::detector::{
            Evidence, Kind, State,
            tests::streams::{Streams, states},
        },
        engine::tests::scenario::Scenario,
    };

    fn found(text: &str) -> Vec<State> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Pool);
        let mut states: Vec<State> = of.map(|incident| incident.state).collect();
        // The number of updates does not matter.
        states.dedup();
        states
    }

    /// Calls on two persistent connections in turn. Each starts `pause` milliseconds after the previous call on its
    /// connection ended, with `callers` inbound calls open.
    fn pool(callers: u32, pause: u32, calls: u32) -> String {
        // A caller must be known before there are inbound calls.
        let mut text = "+0 t1 GET /a port=99 > 200\n".to_owned();
        for caller in 0..callers {
            let _ = writeln!(text, "+0 t{} in GET /in", 50 + caller);
        }
        let _ = writeln!(text, "+0 t1 GET /a on=c1\n+10 t2 GET /a on=c2");
        for call in 0..calls {
            let thread = 1 + call % 2;
            let _ = writeln!(text, "+20 t{thread} > 200\n+{pause} t{thread} GET /a on=c{thread}");
        }
        text
    }

    #[test]
    fn a_pool_in_which_callers_wait_is_found_until_they_do_not() {
        assert_eq!(found(&pool(6, 1, 40)), [State::Open]);
        assert_eq!(found(&(pool(6, 1, 40) + "+6000 t1 > 200\n")), [State::Open, State::Update, State::Closed]);
    }

    #[test]
    fn what_is_no_exhausted_pool() {
        // No waiting calls; connections idle between calls; no inbound calls.
        for text in [pool(2, 1, 40), pool(6, 15, 40), pool(0, 1, 40)] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }

    /// Calls on persistent connections, `streams` at a time on each. Each begins as another on its connection ends.
    fn shared(connections: u32, streams: u32, callers: u32) -> String {
        let mut text = "+0 t1 GET /a on=other stream=1 port=99 > 200\n".to_owned();
        for caller in 0..callers {
            let _ = writeln!(text, "+0 t{} in GET /in on=in{caller} stream=1", 50 + caller);
        }
        let slots = connections * streams;
        for call in 0..slots + 60 {
            let (connection, stream) = (call % slots % connections, call * 2 + 1);
            if let Some(before) = call.checked_sub(slots) {
                let _ = writeln!(text, "+20 t1 on=c{connection} stream={} > 200", before * 2 + 1);
            }
            let _ = writeln!(text, "+1 t1 GET /a on=c{connection} stream={stream}");
        }
        text
    }

    #[test]
    fn connections_are_counted_and_not_the_calls_on_them() {
        let incidents = Streams::found(Kind::Pool, &shared(2, 1, 6));
        let Some(Evidence::Pool(evidence)) = incidents.first().map(|incident| &incident.report.evidence) else {
            panic!("{incidents:?}")
        };
        assert_eq!((evidence.busy, evidence.inbound), (2, 6));
        // Calls never wait for a connection that takes more calls.
        assert!(states(Kind::Pool, &shared(2, 10, 30)).is_empty());
    }
}
