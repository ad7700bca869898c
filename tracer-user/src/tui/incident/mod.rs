//! One incident: its timeline to scale, what it rests on, what to do about it, and its exchanges.

mod hang;
mod members;
mod other;
mod page;
mod retry;
mod scale;
mod subject;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use self::{
    members::Members,
    page::{Item, Part, Rows, Target},
    subject::Subject,
};
use super::{
    exchange,
    keys::{Action, On},
    overview::{draw_exchange, draw_heading, split_top},
    pen::Pen,
    theme::Tone,
    view::{Context, Effect, Reaction, View},
};
use crate::{
    detector::{Evidence, Incident},
    exchange::{ExchangeId, IncidentId},
    visible::Visible,
};

/// From so many columns on, the evidence and the exchanges are side by side.
const WIDE: u16 = 120;
/// Columns between them.
const BETWEEN: u16 = 2;
/// Lines of the title.
const TITLE: u16 = 2;
/// The fewest exchanges that are shown, where there are so many.
const LEAST_EXCHANGES: usize = 6;

/// A row that leads somewhere, as it was drawn last.
#[derive(Clone, Copy, Debug)]
struct Placed {
    item: Item,
    row: usize,
    /// It is in the right half.
    right: bool,
}

/// See the module.
pub(super) struct IncidentView {
    id: IncidentId,
    /// As it was known last: it stays when the store forgets it.
    last: Option<Arc<Incident>>,
    members: Members,
    selected: Option<Item>,
    /// The first row that is shown.
    top: usize,
    placed: Vec<Placed>,
    /// Rows of the page.
    rows: usize,
    /// Where the page is, and where its right half begins.
    area: Rect,
    middle: u16,
}

impl IncidentView {
    pub(super) fn new(id: IncidentId) -> Self {
        Self {
            id,
            last: None,
            members: Members::default(),
            selected: None,
            top: 0,
            placed: Vec::new(),
            rows: 0,
            area: Rect::default(),
            middle: 0,
        }
    }
}

/// The rows: first those over the whole width, then two halves beside each other, of which the right may be empty.
struct Page<'a> {
    top: Rows<'a>,
    left: Rows<'a>,
    right: Rows<'a>,
}

impl Page<'_> {
    fn rows(&self) -> usize {
        self.top.len() + self.left.len().max(self.right.len())
    }

    fn placed(&self) -> Vec<Placed> {
        let below = self.top.len();
        let top = self.top.items().map(|(row, item)| Placed { item, row, right: false });
        let left = self.left.items().map(|(row, item)| Placed { item, row: row + below, right: false });
        let right = self.right.items().map(|(row, item)| Placed { item, row: row + below, right: true });
        top.chain(left).chain(right).collect()
    }
}

fn page<'a>(area: Rect, subject: &Subject<'a>, members: &Members) -> Page<'a> {
    let incident = &*subject.incident;
    let is_wide = area.width >= WIDE;
    let mut top = Rows::new(area.width);
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry::timeline(&mut top, subject, evidence, members),
        Evidence::Hang(evidence) => hang::timeline(&mut top, subject, evidence),
        Evidence::ErrorBurst(evidence) => other::errors(&mut top, subject, evidence, members),
        Evidence::Slow(evidence) => other::slow(&mut top, evidence),
        Evidence::Duplicate(evidence) => other::duplicate(&mut top, subject, evidence),
        Evidence::Stale(evidence) => other::stale(&mut top, evidence),
        Evidence::Leak(evidence) => other::leak(&mut top, subject, evidence),
        Evidence::Pool(evidence) => other::pool(&mut top, evidence),
    }
    top.rule("What is wrong", "");
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry::words(&mut top, subject, evidence, members),
        Evidence::Hang(evidence) => hang::words(&mut top, subject, evidence),
        evidence => {
            let title = evidence.title(subject.context.redactor);
            top.words(Tone::Plain, &format!("{}.", Visible(&title)));
        }
    }
    top.words(Tone::Strong, &format!("→ {}", incident.report.evidence.advice()));
    let left_width = if is_wide { (area.width - BETWEEN) / 2 } else { area.width };
    let mut left = Rows::new(left_width);
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry::evidence(&mut left, subject, evidence),
        Evidence::Hang(evidence) => {
            left.rule("Evidence", "");
            hang::evidence(&mut left, subject, evidence);
        }
        _ => {
            left.rule("Evidence", "");
            other::facts(&mut left, subject);
        }
    }
    left.fact("how sure", &subject.sure());
    let room = if is_wide { 2 * usize::from(area.height) } else { usize::from(area.height / 2) };
    let right_width = if is_wide { area.width - left_width - BETWEEN } else { area.width };
    let exchanges = exchanges(right_width, subject, members, room.max(LEAST_EXCHANGES));
    if is_wide {
        return Page { top, left, right: exchanges };
    }
    // What it is about comes before what it rests on.
    top.append(exchanges);
    Page { top, left, right: Rows::new(0) }
}

