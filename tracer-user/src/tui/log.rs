//! The log: messages of pidtap, notes about connections, and lines of the command that pidtap runs.

use std::collections::VecDeque;

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keys::{Action, On},
    pen::{Pen, columns},
    theme::Tone,
    view::{Context, Reaction, View},
};
use crate::{
    engine::{Note, NoteKind},
    event::Timestamp,
    model::connection::Role,
    text::{escape::Visible, redact::Redactor},
};

/// Lines that are kept, at most.
const LINES: usize = 2_000;
/// Bytes of a line that are kept, at most.
const LINE: usize = 2_000;

/// Columns of a step to the left or the right.
const STEP: usize = 20;

struct Line {
    time: Timestamp,
    by_command: bool,
    text: String,
}

/// State of the screen.
#[derive(Default)]
pub(super) struct LogView {
    lines: VecDeque<Line>,
    /// Number of rows below the last visible one.
    up: usize,
    /// Columns that are scrolled out at the left.
    left: usize,
    rows: usize,
}

impl LogView {
    /// Adds a line, at a time of the trace.
    pub(super) fn take(&mut self, time: Timestamp, by_command: bool, text: &str) {
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { time, by_command, text: text[..text.floor_char_boundary(LINE)].to_owned() });
        if self.up > 0 {
            self.up += 1;
        }
    }
}

fn words(kind: &NoteKind, protocol: &str, redactor: Redactor) -> String {
    match kind {
        NoteKind::NotHttp => format!("is not HTTP/1 but {protocol}: its calls cannot be shown"),
        NoteKind::Opaque { protocol } => format!("carries {} from here on", Visible(&redactor.text(protocol))),
        NoteKind::UnseenBytes { sent, received } => {
            format!("moved bytes that were not seen: {sent} sent, {received} received (io_uring or another path)")
        }
    }
}

/// One row, not escaped yet.
enum Shown<'a> {
    Note(&'a Note),
    Line(&'a Line),
}

impl Shown<'_> {
    fn time(&self) -> Timestamp {
        match self {
            Self::Note(note) => note.time,
            Self::Line(line) => line.time,
        }
    }

    fn text(&self, context: &Context<'_>) -> (Tone, String) {
        match self {
            Self::Note(note) => {
                let connection = &note.connection;
                let time = context.clock_time(note.time);
                let what = words(&note.kind, connection.protocol.name(), context.redactor);
                let remote = Visible(&connection.remote_text);
                let way = match note.role {
                    Some(Role::Server) => "from",
                    Some(Role::Client) => "to",
                    None => "with",
                };
                (Tone::Warn, format!("{time}  connection #{} {way} {remote} {what}", connection.id.0))
            }
            Self::Line(Line { time, by_command, text }) => {
                let (tone, who) = if *by_command { (Tone::Faint, "command") } else { (Tone::Plain, "pidtap") };
                // Lines before the first event have no time of the trace.
                let began = context.store.attached().map_or(*time, |attached| attached.time);
                (tone, format!("{}  {who}: {}", context.clock_time((*time).max(began)), Visible(text)))
            }
        }
    }
}

/// The text without its first columns.
fn skip_columns(text: &str, mut left: usize) -> &str {
    let mut rest = text.chars();
    while left > 0 {
        let Some(character) = rest.next() else { break };
        left = left.saturating_sub(columns(character.encode_utf8(&mut [0; 4])).into());
    }
    rest.as_str()
}

impl View for LogView {
    fn on(&self) -> On {
        On::LOG
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let total = context.store.notes().count() + self.lines.len();
        self.rows = usize::from(area.height);
        self.up = self.up.min(total.saturating_sub(self.rows));
        let end = total - self.up;
        if total == 0 {
            Pen::new(buffer, area, context.theme).put(Tone::Faint, "No messages yet.");
        }
        // Only visible rows are escaped: a command can write many long lines.
        let start = end.saturating_sub(self.rows);
        let mut notes = context.store.notes().map(Shown::Note).peekable();
        let mut lines = self.lines.iter().map(Shown::Line).peekable();
        let by_time = std::iter::from_fn(|| match (notes.peek(), lines.peek()) {
            (Some(note), Some(line)) if line.time() < note.time() => lines.next(),
            (Some(_), _) => notes.next(),
            (None, _) => lines.next(),
        });
        for (row, shown) in area.rows().zip(by_time.skip(start)) {
            let (tone, text) = shown.text(context);
            Pen::new(buffer, row, context.theme).put(tone, skip_columns(&text, self.left));
        }
    }

    fn act(&mut self, action: Action, _context: &Context<'_>) -> Vec<Reaction> {
        self.left = match action {
            Action::Left => self.left.saturating_sub(STEP),
            Action::Right => (self.left + STEP).min(LINE),
            _ => self.left,
        };
        self.up = match action {
            Action::Up => self.up + 1,
            Action::Down => self.up.saturating_sub(1),
            Action::PageUp => self.up + self.rows,
            Action::PageDown => self.up.saturating_sub(self.rows),
            Action::First => usize::MAX / 2,
            Action::Last => 0,
            Action::Back => return vec![Reaction::Back],
            _ => self.up,
        };
        Vec::new()
    }
}
