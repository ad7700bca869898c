//! URLs of exchanges.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    model::{
        connection::{Endpoint, Role},
        exchange::{Exchange, Request},
    },
    text::redact::Redactor,
};

/// Part of a URL before the path, for a request in origin form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    /// The scheme of the exchange, and this authority.
    Authority(&'a str),
    /// `http+unix://` and this path of a Unix socket, percent-encoded.
    Unix(&'a str),
    /// The request target is complete (absolute and authority form).
    Target,
    /// The server is unknown, so the URL is the path alone.
    Nothing,
}

/// Base of the URL of a request (RFC 9112 section 3.3). If the request has no authority (HTTP/1.0, or no `Host`), the address of
/// the serving end stands in for it.
pub fn base<'a>(exchange: &'a Exchange, request: &'a Request) -> Base<'a> {
    if request.has_full_target() {
        return Base::Target;
    }
    if let Some(authority) = request.authority().filter(|authority| !authority.is_empty()) {
        return Base::Authority(authority);
    }
    let (server, text) = server(exchange);
    match server {
        Endpoint::Inet(_) => Base::Authority(text),
        Endpoint::Unix(path) if !path.is_empty() => Base::Unix(path),
        Endpoint::Unix(_) | Endpoint::Unknown => Base::Nothing,
    }
}

/// The end of the connection that answers requests, and its text.
pub fn server(exchange: &Exchange) -> (&Endpoint, &str) {
    let connection = &exchange.connection;
    match exchange.role {
        Role::Client => (&connection.remote, &connection.remote_text),
        Role::Server => (&connection.local, &connection.local_text),
    }
}

/// Complete URL of a request, as in JSON: `http://authority/path`, `http+unix://` with the percent-encoded path of the socket, the
/// target itself if it is a URL or of `CONNECT`, or the path alone. Only secrets are changed: a terminal needs
/// [`crate::text::escape::Visible`] too.
pub fn whole(exchange: &Exchange, request: &Request, redactor: Redactor) -> String {
    let path = redactor.url(request.path());
    let (kind, authority) = match base(exchange, request) {
        Base::Authority(authority) => ("://", redactor.authority(authority)),
        Base::Unix(path) => ("+unix://", percent_encoded(path).into()),
        Base::Target => return redactor.url(&request.target).into_owned(),
        Base::Nothing => return path.into_owned(),
    };
    let (slash, path) = after_authority(&path);
    [exchange.scheme.name(), kind, &authority, slash, path].concat()
}

/// Separator and path after an authority. `OPTIONS *` has no path (RFC 9112 section 3.2.4).
pub fn after_authority(path: &str) -> (&'static str, &str) {
    let path = if path == "*" { "" } else { path };
    let slash = if path.is_empty() || path.starts_with(['/', '?']) { "" } else { "/" };
    (slash, path)
}

/// All bytes except the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes all bytes except the unreserved characters of RFC 3986 section 2.3.
pub fn percent_encoded(path: &str) -> String {
    utf8_percent_encode(path, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fixture::{connection, exchange},
        model::{
            connection::ConnectionInfo,
            exchange::{Fields, Scheme},
        },
    };

    fn url(method: &str, target: &str, host: Option<&str>) -> String {
        let mut exchange = exchange();
        let request = exchange.request.as_mut().expect("the fixture has one");
        let mut headers = Fields::default();
        if let Some(host) = host {
            headers.push(b"Host", host.as_bytes());
        }
        *request = Request::new(method.into(), target.into(), request.version, headers);
        whole(&exchange, exchange.request.as_ref().expect("just changed"), Redactor::new(false))
    }

    #[test]
    fn all_forms_of_a_target() {
        assert_eq!(url("GET", "/p?q", Some("h:8080")), "http://h:8080/p?q");
        assert_eq!(url("GET", "/p", None), "http://127.0.0.1:2/p");
        assert_eq!(url("GET", "http://other/p", Some("h")), "http://other/p");
        assert_eq!(url("CONNECT", "h:443", Some("h")), "h:443");
        assert_eq!(url("OPTIONS", "*", Some("h")), "http://h");
        assert_eq!(url("GET", "p", Some("h")), "http://h/p");
    }

    #[test]
    fn the_scheme_is_that_of_the_exchange() {
        let exchange = Exchange { scheme: Scheme::Https, ..exchange() };
        let request = exchange.request.as_ref().expect("the fixture has one");
        assert_eq!(whole(&exchange, request, Redactor::new(false)), "https://h/p?q");
    }

    #[test]
    fn secrets_are_hidden() {
        let shown = url("GET", "/p?token=abc", Some("me:word@h"));
        assert!(shown.starts_with("http://***") && shown.contains("@h/p?token=***"), "{shown}");
        assert!(!shown.contains("abc") && !shown.contains("word"), "{shown}");
    }

    #[test]
    fn unix_sockets() {
        let mut exchange = exchange();
        let socket =
            |path: &str| Arc::new(ConnectionInfo { remote: Endpoint::Unix(path.into()), ..(*connection()).clone() });
        let mut request = exchange.request.clone().expect("the fixture has one");
        request.authority = None;
        exchange.connection = socket("/run/a b.sock");
        assert_eq!(whole(&exchange, &request, Redactor::new(false)), "http+unix://%2Frun%2Fa%20b.sock/p?q");
        exchange.connection = socket("");
        assert_eq!(whole(&exchange, &request, Redactor::new(false)), "/p?q");
    }
}
