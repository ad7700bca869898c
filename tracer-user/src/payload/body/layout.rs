//! Construction of lines.

use std::fmt::Write as _;

use crate::text::escape::Visible;

/// Kind of a piece of a line. The screen selects its style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain text.
    Plain,
    /// Name of a member, field or header.
    Key,
    /// A string, or another value in words.
    String,
    /// A number.
    Number,
    /// `true`, `false`, `null`.
    Literal,
    /// Punctuation.
    Punctuation,
    /// Less important: offsets, comments, boundaries.
    Faint,
    /// A note on the body, not part of it.
    Note,
}

/// A piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index after the last byte; the piece begins at the end of the previous piece.
    pub end: usize,
    /// Kind of the piece.
    pub kind: Kind,
}

/// A line of text, harmless for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Complete text.
    pub text: String,
    /// Pieces, which cover the text.
    pub pieces: Vec<Piece>,
}

impl Line {
    /// Creates a line of one piece.
    pub fn new(kind: Kind, text: &str) -> Self {
        let mut line = Self::default();
        line.push(kind, text);
        line
    }

    /// Appends text, escaped.
    pub fn push(&mut self, kind: Kind, text: &str) {
        // A String takes everything.
        let _ = write!(self.text, "{}", Visible(text));
        self.covered(kind);
    }

    /// Appends bytes, escaped; bytes that are not UTF-8 become `\xNN`.
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

/// A bounded list of lines.
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

    /// Whether the maximum number of lines is reached, so that further layout is wasted.
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

    /// Ends the line.
    pub(super) fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.is_full() {
            self.overflowed = true;
        } else {
            self.done.push(line);
        }
    }

    /// Ends the line unless it is empty.
    pub(super) fn end_started_line(&mut self) {
        if !self.line.text.is_empty() {
            self.end_line();
        }
    }

    /// Records that a layout stopped at the maximum.
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
