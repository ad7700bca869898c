//! JSON strings (RFC 8259 section 7), written straight into the buffer.
//!
//! Beyond what JSON demands, DEL and the C1 controls are escaped: a terminal may obey them, and no reader minds.

/// The buffer grows for so much input at a time.
const BLOCK: usize = 4096;
/// The longest that one byte can become: `\u001b`.
const LONGEST: usize = 6;
/// First byte of the C1 controls U+0080 to U+009F in UTF-8.
const C1_LEAD: u8 = 0xC2;

/// Writes `text` as a JSON string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    contents(out, text.as_bytes());
    out.push(b'"');
}

/// Writes `bytes` as a JSON string: as UTF-8, or where it is not that, each byte as the character of Latin-1.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
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

/// What stands between the quotes. `text` must be UTF-8, for the JSON to be.
pub(super) fn contents(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) { out.extend_from_slice(text) } else { with_escapes(out, text) }
}

/// Whether this is ASCII without anything to escape: nearly all short strings are.
fn is_plain(text: &[u8]) -> bool {
    let (chunks, rest) = text.as_chunks::<8>();
    let mut found = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        found |= special_ascii(word) | word;
    }
    found & HIGHS == 0 && rest.iter().all(|&byte| byte < 0x80 && !is_special(byte))
}

/// Bytes that must be free in the buffer before each step: eight copied as they are, then an escape in a room of eight.
const STEP: usize = 16;

/// For text that has something to escape, and so probably more of it.
fn with_escapes(out: &mut Vec<u8>, text: &[u8]) {
    let mut read = 0;
    let mut written = out.len();
    // All but the first of these bits, where the byte at `read` is a quote whose backslash is written already.
    let mut seen = 0;
    while let Some(chunk) = text[read..].first_chunk::<8>() {
        // All of the room is written to before it is cut off at the end: eight bytes are copied at a time, special or
        // not. Text with an escape every few bytes gets by with the first room.
        if out.len() - written < STEP {
            out.resize(written + 2 * (text.len() - read).min(BLOCK) + 4 * STEP, 0);
        }
        let word = u64::from_le_bytes(*chunk);
        let clean = ((special_ascii(word) | equals(word, C1_LEAD)) & HIGHS & !seen).trailing_zeros() as usize / 8;
        let room = &mut out[written..written + STEP];
        room[..8].copy_from_slice(chunk);
        seen = 0;
        read += clean;
        written += clean;
        if clean == 8 {
            continue;
        }
        match chunk[clean] {
            b'"' | b'\\' => {
                room[clean] = b'\\';
                written += 1;
                seen = 0xff;
            }
            _ => {
                let (escaped, length, taken) = escape(&text[read..]);
                room[clean..clean + 8].copy_from_slice(&escaped);
                written += length;
                read += taken;
            }
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

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

// Each of these has the high bit of a byte set where the byte matches. Above the first match there may be false ones, so
// only whether there is one, and where the first is, counts.

/// Bytes that equal `byte`.
fn equals(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference
}

/// Bytes of ASCII that need an escape.
fn special_ascii(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    control | equals(word, b'"') | equals(word, b'\\') | equals(word, 0x7f)
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f | C1_LEAD)
}

/// The escape for the byte or C1 control at the start of `text`: its bytes, how many they are, how many they stand for.
fn escape(text: &[u8]) -> ([u8; 8], usize, usize) {
    let short = |letter| ([b'\\', letter, 0, 0, 0, 0, 0, 0], 2, 1);
    match *text {
        [byte @ (b'"' | b'\\'), ..] => short(byte),
        [b'\n', ..] => short(b'n'),
        [b'\r', ..] => short(b'r'),
        [b'\t', ..] => short(b't'),
        [0x08, ..] => short(b'b'),
        [0x0c, ..] => short(b'f'),
        [C1_LEAD, second @ 0x80..=0x9f, ..] => (unicode(second), LONGEST, 2),
        [C1_LEAD, second, ..] => ([C1_LEAD, second, 0, 0, 0, 0, 0, 0], 2, 2),
        [byte, ..] => (unicode(byte), LONGEST, 1),
        [] => ([0; 8], 0, 0),
    }
}

fn unicode(value: u8) -> [u8; 8] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    [b'\\', b'u', b'0', b'0', digit(value >> 4), digit(value & 0xf), 0, 0]
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

    #[test]
    fn nothing_but_escapes() {
        for text in ["\x1b", "\"", "\u{9b}", "\n"] {
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
            prop_assert_eq!(serde_json::from_str::<String>(&written(&text)).expect("JSON"), text);
        }
    }
}
