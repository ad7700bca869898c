//! Marks, which replace secrets.
//!
//! A mark is `***`, or `***` with four hex digits: the same secret has the same digits, so that "all attempts sent the same
//! token" stays visible. The digits come from SipHash-2-4, a pseudorandom function, under a key of the trace: without the
//! key a mark confirms no guess. A secret of few possible values gets no digits at all: whoever can put values of his own
//! into the same trace could compare their marks with it.

use std::{fmt, hash::Hasher as _, ops::Deref};

use siphasher::{sip::SipHasher24, sip128};

use super::word::hex;

/// Length of the longest mark.
pub(super) const MARK_LENGTH: usize = 7;
/// Minimum length of a secret whose mark has digits.
const SHORT: usize = 8;
/// Length of a key in bytes.
const KEY_LENGTH: usize = 16;

/// Key of the marks of a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MarkKey([u8; KEY_LENGTH]);

impl MarkKey {
    /// Minimum size of a key file in bytes. Anyone who guesses a key can compute marks.
    pub const LEAST: usize = KEY_LENGTH;

    /// Creates a key from secret bytes.
    pub const fn new(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    /// Derives a key from the contents of a key file; `None` if they are too short.
    pub fn of_contents(contents: &[u8]) -> Option<Self> {
        if contents.len() < Self::LEAST {
            return None;
        }
        let mut hasher = sip128::SipHasher24::new_with_key(b"pidtap mark key\0");
        hasher.write(contents);
        Some(Self(sip128::Hasher128::finish128(&hasher).as_bytes()))
    }

    /// Hex digits, as in a recording.
    pub fn to_hex(self) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
    }

    /// Parses the output of [`to_hex`](Self::to_hex).
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * KEY_LENGTH {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut key = [0; KEY_LENGTH];
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Some(Self(key))
    }
}

/// Omits the key, which is a secret itself.
impl fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MarkKey")
    }
}

/// Creates marks. Without a key, no mark has digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) key: Option<MarkKey>,
}

impl Marker {
    /// The mark of `secret`.
    pub(super) fn mark(self, secret: &[u8]) -> Mark {
        if let Some(mark) = Mark::read(secret) {
            return mark;
        }
        let Some(key) = self.key.filter(|_| !has_few_values(secret)) else { return Mark::PLAIN };
        let mut hasher = SipHasher24::new_with_key(&key.0);
        hasher.write(secret);
        let hash = hasher.finish();
        let mut mark = Mark { bytes: *b"***0000", length: MARK_LENGTH };
        for (index, digit) in mark.bytes[3..].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(hash >> (60 - 4 * index)) as usize & 0xf];
        }
        mark
    }
}

/// A mark: `***`, with or without digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    bytes: [u8; MARK_LENGTH],
    length: usize,
}

impl Mark {
    /// The mark without digits.
    pub(super) const PLAIN: Self = Self { bytes: *b"***\0\0\0\0", length: 3 };

    /// Parses a mark, so that marked text keeps its mark.
    fn read(text: &[u8]) -> Option<Self> {
        let digits = text.strip_prefix(b"***")?;
        let is_mark = digits.is_empty()
            || digits.len() == MARK_LENGTH - 3 && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut mark = Self::PLAIN;
        mark.bytes[3..3 + digits.len().min(MARK_LENGTH - 3)]
            .copy_from_slice(&digits[..digits.len().min(MARK_LENGTH - 3)]);
        mark.length = 3 + digits.len();
        is_mark.then_some(mark)
    }
}

impl Deref for Mark {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Whether a secret has few possible values: it is short, or consists of digits and separators, escaped or not, such as a PIN, a
/// card number or a date.
fn has_few_values(secret: &[u8]) -> bool {
    let mut length = 0;
    let mut other = false;
    let mut rest = secret;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => (hex(&[*high, *low]), tail),
            (b'\\', [b'u' | b'U', a, b, c, d, tail @ ..]) => (hex(&[*a, *b, *c, *d]), tail),
            _ => (Some(u32::from(*first)), tail),
        };
        rest = tail;
        length += 1;
        let byte = byte.and_then(char::from_u32).unwrap_or('x');
        other |= !byte.is_ascii_digit() && !" -+./,:_\"'\\".contains(byte);
    }
    length < SHORT || !other
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { key: Some(MarkKey::new(*b"0123456789abcdef")) };

    fn text(marker: Marker, secret: &str) -> String {
        String::from_utf8(marker.mark(secret.as_bytes()).to_vec()).expect("ASCII")
    }

    #[test]
    fn a_key_gives_the_same_marks_for_ever() {
        // A recording holds its key: opened later, it must show the same.
        assert_eq!(text(MARKER, "correct horse"), "***a62c");
        assert_eq!(text(MARKER, "correct horse"), text(MARKER, "correct horse"));
        assert_ne!(text(MARKER, "correct horse"), text(MARKER, "correct horsf"));
        let other = Marker { key: Some(MarkKey::new(*b"0123456789abcdeF")) };
        assert_ne!(text(other, "correct horse"), text(MARKER, "correct horse"));
        assert_eq!(text(Marker::default(), "correct horse"), "***");
    }

    #[test]
    fn few_values_have_no_digits() {
        for secret in
            ["", "1234", "short", "4111 1111 1111 1111", "123-45-6789", "%31%32%33%34%35%36%37%38", "\\u0031234567890"]
        {
            assert_eq!(text(MARKER, secret), "***", "{secret}");
        }
        assert_eq!(text(MARKER, "12345678x").len(), MARK_LENGTH);
    }

    #[test]
    fn keys_are_kept_and_made() {
        let key = MarkKey::new(*b"0123456789abcdef");
        assert_eq!(MarkKey::from_hex(&key.to_hex()), Some(key));
        for wrong in ["", "0g", "00", &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(MarkKey::from_hex(wrong), None);
        }
        assert_eq!(MarkKey::of_contents(b"fifteen bytes.."), None);
        let made = |contents: &[u8]| MarkKey::of_contents(contents).expect("long enough");
        assert_eq!(made(b"sixteen bytes..."), made(b"sixteen bytes..."));
        assert_ne!(made(b"sixteen bytes..."), made(b"sixteen bytes.!!"));
        assert_eq!(format!("{key:?}"), "MarkKey");
    }
}
