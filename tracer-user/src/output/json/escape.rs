//! JSON strings (RFC 8259 section 7), written straight into the buffer.
//!
//! Beyond what JSON demands, DEL and the C1 controls are escaped: a terminal may obey them, and no reader minds.

/// Input between two looks at the buffer's capacity.
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
    if let Ok(text) = std::str::from_utf8(bytes) {
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
    let mut clean = 0;
    while let Some(chunk) = text[clean..].first_chunk::<8>() {
        let count = clean_bytes(u64::from_le_bytes(*chunk));
        clean += count;
        if count < 8 {
            break;
        }
    }
    clean += text[clean..].iter().take(8).take_while(|&&byte| !is_special(byte)).count();
    out.extend_from_slice(&text[..clean]);
    if clean < text.len() {
        with_escapes(out, &text[clean..]);
    }
}

/// Bytes that must be free in the buffer before each step: eight copied as they are, then an escape in a room of eight.
const STEP: usize = 16;

/// For text that has something to escape, and so probably more of it.
fn with_escapes(out: &mut Vec<u8>, text: &[u8]) {
    let mut read = 0;
    let mut written = out.len();
    while read < text.len() {
        let block_end = text.len().min(read + BLOCK);
        while read < block_end {
            // All of the room is written to before it is cut off at the end: eight bytes are copied at a time, special
            // or not. Text with an escape every few bytes gets by with the first room.
            if out.len() - written < STEP {
                out.resize(written + 2 * (block_end - read) + 4 * STEP, 0);
            }
            let skip = if let Some(chunk) = text[read..].first_chunk::<8>() {
                out[written..written + 8].copy_from_slice(chunk);
                clean_bytes(u64::from_le_bytes(*chunk))
            } else {
                let rest = &text[read..];
                let clean = rest.iter().take_while(|&&byte| !is_special(byte)).count();
                out[written..written + clean].copy_from_slice(&rest[..clean]);
                clean
            };
            read += skip;
            written += skip;
            if skip < 8 && read < text.len() {
                let (escaped, length, taken) = escape(&text[read..]);
                out[written..written + 8].copy_from_slice(&escaped);
                written += length;
                read += taken;
            }
        }
    }
    out.truncate(written);
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// How many of the eight bytes, from the first on, need no escape.
fn clean_bytes(word: u64) -> usize {
    // Each term has the high bit of a byte set where the byte matches. Above the first match there may be false ones;
    // only the first counts.
    let equals = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let special = (control | equals(b'"') | equals(b'\\') | equals(0x7f) | equals(C1_LEAD)) & HIGHS;
    special.trailing_zeros() as usize / 8
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
