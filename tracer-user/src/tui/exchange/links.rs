//! Links of an exchange: its incidents, and related exchanges.

use std::sync::Arc;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    analysis::{
        correlation::{self as cause, Causes},
        detector::Incident,
    },
    event::Timestamp,
    model::exchange::{Exchange, ExchangeId, IncidentId},
    store::Sequence,
    tui::{
        pen::Pen,
        theme::Tone,
        view::Context,
        widget::{draw_exchange, draw_incident},
    },
    view::members::belongs,
};

/// Listed calls of those that an exchange caused, at most.
const MOST_CALLS: usize = 8;
/// Target of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Incident(IncidentId),
    Exchange(ExchangeId),
}

/// Trace time after which the causes are computed again. That reads all kept exchanges.
const STALE_NS: u64 = 500_000_000;

enum Row {
    Heading(String),
    Incident(Arc<Incident>),
    Call(Arc<Exchange>),
}

impl Row {
    fn link(&self) -> Option<Link> {
        match self {
            Self::Heading(_) => None,
            Self::Incident(incident) => Some(Link::Incident(incident.id)),
            Self::Call(exchange) => Some(Link::Exchange(exchange.id)),
        }
    }
}

/// All links, and the selected one.
#[derive(Default)]
pub(super) struct Links {
    rows: Vec<Row>,
    selected: Option<Link>,
    /// Row of the page at which the links begin.
    first: usize,
    causes: Causes,
    /// State of the store for which the causes were computed.
    looked: Option<Looked>,
}

/// State of the store. The causes are unchanged while it is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looked {
    id: ExchangeId,
    is_open: bool,
    next: Sequence,
    now: Timestamp,
}

impl Looked {
    fn of(exchange: &Exchange, context: &Context<'_>) -> Self {
        let store = context.store;
        let is_open = exchange.end().is_none();
        Self { id: exchange.id, is_open, next: store.exchanges().next_sequence(), now: store.now() }
    }

    fn is_fresh(&self, now: &Self) -> bool {
        let same = (self.id, self.is_open) == (now.id, now.is_open);
        // Holding the view, or letting it go, makes time jump.
        same && (self == now || now.now >= self.now && now.now.since(self.now) < STALE_NS)
    }
}

impl Links {
    pub(super) fn update(&mut self, exchange: &Exchange, context: &Context<'_>) {
        self.rows.clear();
        let incidents = context.store.incidents();
        self.rows.extend(
            incidents
                .worst_first()
                .into_iter()
                .filter(|incident| belongs(exchange, incident))
                .cloned()
                .map(Row::Incident),
        );
        let now = Looked::of(exchange, context);
        if !self.looked.is_some_and(|looked| looked.is_fresh(&now)) {
            let finished = context.store.exchanges().from(Sequence(0)).map(|(_, exchange)| exchange);
            self.causes = cause::of(exchange, finished.chain(context.store.open()));
            self.looked = Some(now);
        }
        let causes = self.causes.clone();
        self.add_causes(&causes, context);
        let is_there = |link: &Link| self.rows.iter().any(|row| row.link() == Some(*link));
        if !self.selected.as_ref().is_some_and(is_there) {
            self.selected = self.rows.iter().find_map(Row::link);
        }
    }

