//! One incident: its timeline to scale, its evidence, advice, and its exchanges.

mod cursor;
mod hang;
mod layout;
mod other;
mod page;
mod retry;
mod scale;
mod title;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use self::{cursor::Cursor, layout::BETWEEN, page::Target};
use super::{
    copy,
    keys::{Action, On},
    pen::{Pen, columns},
    theme::Tone,
    view::{Context, Effect, Reaction, View},
    widget::split_top,
};
use crate::{
    analysis::detector::Incident,
    model::exchange::{ExchangeId, IncidentId},
    view::{members::Members, subject::Subject},
};

/// Lines of the title.
const TITLE: u16 = 2;

/// State of the screen.
pub(super) struct IncidentView {
    id: IncidentId,
    /// The incident as it was known last. It stays when the store drops it.
    last: Option<Arc<Incident>>,
    members: Members,
    cursor: Cursor,
    /// Area of the page, and the column at which its right half begins.
    area: Rect,
    middle: u16,
}

impl IncidentView {
    pub(super) fn new(id: IncidentId) -> Self {
        Self {
            id,
            last: None,
            members: Members::default(),
            cursor: Cursor::default(),
            area: Rect::default(),
            middle: 0,
        }
    }
}

impl View for IncidentView {
    fn on(&self) -> On {
        On::INCIDENT
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let store = context.store;
        let known = store.incidents().get(self.id);
        self.last = known.or(self.last.as_ref()).cloned();
        let Some(incident) = self.last.clone() else {
            let text = format!(" Incident {} is no longer in memory.", self.id.0);
            Pen::new(buffer, area, context.theme).put(Tone::Warn, text);
            self.cursor = Cursor::default();
            return;
        };
        self.members.update(&incident, store);
        let subject = Subject { incident, viewpoint: context.viewpoint, forgotten: known.is_none() };
        let [title, body] = split_top(area, TITLE);
        let [first, second] = split_top(title, 1);
        let all = store.incidents().worst_first();
        let place = all.iter().position(|other| other.id == self.id).map(|place| (place + 1, all.len()));
        title::first(Pen::new(buffer, first, context.theme), &subject, place);
        title::second(Pen::new(buffer, second, context.theme), &subject);

        let page = layout::page(body, &subject, &self.members, context);
        self.area = body;
        self.middle = body.x + page.left.width() + if page.right.width() > 0 { BETWEEN } else { 0 };
        self.cursor.update(page.placed(), page.rows(), body.height.into());
        let selected = self.cursor.selected();
        for (index, line) in (self.cursor.top()..).zip(body.rows()) {
            if let Some(row) = page.top.row(index) {
                row.draw(&mut Pen::new(buffer, line, context.theme), selected);
                continue;
            }
            let index = index - page.top.len();
            let left = Rect { width: page.left.width().min(line.width), ..line };
            if let Some(row) = page.left.row(index) {
                row.draw(&mut Pen::new(buffer, left, context.theme), selected);
            }
            if let Some(row) = page.right.row(index) {
                let right = Rect { x: self.middle, width: line.right().saturating_sub(self.middle), ..line };
                row.draw(&mut Pen::new(buffer, right, context.theme), selected);
            }
        }
        self.more_below(body, buffer, context);
    }

    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match action {
            Action::Back => return vec![Reaction::Back],
            Action::Open => {
                return self.cursor.selected().map(|item| self.open(item.target)).into_iter().collect();
            }
            Action::NextItem => self.step(context, 1),
            Action::PreviousItem => self.step(context, -1),
            Action::Left | Action::Right => self.cursor.go_to_side(action == Action::Right),
            Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::First | Action::Last => {
                self.cursor.scroll(action);
            }
            action => {
                let reactions = self.exchange().and_then(|id| copy::act_on(id, action, context));
                return reactions.unwrap_or_else(|| match action {
                    Action::Save => vec![Reaction::Do(Effect::SaveRecording)],
                    Action::CopyCurl | Action::CopyUrl | Action::Body | Action::BodyToFile => {
                        vec![Reaction::Say("select one of its exchanges first".to_owned())]
                    }
                    _ => Vec::new(),
                });
            }
        }
        Vec::new()
    }

    fn click(&mut self, at: Position, _context: &Context<'_>) -> Vec<Reaction> {
        if !self.area.contains(at) {
            return Vec::new();
        }
        match self.cursor.click(usize::from(at.y - self.area.y), at.x >= self.middle) {
            Some((item, true)) => vec![self.open(item.target)],
            _ => Vec::new(),
        }
    }
}

impl IncidentView {
    fn open(&self, target: Target) -> Reaction {
        match target {
            Target::Exchange(id) => Reaction::OpenExchange(id),
            Target::Incident(id) => Reaction::OpenIncident(id),
            Target::All => Reaction::Narrow(self.members.filter()),
        }
    }

    /// The selected exchange.
    fn exchange(&self) -> Option<ExchangeId> {
        match self.cursor.selected()?.target {
            Target::Exchange(id) => Some(id),
            _ => None,
        }
    }

    /// Shows another incident, in the order of the overview.
    fn step(&mut self, context: &Context<'_>, by: isize) {
        let all = context.store.incidents().worst_first();
        let Some(last) = all.len().checked_sub(1) else { return };
        let place = all.iter().position(|incident| incident.id == self.id);
        let next = place.map_or(0, |place| place.saturating_add_signed(by).min(last));
        if place != Some(next) {
            *self = Self::new(all[next].id);
        }
    }

    /// Draws the number of rows below, in the corner.
    fn more_below(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let below = self.cursor.below();
        if below == 0 || area.height == 0 {
            return;
        }
        let text = format!(" ↓ {below} more ");
        let width = columns(&text).min(area.width);
        let corner = Rect { x: area.right() - width, y: area.bottom() - 1, width, height: 1 };
        Pen::new(buffer, corner, context.theme).put(Tone::Key, text);
    }
}
