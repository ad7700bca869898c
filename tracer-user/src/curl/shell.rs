//! Words of a POSIX shell (XCU section 2.2), also where a person pastes them into an interactive one.

use std::fmt::Write as _;

use crate::visible::Visible;

/// One word that the shell makes into exactly these bytes, but for NUL, which no argument can have, and line ends at the
/// end, where something else cannot be printed as it is.
pub(super) fn word(bytes: &[u8]) -> String {
    if !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@,+-".contains(byte)) {
        // ASCII.
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => format!("\"$(printf {})\"", printf_format(bytes)),
    }
}

/// Can be pasted and read as it is: a terminal and a line editor take all of it for text.
pub(super) fn is_plain(text: &str) -> bool {
    text.split('\n').all(|line| Visible(line).is_plain())
}

/// A quoted format from which `printf` makes exactly these bytes.
pub(super) fn printf_format(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    out.push('\'');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer);
            match character {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '%' => out.push_str("%%"),
                '\\' => out.push_str("\\\\"),
                // What begins with a dash is an option.
                '-' if out.len() == 1 => octal(&mut out, b"-"),
                '\'' => octal(&mut out, b"'"),
                _ if Visible(text).is_plain() => out.push(character),
                _ => octal(&mut out, text.as_bytes()),
            }
        }
        octal(&mut out, chunk.invalid());
    }
    out.push('\'');
    out
}

fn octal(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // A String takes everything.
        let _ = write!(out, "\\{byte:03o}");
    }
}
