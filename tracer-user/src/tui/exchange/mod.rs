//! One exchange: its phases, its messages, and its links to others.
//!
//! The screen is one long page. On a wide screen, request and response stand side by side, else one below the other.

mod find;
mod links;
mod message;
mod page;
mod summary;
#[cfg(test)]
mod tests;
mod waterfall;

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use self::{
    find::Find,
    links::{Link, Links},
    page::Page,
};
use super::{
    copy,
    keys::{Action, On},
    pen::{Pen, columns},
    theme::Tone,
    view::{Context, Reaction, View},
    widget::split_top,
};
use crate::{
    model::exchange::{Exchange, ExchangeId},
    text::redact::Redactor,
};

/// From this width on request and response stand side by side.
const WIDE: u16 = 120;
/// Columns between them.
const BETWEEN: u16 = 2;

/// State of the screen.
pub(super) struct ExchangeView {
    id: ExchangeId,
    /// The exchange as the store had it last.
    exchange: Option<Arc<Exchange>>,
    is_remembered: bool,
    links: Links,
    find: Find,
    laid_out: Option<LaidOut>,
    /// Rows of the page that are above the screen.
    offset: usize,
    /// Rows above the messages, and rows on the screen.
    top: usize,
    rows: usize,
    area: Rect,
}

/// The laid-out messages, and their inputs. Laying out large bodies takes time, so it is repeated only for other inputs.
struct LaidOut {
    exchange: Arc<Exchange>,
    width: u16,
    redactor: Redactor,
    pages: Vec<Page>,
}

impl LaidOut {
    fn new(exchange: &Arc<Exchange>, width: u16, context: &Context<'_>) -> Self {
        let request = message::request(exchange, context);
        let response = message::response(exchange, context);
        let pages = if width >= WIDE {
            let each = (width - BETWEEN) / 2;
            vec![Page::new(request, each), Page::new(response, each)]
        } else {
            let lines = request.into_iter().chain(response).collect();
            vec![Page::new(lines, width)]
        };
        Self { exchange: Arc::clone(exchange), width, redactor: context.redactor, pages }
    }

    fn is_for(&self, exchange: &Arc<Exchange>, width: u16, context: &Context<'_>) -> bool {
        Arc::ptr_eq(&self.exchange, exchange) && self.width == width && self.redactor == context.redactor
    }

    fn rows(&self) -> usize {
        self.pages.iter().map(Page::rows).max().unwrap_or(0)
    }
}

impl ExchangeView {
    pub(super) fn new(id: ExchangeId) -> Self {
        Self {
            id,
            exchange: None,
            is_remembered: false,
            links: Links::default(),
            find: Find::default(),
            laid_out: None,
            offset: 0,
            top: 0,
            rows: 1,
            area: Rect::default(),
        }
    }

    fn update(&mut self, width: u16, context: &Context<'_>) {
        let found = context.store.exchange_by_id(self.id);
        self.is_remembered = found.is_some();
        if let Some(found) = found {
            self.exchange = Some(Arc::clone(found));
        }
        let Some(exchange) = &self.exchange else { return };
        if !self.laid_out.as_ref().is_some_and(|done| done.is_for(exchange, width, context)) {
            let laid_out = LaidOut::new(exchange, width, context);
            self.find.look(&laid_out.pages);
            self.laid_out = Some(laid_out);
        }
        self.links.update(exchange, context);
    }

    /// Draws the title, which does not scroll: method, URL, and the position in the page.
    fn title(&self, exchange: &Exchange, area: Rect, buffer: &mut Buffer, context: &Context<'_>, total: usize) {
        let last = (self.offset + self.rows).min(total);
        let place = if total > self.rows { format!("{last}/{total}") } else { String::new() };
        let found = self.find.words();
        let gap = if found.is_empty() || place.is_empty() { "" } else { "  " };
        let forgotten = if self.is_remembered { "" } else { "no longer in memory  " };
        let right = format!("{forgotten}{found}{gap}{place}");
        let width = area.width.saturating_sub(columns(&right) + 1);
        summary::title(&mut Pen::new(buffer, Rect { width, ..area }, context.theme), exchange, context);
        let tone = if found.is_empty() { Tone::Faint } else { Tone::Strong };
        let rest = Rect { x: area.x + width, width: area.width - width, ..area };
        Pen::new(buffer, rest, context.theme).at_end(tone, right);
    }

    fn total(&self) -> usize {
        self.top + self.laid_out.as_ref().map_or(0, LaidOut::rows)
    }

