//! The address and the request target of a command.

use std::net::Ipv4Addr;

use crate::{
    model::{
        connection::Endpoint,
        exchange::{Exchange, Request, Scheme},
    },
    text::url,
};

/// The way in which curl finds the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect<'a> {
    /// The URL has its address.
    Url,
    /// The URL has a name that may not resolve elsewhere: this is the address.
    Address(&'a str),
    /// A Unix socket; abstract with `@`.
    Unix(&'a str),
    /// The address is not known.
    Unknown,
}

/// The URL, and the parts that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) scheme: Scheme,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) connect: Connect<'a>,
    /// curl makes the only `Host` of the request from the URL.
    pub(super) says_host: bool,
    /// Request target instead of the path of the URL: a target that is no path, or a path that curl would normalize.
    pub(super) asked_for: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(super) fn of(exchange: &'a Exchange, request: &'a Request) -> Self {
        let (server, address) = url::server(exchange);
        let host = request
            .headers
            .get("host")
            .and_then(|host| std::str::from_utf8(host).ok())
            .filter(|host| is_simple_host(host) && request.headers.get_all("host").count() == 1);
        let (connect, stand_in) = match server {
            Endpoint::Inet(_) if host.is_none_or(|host| host == address) => (Connect::Url, address),
            Endpoint::Inet(_) => (Connect::Address(address), address),
            Endpoint::Unix(path) if !path.is_empty() => (Connect::Unix(path), "localhost"),
            Endpoint::Unix(_) | Endpoint::Unknown => (Connect::Unknown, "localhost"),
        };
        let plain = is_plain_path(&request.target);
        Self {
            scheme: exchange.scheme,
            host: host.unwrap_or(stand_in),
            path: if plain { &request.target } else { "/" },
            connect,
            says_host: host.is_some(),
            asked_for: (!plain).then_some(&*request.target),
        }
    }
}

/// A name or address that curl puts into `Host` as it stands in the URL: it leaves port 80 away, and writes numbers that
/// are an address in some notation as addresses.
fn is_simple_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_is_simple = port.is_none_or(|port| {
        !port.starts_with('0') && port != "80" && port.parse::<u16>().is_ok_and(|number| number.to_string() == port)
    });
    let name_is_simple = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse().is_ok_and(|parsed: std::net::Ipv6Addr| parsed.to_string() == address),
        None if name.starts_with(|first: char| first.is_ascii_digit()) => name.parse::<Ipv4Addr>().is_ok(),
        None => {
            !name.is_empty()
                && !name.ends_with('.')
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
        }
    };
    port_is_simple && name_is_simple
}

/// True for a target in origin form that curl sends unchanged.
fn is_plain_path(target: &str) -> bool {
    target.starts_with('/')
        && !target.ends_with('?')
        && !target.contains("/.")
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@?".contains(&byte))
}
