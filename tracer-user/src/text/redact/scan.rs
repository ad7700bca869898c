//! State of a scan, which the finders share: the text, facts about it, and the secrets found.
//!
//! A finder records spans to mask, and nested texts, which the search scans afterwards.

use std::cell::OnceCell;

use super::{
    decode::Coding,
    name::{self, Verdict},
    span::{Quotes, Span},
};

/// Maximum depth of nested texts: JSON in JSON in a form is three.
const MAX_DEPTH: u32 = 6;

/// Place of a text in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A request target, or a part of it.
    Target,
    /// A form, in which a value extends to the next `&`.
    Form,
    /// Any other text.
    Text,
}

/// Facts about the outermost text, computed when first needed.
pub(super) struct Context<'a> {
    text: &'a [u8],
    oauth: OnceCell<bool>,
    key: OnceCell<bool>,
    object: OnceCell<bool>,
}

impl<'a> Context<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, oauth: OnceCell::new(), key: OnceCell::new(), object: OnceCell::new() }
    }

    fn has(&self, part: &str) -> bool {
        memchr::memmem::find(self.text, part.as_bytes()).is_some()
    }

    /// Whether the text has parameters of OAuth (RFC 6749), of which `code` is a secret.
    fn is_oauth(&self) -> bool {
        *self.oauth.get_or_init(|| ["grant_type", "redirect_uri", "client_id"].iter().any(|name| self.has(name)))
    }

    /// Whether the text has a JSON Web Key, in which single letters name private members.
    fn is_key(&self) -> bool {
        *self.key.get_or_init(|| self.has("\"kty\""))
    }

    /// Whether the text has a `Secret` object of Kubernetes, whose data are secret.
    fn is_secret_object(&self) -> bool {
        *self.object.get_or_init(|| {
            ["\"kind\":\"Secret", "\"kind\": \"Secret", "kind: Secret"].iter().any(|kind| self.has(kind))
        })
    }
}

/// A text nested in another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nested {
    pub(super) start: usize,
    /// Index after the last byte.
    pub(super) end: usize,
    pub(super) coding: Coding,
}

/// A text under scan.
pub(super) struct Scan<'a> {
    pub(super) text: &'a [u8],
    pub(super) place: Place,
    /// Number of texts around this one.
    pub(super) depth: u32,
    context: &'a Context<'a>,
    pub(super) spans: Vec<Span>,
    /// Nested texts, in the order of their discovery.
    pub(super) nested: Vec<Nested>,
}

impl<'a> Scan<'a> {
    pub(super) fn of(text: &'a [u8], place: Place, depth: u32, context: &'a Context<'a>) -> Self {
        Self { text, place, depth, context, spans: Vec::new(), nested: Vec::new() }
    }
}

impl Scan<'_> {
    /// Records a nested text.
    pub(super) fn inner(&mut self, start: usize, end: usize, coding: Coding) {
        if self.depth < MAX_DEPTH && start < end {
            self.nested.push(Nested { start, end, coding });
        }
    }

    /// Judges a name by its words and by the facts about the text.
    pub(super) fn judge(&self, name: &[u8]) -> Verdict {
        match name::judge(name) {
            Verdict::Plain if matches!(name, b"data" | b"stringData") && self.context.is_secret_object() => {
                Verdict::Secret
            }
            verdict => verdict,
        }
    }

    /// Masks a span.
    pub(super) fn hide(&mut self, start: usize, end: usize) {
        self.push(start, end, false, None);
    }

    /// Masks a secret with few possible values. With `bare`, it may be a JSON number, which becomes a string.
    pub(super) fn hide_few(&mut self, start: usize, end: usize, bare: bool) {
        let quotes = if bare && self.is_json_number(start, end) { Some(Quotes::Escaped(0)) } else { None };
        self.push(start, end, true, quotes);
    }

    /// Masks an unquoted value, and adds the quotes that JSON requires, each after this many backslashes.
    pub(super) fn hide_in_quotes(&mut self, start: usize, end: usize, backslashes: u8) {
        self.push(start, end, false, Some(Quotes::Escaped(backslashes)));
    }

    fn push(&mut self, start: usize, end: usize, few: bool, quotes: Option<Quotes>) {
        if start >= end {
            return;
        }
        let span = Span { start, end, few, mark: None, quotes };
        match self.spans.last_mut() {
            Some(last) if last.start == start && last.end <= end && last.mark.is_none() => {
                *last = Span { few: few || last.few, quotes: quotes.or(last.quotes), ..span };
            }
            _ => self.spans.push(span),
        }
    }

    fn is_json_number(&self, start: usize, end: usize) -> bool {
        let before = self.text[..start].iter().rev().take(16).find(|byte| !byte.is_ascii_whitespace());
        let behind = self.text[end..].iter().take(16).find(|byte| !byte.is_ascii_whitespace());
        matches!(before, Some(b':' | b'[' | b',')) && matches!(behind, Some(b',' | b']' | b'}'))
    }

    /// Whether a value with this verdict on its name is masked: `Some(true)` if it has few possible values.
    pub(super) fn hides(&self, verdict: Verdict, value: &[u8], query: bool) -> Option<bool> {
        if is_nothing(value) {
            return None;
        }
        let is_number = value.iter().all(|byte| byte.is_ascii_digit() || b"+-.".contains(byte));
        let in_query = query || self.place != Place::Text;
        let is_hidden = match verdict {
            Verdict::Plain => false,
            Verdict::Secret | Verdict::Few => true,
            Verdict::Several => !is_number,
            Verdict::Code => {
                self.context.is_oauth() && value.len() >= 4 || in_query && value.len() >= 6 || is_random(value, 10)
            }
            Verdict::Ticket => {
                let plain = value.contains(&b' ') || is_number || is_numbered(value);
                !plain && (in_query || self.context.is_oauth()) && value.len() >= 6 || !plain && value.len() >= 8
            }
            Verdict::Key => self.place == Place::Target || is_random(value, 16),
            Verdict::KeyMember => self.context.is_key() && value.len() >= 16,
        };
        is_hidden.then_some(verdict == Verdict::Few)
    }
}

/// Whether a value is empty, or a word that reveals nothing.
fn is_nothing(value: &[u8]) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "none", "nil", "undefined", "yes", "no", "nan"];
    let value = value.trim_ascii();
    value.is_empty() || value.len() <= 9 && WORDS.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// `PROJ-123`, `INC0012345`: capitals, then digits.
fn is_numbered(value: &[u8]) -> bool {
    let letters = value.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let rest = &value[letters..];
    let digits = rest.strip_prefix(b"-").or(rest.strip_prefix(b"#")).or(rest.strip_prefix(b"_")).unwrap_or(rest);
    letters <= 12 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Whether letters, digits and capitals are mixed as in no word or number.
pub(super) fn is_random(value: &[u8], least: usize) -> bool {
    if value.len() < least || value.iter().any(u8::is_ascii_whitespace) {
        return false;
    }
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    };
    let changes = value
        .iter()
        .zip(&value[1..])
        // A capital at the start of a word does not count.
        .filter(|(one, next)| {
            class(**one) != class(**next)
                && class(**one) < 3
                && class(**next) < 3
                && (class(**one), class(**next)) != (2, 1)
        })
        .count();
    changes >= 3 && changes * 8 >= value.len()
}

/// Whether the value of a header with this verdict on its name is masked.
pub(super) fn alone(verdict: Verdict, value: &[u8]) -> bool {
    let context = Context::of(value);
    let scan = Scan::of(value, Place::Text, 0, &context);
    scan.hides(verdict, value, false).is_some()
}
