//! Layout of multipart bodies (RFC 2046 section 5.1), part by part with its header fields.

use super::{
    Shape, lay_out as lay_out_any,
    layout::{Kind, Lines},
    text,
};
use crate::text::{multipart, redact::Redactor};

/// Maximum number of lines of a binary part: the hex dump of a picture would hide the parts after it.
const BINARY_LINES: usize = 8;

pub(super) fn lay_out(content_type: &[u8], bytes: &[u8], truncated: bool, redactor: Redactor, lines: &mut Lines) {
    let Some(delimiter) = multipart::delimiter(content_type) else {
        return text::lay_out(bytes, false, lines);
    };
    let starts: Vec<usize> = multipart::delimiters(bytes, &delimiter).collect();
    let preamble = &bytes[..starts.first().copied().unwrap_or(bytes.len())];
    text_if_any(preamble, lines);
    for (index, start) in starts.iter().enumerate() {
        if lines.is_full() {
            return lines.give_up();
        }
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let is_last = end == bytes.len();
        part(&bytes[*start..end], truncated && is_last, redactor, lines);
    }
}

/// Lays out a part, which begins with its delimiter.
fn part(part: &[u8], truncated: bool, redactor: Redactor, lines: &mut Lines) {
    let (first, rest) = part.split_at(memchr::memchr(b'\n', part).map_or(part.len(), |at| at + 1));
    lines.push(Kind::Faint, first.trim_ascii_end());
    lines.end_line();
    let (head, content) = rest.split_at(multipart::end_of_head(rest).unwrap_or(rest.len()));
    for line in text::split(head).filter(|line| !line.is_empty()) {
        match memchr::memchr(b':', line) {
            Some(colon) => {
                lines.push(Kind::Key, &line[..colon]);
                lines.push(Kind::Punctuation, b":");
                lines.push(Kind::Plain, &line[colon + 1..]);
            }
            None => lines.push(Kind::Plain, line),
        }
        lines.end_line();
    }
    let content = if truncated { content } else { multipart::content(content) };
    let content_type = header(head, b"content-type");
    let is_utf8 = std::str::from_utf8(content)
        .map_or_else(|error| truncated && error.error_len().is_none() && error.valid_up_to() > 0, |_| true);
    match Shape::of_bytes(content_type, content, is_utf8) {
        Shape::Empty => {}
        // Parts of parts are not laid out: the sender would choose the depth of recursion.
        Shape::Multipart => text::lay_out(content, false, lines),
        Shape::Binary => {
            let shown = content.len().min(BINARY_LINES * 16);
            lay_out_any(Shape::Binary, b"", &content[..shown], truncated, redactor, lines);
            if shown < content.len() {
                lines.push(Kind::Note, format!("… {} more bytes", content.len() - shown).as_bytes());
                lines.end_line();
            }
        }
        shape => {
            lay_out_any(shape, content_type, content, truncated, redactor, lines);
            lines.end_started_line();
        }
    }
}

fn text_if_any(bytes: &[u8], lines: &mut Lines) {
    if !bytes.trim_ascii().is_empty() {
        text::lay_out(bytes, false, lines);
    }
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> &'a [u8] {
    text::split(head)
        .find_map(|line| {
            let rest = line.get(name.len()..).filter(|_| line[..name.len()].eq_ignore_ascii_case(name))?;
            rest.strip_prefix(b":")
        })
        .map_or(&[], <[u8]>::trim_ascii)
}
