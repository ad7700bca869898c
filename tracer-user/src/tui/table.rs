//! Common parts of the tables: columns that fit, sorting, and the selected row.

use std::{cmp::Ordering, ops::Range};

use ratatui::layout::{Position, Rect};

use super::{keys::Action, pen::Pen, theme::Tone};

/// A right-aligned column of numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<C> {
    /// Key of the column.
    pub(super) what: C,
    /// Name in the heading.
    pub(super) name: &'static str,
    /// Width in columns of the screen, without the blank behind it.
    pub(super) width: u16,
    /// Priority: columns of 0 are always shown, others in ascending order where there is room.
    pub(super) rank: u8,
}

/// The columns that fit into a width, of which `rest` columns are reserved, in the order of the table.
pub(super) fn fitting<C: Copy>(columns: &[Column<C>], width: u16, rest: u16) -> Vec<Column<C>> {
    let room = width.saturating_sub(rest);
    let taken =
        |rank: u8| columns.iter().filter(|column| column.rank <= rank).map(|column| column.width + 1).sum::<u16>();
    let ranks = columns.iter().map(|column| column.rank);
    let most = ranks.filter(|rank| taken(*rank) <= room).max().unwrap_or(0);
    columns.iter().filter(|column| column.rank <= most).copied().collect()
}

/// Columns of the screen that the columns take.
pub(super) fn width<C>(columns: &[Column<C>]) -> u16 {
    columns.iter().map(|column| column.width + 1).sum()
}

/// Sort order of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sort<C> {
    by: C,
    falls: bool,
}

impl<C: Copy + PartialEq> Sort<C> {
    pub(super) fn new(by: C, falls: bool) -> Self {
        Self { by, falls }
    }

    /// Handles a key. `columns` are the visible ones, each with its initial direction. False where the key is for something
    /// else.
    pub(super) fn act(&mut self, action: Action, columns: &[(C, bool)]) -> bool {
        let now = columns.iter().position(|(what, _)| *what == self.by);
        let count = columns.len();
        let next = match (action, now) {
            (Action::SortReverse, _) => {
                self.falls = !self.falls;
                return true;
            }
            (Action::SortNext, Some(now)) => (now + 1) % count,
            (Action::SortPrevious, Some(now)) => (now + count - 1) % count,
            (Action::SortNext | Action::SortPrevious, None) if count > 0 => 0,
            _ => return false,
        };
        (self.by, self.falls) = columns[next];
        true
    }

    /// Order of two rows. `rising` compares by a column.
    pub(super) fn compare(self, rising: impl FnOnce(C) -> Ordering) -> Ordering {
        let rising = rising(self.by);
        if self.falls { rising.reverse() } else { rising }
    }

    /// Name of a column, marked where the table is sorted by it.
    pub(super) fn name(self, what: C, name: &str) -> String {
        let mark = match self.falls {
            _ if what != self.by => "",
            true => "▼",
            false => "▲",
        };
        format!("{name}{mark}")
    }

    /// Draws the names of the columns.
    pub(super) fn heading(self, pen: &mut Pen<'_>, columns: &[Column<C>]) {
        for column in columns {
            let tone = if column.what == self.by { Tone::Strong } else { Tone::Faint };
            pen.right(column.width, tone, self.name(column.what, column.name));
        }
    }
}

/// The selected row, by its key: the selection follows the row. Until the user moves, the first row is selected.
pub(super) struct Cursor<K> {
    keys: Vec<K>,
    selected: Option<K>,
    place: usize,
    top: usize,
    area: Rect,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), selected: None, place: 0, top: 0, area: Rect::default() }
    }
}

impl<K: Copy + PartialEq> Cursor<K> {
    /// Sets the rows. Gives the range of the visible ones.
    pub(super) fn set(&mut self, keys: Vec<K>, area: Rect) -> Range<usize> {
        self.keys = keys;
        self.area = area;
        if let Some(selected) = self.selected
            && let Some(place) = self.keys.iter().position(|key| *key == selected)
        {
            self.place = place;
        }
        let rows = usize::from(area.height);
        self.place = self.place.min(self.keys.len().saturating_sub(1));
        self.top = self.top.clamp((self.place + 1).saturating_sub(rows), self.place);
        self.top = self.top.min(self.keys.len().saturating_sub(rows));
        self.top..(self.top + rows).min(self.keys.len())
    }

    /// True for the selected row.
    pub(super) fn is_at(&self, place: usize) -> bool {
        self.place == place
    }

    /// Key of the selected row.
    pub(super) fn selected(&self) -> Option<K> {
        self.keys.get(self.place).copied()
    }

    /// Selects a row.
    pub(super) fn select(&mut self, key: K) {
        self.selected = Some(key);
        self.place = self.keys.iter().position(|own| *own == key).unwrap_or(self.place);
    }

