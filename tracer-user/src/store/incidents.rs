//! Incidents in their latest state.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    analysis::detector::{Evidence, HangResult, Incident, Kind, RetryResult, State},
    model::exchange::IncidentId,
};

/// Incidents that are remembered; beyond it, those that are over and were known first are forgotten.
const MAX: usize = 1_000;
/// Of those that go on, more are: detectors bound them, so that hardly ever one is forgotten.
const MAX_OPEN: usize = 4 * MAX;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    items: BTreeMap<IncidentId, Arc<Incident>>,
    open: usize,
    total: u64,
}

/// How bad an incident is: a greater one is worse. What goes on is worse than what is over; what ended well is least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Over, and it ended well.
    Recovered,
    /// Over; it had harmed somebody.
    Harmed,
    /// It goes on, and may be harmless.
    Notable,
    /// It goes on: calls fail, or are slow.
    Failing,
    /// It goes on: somebody waits now.
    Waiting,
}

/// How bad an incident is.
pub fn severity(incident: &Incident) -> Severity {
    let open = incident.state != State::Closed;
    match (&incident.report.evidence, open) {
        (Evidence::Hang(evidence), true) if evidence.result == HangResult::Ongoing => Severity::Waiting,
        (Evidence::Hang(evidence), _) if evidence.result.is_good() => Severity::Recovered,
        (Evidence::Hang(_), _) | (Evidence::Duplicate(_) | Evidence::Stale(_), false) => Severity::Harmed,
        (Evidence::Retry(evidence), _) => match evidence.result {
            RetryResult::Ongoing => Severity::Waiting,
            RetryResult::GaveUp => Severity::Harmed,
            RetryResult::Recovered | RetryResult::Bypassed => Severity::Recovered,
        },
        (_, true) => match incident.kind() {
            Kind::Duplicate | Kind::Stale | Kind::Leak => Severity::Notable,
            Kind::Listen => Severity::Waiting,
            _ => Severity::Failing,
        },
        (_, false) => Severity::Recovered,
    }
}

impl Incidents {
    pub(super) fn apply(&mut self, incident: &Arc<Incident>) {
        let old = self.items.insert(incident.id, Arc::clone(incident));
        // They are numbered from 1 on; one that was forgotten, and is told of again, is not another one.
        self.total = self.total.max(incident.id.0);
        self.open -= usize::from(old.is_some_and(|old| old.state != State::Closed));
        self.open += usize::from(incident.state != State::Closed);
        if self.items.len() > MAX {
            let over = self.items.iter().find(|(_, incident)| incident.state == State::Closed).map(|(id, _)| *id);
            let first = || self.items.keys().next().copied().filter(|_| self.items.len() > MAX_OPEN);
            let forgotten = over.or_else(first);
            if let Some(old) = forgotten.and_then(|id| self.items.remove(&id)) {
                self.open -= usize::from(old.state != State::Closed);
            }
        }
    }

    /// The one with this number, where it is remembered.
    pub fn get(&self, id: IncidentId) -> Option<&Arc<Incident>> {
        self.items.get(&id)
    }

    /// How many are not over.
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// All that are remembered, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Incident>> + ExactSizeIterator {
        self.items.values()
    }

    /// All that are remembered, worst first; of those that are equally bad, what began first while it goes on, and what
    /// ended last once it is over.
    pub fn worst_first(&self) -> Vec<&Arc<Incident>> {
        let mut all: Vec<&Arc<Incident>> = self.items.values().collect();
        all.sort_by_key(|incident| {
            let severity = severity(incident);
            let order = if severity > Severity::Harmed { incident.id.0 } else { u64::MAX - incident.updated.0 };
            // Numbers only grow, so a list of what goes on does not jump.
            (std::cmp::Reverse(severity), order)
        });
        all
    }
}
