//! Search of a text for secrets: all finders run over the text, then over the texts nested in it.
//!
//! Each finder is one pass and ignores the declared type of the text. Nested texts are searched while the [budget](BUDGET) lasts,
//! and to a bounded depth, so the work is linear in the length of the text.

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

/// Maximum total length of nested texts that are searched, as a multiple of the outer text.
const BUDGET: usize = 12;

/// Finds all secrets of `text`, in order.
pub(super) fn search(text: &[u8], place: Place, content_type: &[u8], marker: Marker) -> Vec<Span> {
    let context = Context::of(text);
    let mut scan = Scan::of(text, place, 0, &context);
    multipart::find(&mut scan, content_type);
    Search { context: &context, marker, budget: text.len().saturating_mul(BUDGET).saturating_add(1024) }.run(scan)
}

/// State that a text and its nested texts share.
struct Search<'a> {
    context: &'a Context<'a>,
    marker: Marker,
    /// Bytes of nested texts that may still be searched.
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
        // A finder with a bounded window may end a span inside a character.
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

    /// Searches a text nested in `text`.
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

/// Records the pieces of a text that are percent-encoded or contain character references.
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
                // A plus sign may mean a blank or itself, so both readings are searched.
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

/// Calls `look` for each piece between the bytes of `is_end`, which encoded text does not contain.
fn pieces<'a>(scan: &mut Scan<'a>, is_end: impl Fn(u8) -> bool, mut look: impl FnMut(&mut Scan<'a>, usize, usize)) {
    let text = scan.text;
    let mut start = 0;
    while start < text.len() {
        let end = text[start..].iter().position(|byte| is_end(*byte)).map_or(text.len(), |at| start + at);
        // Backslashes before a quote belong to the quote.
        let slashes = text[start..end].iter().rev().take_while(|byte| **byte == b'\\').count();
        if start < end - slashes {
            look(scan, start, end - slashes);
        }
        start = end + 1;
    }
}

/// Whether a text can contain a secret. Nearly all header values and targets cannot, and need no search.
pub(super) fn is_worth_it(text: &[u8]) -> bool {
    let mut run = 0;
    text.iter().any(|byte| {
        run = if shape::is_token(*byte) { run + 1 } else { 0 };
        matches!(byte, b'=' | b':' | b'@' | b'%' | b'<' | b'{' | b'[' | b'\\') || run >= 16
    }) || text.len() > 5
        && (memchr::memmem::find(text, b"earer ").is_some() || memchr::memmem::find(text, b"asic ").is_some())
        || text.len() >= 13 && text.iter().filter(|byte| byte.is_ascii_digit()).count() >= 13
}
