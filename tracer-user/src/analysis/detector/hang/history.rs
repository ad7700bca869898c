//! Durations of the calls of slow endpoints.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::{FxHashMap, FxHasher};

use super::evidence::Call;
use crate::{
    analysis::histogram::{Histogram, Scale},
    model::{connection::Role, exchange::Request},
};

/// Maximum number of endpoints; at the limit, all are removed.
const ENDPOINTS: usize = 4096;
/// From a millisecond to days, with an error of up to a fifth.
static DURATIONS: Scale = Scale { unit_ns: 1_000_000, steps: 4, buckets: 120, limit: 1 << 20 };
/// Minimum number of calls for the 99th percentile; below it, the median is used.
const MANY: u32 = 20;
/// Minimum number of calls for any statement.
const SOME: u32 = 2;

/// Hash of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint(u64);

impl Endpoint {
    /// Endpoint of an exchange: method, authority and path without query. Segments with digits count as equal.
    pub(super) fn of(role: Role, remote: &str, request: Option<&Request>) -> Self {
        let mut hasher = FxHasher::default();
        (role == Role::Client).hash(&mut hasher);
        if let Some(request) = request {
            // Only calls of a client are separated by authority; callers of a server are not.
            let authority = request.authority().unwrap_or(if role == Role::Client { remote } else { "" });
            authority.hash(&mut hasher);
            request.method.hash(&mut hasher);
            let path = request.path();
            let path = path.split(['?', '#']).next().unwrap_or(path);
            for segment in path.split('/') {
                if segment.bytes().any(|byte| byte.is_ascii_digit()) {
                    hasher.write_u8(b'#');
                } else {
                    hasher.write(segment.as_bytes());
                }
                hasher.write_u8(b'/');
            }
        } else {
            remote.hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

impl Endpoint {
    /// Endpoint of a call in displayed form.
    pub(super) fn of_call(role: Role, call: &Call) -> Self {
        let mut hasher = FxHasher::default();
        (role == Role::Client).hash(&mut hasher);
        (&call.method, &call.authority, call.path.split('?').next()).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Durations by endpoint. An endpoint is recorded from its first slow call on, so fast endpoints cost nothing.
#[derive(Debug, Default)]
pub(super) struct History(FxHashMap<Endpoint, Histogram>);

impl History {
    /// Records a successful call. An endpoint is first recorded with a call of at least `slow` nanoseconds.
    pub(super) fn add(&mut self, endpoint: impl FnOnce() -> Endpoint, nanoseconds: u64, slow: u64) {
        if nanoseconds < slow {
            if !self.0.is_empty()
                && let Some(durations) = self.0.get_mut(&endpoint())
            {
                durations.add(nanoseconds);
            }
            return;
        }
        if self.0.len() >= ENDPOINTS {
            self.0.clear();
        }
        self.0.entry(endpoint()).or_insert_with(|| Histogram::new(&DURATIONS)).add(nanoseconds);
    }

    /// Duration in nanoseconds that nearly all calls of the endpoint stay below, if known.
    pub(super) fn usual(&self, endpoint: impl FnOnce() -> Endpoint) -> Option<u64> {
        if self.0.is_empty() {
            return None;
        }
        let durations = self.0.get(&endpoint())?;
        match durations.count() {
            MANY.. => Some(durations.quantile(0.99)),
            SOME.. => Some(durations.quantile(0.5)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn endpoint() -> Endpoint {
        Endpoint::of(Role::Client, "10.0.0.1:80", None)
    }

    #[test]
    fn an_endpoint_is_known_after_some_slow_calls() {
        let mut history = History::default();
        history.add(endpoint, SECOND / 100, SECOND);
        history.add(endpoint, SECOND / 100, SECOND);
        assert_eq!(history.usual(endpoint), None);
        history.add(endpoint, 30 * SECOND, SECOND);
        assert_eq!(history.usual(endpoint), None, "one slow call is no habit");
        history.add(endpoint, 30 * SECOND, SECOND);
        let usual = history.usual(endpoint).expect("two are");
        assert!((30 * SECOND..36 * SECOND).contains(&usual), "{usual}");
        for _ in 0..1000 {
            history.add(endpoint, SECOND / 100, SECOND);
        }
        assert!(history.usual(endpoint).expect("known") < SECOND, "two of a thousand are none of the usual");
    }
}
