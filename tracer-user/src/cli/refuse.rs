//! Errors of the command line. They quote words, which may contain anything.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process,
};

use super::Cli;
use crate::text::escape::Visible;

/// Prints the error, or the requested help, and ends the program.
pub fn refuse(error: &clap::Error, words: &[OsString]) -> ! {
    if let Some(text) = harmless(error, words) {
        // Standard error may be closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
        process::exit(error.exit_code())
    }
    error.exit()
}

/// A harmless message in place of clap's; `None` if no word is harmful.
fn harmless(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let is_plain = |word: &OsString| word.to_str().is_some_and(|word| Visible(word).is_plain());
    if !error.use_stderr() || words.iter().all(is_plain) {
        return None;
    }
    // clap reports the same error for harmless words, unless they are valid then, as the value of an option.
    let shown: Vec<OsString> = words.iter().map(|word| Visible(&word.to_string_lossy()).to_string().into()).collect();
    let message = match Cli::from_words(&shown) {
        Err(error) => error.render().to_string(),
        Ok(_) => words.iter().zip(&shown).fold(error.render().to_string(), |message, (word, shown)| {
            let (word, shown) = (word.to_string_lossy(), shown.to_string_lossy());
            // clap quotes the value of `--option=value` alone.
            let (value, value_shown) = (after_name(&word), after_name(&shown));
            if Visible(value).is_plain() { message } else { message.replace(value, value_shown) }
        }),
    };
    let lines: Vec<String> = message.lines().map(|line| Visible(line).to_string()).collect();
    Some(lines.join("\n") + "\n")
}

/// The value of `--option=value`, or the word.
fn after_name(word: &str) -> &str {
    word.strip_prefix("--").and_then(|word| word.split_once('=')).map_or(word, |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn said(words: &[&[u8]]) -> Option<String> {
        let words: Vec<OsString> =
            [&b"pidtap"[..]].iter().chain(words).map(|word| OsString::from_vec(word.to_vec())).collect();
        harmless(&Cli::from_words(&words).expect_err("no sense"), &words)
    }

    #[test]
    fn quoted_words_are_harmless() {
        for words in [
            &[&b"--\x1b]0;x\x07"[..], b"1"][..],
            &[b"1", b"-o", b"a\nerror: forged\x1b[31m"],
            &[b"1", b"--filter", "status=\u{202e}\x1b[2J(".as_bytes()],
            &[b"open", b"a\x9b\xff", b"b\x1bc"],
            &[b"1", b"--duration", b"\x1bc"],
            &[b"1", b"--filter", b"status=hx\nerror: forged: x\x1bc"],
            &[b"1", b"--filter=status=hx\nerror: forged: x\x1bc"],
            &[b"1", b"--detector", b"\x1bc=on"],
            &[b"1", b"--duration", b"\xff\x1b"],
        ] {
            let said = said(words).unwrap_or_else(|| panic!("{words:?}"));
            assert!(said.lines().all(|line| Visible(line).is_plain()), "{said:?}");
            assert!(said.contains("\\x1b") && !said.contains("\nerror: forged"), "{said:?}");
        }
        assert_eq!(said(&[b"1", b"-o", b"xml"]), None, "clap says it, with its colours");
    }
}
