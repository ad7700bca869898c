//! Display of bodies: decoded, with secrets masked, laid out in lines.
//!
//! Input is untrusted and may be cut anywhere, so nothing here fails: invalid JSON is laid out as far as it looks like JSON, binary
//! content is shown as bytes, and a [`Remark`] reports missing parts. Time and output are bounded by the size of the input and by
//! [`Limits`].

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
    /// Bytes to display.
    pub bytes: Cow<'a, [u8]>,
    /// Codings that were removed, in the order of their application.
    pub undone: Vec<Coding>,
    /// Codings that remain, as the header names them.
    pub left: Option<String>,
    /// Why the decoders stopped.
    pub end: End,
    /// Size of the output of the decoders in bytes.
    pub decoded: usize,
    /// The time for decoding was used up, so there is no content.
    pub skipped: bool,
    /// The body, or the output of the decoders, has more bytes than these.
    pub truncated: bool,
    /// Secrets were masked.
    pub masked: bool,
}

impl<'a> Content<'a> {
    /// Decodes the captured part of a body. Each decoder emits `limit` bytes at most.
    pub fn of(headers: &Fields, body: &'a Body, redactor: Redactor, limit: usize) -> Self {
        let mut content = Self::coded(body);
        // Even a decoder call that has nothing to do costs time.
        if headers.get("content-encoding").is_some() {
            content.decode(headers, body, limit);
        }
        content.mask(headers, redactor);
        content
    }

    /// Decodes within a budget that all bodies of a trace share; `now` is the time of the trace.
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
                // No bytes at all: the redactor cannot see secrets in encoded content.
                content.left = Some(String::from_utf8_lossy(names).into_owned());
                content.bytes = Cow::Borrowed(b"");
                (content.skipped, content.truncated) = (true, true);
            }
        }
        content.mask(headers, redactor);
        content
    }

    /// The body as captured.
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

    /// Shape by the declared type and by the bytes.
    pub fn shape(&self, content_type: &[u8]) -> Shape {
        // Content that is still encoded does not have its declared type.
        Shape::of(if self.left.is_some() { b"" } else { content_type }, self)
    }

    /// The bytes as text if they are UTF-8. If a limit cut the last character in two, the half is omitted.
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

/// Limits of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum output of each decoder in bytes.
    pub decoded: usize,
    /// Maximum number of lines.
    pub lines: usize,
}

impl Default for Limits {
    /// 20,000 lines are enough for scrolling; a pager shows longer bodies.
    fn default() -> Self {
        Self { decoded: DECODED_LIMIT, lines: 20_000 }
    }
}

/// Layout of a body.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Shape of the body.
    pub shape: Shape,
    /// Lines, harmless for a terminal.
    pub lines: Vec<Line>,
    /// Remarks: decoding, cuts, masking, and their reasons.
    pub remarks: Vec<Remark>,
    /// Secrets were masked.
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
