//! The incident that is shown, and how it stands.

use std::sync::Arc;

use crate::{
    analysis::detector::{Evidence, HangResult, Incident, RetryResult, State},
    event::Timestamp,
    text::{escape::Visible, units},
    tui::{
        overview::{about, hang_age, sign},
        pen::Pen,
        theme::Tone,
        view::Context,
    },
};

/// See the module.
pub(super) struct Subject<'a> {
    pub(super) incident: Arc<Incident>,
    pub(super) context: &'a Context<'a>,
    /// The store has forgotten it: this is what was known last.
    pub(super) forgotten: bool,
}

/// Which of how many it is, in the order of the overview.
pub(super) type Place = Option<(usize, usize)>;

impl Subject<'_> {
    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.context.store.now()
    }

    /// It goes on, and the clock runs.
    pub(super) fn runs(&self) -> bool {
        self.goes_on() && !self.forgotten && self.context.store.summary().is_none()
    }

    fn goes_on(&self) -> bool {
        let ongoing = match &self.incident.report.evidence {
            Evidence::Retry(evidence) => evidence.result == RetryResult::Ongoing,
            Evidence::Hang(evidence) => evidence.result == HangResult::Ongoing,
            _ => true,
        };
        ongoing && self.incident.state != State::Closed
    }

    /// When what it is about began, which may be before it was found.
    pub(super) fn since(&self) -> Timestamp {
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

    /// When it was over.
    pub(super) fn ended(&self) -> Option<Timestamp> {
        self.incident.closed
    }

    /// Until when there is something to show.
    pub(super) fn until(&self) -> Timestamp {
        let updated = self.incident.updated;
        self.ended().unwrap_or_else(|| if self.forgotten { updated } else { self.now().max(updated) })
    }

    fn state(&self) -> &'static str {
        if self.goes_on() {
            let tracing = self.context.store.summary().is_none();
            return if tracing { "going on" } else { "open when tracing ended" };
        }
        match &self.incident.report.evidence {
            Evidence::Retry(evidence) if evidence.result == RetryResult::Recovered => "over, recovered",
            Evidence::Retry(_) => "over, GAVE UP",
            Evidence::Hang(evidence) => match evidence.result {
                HangResult::Ongoing | HangResult::Over => "over",
                HangResult::Answered => "over, it was answered",
                HangResult::Failed => "over, it FAILED",
                HangResult::ClientGone => "over, answered too late: its client had gone",
                HangResult::Resumed => "over, it moves again",
                HangResult::Connected => "over, it is connected",
                HangResult::Reset => "over, RESET",
                HangResult::Closed => "over, CLOSED",
                HangResult::Refused => "over, REFUSED",
                HangResult::NoConnection(_) => "over, NO CONNECTION",
                HangResult::ClientTimeout => "over, GAVE UP",
            },
            _ => "over",
        }
    }

    fn lasting(&self) -> String {
        let since = self.since();
        let start = self.context.clock_time(since);
        let age = match &self.incident.report.evidence {
            Evidence::Hang(evidence) => hang_age(&self.incident, evidence, self.context),
            _ => units::duration(Some(self.until().since(since))),
        };
        match self.ended() {
            Some(ended) => format!("{start} to {}, {age}", self.context.clock_time(ended)),
            None => format!("since {start}, for {age}"),
        }
    }

    /// How sure it is, and why.
    pub(super) fn sure(&self) -> String {
        let confidence = &self.incident.report.confidence;
        let mut reasons = Vec::new();
        if !confidence.explicit.is_empty() {
            reasons.push(format!("seen: {}", confidence.explicit.join("; ")));
        }
        if !confidence.inferred.is_empty() {
            reasons.push(format!("concluded: {}", confidence.inferred.join("; ")));
        }
        let level = confidence.level();
        if reasons.is_empty() { level.to_owned() } else { format!("{level} ({})", reasons.join("; ")) }
    }

    /// The first line, which always stays: what it is, and which.
    pub(super) fn title_first(&self, mut pen: Pen<'_>, place: Place) {
        let (sign, tone) = sign(&self.incident);
        let kind = self.incident.kind().name().replace('-', " ");
        let state = self.state();
        pen.put(tone, format_args!(" {sign} {kind} {}: {state}", self.incident.id.0));
        let about = about(&self.incident.report.evidence, self.context.redactor);
        pen.skip(2).put(Tone::Strong, Visible(&about));
        if let Some((place, of)) = place {
            pen.at_end(Tone::Faint, format_args!("{place} of {of}"));
        }
    }

    /// The second: since when, and how sure.
    pub(super) fn title_second(&self, mut pen: Pen<'_>) {
        if self.forgotten {
            pen.put(Tone::Warn, " pidtap has forgotten it; this is what was known last.");
        }
        let certain = self.incident.report.confidence.level();
        pen.put(Tone::Plain, format_args!(" {}; {certain}", self.lasting()));
        let full = self.sure();
        pen.put(Tone::Faint, full.strip_prefix(certain).unwrap_or_default());
    }
}
