//! Connections to one upstream whose number only grows: each is used once, then neither reused nor closed.
//!
//! ```text
//! open connections   . : | |  never fewer for a long time; nearly all have carried one exchange and are idle
//! ```

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Live, Observation, OpenConnection, Opened, Report, Value,
    endpoint, threshold::thresholds,
};
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionId, ConnectionInfo, Ending, Role},
        exchange::{Exchange, ProcessRef, Step},
    },
    text::redact::Redactor,
};

thresholds! {
    /// Thresholds of the detector `connection-leak`.
    pub struct LeakThresholds {
        /// number of open connections that were used only once
        connections: u32 = 50,
        /// time during which the process closed no connection to the upstream
        growing: Duration = Duration::from_secs(30),
        /// minimum share of used-once connections among all open connections to the upstream
        share: f64 = 0.9,
    }
}

/// Maximum number of counted connections; further ones are ignored.
const MAX_CONNECTIONS: usize = 65_536;
/// Interval in nanoseconds of checks of unread responses.
const LOOK_NS: u64 = 1_000_000_000;
/// Time in nanoseconds after which an unread response counts as forgotten.
const FORGOTTEN_NS: u64 = 5_000_000_000;
/// Value of [`Carried::exchanges`] for a connection whose first response is unread.
const FORGOTTEN: u8 = u8::MAX;
/// Maximum number of upstreams; further ones are ignored.
const MAX_UPSTREAMS: usize = 1024;

/// Evidence of a leak.
#[derive(Clone, Debug)]
pub struct LeakEvidence {
    /// Remote address of the connections.
    pub remote: Box<str>,
    /// Number of open connections that were made while tracing.
    pub open: u64,
    /// Number of those that carried exactly one exchange.
    pub used_once: u64,
    /// Number of those whose response has arrived and is unread.
    pub unread: u64,
    /// Time since which none was closed.
    pub since: Timestamp,
    /// Time since then in nanoseconds.
    pub growing: u64,
    /// Whether connections are closed again.
    pub over: bool,
}

/// Process ID and remote address.
type Key = (u32, Box<str>);

/// A counted connection.
#[derive(Debug, Default)]
struct Carried {
    /// Number of exchanges that ended: 0, 1, 2 for more, or [`FORGOTTEN`].
    exchanges: u8,
    /// Number of exchanges on streams that began: 0, 1, or 2 for more.
    begun: u8,
    /// Upstream in which the connection is counted. The process that closes or uses it may differ from the one that
    /// made it.
    upstream: Option<Arc<Key>>,
}

#[derive(Debug, Default)]
struct Upstream {
    open: u64,
    used_once: u64,
    /// Number of those whose response is unread.
    unread: u64,
    /// Time of the first connection after the last close.
    since: Option<Timestamp>,
    /// The incident, the number of open connections at its last report, and one of them.
    told: Option<(Opened, u64, Arc<ConnectionInfo>, ProcessRef)>,
    /// The latest connection with an unread response.
    latest: Option<(Arc<ConnectionInfo>, ProcessRef)>,
}

/// Detects connections that are made and abandoned.
#[derive(Debug)]
pub struct Leak {
    thresholds: LeakThresholds,
    upstreams: FxHashMap<Arc<Key>, Upstream>,
    connections: FxHashMap<ConnectionId, Carried>,
    /// Connections with unread bytes: time at which they count as forgotten, ID, and inode.
    unread: BTreeSet<(Timestamp, ConnectionId, u64)>,
    suspected: FxHashSet<ConnectionId>,
    /// Number of upstreams with an incident.
    told: u32,
    next_look: Timestamp,
}

impl Detect for Leak {
    type Thresholds = LeakThresholds;
    type Evidence = LeakEvidence;
    const ABOUT: About = About {
        looks_for: "a growing number of connections to one upstream that are used once and then neither reused nor \
                    closed",
        example: "the number of connections to 10.0.0.7:8080 keeps growing: 128 open, 128 used only once, none closed \
                  for 92 s",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        let (upstreams, connections) = (FxHashMap::default(), FxHashMap::default());
        Self {
            thresholds,
            upstreams,
            connections,
            unread: BTreeSet::new(),
            suspected: FxHashSet::default(),
            told: 0,
            next_look: Timestamp(0),
        }
    }