    /// Moves the selection.
    pub(super) fn act(&mut self, action: Action) {
        let page = usize::from(self.area.height).max(1);
        let place = match action {
            Action::Up => self.place.saturating_sub(1),
            Action::Down => self.place + 1,
            Action::PageUp => self.place.saturating_sub(page),
            Action::PageDown => self.place + page,
            Action::First => 0,
            Action::Last => usize::MAX,
            _ => return,
        };
        self.go_to(place);
    }

    fn go_to(&mut self, place: usize) {
        self.place = place.min(self.keys.len().saturating_sub(1));
        self.selected = self.selected().filter(|_| self.place > 0);
    }

    /// Selects the row that was clicked. Gives whether it was selected before; `None` without a row.
    pub(super) fn click(&mut self, at: Position) -> Option<bool> {
        if !self.area.contains(at) {
            return None;
        }
        let place = self.top + usize::from(at.y - self.area.y);
        if place >= self.keys.len() {
            return None;
        }
        let again = self.place == place;
        self.selected = self.keys.get(place).copied();
        self.place = place;
        Some(again)
    }
}

/// A number in at most six columns.
pub(super) fn count(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..1_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
        _ => format!("{:.1}G", number as f64 / 1e9),
    }
}

/// A rate in events a second.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        _ if rate <= 0.0 => "0".to_owned(),
        _ if rate < 0.05 => "<0.1".to_owned(),
        _ if rate < 9.95 => format!("{rate:.1}"),
        _ => format!("{rate:.0}"),
    }
}

/// A share in percent, with a `!` where it is not 0.
pub(super) fn share(part: u64, all: u64) -> String {
    let percent = part as f64 / all.max(1) as f64 * 100.0;
    match part {
        0 => "0%".to_owned(),
        _ if percent < 1.0 => "!<1%".to_owned(),
        _ => format!("!{percent:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<char>; 4] = [
        Column { what: 'a', name: "a", width: 4, rank: 0 },
        Column { what: 'b', name: "b", width: 9, rank: 2 },
        Column { what: 'c', name: "c", width: 4, rank: 0 },
        Column { what: 'd', name: "d", width: 9, rank: 1 },
    ];

    #[test]
    fn columns_give_way_by_rank() {
        let shown = |width| fitting(&COLUMNS, width, 10).iter().map(|column| column.what).collect::<String>();
        assert_eq!([shown(5), shown(29), shown(30), shown(40)], ["ac", "ac", "acd", "abcd"]);
    }

    #[test]
    fn sorting_goes_round() {
        let mut sort = Sort::new('a', true);
        let columns = [('a', true), ('b', false)];
        assert!(sort.act(Action::SortNext, &columns));
        assert_eq!((sort.name('a', "x"), sort.name('b', "y")), ("x".to_owned(), "y▲".to_owned()));
        sort.act(Action::SortReverse, &columns);
        assert_eq!(sort.compare(|_| 1.cmp(&2)), Ordering::Greater);
        sort.act(Action::SortPrevious, &columns);
        assert_eq!(sort.name('a', "x"), "x▼");
        assert!(!sort.act(Action::Up, &columns));
    }

    #[test]
    fn the_row_stays_with_what_it_stands_for() {
        let area = Rect::new(0, 1, 10, 3);
        let mut cursor = Cursor::default();
        assert_eq!(cursor.set(vec!['a', 'b', 'c', 'd', 'e'], area), 0..3);
        assert_eq!(cursor.set(vec!['b', 'a', 'c', 'd', 'e'], area), 0..3);
        assert_eq!(cursor.selected(), Some('b'), "it is still the first");
        cursor.act(Action::Last);
        assert_eq!(cursor.set(vec!['b', 'a', 'c', 'd', 'e'], area), 2..5);
        assert_eq!(cursor.set(vec!['e', 'b', 'a', 'c', 'd'], area), 0..3);
        assert_eq!(cursor.selected(), Some('e'));
        assert_eq!(cursor.click(Position::new(1, 3)), Some(false));
        assert_eq!(cursor.click(Position::new(1, 3)), Some(true));
        assert_eq!(cursor.set(vec!['b'], area), 0..1);
        assert_eq!(cursor.selected(), Some('b'), "what it stood for is gone");
        assert_eq!(cursor.set(Vec::new(), area), 0..0);
        assert_eq!((cursor.selected(), cursor.click(Position::new(1, 1))), (None, None));
    }

    #[test]
    fn numbers_stay_in_their_columns() {
        let counts = [0, 999_999, 1_000_000, 999_949_999, 1_000_000_000, 999_000_000_000].map(count);
        assert_eq!(counts, ["0", "999999", "1.0M", "999.9M", "1.0G", "999.0G"]);
        assert_eq!([0.0, 0.01, 9.94, 9.96, 50_000.0].map(rate), ["0", "<0.1", "9.9", "10", "50000"]);
        assert_eq!([share(0, 0), share(1, 1000), share(1, 100), share(5, 5)], ["0%", "!<1%", "!1%", "!100%"]);
    }
}
