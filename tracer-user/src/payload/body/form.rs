//! Forms, one field a line, without their percent-encoding.

use memchr::memchr;
use percent_encoding::percent_decode;

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
            // The decoded value may be a document that contains secrets.
            lines.push(Kind::String, &redactor.body(Some(b"text/plain"), &decoded(value)));
        }
        lines.end_line();
    }
}

/// Decodes a name or a value. A percent sign without two hex digits is kept.
fn decoded(text: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&blanks).collect()
}
