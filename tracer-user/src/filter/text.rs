//! Text and regular expressions to search for.

use std::fmt;

use memchr::memchr2_iter;
use regex::bytes::{Regex, RegexBuilder};

/// Bytes that are frequent in URLs, headers and JSON, the most frequent first. A search starts from a rarer byte if possible.
const FREQUENT: &[u8] = b"e\"taoinsr ,:lhdcu/01mp2-.35{}4gyb_w6789f";
/// Maximum size of a compiled expression in bytes: `\w{500}` fits, `\w{5000}` does not.
const PATTERN_SIZE: usize = 256 * 1024;
/// Maximum size of the lazy DFA cache of an expression in bytes.
const PATTERN_CACHE: usize = 1 << 20;
/// Indentation of the expression and its caret in the error messages of `regex`.
const PATTERN_INDENT: usize = 4;
/// Maximum nesting of an expression.
const PATTERN_DEPTH: u32 = 50;

/// Text to search for, or to compare with; ASCII case is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needle {
    text: Box<str>,
    /// Index of its rarest byte.
    rare: usize,
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        let frequency = |byte: u8| FREQUENT.iter().position(|&known| known == byte.to_ascii_lowercase());
        let rarity = |(_, byte): &(usize, u8)| frequency(*byte).unwrap_or(FREQUENT.len());
        let rare = text.bytes().enumerate().max_by_key(rarity).map_or(0, |(place, _)| place);
        Self { text: text.into(), rare }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let needle = self.text.as_bytes();
        let Some(&byte) = needle.get(self.rare) else { return true };
        let Some(last) = text.len().checked_sub(needle.len()) else { return false };
        let starts = &text[self.rare..=last + self.rare];
        memchr2_iter(byte.to_ascii_lowercase(), byte.to_ascii_uppercase(), starts)
            .any(|start| text[start..start + needle.len()].eq_ignore_ascii_case(needle))
    }

    /// Whether the text may match the mark of a secret, which the displayed text has and the original has not. Text without
    /// asterisks is no mark: a match of its last digits is useless.
    pub(super) fn may_be_mark(&self) -> bool {
        self.text.contains('*')
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        text.eq_ignore_ascii_case(self.text.as_bytes())
    }
}

/// A regular expression; ASCII case is ignored.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// # Errors
    ///
    /// The reason, and the place in characters from 0 if known.
    pub(super) fn new(text: &str) -> Result<Self, (String, usize)> {
        let regex = RegexBuilder::new(text)
            .case_insensitive(true)
            // Most text is ASCII, and none needs to be UTF-8: `.` is a byte, `\w` an ASCII letter.
            .unicode(false)
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_CACHE)
            .nest_limit(PATTERN_DEPTH)
            .build()
            .map_err(|error| explain(&error))?;
        Ok(Self { text: text.into(), regex })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Parses the message of `regex`: several lines, with a caret below the place and the reason last.
fn explain(error: &regex::Error) -> (String, usize) {
    match error {
        regex::Error::CompiledTooBig(_) => {
            ("this regular expression needs too much memory: use a shorter one".to_owned(), 0)
        }
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            let caret =
                text.lines().find_map(|line| line.trim_start_matches(' ').starts_with('^').then(|| line.find('^')));
            (
                format!("invalid regular expression: {reason}"),
                caret.flatten().unwrap_or(0).saturating_sub(PATTERN_INDENT),
            )
        }
    }
}

/// Displays text for a filter, quoted if it would otherwise mean something else.
pub(super) struct Typed<'a>(pub(super) &'a str);

impl fmt::Display for Typed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./_".contains(&byte);
        let word = ["and", "or", "not"].iter().any(|word| self.0.eq_ignore_ascii_case(word));
        if !self.0.is_empty()
            && self.0.bytes().all(|byte| plain(byte) || byte == b'-')
            && !self.0.starts_with('-')
            && !word
        {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.as_bytes() {
                [rest @ .., special @ (b'"' | b'\\')] => {
                    write!(f, "{}\\{}", &part[..rest.len()], char::from(*special))?;
                }
                _ => f.write_str(part)?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_found_wherever_they_are() {
        let text = b"GET http://api.Example.org/v1/Charges?id=7";
        for found in [
            "",
            "g",
            "GET",
            "get http",
            "EXAMPLE",
            "/v1/charges",
            "7",
            "?ID=7",
            "get http://api.example.org/v1/charges?id=7",
        ] {
            assert!(Needle::new(found).is_in(text), "{found}");
        }
        for missing in ["x.example.org", "/v2", "77", "get http://api.example.org/v1/charges?id=7x", "é"] {
            assert!(!Needle::new(missing).is_in(text), "{missing}");
        }
        assert!(Needle::new("Zoé").is_in("chez ZOé".as_bytes()));
        assert!(!Needle::new("a").is_in(b""));
        assert!(Needle::new("ab").is(b"AB") && !Needle::new("ab").is(b"ABC"));
    }

    #[test]
    fn a_wrong_expression_is_explained_with_its_place() {
        let (said, place) = Pattern::new("ab(c").expect_err("it is not closed");
        assert_eq!((&*said, place), ("invalid regular expression: unclosed group", 2));
        let (said, _) = Pattern::new(r"\w{5000}").expect_err("it is large");
        assert!(said.contains("too much memory"), "{said}");
        let (said, _) = Pattern::new(&"(".repeat(1000)).expect_err("it is deep");
        assert!(said.contains("invalid"), "{said}");
        // An expression of several lines is printed with line numbers, so the place is unknown.
        Pattern::new("a\nb(").expect_err("it is not closed");
    }

    #[test]
    fn text_is_quoted_where_it_must_be() {
        for (text, typed) in [
            ("abc", "abc"),
            ("/v1/a-b_c.d", "/v1/a-b_c.d"),
            ("-a", "\"-a\""),
            ("or", "\"or\""),
            ("a b", "\"a b\""),
            ("", "\"\""),
            (r#"a"b\c"#, r#""a\"b\\c""#),
        ] {
            assert_eq!(Typed(text).to_string(), typed);
        }
    }
}
