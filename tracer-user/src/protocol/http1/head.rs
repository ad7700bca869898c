//! Head of a message: start line and header section.
//!
//! httparse parses heads. A lenient parser reads heads that httparse rejects but real peers exchange (obsolete folding
//! in requests, stray lines), so that such messages are still shown.

use std::mem::MaybeUninit;

use memchr::memchr;

use crate::model::exchange::{Fields, Span, Version};

/// Maximum length of a head in bytes. Servers that allow large headers stop at 64 KiB to 256 KiB; longer input is not a
/// head.
pub const MAX_HEAD: usize = 512 * 1024;
/// Maximum number of header lines for httparse. Heads with more lines go to the lenient parser.
const FAST_LINES: usize = 96;
/// Maximum number of header lines. Further lines are ignored.
const MAX_LINES: usize = 16 * 1024;

/// First line of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// Request line.
    Request {
        /// Method, as sent.
        method: Box<str>,
        /// Request target, as sent.
        target: Box<str>,
    },
    /// Status line.
    Status {
        /// Status code.
        status: u16,
        /// Reason phrase; may be empty.
        reason: Box<str>,
    },
}

/// A parsed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// First line.
    pub start: StartLine,
    /// HTTP version of the first line.
    pub version: Version,
    /// Header section.
    pub headers: Fields,
}

/// Kind of message that a direction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The direction carries requests.
    Request,
    /// The direction carries responses.
    Response,
}

/// Result of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseResult {
    /// A complete head and its length in bytes.
    Complete(Head, usize),
    /// The end of the head is missing.
    Partial,
    /// The bytes are not a head.
    Invalid,
}

/// Parses a head from the start of `bytes`.
pub fn parse(kind: MessageKind, bytes: &[u8]) -> ParseResult {
    let mut lines = [const { MaybeUninit::uninit() }; FAST_LINES];
    let fast = match kind {
        MessageKind::Request => parse_request(bytes, &mut lines),
        MessageKind::Response => parse_response(bytes, &mut lines),
    };
    match fast {
        Ok(httparse::Status::Complete((head, length))) => ParseResult::Complete(head, length),
        Ok(httparse::Status::Partial) => ParseResult::Partial,
        Err(_) => match find_end(bytes, 0) {
            Some(end) => {
                lenient(kind, &bytes[..end]).map_or(ParseResult::Invalid, |head| ParseResult::Complete(head, end))
            }
            None => ParseResult::Partial,
        },
    }
}

type Parsed = Result<httparse::Status<(Head, usize)>, httparse::Error>;

fn parse_request<'b>(bytes: &'b [u8], lines: &mut [MaybeUninit<httparse::Header<'b>>]) -> Parsed {
    let mut request = httparse::Request::new(&mut []);
    let status = httparse::ParserConfig::default()
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .parse_request_with_uninit_headers(&mut request, bytes, lines)?;
    let httparse::Status::Complete(length) = status else {
        return Ok(httparse::Status::Partial);
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(httparse::Error::Token);
    };
    let start = StartLine::Request { method: method.into(), target: target.into() };
    let headers = fields(bytes, request.headers);
    Ok(httparse::Status::Complete((Head { start, version: version_of(version), headers }, length)))
}

fn parse_response<'b>(bytes: &'b [u8], lines: &mut [MaybeUninit<httparse::Header<'b>>]) -> Parsed {
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .parse_response_with_uninit_headers(&mut response, bytes, lines)?;
    let httparse::Status::Complete(length) = status else {
        return Ok(httparse::Status::Partial);
    };
    let (Some(code), Some(version)) = (response.code, response.version) else {
        return Err(httparse::Error::Status);
    };
    let start = StartLine::Status { status: code, reason: response.reason.unwrap_or_default().into() };
    let headers = fields(bytes, response.headers);
    Ok(httparse::Status::Complete((Head { start, version: version_of(version), headers }, length)))
}

fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Copies the header section once; the field lines are spans of the copy.
fn fields(bytes: &[u8], headers: &[httparse::Header<'_>]) -> Fields {
    let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
        return Fields::default();
    };
    let base = bytes.as_ptr().addr();
    let start = first.name.as_ptr().addr() - base;
    // An empty value may be a slice outside `bytes`; the name never is.
    let end = (last.name.as_ptr().addr() - base + last.name.len()).max(if last.value.is_empty() {
        0
    } else {
        last.value.as_ptr().addr() - base + last.value.len()
    });
    let span = |part: &[u8]| {
        if part.is_empty() {
            return Span { start: 0, end: 0 };
        }
        let offset = part.as_ptr().addr() - base - start;
        Span { start: offset as u32, end: (offset + part.len()) as u32 }
    };
    Fields {
        lines: headers.iter().map(|header| (span(header.name.as_bytes()), span(header.value))).collect(),
        bytes: bytes[start..end].to_vec(),
    }
}

/// Finds the end of the head, one past the empty line. The search begins 3 bytes before `from`, so that it finds an
/// empty line that a previous search saw in part. A bare LF also ends a line (RFC 9112 section 2.2).
pub fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(3);
    while let Some(feed) = memchr(b'\n', bytes.get(at..)?) {
        at += feed + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Parses a head as tolerant servers do: joins folded lines with a space (RFC 9112 section 5.2), drops white space
/// before the colon, and ignores lines without a colon.
fn lenient(kind: MessageKind, bytes: &[u8]) -> Option<Head> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.by_ref().find(|line| !line.is_empty())?;
    let first = String::from_utf8_lossy(first);
    let (start, version) = match kind {
        MessageKind::Request => {
            let (method, rest) = first.split_once(' ')?;
            let (target, version) = rest.trim_end().rsplit_once(' ')?;
            let start = StartLine::Request { method: method.into(), target: target.trim().into() };
            (start, version.to_owned())
        }
        MessageKind::Response => {
            let (version, rest) = first.split_once(' ')?;
            let rest = rest.trim_start();
            let (status, reason) = rest.split_once(' ').unwrap_or((rest.trim_end(), ""));
            let start = StartLine::Status { status: status.parse().ok()?, reason: reason.trim_end().into() };
            (start, version.to_owned())
        }
    };
    let version = match version.as_bytes() {
        [name @ .., b'0'] if name.eq_ignore_ascii_case(b"HTTP/1.") => Version::Http10,
        [name @ .., b'1'..=b'9'] if name.eq_ignore_ascii_case(b"HTTP/1.") => Version::Http11,
        _ => return None,
    };
    Some(Head { start, version, headers: lenient_fields(lines) })
}

/// Parses an incomplete head that has ended: the start line as far as it was received, and the complete lines.
pub fn partial(kind: MessageKind, bytes: &[u8]) -> Option<Head> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let bytes = &bytes[start..];
    let line_end = memchr(b'\n', bytes);
    if let Some(last) = memchr::memrchr(b'\n', bytes)
        && let Some(head) = lenient(kind, &bytes[..=last])
    {
        return Some(head);
    }
    let line = &bytes[..line_end.unwrap_or(bytes.len())];
    let text = String::from_utf8_lossy(line.trim_ascii_end());
    let mut words = text.splitn(3, ' ');
    let (first, second) = (words.next()?, words.next()?);
    let start = match kind {
        MessageKind::Request => StartLine::Request { method: first.into(), target: second.into() },
        MessageKind::Response => {
            StartLine::Status { status: second.parse().ok()?, reason: words.next().unwrap_or_default().into() }
        }
    };
    Some(Head { start, version: Version::Http11, headers: Fields::default() })
}

/// Parses header or trailer lines by the rules of [`lenient`].
pub fn lenient_fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Fields {
    let mut pairs: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for line in lines.take(MAX_LINES) {
        if let [b' ' | b'\t', ..] = line {
            if let Some((_, value)) = pairs.last_mut() {
                let more = line.trim_ascii();
                if !value.is_empty() && !more.is_empty() {
                    value.push(b' ');
                }
                value.extend_from_slice(more);
            }
        } else if let Some(colon) = memchr(b':', line) {
            pairs.push((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii().to_vec()));
        }
    }
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.push(name, &value);
    }
    fields
}
