//! The keys of a screen, over it.

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

/// Columns for the keys, and for all.
const WIDTHS: (u16, u16) = (22, 72);

/// See the module.
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
        let bindings: Vec<&Binding> = keys::of(self.on).collect();
        let width = WIDTHS.1.min(area.width);
        let height = (bindings.len() as u16 + 2).min(area.height);
        let window =
            Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
        let rows = usize::from(height.saturating_sub(2));
        self.offset = self.offset.min(bindings.len().saturating_sub(rows));
        Clear.render(window, buffer);
        let more = bindings.len().saturating_sub(self.offset + rows);
        let title = if more > 0 { format!(" Keys ({more} more below) ") } else { " Keys ".to_owned() };
        let block = Block::bordered().title(title);
        let inner = block.inner(window);
        block.render(window, buffer);
        for (row, binding) in inner.rows().zip(bindings.iter().skip(self.offset)) {
            let names: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
            Pen::new(buffer, row, theme).cell(WIDTHS.0, Tone::Key, names.join(", ")).put(Tone::Plain, binding.help);
        }
    }
}
