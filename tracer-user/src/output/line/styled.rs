//! A line under construction: text with styles, cut to the terminal's width at the end.

use std::fmt::{self, Write as _};

use unicode_width::UnicodeWidthChar as _;

/// Style of a piece of a line on a terminal with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Faint,
    Strong,
    Good,
    Slow,
    Bad,
    Open,
}

impl Style {
    /// Select Graphic Rendition (ECMA-48), with the eight colours that every terminal and every theme has.
    fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\x1b[2m",
            Self::Strong => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Slow => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Open => "\x1b[1;35m",
        }
    }
}

const RESET: &str = "\x1b[0m";
const CUT: &str = "…";

/// Columns that the head of a line keeps beside its tail; on a terminal that has not even these, the tail is cut.
const LEAST_HEAD: usize = 24;

/// Text, and the offsets at which styles begin.
#[derive(Debug, Default)]
pub(super) struct StyledLine {
    pub(super) text: String,
    styles: Vec<(usize, Style)>,
    tail: Option<usize>,
}

impl StyledLine {
    /// Sets the style of the text that follows.
    pub(super) fn style(&mut self, style: Style) {
        self.styles.push((self.text.len(), style));
    }

    /// Marks the text that follows as the tail: a cut shortens the text before it instead.
    pub(super) fn begin_tail(&mut self) {
        self.tail = Some(self.text.len());
    }

    /// Appends text.
    pub(super) fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String never fails.
        let _ = self.text.write_fmt(text);
    }

    /// Appends the line with its line break to `out`, and empties it. With a `width`, it is cut to that.
    pub(super) fn write_to(&mut self, out: &mut Vec<u8>, width: Option<usize>, colour: bool) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        if let Some(width) = width {
            self.cut(width);
        }
        if colour {
            let mut styles = self.styles.iter().peekable();
            while let Some(&(start, style)) = styles.next() {
                let end = styles.peek().map_or(self.text.len(), |(next, _)| *next).min(self.text.len());
                if start >= end {
                    continue;
                }
                out.extend_from_slice(style.sequence().as_bytes());
                out.extend_from_slice(&self.text.as_bytes()[start..end]);
                if style != Style::Plain {
                    out.extend_from_slice(RESET.as_bytes());
                }
            }
        } else {
            out.extend_from_slice(self.text.as_bytes());
        }
        out.push(b'\n');
        self.text.clear();
        self.styles.clear();
        self.tail = None;
    }

    fn cut(&mut self, width: usize) {
        let tail = self.tail.filter(|tail| *tail < self.text.len()).unwrap_or(self.text.len());
        let tail_columns = columns(&self.text[tail..]);
        let (end, resume) = if tail_columns + LEAST_HEAD <= width {
            (cut_at(&self.text[..tail], width - tail_columns), tail)
        } else {
            (cut_at(&self.text, width), self.text.len())
        };
        let Some(end) = end else { return };
        self.text.replace_range(end..resume, CUT);
        let after_cut = end + CUT.len();
        for (start, _) in &mut self.styles {
            if *start >= resume {
                *start = *start - resume + after_cut;
            } else if *start > end {
                *start = after_cut;
            }
        }
    }
}

fn columns(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

/// Offset of the cut at which the text and a sign take `width` columns; `None` where the text fits.
fn cut_at(text: &str, width: usize) -> Option<usize> {
    if text.len() <= width {
        return None;
    }
    let mut columns = 0;
    let mut last_fit = 0;
    for (index, character) in text.char_indices() {
        columns += character.width().unwrap_or(0);
        if columns > width {
            return Some(last_fit);
        }
        // One column must be left for the sign.
        if columns < width {
            last_fit = index + character.len_utf8();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, width: usize) -> String {
        let mut line = StyledLine::default();
        line.text.push_str(text);
        let mut out = Vec::new();
        line.write_to(&mut out, Some(width), false);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(line("abcdef", 6), "abcdef\n");
        assert_eq!(line("abcdefg", 6), "abcde…\n");
        assert_eq!(line("→→→→→→", 6), "→→→→→→\n");
        assert_eq!(line("日本語", 6), "日本語\n");
        assert_eq!(line("日本語", 5), "日本…\n");
        assert_eq!(line("日本語", 4), "日…\n");
        assert_eq!(line("日本語", 1), "…\n");
    }

    #[test]
    fn a_tail_is_kept() {
        let mut line = StyledLine::default();
        line.style(Style::Plain);
        line.text.push_str("a head of some length that must give way");
        line.begin_tail();
        line.style(Style::Slow);
        line.text.push_str(" [tail]");
        let mut out = Vec::new();
        line.write_to(&mut out, Some(31), true);
        assert_eq!(String::from_utf8_lossy(&out), "a head of some length t…\x1b[33m [tail]\x1b[0m\n");
    }

    #[test]
    fn colour_survives_cutting() {
        for width in 0..12 {
            let mut line = StyledLine::default();
            line.style(Style::Bad);
            line.text.push_str("日a");
            line.style(Style::Plain);
            line.text.push_str("本b");
            line.style(Style::Faint);
            line.text.push_str("語c");
            let mut out = Vec::new();
            line.write_to(&mut out, Some(width), true);
            let out = String::from_utf8(out).expect("cut between characters");
            let begun = out.matches("\x1b[1;31m").count() + out.matches("\x1b[2m").count();
            assert_eq!(out.matches("\x1b[0m").count(), begun, "{out:?}");
        }
    }
}
