//! What is wrong, worst first, one line each.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::list::split_top;
use crate::{
    detector::{Attempt, Evidence, Failure, HangEvidence, HangResult, Incident, RetryEvidence, RetryResult, State},
    event::Timestamp,
    exchange::IncidentId,
    measure,
    store::{Severity, severity},
    tui::{
        keys::Action,
        pen::{Pen, columns},
        theme::Tone,
        view::Context,
    },
    visible::Visible,
};

/// Attempts that are shown one by one: the first and the last of more.
const DOTS: usize = 8;

/// See the module.
#[derive(Default)]
pub(super) struct Incidents {
    selected: Option<IncidentId>,
    place: usize,
    top: usize,
    area: Rect,
}

impl Incidents {
    /// Lines that it wants, of so many that there are.
    pub(super) fn height(context: &Context<'_>, room: u16) -> u16 {
        let wanted = context.store.incidents().iter().len().max(1) + 1;
        (wanted.min(usize::from(room * 2 / 5).max(3))) as u16
    }

    pub(super) fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>, has_focus: bool) {
        let [heading, rows] = split_top(area, 1);
        let incidents = context.store.incidents();
        let mut pen = Pen::new(buffer, heading, context.theme);
        let total = incidents.total();
        if total == 0 {
            pen.put(Tone::Good, "Nothing is wrong, as far as was seen.");
            let line = "Calls that are retried, calls that hang, and other trouble will stand here.";
            Pen::new(buffer, rows, context.theme).put(Tone::Faint, line);
            self.area = Rect::default();
            return;
        }
        let all = incidents.worst_first();
        let count = usize::from(rows.height);
        if has_focus {
            self.find(&all);
            self.top = self.top.clamp((self.place + 1).saturating_sub(count), self.place);
        } else {
            // Whoever comes here begins at the worst one.
            (self.place, self.top, self.selected) = (0, 0, None);
        }
        self.area = rows;
        let tone = if incidents.open() > 0 { Tone::Bad } else { Tone::Strong };
        pen.put(tone, format_args!("{} going on", incidents.open()));
        pen.put(Tone::Plain, format_args!(", {} over", total - incidents.open() as u64));
        let below = all.len().saturating_sub(self.top + count);
        if below > 0 || self.top > 0 {
            let key = if has_focus { "" } else { " (i)" };
            pen.put(Tone::Faint, format_args!("; {} above, {below} below{key}", self.top));
        }
        for ((offset, line), incident) in rows.rows().enumerate().zip(&all[self.top..]) {
            let mut pen = Pen::new(buffer, line, context.theme);
            if has_focus && self.top + offset == self.place {
                pen.select();
            }
            draw(&mut pen, incident, context);
        }
    }

    /// Where the selected one is now.
    fn find(&mut self, all: &[&std::sync::Arc<Incident>]) {
        let place = self.selected.and_then(|id| all.iter().position(|incident| incident.id == id));
        self.place = place.unwrap_or(self.place).min(all.len().saturating_sub(1));
        self.selected = all.get(self.place).map(|incident| incident.id);
    }

    pub(super) fn selected(&self) -> Option<IncidentId> {
        self.selected
    }

    /// Begins at the worst one.
    pub(super) fn enter(&mut self, context: &Context<'_>) {
        self.go_to(self.place, context);
    }

    /// Moves; whether there was anywhere to go.
    pub(super) fn act(&mut self, action: Action, context: &Context<'_>) -> bool {
        let all = context.store.incidents().worst_first();
        self.find(&all);
        let rows = usize::from(self.area.height).max(1);
        let last = all.len().saturating_sub(1);
        let place = match action {
            Action::Up => self.place.saturating_sub(1),
            Action::Down if self.place == last => return false,
            Action::Down => self.place + 1,
            Action::PageUp => self.place.saturating_sub(rows),
            Action::PageDown => self.place + rows,
            Action::First => 0,
            Action::Last => last,
            _ => return true,
        };
        self.go_to(place, context);
        true
    }

    fn go_to(&mut self, place: usize, context: &Context<'_>) {
        let all = context.store.incidents().worst_first();
        self.place = place.min(all.len().saturating_sub(1));
        self.selected = all.get(self.place).map(|incident| incident.id);
    }

    /// A row was clicked: whether it was the selected one already.
    pub(super) fn click(&mut self, at: Position, context: &Context<'_>) -> Option<bool> {
        if !self.area.contains(at) {
            return None;
        }
        let place = self.top + usize::from(at.y - self.area.y);
        if place >= context.store.incidents().iter().len() {
            return None;
        }
        let before = self.selected;
        self.go_to(place, context);
        Some(before == self.selected)
    }
}

