//! The list of exchanges: finished ones in the order of their ends, and below them the open ones.

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::index::Index;
use crate::{
    analysis::detector::Incident,
    model::exchange::{Exchange, ExchangeId},
    store::Sequence,
    tui::{
        keys::Action,
        pen::Pen,
        theme::Tone,
        view::Context,
        widget::{draw_exchange, draw_heading, split_top},
    },
    view::members::belongs,
};

/// State of the list.
#[derive(Default)]
pub(super) struct List {
    index: Index,
    /// Inputs of the index: the version of the filter, and the incident with its number of named exchanges. An incident
    /// may later name an exchange that had ended before.
    made_for: Option<(u64, Option<(crate::model::exchange::IncidentId, usize)>)>,
    /// The selected exchange, and its latest place in the list.
    selected: Option<ExchangeId>,
    place: usize,
    /// The first visible exchange, while the list does not follow.
    top: Sequence,
    open_top: usize,
    /// The list does not follow: the user has moved.
    stays: bool,
    rows: usize,
    finished_area: Rect,
    open_area: Rect,
    first_shown: usize,
    open: Vec<Arc<Exchange>>,
    /// Number of exchanges that the filter has not tested yet.
    behind: usize,
}

impl List {
    /// Draws the list. `incident` narrows it.
    pub(super) fn draw(
        &mut self,
        area: Rect,
        buffer: &mut Buffer,
        context: &Context<'_>,
        incident: Option<&Incident>,
        has_focus: bool,
    ) {
        self.update(context, incident);
        let [heading, rows] = split_top(area, 1);
        let mut pen = Pen::new(buffer, heading, context.theme);
        draw_heading(&mut pen);
        let total = self.index.len();
        let matched = if context.filter.takes_all() && incident.is_none() {
            String::new()
        } else {
            let store = context.store;
            let kept = store.exchanges().len();
            // Dropped exchanges cannot match, so the header counts more.
            let which = if (kept as u64) < store.totals().exchanges { " in memory" } else { "" };
            let behind = match self.behind {
                0 => String::new(),
                behind => format!(", {behind} to check"),
            };
            format!(" {} shown of {}{which}{behind}", total + self.open.len(), kept + store.open().len())
        };
        pen.at_end(Tone::Strong, matched);
        let (finished, rule, open) = self.split(rows);
        self.finished_area = finished;
        self.open_area = open;
        self.rows = usize::from(rows.height).max(1);
        self.place_cursor(context);
        self.draw_finished(finished, buffer, context, has_focus);
        if rule.height > 0 {
            self.draw_rule(rule, buffer, context, usize::from(open.height));
        }
        self.draw_open(open, buffer, context, has_focus);
        if total + self.open.len() == 0 {
            let store = context.store;
            let none = store.exchanges().is_empty() && store.open().is_empty();
            let why = match (none, store.unseen().is_empty(), store.summary().is_some()) {
                (false, ..) if self.behind > 0 => "No calls match so far.",
                (false, ..) => "No calls match.",
                (true, false, _) => "No calls can be shown: the content of the connections is not visible.",
                (true, true, true) => "No calls were seen.",
                (true, true, false) => "No calls yet. They appear as they happen.",
            };
            Pen::new(buffer, rows, context.theme).put(Tone::Faint, why);
        }
    }

    fn update(&mut self, context: &Context<'_>, incident: Option<&Incident>) {
        let made_for =
            Some((context.filter.version, incident.map(|incident| (incident.id, incident.report.exchanges.len()))));
        if self.made_for != made_for {
            self.made_for = made_for;
            self.index = Index::default();
        }
        let wanted = |exchange: &Exchange| {
            incident.is_none_or(|incident| belongs(exchange, incident)) && context.matches(exchange)
        };
        // The open ones first: they are few, and tested each time.
        let open = context.store.open();
        let mut behind = 0;
        self.open.clear();
        for (number, exchange) in open.iter().enumerate() {
            if !context.has_time() {
                behind = open.len() - number;
                break;
            }
            if wanted(exchange) {
                self.open.push(Arc::clone(exchange));
            }
        }
        self.index.update(context.store.exchanges(), wanted, || context.has_time());
        self.behind = behind + self.index.behind(context.store.exchanges());
    }

    /// Areas of the finished ones, the line between, and the open ones, which get half of the lines at most.
    fn split(&self, rows: Rect) -> (Rect, Rect, Rect) {
        if self.open.is_empty() {
            let none = Rect { height: 0, ..rows };
            return (rows, none, none);
        }
        let finished = self.index.len().min(usize::from(rows.height));
        let most = usize::from(rows.height).saturating_sub(1 + finished.min(usize::from(rows.height) / 2));
        let open = self.open.len().min(most) as u16;
        // New ones are added at the bottom, as in a log.
        let finished = (finished as u16).min(rows.height.saturating_sub(open + 1));
        let at = |y, height| Rect { y: rows.y + y, height, ..rows };
        (at(0, finished), at(finished, 1.min(rows.height - finished)), at(finished + 1, open))
    }

