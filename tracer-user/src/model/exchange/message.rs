//! Messages of HTTP: requests, final responses and interim responses.

use strum::IntoStaticStr;

use crate::{event::Timestamp, model::connection::ConnectionInfo};

/// Scheme of a request's URI (RFC 9110 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Scheme {
    /// `http`: in clear text.
    Http,
    /// `https`: over TLS.
    Https,
}

impl Scheme {
    /// The scheme of requests on a connection, where the requests do not name it themselves.
    pub fn of(connection: &ConnectionInfo) -> Self {
        if connection.tls.is_some() { Self::Https } else { Self::Http }
    }

    /// The name in a URI.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// HTTP version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum Version {
    /// HTTP/1.0.
    #[strum(serialize = "1.0")]
    Http10,
    /// HTTP/1.1.
    #[strum(serialize = "1.1")]
    Http11,
}

impl Version {
    /// The number alone: `1.0`, `1.1`.
    pub fn number(self) -> &'static str {
        self.into()
    }
}

/// Part of [`Fields::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the first byte.
    pub start: u32,
    /// Index after the last byte.
    pub end: u32,
}

/// Field lines (headers or trailers) in wire order. Names and values are as on the wire, without the whitespace around
/// values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Bytes that the spans index.
    pub bytes: Vec<u8>,
    /// Name and value of each line, in order.
    pub lines: Vec<(Span, Span)>,
}

impl Fields {
    /// Name and value of each line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|(name, value)| (self.slice(*name), self.slice(*value)))
    }

    /// Value of the first line with this name (ASCII case ignored).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Values of all lines with this name (ASCII case ignored), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The bytes of a span.
    pub fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.bytes.capacity() + self.lines.capacity() * size_of::<(Span, Span)>()
    }

    /// Appends a line.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append(name);
        let value = self.append(value);
        self.lines.push((name, value));
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span { start, end: self.bytes.len() as u32 }
    }
}

/// Content of a message (RFC 9110 section 6.4), after the transfer coding is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes of content on the wire: before content decoding, without chunk framing.
    pub bytes: u64,
    /// The first bytes of the content, up to the limit or the first missing byte.
    pub captured: Vec<u8>,
    /// Bytes within the limit that could not be captured (loss, `sendfile`).
    pub missing: u64,
}

/// A request, as far as it was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, as on the wire.
    pub method: Box<str>,
    /// Request target as on the wire: origin, absolute, authority or asterisk form (RFC 9112 section 3.2).
    pub target: Box<str>,
    /// Authority that the request is for (RFC 9110 section 7.2), as on the wire; `None` where the request names none.
    pub authority: Option<Box<str>>,
    /// Version of the message.
    pub version: Version,
    /// Header section.
    pub headers: Fields,
    /// Content.
    pub body: Body,
    /// Trailer section.
    pub trailers: Fields,
}

impl Request {
    /// A request without content. The authority is that of the target in absolute or authority form, else `Host`.
    pub fn new(method: Box<str>, target: Box<str>, version: Version, headers: Fields) -> Self {
        let authority = if let Some(rest) = after_scheme(&target) {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            Some(&rest[..end])
        } else if &*method == CONNECT {
            Some(&*target)
        } else {
            headers.get("host").and_then(|host| std::str::from_utf8(host).ok())
        };
        let authority = authority.map(Box::from);
        Self { method, target, authority, version, headers, body: Body::default(), trailers: Fields::default() }
    }

    /// Authority that the request is for; `None` where it names none.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Bytes of memory that its head takes.
    pub fn weight(&self) -> usize {
        let authority = self.authority.as_ref().map_or(0, |authority| authority.len());
        self.method.len() + self.target.len() + authority + self.headers.weight() + self.trailers.weight()
    }

    /// Path with query: the target in origin form. `*` for asterisk form, empty for CONNECT.
    pub fn path(&self) -> &str {
        if let Some(rest) = after_scheme(&self.target) {
            return rest.find(['/', '?']).map_or("/", |start| &rest[start..]);
        }
        if &*self.method == CONNECT { "" } else { &self.target }
    }

    /// Whether the target alone says where the request goes: absolute form, or authority form of CONNECT.
    pub fn has_full_target(&self) -> bool {
        after_scheme(&self.target).is_some() || (&*self.method == CONNECT && !self.target.starts_with('/'))
    }
}

/// The method whose target is an authority (RFC 9112 section 3.2.3).
const CONNECT: &str = "CONNECT";

/// The rest of a target in absolute form after `scheme://`; `None` for the other forms.
fn after_scheme(target: &str) -> Option<&str> {
    // Nearly all targets are in origin form, and outputs need the path several times.
    if target.starts_with('/') {
        return None;
    }
    let (scheme, rest) = target.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (!scheme.is_empty() && scheme.bytes().all(is_scheme)).then_some(rest)
}

/// A response, as far as it was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Reason phrase, as on the wire.
    pub reason: Box<str>,
    /// Version of the message.
    pub version: Version,
    /// Header section.
    pub headers: Fields,
    /// Content.
    pub body: Body,
    /// Trailer section.
    pub trailers: Fields,
}

impl Response {
    /// Bytes of memory that its head takes.
    pub fn weight(&self) -> usize {
        self.reason.len() + self.headers.weight() + self.trailers.weight()
    }
}

/// An interim response (RFC 9110 section 15.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterimResponse {
    /// Status code, 100 to 199 without 101.
    pub status: u16,
    /// Header section.
    pub headers: Fields,
    /// When its last byte moved.
    pub time: Timestamp,
}

impl InterimResponse {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.headers.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, host: Option<&[u8]>) -> Request {
        let mut headers = Fields::default();
        if let Some(host) = host {
            headers.push(b"Host", host);
        }
        Request::new(method.into(), target.into(), Version::Http11, headers)
    }

    #[test]
    fn the_authority_is_that_of_the_target_else_host() {
        for (method, target, host, authority, path, full) in [
            ("GET", "/p?q", Some("h:8080"), Some("h:8080"), "/p?q", false),
            ("GET", "/p", None, None, "/p", false),
            ("GET", "http://other/p?q", Some("h"), Some("other"), "/p?q", true),
            ("GET", "https://other", Some("h"), Some("other"), "/", true),
            ("GET", "http://other?q", Some("h"), Some("other"), "?q", true),
            ("CONNECT", "h:443", Some("x"), Some("h:443"), "", true),
            ("OPTIONS", "*", Some("h"), Some("h"), "*", false),
            ("GET", "/to/http://other/", Some("h"), Some("h"), "/to/http://other/", false),
        ] {
            let request = request(method, target, host.map(str::as_bytes));
            assert_eq!(
                (request.authority(), request.path(), request.has_full_target()),
                (authority, path, full),
                "{method} {target}"
            );
        }
        assert_eq!(request("GET", "/", Some(b"\xff")).authority(), None);
    }
}
