//! Secrets are hidden before anything is printed, unless `--show-secrets` says otherwise.
//!
//! What stands for a secret is its [mark](mark).
//!
//! What counts as a secret is decided by names (of headers, parameters and keys), never by how a value looks: see
//! [`header`](Redactor::header), [`url`](Redactor::url) and [`body`](Redactor::body).

mod mark;
mod multipart;
mod name;

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2, memrchr};

pub use mark::MarkKey;
use mark::Marker;
use name::{Place, is_secret};

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

    /// A header's value. Credentials keep their scheme, cookies their names and attributes, URLs all but their secrets.
    pub fn header<'a>(self, name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
        if self.show_secrets || value.is_empty() {
            return Cow::Borrowed(value);
        }
        match name::of_header(name) {
            name::Header::Plain => Cow::Borrowed(value),
            name::Header::Secret => Cow::Owned(self.marker.mark(value).to_vec()),
            name::Header::Credentials => Cow::Owned(credentials(value, self.marker)),
            name::Header::Cookie => Cow::Owned(cookies(value, self.marker)),
            name::Header::SetCookie => Cow::Owned(set_cookie(value, self.marker)),
            name::Header::Url => url(value, self.marker).map_or(Cow::Borrowed(value), Cow::Owned),
        }
    }

    /// A URL, a request target or a part of one: values of secret parameters, and the user information before the host.
    pub fn url(self, text: &str) -> Cow<'_, str> {
        if self.show_secrets {
            return Cow::Borrowed(text);
        }
        // What is replaced lies between ASCII delimiters and is replaced by ASCII, so this is UTF-8 again.
        url(text.as_bytes(), self.marker)
            .map_or(Cow::Borrowed(text), |bytes| String::from_utf8_lossy(&bytes).into_owned().into())
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

    /// A body: values of secret parameters in a form, secret parts of a multipart form, and values of secret keys in
    /// anything that has `"key": "value"` in it.
    ///
    /// `"secret": {...}` and arrays are gone into, not replaced. XML is left as it is.
    pub fn body<'a>(self, content_type: Option<&[u8]>, body: &'a [u8]) -> Cow<'a, [u8]> {
        if self.show_secrets {
            return Cow::Borrowed(body);
        }
        let content_type = content_type.unwrap_or_default().trim_ascii_start();
        let is = |prefix: &str| {
            content_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let masked = if is("application/x-www-form-urlencoded") || content_type.is_empty() && looks_like_form(body) {
            parameters(body, 0, Place::Form, self.marker)
        } else if is("multipart/") {
            multipart::mask(content_type, body, self.marker)
        } else if is("image/") || is("video/") || is("audio/") || is("font/") || is("application/octet-stream") {
            None
        } else {
            keys(body, self.marker)
        };
        masked.map_or(Cow::Borrowed(body), Cow::Owned)
    }
}

/// `Basic xyz`: the scheme stays.
fn credentials(value: &[u8], marker: Marker) -> Vec<u8> {
    let (scheme, secret) = match memchr(b' ', value) {
        Some(space) if value[..space].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') => {
            value.split_at(space + 1)
        }
        _ => (&[][..], value),
    };
    [scheme, &marker.mark(secret)].concat()
}

/// `a=1; b=2`: the names stay.
fn cookies(value: &[u8], marker: Marker) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (index, cookie) in value.split(|&byte| byte == b';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        let secret = memchr(b'=', cookie).map_or(0, |equals| equals + 1);
        let secret = if secret == 0 { cookie.len() - cookie.trim_ascii_start().len() } else { secret };
        out.extend_from_slice(&cookie[..secret]);
        if secret < cookie.len() {
            out.extend_from_slice(&marker.mark(&cookie[secret..]));
        }
    }
    out
}

/// `a=1; Path=/`: the name and all attributes stay.
fn set_cookie(value: &[u8], marker: Marker) -> Vec<u8> {
    let (cookie, attributes) = value.split_at(memchr(b';', value).unwrap_or(value.len()));
    let mut out = cookies(cookie, marker);
    out.extend_from_slice(attributes);
    out
}

/// `None` where nothing is to be hidden.
fn url(text: &[u8], marker: Marker) -> Option<Vec<u8>> {
    let end_of_path = memchr2(b'?', b'#', text).unwrap_or(text.len());
    let user = user_information(&text[..end_of_path]);
    let queried = if end_of_path < text.len() { parameters(text, end_of_path + 1, Place::Query, marker) } else { None };
    let Some((start, end)) = user else { return queried };
    // The user information stands before the query: its place is the same in what `parameters` gave.
    let rest = queried.as_deref().unwrap_or(text);
    Some([&text[..start], &marker.mark(&text[start..end]), &rest[end..]].concat())
}

