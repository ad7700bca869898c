//! The exchanges of an incident: those of its evidence, and those that were assigned to it when they ended.

use std::{collections::VecDeque, sync::Arc};

use super::histogram::Histogram;
use crate::{
    analysis::detector::{Evidence, Incident, State},
    event::Timestamp,
    model::exchange::{Exchange, ExchangeId, IncidentId, Outcome},
    store::{Sequence, Store},
};

/// Exchanges that are kept, at most: the latest.
const KEPT: usize = 4_096;

/// Exchanges without the incident's id that are kept, at most: the first.
const UNAWARE: usize = 32;

/// The exchanges that were found. Each exchange of the store is tested once.
#[derive(Debug, Default)]
pub struct Members {
    made_for: Option<IncidentId>,
    upto: Sequence,
    found: VecDeque<(ExchangeId, Timestamp)>,
    /// Number of found exchanges that are no longer kept.
    dropped: u64,
    unaware: Vec<ExchangeId>,
    over_time: Histogram,
}

/// An exchange, where the store has it.
pub type Member = (ExchangeId, Option<Arc<Exchange>>);

impl Members {
    /// Tests the new exchanges.
    pub fn update(&mut self, incident: &Incident, store: &Store) {
        if self.made_for != Some(incident.id) {
            *self = Self { made_for: Some(incident.id), ..Self::default() };
        }
        let exchanges = store.exchanges();
        for (_, exchange) in exchanges.from(self.upto) {
            let knows = exchange.incidents.contains(&incident.id);
            // Exchanges that ended before the incident was found do not have its id, and the report names only some.
            let counts = match &incident.report.evidence {
                Evidence::ErrorBurst(evidence) => evidence.counts(exchange),
                _ => incident.report.exchanges.contains(&exchange.id),
            };
            if !knows && counts && self.unaware.len() < UNAWARE {
                self.unaware.push(exchange.id);
            }
            if knows || counts {
                let end = exchange.timing.end.unwrap_or(exchange.started);
                self.over_time.add(end);
                self.found.push_back((exchange.id, end));
            }
        }
        self.upto = self.upto.max(exchanges.next_sequence());
        while self.found.len() > KEPT {
            self.found.pop_front();
            self.dropped += 1;
        }
    }

    /// The filter that takes them.
    pub fn filter(&self) -> String {
        let ids: Vec<String> = self.unaware.iter().map(|id| id.0.to_string()).collect();
        let more = if ids.is_empty() { String::new() } else { format!(" or id={}", ids.join("|")) };
        format!("incident={}{more}", self.made_for.map_or(0, |id| id.0))
    }

    /// Number of found exchanges.
    pub fn total(&self) -> u64 {
        self.found.len() as u64 + self.dropped
    }

    /// Their ends over time.
    pub fn over_time(&self) -> &Histogram {
        &self.over_time
    }

    /// Number of ends after a time.
    pub fn since(&self, time: Timestamp) -> usize {
        self.ends().filter(|end| *end > time).count()
    }

    /// Ends of the finished ones, oldest first.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        self.found.iter().map(|(_, end)| *end)
    }

    /// The first and the latest of them, `room` at most, and the number of all.
    pub fn list(&self, incident: &Incident, store: &Store, room: usize) -> (Vec<Member>, u64) {
        let open = store.open().iter().filter(|open| open.incidents.contains(&incident.id)).map(|open| open.id);
        let ids = self.found.iter().map(|(id, _)| *id);
        let mut ids: Vec<ExchangeId> = ids.chain(open).chain(incident.report.exchanges.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let total = ids.len() as u64 + self.dropped;
        if ids.len() > room {
            let first = 2.min(room);
            ids.drain(first..ids.len() - (room - first));
        }
        (ids.into_iter().map(|id| (id, store.exchange_by_id(id).cloned())).collect(), total)
    }
}

/// True where an exchange belongs to an incident.
pub fn belongs(exchange: &Exchange, incident: &Incident) -> bool {
    exchange.incidents.contains(&incident.id)
        || incident.report.exchanges.contains(&exchange.id)
        || hangs_unseen(exchange, incident)
}

/// True for a call that hangs and was under way before tracing, so that nothing of it was seen. Such an incident knows
/// the connection alone.
fn hangs_unseen(exchange: &Exchange, incident: &Incident) -> bool {
    let report = &incident.report;
    exchange.outcome == Outcome::InFlight
        && exchange.request.is_none()
        && exchange.response.is_none()
        && incident.state != State::Closed
        && matches!(report.evidence, Evidence::Hang(_))
        && report.exchanges.is_empty()
        && report.connection.as_ref().is_some_and(|connection| connection.id == exchange.connection.id)
}
