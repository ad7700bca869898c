//! Identity of calls: method, authority, path with query, and body; and explicit marks of attempts.

use std::hash::Hasher as _;

use rustc_hash::FxHasher;

use crate::model::exchange::{Body, ExchangeId, Fields, Request};

/// Maximum length in bytes of a method, authority or path kept for display and comparison. The hash covers the whole
/// text.
const TEXT_LIMIT: usize = 1024;

/// Hashes several byte strings.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = FxHasher::default();
    for part in parts {
        hasher.write(part);
        hasher.write_usize(part.len());
    }
    hasher.finish()
}

/// Key of a call without its body, cheap enough for every request.
pub(super) fn key(pid: u32, request: &Request, remote: &str) -> u64 {
    key_with(pid, request, request.authority().unwrap_or(remote))
}

/// Key of a call whose authority is already known.
pub(super) fn key_with(pid: u32, request: &Request, authority: &str) -> u64 {
    hash(&[&pid.to_ne_bytes(), request.method.as_bytes(), authority.as_bytes(), request.path().as_bytes()])
}

/// Key of the connects to an address.
pub(super) fn connect_key(pid: u32, remote: &str) -> u64 {
    hash(&[&pid.to_ne_bytes(), b"connect", remote.as_bytes()])
}

/// Keys of the latest calls, for use when they end.
#[derive(Debug)]
pub(super) struct Keys(Vec<(ExchangeId, u64)>);

impl Default for Keys {
    fn default() -> Self {
        Self(vec![(ExchangeId(0), 0); 512])
    }
}

impl Keys {
    fn place(&mut self, exchange: ExchangeId) -> &mut (ExchangeId, u64) {
        let place = exchange.0 as usize % self.0.len();
        &mut self.0[place]
    }

    pub(super) fn keep(&mut self, exchange: ExchangeId, key: u64) {
        *self.place(exchange) = (exchange, key);
    }

    pub(super) fn of(&mut self, exchange: ExchangeId) -> Option<u64> {
        let (id, key) = *self.place(exchange);
        (id == exchange).then_some(key)
    }
}

/// Hash of the captured part of the body and of its length.
pub(super) fn digest(body: &Body) -> u64 {
    hash(&[&body.bytes.to_ne_bytes(), &body.captured])
}

/// Identity of a call as text, truncated to the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Option<Box<str>>,
    pub(super) authority: Box<str>,
    pub(super) path: Box<str>,
    /// Hash of the body; 0 for a connect.
    pub(super) digest: u64,
}

impl Call {
    pub(super) fn of(request: &Request, remote: &str) -> Self {
        Self {
            method: Some(cut(&request.method)),
            authority: cut(request.authority().unwrap_or(remote)),
            path: cut(request.path()),
            digest: digest(&request.body),
        }
    }

    /// Key of the call as if process `pid` had made it. For truncated text it differs from the key of the request.
    pub(super) fn key(&self, pid: u32) -> u64 {
        match &self.method {
            Some(method) => {
                hash(&[&pid.to_ne_bytes(), method.as_bytes(), self.authority.as_bytes(), self.path.as_bytes()])
            }
            None => connect_key(pid, &self.authority),
        }
    }

    pub(super) fn connect(remote: &str) -> Self {
        Self { method: None, authority: cut(remote), path: Box::default(), digest: 0 }
    }

    /// Whether a request is the same call. Compares the texts and the body; the caller has compared the keys.
    pub(super) fn is_of(&self, request: &Request, remote: &str) -> bool {
        let same = |mine: &str, other: &str| *mine == *cut_str(other);
        self.method.as_deref().is_some_and(|method| same(method, &request.method))
            && same(&self.authority, request.authority().unwrap_or(remote))
            && same(&self.path, request.path())
            && self.digest == digest(&request.body)
    }
}

