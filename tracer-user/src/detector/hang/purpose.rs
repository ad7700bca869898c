//! Calls that take long on purpose: streams, and requests that ask the server to wait.

use crate::exchange::{Request, Response};

const SECOND: u64 = 1_000_000_000;

/// How long a call may be silent because both sides mean it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing says so.
    None,
    /// The request asks the server to wait for up to so many nanoseconds.
    Wait(u64),
    /// It looks as if it asks for that, without saying how long.
    Perhaps,
    /// A stream without an end.
    Stream,
}

/// What request and response say.
pub(super) fn of(request: Option<&Request>, response: Option<&Response>) -> Purpose {
    if let Some(response) = response {
        let kind = response.headers.get("content-type").unwrap_or_default();
        if is_stream(kind) {
            return Purpose::Stream;
        }
    }
    let Some(request) = request else { return Purpose::None };
    if request.headers.get_all("accept").any(is_stream) {
        return Purpose::Stream;
    }
    if let Some(wait) = request.headers.get_all("prefer").find_map(prefer_wait) {
        return Purpose::Wait(wait);
    }
    let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
    let mut purpose = if path.split('/').any(is_waiting_place) { Purpose::Perhaps } else { Purpose::None };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match parameter(name, value) {
            Purpose::None => {}
            Purpose::Perhaps if matches!(purpose, Purpose::Wait(_)) => {}
            more => purpose = more,
        }
    }
    purpose
}

/// Media types of events and records that come when they come.
fn is_stream(kind: &[u8]) -> bool {
    const STREAMS: [&str; 8] = [
        "text/event-stream",
        "application/x-ndjson",
        "application/ndjson",
        "application/stream+json",
        "application/json-seq",
        "application/jsonl",
        "multipart/x-mixed-replace",
        "application/grpc",
    ];
    let kind = String::from_utf8_lossy(kind).to_ascii_lowercase();
    STREAMS.iter().any(|stream| kind.contains(stream))
}

/// `Prefer: wait=20` (RFC 7240 section 4.3).
fn prefer_wait(value: &[u8]) -> Option<u64> {
    let value = std::str::from_utf8(value).ok()?;
    value.split([',', ';']).find_map(|part| seconds(part.trim().strip_prefix("wait=")?))
}

/// Names that are given to places where a client waits for news.
fn is_waiting_place(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase();
    matches!(
        &*segment,
        "watch" | "subscribe" | "sse" | "listen" | "getupdates" | "wait" | "tail" | "follow" | "stream" | "streaming"
    ) || segment.contains("poll")
}

/// A parameter that asks the server to wait: `wait=30s`, `timeout=50`, `watch=true`.
fn parameter(name: &str, value: &str) -> Purpose {
    let name = name.to_ascii_lowercase();
    let flag = matches!(value, "true" | "1" | "yes" | "");
    let wait = match &*name {
        "watch" | "follow" | "longpoll" | "long_poll" | "long-poll" | "tail" if flag => return Purpose::Stream,
        "wait" | "poll" if value == "true" => return Purpose::Perhaps,
        "wait" | "timeout" | "poll_timeout" | "polltimeout" | "longpoll" | "long_poll" | "timeoutseconds"
        | "timeout_seconds" | "wait_seconds" | "waitseconds" => seconds(value),
        "timeout_ms" | "timeoutms" | "wait_ms" | "waitms" | "block" => value.parse().ok().map(milliseconds),
        _ => None,
    };
    wait.map_or(Purpose::None, Purpose::Wait)
}

fn milliseconds(value: u64) -> u64 {
    value.saturating_mul(SECOND / 1000)
}

/// `30`, `30s`, `5m`, `30000ms`; a bare number of a thousand or more is milliseconds.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(milliseconds(number)),
        "m" => Some(number.saturating_mul(60 * SECOND)),
        "" if number >= 1000 => Some(milliseconds(number)),
        "" | "s" => Some(number.saturating_mul(SECOND)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Body, Fields, Version};

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let mut fields = Fields::default();
        for (name, value) in headers {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        Request {
            method: "GET".into(),
            target: target.into(),
            version: Version::Http11,
            headers: fields,
            body: Body::default(),
            trailers: Fields::default(),
        }
    }

    #[test]
    fn what_waits_on_purpose_says_so() {
        let of = |target: &str, headers: &[(&str, &str)]| super::of(Some(&request(target, headers)), None);
        assert_eq!(of("/v1/kv/a?index=7&wait=5m", &[]), Purpose::Wait(300 * SECOND));
        assert_eq!(of("/bot/x?timeout=50", &[]), Purpose::Wait(50 * SECOND));
        assert_eq!(of("/sync?timeout=30000", &[]), Purpose::Wait(30 * SECOND));
        assert_eq!(of("/api/v1/pods?watch=true&timeoutSeconds=300", &[]), Purpose::Wait(300 * SECOND));
        assert_eq!(of("/api/v1/pods?watch=1", &[]), Purpose::Stream);
        assert_eq!(of("/jobs/7", &[("Prefer", "respond-async, wait=20")]), Purpose::Wait(20 * SECOND));
        assert_eq!(of("/feed", &[("Accept", "text/event-stream")]), Purpose::Stream);
        assert_eq!(of("/long-poll", &[]), Purpose::Perhaps);
        assert_eq!(of("/poll?timeout=20", &[]), Purpose::Wait(20 * SECOND));
        for plain in ["/v1/charges", "/?timeout=soon", "/?q=wait", "/waiting-list", "/?wait="] {
            assert_eq!(of(plain, &[("Accept", "*/*")]), Purpose::None, "{plain}");
        }
    }
}
