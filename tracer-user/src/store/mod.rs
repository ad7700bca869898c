//! What was seen, as far as it is remembered: what screens show.
//!
//! Everything is bounded. Of exchanges, those that failed or belong to an incident are remembered longer than the others:
//! they are what a person looks for, and at 50,000 exchanges a second the others come and go within a second.
//!
//! The store's time is that of the trace, so what it says of a recording is the same each time.

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

/// Open exchanges that are held to be shown, those that have been open longest; all are counted.
const MAX_OPEN: usize = 500;
/// Time between two looks at open exchanges, for each connection: all of them are visited. With 100,000 that is every fifth
/// of a second.
const PAUSE_NS: u64 = 2_000;
/// Notes that are remembered.
const MAX_NOTES: usize = 500;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Exchanges that are over.
    pub exchanges: usize,
    /// Bytes that they take, roughly.
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
    /// Exchanges that are over.
    pub exchanges: u64,
    /// Those that failed.
    pub failed: u64,
}

/// See the module.
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
    /// When it was last looked at what is open.
    looked: Option<Timestamp>,
    incidents: Incidents,
    notes: VecDeque<Note>,
    unseen: Unseen,
    loss: Loss,
}

impl Store {
    /// An empty one.
    pub fn new(options: StoreOptions) -> Self {
        Self { exchanges: Exchanges::new(options), ..Self::default() }
    }

    /// Nanoseconds to add to a timestamp to get Unix time; known from the first update on.
    pub fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.realtime_offset_ns = nanoseconds;
    }

    /// Takes an update.
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
                // They were told as exchanges in flight.
                self.open.clear();
                self.open_total = 0;
                self.endpoints.look(self.now, &self.open);
            }
        }
    }

    fn exchange(&mut self, exchange: &Arc<Exchange>) {
        let end = exchange.timing.end.unwrap_or(exchange.started);
        self.pass(end);
        // Not shown a second time until the next look.
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

    /// Time has passed, and this is open.
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
        // Those that have been open longest: ids are given in the order in which exchanges begin.
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
            // Bodies are copied only where something moved.
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

    /// The smaller part of it: what became of connections is not known later.
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

    /// When tracing began, and of whom; `None` before.
    pub fn attached(&self) -> Option<&Attached> {
        self.attached.as_ref()
    }

    /// What was said last of all, once tracing is over.
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

    /// Exchanges that are over.
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

    /// Exchanges that are open, those that began first before the others. Their end is when they were last looked at and
    /// something had changed, not now. Bounded: see [`open_total`](Self::open_total).
    pub fn open(&self) -> &[Arc<Exchange>] {
        &self.open
    }

    /// How many are open.
    pub fn open_total(&self) -> usize {
        self.open_total
    }

    /// The exchange with this number as it is now, where it is remembered.
    pub fn exchange_by_id(&self, id: ExchangeId) -> Option<&Arc<Exchange>> {
        let open = self.open.binary_search_by_key(&id, |open| open.id).ok().map(|index| &self.open[index]);
        open.or_else(|| self.exchanges.by_id(id))
    }

    /// Incidents.
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// What was said of connections, oldest first.
    pub fn notes(&self) -> impl DoubleEndedIterator<Item = &Note> {
        self.notes.iter()
    }

    /// Connections whose calls are not seen.
    pub fn unseen(&self) -> &Unseen {
        &self.unseen
    }

    /// What is missing.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// How long the exchange took, or has taken until now, in nanoseconds.
    pub fn duration(&self, exchange: &Exchange) -> u64 {
        let end = exchange.timing.end.filter(|_| exchange.outcome != Outcome::InFlight || self.summary.is_some());
        end.unwrap_or(self.now).since(exchange.started)
    }
}
