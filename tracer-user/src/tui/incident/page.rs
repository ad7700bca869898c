//! Rows of a page that scrolls. Some rows have a target.

use crate::{
    model::exchange::{ExchangeId, IncidentId},
    tui::{
        pen::{Pen, columns},
        theme::Tone,
    },
};

/// Target of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An exchange.
    Exchange(ExchangeId),
    /// An incident.
    Incident(IncidentId),
    /// The overview, with all exchanges of the incident.
    All,
}

/// List of the page that a row is in. Rows of several lists may have the same target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The call to look at next.
    Lead,
    /// The words.
    Words,
    /// The evidence.
    Evidence,
    /// The exchanges.
    Exchanges,
}

/// A row with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Its list.
    pub(super) part: Part,
    /// Its target.
    pub(super) target: Target,
}

/// Draws a row.
type Draw<'a> = Box<dyn Fn(&mut Pen<'_>) + 'a>;

/// One row.
pub(super) struct Row<'a> {
    draw: Draw<'a>,
    item: Option<Item>,
}

/// Rows of one width.
pub(super) struct Rows<'a> {
    width: u16,
    rows: Vec<Row<'a>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(width: u16) -> Self {
        Self { width, rows: Vec::new() }
    }

    pub(super) fn width(&self) -> u16 {
        self.width
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row.
    pub(super) fn put(&mut self, draw: impl Fn(&mut Pen<'_>) + 'a) {
        self.rows.push(Row { draw: Box::new(draw), item: None });
    }

    /// Adds a row with a target. It must begin with one column for the sign of the selection.
    pub(super) fn item(&mut self, part: Part, target: Target, draw: impl Fn(&mut Pen<'_>) + 'a) {
        let item = Some(Item { part, target });
        let draw = Box::new(move |pen: &mut Pen<'_>| {
            draw(pen);
        });
        self.rows.push(Row { draw, item });
    }

    /// Adds a line with a name in it, and `end` at its end if there is room.
    pub(super) fn rule(&mut self, name: &'static str, end: impl Into<String>) {
        let (width, end) = (self.width, end.into());
        self.put(move |pen| {
            let room = width.saturating_sub(columns(name) + 4);
            let end =
                if !end.is_empty() && columns(&end) + 4 <= room { format!(" {end} ──") } else { String::new() };
            let line = "─".repeat(room.saturating_sub(columns(&end)).into());
            pen.put(Tone::Faint, "── ").put(Tone::Strong, name).put(Tone::Faint, format_args!(" {line}{end}"));
        });
    }

    /// Adds a text over as many rows as it takes, indented by a column.
    pub(super) fn words(&mut self, tone: Tone, text: &str) {
        self.hanging(1, tone, "", &sentence(text));
    }

    /// Adds a name, and a text beside it over as many rows as it takes.
    pub(super) fn fact(&mut self, name: &'static str, text: &str) {
        self.hanging(NAMES, Tone::Plain, name, text);
    }

    fn hanging(&mut self, indent: u16, tone: Tone, name: &'static str, text: &str) {
        for (index, line) in wrap(text, self.width.saturating_sub(indent)).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.put(move |pen| {
                pen.skip(1);
                if indent > 1 {
                    pen.cell(indent - 2, Tone::Faint, name);
                }
                pen.put(tone, &line);
            });
        }
    }

    pub(super) fn row(&self, index: usize) -> Option<&Row<'a>> {
        self.rows.get(index)
    }

    /// Rows with a target, by index.
    pub(super) fn items(&self) -> impl Iterator<Item = (usize, Item)> {
        self.rows.iter().enumerate().filter_map(|(index, row)| Some((index, row.item?)))
    }

    pub(super) fn append(&mut self, mut more: Self) {
        self.rows.append(&mut more.rows);
    }
}

impl Row<'_> {
    pub(super) fn draw(&self, pen: &mut Pen<'_>, selected: Option<Item>) {
        if self.item.is_some() && self.item == selected {
            pen.select();
        }
        (self.draw)(pen);
    }
}

/// The text with a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

/// Columns for the names of facts, with the blanks around them.
const NAMES: u16 = 16;

/// Lines of at most `width` columns, broken at blanks, or within a word that is longer than a line.
pub(super) fn wrap(text: &str, width: u16) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut taken = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = columns(word);
        if taken > 0 && taken + 1 + length <= width {
            line.push(' ');
            line.push_str(word);
            taken += 1 + length;
            continue;
        }
        if taken > 0 {
            lines.push(std::mem::take(&mut line));
        }
        taken = 0;
        for character in word.chars() {
            let next = columns(character.encode_utf8(&mut [0; 4]));
            if taken + next > width {
                lines.push(std::mem::take(&mut line));
                taken = 0;
            }
            line.push(character);
            taken += next;
        }
    }
    if taken > 0 {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("a verylongwordindeed b", 10), ["a", "verylongwo", "rdindeed b"]);
        assert_eq!(wrap("日本日本日本", 8), ["日本日本", "日本"]);
        assert!(wrap("  ", 10).is_empty());
    }
}
