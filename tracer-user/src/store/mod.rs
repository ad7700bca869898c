//! The store: exchanges, incidents and connections that screens show.
//!
//! Its memory is bounded. Exchanges that failed or belong to an incident stay longer than the others: they are what a user
//! looks for, and at 50,000 exchanges a second the others stay for less than a second.
//!
//! The store's time is that of the trace, so a recording always gives the same content.

pub mod connections;
pub mod endpoints;
mod exchanges;
mod incidents;
mod rate;
mod recent;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

pub use connections::Connections;
pub use endpoints::{EndpointKey, EndpointRow, Endpoints};
pub use exchanges::{Exchanges, Sequence};
pub use incidents::{Incidents, Severity, severity};
pub use rate::{Rate, Second};
pub use recent::{Recent, WHOLE_SECONDS};

use crate::{
    analysis::detector::Live,
    engine::{Attached, Loss, Note, Summary, Unseen, Update},
    event::Timestamp,
    model::exchange::{Exchange, ExchangeId, Outcome},
};

/// Maximum number of listed pending exchanges: the longest pending. All are counted.
const MAX_OPEN: usize = 500;
/// Interval between two visits of all pending exchanges, in nanoseconds for each connection: 0.2 s with 100,000 connections.
const PAUSE_NS: u64 = 2_000;
/// Maximum number of listed notes.
const MAX_NOTES: usize = 500;

/// Limits of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Number of ended exchanges.
    pub exchanges: usize,
    /// Bytes of memory of ended exchanges, approximately.
    pub bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { exchanges: 20_000, bytes: 24 << 20 }
    }
}

/// Counts since tracing began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of ended exchanges.
    pub exchanges: u64,
    /// Number of those that failed.
    pub failed: u64,
}

/// Everything that screens show.
#[derive(Clone, Debug, Default)]
pub struct Store {
    now: Timestamp,
    realtime_offset_ns: i64,
    attached: Option<Attached>,
    summary: Option<Summary>,
    totals: Totals,
    rate: Rate,
    exchanges: Exchanges,
    endpoints: Endpoints,
    connections: Connections,
    open: Vec<Arc<Exchange>>,
    open_total: usize,
    /// Time of the last visit of pending exchanges.
    looked: Option<Timestamp>,
    incidents: Incidents,
    notes: VecDeque<Note>,
    unseen: Unseen,
    loss: Loss,
}

impl Store {
    /// An empty store.
    pub fn new(options: StoreOptions) -> Self {
        Self { exchanges: Exchanges::new(options), ..Self::default() }
    }

