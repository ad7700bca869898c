//! Parts of multipart bodies with secret names, also without a declared boundary.

use std::sync::LazyLock;

use memchr::{memmem, memrchr};

use super::{
    name::{self, Verdict},
    scan::Scan,
};
use crate::text::multipart::{self, delimiter, end_of_head, parameter};

/// Marker of a part: every part of a form has the field `Content-Disposition`.
static FIELD: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"isposition"));
/// Maximum length of the header section of a part.
const MAX_HEAD: usize = 2 * 1024;
/// Maximum length of a guessed boundary.
const MAX_BOUNDARY: usize = 200;

/// Masks the contents of parts with secret names. A secret that was cut off is masked to the end of the body.
pub(super) fn find(scan: &mut Scan<'_>, content_type: &[u8]) {
    let text = scan.text;
    let announced = delimiter(content_type).filter(|delimiter| memmem::find(text, delimiter).is_some());
    let mut at = 0;
    while let Some(found) = FIELD.find(&text[at..]) {
        let place = at + found;
        at = place + 10;
        let line = memrchr(b'\n', &text[place.saturating_sub(64)..place])
            .map_or_else(|| if place <= 64 { 0 } else { place }, |line| place.saturating_sub(64) + line + 1);
        if !text[line..place].trim_ascii_start().eq_ignore_ascii_case(b"content-d") {
            continue;
        }
        let head = &text[line..text.len().min(line + MAX_HEAD)];
        let Some(length) = end_of_head(head) else { continue };
        let Some(name) = parameter(&head[..length], b"name").or_else(|| parameter(&head[..length], b"name*")) else {
            continue;
        };
        let verdict = name::judge(name);
        if verdict == Verdict::Plain {
            continue;
        }
        let content = line + length;
        let guessed = guess(text, line);
        let delimiter = announced.as_deref().or(guessed);
        let end = delimiter.and_then(|delimiter| end_of_content(text, content, delimiter)).unwrap_or(text.len());
        let Some(few) = scan.hides(verdict, &text[content..end], true) else { continue };
        if few {
            scan.hide_few(content, end, false);
        } else {
            scan.hide(content, end);
        }
        at = end.max(at);
    }
}

/// Guesses the delimiter from the line before the header section of a part.
fn guess(text: &[u8], head: usize) -> Option<&[u8]> {
    let mut end = head.checked_sub(1)?;
    // Other fields may precede this one.
    for _ in 0..8 {
        let window = end.saturating_sub(MAX_BOUNDARY);
        let start = memrchr(b'\n', &text[window..end]).map_or(window, |at| window + at + 1);
        let line = text[start..end].trim_ascii_end();
        if line.starts_with(b"--") && line.len() > 2 {
            return Some(line);
        }
        end = start.checked_sub(1)?;
    }
    None
}

/// End of the content, before the next delimiter.
fn end_of_content(text: &[u8], content: usize, delimiter: &[u8]) -> Option<usize> {
    let rest = &text[content..];
    let next = multipart::delimiters(rest, delimiter).next()?;
    Some(content + multipart::content(&rest[..next]).len())
}
