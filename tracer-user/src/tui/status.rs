//! The last line: the latest message, the typed text, or the keys.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    keys::{self, Action, Binding, On},
    pen::{Pen, columns},
    prompt::Prompt,
    theme::{Theme, Tone},
};
use crate::{filter::FilterError, text::escape::Visible};

/// Content of the line.
pub(super) struct Status<'a> {
    /// The typed text.
    pub(super) prompt: Option<&'a Prompt>,
    /// Error of the typed filter, which takes a second line.
    pub(super) error: Option<&'a FilterError>,
    /// The latest message.
    pub(super) message: Option<&'a str>,
    /// Screens whose keys are shown; `None` beside the help.
    pub(super) on: Option<On>,
}

/// Draws the line. Gives the position of the cursor while a text is typed.
pub(super) fn draw(status: &Status<'_>, area: Rect, buffer: &mut Buffer, theme: Theme) -> Option<Position> {
    let Status { prompt, error, message, on } = *status;
    let mut rows = area.rows();
    let line = rows.next().unwrap_or_default();
    let mut pen = Pen::new(buffer, line, theme);
    if let Some(prompt) = prompt {
        let label = if prompt.is_filter() { "filter: " } else { "search: " };
        pen.put(Tone::Key, label);
        // The text before the cursor stays visible.
        let room = usize::from(pen.left()).saturating_sub(1);
        let skipped = prompt.cursor().saturating_sub(room);
        let text: String = prompt.text().chars().skip(skipped).collect();
        pen.put(Tone::Plain, Visible(&text));
        if let (Some(error), Some(line)) = (error.filter(|_| prompt.is_filter()), rows.next()) {
            let column = (error.column.saturating_sub(1 + skipped) as u16).saturating_add(columns(label));
            explain(error, column, line, buffer, theme);
        }
        let x = area.x + columns(label) + (prompt.cursor() - skipped) as u16;
        return Some(Position::new(x.min(area.right().saturating_sub(1)), area.y));
    }
    if let Some(message) = message {
        pen.put(Tone::Strong, Visible(message));
        return None;
    }
    let Some(on) = on else {
        pen.put(Tone::Faint, "Esc, ? or q closes the help");
        return None;
    };
    // Help and quit are always there.
    let always = [Action::Help, Action::Quit];
    let text = |binding: &Binding| {
        let key = binding.keys.first().map_or_else(String::new, |key| key.name());
        binding.short.map(|short| (key, short))
    };
    let last: u16 = keys::of(on)
        .filter(|binding| always.contains(&binding.action))
        .filter_map(text)
        .map(|(key, short)| columns(&key) + columns(short) + 3)
        .sum();
    let (mut first, mut rest): (Vec<&Binding>, Vec<&Binding>) =
        keys::of(on).filter(|binding| binding.short.is_some()).partition(|binding| !always.contains(&binding.action));
    let mut room = area.width.saturating_sub(last);
    first.retain(|binding| {
        let wanted = text(binding).map_or(0, |(key, short)| columns(&key) + columns(short) + 3);
        let fits = wanted <= room;
        room = if fits { room - wanted } else { 0 };
        fits
    });
    first.append(&mut rest);
    for (key, short) in first.into_iter().filter_map(text) {
        pen.put(Tone::Key, key).put(Tone::Plain, format_args!(" {short}")).skip(2);
    }
    None
}

/// A sign below the error, and the message beside it.
fn explain(error: &FilterError, column: u16, line: Rect, buffer: &mut Buffer, theme: Theme) {
    let column = column.min(line.width.saturating_sub(1));
    let mut pen = Pen::new(buffer, line, theme);
    for words in [format!("{}; {}", error.problem, error.remedy), error.problem.clone()] {
        let words = Visible(&words).to_string();
        if columns(&words) + column + 2 <= line.width {
            pen.skip(column).put(Tone::Bad, "^ ").put(Tone::Bad, words);
            return;
        }
        if columns(&words) < column {
            pen.skip(column - columns(&words) - 1).put(Tone::Bad, words).put(Tone::Bad, " ^");
            return;
        }
    }
    // The position does not fit, but the message has its column.
    pen.put(Tone::Bad, format_args!("{}", Visible(&error.to_string())));
}
