//! How long a message's content is: RFC 9112 section 6.3.

use super::head::StartLine;
use crate::model::exchange::Fields;

/// Framing of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection is closed.
    UntilClose,
    /// The connection is no longer HTTP after this head (101, or 2xx to CONNECT).
    Switch,
}

/// The fields of a header section that delimit its message, read in one pass: this runs for each message.
pub struct Delimiters {
    /// Whether chunked is the final transfer coding; `None` without a transfer coding.
    chunked: Option<bool>,
    length: Length,
    /// Whether the sender closes the connection after the message (RFC 9112 section 9.6).
    pub closes: bool,
}

impl Delimiters {
    /// Reads them. The last `Transfer-Encoding` line has the final coding.
    pub fn of(headers: &Fields) -> Self {
        let mut delimiters = Self { chunked: None, length: Length::None, closes: false };
        for (name, value) in headers.iter() {
            // Lengths differ, so that most names cost one comparison.
            match name.len() {
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    let is_close = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"close");
                    delimiters.closes |= value.split(|byte| *byte == b',').any(is_close);
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    delimiters.length = delimiters.length.and(value);
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => delimiters.chunked = final_is_chunked(value),
                _ => {}
            }
        }
        delimiters
    }

    /// Framing of a request's content.
    pub fn request(&self) -> Framing {
        match (self.chunked, self.length) {
            (Some(true), _) => Framing::Chunked,
            // Section 6.3 item 4: a request whose final coding is not chunked has no reliable length; servers answer
            // 400 and close, so what follows is not another message. Item 5: an invalid length is as bad.
            (Some(false), _) | (None, Length::Invalid) => Framing::UntilClose,
            (None, Length::None) => Framing::Length(0),
            (None, Length::Bytes(length)) => Framing::Length(length),
        }
    }

    /// Framing of a response's content. `method` is that of its request, `None` where that was not seen.
    pub fn response(&self, start: &StartLine, method: Option<&str>) -> Framing {
        let StartLine::Status { status, .. } = start else {
            return Framing::UntilClose;
        };
        match status {
            101 => return Framing::Switch,
            100..=199 | 204 | 304 => return Framing::Length(0),
            200..=299 if method == Some("CONNECT") => return Framing::Switch,
            _ if method == Some("HEAD") => return Framing::Length(0),
            _ => {}
        }
        match (self.chunked, self.length) {
            (Some(true), _) => Framing::Chunked,
            (None, Length::Bytes(length)) => Framing::Length(length),
            (Some(false), _) | (None, Length::None | Length::Invalid) => Framing::UntilClose,
        }
    }

    /// Whether there is no valid length where a length counts.
    pub fn contradict(&self) -> bool {
        self.chunked.is_none() && self.length == Length::Invalid
    }
}

/// Whether the last coding of a line is chunked; `None` where that is `identity`, which codes nothing.
fn final_is_chunked(value: &[u8]) -> Option<bool> {
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    (!last.eq_ignore_ascii_case(b"identity")).then(|| last.eq_ignore_ascii_case(b"chunked"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    None,
    Bytes(u64),
    Invalid,
}

impl Length {
    /// With another line's value. Equal numbers, in one field or several, count as one (RFC 9110 section 8.6); different
    /// ones contradict each other (RFC 9112 section 6.3 item 5).
    fn and(self, value: &[u8]) -> Self {
        value.split(|byte| *byte == b',').fold(self, |length, digits| match (number(digits), length) {
            (Some(new), Self::None) => Self::Bytes(new),
            (Some(new), Self::Bytes(old)) if new == old => length,
            _ => Self::Invalid,
        })
    }
}

/// A decimal number with nothing beside it but white space.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    // `parse` takes a sign, the field does not.
    let digits = digits.first()?.is_ascii_digit().then_some(digits)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
