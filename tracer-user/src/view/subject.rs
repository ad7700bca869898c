//! An incident: its state, its time, and how certain it is.

use std::sync::Arc;

use super::viewpoint::Viewpoint;
use crate::{
    analysis::detector::{Evidence, HangEvidence, HangResult, Incident, RetryResult, State},
    event::Timestamp,
    text::units,
};

/// An incident, seen from a point.
pub struct Subject<'a> {
    /// The incident.
    pub incident: Arc<Incident>,
    /// The store and the time of the view.
    pub viewpoint: Viewpoint<'a>,
    /// The store has dropped it: `incident` is as it was known last.
    pub forgotten: bool,
}

impl Subject<'_> {
    /// The time of the view.
    pub fn now(&self) -> Timestamp {
        self.viewpoint.store.now()
    }

    /// True while it goes on and time passes.
    pub fn runs(&self) -> bool {
        self.goes_on() && !self.forgotten && !self.viewpoint.is_over()
    }

    fn goes_on(&self) -> bool {
        let ongoing = match &self.incident.report.evidence {
            Evidence::Retry(evidence) => evidence.result == RetryResult::Ongoing,
            Evidence::Hang(evidence) => evidence.result == HangResult::Ongoing,
            _ => true,
        };
        ongoing && self.incident.state != State::Closed
    }

    /// Its beginning, which may be before it was found.
    pub fn since(&self) -> Timestamp {
        let Incident { opened, updated, report, .. } = &*self.incident;
        match &report.evidence {
            Evidence::Retry(evidence) => evidence.listed.first().map_or(*opened, |first| first.started),
            Evidence::Hang(evidence) => Timestamp(self.ended().unwrap_or(*updated).0.saturating_sub(evidence.age)),
            Evidence::ErrorBurst(evidence) => evidence.onset,
            Evidence::Leak(evidence) => evidence.since,
            Evidence::Late(evidence) => evidence.since,
            Evidence::Listen(evidence) => evidence.since,
            _ => *opened,
        }
    }

    /// Its end.
    pub fn ended(&self) -> Option<Timestamp> {
        self.incident.closed
    }

    /// The end of the time that is shown.
    pub fn until(&self) -> Timestamp {
        let updated = self.incident.updated;
        self.ended().unwrap_or_else(|| if self.forgotten { updated } else { self.now().max(updated) })
    }

    /// Its state in words.
    pub fn state(&self) -> &'static str {
        if self.goes_on() {
            let tracing = !self.viewpoint.is_over();
            return if tracing { "ongoing" } else { "open when tracing ended" };
        }
        match &self.incident.report.evidence {
            Evidence::Retry(evidence) if evidence.result == RetryResult::Recovered => "over, recovered",
            Evidence::Retry(_) => "over, GAVE UP",
            Evidence::Hang(evidence) => match evidence.result {
                HangResult::Ongoing | HangResult::Over => "over",
                HangResult::Answered => "over, answered",
                HangResult::Failed => "over, FAILED",
                HangResult::ClientGone => "over, answered too late: client gone",
                HangResult::Resumed => "over, resumed",
                HangResult::Connected => "over, connected",
                HangResult::Reset => "over, RESET",
                HangResult::Closed => "over, CLOSED",
                HangResult::Refused => "over, REFUSED",
                HangResult::NoConnection(_) => "over, NO CONNECTION",
                HangResult::ClientTimeout => "over, GAVE UP",
            },
            _ => "over",
        }
    }

    /// Its time in words: `since 04:05:06.123, for 3.2s`.
    pub fn lasting(&self) -> String {
        let since = self.since();
        let start = self.viewpoint.clock_time(since);
        let age = match &self.incident.report.evidence {
            Evidence::Hang(evidence) => hang_age(&self.incident, evidence, &self.viewpoint),
            _ => units::duration(Some(self.until().since(since))),
        };
        match self.ended() {
            Some(ended) => format!("{start} to {}, {age}", self.viewpoint.clock_time(ended)),
            None => format!("since {start}, for {age}"),
        }
    }

    /// Its confidence, and the reasons for it.
    pub fn confidence(&self) -> String {
        let confidence = &self.incident.report.confidence;
        let mut reasons = Vec::new();
        if !confidence.explicit.is_empty() {
            reasons.push(format!("observed: {}", confidence.explicit.join("; ")));
        }
        if !confidence.inferred.is_empty() {
            reasons.push(format!("inferred: {}", confidence.inferred.join("; ")));
        }
        let level = confidence.level();
        if reasons.is_empty() { level.to_owned() } else { format!("{level} ({})", reasons.join("; ")) }
    }
}

/// The age of a call that hangs, or hung; `>` where it is a lower bound. While the call hangs, the age grows with the time of the
/// trace.
pub fn hang_age(incident: &Incident, evidence: &HangEvidence, viewpoint: &Viewpoint<'_>) -> String {
    let goes_on = incident.state != State::Closed && evidence.result == HangResult::Ongoing;
    let grown = if goes_on { viewpoint.store.now().since(incident.updated) } else { 0 };
    let least = if evidence.age_is_lower_bound { ">" } else { "" };
    format!("{least}{}", units::duration(Some(evidence.age + grown)))
}
