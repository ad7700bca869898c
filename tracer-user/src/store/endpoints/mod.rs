//! Calls by endpoint: how many, how many failed, how long they took.

mod durations;
mod paths;
#[cfg(test)]
mod tests;

use std::{
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use durations::Durations;
pub use durations::{Spread, Trend};
pub use paths::PathRow;
use paths::Paths;
use rustc_hash::{FxHashMap, FxHasher};

use super::recent::{Recent, WHOLE_SECONDS};
use crate::{
    analysis::detector::endpoint::{self, Endpoint, FOLDED},
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, ExchangeId, Outcome},
    },
};

/// Endpoints that are told apart; calls of more are counted together.
pub const MAX_ENDPOINTS: usize = 2_000;
/// Paths that are told apart within folded ones, of all endpoints together.
const MAX_PATHS: usize = 8_192;
/// Seconds that the rate is that of.
const RATE_SECONDS: usize = 10;

/// Names an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey(pub u64);

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Calls of one endpoint.
    Calls,
    /// Connects that failed, so that there was no call; the authority is where to.
    Connects,
    /// Calls whose request was not seen; the authority is the peer's address, or the target's where it serves.
    Unseen,
    /// What else there is beyond [`MAX_ENDPOINTS`].
    Other,
}

/// What is counted of an endpoint, since tracing began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that are over.
    pub calls: u64,
    /// Those of them that failed; see [`Exchange::is_failed`].
    pub failed: u64,
    /// Those of them that were answered by 4xx, which is no failure.
    pub refused: u64,
    /// Calls that are open now, or were when tracing ended. Of many thousand, those that have been open longest.
    pub open: u64,
    /// Content of requests.
    pub request_bytes: u64,
    /// Content of responses.
    pub response_bytes: u64,
}

#[derive(Clone, Debug)]
struct Stats {
    what: What,
    endpoint: Endpoint,
    counts: Counts,
    /// They were open when tracing ended, and will never be over.
    unfinished: u64,
    seconds: Recent<u32>,
    durations: Durations,
    /// The latest, and the latest that failed.
    last: Option<ExchangeId>,
    last_failed: Option<ExchangeId>,
    paths: Paths,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct EndpointRow<'a> {
    /// Names it.
    pub key: EndpointKey,
    /// What is counted here.
    pub what: What,
    /// Which one.
    pub endpoint: &'a Endpoint,
    /// How many.
    pub counts: Counts,
    /// Calls a second, of the last ten seconds.
    pub rate: f64,
    /// Calls in each of the last 60 seconds, oldest first.
    pub seconds: [u32; WHOLE_SECONDS],
    /// From the first byte of the request, or the connect, to the last of the response; of all that are over.
    pub spread: Spread,
    /// What became of the durations.
    pub trend: Trend,
    /// The call that ended last.
    pub last: Option<ExchangeId>,
    /// The call that failed last.
    pub last_failed: Option<ExchangeId>,
    /// The path stands for several.
    pub is_folded: bool,
}

/// See the module. Bounded: [`MAX_ENDPOINTS`] are told apart, those that came first.
#[derive(Clone, Debug)]
pub struct Endpoints {
    began: Option<Timestamp>,
    index: FxHashMap<EndpointKey, usize>,
    stats: Vec<Stats>,
    /// Those of which calls were open at the last look.
    open: Vec<usize>,
    other: Box<Stats>,
    paths: usize,
}

impl Default for Endpoints {
    fn default() -> Self {
        let endpoint = Endpoint { role: Role::Client, method: "".into(), authority: "".into(), path: "".into() };
        Self {
            began: None,
            index: FxHashMap::default(),
            stats: Vec::new(),
            open: Vec::new(),
            other: Box::new(Stats::new(What::Other, endpoint)),
            paths: 0,
        }
    }
}

impl Stats {
    fn new(what: What, endpoint: Endpoint) -> Self {
        Self {
            what,
            endpoint,
            counts: Counts::default(),
            unfinished: 0,
            seconds: Recent::default(),
            durations: Durations::default(),
            last: None,
            last_failed: None,
            paths: Paths::default(),
        }
    }

    fn of(exchange: &Exchange) -> Self {
        let what = match (&exchange.request, exchange.never_connected()) {
            (Some(_), _) => What::Calls,
            (None, true) => What::Connects,
            (None, false) => What::Unseen,
        };
        let endpoint = Endpoint::of(exchange).unwrap_or_else(|| Endpoint {
            role: exchange.role,
            method: "".into(),
            authority: endpoint::cut(endpoint::authority(exchange)),
            path: "".into(),
        });
        Self::new(what, endpoint)
    }

    fn is_folded(&self) -> bool {
        self.endpoint.path.split('/').any(|segment| segment == FOLDED)
    }
}

