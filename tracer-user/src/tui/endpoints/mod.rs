//! The table of endpoints: number of calls, failures and durations of each.

mod row;
#[cfg(test)]
mod tests;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use self::row::{COLUMNS, What};
use super::{
    keys::{Action, On},
    pen::Pen,
    table::{self, Column, Cursor, Sort},
    theme::Tone,
    view::{Context, Reaction, View},
    widget::split_top,
};
use crate::{
    store::{
        EndpointKey, EndpointRow,
        endpoints::{self, MAX_ENDPOINTS, PathRow},
    },
    view::narrow,
};

/// Unfolded endpoints, at most.
const MAX_UNFOLDED: usize = 64;

/// Key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Endpoint(EndpointKey),
    Path(EndpointKey, u64),
}

enum Line<'a> {
    Endpoint(Box<EndpointRow<'a>>),
    Path(EndpointKey, PathRow<'a>),
}

/// State of the screen.
pub(super) struct EndpointsView {
    sort: Sort<What>,
    cursor: Cursor<Key>,
    unfolded: Vec<EndpointKey>,
    /// Columns of the latest frame.
    columns: Vec<Column<What>>,
}

impl Default for EndpointsView {
    fn default() -> Self {
        Self {
            sort: Sort::new(What::Calls, true),
            cursor: Cursor::default(),
            unfolded: Vec::new(),
            columns: Vec::new(),
        }
    }
}

impl EndpointsView {
    /// All rows, in order; the paths of an unfolded endpoint follow it.
    fn lines<'a>(&self, context: &Context<'a>) -> Vec<Line<'a>> {
        let endpoints = context.store.endpoints();
        let mut rows = endpoints.rows(context.store.now());
        // Equal rows keep the order of their names, so that no row jumps.
        rows.sort_by(|one, other| {
            self.sort.compare(|by| row::compare(by, one, other)).then_with(|| row::by_name(one, other))
        });
        let mut lines = Vec::with_capacity(rows.len());
        for row in rows {
            let key = row.key;
            lines.push(Line::Endpoint(row.into()));
            if self.unfolded.contains(&key) {
                lines.extend(endpoints.paths(key).into_iter().map(|path| Line::Path(key, path)));
            }
        }
        lines
    }

    fn unfold(&mut self, context: &Context<'_>) -> Vec<Reaction> {
        let Some(Key::Endpoint(key) | Key::Path(key, _)) = self.cursor.selected() else { return Vec::new() };
        if let Some(index) = self.unfolded.iter().position(|own| *own == key) {
            self.unfolded.remove(index);
            self.cursor.select(Key::Endpoint(key));
        } else if context.store.endpoints().paths(key).is_empty() {
            return vec![Reaction::Say("nothing to unfold: only a path with {} stands for several paths".to_owned())];
        } else {
            if self.unfolded.len() >= MAX_UNFOLDED {
                self.unfolded.remove(0);
            }
            self.unfolded.push(key);
            self.cursor.select(Key::Endpoint(key));
        }
        Vec::new()
    }

    fn narrow(&self, context: &Context<'_>) -> Vec<Reaction> {
        let Some(selected) = self.cursor.selected() else { return Vec::new() };
        let of = |line: &Line<'_>| match (line, selected) {
            (Line::Endpoint(row), Key::Endpoint(key)) if row.key == key => narrow::to_endpoint(row, context.redactor),
            (Line::Endpoint(row), Key::Path(key, path)) if row.key == key => {
                let paths = context.store.endpoints().paths(key);
                let path = paths.iter().find(|own| own.key == path)?;
                Some(narrow::to_path(row, path.path, context.redactor))
            }
            _ => None,
        };
        match self.lines(context).iter().find_map(of) {
            Some(filter) => vec![Reaction::Narrow(filter)],
            None => vec![Reaction::Say("no filter describes this group".to_owned())],
        }
    }
}

impl View for EndpointsView {
    fn on(&self) -> On {
        On::ENDPOINTS
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let [title, rest] = split_top(area, 1);
        let [heading, rows] = split_top(rest, 1);
        self.columns = table::fitting(&COLUMNS, area.width, row::name_room(area.width));
        draw_title(Pen::new(buffer, title, context.theme), context);
        row::heading(Pen::new(buffer, heading, context.theme), self.sort, &self.columns);
        let lines = self.lines(context);
        let keys = lines.iter().map(|line| match line {
            Line::Endpoint(row) => Key::Endpoint(row.key),
            Line::Path(key, path) => Key::Path(*key, path.key),
        });
        let shown = self.cursor.set(keys.collect(), rows);
        for (place, area) in shown.zip(rows.rows()) {
            let mut pen = Pen::new(buffer, area, context.theme);
            if self.cursor.is_at(place) {
                pen.select();
            }
            match &lines[place] {
                Line::Endpoint(row) => row::draw(pen, row, &self.columns, context),
                Line::Path(_, path) => row::draw_path(pen, path, &self.columns, context),
            }
        }
        if lines.is_empty() {
            Pen::new(buffer, rows, context.theme).put(Tone::Faint, "No calls yet. Called endpoints will appear here.");
        }
    }

    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match action {
            Action::Back => return vec![Reaction::Back],
            Action::Open => return self.narrow(context),
            Action::Unfold => return self.unfold(context),
            _ => {}
        }
        let columns: Vec<(What, bool)> = std::iter::once((What::Name, false))
            .chain(self.columns.iter().filter(|column| column.what != What::Bars).map(|column| (column.what, true)))
            .collect();
        if !self.sort.act(action, &columns) {
            self.cursor.act(action);
        }
        Vec::new()
    }

    fn click(&mut self, at: Position, context: &Context<'_>) -> Vec<Reaction> {
        if self.cursor.click(at) == Some(true) { self.narrow(context) } else { Vec::new() }
    }
}

fn draw_title(mut pen: Pen<'_>, context: &Context<'_>) {
    let count = context.store.endpoints().len();
    let word = if count == 1 { "endpoint" } else { "endpoints" };
    pen.put(Tone::Strong, format_args!("{count} {word}"));
    if count >= MAX_ENDPOINTS {
        pen.put(Tone::Warn, ", the maximum: further endpoints share one row");
    }
    if context.filter.takes_all() {
        pen.put(Tone::Faint, ": all calls since tracing began, first byte to last byte");
    } else {
        pen.put(Tone::Warn, ": all calls are counted; the filter applies to the overview only");
    }
}

/// Words in place of the path where a row counts something else than calls.
fn what(what: endpoints::What) -> Option<&'static str> {
    match what {
        endpoints::What::Calls => None,
        endpoints::What::Connects => Some("(no connection)"),
        endpoints::What::Unseen => Some("(request not seen)"),
        endpoints::What::Other => Some("(all others)"),
    }
}
