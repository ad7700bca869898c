//! The help: the keys of a screen, drawn over it.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    widgets::{Block, Clear, Widget as _},
};

use super::{
    keys::{self, Action, Binding, On},
    pen::Pen,
    theme::{Theme, Tone},
};

/// Columns for the keys, and for the whole box.
const WIDTHS: (u16, u16) = (22, 72);

/// Signs and their meaning; those that every screen with calls has come first.
const SIGNS: &[(&str, &str)] = &[
    ("→ ←", "outbound call; inbound call"),
    ("! * …", "failed; took more than a second; still open"),
    ("+ >", "ended within the last second; selected"),
    ("▲ ▼ ✓", "ongoing; over, with harm; recovered"),
    ("✗ ✓ ◌", "attempt: failed; succeeded; in progress"),
    ("> before a time", "at least: the call began before tracing"),
    ("? after a finding", "likely, not certain"),
    ("req resp", "body bytes of request and response"),
    ("failing", "in the last ten seconds; counts cover the trace"),
];

/// State of the help.
pub(super) struct Help {
    on: On,
    offset: usize,
}

impl Help {
    pub(super) fn new(on: On) -> Self {
        Self { on, offset: 0 }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.offset = match action {
            Action::Up => self.offset.saturating_sub(1),
            Action::Down => self.offset.saturating_add(1),
            Action::PageUp => self.offset.saturating_sub(10),
            Action::PageDown => self.offset.saturating_add(10),
            Action::First => 0,
            Action::Last => usize::MAX,
            _ => self.offset,
        };
    }

    pub(super) fn draw(&mut self, area: Rect, buffer: &mut Buffer, theme: Theme) {
        let keys = keys::of(self.on).map(|binding: &Binding| {
            let names: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
            (Tone::Key, names.join(", "), binding.help)
        });
        let signs = SIGNS.iter().map(|(sign, says)| (Tone::Strong, (*sign).to_owned(), *says));
        let lines: Vec<(Tone, String, &str)> = keys.chain(signs).collect();
        let width = WIDTHS.1.min(area.width);
        let height = (lines.len() as u16 + 2).min(area.height);
        let window =
            Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
        let rows = usize::from(height.saturating_sub(2));
        self.offset = self.offset.min(lines.len().saturating_sub(rows));
        Clear.render(window, buffer);
        let more = lines.len().saturating_sub(self.offset + rows);
        let title =
            if more > 0 { format!(" Keys and symbols ({more} more below) ") } else { " Keys and symbols ".to_owned() };
        let block = Block::bordered().title(title);
        let inner = block.inner(window);
        block.render(window, buffer);
        for (row, (tone, name, says)) in inner.rows().zip(lines.iter().skip(self.offset)) {
            Pen::new(buffer, row, theme).cell(WIDTHS.0, *tone, name).put(Tone::Plain, says);
        }
    }
}
