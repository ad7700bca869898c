//! Lines under construction.

use std::fmt::Write as _;

use crate::text::escape::Visible;

/// What a piece of a line is; how it looks is for the screen to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text as it came.
    Plain,
    /// Name of a member, field or header.
    Key,
    /// A string, or another value in words.
    String,
    /// A number.
    Number,
    /// `true`, `false`, `null`.
    Literal,
    /// What holds the others together.
    Punctuation,
    /// Less important: offsets, comments, boundaries.
    Faint,
    /// Not of the body: said about it.
    Note,
}

/// Up to where in a line what stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// One past its last byte; it begins where the one before ends.
    pub end: usize,
    /// What it is.
    pub kind: Kind,
}

/// A line of text without anything that could harm a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// All of it.
    pub text: String,
    /// What is what in it; together they cover the text.
    pub pieces: Vec<Piece>,
}

impl Line {
    /// A line of one piece.
    pub fn new(kind: Kind, text: &str) -> Self {
        let mut line = Self::default();
        line.push(kind, text);
        line
    }

    /// Appends text, made harmless.
    pub fn push(&mut self, kind: Kind, text: &str) {
        // A String takes everything.
        let _ = write!(self.text, "{}", Visible(text));
        self.covered(kind);
    }

    /// Appends bytes, made harmless: those that are not UTF-8 as `\xNN`.
    pub fn push_bytes(&mut self, kind: Kind, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            let _ = write!(self.text, "{}", Visible(chunk.valid()));
            for byte in chunk.invalid() {
                let _ = write!(self.text, "\\x{byte:02x}");
            }
        }
        self.covered(kind);
    }

    /// Pieces with their text.
    pub fn pieces(&self) -> impl Iterator<Item = (Kind, &str)> {
        let mut start = 0;
        self.pieces.iter().map(move |piece| {
            let text = &self.text[start..piece.end];
            start = piece.end;
            (piece.kind, text)
        })
    }

    fn covered(&mut self, kind: Kind) {
        let end = self.text.len();
        match self.pieces.last_mut() {
            Some(last) if last.kind == kind => last.end = end,
            last => {
                if last.map_or(0, |last| last.end) < end {
                    self.pieces.push(Piece { end, kind });
                }
            }
        }
    }
}

/// Lines, up to a number.
#[derive(Debug)]
pub(super) struct Lines {
    done: Vec<Line>,
    line: Line,
    limit: usize,
    overflowed: bool,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Self {
        Self { done: Vec::new(), line: Line::default(), limit, overflowed: false }
    }

    /// There is no room for another line: whoever goes on lays out for nothing.
    pub(super) fn is_full(&self) -> bool {
        self.done.len() >= self.limit
    }

    /// The line under construction.
    pub(super) fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    pub(super) fn push(&mut self, kind: Kind, bytes: &[u8]) {
        if !self.is_full() {
            self.line.push_bytes(kind, bytes);
        }
    }

    /// The line is done.
    pub(super) fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.is_full() {
            self.overflowed = true;
        } else {
            self.done.push(line);
        }
    }

    /// The line is done, if there is anything on it.
    pub(super) fn end_started_line(&mut self) {
        if !self.line.text.is_empty() {
            self.end_line();
        }
    }

    /// Somebody stopped because it was full.
    pub(super) fn give_up(&mut self) {
        self.overflowed = true;
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed || self.is_full() && !self.line.text.is_empty()
    }

    pub(super) fn finish(mut self) -> Vec<Line> {
        self.end_started_line();
        self.done
    }
}
