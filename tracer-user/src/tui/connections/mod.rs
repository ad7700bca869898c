//! The table of connections: grouped by upstream, with the use of each, and the recently closed ones.

mod row;
#[cfg(test)]
mod tests;
mod upstream;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use self::row::What;
use super::{
    keys::{Action, On},
    pen::Pen,
    table::{Cursor, Sort},
    theme::Tone,
    view::{Context, Reaction, View},
    widget::split_top,
};
use crate::{
    model::connection::{ConnectionId, Endpoint, Role},
    store::connections::{Closed, Connection, MAX_CONNECTIONS, Pool, Upstream, UpstreamKey},
};

/// Folded upstreams, at most.
const MAX_FOLDED: usize = 256;

/// Key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Upstream(UpstreamKey),
    Open(ConnectionId),
    AllClosed,
    Closed(ConnectionId),
}

enum Line<'a> {
    Upstream(&'a Upstream),
    Open(&'a Connection),
    AllClosed,
    Closed(&'a Closed),
}

impl Line<'_> {
    fn key(&self) -> Key {
        match self {
            Self::Upstream(upstream) => Key::Upstream(upstream.key),
            Self::Open(connection) => Key::Open(connection.info.id),
            Self::AllClosed => Key::AllClosed,
            Self::Closed(closed) => Key::Closed(closed.connection.info.id),
        }
    }
}

/// State of the screen.
pub(super) struct ConnectionsView {
    sort: Sort<What>,
    cursor: Cursor<Key>,
    folded: Vec<UpstreamKey>,
    closed_folded: bool,
    wide: bool,
    /// Inodes of the connections in the latest frame.
    shown: Vec<u64>,
}

impl Default for ConnectionsView {
    fn default() -> Self {
        Self {
            sort: Sort::new(What::Number, false),
            cursor: Cursor::default(),
            folded: Vec::new(),
            closed_folded: false,
            wide: false,
            shown: Vec::new(),
        }
    }
}

impl ConnectionsView {
    /// All rows, in order: upstreams with their connections, then closed connections, latest first.
    fn lines<'a>(&self, context: &Context<'a>) -> Vec<Line<'a>> {
        let connections = context.store.connections();
        let mut open: Vec<&Connection> = connections.open().iter().collect();
        open.sort_by(|one, other| {
            self.sort.compare(|by| row::compare(by, one, other)).then_with(|| one.info.id.cmp(&other.info.id))
        });
        let now = context.store.now();
        // A connection whose peer is not known yet makes no upstream.
        let is_named = |upstream: &Upstream| *upstream.address != *Endpoint::Unknown.to_string();
        let was_used = |upstream: &&Upstream| {
            upstream.now.open > 0
                || is_named(upstream) && upstream.history.whole(now).iter().any(|pool| *pool != Pool::default())
        };
        let mut upstreams: Vec<&Upstream> = connections.upstreams().iter().filter(was_used).collect();
        upstreams.sort_by(|one, other| {
            let order = |upstream: &Upstream| upstream.role == Some(Role::Server);
            order(one).cmp(&order(other)).then_with(|| (&one.names, &one.address).cmp(&(&other.names, &other.address)))
        });
        let mut lines = Vec::with_capacity(open.len() + upstreams.len());
        for upstream in upstreams {
            lines.push(Line::Upstream(upstream));
            if !self.folded.contains(&upstream.key) {
                let own = open.iter().filter(|connection| connection.upstream == upstream.key);
                lines.extend(own.map(|connection| Line::Open(connection)));
            }
        }
        if connections.closed_total() > 0 {
            lines.push(Line::AllClosed);
            if !self.closed_folded {
                lines.extend(connections.closed().rev().map(Line::Closed));
            }
        }
        lines
    }

    fn fold(&mut self, context: &Context<'_>) {
        let connections = context.store.connections();
        let key = match self.cursor.selected() {
            Some(Key::Upstream(key)) => key,
            Some(Key::Open(id)) => {
                let Some(connection) = connections.open().iter().find(|connection| connection.info.id == id) else {
                    return;
                };
                connection.upstream
            }
            Some(Key::AllClosed | Key::Closed(_)) => {
                self.closed_folded = !self.closed_folded;
                return self.cursor.select(Key::AllClosed);
            }
            None => return,
        };
        if let Some(index) = self.folded.iter().position(|own| *own == key) {
            self.folded.remove(index);
        } else {
            if self.folded.len() >= MAX_FOLDED {
                self.folded.remove(0);
            }
            self.folded.push(key);
        }
        self.cursor.select(Key::Upstream(key));
    }

    fn narrow(&self, context: &Context<'_>) -> Vec<Reaction> {
        let filter = match self.cursor.selected() {
            Some(Key::Open(id) | Key::Closed(id)) => format!("connection={}", id.0),
            Some(Key::Upstream(key)) => match context.store.connections().upstream_by_key(key) {
                Some(upstream) => upstream::filter(upstream),
                None => return Vec::new(),
            },
            Some(Key::AllClosed) => {
                return vec![Reaction::Say("select one of them: no filter describes the whole group".to_owned())];
            }
            None => return Vec::new(),
        };
        vec![Reaction::Narrow(filter)]
    }
}

