//! Secrets are hidden before anything is printed, unless `--show-secrets` says otherwise.
//!
//! This is the one seam: what an output, a screen, a copy, an incident or a filter shows or compares of a request target, an
//! authority, a field or a body has gone through a [`Redactor`]. What stands for a secret is its [mark](mark).
//!
//! What counts as a secret is decided in three ways, the same everywhere (docs/secrets.md has the list):
//!
//! - by [names](name), of parameters, fields, cookies, members, elements, wherever a name has a value;
//! - by place: the user information of an authority, the value of `Authorization` or of a cookie;
//! - by [shape], whatever the name: tokens with a known beginning, private keys, card numbers.
//!
//! The [search](mod@search) looks for all of them in any text, whatever it is said to be, and in the texts that are in it.

mod assign;
mod authority;
mod decode;
mod header;
mod json;
mod list;
mod mark;
mod markup;
mod multipart;
mod name;
mod scan;
mod search;
mod shape;
mod span;
mod word;

use std::borrow::Cow;

pub use mark::MarkKey;

use header::Field;
use mark::Marker;
use scan::Place;
use search::search;

/// Hides secrets, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redactor {
    show_secrets: bool,
    marker: Marker,
}

impl Redactor {
    /// With `show_secrets`, everything is left as it is. Without a key, all marks are the same.
    pub const fn new(show_secrets: bool) -> Self {
        Self { show_secrets, marker: Marker { key: None } }
    }

    /// Makes equal marks for equal secrets.
    #[must_use]
    pub const fn with_key(self, key: Option<MarkKey>) -> Self {
        Self { marker: Marker { key }, ..self }
    }

    /// The same, with or without secrets.
    #[must_use]
    pub const fn showing(self, show_secrets: bool) -> Self {
        Self { show_secrets, ..self }
    }

    /// Whether secrets are hidden.
    pub const fn hides(self) -> bool {
        !self.show_secrets
    }

    /// The value of a header or trailer field. Credentials keep their scheme, cookies their names and attributes, anything
    /// else all but the secrets in it.
    pub fn header<'a>(self, name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
        if self.show_secrets || value.is_empty() {
            return Cow::Borrowed(value);
        }
        let marker = self.marker;
        let own = |masked: Option<Vec<u8>>| masked.map(Cow::Owned);
        match header::of(name) {
            Field::Perhaps(verdict) if scan::alone(verdict, value) => Cow::Owned(marker.mark(value).to_vec()),
            Field::Any | Field::Perhaps(_) => self.scanned(value, Place::Text),
            Field::Secret => Cow::Owned(marker.mark(value).to_vec()),
            Field::Few => Cow::Owned(Marker::default().mark(value).to_vec()),
            Field::Credentials => Cow::Owned(header::credentials(value, marker)),
            Field::Challenge => {
                own(header::challenge(value, marker)).unwrap_or_else(|| self.scanned(value, Place::Text))
            }
            Field::Cookie => Cow::Owned(header::cookies(value, marker)),
            Field::SetCookie => Cow::Owned(header::set_cookie(value, marker)),
            Field::Authority => {
                own(header::authorities(value, marker)).unwrap_or_else(|| {
                    // Nearly all are a name and a port.
                    if memchr::memchr2(b'=', b'%', value).is_none() {
                        Cow::Borrowed(value)
                    } else {
                        self.scanned(value, Place::Text)
                    }
                })
            }
            Field::Protocols => own(header::protocols(value, marker)).unwrap_or(Cow::Borrowed(value)),
        }
    }

    /// A URL, a request target or a part of one.
    pub fn url(self, text: &str) -> Cow<'_, str> {
        if self.show_secrets {
            return Cow::Borrowed(text);
        }
        // `CONNECT user:password@host:443`: an authority alone.
        if !text.contains(['/', '?', '=']) && text.contains('@') {
            return self.authority(text);
        }
        as_text(text, self.scanned(text.as_bytes(), Place::Target))
    }

    /// An authority: the user information before the host.
    pub fn authority(self, text: &str) -> Cow<'_, str> {
        match text.rsplit_once('@') {
            Some((user, host)) if !self.show_secrets => {
                Cow::Owned(format!("{}@{host}", String::from_utf8_lossy(&self.marker.mark(user.as_bytes()))))
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Any other text of a message: a reason phrase, the name of a protocol.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        if self.show_secrets {
            return Cow::Borrowed(text);
        }
        as_text(text, self.scanned(text.as_bytes(), Place::Text))
    }

    /// A body without its content codings, whatever its sender calls it: the type only says where a value of a form ends, and
    /// which boundary a multipart body has.
    pub fn body<'a>(self, content_type: Option<&[u8]>, body: &'a [u8]) -> Cow<'a, [u8]> {
        if self.show_secrets {
            return Cow::Borrowed(body);
        }
        let content_type = content_type.unwrap_or_default().trim_ascii_start();
        let is_form = content_type.get(..FORM.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM))
            && !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'<' | b'-'));
        let place = if is_form || looks_like_form(body) { Place::Form } else { Place::Text };
        let spans = search(body, place, content_type, self.marker);
        if spans.is_empty() { Cow::Borrowed(body) } else { Cow::Owned(span::apply(body, &spans)) }
    }

    fn scanned(self, text: &[u8], place: Place) -> Cow<'_, [u8]> {
        if !search::is_worth_it(text) {
            return Cow::Borrowed(text);
        }
        let spans = search(text, place, b"", self.marker);
        if spans.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(span::apply(text, &spans)) }
    }
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// `a=1&b=2`, without anything that a form would encode and other text mostly has.
fn looks_like_form(body: &[u8]) -> bool {
    memchr::memchr(b'=', body).is_some() && !body.iter().any(|byte| *byte <= b' ' || b"{}<>\"".contains(byte))
}

fn as_text<'a>(text: &'a str, masked: Cow<'_, [u8]>) -> Cow<'a, str> {
    match masked {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // What is replaced lies between ASCII characters and is replaced by ASCII, so this is UTF-8 again.
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

#[cfg(test)]
mod tests;
