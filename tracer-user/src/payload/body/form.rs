//! Forms, one field a line, percent-encoding undone.

use memchr::memchr;

use super::layout::{Kind, Lines};
use crate::text::redact::Redactor;

pub(super) fn lay_out(bytes: &[u8], redactor: Redactor, lines: &mut Lines) {
    for field in bytes.split(|&byte| byte == b'&').filter(|field| !field.is_empty()) {
        if lines.is_full() {
            return lines.give_up();
        }
        let (name, value) = match memchr(b'=', field) {
            Some(equals) => (&field[..equals], Some(&field[equals + 1..])),
            None => (field, None),
        };
        lines.push(Kind::Key, &decoded(name));
        if let Some(value) = value {
            lines.push(Kind::Punctuation, b"=");
            // What was encoded may be a document with secrets of its own.
            lines.push(Kind::String, &redactor.body(Some(b"text/plain"), &decoded(value)));
        }
        lines.end_line();
    }
}

/// Percent-encoding undone; what only looks like it stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*first),
        }
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|value| value as u8)
}
