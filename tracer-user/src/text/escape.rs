//! Escaping of untrusted text (the wire, a process, a recording, the command line) for terminals and readers.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use unicode_width::UnicodeWidthChar as _;

/// Shows text with control characters, escape sequences, and characters that have no width or turn the direction of
/// writing, spelled out: `\x1b`, `\u{202e}`. Understands width and alignment to the left, in columns.
#[derive(Clone, Copy, Debug)]
pub struct Visible<'a>(pub &'a str);

impl Visible<'_> {
    /// Whether no character needs an escape.
    pub fn is_plain(self) -> bool {
        self.0.bytes().all(|byte| (0x20..0x7f).contains(&byte)) || self.0.chars().all(is_plain)
    }
}

fn is_plain(character: char) -> bool {
    character.width().unwrap_or(0) > 0 && !is_disguise(character)
}

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = 0;
        if self.0.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            f.write_str(self.0)?;
            columns = self.0.len();
        } else {
            for character in self.0.chars() {
                columns += put(f, character)?;
            }
        }
        for _ in columns..f.width().unwrap_or(0) {
            f.write_char(' ')?;
        }
        Ok(())
    }
}

/// Returns the columns used.
fn put(f: &mut fmt::Formatter<'_>, character: char) -> Result<usize, fmt::Error> {
    match character.width() {
        Some(width @ 1..) if !is_disguise(character) => f.write_char(character).map(|()| width),
        _ if u32::from(character) < 0x100 => write!(f, "\\x{:02x}", u32::from(character)).map(|()| 4),
        _ => {
            let text = character.escape_unicode();
            write!(f, "{text}").map(|()| text.len())
        }
    }
}

/// Characters that take part in hiding text although tables give them a width: soft hyphen, fillers that look like
/// blanks, separators of lines, and whatever turns the direction of writing.
pub(crate) fn is_disguise(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Text from outside that is kept: a name of a process, a path. It can be shown through [`Visible`] only; what compares it or
/// hands it on takes it [`raw`](Self::raw).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Foreign(Box<str>);

impl Foreign {
    /// Converts bytes that should be UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into())
    }

    /// The original text, which must not be printed.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Foreign {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Foreign {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&Path> for Foreign {
    fn from(path: &Path) -> Self {
        Self(path.to_string_lossy().into())
    }
}

impl PartialEq<str> for Foreign {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Visible(&self.0).fmt(f)
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn what_is_hidden_is_shown() {
        let shown = |text| Visible(text).to_string();
        assert_eq!(shown("plain /ünïcode/日本"), "plain /ünïcode/日本");
        assert_eq!(shown("\x1b[31m\r\n\t\0\x7f"), r"\x1b[31m\x0d\x0a\x09\x00\x7f");
        assert_eq!(shown("\u{9b}31m\u{ad}"), r"\x9b31m\xad");
        assert_eq!(shown("a\u{202e}b\u{200b}c\u{feff}\u{2066}"), r"a\u{202e}b\u{200b}c\u{feff}\u{2066}");
        assert_eq!(shown("e\u{301}"), r"e\u{301}");
        assert_eq!(format!("{:<6}|", Visible("日\t")), "日\\x09|");
        assert_eq!(format!("{:<8}|", Visible("日\t")), "日\\x09  |");
    }

    proptest! {
        #[test]
        fn nothing_shown_is_a_control_or_without_width(text in "(?s).*") {
            let shown = Visible(&text).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(Visible(&text).is_plain(), shown == text);
            prop_assert!(shown.chars().all(|character| character.width().unwrap_or(0) > 0));
            let padded = format!("{:<200}", Visible(&text));
            let plain: usize = padded.chars().map(|character| character.width().unwrap_or(0)).sum();
            prop_assert!(plain >= 200 && padded.starts_with(&shown));
            prop_assert!(shown.width() <= plain);
        }
    }
}
