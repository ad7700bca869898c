//! Multipart bodies (RFC 2046 section 5.1; forms: RFC 7578).

use memchr::memmem;

use super::{
    Marker, keys,
    name::{Place, is_secret},
};

/// Contents of parts with secret names, and secret keys in the others; `None` where nothing is to be hidden. A body that
/// was cut off is hidden to its end, where that is inside a secret.
pub(super) fn mask(content_type: &[u8], body: &[u8], marker: Marker) -> Option<Vec<u8>> {
    let Some(boundary) = parameter(content_type, b"boundary").filter(|boundary| !boundary.is_empty()) else {
        return keys(body, marker);
    };
    let delimiter = [b"--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    // A line of its own, or a secret could hold one and show its rest.
    let is_line = |at: &usize| {
        (*at == 0 || body[..*at].ends_with(b"\n"))
            && matches!(
                body[at + delimiter.len()..],
                [] | [b'\r' | b'\n' | b' ' | b'\t', ..] | [b'-'] | [b'-', b'-', ..]
            )
    };
    let mut starts = finder.find_iter(body).filter(is_line).map(|at| at + delimiter.len()).peekable();
    while let Some(start) = starts.next() {
        let end = starts.peek().map_or(body.len(), |next| next - delimiter.len());
        let Some(head) = memmem::find(&body[start..end], b"\r\n\r\n") else { continue };
        let content = start + head + 4;
        // The line break before the delimiter belongs to it.
        let end = if end < body.len() && body[content..end].ends_with(b"\r\n") { end - 2 } else { end };
        let secret = parameter(&body[start..content], b"name").is_some_and(|name| is_secret(name, Place::Form));
        let masked = if secret && end > content {
            Some(marker.mark(&body[content..end]).to_vec())
        } else {
            keys(&body[content..end], marker)
        };
        if let Some(masked) = masked {
            let out = out.get_or_insert_default();
            out.extend_from_slice(&body[copied..content]);
            out.extend_from_slice(&masked);
            copied = end;
        }
    }
    out.as_mut()?.extend_from_slice(&body[copied..]);
    out
}

/// The value of `name="value"` or `name=value` in a header section.
fn parameter<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = (0..text.len()).find(|&at| {
        let rest = &text[at..];
        rest.get(name.len()) == Some(&b'=')
            && rest[..name.len()].eq_ignore_ascii_case(name)
            // Not the end of `filename=`.
            && (at == 0 || matches!(text[at - 1], b' ' | b'\t' | b';' | b'\n'))
    })?;
    let value = &text[start + name.len() + 1..];
    let (value, ends): (_, &[u8]) = match value.strip_prefix(b"\"") {
        Some(value) => (value, b"\"\r\n"),
        None => (value, b"; \t\r\n"),
    };
    Some(&value[..value.iter().position(|byte| ends.contains(byte)).unwrap_or(value.len())])
}