    fn len(&self) -> usize {
        self.index.len() + self.open.len()
    }

    fn at(&self, place: usize, context: &Context<'_>) -> Option<ExchangeId> {
        match place.checked_sub(self.index.len()) {
            Some(open) => self.open.get(open).map(|exchange| exchange.id),
            None => context.store.exchanges().get(self.index.get(place)?).map(|exchange| exchange.id),
        }
    }

    fn place_cursor(&mut self, context: &Context<'_>) {
        let total = self.len();
        if !self.stays {
            // The latest finished one; without any, the one that is open longest.
            self.place = self.index.len().saturating_sub(1);
            self.selected = self.at(self.place, context);
            return;
        }
        let place = self.selected.and_then(|id| {
            let over = context.store.exchanges().sequence_of(id).map(|sequence| self.index.place_of(sequence));
            let over = over.filter(|place| self.at(*place, context) == Some(id));
            let open = || Some(self.index.len() + self.open.iter().position(|exchange| exchange.id == id)?);
            over.or_else(open)
        });
        if let Some(place) = place {
            self.place = place;
        } else {
            self.place = self.place.min(total.saturating_sub(1));
            self.selected = self.at(self.place, context);
        }
    }

    fn draw_finished(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>, has_focus: bool) {
        let (total, rows) = (self.index.len(), usize::from(area.height));
        let last_start = total.saturating_sub(rows);
        let mut first = if self.stays { self.index.place_of(self.top).min(last_start) } else { last_start };
        if self.stays && self.place < total {
            first = first.clamp((self.place + 1).saturating_sub(rows), self.place);
        }
        self.first_shown = first;
        self.top = self.index.get(first).unwrap_or_default();
        for (offset, line) in area.rows().enumerate() {
            let Some(sequence) = self.index.get(first + offset) else { break };
            let mut pen = Pen::new(buffer, line, context.theme);
            if has_focus && first + offset == self.place {
                pen.select();
            }
            match context.store.exchanges().get(sequence) {
                Some(exchange) => draw_exchange(&mut pen, exchange, context, true),
                None => drop(pen.put(Tone::Faint, "  (not in memory)")),
            }
        }
    }

    fn draw_rule(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>, shown: usize) {
        let total = self.open.len();
        let held = context.store.open().len();
        let unknown = context.store.open_total().saturating_sub(held);
        let more = match (total.saturating_sub(shown), unknown) {
            (0, 0) => String::new(),
            (more, 0) => format!(", {more} more below"),
            (more, unknown) => format!(", {} more", more + unknown),
        };
        let text = format!("── open: {}{more} ", total + unknown);
        let width = usize::from(area.width);
        Pen::new(buffer, area, context.theme).put(Tone::Open, format_args!("{text:─<width$}"));
    }

    fn draw_open(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>, has_focus: bool) {
        let rows = usize::from(area.height);
        let selected = self.place.checked_sub(self.index.len());
        self.open_top = match selected {
            Some(place) if rows > 0 => self.open_top.clamp((place + 1).saturating_sub(rows), place),
            _ => 0,
        };
        for (offset, line) in area.rows().enumerate() {
            let Some(exchange) = self.open.get(self.open_top + offset) else { break };
            let mut pen = Pen::new(buffer, line, context.theme);
            if has_focus && selected == Some(self.open_top + offset) {
                pen.select();
            }
            draw_exchange(&mut pen, exchange, context, true);
        }
    }

    /// The selected exchange.
    pub(super) fn selected(&self) -> Option<ExchangeId> {
        self.selected
    }

    /// True where the first row is selected.
    pub(super) fn is_at_top(&self) -> bool {
        self.place == 0
    }

    /// Moves the selection.
    pub(super) fn act(&mut self, action: Action, context: &Context<'_>) {
        let last = self.len().saturating_sub(1);
        let place = match action {
            Action::Up => self.place.saturating_sub(1),
            Action::Down => self.place + 1,
            Action::PageUp => self.place.saturating_sub(self.rows),
            Action::PageDown => self.place + self.rows,
            Action::First => 0,
            Action::Last => {
                self.stays = false;
                return;
            }
            _ => return,
        };
        self.go_to(place.min(last), context);
    }

    fn go_to(&mut self, place: usize, context: &Context<'_>) {
        // An empty list follows.
        self.stays = self.len() > 0;
        self.place = place;
        self.selected = self.at(place, context);
    }

    /// Selects the row that was clicked. Gives whether it was selected before; `None` without a row.
    pub(super) fn click(&mut self, at: Position, context: &Context<'_>) -> Option<bool> {
        let place = if self.finished_area.contains(at) {
            self.first_shown + usize::from(at.y - self.finished_area.y)
        } else if self.open_area.contains(at) {
            self.index.len() + self.open_top + usize::from(at.y - self.open_area.y)
        } else {
            return None;
        };
        if place >= self.len() {
            return None;
        }
        let again = self.stays && self.place == place;
        self.go_to(place, context);
        Some(again)
    }
}
