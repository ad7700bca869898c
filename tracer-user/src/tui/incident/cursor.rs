//! The selected row, and the visible part of the page.

use super::page::{Item, Part};
use crate::tui::keys::Action;

/// A row with a target, as it was drawn last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) item: Item,
    pub(super) row: usize,
    /// The row is in the right half.
    pub(super) right: bool,
}

/// The cursor.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    selected: Option<Item>,
    /// First visible row, and the number of visible rows.
    top: usize,
    height: usize,
    /// Number of rows of the page.
    rows: usize,
    placed: Vec<Placed>,
}

impl Cursor {
    /// Adapts to a page that may have changed since it was drawn last.
    pub(super) fn update(&mut self, placed: Vec<Placed>, rows: usize, height: usize) {
        self.placed = placed;
        self.rows = rows;
        self.height = height.max(1);
        self.top = self.top.min(self.last_top());
        let is_there = |item| self.placed.iter().any(|placed| placed.item == item);
        if !self.selected.is_some_and(is_there) {
            // Selects the lead, or else the first exchange.
            let first = |part| self.placed.iter().find(|placed| placed.item.part == part);
            let first = first(Part::Lead).or_else(|| first(Part::Exchanges)).or(self.placed.first());
            self.selected = first.map(|placed| placed.item);
        }
    }

    pub(super) fn selected(&self) -> Option<Item> {
        self.selected
    }

    pub(super) fn top(&self) -> usize {
        self.top
    }

    /// Number of rows below the visible ones.
    pub(super) fn below(&self) -> usize {
        self.rows.saturating_sub(self.top + self.height)
    }

    fn last_top(&self) -> usize {
        self.rows.saturating_sub(self.height)
    }

    /// The selected row.
    fn place(&self) -> Option<Placed> {
        self.placed.iter().find(|placed| Some(placed.item) == self.selected).copied()
    }

    /// Scrolls by a row, a screenful, or to an end.
    pub(super) fn scroll(&mut self, action: Action) {
        match action {
            Action::Down => return self.down(),
            Action::Up => return self.up(),
            Action::PageUp => self.top = self.top.saturating_sub(self.height - 1),
            Action::PageDown => self.top = (self.top + self.height - 1).min(self.last_top()),
            Action::First => self.top = 0,
            _ => self.top = self.last_top(),
        }
        let shown = self.top..self.top + self.height;
        let mut in_view = self.placed.iter().filter(|placed| shown.contains(&placed.row));
        let next = if action == Action::Last { in_view.next_back() } else { in_view.next() };
        self.selected = next.map(|placed| placed.item).or(self.selected);
    }

    /// Selects the next row with a target that is visible or just below; else scrolls.
    fn down(&mut self) {
        let end = self.top + self.height;
        let place = self.place();
        let from = place.filter(|place| (self.top..end).contains(&place.row)).map_or(self.top, |place| place.row + 1);
        // From a row of the whole width, the cursor goes to either half, to the exchanges first.
        let is_own =
            |placed: &&Placed| place.is_none_or(|place| place.item.part <= Part::Words || place.right == placed.right);
        let ahead = self.placed.iter().filter(is_own).filter(|placed| (from..=end).contains(&placed.row));
        match ahead.min_by_key(|placed| (placed.row, !placed.right)) {
            Some(next) => {
                self.selected = Some(next.item);
                self.top = self.top.max((next.row + 1).saturating_sub(self.height));
            }
            None => self.top = (self.top + 1).min(self.last_top()),
        }
    }

    /// Selects the previous row with a target that is visible or just above; else scrolls.
    fn up(&mut self) {
        let end = self.top + self.height;
        let place = self.place();
        let before = place.filter(|place| (self.top..end).contains(&place.row)).map_or(end, |place| place.row);
        let is_own =
            |placed: &&Placed| placed.item.part <= Part::Words || place.is_none_or(|place| place.right == placed.right);
        let behind = self.placed.iter().filter(is_own);
        let behind = behind.filter(|placed| placed.row < before && placed.row + 1 >= self.top);
        match behind.max_by_key(|placed| placed.row) {
            Some(next) => {
                self.selected = Some(next.item);
                self.top = self.top.min(next.row);
            }
            None => self.top = self.top.saturating_sub(1),
        }
    }

    /// Selects the nearest row of the left or the right half.
    pub(super) fn go_to_side(&mut self, right: bool) {
        let Some(row) = self.place().map(|place| place.row) else { return };
        let there = self.placed.iter().filter(|placed| placed.right == right && placed.item.part > Part::Words);
        if let Some(next) = there.min_by_key(|placed| placed.row.abs_diff(row)) {
            self.selected = Some(next.item);
        }
    }

    /// Selects the visible row that was clicked. Gives its item, and whether it was selected before.
    pub(super) fn click(&mut self, row: usize, right: bool) -> Option<(Item, bool)> {
        let of_row = self.placed.iter().filter(|placed| placed.row == self.top + row);
        let mut here = of_row.filter(|placed| placed.right == right || placed.item.part <= Part::Words);
        let item = here.next()?.item;
        let again = self.selected == Some(item);
        self.selected = Some(item);
        Some((item, again))
    }
}