/// Which endpoint's call it is.
pub fn key(exchange: &Exchange) -> EndpointKey {
    EndpointKey(endpoint::key(exchange).unwrap_or_else(|| {
        let mut hasher = FxHasher::default();
        (exchange.role == Role::Client, exchange.never_connected()).hash(&mut hasher);
        endpoint::authority(exchange).hash(&mut hasher);
        hasher.finish()
    }))
}

impl Endpoints {
    /// Time has passed; rates are those since the first time.
    pub fn pass(&mut self, now: Timestamp) {
        self.began.get_or_insert(now);
    }

    /// Where the calls of the exchange's endpoint are counted; `None` is the rest.
    fn place(&mut self, exchange: &Exchange) -> Option<usize> {
        let key = key(exchange);
        if let Some(index) = self.index.get(&key) {
            return Some(*index);
        }
        if self.stats.len() >= MAX_ENDPOINTS {
            return None;
        }
        self.index.insert(key, self.stats.len());
        self.stats.push(Stats::of(exchange));
        Some(self.stats.len() - 1)
    }

    /// Takes an exchange that is over, or was open when tracing ended.
    pub fn see(&mut self, exchange: &Exchange) {
        let place = self.place(exchange);
        let stats = place.map_or(&mut *self.other, |index| &mut self.stats[index]);
        let Some(end) = exchange.end() else {
            stats.unfinished += 1;
            return;
        };
        self.began.get_or_insert(end);
        let failed = exchange.is_failed();
        let counts = &mut stats.counts;
        counts.calls += 1;
        counts.failed += u64::from(failed);
        if let Some(request) = &exchange.request {
            counts.request_bytes += request.body.bytes;
        }
        if let Some(response) = &exchange.response {
            counts.response_bytes += response.body.bytes;
            let refused = (400..500).contains(&response.status) && exchange.outcome == Outcome::Complete;
            counts.refused += u64::from(refused);
        }
        if let Some(second) = stats.seconds.at(end) {
            *second += 1;
        }
        let duration = end.since(exchange.started);
        stats.durations.add(duration, end);
        stats.last = Some(exchange.id);
        if failed {
            stats.last_failed = Some(exchange.id);
        }
        if let Some(request) = &exchange.request
            && place.is_some()
        {
            let path = endpoint::bare(request.path());
            // The first call of an endpoint tells whether it is folded.
            if counts.calls > 1 && stats.paths.is_empty() || counts.calls == 1 && !stats.is_folded() {
                return;
            }
            self.paths += usize::from(stats.paths.see(path, exchange, duration, failed, self.paths < MAX_PATHS));
        }
    }

    /// These are open now.
    pub fn look(&mut self, now: Timestamp, open: &[Arc<Exchange>]) {
        self.pass(now);
        for index in self.open.drain(..) {
            self.stats[index].counts.open = 0;
        }
        self.other.counts.open = 0;
        for exchange in open {
            match self.place(exchange) {
                Some(index) => {
                    let count = &mut self.stats[index].counts.open;
                    *count += 1;
                    if *count == 1 {
                        self.open.push(index);
                    }
                }
                None => self.other.counts.open += 1,
            }
        }
    }

    /// How many are told apart.
    pub fn len(&self) -> usize {
        self.stats.len()
    }

    /// Nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.stats.is_empty()
    }

    /// Everything that is known, in the order in which endpoints were first seen; what is beyond the bound is the last.
    pub fn rows(&self, now: Timestamp) -> Vec<EndpointRow<'_>> {
        let mut keys = vec![EndpointKey(0); self.stats.len()];
        for (key, index) in &self.index {
            keys[*index] = *key;
        }
        let other = (self.other.counts.calls + self.other.unfinished > 0).then_some((EndpointKey(0), &*self.other));
        let all = keys.into_iter().zip(&self.stats).chain(other);
        all.map(|(key, stats)| self.row(key, stats, now)).collect()
    }

    fn row<'a>(&self, key: EndpointKey, stats: &'a Stats, now: Timestamp) -> EndpointRow<'a> {
        EndpointRow {
            key,
            what: stats.what,
            endpoint: &stats.endpoint,
            counts: Counts { open: stats.counts.open + stats.unfinished, ..stats.counts },
            rate: stats.seconds.per_second(RATE_SECONDS, self.began.unwrap_or(now), now),
            seconds: stats.seconds.whole(now),
            spread: stats.durations.spread(),
            trend: stats.durations.trend(),
            last: stats.last,
            last_failed: stats.last_failed,
            is_folded: stats.is_folded(),
        }
    }

    /// What is known of the paths that a folded one stands for: those with failures, many calls, or late ones are
    /// remembered. Most calls first.
    pub fn paths(&self, key: EndpointKey) -> Vec<PathRow<'_>> {
        let Some(stats) = self.index.get(&key).map(|index| &self.stats[*index]) else { return Vec::new() };
        stats.paths.rows()
    }
}