fn exchanges<'a>(width: u16, subject: &Subject<'a>, members: &Members, room: usize) -> Rows<'a> {
    let context = subject.context;
    let (list, total) = members.list(&subject.incident, context.store, room);
    let mut rows = Rows::new(width);
    let left_out = total.saturating_sub(list.len() as u64);
    rows.rule("Exchanges", if total > 0 { total.to_string() } else { String::new() });
    if list.is_empty() {
        let is_call = matches!(subject.incident.report.evidence, Evidence::Retry(_) | Evidence::Hang(_));
        let why = if is_call { "No request of it was seen." } else { "It is not about single exchanges." };
        rows.words(Tone::Faint, why);
        return rows;
    }
    rows.put(draw_heading);
    for (index, (id, exchange)) in list.into_iter().enumerate() {
        if index == 2 && left_out > 0 {
            rows.item(Part::Exchanges, Target::All, move |pen| {
                let sign = if pen.is_selected() { '>' } else { ' ' };
                pen.put(Tone::Plain, format_args!("{sign} … {left_out} more; Enter shows all in the overview"));
            });
        }
        match exchange {
            Some(exchange) => rows.item(Part::Exchanges, Target::Exchange(id), move |pen| {
                draw_exchange(pen, &exchange, context, true);
            }),
            None => rows.put(move |pen| {
                pen.put(Tone::Faint, format_args!("  exchange {} is forgotten", id.0));
            }),
        }
    }
    rows
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
            let text = format!(" Incident {} is not known any more.", self.id.0);
            Pen::new(buffer, area, context.theme).put(Tone::Warn, text);
            self.placed.clear();
            return;
        };
        self.members.update(&incident, store);
        let subject = Subject { incident, context, forgotten: known.is_none() };
        let [title, body] = split_top(area, TITLE);
        let [first, second] = split_top(title, 1);
        let all = store.incidents().worst_first();
        let place = all.iter().position(|other| other.id == self.id).map(|place| (place + 1, all.len()));
        subject.title_first(Pen::new(buffer, first, context.theme), place);
        subject.title_second(Pen::new(buffer, second, context.theme));

        let page = page(body, &subject, &self.members);
        self.area = body;
        self.middle = body.x + page.left.width() + if page.right.width() > 0 { BETWEEN } else { 0 };
        self.placed = page.placed();
        self.rows = page.rows();
        self.select_again();
        self.top = self.top.min(self.rows.saturating_sub(usize::from(body.height)));
        for (index, line) in (self.top..).zip(body.rows()) {
            if let Some(row) = page.top.row(index) {
                row.draw(&mut Pen::new(buffer, line, context.theme), self.selected);
                continue;
            }
            let index = index - page.top.len();
            let left = Rect { width: page.left.width().min(line.width), ..line };
            if let Some(row) = page.left.row(index) {
                row.draw(&mut Pen::new(buffer, left, context.theme), self.selected);
            }
            if let Some(row) = page.right.row(index) {
                let right = Rect { x: self.middle, width: line.right().saturating_sub(self.middle), ..line };
                row.draw(&mut Pen::new(buffer, right, context.theme), self.selected);
            }
        }
        self.more_below(body, buffer, context);
    }

    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match action {
            Action::Back => return vec![Reaction::Back],
            Action::Open => return self.selected.map(|item| self.open(item.target, context)).into_iter().collect(),
            Action::NextItem => self.step(context, 1),
            Action::PreviousItem => self.step(context, -1),
            Action::Left | Action::Right => self.go_to_side(action == Action::Right),
            Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::First | Action::Last => {
                self.scroll(action);
            }
            action => {
                let reactions = self.exchange().and_then(|id| exchange::act_on(id, action, context));
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

    fn click(&mut self, at: Position, context: &Context<'_>) -> Vec<Reaction> {
        let row = self.top + usize::from(at.y.saturating_sub(self.area.y));
        let right = at.x >= self.middle;
        let on_row = |placed: &&Placed| placed.row == row && self.area.contains(at);
        let mut found = self.placed.iter().filter(on_row);
        let side = found.clone().find(|placed| placed.right == right);
        let Some(placed) = side.or_else(|| found.find(|placed| !placed.right && placed.item.part != Part::Evidence))
        else {
            return Vec::new();
        };
        let item = placed.item;
        let again = self.selected == Some(item);
        self.selected = Some(item);
        if again { vec![self.open(item.target, context)] } else { Vec::new() }
    }
}

impl IncidentView {
    fn open(&self, target: Target, context: &Context<'_>) -> Reaction {
        match target {
            Target::Exchange(id) => Reaction::OpenExchange(id),
            Target::Incident(id) => Reaction::OpenIncident(id),
            Target::All => Reaction::Narrow(self.filter(context)),
        }
    }

    /// What finds all its exchanges: also those that ended before it was found, and do not know that they belong to it.
    fn filter(&self, context: &Context<'_>) -> String {
        let of = self.last.iter().flat_map(|incident| &incident.report.exchanges);
        let unaware = of.filter(|id| {
            let exchange = context.store.exchange_by_id(**id);
            exchange.is_some_and(|exchange| !exchange.incidents.contains(&self.id))
        });
        let ids: Vec<String> = unaware.map(|id| id.0.to_string()).collect();
        let more = if ids.is_empty() { String::new() } else { format!(" or id={}", ids.join("|")) };
        format!("incident={}{more}", self.id.0)
    }

    /// The exchange that keys act on.
    fn exchange(&self) -> Option<ExchangeId> {
        match self.selected?.target {
            Target::Exchange(id) => Some(id),
            _ => None,
        }
    }

    /// What was selected, or else what to look at next, or else the first exchange.
    fn select_again(&mut self) {
        let is_there = |item| self.placed.iter().any(|placed| placed.item == item);
        if !self.selected.is_some_and(is_there) {
            let first = |part| self.placed.iter().find(|placed| placed.item.part == part);
            let first = first(Part::Lead).or_else(|| first(Part::Exchanges)).or(self.placed.first());
            self.selected = first.map(|placed| placed.item);
        }
    }

    /// Where the selected row is.
    fn place(&self) -> Option<Placed> {
        self.placed.iter().find(|placed| Some(placed.item) == self.selected).copied()
    }

    /// Up and down: to the next row that leads somewhere, where it is in view; else the page moves.
    fn scroll(&mut self, action: Action) {
        let height = usize::from(self.area.height).max(1);
        let last = self.rows.saturating_sub(height);
        let place = self.place();
        let right = place.is_some_and(|place| place.right);
        let own = |placed: &&Placed| placed.right == right || place.is_none();
        let shown = self.top..self.top + height;
        match action {
            Action::Down => {
                let from = place.filter(|place| shown.contains(&place.row)).map_or(self.top, |place| place.row + 1);
                let across = |placed: &&Placed| own(placed) && placed.row >= from && placed.row < shown.end + 1;
                match self.placed.iter().filter(across).min_by_key(|placed| placed.row) {
                    Some(next) => {
                        self.selected = Some(next.item);
                        self.top = self.top.max((next.row + 1).saturating_sub(height));
                    }
                    None => self.top = (self.top + 1).min(last),
                }
            }
            Action::Up => {
                let before = place.filter(|place| shown.contains(&place.row)).map_or(shown.end, |place| place.row);
                let across = |placed: &&Placed| {
                    (own(placed) || placed.item.part <= Part::Words)
                        && placed.row < before
                        && placed.row + 1 >= shown.start
                };
                match self.placed.iter().filter(across).max_by_key(|placed| placed.row) {
                    Some(next) => {
                        self.selected = Some(next.item);
                        self.top = self.top.min(next.row);
                    }
                    None => self.top = self.top.saturating_sub(1),
                }
            }
            Action::PageUp => self.top = self.top.saturating_sub(height - 1),
            Action::PageDown => self.top = (self.top + height - 1).min(last),
            Action::First => self.top = 0,
            _ => self.top = last,
        }
        if matches!(action, Action::PageUp | Action::PageDown | Action::First | Action::Last) {
            let shown = self.top..self.top + height;
            let mut in_view = self.placed.iter().filter(|placed| shown.contains(&placed.row));
            let next = if action == Action::Last { in_view.next_back() } else { in_view.next() };
            self.selected = next.map(|placed| placed.item).or(self.selected);
        }
    }

    /// To the half at the left or the right, to the row there that is nearest.
    fn go_to_side(&mut self, right: bool) {
        let Some(row) = self.place().map(|place| place.row) else { return };
        let there = self.placed.iter().filter(|placed| placed.right == right && placed.item.part > Part::Words);
        if let Some(next) = there.min_by_key(|placed| placed.row.abs_diff(row)) {
            self.selected = Some(next.item);
        }
    }

    /// To the next incident, in the order of the overview.
    fn step(&mut self, context: &Context<'_>, by: isize) {
        let all = context.store.incidents().worst_first();
        let Some(last) = all.len().checked_sub(1) else { return };
        let place = all.iter().position(|incident| incident.id == self.id);
        let next = place.map_or(0, |place| place.saturating_add_signed(by).min(last));
        if place != Some(next) {
            *self = Self::new(all[next].id);
        }
    }

    /// A word in the corner where the page goes on.
    fn more_below(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let below = self.rows.saturating_sub(self.top + usize::from(area.height));
        if below == 0 || area.height == 0 {
            return;
        }
        let text = format!(" ↓ {below} more ");
        let width = super::pen::columns(&text).min(area.width);
        let corner = Rect { x: area.right() - width, y: area.bottom() - 1, width, height: 1 };
        Pen::new(buffer, corner, context.theme).put(Tone::Key, text);
    }
}
