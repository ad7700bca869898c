//! Text to look for.

use std::fmt;

use memchr::memchr2_iter;
use regex::bytes::{Regex, RegexBuilder};

/// Bytes that are frequent in URLs, headers and JSON, the most frequent first: a search goes for another one, if it can.
const FREQUENT: &[u8] = b"e\"taoinsr ,:lhdcu/01mp2-.35{}4gyb_w6789f";
/// Memory of one compiled expression: `\w{500}` fits, `\w{5000}` does not.
const PATTERN_SIZE: usize = 256 * 1024;
/// Memory of what the expression learns while it is used.
const PATTERN_CACHE: usize = 1 << 20;
/// Blanks before an expression, and before the caret below it, in the crate's explanations.
const PATTERN_INDENT: usize = 4;
/// Nesting inside an expression.
const PATTERN_DEPTH: u32 = 50;

/// Text to be found in another, or to be all of it; case of ASCII letters ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needle {
    text: Box<str>,
    /// Place of its least frequent byte.
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

    /// Whether it can be found in the mark of a secret, and so in what is shown though it is not in what was there. Text
    /// without the asterisks is no mark: that its last digits are found in one is of no use to anybody.
    pub(super) fn may_be_mark(&self) -> bool {
        self.text.contains('*')
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        text.eq_ignore_ascii_case(self.text.as_bytes())
    }
}

/// A regular expression; case of ASCII letters ignored.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// # Errors
    ///
    /// What is wrong with it, in words, and where in it, in characters from 0, as far as that is known.
    pub(super) fn new(text: &str) -> Result<Self, (String, usize)> {
        let regex = RegexBuilder::new(text)
            .case_insensitive(true)
            // Most of what is looked at is ASCII, and none of it needs to be UTF-8: `.` is a byte, `\w` an ASCII letter.
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

/// The crate explains over several lines, with a caret below the place and the reason last.
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

/// Text as it is typed: in quotes where it would mean something else without.
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
        // One of several lines is shown with line numbers; the place is not known then.
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