/// One line.
pub(in crate::tui) fn draw(pen: &mut Pen<'_>, incident: &Incident, context: &Context<'_>) {
    let (sign, tone) = sign(incident);
    pen.put(Tone::Plain, if pen.is_selected() { '>' } else { ' ' }).put(tone, format_args!("{sign} "));
    let room = if pen.left() >= 110 { 16 } else { 10 };
    pen.cell(room, tone, incident.kind().name());
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry(pen, incident, evidence, context),
        Evidence::Hang(evidence) => hang(pen, incident, evidence, context),
        evidence => drop(pen.put(Tone::Plain, Visible(&evidence.title(context.redactor)))),
    }
}

/// How it stands: a sign that needs no colour.
pub(in crate::tui) fn sign(incident: &Incident) -> (char, Tone) {
    match severity(incident) {
        Severity::Waiting | Severity::Failing => ('▲', Tone::Bad),
        Severity::Notable => ('▲', Tone::Warn),
        Severity::Harmed => ('▼', Tone::Warn),
        Severity::Recovered => ('✓', Tone::Good),
    }
}

/// `✗✗✗◌`: what failed, what did not, what is open.
pub(in crate::tui) fn dots(evidence: &RetryEvidence) -> String {
    let dot = |attempt: &Attempt| match (attempt.failure, attempt.ended) {
        (Some(_), _) => '✗',
        (None, Some(_)) => '✓',
        (None, None) => '◌',
    };
    let listed = &evidence.listed;
    if evidence.attempts as usize <= DOTS && listed.len() == evidence.attempts as usize {
        return listed.iter().map(dot).collect();
    }
    let tail = listed.len().saturating_sub(3);
    let head = listed.iter().take(tail.min(4)).map(dot);
    head.chain(['…']).chain(listed[tail..].iter().map(dot)).collect()
}

/// `next in 1.2s`: when the next attempt is due.
pub(in crate::tui) fn due(due: Timestamp, now: Timestamp) -> String {
    if due > now {
        format!("next in {}", measure::duration(Some(due.since(now))))
    } else {
        format!("due {} ago", measure::duration(Some(now.since(due))))
    }
}

fn retry(pen: &mut Pen<'_>, _incident: &Incident, evidence: &RetryEvidence, context: &Context<'_>) {
    let now = context.store.now();
    let is_over = context.store.summary().is_some();
    let last = evidence.last_failure().map(Failure::words);
    let mut right = vec![];
    if let Some(pattern) = evidence.pattern {
        let factor = evidence.factor.map_or_else(String::new, |factor| format!(" x{factor:.1}"));
        right.push(format!("{}{factor}", pattern.name()));
    }
    match evidence.result {
        RetryResult::Ongoing => {
            right.extend(last.map(|last| format!("last {last}")));
            right.extend(evidence.next_due.filter(|_| !is_over).map(|next| due(next, now)));
        }
        RetryResult::Recovered => match evidence.answer {
            Some(status) => right.push(format!("recovered: {status}")),
            None => right.push("recovered".to_owned()),
        },
        RetryResult::GaveUp => {
            let got = evidence.caller.as_ref().and_then(|caller| caller.got.as_deref());
            right.push(match got {
                Some(got) => format!("GAVE UP, caller got {}", Visible(got)),
                None => "GAVE UP".to_owned(),
            });
        }
    }
    let dots = dots(evidence);
    pen.put(Tone::Bad, &dots);
    pen.put(Tone::Plain, format_args!(" {}x ", evidence.attempts));
    two_sided(pen, &Visible(&evidence.call(context.redactor)).to_string(), &right.join(", "));
}

/// How long it hangs, or hung; what goes on grows with the trace's time.
pub(in crate::tui) fn hang_age(incident: &Incident, evidence: &HangEvidence, context: &Context<'_>) -> String {
    let goes_on = incident.state != State::Closed && evidence.result == HangResult::Ongoing;
    let grown = if goes_on { context.store.now().since(incident.updated) } else { 0 };
    let least = if evidence.age_is_lower_bound { ">" } else { "" };
    format!("{least}{}", measure::duration(Some(evidence.age + grown)))
}

fn hang(pen: &mut Pen<'_>, incident: &Incident, evidence: &HangEvidence, context: &Context<'_>) {
    let tone = if evidence.result == HangResult::Ongoing { Tone::Bad } else { Tone::Plain };
    pen.cell(7, tone, hang_age(incident, evidence, context));
    let verdict = match evidence.result {
        HangResult::Ongoing => format!("{}: waits on {}", evidence.phase.name(), evidence.waiting_on.words()),
        result if result.is_good() => format!("went on; it had waited on {}", evidence.waiting_on.words()),
        result => format!("{}; it waited on {}", result.name().replace('_', " "), evidence.waiting_on.words()),
    };
    two_sided(pen, &Visible(&evidence.name(context.redactor)).to_string(), &verdict);
}

/// What is said at the right is never cut for what stands at the left, as long as that keeps a third.
fn two_sided(pen: &mut Pen<'_>, left: &str, right: &str) {
    let room = pen.left();
    let width = room.saturating_sub(columns(right) + 1).max(room / 3);
    pen.cell(width, Tone::Plain, left).put(Tone::Strong, right);
}
