//! Bursts of errors: many calls to one upstream, or many inbound calls, start to fail.
//!
//! ```text
//! within the window, many distinct calls failed, a much larger share than before -> open
//! the share doubles or halves, or some seconds have passed                       -> update
//! none failed for a whole window, and calls succeeded                            -> closed
//! ```
//!
//! Calls are counted by authority, by address and by endpoint. A burst is reported for the widest group that it applies
//! to: for an endpoint or an address if the other calls to the upstream succeed. A failed call that belongs to a
//! reported burst counts for no other group.

mod evidence;
mod group;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;

pub use self::evidence::{Course, ErrorBurstEvidence, Scope, Trend};
use self::group::{Group, Successes};
use super::{
    About, Detect, Findings, Observation, OpenConnection,
    endpoint::{self, Endpoint},
    threshold::thresholds,
};
use crate::{
    event::Timestamp,
    model::{
        connection::{Endpoint as Address, Role},
        exchange::{Exchange, Failure, Outcome},
    },
};

thresholds! {
    /// Thresholds of the detector `error-burst`.
    pub struct ErrorBurstThresholds {
        /// length of the sliding window in which calls are counted
        window: Duration = Duration::from_secs(10),
        /// number of different failed calls in the window that makes a burst (a retry chain counts as one call);
        /// doubled when there is no baseline
        calls: u32 = 5,
        /// minimum share of failed calls among all calls in the window
        share: f64 = 0.2,
        /// minimum ratio of the share of failures in the window to the share before the window
        times: f64 = 3.0,
    }
}

/// Maximum number of groups; at the limit, groups without recent failures are removed.
const MAX_GROUPS: usize = 4096;
/// Maximum number of recent failed connects that a connect to another address of the same name may follow.
const MAX_CONNECTS: usize = 64;
/// Time in nanoseconds within which a client tries an address of the other family (RFC 8305 section 5: 250 ms).
const FALLBACK_NS: u64 = 300_000_000;

/// State of one group key.
#[derive(Debug, Default)]
struct Calls {
    /// Successful calls before the first failure.
    well: Successes,
    group: Option<Box<Group>>,
}

/// A connect that failed a moment ago.
#[derive(Debug)]
struct FailedConnect {
    tid: u32,
    port: u16,
    v6: bool,
    time: Timestamp,
    group: u64,
    call: u64,
}

/// Detects bursts of errors.
#[derive(Debug)]
pub struct ErrorBurst {
    thresholds: ErrorBurstThresholds,
    calls: FxHashMap<u64, Calls>,
    /// Keys of the groups with an open burst.
    open: Vec<u64>,
    connects: VecDeque<FailedConnect>,
    /// Time of the first observation of the trace.
    began: Option<Timestamp>,
}

impl Detect for ErrorBurst {
    type Thresholds = ErrorBurstThresholds;
    type Evidence = ErrorBurstEvidence;
    const ABOUT: About = About {
        looks_for: "many recent failures of different calls to one upstream, address or endpoint, or of inbound \
                    calls: since when, and the trend",
        example: "calls to gateway:8080 are failing: 64 of 100 since 14:02:07, 64 % recently (0 % before), getting \
                  worse; mostly 503",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, calls: FxHashMap::default(), open: Vec::new(), connects: VecDeque::new(), began: None }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Finished(exchange) => self.finished(exchange, now, findings),
            Observation::Connected(connection) if !self.connects.is_empty() => self.connected(connection, now),
            Observation::Tick(_) => {
                self.began.get_or_insert(now);
                if !self.open.is_empty() {
                    self.look(now, findings);
                }
            }
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

/// Failure of a call; `None` if it succeeded. A caller of the target that goes away is no error of the target.
fn failure(exchange: &Exchange) -> Option<Failure> {
    exchange.failure().filter(|failure| {
        exchange.role == Role::Client || !matches!(failure, Failure::Outcome(Outcome::Closed | Outcome::Reset))
    })
}

/// Group keys of an exchange, widest first; 0 if there is no such group.
fn keys(exchange: &Exchange, findings: &mut Findings) -> [u64; 3] {
    if exchange.role == Role::Server {
        return [hash(&[b"server"]), 0, findings.endpoint_key(exchange).unwrap_or(0)];
    }
    let address = hash(&[endpoint::cut_str(&exchange.connection.remote_text).as_bytes()]);
    // The authority of a connect is unknown.
    let Some(request) = &exchange.request else { return [0, address, 0] };
    let authority = request.authority().map_or(0, |authority| hash(&[endpoint::cut_str(authority).as_bytes()]));
    let authority = if authority == address { 0 } else { authority };
    [authority, address, findings.endpoint_key(exchange).unwrap_or(0)]
}

/// Scope of the group at this index of [`keys`].
fn scope(exchange: &Exchange, place: usize) -> Option<Scope> {
    Some(match (place, exchange.role) {
        (0, Role::Server) => Scope::Upstream("".into()),
        (0, Role::Client) => Scope::Upstream(endpoint::cut(endpoint::authority(exchange))),
        (1, _) => Scope::Address(endpoint::cut(&exchange.connection.remote_text)),
        _ => Scope::Endpoint(Endpoint::of(exchange)?),
    })
}

impl ErrorBurst {
    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let began = *self.began.get_or_insert(now);
        let window = self.thresholds.window.as_nanos() as u64;
        let keys = keys(exchange, findings);
        let Some(failure) = failure(exchange) else {
            // An exchange cut off by the end of tracing proves nothing.
            if exchange.outcome != Outcome::InFlight {
                self.succeeded(&keys, now, window);
            }
            return;
        };
        let call = call(exchange);
        let mut told = None;
        for key in keys.into_iter().filter(|key| *key != 0) {
            let burst = self.calls.get(&key).and_then(|calls| calls.group.as_ref()?.burst.as_ref());
            if burst.is_some() {
                told = Some(key);
                break;
            }
        }
        for (place, key) in keys.into_iter().enumerate().filter(|(_, key)| *key != 0) {
            if !self.calls.contains_key(&key) {
                self.make_room(now, window);
            }
            let calls = self.calls.entry(key).or_default();
            if told.is_some_and(|told| told != key) {
                if let Some(group) = &mut calls.group {
                    group.takes(false, now, window);
                }
                continue;
            }
            let group = if let Some(group) = &mut calls.group {
                group
            } else {
                let Some(scope) = scope(exchange, place) else { continue };
                calls.group.insert(Box::new(Group::new(exchange, scope, &calls.well, now, window)))
            };
            group.fails(exchange, &failure.name(), call, now, window);
            if let Some(burst) = &group.burst {
                findings.belongs(burst.opened);
                group.develops(now, window, began, findings);
            }
        }
        if told.is_none() {
            self.remember_connect(exchange, keys[1], call, now);
            self.judge(&keys, now, began, findings);
        }
    }

