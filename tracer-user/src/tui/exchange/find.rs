//! Search in the messages of an exchange.

use super::page::{Mark, Page};

/// Matches that are marked, at most.
const MOST: usize = 10_000;

/// The text that is searched for, and its matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Find {
    text: String,
    /// Matches by page and line, in the order of reading.
    found: Vec<(usize, usize, Vec<Mark>)>,
    total: usize,
    current: usize,
}

impl Find {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Searches again, after the pages have changed.
    pub(super) fn look(&mut self, pages: &[Page]) {
        self.found.clear();
        self.total = 0;
        if self.text.is_empty() {
            return;
        }
        // As in `less` and `vim`: a capital letter makes the search exact.
        let exact = self.text.chars().any(char::is_uppercase);
        for (page_index, page) in pages.iter().enumerate() {
            for (line_index, line) in page.lines().iter().enumerate() {
                let room = MOST - self.total;
                let marks: Vec<Mark> = places(&line.text, &self.text, exact)
                    .take(room)
                    .map(|start| Mark { start, end: start + self.text.len(), is_current: false })
                    .collect();
                if !marks.is_empty() {
                    self.total += marks.len();
                    self.found.push((page_index, line_index, marks));
                }
            }
        }
        // Pages side by side are read row by row.
        self.found.sort_by_key(|(page, line, marks)| (pages[*page].row_of(*line, marks[0].start), *page));
        self.current = self.current.min(self.total.saturating_sub(1));
        self.set_current(true);
    }

    /// Selects the first match in this row or after it.
    pub(super) fn begin_at(&mut self, pages: &[Page], row: usize) {
        self.set_current(false);
        let mut before = 0;
        for (page, line, marks) in &self.found {
            if pages[*page].row_of(*line, marks[0].start) >= row {
                break;
            }
            before += marks.len();
        }
        self.current = if before < self.total { before } else { 0 };
        self.set_current(true);
    }

    /// Selects the next or the previous match. False without matches.
    pub(super) fn step(&mut self, forward: bool) -> bool {
        if self.total == 0 {
            return false;
        }
        self.set_current(false);
        self.current = (self.current + if forward { 1 } else { self.total - 1 }) % self.total;
        self.set_current(true);
        true
    }

    fn set_current(&mut self, is_current: bool) {
        let mut place = self.current;
        for (_, _, marks) in &mut self.found {
            if let Some(mark) = marks.get_mut(place) {
                mark.is_current = is_current;
                return;
            }
            place -= marks.len();
        }
    }

    /// Row of the selected match.
    pub(super) fn row(&self, pages: &[Page]) -> Option<usize> {
        let current = self.found.iter().find_map(|(page, line, marks)| {
            let mark = marks.iter().find(|mark| mark.is_current)?;
            Some((*page, *line, mark.start))
        });
        current.map(|(page, line, start)| pages[page].row_of(line, start))
    }

    /// Matches in a line.
    pub(super) fn in_line(&self, page: usize, line: usize) -> &[Mark] {
        let found = self.found.iter().find(|(own_page, own_line, _)| (*own_page, *own_line) == (page, line));
        found.map_or(&[], |(_, _, marks)| marks)
    }

    /// Number of matches in words, for the title.
    pub(super) fn words(&self) -> String {
        match (self.text.is_empty(), self.total) {
            (true, _) => String::new(),
            (false, 0) => "not found".to_owned(),
            (false, MOST) => format!("match {} of {MOST} or more", self.current + 1),
            (false, total) => format!("match {} of {total}", self.current + 1),
        }
    }

    /// Reason why there is no other match.
    pub(super) fn nothing(&self) -> String {
        if self.text.is_empty() { "no search yet: press / to search" } else { "not found" }.to_owned()
    }
}

/// Offsets at which the text begins. Without `exact`, the case of ASCII letters does not matter.
fn places<'a>(line: &'a str, text: &'a str, exact: bool) -> impl Iterator<Item = usize> + 'a {
    let (line, text) = (line.as_bytes(), text.as_bytes());
    let mut at = 0;
    std::iter::from_fn(move || {
        while at + text.len() <= line.len() {
            let here = &line[at..at + text.len()];
            let same = if exact { here == text } else { here.eq_ignore_ascii_case(text) };
            // Both are UTF-8, so equal bytes begin and end between characters.
            if same {
                let place = at;
                at += text.len();
                return Some(place);
            }
            at += 1;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::{super::page::Line, *};
    use crate::tui::theme::Tone;

    fn pages(texts: &[&[&str]]) -> Vec<Page> {
        let page = |lines: &&[&str]| Page::new(lines.iter().map(|text| Line::new(Tone::Plain, *text)).collect(), 20);
        texts.iter().map(page).collect()
    }

    #[test]
    fn places_are_found_in_the_order_of_reading() {
        let pages = pages(&[&["an id", "b", "ID id"], &["", "id"]]);
        let mut find = Find::new("id");
        find.look(&pages);
        let mut rows = Vec::new();
        for _ in 0..5 {
            rows.push((find.words(), find.row(&pages).expect("there are some")));
            assert!(find.step(true));
        }
        let words = |n| format!("match {n} of 4");
        assert_eq!(rows, [(words(1), 0), (words(2), 1), (words(3), 2), (words(4), 2), (words(1), 0)]);
        assert_eq!(find.in_line(0, 2).len(), 2);
        let mut exact = Find::new("ID");
        exact.look(&pages);
        assert_eq!((exact.words(), exact.row(&pages)), ("match 1 of 1".to_owned(), Some(2)));
        find.begin_at(&pages, 2);
        assert_eq!(find.row(&pages), Some(2));
        assert!(find.step(false));
        assert_eq!(find.row(&pages), Some(1));
    }

    #[test]
    fn nothing_is_found() {
        let pages = pages(&[&["abc"]]);
        for (text, words) in [("", ""), ("x", "not found"), ("abcd", "not found")] {
            let mut find = Find::new(text);
            find.look(&pages);
            find.begin_at(&pages, 0);
            assert_eq!((find.words().as_str(), find.row(&pages), find.step(true)), (words, None, false));
        }
    }

    #[test]
    fn places_do_not_overlap_and_are_bounded() {
        let long = "é".repeat(3 * MOST);
        let pages = pages(&[&["aaaa", &long]]);
        let mut find = Find::new("aa");
        find.look(&pages);
        assert_eq!(find.words(), "match 1 of 2");
        let mut find = Find::new("é");
        find.look(&pages);
        assert_eq!(find.words(), "match 1 of 10000 or more");
    }
}
