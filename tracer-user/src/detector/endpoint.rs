//! What calls have in common: endpoints and upstreams, by name.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::FxHasher;

use crate::{connection::Role, exchange::Exchange};

/// Bytes of a name that are kept to be shown.
const TEXT_LIMIT: usize = 256;

/// Method, host and path of calls that are alike; numbers and the like in the path are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the target is in them.
    pub role: Role,
    /// Method, as on the wire.
    pub method: Box<str>,
    /// Whom the calls are for.
    pub authority: Box<str>,
    /// Path without query; segments that name one thing of many are `{}`.
    pub path: Box<str>,
}

/// What a segment is folded to.
pub const FOLDED: &str = "{}";

/// Whom a call is for: the authority, else the address.
pub fn authority(exchange: &Exchange) -> &str {
    let connection = &exchange.connection;
    exchange.request.as_ref().and_then(|request| request.authority()).unwrap_or(match exchange.role {
        Role::Client => &connection.remote_text,
        Role::Server => &connection.local_text,
    })
}

/// A segment that is a number, a UUID, a hash, or has digits among few letters.
fn names_one_of_many(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    // `v1`, `p3` and `oauth2` name no single thing: letters, and a digit or two.
    let numbered = digits <= 2
        && segment.len() > digits
        && segment.bytes().take(segment.len() - digits).all(|byte| byte.is_ascii_alphabetic());
    digits > 0
        && !numbered
        && (digits * 2 >= segment.len().min(16) || segment.len() >= 16)
        && !(segment.len() <= 3 && segment.starts_with(['v', 'V']))
}

/// A path without its query.
pub fn bare(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    bare(path).split('/').map(|segment| if names_one_of_many(segment) { FOLDED } else { segment })
}

/// The path of an endpoint: without query, segments that name one thing of many folded.
pub fn fold(path: &str) -> String {
    let segments: Vec<&str> = segments(path).collect();
    segments.join("/")
}

/// The endpoint of an exchange as a number; cheap enough for every exchange. `None` where its request was not seen.
pub fn key(exchange: &Exchange) -> Option<u64> {
    let request = exchange.request.as_ref()?;
    let mut hasher = FxHasher::default();
    (exchange.role == Role::Client).hash(&mut hasher);
    hasher.write(request.method.as_bytes());
    hasher.write(authority(exchange).as_bytes());
    for segment in segments(request.path()) {
        hasher.write(segment.as_bytes());
        hasher.write_u8(b'/');
    }
    Some(hasher.finish())
}

/// As much of a name as is kept.
pub fn cut(text: &str) -> Box<str> {
    cut_str(text).into()
}

/// The same, borrowed.
pub fn cut_str(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

impl Endpoint {
    /// That of an exchange whose request was seen.
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let request = exchange.request.as_ref()?;
        Some(Self {
            role: exchange.role,
            method: cut(&request.method),
            authority: cut(authority(exchange)),
            path: cut(&fold(request.path())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_one_of_many_is_folded() {
        assert_eq!(fold("/v1/users/12/orders?x=1"), "/v1/users/{}/orders");
        assert_eq!(fold("/a/550e8400-e29b-41d4-a716-446655440000"), "/a/{}");
        assert_eq!(fold("/a/9f86d081884c7d659a2feaa0c55ad015"), "/a/{}");
        assert_eq!(fold("/oauth2/token"), "/oauth2/token");
        assert_eq!(fold("/api/v12/x"), "/api/v12/x");
        assert_eq!(fold("/orders/ord_8812"), "/orders/{}");
        assert_eq!(fold("/p3/7"), "/p3/{}");
        assert_eq!(fold("/u/ab123"), "/u/{}");
    }
}
