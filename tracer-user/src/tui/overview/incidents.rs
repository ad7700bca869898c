//! The incidents, worst first, one line each.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    analysis::detector::Incident,
    model::exchange::IncidentId,
    tui::{
        keys::Action,
        pen::Pen,
        theme::Tone,
        view::Context,
        widget::{draw_incident, split_top},
    },
};

/// State of the list.
#[derive(Default)]
pub(super) struct Incidents {
    selected: Option<IncidentId>,
    place: usize,
    top: usize,
    area: Rect,
}

/// The line without incidents. It reports that nothing fails only where all calls were seen.
fn nothing_found(pen: &mut Pen<'_>, context: &Context<'_>) {
    let store = context.store;
    let totals = store.totals();
    let is_over = store.summary().is_some();
    if totals.failed > 0 {
        let failed = totals.failed;
        pen.put(Tone::Plain, format_args!("No incidents, though {failed} calls failed (/is:failed lists them)."));
    } else if totals.exchanges == 0 && store.open_total() == 0 {
        let yet = if is_over { "" } else { " yet" };
        pen.put(Tone::Plain, format_args!("No incidents: no call was seen{yet}, so nothing could be detected."));
    } else if store.unseen().is_empty() && store.loss().total_events() == 0 && store.loss().at_least {
        pen.put(Tone::Plain, "No incidents among the observed calls; other calls may have been missed.");
    } else if !store.unseen().is_empty() || store.loss().is_possible() {
        pen.put(Tone::Plain, "No incidents among the observed calls; other calls were not seen.");
    } else if is_over {
        pen.put(Tone::Good, "No incidents: no observed call failed, was retried or hung.");
    } else {
        pen.put(Tone::Good, "No incidents: no observed call fails, is retried or hangs.");
    }
}

impl Incidents {
    /// Height in lines, of `room` lines.
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
            nothing_found(&mut pen, context);
            let loss = context.store.loss();
            let line = if loss.total_events() > 0 {
                "Events were lost: their content is unknown."
            } else if loss.at_least {
                "Events may be lost: the counters of the probes cannot be read."
            } else if context.store.summary().is_some() {
                "Retried calls, hanging calls and other problems would be listed here."
            } else {
                "Retried calls, hanging calls and other problems will be listed here."
            };
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
            // The focus enters at the worst one.
            (self.place, self.top, self.selected) = (0, 0, None);
        }
        self.area = rows;
        let tone = if incidents.open() > 0 { Tone::Bad } else { Tone::Strong };
        let over = total - incidents.open() as u64;
        match (incidents.open(), context.store.summary().is_some()) {
            (0, _) => pen.put(tone, format_args!("{over} over, none ongoing")),
            (open, false) => {
                pen.put(tone, format_args!("{open} ongoing")).put(Tone::Plain, format_args!(", {over} over"))
            }
            (open, true) => pen
                .put(tone, format_args!("{open} ongoing when tracing ended"))
                .put(Tone::Plain, format_args!(", {over} over")),
        };
        let below = all.len().saturating_sub(self.top + count);
        if below > 0 || self.top > 0 {
            let key = if has_focus { "" } else { " (i)" };
            pen.put(Tone::Faint, format_args!("; {} above, {below} below{key}", self.top));
        }
        for ((offset, row), incident) in rows.rows().enumerate().zip(&all[self.top..]) {
            let mut pen = Pen::new(buffer, row, context.theme);
            if has_focus && self.top + offset == self.place {
                pen.select();
            }
            draw_incident(&mut pen, incident, context);
        }
    }

    /// Finds the place of the selected incident.
    fn find(&mut self, all: &[&std::sync::Arc<Incident>]) {
        let place = self.selected.and_then(|id| all.iter().position(|incident| incident.id == id));
        self.place = place.unwrap_or(self.place).min(all.len().saturating_sub(1));
        self.selected = all.get(self.place).map(|incident| incident.id);
    }

    pub(super) fn selected(&self) -> Option<IncidentId> {
        self.selected
    }

    /// Selects an incident as the focus enters.
    pub(super) fn enter(&mut self, context: &Context<'_>) {
        self.go_to(self.place, context);
    }

    /// Moves the selection. False at the end of the list.
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

    /// Selects the row that was clicked. Gives whether it was selected before; `None` without a row.
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
