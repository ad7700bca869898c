//! Spans of a text that are masked.

use super::mark::Mark;

/// A span to mask, and its replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    /// Index after the last byte.
    pub(super) end: usize,
    /// The secret has so few possible values that its mark has no digits.
    pub(super) few: bool,
    /// Mark; `None` until the end of the search, unless it comes from a nested text.
    pub(super) mark: Option<Mark>,
    /// The mark is put into quotes, as it stands where JSON has a number; each time that a text was inside another, they have
    /// so many backslashes more.
    pub(super) quotes: Option<Quotes>,
}

impl Span {
    /// Extends the span to whole characters of UTF-8.
    pub(super) fn keep_characters(&mut self, text: &[u8]) {
        let goes_on = |at: usize| text.get(at).is_some_and(|byte| (0x80..0xc0).contains(byte));
        // A character has four bytes at most.
        let before = (0..3).find(|back| !goes_on(self.start - (*back).min(self.start))).unwrap_or(0);
        let behind = (0..3).find(|more| !goes_on(self.end + more)).unwrap_or(3);
        self.start -= before.min(self.start);
        self.end = (self.end + behind).min(text.len());
    }
}

/// Most backslashes before a quote that is added: two levels of JSON in JSON. Each level doubles them, and a text of single digits
/// so deep would become thirty times as long. Deeper, a mark has no quotes, and what is around it stays one string.
const DEEPEST: u8 = 3;

/// Quotes around a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// `"***"`, with so many backslashes before each quote.
    Escaped(u8),
    /// `%22***%22`: other encodings are not counted.
    Encoded,
}

impl Quotes {
    /// The quotes as escaped in a JSON string.
    pub(super) fn in_string(self) -> Self {
        match self {
            Self::Escaped(backslashes) => Self::Escaped(backslashes.saturating_mul(2).saturating_add(1)),
            Self::Encoded => self,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Escaped(backslashes) if backslashes > DEEPEST => {}
            Self::Escaped(backslashes) => {
                out.resize(out.len() + usize::from(backslashes), b'\\');
                out.push(b'"');
            }
            Self::Encoded => out.extend_from_slice(b"%22"),
        }
    }
}

/// Sorts spans and merges those that overlap.
pub(super) fn settle(spans: &mut Vec<Span>) {
    // For the same span, a mark from a nested text wins, as it knows the encoding.
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.mark.is_none()));
    let mut kept: usize = 0;
    for index in 0..spans.len() {
        let span = spans[index];
        match kept.checked_sub(1).map(|last| &mut spans[last]) {
            Some(last) if span.start < last.end => {
                if span.end > last.end {
                    (last.end, last.mark) = (span.end, None);
                }
            }
            _ => {
                spans[kept] = span;
                kept += 1;
            }
        }
    }
    spans.truncate(kept);
}

/// Replaces the spans of a text by their marks.
pub(super) fn apply(text: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for span in spans {
        out.extend_from_slice(&text[copied..span.start]);
        if let Some(quotes) = span.quotes {
            quotes.write(&mut out);
        }
        out.extend_from_slice(&span.mark.unwrap_or(Mark::PLAIN));
        if let Some(quotes) = span.quotes {
            quotes.write(&mut out);
        }
        copied = span.end;
    }
    out.extend_from_slice(&text[copied..]);
    out
}
