//! What is shown of a body: decoded, with secrets hidden, laid out in lines for a person to read.
//!
//! What arrives here was written by a stranger and may have been cut anywhere. So nothing here fails: what is no JSON
//! is laid out as far as it looks like it, what is no text is shown as bytes, and what is missing is said in a
//! [`Remark`]. Time and output are bounded by the size of the input and by [`Limits`].

mod event_stream;
mod form;
mod hex;
mod json;
mod layout;
mod multipart;
mod remark;
mod shape;
mod text;

use std::borrow::Cow;

pub use layout::{Kind, Line, Piece};
pub use remark::Remark;
pub use shape::Shape;

use crate::{
    event::Timestamp,
    model::exchange::{Body, Fields},
    payload::coding::{self as content, Budget, Coding, DECODED_LIMIT, End},
    text::redact::Redactor,
};
use layout::Lines;

/// A body without its codings and secrets.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// What is to be shown.
    pub bytes: Cow<'a, [u8]>,
    /// Codings that were undone, in the order in which they had been applied.
    pub undone: Vec<Coding>,
    /// Codings that are still on, as the header names them.
    pub left: Option<String>,
    /// Why the decoders stopped.
    pub end: End,
    /// Bytes that came out of the decoders.
    pub decoded: usize,
    /// Nothing of it is given, as the time for decoding was used up.
    pub skipped: bool,
    /// There is more than is shown: of the body itself, or of what came out of the decoders.
    pub truncated: bool,
    /// Secrets in it were replaced.
    pub masked: bool,
}

impl<'a> Content<'a> {
    /// Of the part of a body that was kept. At most `limit` bytes come out of each decoder.
    pub fn of(headers: &Fields, body: &'a Body, redactor: Redactor, limit: usize) -> Self {
        let mut content = Self::coded(body);
        // Decoding may find that there is nothing to do, but to ask costs something too.
        if headers.get("content-encoding").is_some() {
            content.decode(headers, body, limit);
        }
        content.mask(headers, redactor);
        content
    }

    /// The same where every body of a trace is decoded, at `now`: in as much time as there is, and to as many bytes as all of
    /// them may have.
    pub fn within(
        headers: &Fields,
        body: &'a Body,
        redactor: Redactor,
        limit: usize,
        (budget, now): (&mut Budget, Timestamp),
    ) -> Self {
        let mut content = Self::coded(body);
        if let Some(names) = headers.get("content-encoding") {
            let wire = body.captured.len();
            if let Some(room) = budget.room(wire, limit, now) {
                content.decode(headers, body, room);
                if content.end != End::Whole || !content.undone.is_empty() {
                    budget.spend(wire, content.decoded, &content.undone, content.end == End::Bound);
                }
            } else {
                // Nothing at all: what is coded hides the secrets in it from the redactor.
                content.left = Some(String::from_utf8_lossy(names).into_owned());
                content.bytes = Cow::Borrowed(b"");
                (content.skipped, content.truncated) = (true, true);
            }
        }
        content.mask(headers, redactor);
        content
    }

    /// As it came.
    fn coded(body: &'a Body) -> Self {
        Self {
            bytes: Cow::Borrowed(&body.captured),
            undone: Vec::new(),
            left: None,
            end: End::Whole,
            decoded: 0,
            skipped: false,
            truncated: (body.captured.len() as u64) < body.bytes,
            masked: false,
        }
    }

    fn decode(&mut self, headers: &Fields, body: &'a Body, limit: usize) {
        let decoded = content::decode(headers.get_all("content-encoding"), &body.captured, limit);
        self.truncated |= decoded.end != End::Whole;
        self.decoded = decoded.bytes.len();
        self.bytes = decoded.bytes;
        self.undone = decoded.undone;
        self.left = decoded.left;
        self.end = decoded.end;
    }

    fn mask(&mut self, headers: &Fields, redactor: Redactor) {
        if let Cow::Owned(masked) = redactor.body(headers.get("content-type"), &self.bytes) {
            self.bytes = Cow::Owned(masked);
            self.masked = true;
        }
    }

    /// What it is, by what its sender says and by how it looks.
    pub fn shape(&self, content_type: &[u8]) -> Shape {
        // What is still coded is not what its sender calls it.
        Shape::of(if self.left.is_some() { b"" } else { content_type }, self)
    }

    /// The bytes as text, where they are UTF-8. A limit may have cut the last character of truncated text in two: then
    /// the half is left out.
    pub fn text(&self) -> Option<&str> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Some(text),
            Err(error) if self.truncated && error.error_len().is_none() => {
                std::str::from_utf8(&self.bytes[..error.valid_up_to()]).ok().filter(|text| !text.is_empty())
            }
            Err(_) => None,
        }
    }
}

/// How much is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that come out of each decoder.
    pub decoded: usize,
    /// Lines.
    pub lines: usize,
}

impl Default for Limits {
    /// Nobody scrolls through more than 20,000 lines: whoever wants more takes the body to a pager.
    fn default() -> Self {
        Self { decoded: DECODED_LIMIT, lines: 20_000 }
    }
}

/// A body, laid out.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it was taken for.
    pub shape: Shape,
    /// Its lines; harmless for a terminal.
    pub lines: Vec<Line>,
    /// What there is to know about it: what was undone, cut, hidden, and why.
    pub remarks: Vec<Remark>,
    /// Secrets in it were replaced.
    pub masked: bool,
}

/// Lays a body out.
pub fn show(headers: &Fields, body: &Body, redactor: Redactor, limits: Limits) -> Shown {
    let content = Content::of(headers, body, redactor, limits.decoded);
    let content_type = headers.get("content-type").unwrap_or_default();
    let shape = content.shape(content_type);
    let mut lines = Lines::new(limits.lines);
    lay_out(shape, content_type, &content.bytes, content.truncated, redactor, &mut lines);
    let more = lines.overflowed();
    let mut remarks = remark::of(body, &content);
    if more {
        remarks.push(Remark::Lines(limits.lines));
    }
    Shown { shape, lines: lines.finish(), remarks, masked: content.masked }
}

fn lay_out(shape: Shape, content_type: &[u8], bytes: &[u8], truncated: bool, redactor: Redactor, lines: &mut Lines) {
    match shape {
        Shape::Empty => {}
        Shape::Json => json::lay_out(bytes, truncated, lines),
        Shape::Form => form::lay_out(bytes, redactor, lines),
        Shape::EventStream => event_stream::lay_out(bytes, lines),
        Shape::Multipart => multipart::lay_out(content_type, bytes, truncated, redactor, lines),
        Shape::Text => text::lay_out(bytes, shape::is_latin1(content_type), lines),
        Shape::Binary => hex::lay_out(bytes, lines),
    }
}

#[cfg(test)]
mod tests;
