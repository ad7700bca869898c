//! What is printed: the same updates as JSON for programs or as lines for people.

use std::io;

use crate::{
    connection::{Endpoint, Role},
    engine::Update,
    event::Timestamp,
    exchange::{Exchange, Outcome, Request},
};

mod buffer;
mod clock;
pub mod errno;
#[cfg(test)]
mod fixture;
pub mod json;
pub mod line;

/// Something that takes what the engine found out.
pub trait Output {
    /// Nanoseconds to add to a timestamp to get Unix time: [`crate::engine::Engine::realtime_offset_ns`], from the
    /// first update on.
    fn set_realtime_offset(&mut self, nanoseconds: i64);

    /// The terminal has this width now; `None` where there is none. Only lines for people care.
    fn set_width(&mut self, _width: Option<usize>) {}

    /// Takes one update. What it becomes is written whole lines at a time, some of it only at the next [`flush`].
    ///
    /// # Errors
    ///
    /// Those of the writer.
    ///
    /// [`flush`]: Self::flush
    fn write(&mut self, update: &Update) -> io::Result<()>;

    /// Hands everything on to the writer.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn flush(&mut self) -> io::Result<()>;
}

/// What stands before the path in the URL of a request in origin form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base<'a> {
    /// `http://` and this authority.
    Authority(&'a str),
    /// `http+unix://` and this path of a Unix socket, percent-encoded.
    Unix(&'a str),
    /// The target says it all (absolute and authority form).
    Target,
    /// Nothing is known: the URL is the path alone.
    Nothing,
}

/// Where a request went (RFC 9112 section 3.3). Without an authority of its own (HTTP/1.0, or no `Host`), that is the
/// address of the connection's serving end.
fn base<'a>(exchange: &'a Exchange, request: &'a Request) -> Base<'a> {
    let origin_form = request.target.starts_with('/');
    if !origin_form
        && (&*request.method == "CONNECT"
            || request.target.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)))
    {
        return Base::Target;
    }
    if let Some(authority) = request.authority().filter(|authority| !authority.is_empty()) {
        return Base::Authority(authority);
    }
    let connection = &exchange.connection;
    let (server, text) = match exchange.role {
        Role::Client => (&connection.remote, &connection.remote_text),
        Role::Server => (&connection.local, &connection.local_text),
    };
    match server {
        Endpoint::Inet(_) => Base::Authority(text),
        Endpoint::Unix(path) if !path.is_empty() => Base::Unix(path),
        Endpoint::Unix(_) | Endpoint::Unknown => Base::Nothing,
    }
}

/// When the exchange was over; `None` while it is open, whatever was seen of it.
fn end(exchange: &Exchange) -> Option<Timestamp> {
    exchange.timing.end.filter(|_| exchange.outcome != Outcome::InFlight)
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}