impl View for ConnectionsView {
    fn on(&self) -> On {
        On::CONNECTIONS
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let [title, rest] = split_top(area, 1);
        let [heading, rows] = split_top(rest, 1);
        self.wide = row::is_wide(area.width);
        draw_title(Pen::new(buffer, title, context.theme), context);
        row::heading(Pen::new(buffer, heading, context.theme), self.sort, self.wide);
        let lines = self.lines(context);
        let shown = self.cursor.set(lines.iter().map(Line::key).collect(), rows);
        self.shown.clear();
        for (place, area) in shown.zip(rows.rows()) {
            let mut pen = Pen::new(buffer, area, context.theme);
            if self.cursor.is_at(place) {
                pen.select();
            }
            match &lines[place] {
                Line::Upstream(upstream) => {
                    upstream::draw(pen, upstream, self.folded.contains(&upstream.key), context);
                }
                Line::Open(connection) => {
                    self.shown.push(connection.info.inode.0);
                    row::draw(pen, connection, self.wide, context);
                }
                Line::AllClosed => {
                    let fold = if self.closed_folded { '▸' } else { '▾' };
                    pen.cell(1, Tone::Open, if pen.is_selected() { ">" } else { "" });
                    let connections = context.store.connections();
                    let kept = connections.closed().count();
                    pen.put(Tone::Strong, format_args!("{fold}  closed: {}", connections.closed_total()));
                    pen.put(Tone::Faint, format_args!(", latest {kept}, newest first"));
                }
                Line::Closed(closed) => row::draw_closed(pen, closed, self.wide, context),
            }
        }
        if lines.is_empty() {
            let text = "No connections yet. Open connections will appear here.";
            Pen::new(buffer, rows, context.theme).put(Tone::Faint, text);
        }
    }

    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match action {
            Action::Back => return vec![Reaction::Back],
            Action::Open => return self.narrow(context),
            Action::Unfold => self.fold(context),
            _ => {
                if !self.sort.act(action, &row::sortable(self.wide)) {
                    self.cursor.act(action);
                }
            }
        }
        Vec::new()
    }

    fn click(&mut self, at: Position, context: &Context<'_>) -> Vec<Reaction> {
        if self.cursor.click(at) == Some(true) { self.narrow(context) } else { Vec::new() }
    }

    fn watched(&self) -> &[u64] {
        &self.shown
    }
}

fn draw_title(mut pen: Pen<'_>, context: &Context<'_>) {
    let bars = upstream::bars(pen.left());
    let connections = context.store.connections();
    let busy: u32 = connections.upstreams().iter().map(|upstream| upstream.now.busy).sum();
    if context.store.summary().is_some() {
        // The state of these connections is then not known.
        pen.put(Tone::Strong, "when tracing ended: ");
    }
    pen.put(Tone::Strong, format_args!("{} open, {busy} busy", connections.total()));
    if connections.total() > MAX_CONNECTIONS {
        pen.put(Tone::Warn, format_args!("; only the latest {MAX_CONNECTIONS} are listed"));
    }
    if !context.filter.takes_all() {
        pen.put(Tone::Warn, ": all are listed; the filter applies to the overview only");
    }
    pen.at_end(Tone::Faint, format_args!("busy in the last {bars} s"));
}
