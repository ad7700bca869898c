//! Writes one line, column by column. Text that does not fit is cut, with a sign.

use std::fmt::Display;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_width::UnicodeWidthStr as _;

use super::theme::{Theme, Tone};

/// A position in a line. Text from the wire must be escaped by [`crate::text::escape::Visible`].
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    theme: Theme,
    x: u16,
    y: u16,
    end: u16,
    selected: bool,
}

impl<'a> Pen<'a> {
    /// A pen at the beginning of the first line of the area.
    pub(super) fn new(buffer: &'a mut Buffer, area: Rect, theme: Theme) -> Self {
        let area = area.intersection(buffer.area);
        let end = if area.height == 0 { area.x } else { area.right() };
        Self { buffer, theme, x: area.x, y: area.y, end, selected: false }
    }

    /// Marks the whole line as selected.
    pub(super) fn select(&mut self) -> &mut Self {
        self.selected = true;
        if self.x < self.end {
            let line = Rect { x: self.x, y: self.y, width: self.end - self.x, height: 1 };
            self.buffer.set_style(line, self.theme.style(Tone::Selected));
        }
        self
    }

    /// True for a selected line. Its caller also begins it with `>`.
    pub(super) fn is_selected(&self) -> bool {
        self.selected
    }

    /// Number of columns that are left.
    pub(super) fn left(&self) -> u16 {
        self.end.saturating_sub(self.x)
    }

    /// Writes text.
    pub(super) fn put(&mut self, tone: Tone, text: impl Display) -> &mut Self {
        let text = text.to_string();
        let width = self.left();
        self.write(tone, &text, width);
        self
    }

    /// Writes text into a column of `width`, and a blank behind it.
    pub(super) fn cell(&mut self, width: u16, tone: Tone, text: impl Display) -> &mut Self {
        let text = text.to_string();
        let start = self.x;
        self.write(tone, &text, width);
        self.skip_to(start + width + 1);
        self
    }

    /// Writes text at the right of a column of `width`, and a blank behind it.
    pub(super) fn right(&mut self, width: u16, tone: Tone, text: impl Display) -> &mut Self {
        let text = text.to_string();
        let start = self.x;
        let pad = width.saturating_sub(columns(&text));
        self.skip_to(start + pad);
        self.write(tone, &text, width - pad);
        self.skip_to(start + width + 1);
        self
    }

    /// Skips columns.
    pub(super) fn skip(&mut self, columns: u16) -> &mut Self {
        self.skip_to(self.x.saturating_add(columns))
    }

    /// Writes text at the end of the line, if there is room.
    pub(super) fn at_end(&mut self, tone: Tone, text: impl Display) -> &mut Self {
        let text = text.to_string();
        let width = columns(&text);
        if width < self.left() {
            self.skip_to(self.end - width);
            self.write(tone, &text, width);
        }
        self
    }

    fn skip_to(&mut self, x: u16) -> &mut Self {
        self.x = x.min(self.end).max(self.x);
        self
    }

    fn style(&self, tone: Tone) -> Style {
        let style = self.theme.style(tone);
        if self.selected {
            // Reversed colours are hard to read, so only the modifiers stay.
            return Style::new().add_modifier(Modifier::REVERSED | (style.add_modifier - Modifier::DIM));
        }
        style
    }

    fn write(&mut self, tone: Tone, text: &str, width: u16) {
        let width = width.min(self.left());
        if width == 0 {
            return;
        }
        let style = self.style(tone);
        if columns(text) <= width {
            self.x = self.buffer.set_stringn(self.x, self.y, text, width.into(), style).0;
            return;
        }
        let (x, _) = self.buffer.set_stringn(self.x, self.y, text, usize::from(width - 1), style);
        self.x = self.buffer.set_stringn(x, self.y, "…", 1, style).0;
    }
}

/// Number of columns that a text takes.
pub(super) fn columns(text: &str) -> u16 {
    text.width().try_into().unwrap_or(u16::MAX)
}

/// The beginning of a text, with a sign where it is cut. The text must be plain: escaped before.
pub(super) fn cut(text: &str, width: u16) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let next = taken + columns(character.encode_utf8(&mut [0; 4]));
        if next >= width {
            break;
        }
        taken = next;
        out.push(character);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(width: u16, write: impl FnOnce(&mut Pen<'_>)) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        write(&mut Pen::new(&mut buffer, area, Theme::default()));
        buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn columns_are_kept_and_cuts_are_shown() {
        let text = line(20, |pen| {
            pen.cell(5, Tone::Plain, "abcdefgh").right(4, Tone::Plain, "7").put(Tone::Plain, "a long rest of it");
        });
        assert_eq!(text, "abcd…    7 a long r…");
        assert_eq!(
            line(3, |pen| {
                pen.put(Tone::Plain, "日本").put(Tone::Plain, "x");
            }),
            "日 …"
        );
        assert_eq!(
            line(0, |pen| {
                pen.put(Tone::Plain, "x");
            }),
            ""
        );
    }

    #[test]
    fn what_stands_at_the_end_gives_way() {
        assert_eq!(
            line(8, |pen| {
                pen.put(Tone::Plain, "ab").at_end(Tone::Plain, "xyz");
            }),
            "ab   xyz"
        );
        assert_eq!(
            line(4, |pen| {
                pen.put(Tone::Plain, "abc").at_end(Tone::Plain, "xyz");
            }),
            "abc "
        );
    }
}
