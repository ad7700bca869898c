//! How long a message's content is: RFC 9112 section 6.3.

use super::head::{Head, StartLine};
use crate::exchange::Fields;

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

/// Framing of a request's content.
pub fn of_request(head: &Head) -> Framing {
    match transfer_coding(&head.headers) {
        // Section 6.3 item 4: a request whose final coding is not chunked has no reliable length; servers answer 400
        // and close, so what follows is not another message.
        Some(chunked) => {
            if chunked {
                Framing::Chunked
            } else {
                Framing::UntilClose
            }
        }
        // Item 5: an invalid length is as bad.
        None => match content_length(&head.headers) {
            Length::None => Framing::Length(0),
            Length::Bytes(length) => Framing::Length(length),
            Length::Invalid => Framing::UntilClose,
        },
    }
}

/// Framing of a response's content. `method` is that of its request, `None` where that was not seen.
pub fn of_response(head: &Head, method: Option<&str>) -> Framing {
    let StartLine::Status { status, .. } = head.start else {
        return Framing::UntilClose;
    };
    match status {
        101 => return Framing::Switch,
        100..=199 | 204 | 304 => return Framing::Length(0),
        200..=299 if method == Some("CONNECT") => return Framing::Switch,
        _ if method == Some("HEAD") => return Framing::Length(0),
        _ => {}
    }
    match transfer_coding(&head.headers) {
        Some(true) => Framing::Chunked,
        Some(false) => Framing::UntilClose,
        None => match content_length(&head.headers) {
            Length::Bytes(length) => Framing::Length(length),
            Length::None | Length::Invalid => Framing::UntilClose,
        },
    }
}

/// `Some(true)` where chunked is the final transfer coding, `Some(false)` where another is, `None` where there is none.
fn transfer_coding(headers: &Fields) -> Option<bool> {
    let value = headers.get_all("transfer-encoding").last()?;
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if last.eq_ignore_ascii_case(b"identity") {
        return None;
    }
    Some(last.eq_ignore_ascii_case(b"chunked"))
}

/// Whether the header section asks for an end of the connection after the message (RFC 9112 section 9.6).
pub fn closes(headers: &Fields) -> bool {
    let is_close = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"close");
    headers.get_all("connection").any(|value| value.split(|byte| *byte == b',').any(is_close))
}

/// Whether the header section gives no valid length where it gives one that counts.
pub fn contradicts(headers: &Fields) -> bool {
    transfer_coding(headers).is_none() && matches!(content_length(headers), Length::Invalid)
}

enum Length {
    None,
    Bytes(u64),
    Invalid,
}

/// The content length. Equal numbers, in one field or several, count as one (RFC 9110 section 8.6); different ones
/// contradict each other (RFC 9112 section 6.3 item 5).
fn content_length(headers: &Fields) -> Length {
    let mut length = Length::None;
    for value in headers.get_all("content-length").flat_map(|value| value.split(|byte| *byte == b',')) {
        let digits = value.trim_ascii();
        let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let parsed = std::str::from_utf8(digits).ok().filter(|_| valid).and_then(|digits| digits.parse().ok());
        length = match (parsed, length) {
            (Some(new), Length::None) => Length::Bytes(new),
            (Some(new), Length::Bytes(old)) if new == old => Length::Bytes(old),
            _ => return Length::Invalid,
        };
    }
    length
}