    fn wants(&self, step: Step, role: Role) -> bool {
        step == Step::RequestDone && role == Role::Client
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            // The address is known only after `connect` has returned, possibly after the connection is established. A
            // connection is therefore counted from its first exchange on.
            Observation::Connected(connection) if self.connections.len() < MAX_CONNECTIONS => {
                self.connections.insert(connection.info.id, Carried::default());
            }
            Observation::Closed(connection) if connection.role != Some(Role::Server) => {
                self.closed(connection, now, findings);
            }
            // Without streams, an exchange begins after the one before it has ended.
            Observation::Exchange(Step::RequestDone, exchange)
                if exchange.stream.is_some() && exchange.role == Role::Client =>
            {
                self.began(exchange.connection.id);
            }
            Observation::Finished(exchange) if exchange.role == Role::Client => self.finished(exchange, now, findings),
            Observation::Probe(_, connection) => {
                let unread = connection.kernel.is_some_and(|kernel| kernel.receive_queue > 0);
                let id = connection.info.id;
                if unread && self.suspected.len() < MAX_CONNECTIONS && self.suspected.insert(id) {
                    let due = forgotten_from(connection).unwrap_or(now);
                    self.unread.insert((due, id, connection.info.inode.0));
                }
            }
            Observation::Tick(live) => {
                if now >= self.next_look && !self.connections.is_empty() {
                    self.next_look = Timestamp(now.0.saturating_add(LOOK_NS));
                    self.look(*live, now, findings);
                }
                if self.told == 0 {
                    return;
                }
                for upstream in self.upstreams.values() {
                    if let Some((opened, _, connection, process)) = &upstream.told {
                        findings.keep(*opened, now, upstream.open, || upstream.report(connection, process, now, false));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Time from which on an unread response counts as forgotten, if no byte is read or arrives before. `None` without a
/// call.
fn forgotten_from(connection: &OpenConnection<'_>) -> Option<Timestamp> {
    let open = connection.open_since?;
    let last = connection.received.last.unwrap_or(open);
    Some(Timestamp(open.max(last).0.saturating_add(FORGOTTEN_NS)))
}

fn key(process: &ProcessRef, info: &ConnectionInfo) -> Key {
    (process.pid, endpoint::cut(&info.remote_text))
}

impl Leak {
    fn closed(&mut self, connection: &OpenConnection<'_>, now: Timestamp, findings: &mut Findings) {
        let Some(Carried { exchanges, upstream: key, .. }) = self.connections.remove(&connection.info.id) else {
            return;
        };
        let Some(key) = key else { return };
        let Some(upstream) = self.upstreams.get_mut(&key) else { return };
        upstream.open = upstream.open.saturating_sub(1);
        upstream.used_once = upstream.used_once.saturating_sub(u64::from(exchanges == 1 || exchanges == FORGOTTEN));
        upstream.unread = upstream.unread.saturating_sub(u64::from(exchanges == FORGOTTEN));
        // Tracing ends or pidtap evicts the connection, so neither side has closed it.
        if connection.ending.is_none_or(|ending| ending == Ending::Unfinished) {
            return;
        }
        if let Some((opened, .., process)) = upstream.told.take() {
            self.told -= 1;
            let report = upstream.report(connection.info, &process, now, true);
            findings.close(opened, now, now, report);
        }
        upstream.since = None;
        if upstream.open == 0 {
            self.upstreams.remove(&key);
        }
    }

    /// A call begins on a connection that may carry another one.
    fn began(&mut self, connection: ConnectionId) {
        let Some(carried) = self.connections.get_mut(&connection) else { return };
        carried.begun = (carried.begun + 1).min(2);
        if carried.begun == 2 && carried.exchanges == 1 {
            carried.exchanges = 2;
            if let Some(upstream) = carried.upstream.as_ref().and_then(|key| self.upstreams.get_mut(key)) {
                upstream.used_once = upstream.used_once.saturating_sub(1);
            }
        }
    }

    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let Some(carried) = self.connections.get_mut(&exchange.connection.id) else { return };
        let upstream = carried.upstream.as_ref().and_then(|key| self.upstreams.get_mut(key));
        match (carried.exchanges, upstream) {
            (0, _) => {}
            (FORGOTTEN, upstream) => {
                // The response was read after all: the connection stays counted as used once.
                carried.exchanges = 1;
                if let Some(upstream) = upstream {
                    upstream.unread = upstream.unread.saturating_sub(1);
                }
                return;
            }
            (1, upstream) => {
                carried.exchanges = 2;
                if let Some(upstream) = upstream {
                    upstream.used_once = upstream.used_once.saturating_sub(1);
                }
                return;
            }
            _ => return,
        }
        carried.exchanges = carried.begun.max(1);
        self.used(&exchange.connection, &exchange.process, now, findings);
    }

    /// Counts a connection on which the first exchange has ended.
    fn used(
        &mut self,
        connection: &Arc<ConnectionInfo>,
        process: &ProcessRef,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let key = key(process, connection);
        let key = match self.upstreams.get_key_value(&key) {
            Some((key, _)) => Arc::clone(key),
            None if self.upstreams.len() >= MAX_UPSTREAMS => {
                self.connections.remove(&connection.id);
                return;
            }
            None => Arc::new(key),
        };
        let mut once = true;
        if let Some(carried) = self.connections.get_mut(&connection.id) {
            carried.upstream = Some(Arc::clone(&key));
            once = carried.exchanges != 2;
        }
        let upstream = self.upstreams.entry(key).or_default();
        upstream.open += 1;
        upstream.used_once += u64::from(once);
        upstream.since.get_or_insert(now);
        let leaks = upstream.leaks(&self.thresholds, now);
        match &upstream.told {
            None if leaks => {
                upstream.open_incident(connection, process, now, findings);
                self.told += 1;
            }
            Some((opened, told, ..)) if upstream.open >= 2 * told => {
                findings.update(*opened, now, upstream.report(connection, process, now, false));
                if let Some((_, told, ..)) = &mut upstream.told {
                    *told = upstream.open;
                }
            }
            _ => {}
        }
    }

    /// Checks calls whose responses are unread: such calls have not ended and hold their connections.
    fn look(&mut self, live: &dyn Live, now: Timestamp, findings: &mut Findings) {
        let mut forgotten = Vec::new();
        while let Some((due, id, inode)) = self.unread.first().copied()
            && due <= now
        {
            self.unread.pop_first();
            let mut again = None;
            live.connection(inode, &mut |connection| {
                let unread = connection.kernel.is_some_and(|kernel| kernel.receive_queue > 0);
                let counted = || self.connections.get(&id).is_some_and(|carried| carried.exchanges == 0);
                if connection.info.id != id || !unread || !counted() {
                    return;
                }
                match forgotten_from(connection) {
                    Some(due) if due > now => again = Some(due),
                    Some(_) => forgotten.push((id, Arc::clone(connection.info), connection.process.clone())),
                    None => {}
                }
            });
            match again {
                Some(due) => {
                    self.unread.insert((due, id, inode));
                }
                None => {
                    self.suspected.remove(&id);
                }
            }
        }
        // Sorted by creation, as the order must not depend on a hash table.
        forgotten.sort_unstable_by_key(|(id, ..)| *id);
        for (id, info, process) in forgotten {
            if let Some(carried) = self.connections.get_mut(&id) {
                carried.exchanges = FORGOTTEN;
            }
            self.used(&info, &process, now, findings);
            let key = self.connections.get(&id).and_then(|carried| carried.upstream.as_ref());
            if let Some(upstream) = key.and_then(|key| self.upstreams.get_mut(key)) {
                upstream.unread += 1;
                upstream.latest = Some((info, process));
            }
        }
        // An idle pool is no leak. Unread responses are a leak even if no call is added.
        let many = u64::from(self.thresholds.connections);
        for upstream in self.upstreams.values_mut() {
            if upstream.told.is_none()
                && upstream.unread >= many
                && upstream.leaks(&self.thresholds, now)
                && let Some((connection, process)) = upstream.latest.take()
            {
                upstream.open_incident(&connection, &process, now, findings);
                self.told += 1;
            }
        }
    }
}

impl Upstream {
    fn leaks(&self, thresholds: &LeakThresholds, now: Timestamp) -> bool {
        self.used_once >= u64::from(thresholds.connections)
            && self.since.is_some_and(|since| now.since(since) >= thresholds.growing.as_nanos() as u64)
            && self.used_once as f64 >= thresholds.share * self.open as f64
    }

    fn open_incident(
        &mut self,
        connection: &Arc<ConnectionInfo>,
        process: &ProcessRef,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let opened = findings.open(now, self.report(connection, process, now, false));
        self.told = Some((opened, self.open, Arc::clone(connection), process.clone()));
    }

    fn report(&self, connection: &Arc<ConnectionInfo>, process: &ProcessRef, now: Timestamp, over: bool) -> Report {
        let since = self.since.unwrap_or(now);
        let evidence = LeakEvidence {
            remote: endpoint::cut(&connection.remote_text),
            open: self.open,
            used_once: self.used_once,
            unread: self.unread,
            since,
            growing: now.since(since),
            over,
        };
        Report {
            exchanges: Vec::new(),
            connection: Some(Arc::clone(connection)),
            process: process.clone(),
            confidence: Confidence {
                explicit: vec![],
                inferred: vec!["no connection was reused or closed"],
                doubtful: false,
            },
            evidence: evidence.into(),
        }
    }
}

impl Explain for LeakEvidence {
    fn title(&self, redactor: Redactor) -> String {
        let remote = redactor.authority(&self.remote);
        let (open, once, seconds) = (self.open, self.used_once, self.growing / 1_000_000_000);
        if self.over {
            return format!("connections to {remote} are being closed again: {open} are open");
        }
        let unread = match self.unread {
            0 => String::new(),
            unread => format!("; the responses on {unread} of them are unread"),
        };
        format!(
            "the number of connections to {remote} keeps growing: {open} open, {once} used only once, none closed for \
             {seconds} s{unread}"
        )
    }

    fn advice(&self) -> String {
        "The process opens a connection for each call and neither reuses nor closes it: read each response to its end \
         and close it, and share one client (and its pool) instead of creating one for each call."
            .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        vec![
            ("remote", Value::Text(redactor.authority(&self.remote).into_owned())),
            ("open", Value::Count(self.open)),
            ("used_once", Value::Count(self.used_once)),
            ("unread", Value::Count(self.unread)),
            ("since", self.since.into()),
            ("growing_ms", Value::milliseconds(self.growing)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::detector::{Kind, State, tests::streams::states},
        engine::tests::scenario::Scenario,
    };

    fn found(text: &str) -> Vec<State> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Leak);
        let mut states: Vec<State> = of.map(|incident| incident.state).collect();
        // The number of updates does not matter.
        states.dedup();
        states
    }

    /// Calls with a connection each, which stays open.
    fn calls(count: u32, gap: u32) -> String {
        (0..count).map(|number| format!("+{gap} t1 GET /a on=c{number} > 200\n")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn connections_that_only_grow_are_found() {
        assert_eq!(found(&calls(60, 700)), [State::Open, State::Update]);
        let ends = calls(60, 700) + "+10 t1 GET /a on=c1 > closed\n";
        assert_eq!(found(&ends), [State::Open, State::Update, State::Closed]);
        assert_eq!(found(&calls(160, 700)), [State::Open, State::Update]);
    }

    #[test]
    fn connections_that_one_process_makes_and_another_uses_are_counted_once() {
        let call =
            |n: u32, end: &str| format!("+400 t1 open on=c{n} port=8080\n+300 p20 t5 GET /a as=x{n} on=c{n} > {end}\n");
        let fork = "+0 fork p20\n".to_owned();
        let closed: String = (0..120).map(|n| call(n, "closed")).collect();
        assert!(found(&(fork.clone() + &closed)).is_empty());
        let kept: String = (0..60).map(|n| call(n, "200")).collect();
        let ends = fork + &kept + "+10 p20 t5 GET /a on=c1 > closed\n";
        assert_eq!(found(&ends), [State::Open, State::Update, State::Closed]);
    }

    #[test]
    fn what_is_no_leak() {
        // A reused pool; too few; too fast; closed after each call.
        let pool: Vec<String> = (0..200).map(|call| format!("+300 t1 GET /a on=c{} > 200\n", call % 60)).collect();
        let closed = "*100 +700 t1 GET /a > 200\n".to_owned();
        for text in [pool.concat(), calls(40, 1000), calls(60, 100), closed] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_connection_with_another_call_open_is_not_used_once() {
        let round = |number: u32, watch: &str| {
            format!("+350 t1 GET /watch on=c{number} stream=1{watch}\n+350 t1 GET /a on=c{number} stream=3 > 200\n")
        };
        let text = |watch: &str| (0..60).map(|number| round(number, watch)).collect::<String>();
        assert!(states(Kind::Leak, &text("")).is_empty());
        assert!(states(Kind::Leak, &text(" > 200")).is_empty());
        let once =
            (0..60).map(|number| format!("+700 t1 GET /a on=c{number} stream=1 > 200\n")).collect::<Vec<_>>().concat();
        assert_eq!(states(Kind::Leak, &once)[0], State::Open);
        // A second call, however it ends, shows that the connection is in use.
        let again = (0..60).map(|number| format!("+1 t1 GET /a on=c{number} stream=3\n")).collect::<Vec<_>>().concat();
        assert!(states(Kind::Leak, &(once.replace("+700", "+100") + &again + "+60000 t1 on=c1 unread=0")).is_empty());
    }
}
