//! Words that a person pastes into a shell: any POSIX shell (XCU section 2.2), with line editing or without.
//!
//! An interactive shell interprets more of a text than a script does. A command avoids all of it:
//!
//! - **History** (`!` in bash, zsh and csh; `^` at the start of a line). bash expands `!` inside `"$(printf '…')"` too, and older
//!   ones inside a quote that began on an earlier line; csh inside every quote. A `!` therefore always has its backslash, outside
//!   of quotes, or is an octal number; and no line starts with a byte of the text.
//! - **Keys.** Control characters are keys to a line editor. So are bytes from 0x80 on where the locale has no such
//!   characters (readline's `convert-meta`: `ä` then moves the cursor). A command is printable ASCII.
//! - **Long lines.** A terminal without an editor drops what exceeds 4095 bytes (`N_TTY_BUF_SIZE`), busybox what exceeds 1 KiB: with
//!   the quote that closes, the rest would be read as commands. Words go on in the next line before that.
//! - **Other quotes.** A backslash inside single quotes escapes in fish. It stands outside of them, where all shells agree.
//!   Line feeds are numbers too: csh ends a quote there.

use std::fmt::Write as _;

/// Bytes of a word on one line, at most.
const LINE: usize = 900;

/// One word that the shell makes into exactly these bytes, but for NUL, which no argument can have (shells drop it, some with
/// a warning), and line ends at the end, where something else cannot be printed as it is.
pub(super) fn word(bytes: &[u8]) -> String {
    if bytes.contains(&0) {
        return word(&bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>());
    }
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@,+-".contains(byte);
    if !bytes.is_empty() && bytes.len() < LINE && bytes.iter().all(bare) {
        // ASCII.
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if !is_plain(bytes) {
        return format!("\"$(printf {})\"", printf_format(bytes));
    }
    let mut out = Quoted::new();
    for &byte in bytes {
        match byte {
            b'\'' | b'!' | b'\\' => out.escaped(char::from(byte)),
            _ => out.inside(format_args!("{}", char::from(byte))),
        }
    }
    out.end()
}

/// True for a word that can be pasted and read as it is.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// A quoted format from which `printf` makes exactly these bytes.
pub(super) fn printf_format(bytes: &[u8]) -> String {
    let mut out = Quoted::new();
    let is_text = bytes.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..0x7f));
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => {
                out.inside(format_args!("\\n"));
                // One line for each line of the text, for readability.
                if is_text && bytes.get(at + 1).is_some_and(|next| *next != b'\n') {
                    out.next_line();
                }
            }
            b'\r' => out.inside(format_args!("\\r")),
            b'\t' => out.inside(format_args!("\\t")),
            b'%' => out.inside(format_args!("%%")),
            // A dash at the start makes an option.
            b'\'' | b'!' | b'\\' => out.inside(format_args!("\\{byte:03o}")),
            b'-' if at == 0 => out.inside(format_args!("\\{byte:03o}")),
            0x20..0x7f => out.inside(format_args!("{}", char::from(byte))),
            _ => out.inside(format_args!("\\{byte:03o}")),
        }
    }
    out.end()
}

/// A word in single quotes, over as many lines as it takes.
struct Quoted {
    text: String,
    is_open: bool,
    /// Offset of the last line.
    line: usize,
}

impl Quoted {
    fn new() -> Self {
        Self { text: String::new(), is_open: false, line: 0 }
    }

    fn quote(&mut self, is_open: bool) {
        if self.is_open != is_open {
            self.text.push('\'');
            self.is_open = is_open;
        }
    }

    fn next_line(&mut self) {
        self.quote(false);
        self.text.push_str("\\\n");
        self.line = self.text.len();
    }

    fn make_room(&mut self) {
        if self.text.len() - self.line >= LINE {
            self.next_line();
        }
    }

    fn inside(&mut self, part: std::fmt::Arguments<'_>) {
        self.make_room();
        self.quote(true);
        // Writing to a String never fails.
        let _ = self.text.write_fmt(part);
    }

    fn escaped(&mut self, character: char) {
        self.make_room();
        self.quote(false);
        self.text.push('\\');
        self.text.push(character);
    }

    fn end(mut self) -> String {
        if self.text.is_empty() {
            self.quote(true);
        }
        self.quote(false);
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words() {
        assert_eq!(word(b""), "''");
        assert_eq!(word(b"http://h/p"), "http://h/p");
        assert_eq!(word(b"it's a\\b!!"), r"'it'\''s a'\\'b'\!\!");
        assert_eq!(word(b"!x^y"), r"\!'x^y'");
        assert_eq!(word(b"a\n^b!c\n"), "\"$(printf 'a\\n'\\\n'^b\\041c\\n')\"");
        assert_eq!(word("\u{e9}\u{2028}\x1b[201~".as_bytes()), r#""$(printf '\303\251\342\200\250\033[201~')""#);
        assert_eq!(printf_format(b"-\\'%"), r"'\055\134\047%%'");
    }

    #[test]
    fn long_words_go_on_in_the_next_line() {
        for byte in [b'a', b' ', b'\'', b'!', b'\n', 0xff, b'^'] {
            let text = word(&[byte; 10_000]);
            assert!(text.lines().count() > 10 && text.lines().all(|line| line.len() < LINE + 100), "{byte}");
        }
    }

    proptest! {
        #[test]
        fn no_line_gives_a_shell_an_occasion(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            for text in [word(&bytes), printf_format(&bytes)] {
                prop_assert!(text.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)));
                for line in text.lines() {
                    prop_assert!(line.len() < 1_000 && !line.starts_with('^'));
                }
                let parts: Vec<&str> = text.split('!').collect();
                prop_assert!(parts[..parts.len() - 1].iter().all(|before| before.ends_with('\\')), "{}", text);
            }
        }
    }
}
