//! What was said: by pidtap, of connections, and by a command that it started.

use std::collections::VecDeque;

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keys::{Action, On},
    pen::Pen,
    theme::Tone,
    view::{Context, Reaction, View},
};
use crate::{engine::NoteKind, visible::Visible};

/// Lines that are remembered.
const LINES: usize = 2_000;
/// Bytes of a line that are remembered.
const LINE: usize = 2_000;

enum Line {
    Pidtap(String),
    Command(String),
}

/// See the module.
#[derive(Default)]
pub(super) struct LogView {
    lines: VecDeque<Line>,
    /// Rows above the last that is shown.
    up: usize,
    rows: usize,
}

impl LogView {
    pub(super) fn say(&mut self, text: &str) {
        self.push(Line::Pidtap(cut(text)));
    }

    pub(super) fn said_by_command(&mut self, text: &str) {
        self.push(Line::Command(cut(text)));
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        if self.up > 0 {
            self.up += 1;
        }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(LINE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn words(kind: &NoteKind, protocol: &str) -> String {
    match kind {
        NoteKind::NotHttp => format!("is not HTTP/1 but {protocol}: its calls cannot be shown"),
        NoteKind::Opaque { protocol } => format!("carries {} from here on", Visible(protocol)),
        NoteKind::UnseenBytes { sent, received } => {
            format!("moved bytes that were not seen: {sent} sent, {received} received (io_uring, or another path)")
        }
    }
}

impl View for LogView {
    fn on(&self) -> On {
        On::LOG
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let notes = context.store.notes().map(|note| {
            let connection = &note.connection;
            let time = context.clock_time(note.time);
            let what = words(&note.kind, connection.protocol.name());
            let remote = Visible(&connection.remote_text);
            (Tone::Warn, format!("{time}  connection #{} to {remote} {what}", connection.id.0))
        });
        let lines = self.lines.iter().map(|line| match line {
            Line::Pidtap(text) => (Tone::Plain, format!("pidtap: {}", Visible(text))),
            Line::Command(text) => (Tone::Faint, format!("command: {}", Visible(text))),
        });
        let all: Vec<(Tone, String)> = notes.chain(lines).collect();
        self.rows = usize::from(area.height);
        self.up = self.up.min(all.len().saturating_sub(self.rows));
        let end = all.len() - self.up;
        if all.is_empty() {
            Pen::new(buffer, area, context.theme).put(Tone::Faint, "Nothing was said yet.");
        }
        for (row, (tone, text)) in area.rows().zip(&all[end.saturating_sub(self.rows)..end]) {
            Pen::new(buffer, row, context.theme).put(*tone, text);
        }
    }

    fn act(&mut self, action: Action, _context: &Context<'_>) -> Vec<Reaction> {
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
