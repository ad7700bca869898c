//! Breaks lines of any length into rows of a fixed width, and draws them.

use ratatui::{buffer::Buffer, layout::Rect};
use unicode_width::UnicodeWidthChar as _;

use crate::{
    payload::body,
    tui::{
        pen::Pen,
        theme::{Theme, Tone},
    },
};

/// Columns at the left for marks of matches.
const MARGIN: u16 = 2;
/// Indentation of the second and later rows of a line, in columns.
const HANG: u16 = 2;
/// Indentation that later rows inherit from the line, at most.
const MOST_INDENT: u16 = 24;

/// A line of text with tones. The text must be escaped for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Ends of the pieces; together they cover the text.
    pieces: Vec<(usize, Tone)>,
}

impl Line {
    /// A line of one piece. The text must be escaped.
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        let pieces = if text.is_empty() { Vec::new() } else { vec![(text.len(), tone)] };
        Self { text, pieces }
    }

    /// Adds a piece.
    pub(super) fn and(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        if !text.as_ref().is_empty() {
            self.text.push_str(text.as_ref());
            self.pieces.push((self.text.len(), tone));
        }
        self
    }
}

impl From<body::Line> for Line {
    fn from(line: body::Line) -> Self {
        let tone = |kind| match kind {
            body::Kind::Plain => Tone::Plain,
            body::Kind::Key => Tone::Name,
            body::Kind::String => Tone::Text,
            body::Kind::Number | body::Kind::Literal => Tone::Number,
            body::Kind::Punctuation | body::Kind::Faint => Tone::Faint,
            body::Kind::Note => Tone::Warn,
        };
        Self { pieces: line.pieces.iter().map(|piece| (piece.end, tone(piece.kind))).collect(), text: line.text }
    }
}

/// A match in a line: its byte range, and whether it is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) is_current: bool,
}

/// A row: part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    start: usize,
    end: usize,
    indent: u16,
}

/// Lines, broken into rows.
#[derive(Clone, Debug)]
pub(super) struct Page {
    lines: Vec<Line>,
    rows: Vec<Row>,
    width: u16,
}

impl Page {
    pub(super) fn new(lines: Vec<Line>, width: u16) -> Self {
        let room = width.saturating_sub(MARGIN).max(1);
        let mut rows = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            break_up(index, &line.text, room, &mut rows);
        }
        Self { lines, rows, width }
    }

    pub(super) fn width(&self) -> u16 {
        self.width
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Row that has this byte of a line.
    pub(super) fn row_of(&self, line: usize, byte: usize) -> usize {
        let after = self.rows.partition_point(|row| (row.line, row.start) <= (line, byte));
        after.saturating_sub(1)
    }

    /// Draws a row. `marks` gives the matches of a line.
    pub(super) fn draw<'a>(
        &self,
        row: usize,
        area: Rect,
        buffer: &mut Buffer,
        theme: Theme,
        marks: impl FnOnce(usize) -> &'a [Mark],
    ) {
        let Some(&Row { line, start, end, indent }) = self.rows.get(row) else { return };
        let marks = marks(line);
        let within = |mark: &&Mark| mark.start < end && start < mark.end;
        let mut pen = Pen::new(buffer, area, theme);
        match marks.iter().filter(within).max_by_key(|mark| mark.is_current) {
            Some(mark) if mark.is_current => pen.put(Tone::Strong, "▶ "),
            Some(_) => pen.put(Tone::Strong, "• "),
            None => pen.skip(MARGIN),
        };
        pen.skip(indent);
        let mut at = start;
        let line = &self.lines[line];
        // Each run has one tone and one mark.
        while at < end {
            let piece = line.pieces.partition_point(|(end, _)| *end <= at);
            let (piece_end, tone) = line.pieces.get(piece).copied().unwrap_or((end, Tone::Plain));
            let mark = marks.partition_point(|mark| mark.end <= at);
            let (next, tone) = match marks.get(mark) {
                Some(mark) if mark.start <= at => (mark.end.min(piece_end), Tone::Match),
                Some(mark) => (mark.start.min(piece_end), tone),
                None => (piece_end, tone),
            };
            let next = next.min(end);
            pen.put(tone, &line.text[at..next]);
            at = next;
        }
    }
}