fn cut_str(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

pub(super) fn cut(text: &str) -> Box<str> {
    cut_str(text).into()
}

/// Marks in the headers of a request, stored as hashes, as the values have any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Key that is equal for all attempts of one call, with the name of its header.
    pub(super) key: Option<(&'static str, u64)>,
    /// Number of the attempt, from 1, with the name of its header.
    pub(super) number: Option<(&'static str, u32)>,
    /// Trace ID.
    pub(super) trace: Option<u64>,
    /// ID of the request that is being handled.
    pub(super) request: Option<u64>,
    /// Hash of credentials, cookies and forwarded addresses, which identify the user of the call.
    pub(super) identity: u64,
    /// Whether a health check or scraper sent it.
    pub(super) prober: bool,
}

/// Substrings of the `User-Agent` of health checks and scrapers.
const PROBERS: [&str; 12] = [
    "kube-probe",
    "prometheus",
    "elb-healthchecker",
    "googlehc",
    "consul health",
    "blackbox",
    "envoy/hc",
    "uptime",
    "pingdom",
    "healthcheck",
    "health-check",
    "nagios",
];
/// Last path segments of resources that are polled by design.
const PROBED: [&str; 14] = [
    "health",
    "healthz",
    "healthcheck",
    "health_check",
    "livez",
    "readyz",
    "ready",
    "live",
    "liveness",
    "readiness",
    "ping",
    "metrics",
    "_health",
    "heartbeat",
];

impl Marks {
    pub(super) fn of(request: &Request) -> Self {
        let mut marks = Self { prober: is_probed(request.path()), ..Self::default() };
        for (name, value) in request.headers.iter() {
            marks.read(name, value);
        }
        marks
    }

    /// Number of the attempt that the headers state; skips all other headers.
    pub(super) fn numbered(headers: &Fields) -> Option<u32> {
        let mut marks = Self::default();
        for (name, value) in headers.iter().filter(|(name, _)| matches!(name.len(), 15 | 21 | 23 | 26)) {
            marks.read(name, value);
        }
        marks.number.map(|(_, number)| number)
    }

    fn read(&mut self, name: &[u8], value: &[u8]) {
        let is = |candidate: &str| name.eq_ignore_ascii_case(candidate.as_bytes());
        let number = || std::str::from_utf8(value).ok()?.trim().parse::<u32>().ok();
        let mut add = |value: &[u8]| self.identity = hash(&[&self.identity.to_ne_bytes(), name, value]);
        match name.len() {
            6 if is("cookie") => add(value),
            9 if is("x-real-ip") || is("forwarded") => add(value),
            10 if is("user-agent") => {
                let text = String::from_utf8_lossy(&value[..value.len().min(200)]).to_ascii_lowercase();
                self.prober |= PROBERS.iter().any(|prober| text.contains(prober));
            }
            11 if is("traceparent") => self.trace = value.get(3..35).map(|id| hash(&[id])),
            // A signature that contains the time does not identify the user.
            13 if is("authorization") && !signed(value) => add(value),
            12 if is("x-b3-traceid") => self.trace = self.trace.or(Some(hash(&[value]))),
            12 if is("x-request-id") => self.request = Some(hash(&[value])),
            15 if is("idempotency-key") => self.key = Some(("Idempotency-Key", hash(&[value]))),
            15 if is("x-forwarded-for") => add(value),
            15 if is("amz-sdk-request") => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let attempt = text.split(';').find_map(|part| part.trim().strip_prefix("attempt=")?.parse().ok());
                self.number = attempt.map(|attempt| ("amz-sdk-request", attempt));
            }
            16 if is("x-correlation-id") => self.request = self.request.or(Some(hash(&[value]))),
            17 if is("x-idempotency-key") => self.key = Some(("X-Idempotency-Key", hash(&[value]))),
            21 if is("x-envoy-attempt-count") => {
                self.number = number().map(|number| ("x-envoy-attempt-count", number));
            }
            21 if is("amz-sdk-invocation-id") => self.key = Some(("amz-sdk-invocation-id", hash(&[value]))),
            23 if is("x-stainless-retry-count") => {
                self.number = number().map(|number| ("x-stainless-retry-count", number.saturating_add(1)));
            }
            26 if is("grpc-previous-rpc-attempts") => {
                self.number = number().map(|number| ("grpc-previous-rpc-attempts", number.saturating_add(1)));
            }
            _ => {}
        }
    }

    /// Whether the marks rule out that both are attempts of one call.
    pub(super) fn contradict(&self, later: &Self) -> bool {
        let keys = match (self.key, later.key) {
            (Some(one), Some(other)) => one != other,
            (None, None) => false,
            // A client that sends keys sends them with every attempt.
            _ => true,
        };
        // A library counts from one for each call. A proxy's count may have been passed on by a program in between.
        let begins_anew = later.number.is_some_and(|(name, number)| number <= 1 && name != "x-envoy-attempt-count");
        keys || begins_anew || self.identity != later.identity
    }
}

fn signed(value: &[u8]) -> bool {
    ["AWS4", "OAuth ", "Digest ", "Signature", "Hawk "]
        .iter()
        .any(|scheme| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes())))
}

fn is_probed(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    PROBED.iter().any(|probed| last.eq_ignore_ascii_case(probed))
}

/// Delay in nanoseconds that `Retry-After` states: seconds, or a date (RFC 9110 section 10.2.3) relative to `Date`.
pub(super) fn retry_after(headers: &Fields) -> Option<u64> {
    let value = std::str::from_utf8(headers.get("retry-after")?).ok()?.trim();
    let seconds = if let Ok(seconds) = value.parse::<u64>() {
        seconds
    } else {
        let until = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        // Only the server's own clock is comparable with its date.
        let now = std::str::from_utf8(headers.get("date")?).ok()?;
        let now = jiff::fmt::rfc2822::parse(now).ok()?.timestamp();
        u64::try_from(until.as_second().saturating_sub(now.as_second())).ok()?
    };
    (seconds <= LONGEST_RETRY_AFTER).then_some(seconds * 1_000_000_000)
}

/// Maximum `Retry-After` in seconds; no client waits longer, and sums cannot overflow.
const LONGEST_RETRY_AFTER: u64 = 7 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&fields(&[("Retry-After", "3")])), Some(3_000_000_000));
        let dated = [("Retry-After", "Sat, 21 Nov 2026 07:28:05 GMT"), ("Date", "Sat, 21 Nov 2026 07:28:00 GMT")];
        assert_eq!(retry_after(&fields(&dated)), Some(5_000_000_000));
        for text in ["", "-1", "soon", "99999999999999999999", "700000"] {
            assert_eq!(retry_after(&fields(&[("Retry-After", text)])), None, "{text}");
        }
    }

    #[test]
    fn marks_are_read_whatever_their_values_are() {
        for text in ["", "7", "attempt=2; max=3", "00-", "\u{202e}", "4294967295"] {
            let mut marks = Marks::default();
            for name in ["traceparent", "amz-sdk-request", "x-stainless-retry-count", "user-agent", "cookie"] {
                marks.read(name.as_bytes(), text.as_bytes());
            }
        }
        let mut marks = Marks::default();
        marks.read(b"Amz-Sdk-Request", b"attempt=2; max=3");
        assert_eq!(marks.number, Some(("amz-sdk-request", 2)));
        assert!(is_probed("/a/healthz?x") && is_probed("/PING/") && !is_probed("/healthy/food"));
    }
}
