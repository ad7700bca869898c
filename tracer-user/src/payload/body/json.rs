//! Layout of JSON.
//!
//! Broken or cut JSON is laid out too, up to its last byte. So this is a tokenizer with a depth, without a grammar. Strings and
//! numbers are unchanged; only blanks change.

use memchr::memchr2_iter;

use super::layout::{Kind, Line, Lines};

/// Maximum number of indented levels.
const MAX_INDENT: usize = 32;
const INDENT: &[u8] = &[b' '; 2 * MAX_INDENT];
/// Maximum length of a list of scalars on one line, in bytes.
const SHORT_LIST: usize = 60;

/// A token of JSON, or of similar text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Colon,
    String {
        /// The closing quote exists.
        closed: bool,
    },
    Word,
    /// Text that is not JSON.
    Other,
}

/// Iterator over tokens, without blanks.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (Token, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_ascii_start();
        let (token, length) = match self.rest {
            [] => return None,
            [b'{' | b'[', ..] => (Token::Open, 1),
            [b'}' | b']', ..] => (Token::Close, 1),
            [b',', ..] => (Token::Comma, 1),
            [b':', ..] => (Token::Colon, 1),
            [b'"', ..] => match end_of_string(self.rest) {
                Some(end) => (Token::String { closed: true }, end),
                None => (Token::String { closed: false }, self.rest.len()),
            },
            text => match text.iter().take_while(|byte| is_word(**byte)).count() {
                // Up to what could begin a token; a character of several bytes stays whole.
                0 => (Token::Other, 1 + text[1..].iter().take_while(|byte| **byte >= 0x80).count()),
                length => (Token::Word, length),
            },
        };
        let (token_text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some((token, token_text))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)
}

/// Index after the closing quote.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut skip = 0;
    for at in memchr2_iter(b'"', b'\\', &text[1..]) {
        if at < skip {
            continue;
        }
        if text[1 + at] == b'"' {
            return Some(at + 2);
        }
        skip = at + 2;
    }
    None
}

impl Tokens<'_> {
    fn kind(&self, token: Token, text: &[u8]) -> Kind {
        match token {
            Token::Open | Token::Close | Token::Comma | Token::Colon => Kind::Punctuation,
            Token::String { .. } if self.rest.trim_ascii_start().first() == Some(&b':') => Kind::Key,
            Token::String { .. } => Kind::String,
            Token::Word if matches!(text, b"true" | b"false" | b"null") => Kind::Literal,
            Token::Word if matches!(text, [b'-' | b'0'..=b'9', ..]) => Kind::Number,
            Token::Word | Token::Other => Kind::Plain,
        }
    }

    /// The list that was just opened is empty, or short and without lists of its own.
    fn list_is_short(&self) -> bool {
        let near = &self.rest[..self.rest.len().min(SHORT_LIST)];
        let mut count = 0;
        for (token, text) in (Tokens { rest: near }) {
            match token {
                Token::Close => return text == b"]" || count == 0,
                Token::Open | Token::Colon | Token::Other | Token::String { closed: false } => return false,
                Token::Comma | Token::String { .. } | Token::Word => count += 1,
            }
        }
        false
    }
}

/// Lays out one document or several.
pub(super) fn lay_out(bytes: &[u8], truncated: bool, lines: &mut Lines) {
    let mut tokens = Tokens { rest: bytes };
    let mut depth: usize = 0;
    // In a short list nothing begins a line.
    let mut inline = false;
    let mut before = None;
    let mut open_string = false;
    loop {
        let blank = tokens.rest.first().is_some_and(u8::is_ascii_whitespace);
        let Some((token, text)) = tokens.next() else { break };
        if lines.is_full() {
            return lines.give_up();
        }
        match token {
            Token::Close => {
                depth = depth.saturating_sub(1);
                if !inline {
                    lines.end_started_line();
                }
            }
            Token::Comma | Token::Colon => {}
            // A value directly behind another: a list of documents, or a comma is missing.
            _ if before == Some(Token::Close) && !inline => lines.end_started_line(),
            _ if blank && depth == 0 => lines.end_started_line(),
            _ if blank && matches!(before, Some(Token::String { .. } | Token::Word | Token::Other)) => {
                lines.push(Kind::Plain, b" ");
            }
            _ => {}
        }
        if lines.line().text.is_empty() {
            lines.push(Kind::Plain, &INDENT[..2 * depth.min(MAX_INDENT)]);
        }
        lines.push(tokens.kind(token, text), text);
        match token {
            Token::Open => {
                depth += 1;
                inline = tokens.list_is_short();
                if !inline {
                    lines.end_line();
                }
            }
            Token::Close => inline = false,
            Token::Comma if inline => lines.push(Kind::Plain, b" "),
            Token::Comma => lines.end_line(),
            Token::Colon => lines.push(Kind::Plain, b" "),
            Token::String { closed } => open_string = !closed,
            Token::Word | Token::Other => {}
        }
        before = Some(token);
    }
    if truncated && (depth > 0 || open_string) {
        if !open_string && !lines.is_full() {
            lines.end_started_line();
            lines.push(Kind::Plain, &INDENT[..2 * depth.min(MAX_INDENT)]);
        }
        lines.push(Kind::Note, "…".as_bytes());
    }
    lines.end_started_line();
}

/// Says what is what on one line, and leaves the blanks as they are.
pub(super) fn colour(text: &[u8], line: &mut Line) {
    let mut tokens = Tokens { rest: text };
    let mut done = 0;
    while let Some((token, piece)) = tokens.next() {
        let end = text.len() - tokens.rest.len();
        line.push_bytes(Kind::Plain, &text[done..end - piece.len()]);
        line.push_bytes(tokens.kind(token, piece), piece);
        done = end;
    }
    line.push_bytes(Kind::Plain, &text[done..]);
}