    /// Sets the nanoseconds to add to a timestamp to get Unix time. They are known from the first update on.
    pub fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.realtime_offset_ns = nanoseconds;
    }

    /// Applies an update.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Attached(attached) => {
                self.pass(attached.time);
                self.attached = Some(attached.clone());
            }
            Update::Exchange(exchange) => self.exchange(exchange),
            Update::Incident(incident) => {
                self.pass(incident.updated);
                self.incidents.apply(incident);
            }
            Update::Note(note) => {
                self.pass(note.time);
                self.unseen.see(note);
                if self.notes.len() >= MAX_NOTES {
                    self.notes.pop_front();
                }
                self.notes.push_back(note.clone());
            }
            Update::Loss(loss) => {
                self.pass(loss.time);
                self.loss = loss.clone();
            }
            Update::Summary(summary) => {
                self.pass(summary.loss.time);
                self.loss = summary.loss.clone();
                self.summary = Some(summary.clone());
                // Their ends were reported as exchanges in flight.
                self.open.clear();
                self.open_total = 0;
                self.endpoints.look(self.now, &self.open);
            }
        }
    }

    fn exchange(&mut self, exchange: &Arc<Exchange>) {
        let end = exchange.timing.end.unwrap_or(exchange.started);
        self.pass(end);
        // The exchange must not be listed twice until the next visit.
        if let Ok(index) = self.open.binary_search_by_key(&exchange.id, |open| open.id) {
            self.open.remove(index);
            self.open_total = self.open_total.saturating_sub(1);
        }
        let failed = exchange.is_failed();
        self.totals.exchanges += 1;
        self.totals.failed += u64::from(failed);
        self.rate.add(end, failed);
        self.endpoints.see(exchange);
        self.connections.see(exchange);
        self.exchanges.push(Arc::clone(exchange), failed);
    }

    /// Sets the time, and visits what is open.
    pub fn look(&mut self, now: Timestamp, live: &dyn Live) {
        self.pass(now);
        let pause = self.connections.total() as u64 * PAUSE_NS;
        if self.looked.is_some_and(|looked| now.since(looked) < pause) {
            return self.look_at_connections(now, live);
        }
        self.looked = Some(now);
        self.open_total = 0;
        let mut ids = Vec::new();
        live.exchanges(&mut |open| {
            self.open_total += 1;
            ids.push(open.id);
        });
        // Ids grow with the start of exchanges, so the lowest ids are the longest pending.
        let limit = if ids.len() > MAX_OPEN {
            let (.., limit, _) = ids.select_nth_unstable(MAX_OPEN - 1);
            *limit
        } else {
            ExchangeId(u64::MAX)
        };
        let before = std::mem::take(&mut self.open);
        live.exchanges(&mut |open| {
            if open.id > limit {
                return;
            }
            // Bodies are copied only if the exchange has changed.
            let same = before.binary_search_by_key(&open.id, |copy| copy.id).ok().map(|index| &before[index]);
            self.open.push(match same {
                Some(copy) if open.is_as_in(copy) => Arc::clone(copy),
                _ => Arc::new(open.to_exchange(now)),
            });
        });
        self.open.sort_unstable_by_key(|open| open.id);
        self.endpoints.look(self.now, &self.open);
        self.look_at_connections(now, live);
    }

    /// Sets the time, and visits the connections alone. Their changes between two visits cannot be recovered later.
    pub fn look_at_connections(&mut self, now: Timestamp, live: &dyn Live) {
        self.pass(now);
        self.connections.look(self.now, live);
    }

    fn pass(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
        self.rate.pass(self.now);
    }

    /// Time of the trace.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Nanoseconds to add to a timestamp to get Unix time.
    pub fn realtime_offset_ns(&self) -> i64 {
        self.realtime_offset_ns
    }

    /// Start of tracing and its targets; `None` before.
    pub fn attached(&self) -> Option<&Attached> {
        self.attached.as_ref()
    }

    /// The summary, once tracing is over.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// Counts since tracing began.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Exchanges by second.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Ended exchanges.
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// Calls by endpoint.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Connections.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Listed pending exchanges, by their start. The end of each is the time of the visit that last found a change, not now. For
    /// the number of all, see [`open_total`](Self::open_total).
    pub fn open(&self) -> &[Arc<Exchange>] {
        &self.open
    }

    /// Number of pending exchanges.
    pub fn open_total(&self) -> usize {
        self.open_total
    }

    /// The exchange with this number in its latest state, if remembered.
    pub fn exchange_by_id(&self, id: ExchangeId) -> Option<&Arc<Exchange>> {
        let open = self.open.binary_search_by_key(&id, |open| open.id).ok().map(|index| &self.open[index]);
        open.or_else(|| self.exchanges.by_id(id))
    }

    /// Incidents.
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Notes on connections, oldest first.
    pub fn notes(&self) -> impl DoubleEndedIterator<Item = &Note> {
        self.notes.iter()
    }

    /// Connections whose calls are not observed.
    pub fn unseen(&self) -> &Unseen {
        &self.unseen
    }

    /// Events and bytes that are missing from the trace.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Duration of the exchange in nanoseconds; of a pending one, its age.
    pub fn duration(&self, exchange: &Exchange) -> u64 {
        let end = exchange.timing.end.filter(|_| exchange.outcome != Outcome::InFlight || self.summary.is_some());
        end.unwrap_or(self.now).since(exchange.started)
    }
}
