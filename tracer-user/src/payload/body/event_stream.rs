//! Event streams (WHATWG HTML section 9.2): fields, comments, JSON in data.

use memchr::memchr;

use super::{
    json,
    layout::{Kind, Lines},
    text,
};

pub(super) fn lay_out(bytes: &[u8], lines: &mut Lines) {
    for line in text::split(bytes) {
        if lines.is_full() {
            return lines.give_up();
        }
        match memchr(b':', line) {
            Some(0) => lines.push(Kind::Faint, line),
            Some(colon) => {
                lines.push(Kind::Key, &line[..colon]);
                lines.push(Kind::Punctuation, b": ");
                let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
                if value.first().is_some_and(|first| matches!(first, b'{' | b'[')) {
                    json::colour(value, lines.line());
                } else {
                    text::push(lines.line(), Kind::String, value);
                }
            }
            None => lines.push(Kind::Key, line),
        }
        lines.end_line();
    }
}
