//! Masking of secrets before anything is printed, unless `--show-secrets` is given.
//!
//! Outputs, screens, copies, incidents and filters pass every request target, authority, field and body through a [`Redactor`]
//! before they show or compare it. A [mark](mark) replaces a secret.
//!
//! Three rules identify a secret, the same everywhere (docs/secrets.md has the list):
//!
//! - by [names](name), of parameters, fields, cookies, members, elements, wherever a name has a value;
//! - by place: the user information of an authority, the value of `Authorization` or of a cookie;
//! - by [shape], whatever the name: tokens with a known beginning, private keys, card numbers.
//!
//! The [search](mod@search) applies all rules to any text, whatever its declared type, and to the texts nested in it.

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

/// Masks secrets, or shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redactor {
    show_secrets: bool,
    marker: Marker,
}

impl Redactor {
    /// Creates a redactor without a key, whose marks are all equal. With `show_secrets`, it changes nothing.
    pub const fn new(show_secrets: bool) -> Self {
        Self { show_secrets, marker: Marker { key: None } }
    }

    /// Sets the key with which equal secrets get equal marks.
    #[must_use]
    pub const fn with_key(self, key: Option<MarkKey>) -> Self {
        Self { marker: Marker { key }, ..self }
    }

    /// Returns a copy that shows secrets, or masks them.
    #[must_use]
    pub const fn showing(self, show_secrets: bool) -> Self {
        Self { show_secrets, ..self }
    }

    /// Whether secrets are masked.
    pub const fn hides(self) -> bool {
        !self.show_secrets
    }

    /// Masks the value of a header or trailer field. Credentials keep their scheme, cookies their names and attributes, and other
    /// values everything except secrets.
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
                    // Nearly all values are a name and a port.
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

    /// Masks secrets in a URL, a request target, or a part of one.
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

    /// Masks the user information of an authority.
    pub fn authority(self, text: &str) -> Cow<'_, str> {
        match text.rsplit_once('@') {
            Some((user, host)) if !self.show_secrets => {
                Cow::Owned(format!("{}@{host}", String::from_utf8_lossy(&self.marker.mark(user.as_bytes()))))
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Masks secrets in any other text of a message, such as a reason phrase.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        if self.show_secrets {
            return Cow::Borrowed(text);
        }
        as_text(text, self.scanned(text.as_bytes(), Place::Text))
    }

    /// Masks secrets in a body without content codings. The declared type only decides where a value of a form ends, and which
    /// boundary a multipart body has.
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

/// Whether the body looks like `a=1&b=2`, without characters that a form encodes and other text mostly has.
fn looks_like_form(body: &[u8]) -> bool {
    memchr::memchr(b'=', body).is_some() && !body.iter().any(|byte| *byte <= b' ' || b"{}<>\"".contains(byte))
}

fn as_text<'a>(text: &'a str, masked: Cow<'_, [u8]>) -> Cow<'a, str> {
    match masked {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // Spans lie between whole characters, and marks are ASCII, so the result is UTF-8.
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

#[cfg(test)]
mod tests;
