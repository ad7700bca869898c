//! Reader of multipart bodies (RFC 2046 section 5.1; forms: RFC 7578), also with bare line feeds.

use memchr::{memchr, memmem};

/// The delimiter of a `Content-Type`: two dashes and the boundary.
pub(crate) fn delimiter(content_type: &[u8]) -> Option<Vec<u8>> {
    let boundary = parameter(content_type, b"boundary").filter(|boundary| !boundary.is_empty())?;
    Some([b"--", boundary].concat())
}

/// Start of each delimiter. A delimiter is a line of its own; two dashes follow the last one.
pub(crate) fn delimiters<'a>(text: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memmem::find_iter(text, delimiter).filter(move |&at| {
        let begins = at == 0 || text[at - 1] == b'\n';
        let behind = &text[at + delimiter.len()..];
        begins && matches!(behind, [] | [b'\r' | b'\n' | b' ' | b'\t', ..] | [b'-'] | [b'-', b'-', ..])
    })
}

/// The content of a part without its last line break, which belongs to the next delimiter.
pub(crate) fn content(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// Length of a header section with its empty line; `None` if the text ends first.
pub(crate) fn end_of_head(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr(b'\n', &text[at..]) {
        let line = &text[at..at + found];
        at += found + 1;
        if line.is_empty() || line == b"\r" {
            return Some(at);
        }
    }
    None
}

/// The value of `name="value"` or `name=value` in a field or a header section.
pub(crate) fn parameter<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = (0..text.len()).find(|&at| {
        let rest = &text[at..];
        rest.get(name.len()) == Some(&b'=')
            && rest[..name.len()].eq_ignore_ascii_case(name)
            // The end of `filename=` is not `name=`.
            && (at == 0 || matches!(text[at - 1], b' ' | b'\t' | b';' | b'\n'))
    })?;
    let value = &text[start + name.len() + 1..];
    let (value, ends): (_, &[u8]) = match value.strip_prefix(b"\"") {
        Some(value) => (value, b"\"\r\n"),
        None => (value, b"; \t\r\n"),
    };
    Some(&value[..value.iter().position(|byte| ends.contains(byte)).unwrap_or(value.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        let text = b"Content-Disposition: form-data; filename=\"a\"; name=\"b c\"; size=3";
        assert_eq!(parameter(text, b"name"), Some(&b"b c"[..]));
        assert_eq!(parameter(text, b"Size"), Some(&b"3"[..]));
        assert_eq!(parameter(text, b"file"), None);
        assert_eq!(delimiter(b"multipart/mixed;boundary=x"), Some(b"--x".to_vec()));
        assert_eq!(delimiter(b"multipart/mixed; boundary=\"\""), None);
    }

    #[test]
    fn delimiters_are_lines() {
        let text = b"--x\r\na--x\r\n--xy\r\n--x \r\n--x--";
        assert_eq!(delimiters(text, b"--x").collect::<Vec<_>>(), [0, 17, 23]);
        assert_eq!(content(b"a\r\n"), b"a");
        assert_eq!(content(b"a\n\n"), b"a\n");
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(end_of_head(b"a: b\r\n\r\nc"), Some(8));
        assert_eq!(end_of_head(b"a: b\n\nc"), Some(6));
        assert_eq!(end_of_head(b"\nc"), Some(1));
        assert_eq!(end_of_head(b"a: b\r\n"), None);
    }
}
