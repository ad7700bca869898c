//! JSON strings (RFC 8259 section 7), written straight into the buffer.
//!
//! DEL and the C1 controls are escaped as well, which JSON permits: a terminal may obey them. The same holds for
//! characters that hide text: those that change the direction of writing, have no width, or separate lines.

use super::scan::{self, C1_LEAD, STEP, is_plain, is_special};
use crate::text::escape::is_disguise;

/// Longer text is not tested for whether it needs an escape at all.
const SHORT: usize = 256;
/// Bytes of input that the buffer grows for at a time.
const BLOCK: usize = 4096;
/// Length of the longest escape of one byte: `\u001b`.
const LONGEST: usize = 6;
/// Length of the longest escape of one character: two surrogates.
const ESCAPE: usize = 2 * LONGEST;

/// Writes `text` as a JSON string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    contents(out, text.as_bytes());
    out.push(b'"');
}

/// Writes `bytes` as a JSON string: as UTF-8, or where it is not that, each byte as the character of Latin-1.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.reserve(bytes.len() + 2);
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        string(out, text);
    } else {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        string(out, &text);
    }
}

/// Like [`bytes`], in lower case (ASCII only).
pub(super) fn lower_case(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    bytes(out, name);
    // Escapes are in lower case anyway.
    out[start..].make_ascii_lowercase();
}

/// Writes the content between the quotes. `text` must be UTF-8.
pub(super) fn contents(out: &mut Vec<u8>, text: &[u8]) {
    // Long text is a body, and rarely plain.
    if text.len() <= SHORT && is_plain(text) { out.extend_from_slice(text) } else { with_escapes(out, text) }
}

/// Bytes that must be free in the buffer before each step: those of the step, then an escape.
const ROOM: usize = STEP + ESCAPE;

/// Writes text with an escape, which probably has more of them.
fn with_escapes(out: &mut Vec<u8>, text: &[u8]) {
    let mut read = 0;
    let mut written = out.len();
    // Set where the byte at `read` is a quote whose backslash is written already.
    let mut seen = 0;
    while let Some(chunk) = text[read..].first_chunk::<STEP>() {
        // A whole step is copied at a time, special bytes included, and the rest is cut off at the end. Text with an
        // escape every few bytes fits into the first allocation.
        if out.len() - written < ROOM {
            out.resize(written + 2 * (text.len() - read).min(BLOCK) + 4 * ROOM, 0);
        }
        let clean = ((scan::special(chunk) & !seen) | 1 << STEP).trailing_zeros() as usize;
        let room = &mut out[written..written + ROOM];
        room[..STEP].copy_from_slice(chunk);
        seen = 0;
        read += clean;
        written += clean;
        let Some(&special) = chunk.get(clean) else { continue };
        if special == b'"' || special == b'\\' {
            room[clean] = b'\\';
            written += 1;
            seen = 1;
        } else {
            let (escaped, length, taken) = escape(&text[read..]);
            room[clean..clean + ESCAPE].copy_from_slice(&escaped);
            written += length;
            read += taken;
        }
    }
    out.truncate(written);
    if seen != 0 {
        out.push(text[read]);
        read += 1;
    }
    while read < text.len() {
        if is_special(text[read]) {
            let (escaped, length, taken) = escape(&text[read..]);
            out.extend_from_slice(&escaped[..length]);
            read += taken;
        } else {
            out.push(text[read]);
            read += 1;
        }
    }
}

