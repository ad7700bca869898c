//! Parts of multipart bodies that have secret names, also where no boundary was announced.

use std::sync::LazyLock;

use memchr::{memmem, memrchr};

use super::{
    name::{self, Verdict},
    scan::Scan,
};
use crate::text::multipart::{self, delimiter, end_of_head, parameter};

/// Every part of a form has the field `Content-Disposition`; nothing else has it before a name.
static FIELD: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"isposition"));
/// Bytes of a part's header section that are looked at.
const MAX_HEAD: usize = 2 * 1024;
/// Longest boundary, of those that are guessed.
const MAX_BOUNDARY: usize = 200;

/// Hides contents of parts with secret names. A body that was cut off is hidden to its end, where that is inside a secret.
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

/// The delimiter by the line before the part's header section.
fn guess(text: &[u8], head: usize) -> Option<&[u8]> {
    let mut end = head.checked_sub(1)?;
    // Other fields may stand before this one.
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

/// Where the content ends: before the next delimiter.
fn end_of_content(text: &[u8], content: usize, delimiter: &[u8]) -> Option<usize> {
    let rest = &text[content..];
    let next = multipart::delimiters(rest, delimiter).next()?;
    Some(content + multipart::content(&rest[..next]).len())
}