/// Where `user:password` stands in `scheme://user:password@host/path`.
fn user_information(text: &[u8]) -> Option<(usize, usize)> {
    if let [b'/', second, ..] = text
        && *second != b'/'
    {
        return None;
    }
    let start = text.windows(2).position(|pair| pair == b"//")? + 2;
    // `/a//b@c` is a path: a scheme, or nothing at all, stands before an authority.
    if start > 2 && text[start - 3] != b':' {
        return None;
    }
    let authority = &text[start..];
    let authority = &authority[..memchr(b'/', authority).unwrap_or(authority.len())];
    memrchr(b'@', authority).map(|at| (start, start + at))
}

/// `a=1&b=2` from `start` on; `None` where nothing is to be hidden.
fn parameters(text: &[u8], start: usize, place: Place, marker: Marker) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = start;
    while at < text.len() {
        let end = text[at..].iter().position(|byte| matches!(byte, b'&' | b';' | b'#')).map_or(text.len(), |n| at + n);
        if let Some(equals) = memchr(b'=', &text[at..end]) {
            let value = at + equals + 1;
            if value < end && is_secret(&text[at..at + equals], place) {
                let out = out.get_or_insert_default();
                out.extend_from_slice(&text[copied..value]);
                out.extend_from_slice(&marker.mark(&text[value..end]));
                copied = end;
            }
        }
        at = end + 1;
    }
    out.as_mut()?.extend_from_slice(&text[copied..]);
    out
}

/// `a=1&b=2`, without anything that a form would encode and other text mostly has.
fn looks_like_form(body: &[u8]) -> bool {
    body.contains(&b'=') && !body.iter().any(|byte| *byte <= b' ' || b"{}<>\"".contains(byte))
}

/// `"key": "value"` and `"key": 123`, wherever they stand; `None` where nothing is to be hidden.
fn keys(text: &[u8], marker: Marker) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    for colon in memchr_iter(b':', text) {
        if colon < copied {
            continue;
        }
        let before = text[..colon].trim_ascii_end();
        let Some(before) = before.strip_suffix(b"\"") else { continue };
        // Where JSON is inside a JSON string, quotes have backslashes: then the value's have them as well.
        let (before, escaped) = before.strip_suffix(b"\\").map_or((before, false), |before| (before, true));
        let window = before.len().saturating_sub(name::MAX_LENGTH + 1);
        let Some(quote) = memrchr(b'"', &before[window..]) else { continue };
        if !is_secret(&before[window + quote + 1..], Place::Key) {
            continue;
        }
        let value = text.len() - text[colon + 1..].trim_ascii_start().len();
        let Some((start, end)) = value_at(text, value, escaped) else { continue };
        let out = out.get_or_insert_default();
        out.extend_from_slice(&text[copied..start]);
        let quoted = start > value;
        if !quoted {
            out.push(b'"');
        }
        out.extend_from_slice(&marker.mark(&text[start..end]));
        if !quoted {
            out.push(b'"');
        }
        copied = end;
    }
    out.as_mut()?.extend_from_slice(&text[copied..]);
    out
}

/// Where the string (without its quotes) or number at `start` stands; `None` for anything else, and for `""`.
fn value_at(text: &[u8], start: usize, escaped: bool) -> Option<(usize, usize)> {
    let value = &text[start..];
    let opening: &[u8] = if escaped { b"\\\"" } else { b"\"" };
    let (start, end) = if value.starts_with(opening) {
        let start = start + opening.len();
        // A value that was cut off is hidden to the end.
        (start, end_of_string(text, start, escaped))
    } else if value.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-') {
        let length = value.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        (start, start + length)
    } else {
        return None;
    };
    (end > start).then_some((start, end))
}

/// Where the closing quote of a string stands (with its backslash, where `escaped`), or the end of the text.
fn end_of_string(text: &[u8], start: usize, escaped: bool) -> usize {
    let mut from = start;
    while let Some(found) = memchr(b'"', &text[from..]) {
        let quote = from + found;
        let backslashes = text[start..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
        // One level down, the closing quote has one backslash, and a quote inside the string has three.
        if escaped && backslashes == 1 {
            return quote - 1;
        }
        if !escaped && backslashes % 2 == 0 {
            return quote;
        }
        // Not closed on its own level, but by the string around it.
        if escaped && backslashes == 0 {
            return quote;
        }
        from = quote + 1;
    }
    text.len()
}

#[cfg(test)]
mod tests;