    fn succeeded(&mut self, keys: &[u64; 3], now: Timestamp, window: u64) {
        for key in keys.iter().filter(|key| **key != 0) {
            match self.calls.get_mut(key) {
                Some(Calls { group: Some(group), .. }) => group.takes(true, now, window),
                Some(calls) => calls.well.count(now, window),
                None => {
                    self.make_room(now, window);
                    self.calls.entry(*key).or_default().well.count(now, window);
                }
            }
        }
    }

    /// At the limit, removes the idle groups. If this frees less than a quarter, removes every group without an open
    /// burst, as a scan for each new group would be quadratic.
    fn make_room(&mut self, now: Timestamp, window: u64) {
        if self.calls.len() < MAX_GROUPS {
            return;
        }
        self.calls.retain(|_, calls| calls.group.as_ref().is_some_and(|group| !group.is_idle(now, window)));
        if self.calls.len() >= MAX_GROUPS / 4 * 3 {
            let open = &self.open;
            self.calls.retain(|key, _| open.contains(key));
        }
    }

    fn group(&self, key: u64) -> Option<&Group> {
        self.calls.get(&key)?.group.as_deref()
    }

    /// Opens a burst for the widest group that it applies to.
    fn judge(&mut self, keys: &[u64; 3], now: Timestamp, began: Timestamp, findings: &mut Findings) {
        if self.open.len() >= MAX_GROUPS / 2 {
            return;
        }
        let bursts = |key: &u64| *key != 0 && self.group(*key).is_some_and(|group| group.bursts(&self.thresholds));
        let Some(mut chosen) = keys.iter().copied().find(bursts) else { return };
        for key in keys.iter().copied() {
            if let (Some(narrow), Some(wide)) = (self.group(key), self.group(chosen))
                && key != chosen
                && narrow.explains(wide)
            {
                chosen = key;
            }
        }
        let window = self.thresholds.window.as_nanos() as u64;
        if let Some(group) = self.calls.get_mut(&chosen).and_then(|calls| calls.group.as_mut()) {
            group.open(now, window, began, findings);
            self.open.push(chosen);
        }
    }

    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        let window = self.thresholds.window.as_nanos() as u64;
        let began = self.began.unwrap_or(now);
        let calls = &mut self.calls;
        self.open.retain(|key| {
            let group = calls.get_mut(key).and_then(|calls| calls.group.as_mut());
            group.is_some_and(|group| !group.look(now, window, began, findings))
        });
    }

    fn remember_connect(&mut self, exchange: &Exchange, group: u64, call: u64, now: Timestamp) {
        if exchange.outcome.no_connection().is_none() {
            return;
        }
        let Address::Inet(address) = &exchange.connection.remote else { return };
        if self.connects.len() >= MAX_CONNECTS {
            self.connects.pop_front();
        }
        let (tid, port, v6) = (exchange.process.tid, address.port(), address.is_ipv6());
        self.connects.push_back(FailedConnect { tid, port, v6, time: now, group, call });
    }

    /// Handles a successful connect to an address of the other family right after a failed one: the client falls back,
    /// and no call fails.
    fn connected(&mut self, connection: &OpenConnection<'_>, now: Timestamp) {
        while self.connects.front().is_some_and(|connect| now.since(connect.time) > FALLBACK_NS) {
            self.connects.pop_front();
        }
        let Address::Inet(address) = &connection.info.remote else { return };
        let (tid, port, v6) = (connection.process.tid, address.port(), address.is_ipv6());
        let place =
            self.connects.iter().position(|connect| connect.tid == tid && connect.port == port && connect.v6 != v6);
        if let Some(connect) = place.and_then(|place| self.connects.remove(place))
            && let Some(group) = self.calls.get_mut(&connect.group).and_then(|calls| calls.group.as_mut())
        {
            group.takes_back(connect.call);
        }
    }
}

/// Hash that identifies distinct calls. The purpose of a connect is unknown, so each connect counts as distinct.
fn call(exchange: &Exchange) -> u64 {
    match &exchange.request {
        Some(request) => hash(&[request.method.as_bytes(), request.path().as_bytes(), &request.body.captured[..]]),
        None if exchange.outcome.no_connection().is_some() => hash(&[b"connect", &exchange.id.0.to_ne_bytes()]),
        None => hash(&[b""]),
    }
}
