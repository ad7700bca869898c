//! The way of results out of the engine: past the detectors, into the queue of updates.

use std::{collections::VecDeque, sync::Arc};

use super::{Note, Unseen, Update};
use crate::{
    analysis::detector::{Detectors, Observation, State},
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, OpenExchange, Step},
    },
    protocol::context::Listener,
};

/// Collects updates.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Time of the latest event.
    pub(super) now: Timestamp,
    pub(super) detectors: Detectors,
    /// Exchanges reported.
    pub(super) reported: u64,
    pub(super) unseen: Unseen,
    pub(super) updates: VecDeque<Update>,
    /// Incidents that precede an exchange. Empty between events; kept for its memory.
    pub(super) before: Vec<Update>,
}

impl Reports {
    pub(super) fn note(&mut self, note: Note) {
        self.unseen.see(&note);
        self.updates.push_back(Update::Note(note));
    }

    /// Shows an observation to the detectors, and collects their incidents.
    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        self.detectors.observe(observation, self.now);
        while let Some(incident) = self.detectors.poll() {
            self.updates.push_back(Update::Incident(Arc::new(incident)));
        }
    }
}

impl Listener for Reports {
    fn wants(&self, step: Step, role: Role) -> bool {
        self.detectors.want(step, role)
    }

    fn step(&mut self, step: Step, exchange: &OpenExchange<'_>) {
        self.observe(&Observation::Exchange(step, exchange));
    }

    fn finished(&mut self, mut exchange: Arc<Exchange>) {
        self.reported += 1;
        // Memberships from earlier observations belong to other exchanges.
        drop(self.detectors.take_memberships());
        self.detectors.observe(&Observation::Finished(&exchange), self.now);
        let memberships = self.detectors.take_memberships();
        if !memberships.is_empty()
            && let Some(exchange) = Arc::get_mut(&mut exchange)
        {
            exchange.incidents = memberships;
        }
        if self.detectors.is_silent() {
            self.updates.push_back(Update::Exchange(exchange));
            return;
        }
        // An incident that the exchange opens or extends precedes it, so that outputs can refer to it; an incident that
        // ends with it follows.
        let mut ended = Vec::new();
        while let Some(incident) = self.detectors.poll() {
            let list = if incident.state == State::Closed { &mut ended } else { &mut self.before };
            list.push(Update::Incident(Arc::new(incident)));
        }
        self.updates.extend(self.before.drain(..));
        self.updates.push_back(Update::Exchange(exchange));
        self.updates.extend(ended);
    }
}
