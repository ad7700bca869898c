//! Shape of a body, by its declared type and its bytes.

use strum::IntoStaticStr;

use super::Content;

/// Shape of a body, which selects its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Shape {
    /// No bytes.
    Empty,
    /// JSON (RFC 8259), one document or several in sequence.
    #[strum(serialize = "JSON")]
    Json,
    /// `a=1&b=2` (`application/x-www-form-urlencoded`).
    Form,
    /// `text/event-stream`.
    #[strum(serialize = "events")]
    EventStream,
    /// Parts with header fields (RFC 2046 section 5.1).
    Multipart,
    /// Other text.
    Text,
    /// Binary content.
    #[strum(serialize = "bytes")]
    Binary,
}

impl Shape {
    /// Name for display.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Guesses the shape. `content_type` is empty if the sender declares none, or if the content is still encoded.
    pub(super) fn of(content_type: &[u8], content: &Content<'_>) -> Self {
        Self::of_bytes(content_type, &content.bytes, content.text().is_some())
    }

    pub(super) fn of_bytes(content_type: &[u8], bytes: &[u8], is_utf8: bool) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        let media_type = media_type(content_type);
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let textual = is_utf8 || is_mostly_text(bytes);
        if textual && (looks_like_json(bytes) || is_json(media_type) && begins_like_json(bytes)) {
            return Self::Json;
        }
        if starts_with(media_type, "multipart/") {
            return Self::Multipart;
        }
        // A few invalid bytes are shown escaped.
        if has_controls(bytes) || !textual && !is_latin1(content_type) {
            return Self::Binary;
        }
        if is("application/x-www-form-urlencoded") || media_type.is_empty() && looks_like_form(bytes) {
            Self::Form
        } else if is("text/event-stream") {
            Self::EventStream
        } else {
            Self::Text
        }
    }
}

/// `text/plain` of `text/plain; charset=utf-8`.
fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

fn starts_with(text: &[u8], prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// `application/json`, `application/problem+json`, `application/x-ndjson`.
fn is_json(media_type: &[u8]) -> bool {
    media_type.len() >= 4 && media_type[media_type.len() - 4..].eq_ignore_ascii_case(b"json")
        || starts_with(media_type, "application/json")
}

fn begins_like_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start(), [b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n', ..])
}

/// Whether the bytes look like JSON. Many senders declare JSON as a form, as text, or not at all.
fn looks_like_json(bytes: &[u8]) -> bool {
    let (first, rest) = match bytes.trim_ascii_start() {
        [first, rest @ ..] => (first, rest.trim_ascii_start()),
        [] => return false,
    };
    match first {
        b'{' => matches!(rest, [b'"' | b'}', ..]),
        b'[' => matches!(
            rest,
            [b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9', ..]
                | [b't', b'r', ..]
                | [b'f', b'a', ..]
                | [b'n', b'u', ..]
        ),
        _ => false,
    }
}

/// Whether the bytes look like `a=1&b=2`, without characters that a form encodes.
fn looks_like_form(bytes: &[u8]) -> bool {
    bytes.contains(&b'=') && !bytes.iter().any(|byte| *byte <= b' ' || b"{}<>\"".contains(byte))
}

/// Whether the declared charset is ISO 8859-1, or one that browsers treat as such.
pub(super) fn is_latin1(content_type: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"iso-8859-1", b"latin1", b"windows-1252", b"us-ascii"];
    let lower = content_type.to_ascii_lowercase();
    let Some(at) = memchr::memmem::find(&lower, b"charset=") else { return false };
    let name = lower[at + 8..].trim_ascii_start();
    let name = name.strip_prefix(b"\"").unwrap_or(name);
    NAMES.iter().any(|known| name.starts_with(known))
}

/// Whether control characters show that the bytes are UTF-8 by chance.
fn has_controls(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4096)];
    let controls = start.iter().filter(|byte| is_control(**byte)).count();
    // Escape sequences are text, if not of a kind to be shown as they are.
    start.contains(&0) || controls * 10 > start.len()
}

fn is_mostly_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4096)];
    let odd: usize = start.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    !has_controls(bytes) && odd * 10 <= start.len()
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)
}
