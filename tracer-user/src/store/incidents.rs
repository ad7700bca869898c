//! Incidents in their latest state.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    analysis::detector::{Evidence, HangResult, Incident, Kind, RetryResult, State},
    model::exchange::IncidentId,
};

/// Number of incidents above which closed ones are dropped, oldest first.
const MAX: usize = 1_000;
/// Number of incidents above which open ones are dropped too. Detectors bound them, so that rarely happens.
const MAX_OPEN: usize = 4 * MAX;

/// Incidents in their latest state.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    items: BTreeMap<IncidentId, Arc<Incident>>,
    open: usize,
    total: u64,
}

/// Severity of an incident: a greater one is worse. An open incident is worse than a closed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Closed, and it ended well.
    Recovered,
    /// Closed; calls were harmed.
    Harmed,
    /// Open, and possibly harmless.
    Notable,
    /// Open: calls fail, or are slow.
    Failing,
    /// Open: a call hangs now.
    Waiting,
}

/// Severity of an incident.
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
        // Incidents are numbered from 1 on. A dropped one that is reported again is not a new one.
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

    /// The incident with this number, if remembered.
    pub fn get(&self, id: IncidentId) -> Option<&Arc<Incident>> {
        self.items.get(&id)
    }

    /// Number of open incidents.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Number of incidents since tracing began.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Remembered incidents, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Incident>> + ExactSizeIterator {
        self.items.values()
    }

    /// Remembered incidents, worst first. Of equal severity: open ones by their start, closed ones by their end, latest first.
    pub fn worst_first(&self) -> Vec<&Arc<Incident>> {
        let mut all: Vec<&Arc<Incident>> = self.items.values().collect();
        all.sort_by_key(|incident| {
            let severity = severity(incident);
            let order = if severity > Severity::Harmed { incident.id.0 } else { u64::MAX - incident.updated.0 };
            // Numbers only grow, so a list of open incidents does not jump.
            (std::cmp::Reverse(severity), order)
        });
        all
    }
}
