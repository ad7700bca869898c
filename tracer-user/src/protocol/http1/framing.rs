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
        None => Framing::Length(content_length(&head.headers).unwrap_or(0)),
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
        None => content_length(&head.headers).map_or(Framing::UntilClose, Framing::Length),
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

/// The content length, where there is a valid one. A list of equal numbers counts as one (RFC 9110 section 8.6); with
/// different ones the first is taken, as lenient peers do.
fn content_length(headers: &Fields) -> Option<u64> {
    let value = headers.get("content-length")?;
    let first = value.split(|byte| *byte == b',').next()?.trim_ascii();
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(first).ok()?.parse().ok()
}
