//! Time drawn to scale: moments become columns of a line.

use crate::{
    event::Timestamp,
    tui::{
        pen::{Pen, columns},
        theme::Tone,
    },
};

/// A period of time, in a number of columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    start: Timestamp,
    span: u64,
    width: u16,
}

impl Scale {
    pub(super) fn new(start: Timestamp, end: Timestamp, width: u16) -> Self {
        Self { start, span: end.since(start).max(1), width: width.max(1) }
    }

    /// Column of a moment. A moment outside the period is at the edge.
    pub(super) fn column(self, time: Timestamp) -> u16 {
        let since = u128::from(time.since(self.start).min(self.span));
        let last = u128::from(self.width - 1);
        ((since * last + u128::from(self.span / 2)) / u128::from(self.span)) as u16
    }
}

/// A line of cells. Each character takes one column, so text from the wire must not be written into it.
#[derive(Clone, Debug)]
pub(super) struct Track {
    cells: Vec<(char, Tone)>,
}

impl Track {
    pub(super) fn new(width: u16) -> Self {
        Self { cells: vec![(' ', Tone::Plain); width.into()] }
    }

    fn width(&self) -> u16 {
        self.cells.len() as u16
    }

    pub(super) fn set(&mut self, column: u16, sign: char, tone: Tone) {
        if let Some(cell) = self.cells.get_mut(usize::from(column)) {
            *cell = (sign, tone);
        }
    }

    /// Fills the columns from one to the other, both included.
    pub(super) fn fill(&mut self, from: u16, to: u16, sign: char, tone: Tone) {
        for column in from..=to.min(self.width().saturating_sub(1)) {
            self.set(column, sign, tone);
        }
    }

    pub(super) fn is_free(&self, column: u16) -> bool {
        self.cells.get(usize::from(column)).is_some_and(|(sign, _)| *sign == ' ')
    }

    /// Writes text that begins at a column, or ends at the last one where it would not fit otherwise. False where it
    /// would touch other text.
    pub(super) fn label(&mut self, column: u16, tone: Tone, text: &str) -> bool {
        let length = columns(text);
        if length == 0 || length > self.width() {
            return false;
        }
        let start = column.min(self.width() - length);
        let around = start.saturating_sub(1)..(start + length + 1).min(self.width());
        if !around.clone().all(|column| self.is_free(column)) {
            return false;
        }
        self.write(start, tone, text);
        true
    }

    /// Writes text in the middle between two columns. False without room.
    pub(super) fn middle(&mut self, from: u16, to: u16, tone: Tone, text: &str) -> bool {
        let length = columns(text);
        let room = (to + 1).saturating_sub(from);
        if length > room {
            return false;
        }
        let start = from + (room - length) / 2;
        if !(start..start + length).all(|column| self.is_free(column)) {
            return false;
        }
        self.write(start, tone, text);
        true
    }

    /// Writes text over the cells.
    pub(super) fn write(&mut self, column: u16, tone: Tone, text: &str) {
        for (column, sign) in (column..).zip(text.chars()) {
            self.set(column, sign, tone);
        }
    }

    pub(super) fn draw(&self, pen: &mut Pen<'_>) {
        for run in self.cells.chunk_by(|(_, one), (_, other)| one == other) {
            let text: String = run.iter().map(|(sign, _)| *sign).collect();
            pen.put(run[0].1, text);
        }
    }
}

/// A bar for a number. `most` takes the whole width, 0 none.
pub(super) fn bar(number: u64, most: u64, width: u16) -> String {
    let columns = (u128::from(number) * u128::from(width)).div_ceil(u128::from(most.max(1)));
    "█".repeat(columns.min(u128::from(width)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(track: &Track) -> String {
        track.cells.iter().map(|(sign, _)| *sign).collect()
    }

    #[test]
    fn moments_have_their_column() {
        let scale = Scale::new(Timestamp(1_000), Timestamp(2_000), 11);
        let columns = [0, 1_000, 1_049, 1_050, 1_500, 2_000, u64::MAX].map(|time| scale.column(Timestamp(time)));
        assert_eq!(columns, [0, 0, 0, 1, 5, 10, 10]);
        assert_eq!(Scale::new(Timestamp(5), Timestamp(5), 0).column(Timestamp(5)), 0);
        assert_eq!(Scale::new(Timestamp(0), Timestamp(u64::MAX), 100).column(Timestamp(u64::MAX)), 99);
    }

    #[test]
    fn labels_do_not_run_into_each_other() {
        let mut track = Track::new(12);
        assert!(track.label(9, Tone::Plain, "last"));
        assert!(!track.label(4, Tone::Plain, "over"));
        assert!(track.label(3, Tone::Plain, "one"));
        assert_eq!(text(&track), "   one  last");
        assert!(!track.middle(0, 2, Tone::Plain, "long"));
        assert!(track.middle(0, 2, Tone::Plain, "x"));
        assert_eq!(text(&track), " x one  last");
        track.fill(10, 40, '─', Tone::Plain);
        assert_eq!(text(&track), " x one  la──");
    }

    #[test]
    fn bars_are_to_scale() {
        assert_eq!(bar(0, 10, 10), "");
        assert_eq!(bar(1, 1_000, 10), "█");
        assert_eq!(bar(5, 10, 10), "█████");
        assert_eq!(bar(20, 10, 10).chars().count(), 10);
        assert_eq!(bar(1, 0, 3), "███");
    }
}