/// Breaks a line at the width of a row, or at a blank in the last third of the row.
fn break_up(line: usize, text: &str, room: u16, rows: &mut Vec<Row>) {
    let blanks = text.len() - text.trim_start_matches(' ').len();
    let hang = (blanks.min(usize::from(MOST_INDENT)) as u16 + HANG).min(room / 2);
    let (mut start, mut column, mut indent) = (0, 0, 0);
    let mut blank = None;
    for (at, character) in text.char_indices() {
        let width = character.width().unwrap_or(0) as u16;
        // Breaks again where the rest is too wide for the next row, which is indented.
        while indent + column + width > room && at > start {
            let end = blank.filter(|blank| *blank > start).unwrap_or(at);
            rows.push(Row { line, start, end, indent });
            indent = hang;
            start = end;
            column = text[start..at].chars().map(|character| character.width().unwrap_or(0) as u16).sum();
            blank = None;
        }
        column += width;
        if character == ' ' && column + indent > room / 3 * 2 {
            blank = Some(at + 1);
        }
    }
    rows.push(Row { line, start, end: text.len(), indent });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str, width: u16) -> Vec<String> {
        let page = Page::new(vec![Line::new(Tone::Plain, text)], width);
        page.rows.iter().map(|row| format!("{:>1$}", "", usize::from(row.indent)) + &text[row.start..row.end]).collect()
    }

    #[test]
    fn lines_are_broken_where_they_are_full() {
        assert_eq!(rows("abcdefghij", 12), ["abcdefghij"]);
        assert_eq!(rows("abcdefghijkl", 12), ["abcdefghij", "  kl"]);
        assert_eq!(rows("abcdefg hijkl", 12), ["abcdefg ", "  hijkl"]);
        assert_eq!(rows("    abcdefghij", 12), ["    abcdef", "     ghij"]);
        assert_eq!(rows("日本語日本語", 12), ["日本語日本", "  語"]);
        assert_eq!(rows("a  a日", 6), ["a  ", "  a", "  日"]);
        assert_eq!(rows("", 12), [""]);
    }

    #[test]
    fn what_was_found_is_marked_also_across_rows() {
        let page = Page::new(vec![Line::new(Tone::Plain, "abcdefghijkl")], 12);
        let marks = [Mark { start: 8, end: 11, is_current: true }];
        let area = Rect::new(0, 0, 12, 2);
        let mut buffer = Buffer::empty(area);
        for (row, place) in area.rows().enumerate() {
            page.draw(row, place, &mut buffer, Theme::default(), |_| &marks);
        }
        let text: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(text, "▶ abcdefghij▶   kl      ");
        let marked = |x, y| buffer[(x, y)].modifier.contains(ratatui::style::Modifier::REVERSED);
        assert!(!marked(9, 0) && marked(10, 0) && marked(11, 0) && marked(4, 1) && !marked(5, 1));
        assert_eq!((page.row_of(0, 8), page.row_of(0, 10), page.row_of(0, 11)), (0, 1, 1));
    }

    proptest! {
        #[test]
        fn rows_hold_all_of_a_line_and_fit(text in "[a-z 日é]{0,80}", width in 4_u16..40) {
            let page = Page::new(vec![Line::new(Tone::Plain, &*text)], width);
            let whole: String = page.rows.iter().map(|row| &text[row.start..row.end]).collect();
            prop_assert_eq!(&whole, &text);
            for row in &page.rows {
                let columns = super::super::columns(&text[row.start..row.end]);
                // One wide character may be wider than what a narrow screen has left.
                prop_assert!(row.indent + columns <= (width - MARGIN).max(row.indent + 2));
            }
        }
    }
}