    fn scroll(&mut self, action: Action) {
        let page = self.rows.saturating_sub(1).max(1);
        self.offset = match action {
            Action::Up => self.offset.saturating_sub(1),
            Action::Down => self.offset + 1,
            Action::PageUp => self.offset.saturating_sub(page),
            Action::PageDown => self.offset + page,
            Action::First => 0,
            _ => usize::MAX,
        };
        self.offset = self.offset.min(self.total().saturating_sub(self.rows));
    }

    /// Scrolls until a row of the page is visible.
    fn show(&mut self, row: usize) {
        if row < self.offset || row >= self.offset + self.rows {
            self.offset = row.saturating_sub(self.rows / 2).min(self.total().saturating_sub(self.rows));
        }
    }

    fn show_match(&mut self) {
        let row = self.laid_out.as_ref().and_then(|done| self.find.row(&done.pages));
        if let Some(row) = row {
            self.show(self.top + row);
        }
    }

    fn step(&mut self, forward: bool, context: &Context<'_>) -> Vec<Reaction> {
        match links::neighbour(self.id, forward, context) {
            Some(id) => {
                let find = std::mem::take(&mut self.find);
                *self = Self { find, rows: self.rows, ..Self::new(id) };
                if context.has_time() {
                    return Vec::new();
                }
                vec![Reaction::Say("the filter ran out of time before it reached this call".to_owned())]
            }
            None if forward => vec![Reaction::Say("this is the last call".to_owned())],
            None => vec![Reaction::Say("this is the first call".to_owned())],
        }
    }

    fn open(link: Option<Link>) -> Vec<Reaction> {
        let reaction = match link {
            Some(Link::Incident(id)) => Reaction::OpenIncident(id),
            Some(Link::Exchange(id)) => Reaction::OpenExchange(id),
            None => Reaction::Say("this call has no related incidents or calls".to_owned()),
        };
        vec![reaction]
    }
}

impl View for ExchangeView {
    fn on(&self) -> On {
        On::EXCHANGE
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        self.update(area.width, context);
        let Some(exchange) = self.exchange.clone() else {
            let text = format!("Call {} is no longer in memory.", self.id.0);
            Pen::new(buffer, area, context.theme).put(Tone::Faint, text);
            return;
        };
        let [title, rest] = split_top(area, 1);
        self.area = rest;
        self.rows = usize::from(rest.height).max(1);
        let top = summary::rows(&exchange, &self.links, context);
        self.top = top.len();
        self.links.begin_at(top.len() - self.links.rows());
        let total = self.total();
        self.offset = self.offset.min(total.saturating_sub(self.rows));
        self.title(&exchange, title, buffer, context, total);
        let Some(laid_out) = &self.laid_out else { return };
        for (row, line) in (self.offset..).zip(rest.rows()) {
            match row.checked_sub(self.top) {
                None => top[row].draw(line, buffer, &self.links, context),
                Some(row) => {
                    let mut x = line.x;
                    for (index, page) in laid_out.pages.iter().enumerate() {
                        let place = Rect { x, width: page.width().min(line.right().saturating_sub(x)), ..line };
                        page.draw(row, place, buffer, context.theme, |line| self.find.in_line(index, line));
                        x += page.width() + BETWEEN;
                    }
                }
            }
        }
    }

    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match action {
            Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::First | Action::Last => {
                self.scroll(action);
            }
            Action::Left | Action::Right => {
                self.links.select(action == Action::Right);
                if let Some(row) = self.links.row() {
                    self.show(row);
                }
            }
            Action::Open => return Self::open(self.links.selected()),
            Action::Incidents => match self.links.incident() {
                Some(id) => return vec![Reaction::OpenIncident(id)],
                None => return vec![Reaction::Say("this call belongs to no incident".to_owned())],
            },
            Action::NextMatch | Action::PreviousMatch => {
                if !self.find.step(action == Action::NextMatch) {
                    return vec![Reaction::Say(self.find.nothing())];
                }
                self.show_match();
            }
            Action::NextItem => return self.step(true, context),
            Action::PreviousItem => return self.step(false, context),
            action => {
                if let Some(exchange) = &self.exchange {
                    return copy::act(exchange, action, context).unwrap_or_default();
                }
            }
        }
        Vec::new()
    }

    fn click(&mut self, at: Position, _context: &Context<'_>) -> Vec<Reaction> {
        if !self.area.contains(at) {
            return Vec::new();
        }
        let row = self.offset + usize::from(at.y - self.area.y);
        match self.links.click(row) {
            Some(link) => Self::open(Some(link)),
            None => Vec::new(),
        }
    }

    fn search(&mut self, text: &str, _context: &Context<'_>) {
        self.find = Find::new(text);
        if let Some(laid_out) = &self.laid_out {
            self.find.look(&laid_out.pages);
            self.find.begin_at(&laid_out.pages, self.offset.saturating_sub(self.top));
        }
        self.show_match();
    }
}
