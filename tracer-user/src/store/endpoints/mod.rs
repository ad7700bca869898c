//! Calls by endpoint: their number, failures and durations.

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

/// Maximum number of endpoints. Calls of further endpoints are counted together.
pub const MAX_ENDPOINTS: usize = 2_000;
/// Maximum number of paths behind folded ones, of all endpoints together.
const MAX_PATHS: usize = 8_192;
/// Number of seconds that the rate covers.
const RATE_SECONDS: usize = 10;

/// Key of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey(pub u64);

/// Kind of calls that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Calls of one endpoint.
    Calls,
    /// Connects that failed, so that no request was sent. The authority is the address.
    Connects,
    /// Calls whose request was not observed. The authority is the address of the peer, or of the target where it serves.
    Unseen,
    /// Calls beyond [`MAX_ENDPOINTS`].
    Other,
}

/// Counts since tracing began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of ended calls.
    pub calls: u64,
    /// Number of those that failed; see [`Exchange::failure`].
    pub failed: u64,
    /// Number of those with a 4xx status, which is no failure.
    pub refused: u64,
    /// Number of pending calls, now or when tracing ended. Of many thousand, only the longest pending are counted.
    pub open: u64,
    /// Bytes of request content.
    pub request_bytes: u64,
    /// Bytes of response content.
    pub response_bytes: u64,
}

#[derive(Clone, Debug)]
struct Stats {
    what: What,
    endpoint: Endpoint,
    counts: Counts,
    /// Number of calls that were pending when tracing ended.
    unfinished: u64,
    seconds: Recent<u32>,
    durations: Durations,
    /// The latest ended call, and the latest that failed.
    last: Option<ExchangeId>,
    last_failed: Option<ExchangeId>,
    paths: Paths,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct EndpointRow<'a> {
    /// Key of the endpoint.
    pub key: EndpointKey,
    /// Kind of calls.
    pub what: What,
    /// Method, authority and path.
    pub endpoint: &'a Endpoint,
    /// Counts.
    pub counts: Counts,
    /// Calls per second over the last ten seconds.
    pub rate: f64,
    /// Calls in each of the last 60 seconds, oldest first.
    pub seconds: [u32; WHOLE_SECONDS],
    /// Durations of all ended calls: from the connect or the first byte of the request to the last byte of the response.
    pub spread: Spread,
    /// Trend of the durations.
    pub trend: Trend,
    /// The call that ended last.
    pub last: Option<ExchangeId>,
    /// The call that failed last.
    pub last_failed: Option<ExchangeId>,
    /// Whether the path stands for several paths.
    pub is_folded: bool,
}

/// Calls by endpoint. The first [`MAX_ENDPOINTS`] endpoints are told apart.
#[derive(Clone, Debug)]
pub struct Endpoints {
    began: Option<Timestamp>,
    index: FxHashMap<EndpointKey, usize>,
    stats: Vec<Stats>,
    /// Endpoints with pending calls at the last visit.
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

/// The endpoint of an exchange.
pub fn key(exchange: &Exchange) -> EndpointKey {
    EndpointKey(endpoint::key(exchange).unwrap_or_else(|| {
        let mut hasher = FxHasher::default();
        (exchange.role == Role::Client, exchange.never_connected()).hash(&mut hasher);
        endpoint::authority(exchange).hash(&mut hasher);
        hasher.finish()
    }))
}

impl Endpoints {
    /// Sets the time. Rates count from the first time on.
    pub fn pass(&mut self, now: Timestamp) {
        self.began.get_or_insert(now);
    }

    /// Index of the exchange's endpoint; `None` beyond [`MAX_ENDPOINTS`].
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

    /// Counts an exchange that ended, or was pending when tracing ended.
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
            let refused = response.answer().is_client_error() && exchange.outcome == Outcome::Complete;
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
            // The first call of an endpoint tells whether its path is folded.
            if counts.calls > 1 && stats.paths.is_empty() || counts.calls == 1 && !stats.is_folded() {
                return;
            }
            self.paths += usize::from(stats.paths.see(path, exchange, duration, failed, self.paths < MAX_PATHS));
        }
    }

    /// Counts the pending calls.
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

    /// Number of endpoints that are told apart.
    pub fn len(&self) -> usize {
        self.stats.len()
    }

    /// Whether no call was counted.
    pub fn is_empty(&self) -> bool {
        self.stats.is_empty()
    }

    /// All rows, in the order in which the endpoints appeared. Calls beyond the bound are the last row.
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

    /// Paths behind a folded path, most calls first. Paths with failures, many calls or recent calls are remembered.
    pub fn paths(&self, key: EndpointKey) -> Vec<PathRow<'_>> {
        let Some(stats) = self.index.get(&key).map(|index| &self.stats[*index]) else { return Vec::new() };
        stats.paths.rows()
    }
}
