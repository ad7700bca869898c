//! Layout of text.

use unicode_width::UnicodeWidthStr as _;

use super::layout::{Kind, Line, Lines};

/// Columns between tab stops.
const TAB: usize = 4;

pub(super) fn lay_out(bytes: &[u8], latin1: bool, lines: &mut Lines) {
    if latin1 && std::str::from_utf8(bytes).is_err() {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        return lay_out(text.as_bytes(), false, lines);
    }
    for line in split(bytes) {
        if lines.is_full() {
            return lines.give_up();
        }
        push(lines.line(), Kind::Plain, line);
        lines.end_line();
    }
}

/// Lines without their line ends; a last line end starts no further line.
pub(super) fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Appends text, with tabs expanded to blanks.
pub(super) fn push(line: &mut Line, kind: Kind, text: &[u8]) {
    let mut column = 0;
    for (index, part) in text.split(|&byte| byte == b'\t').enumerate() {
        if index > 0 {
            let blanks = TAB - column % TAB;
            line.push_bytes(kind, &b"    "[..blanks]);
            column += blanks;
        }
        let start = line.text.len();
        line.push_bytes(kind, part);
        column += line.text[start..].width();
    }
}
