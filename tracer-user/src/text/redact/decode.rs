//! Texts inside texts: JSON strings, percent-encoding, character references. A place in the inner text is brought back to its
//! place in the outer one, which stays as it was but for the marks.
//!
//! Own code, as decoders of crates report no positions.

use super::{
    span::{Quotes, Span},
    word::hex,
};

/// Encoding of a nested text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// In a JSON string (RFC 8259 section 7).
    Json,
    /// Percent-encoded (RFC 3986 section 2.1).
    Percent,
    /// Percent-encoded, with plus signs for blanks, as in queries and forms.
    Form,
    /// With the character references that quotes and brackets need in HTML and XML.
    Markup,
}

impl Coding {
    /// Whether decoding changes `text`.
    pub(super) fn is_in(self, text: &[u8]) -> bool {
        match self {
            Self::Json => memchr::memchr(b'\\', text).is_some(),
            Self::Percent => memchr::memchr_iter(b'%', text)
                .any(|at| text.get(at + 1..at + 3).is_some_and(|digits| hex(digits).is_some())),
            Self::Form => memchr::memchr(b'+', text).is_some(),
            Self::Markup => memchr::memchr_iter(b'&', text)
                .any(|at| matches!(reference(&text[at..]), Some((byte, _)) if !matches!(byte, b'&' | b' '))),
        }
    }

    /// The first character of `text`, which is not empty, as bytes, and how many bytes of it that takes.
    fn step(self, text: &[u8]) -> ([u8; 4], usize, usize) {
        let one = |byte: u8, taken| ([byte, 0, 0, 0], 1, taken);
        match (self, text) {
            (Self::Json, [b'\\', b'u', a, b, c, d, ..]) => match hex(&[*a, *b, *c, *d]) {
                Some(code) => {
                    let mut bytes = [0; 4];
                    // Half of a pair: some character, it does not matter which.
                    let length = char::from_u32(code).unwrap_or('\u{fffd}').encode_utf8(&mut bytes).len();
                    (bytes, length, 6)
                }
                None => one(b'\\', 1),
            },
            (Self::Json, [b'\\', escaped, ..]) => match escaped {
                b'n' => one(b'\n', 2),
                b'r' => one(b'\r', 2),
                b't' => one(b'\t', 2),
                b'b' | b'f' => one(b' ', 2),
                other => one(*other, 2),
            },
            (Self::Form, [b'+', ..]) => one(b' ', 1),
            (Self::Percent | Self::Form, [b'%', high, low, ..]) => match hex(&[*high, *low]) {
                Some(byte) => one(byte as u8, 3),
                None => one(b'%', 1),
            },
            (Self::Markup, [b'&', ..]) => {
                let (byte, taken) = reference(text).unwrap_or((b'&', 1));
                one(byte, taken)
            }
            (_, [byte, ..]) => one(*byte, 1),
            (_, []) => one(0, 1),
        }
    }

    /// Decodes a text.
    pub(super) fn undo(self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let (bytes, length, taken) = self.step(&text[at..]);
            out.extend_from_slice(&bytes[..length]);
            at += taken;
        }
        out
    }

    /// Maps ordered `spans` of the decoded text back to `text`, which begins at `offset` of the outer text.
    pub(super) fn bring_back(self, text: &[u8], offset: usize, spans: &mut [Span]) {
        let (mut at, mut inner) = (0, 0);
        let mut to = |place: usize| {
            while inner < place && at < text.len() {
                let (_, length, taken) = self.step(&text[at..]);
                at += taken;
                inner += length;
            }
            offset + at.min(text.len())
        };
        for span in spans {
            (span.start, span.end) = (to(span.start), to(span.end));
            span.quotes = span.quotes.map(|quotes| match self {
                Self::Json => quotes.in_string(),
                Self::Percent | Self::Form | Self::Markup => Quotes::Encoded,
            });
        }
    }
}

/// The character reference that `text` begins with, of a character that matters here, and its length.
fn reference(text: &[u8]) -> Option<(u8, usize)> {
    const NAMED: [(&[u8], u8); 6] =
        [(b"&quot;", b'"'), (b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&apos;", b'\''), (b"&nbsp;", b' ')];
    if let Some((name, byte)) = NAMED.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((*byte, name.len()));
    }
    let digits = text.strip_prefix(b"&#")?;
    let end = digits.iter().take(8).position(|byte| *byte == b';')?;
    let number = std::str::from_utf8(&digits[..end]).ok()?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(number) => u32::from_str_radix(number, 16).ok()?,
        None => number.parse().ok()?,
    };
    Some((u8::try_from(code).ok().filter(u8::is_ascii)?, end + 3))
}