/// Output for the byte or character at the start of `text`: the bytes, their number, and the number of input bytes.
fn escape(text: &[u8]) -> ([u8; ESCAPE], usize, usize) {
    let mut out = [0; ESCAPE];
    let mut put = |bytes: &[u8], taken| {
        out[..bytes.len()].copy_from_slice(bytes);
        (out, bytes.len(), taken)
    };
    match *text {
        [byte @ (b'"' | b'\\'), ..] => put(&[b'\\', byte], 1),
        [b'\n', ..] => put(b"\\n", 1),
        [b'\r', ..] => put(b"\\r", 1),
        [b'\t', ..] => put(b"\\t", 1),
        [0x08, ..] => put(b"\\b", 1),
        [0x0c, ..] => put(b"\\f", 1),
        [C1_LEAD, second @ 0x80..=0x9f, ..] => put(&unicode(second.into()), 2),
        [byte @ ..0x80, ..] => put(&unicode(byte.into()), 1),
        [] => put(&[], 0),
        [..] => {
            let length = text.len().min(4);
            let character = text[..length].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
            let Some(character) = character else { return put(&text[..1], 1) };
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            if !is_disguise(character) {
                return put(bytes, bytes.len());
            }
            let mut units = [0; 2];
            match character.encode_utf16(&mut units) {
                [one] => put(&unicode(*one), bytes.len()),
                [high, low, ..] => put(&[unicode(*high), unicode(*low)].concat(), bytes.len()),
                [] => put(bytes, bytes.len()),
            }
        }
    }
}

fn unicode(value: u16) -> [u8; LONGEST] {
    let digit = |shift: u32| b"0123456789abcdef"[usize::from(value >> shift & 0xf)];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = b"before".to_vec();
        string(&mut out, text);
        String::from_utf8(out).expect("UTF-8").split_off("before".len())
    }

    #[test]
    fn each_character_at_each_offset() {
        for value in 0..0x180_u32 {
            let character = char::from_u32(value).expect("below the surrogates");
            for offset in 0..20 {
                let text = format!("{}{character}{}", "a".repeat(offset), "z".repeat(20 - offset));
                let json = written(&text);
                assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
                assert!(!json.chars().any(char::is_control), "{json}");
            }
        }
    }

    /// Bidirectional controls, characters without width, separators of lines, tags, fillers.
    const DISGUISES: &str = "\u{ad}\u{61c}\u{115f}\u{180e}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\
                             \u{2066}\u{2069}\u{3164}\u{feff}\u{ffa0}\u{fff9}\u{e0001}\u{e0041}";

    #[test]
    fn disguises_at_each_offset_are_escaped_and_their_neighbours_are_not() {
        for character in DISGUISES.chars() {
            for offset in 0..20 {
                let text = format!("{}{character}{}", "a".repeat(offset), "日本é".repeat(6));
                let json = written(&text);
                assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
                assert!(!json.contains(character) && json.ends_with("日本é\""), "{json}");
            }
        }
        assert_eq!(written("\u{202e}"), r#""\u202e""#);
        assert_eq!(written("\u{e0041}"), r#""\udb40\udc41""#);
        let kept = "é ‐ … € ー ア ff 😀 e\u{301} ❤\u{fe0f} \u{f0000} ệ ع";
        assert_eq!(written(kept), format!("\"{kept}\""));
    }

    #[test]
    fn nothing_but_escapes() {
        for text in ["\x1b", "\"", "\u{9b}", "\n", "\u{202e}", "\u{e0041}"] {
            for count in [0, 1, 7, 8, 9, 4095, 4096, 4097, 10_000] {
                let text = text.repeat(count);
                assert_eq!(serde_json::from_str::<String>(&written(&text)).expect("JSON"), text);
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin_1() {
        let mut out = Vec::new();
        bytes(&mut out, b"caf\xe9 \x9b\"");
        assert_eq!(out, r#""café \u009b\"""#.as_bytes());
        out.clear();
        lower_case(&mut out, b"X-\x1bNAME\xc4");
        assert_eq!(out, "\"x-\\u001bname\u{c4}\"".as_bytes());
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC*|[ -~\\x00-\\xff]*|(?s).*") {
            let json = written(&text);
            prop_assert!(!json.chars().any(|character| character.is_control() || is_disguise(character)));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        }
    }
}
