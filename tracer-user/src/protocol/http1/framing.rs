//! Length of the content of a message: RFC 9112 section 6.3.

use super::head::StartLine;
use crate::model::exchange::Fields;

/// Framing of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A fixed number of bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// All bytes until the connection is closed.
    UntilClose,
    /// The connection leaves HTTP after this head (101, or 2xx to CONNECT).
    Switch,
}

/// Fields of a header section that delimit a message. One pass reads them all, as this runs for each message.
pub struct Delimiters {
    /// Whether the final transfer coding is chunked; `None` without a transfer coding.
    chunked: Option<bool>,
    length: Length,
    /// Whether the sender closes the connection after the message (RFC 9112 section 9.6).
    pub closes: bool,
}

impl Delimiters {
    /// Reads the delimiters from `headers`. The last `Transfer-Encoding` line determines the final coding.
    pub fn of(headers: &Fields) -> Self {
        let mut delimiters = Self { chunked: None, length: Length::None, closes: false };
        for (name, value) in headers.iter() {
            // The names differ in length, so most names cost one comparison.
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
            // RFC 9112 section 6.3 item 4: a request whose final coding is not chunked has no reliable length. Servers
            // send 400 and close, so the following bytes are not another message. The same holds for an invalid length
            // (item 5).
            (Some(false), _) | (None, Length::Invalid) => Framing::UntilClose,
            (None, Length::None) => Framing::Length(0),
            (None, Length::Bytes(length)) => Framing::Length(length),
        }
    }

    /// Framing of a response's content. `method` is the method of its request, `None` if that was not seen.
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

    /// Whether the length is invalid and no transfer coding overrides it.
    pub fn contradict(&self) -> bool {
        self.chunked.is_none() && self.length == Length::Invalid
    }
}

/// Whether the last coding of a line is chunked; `None` if it is `identity`, which is no coding.
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
    /// Combines the length with the value of another line. Equal numbers, in one field or several, count as one (RFC
    /// 9110 section 8.6). Different numbers make the length invalid (RFC 9112 section 6.3 item 5).
    fn and(self, value: &[u8]) -> Self {
        value.split(|byte| *byte == b',').fold(self, |length, digits| match (number(digits), length) {
            (Some(new), Self::None) => Self::Bytes(new),
            (Some(new), Self::Bytes(old)) if new == old => length,
            _ => Self::Invalid,
        })
    }
}

/// Parses a decimal number, with optional white space around it.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    // `parse` accepts a sign, the field does not.
    let digits = digits.first()?.is_ascii_digit().then_some(digits)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
