//! Incidents as lines, and as remarks on the exchanges that belong to them.

use std::{
    io::{self, Write},
    sync::Arc,
};

use rustc_hash::FxHashMap;

use super::{
    LineOutput,
    styled::{Style, StyledLine},
};
use crate::{
    analysis::detector::{Evidence, HangResult, Incident, RetryEvidence, RetryResult, State},
    model::exchange::{Exchange, ExchangeId, IncidentId},
    text::{escape::Visible, units},
};

/// Open incidents that are kept for the remarks on their exchanges, at most.
const REMEMBERED: usize = 4096;

/// Incidents that are open.
#[derive(Debug, Default)]
pub(super) struct Incidents(FxHashMap<IncidentId, Arc<Incident>>);

impl Incidents {
    fn remember(&mut self, incident: &Arc<Incident>) {
        if incident.state == State::Closed {
            self.0.remove(&incident.id);
        } else if self.0.len() < REMEMBERED || self.0.contains_key(&incident.id) {
            self.0.insert(incident.id, Arc::clone(incident));
        }
    }

    /// Remarks of the incidents of an exchange.
    pub(super) fn mark(&self, line: &mut StyledLine, exchange: &Exchange) {
        for incident in exchange.incidents.iter().filter_map(|id| self.0.get(id)) {
            line.style(Style::Slow);
            match &incident.report.evidence {
                Evidence::Retry(evidence) => retry(line, evidence, exchange.id),
                // These incidents concern many exchanges, not a single one.
                Evidence::ErrorBurst(_) | Evidence::Leak(_) | Evidence::Pool(_) | Evidence::Listen(_) => {}
                Evidence::Late(_) => line.text.push_str("  [caller gone]"),
                Evidence::Slow(_) => line.text.push_str("  [slower than usual]"),
                Evidence::Duplicate(_) => line.text.push_str("  [duplicate]"),
                Evidence::Stale(_) => line.text.push_str("  [stale connection]"),
                Evidence::Hang(evidence) => {
                    line.put(format_args!("  [hung, waiting on {}]", evidence.waiting_on.words()));
                }
            }
        }
    }
}

/// `[retry 3, after 1.98s, x2.0, next in about 4.00s]`
fn retry(line: &mut StyledLine, evidence: &RetryEvidence, exchange: ExchangeId) {
    let Some(attempt) = evidence.attempt_of(exchange).filter(|attempt| attempt.number > 1) else { return };
    line.put(format_args!("  [retry {}", attempt.number - 1));
    if let Some(gap) = attempt.gap {
        line.put(format_args!(", after {}", units::duration(Some(gap))));
        let own = !evidence.came_as_asked(attempt.number) && !evidence.came_as_asked(attempt.number - 1);
        if !own && evidence.came_as_asked(attempt.number) {
            line.text.push_str(" as requested");
        }
        let before = evidence.gap_before(attempt.number - 1).filter(|before| own && *before >= WORTH_A_FACTOR);
        if let Some(before) = before {
            line.put(format_args!(", x{:.1}", gap as f64 / before as f64));
        }
    }
    if let (Some(due), Some(ended)) = (evidence.next_due, attempt.ended.filter(|_| attempt.failure.is_some())) {
        line.put(format_args!(", next in about {}", units::duration(Some(due.since(ended)))));
    }
    line.text.push(']');
}

/// Shorter gaps in nanoseconds are no backoff that could grow.
const WORTH_A_FACTOR: u64 = 5_000_000;

impl<W: Write> LineOutput<W> {
    /// Writes an incident when it begins and when it is over.
    pub(super) fn incident(&mut self, incident: &Arc<Incident>) -> io::Result<()> {
        self.incidents.remember(incident);
        let style = match (incident.state, &incident.report.evidence) {
            (State::Update, _) => return Ok(()),
            // An incident that was over when it was found has one line.
            (State::Open, Evidence::Hang(evidence)) if evidence.result != HangResult::Ongoing => return Ok(()),
            (State::Closed, Evidence::Retry(evidence)) if evidence.result != RetryResult::GaveUp => Style::Good,
            (State::Closed, Evidence::Hang(evidence)) if evidence.result.is_good() => Style::Good,
            (
                State::Closed,
                Evidence::ErrorBurst(_)
                | Evidence::Slow(_)
                | Evidence::Leak(_)
                | Evidence::Pool(_)
                | Evidence::Late(_)
                | Evidence::Listen(_),
            ) => Style::Good,
            (State::Open | State::Closed, _) => Style::Bad,
        };
        self.time(incident.updated, self.options.width.is_none_or(|width| width >= super::WIDE));
        self.line.style(style);
        let sign = if incident.state == State::Open { '▲' } else { '▼' };
        self.line.put(format_args!("{sign} {} {}: ", incident.kind().name(), incident.id.0));
        self.line.style(Style::Strong);
        let title = incident.report.evidence.timed_title(self.redactor, &|time| self.clock.time_of_day(time));
        self.line.put(format_args!("{}", Visible(&title)));
        self.finish_words()
    }
}
