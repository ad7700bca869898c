//! The search of a text for secrets: all finders over the text, then over the texts that are in it.
//!
//! Each finder is one pass; none trusts what the text is said to be, so a form that is called JSON is read like any other.
//! Texts in texts are searched as long as the [budget](BUDGET) lasts, and to a bounded depth: with both, the work is linear in
//! the length of the text.

use super::{
    assign, authority,
    decode::Coding,
    json,
    mark::Marker,
    markup, multipart,
    scan::{Context, Nested, Place, Scan},
    shape,
    span::{Span, settle},
};

/// Bytes of inner texts that are searched, as a multiple of the outer text.
const BUDGET: usize = 12;

/// All that is to be hidden in `text`, in order.
pub(super) fn search(text: &[u8], place: Place, content_type: &[u8], marker: Marker) -> Vec<Span> {
    let context = Context::of(text);
    let mut scan = Scan::of(text, place, 0, &context);
    multipart::find(&mut scan, content_type);
    Search { context: &context, marker, budget: text.len().saturating_mul(BUDGET).saturating_add(1024) }.run(scan)
}

/// A search, whose texts share facts and a budget.
struct Search<'a> {
    context: &'a Context<'a>,
    marker: Marker,
    /// Bytes of inner texts that may still be searched.
    budget: usize,
}

impl Search<'_> {
    fn run(&mut self, mut scan: Scan<'_>) -> Vec<Span> {
        shape::find(&mut scan);
        authority::find(&mut scan);
        assign::find(&mut scan);
        if memchr::memchr2(b'{', b'[', scan.text).is_some() || memchr::memchr(b'"', scan.text).is_some() {
            json::find(&mut scan);
        }
        if memchr::memchr(b'<', scan.text).is_some() {
            markup::find(&mut scan);
        }
        encoded(&mut scan);
        let Scan { text, depth, mut spans, nested, .. } = scan;
        for inner in nested {
            self.descend(text, depth, inner, &mut spans);
        }
        // What is looked at for a bounded length may end inside a character.
        for span in &mut spans {
            span.keep_characters(text);
        }
        settle(&mut spans);
        for span in &mut spans {
            let secret = &text[span.start..span.end];
            let marker = if span.few { Marker::default() } else { self.marker };
            span.mark.get_or_insert_with(|| marker.mark(secret));
        }
        spans
    }

    /// Searches a text that is in `text`.
    fn descend(&mut self, text: &[u8], depth: u32, nested: Nested, spans: &mut Vec<Span>) {
        let Nested { start, end, coding } = nested;
        let Some(budget) = self.budget.checked_sub(end - start) else { return };
        self.budget = budget;
        let outer = &text[start..end];
        let inner = coding.undo(outer);
        let mut found = self.run(Scan::of(&inner, Place::Text, depth + 1, self.context));
        coding.bring_back(outer, start, &mut found);
        spans.append(&mut found);
    }
}

/// Hands over the pieces of a text that are percent-encoded or have character references.
fn encoded(scan: &mut Scan<'_>) {
    if Coding::Percent.is_in(scan.text) || scan.place != Place::Text && Coding::Form.is_in(scan.text) {
        pieces(
            scan,
            |byte| byte <= b' ' || b"\"'<>`".contains(&byte),
            |scan, start, end| {
                let text = &scan.text[start..end];
                let encoded = Coding::Percent.is_in(text);
                if encoded {
                    scan.inner(start, end, Coding::Percent);
                }
                // A plus sign may be a blank or be meant: both are tried.
                if (encoded || scan.place != Place::Text) && Coding::Form.is_in(text) {
                    scan.inner(start, end, Coding::Form);
                }
            },
        );
    }
    if Coding::Markup.is_in(scan.text) {
        pieces(
            scan,
            |byte| b"\"<>".contains(&byte),
            |scan, start, end| {
                if Coding::Markup.is_in(&scan.text[start..end]) {
                    scan.inner(start, end, Coding::Markup);
                }
            },
        );
    }
}

/// Calls `look` for each piece between bytes that end one: an encoded text has none of them, and its quotes must not be mixed
/// with those around it.
fn pieces<'a>(scan: &mut Scan<'a>, is_end: impl Fn(u8) -> bool, mut look: impl FnMut(&mut Scan<'a>, usize, usize)) {
    let text = scan.text;
    let mut start = 0;
    while start < text.len() {
        let end = text[start..].iter().position(|byte| is_end(*byte)).map_or(text.len(), |at| start + at);
        // Backslashes before a quote belong to it.
        let slashes = text[start..end].iter().rev().take_while(|byte| **byte == b'\\').count();
        if start < end - slashes {
            look(scan, start, end - slashes);
        }
        start = end + 1;
    }
}

/// A text in which nothing could be found needs no scan: nearly all header values and targets are so.
pub(super) fn is_worth_it(text: &[u8]) -> bool {
    let mut run = 0;
    text.iter().any(|byte| {
        run = if shape::is_token(*byte) { run + 1 } else { 0 };
        matches!(byte, b'=' | b':' | b'@' | b'%' | b'<' | b'{' | b'[' | b'\\') || run >= 16
    }) || text.len() > 5
        && (memchr::memmem::find(text, b"earer ").is_some() || memchr::memmem::find(text, b"asic ").is_some())
        || text.len() >= 13 && text.iter().filter(|byte| byte.is_ascii_digit()).count() >= 13
}
