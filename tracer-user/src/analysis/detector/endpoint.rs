//! Endpoints and upstreams: grouping of similar calls by name.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::FxHasher;

use crate::{
    model::{connection::Role, exchange::Exchange},
    text::redact::Redactor,
};

/// Maximum length in bytes of a name kept for display.
const TEXT_LIMIT: usize = 256;

/// Method, host and path of similar calls. Path segments that are IDs are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Role of the target in the calls.
    pub role: Role,
    /// Method, as sent.
    pub method: Box<str>,
    /// Host and optional port that the calls are addressed to.
    pub authority: Box<str>,
    /// Path without query; segments that are IDs are `{}`.
    pub path: Box<str>,
}

/// Maximum number of addresses kept of similar calls, or of names of one address.
pub const NAMES: usize = 8;

/// Replacement of a folded segment.
pub const FOLDED: &str = "{}";

/// Authority of a call; the address if the request has none.
pub fn authority(exchange: &Exchange) -> &str {
    let connection = &exchange.connection;
    exchange.request.as_ref().and_then(|request| request.authority()).unwrap_or(match exchange.role {
        Role::Client => &connection.remote_text,
        Role::Server => &connection.local_text,
    })
}

/// Whether a segment is an ID: a number, a UUID, a hash, or digits with few letters.
fn names_one_of_many(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    // `v1`, `p3` and `oauth2` are no IDs: letters followed by one or two digits.
    let numbered = digits <= 2
        && segment.len() > digits
        && segment.bytes().take(segment.len() - digits).all(|byte| byte.is_ascii_alphabetic());
    digits > 0
        && !numbered
        && (digits * 2 >= segment.len().min(16) || segment.len() >= 16)
        && !(segment.len() <= 3 && segment.starts_with(['v', 'V']))
}

/// Path without query and fragment.
pub fn bare(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    bare(path).split('/').map(|segment| if names_one_of_many(segment) { FOLDED } else { segment })
}

/// Path of an endpoint: without query, with folded segments.
pub fn fold(path: &str) -> String {
    let segments: Vec<&str> = segments(path).collect();
    segments.join("/")
}

/// Hash of the endpoint of an exchange, cheap enough for every exchange. `None` if its request was not seen.
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

/// Copies a name up to the maximum length.
pub fn cut(text: &str) -> Box<str> {
    cut_str(text).into()
}

/// Truncates a name to the maximum length.
pub fn cut_str(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

/// Counts a name in a list of up to [`NAMES`] names.
pub fn count(list: &mut Vec<(Box<str>, u64)>, name: &str) {
    if let Some((_, count)) = list.iter_mut().find(|(known, _)| **known == *name) {
        *count += 1;
    } else if list.len() < NAMES {
        list.push((name.into(), 1));
    }
}

/// Suffix with the names that differ from `told`: ` (10.0.0.7:8080 and 2 more)`; empty if there are none. Titles show
/// authority and address if they differ, as one of several addresses behind a name may be at fault.
pub fn others<'a>(names: impl IntoIterator<Item = &'a str>, told: &str, redactor: Redactor) -> String {
    let mut others = names.into_iter().filter(|name| *name != told && !name.is_empty());
    let Some(first) = others.next() else { return String::new() };
    match others.count() {
        0 => format!(" ({})", redactor.authority(first)),
        more => format!(" ({} and {more} more)", redactor.authority(first)),
    }
}

/// Names of a list of counted names.
pub fn names(list: &[(Box<str>, u64)]) -> impl Iterator<Item = &str> {
    list.iter().map(|(name, _)| &**name)
}

impl Endpoint {
    /// Endpoint of an exchange; `None` if its request was not seen.
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let request = exchange.request.as_ref()?;
        Some(Self {
            role: exchange.role,
            method: cut(&request.method),
            authority: cut(authority(exchange)),
            path: cut(&fold(request.path())),
        })
    }

    /// Method, authority and path, with the addresses that differ from the authority.
    pub fn named<'a>(&self, addresses: impl IntoIterator<Item = &'a str>, redactor: Redactor) -> String {
        let Self { method, authority, path, .. } = self;
        let addresses = others(addresses, authority, redactor);
        format!("{method} {}{}{addresses}", redactor.authority(authority), redactor.url(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_follow_what_is_told() {
        let others = |names: &[&str]| others(names.iter().copied(), "api", Redactor::new(false));
        assert_eq!(others(&["api", ""]), "");
        assert_eq!(others(&["10.0.0.7:80"]), " (10.0.0.7:80)");
        assert_eq!(others(&["10.0.0.7:80", "api", "10.0.0.8:80", "10.0.0.9:80"]), " (10.0.0.7:80 and 2 more)");
    }

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