    fn add_causes(&mut self, causes: &Causes, context: &Context<'_>) {
        let find = |id| context.store.exchange_by_id(id).map(Arc::clone);
        if let Some(link) = causes.caused_by
            && let Some(exchange) = find(link.exchange)
        {
            self.rows.push(Row::Heading(format!("made for ({}: {})", link.certainty.name(), link.why)));
            self.rows.push(Row::Call(exchange));
        }
        let mut room = MOST_CALLS;
        for group in causes.caused.chunk_by(|one, other| (one.certainty, one.why) == (other.certainty, other.why)) {
            let Some(link) = group.first() else { continue };
            let shown = group.len().min(room);
            let more = if causes.more { " or more" } else { "" };
            let first = if shown < group.len() { format!(", the first {shown}") } else { String::new() };
            let plural = if group.len() == 1 { "" } else { "s" };
            let heading = format!(
                "made {}{more} call{plural} for it ({}: {}){first}",
                group.len(),
                link.certainty.name(),
                link.why
            );
            self.rows.push(Row::Heading(heading));
            self.rows.extend(group[..shown].iter().filter_map(|link| find(link.exchange)).map(Row::Call));
            room -= shown;
        }
        if let Some(exchange) = causes.other_end.and_then(find) {
            self.rows.push(Row::Heading("the same call, seen from the other end".to_owned()));
            self.rows.push(Row::Call(exchange));
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Sets the row of the page at which the links begin.
    pub(super) fn begin_at(&mut self, row: usize) {
        self.first = row;
    }

    pub(super) fn selected(&self) -> Option<Link> {
        self.selected
    }

    /// Row of the page of the selected link.
    pub(super) fn row(&self) -> Option<usize> {
        let place = self.rows.iter().position(|row| row.link().is_some() && row.link() == self.selected);
        place.map(|place| self.first + place)
    }

    /// The worst incident of the exchange.
    pub(super) fn incident(&self) -> Option<IncidentId> {
        self.rows.iter().find_map(|row| match row {
            Row::Incident(incident) => Some(incident.id),
            _ => None,
        })
    }

    /// Selects the next or the previous link.
    pub(super) fn select(&mut self, forward: bool) {
        let links: Vec<Link> = self.rows.iter().filter_map(Row::link).collect();
        let Some(place) = links.iter().position(|link| Some(*link) == self.selected) else { return };
        let place = if forward { (place + 1).min(links.len() - 1) } else { place.saturating_sub(1) };
        self.selected = links.get(place).copied();
    }

    /// Target of the link in this row of the page.
    pub(super) fn click(&self, row: usize) -> Option<Link> {
        self.rows.get(row.checked_sub(self.first)?)?.link()
    }

    pub(super) fn draw(&self, index: usize, line: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let Some(row) = self.rows.get(index) else { return };
        let is_selected = row.link().is_some() && row.link() == self.selected;
        let mut pen = Pen::new(buffer, line, context.theme);
        if is_selected {
            pen.select();
        }
        match row {
            Row::Heading(text) => drop(pen.skip(2).put(Tone::Faint, text)),
            Row::Incident(incident) => draw_incident(&mut pen, incident, context),
            Row::Call(exchange) => draw_exchange(&mut pen, exchange, context, false),
        }
    }
}

/// The next exchange that the filter takes, in the order of their ends and with the open ones last, or the previous
/// one. When the time for the filter is over, the next candidate is taken without a test.
pub(super) fn neighbour(id: ExchangeId, forward: bool, context: &Context<'_>) -> Option<ExchangeId> {
    let store = context.store;
    // The filter may read the body, so only candidates are tested.
    let wanted = |exchange: &&Arc<Exchange>| !context.has_time() || context.matches(exchange);
    let from = |sequence| store.exchanges().from(sequence).map(|(_, exchange)| exchange);
    let before = |end: Sequence| -> Vec<&Arc<Exchange>> {
        let earlier = store.exchanges().from(Sequence(0)).take_while(|(sequence, _)| *sequence < end);
        earlier.map(|(_, exchange)| exchange).collect()
    };
    let open = store.open().iter();
    let found = match (store.exchanges().sequence_of(id), forward) {
        (Some(own), true) => from(Sequence(own.0 + 1)).find(wanted).or_else(|| open.clone().find(wanted)),
        (Some(own), false) => before(own).into_iter().rev().find(wanted),
        (None, true) => open.filter(|other| other.id > id).find(wanted),
        (None, false) => open
            .rev()
            .filter(|other| other.id < id)
            .find(wanted)
            .or_else(|| before(store.exchanges().next_sequence()).into_iter().rev().find(wanted)),
    };
    found.map(|exchange| exchange.id)
}
