//! Calls that are silent on purpose: streams, and requests that ask the server to wait.

use crate::{
    model::exchange::{Answer, Request, Response},
    text::units,
};

const SECOND: u64 = 1_000_000_000;

/// Intention of a call to be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// No intention is known.
    None,
    /// The request asks the server to wait for up to this number of nanoseconds.
    Wait(u64),
    /// The request seems to ask the server to wait, without a time.
    Perhaps,
    /// An endless stream.
    Stream,
    /// The response has begun without a length, so an intentionally silent stream would look like a stalled one.
    Endless,
}

/// Intention according to request and response.
pub(super) fn of(request: Option<&Request>, response: Option<&Response>) -> Purpose {
    if let Some(response) = response {
        let kind = response.headers.get("content-type").unwrap_or_default();
        if is_stream(kind) {
            return Purpose::Stream;
        }
    }
    let Some(request) = request else { return Purpose::None };
    let asked = asked(request);
    // A response without a length may be a stream that is silent until something happens.
    if asked == Purpose::None && response.is_some_and(|response| is_endless(response, &request.method)) {
        return Purpose::Endless;
    }
    asked
}

/// Intention according to the request.
fn asked(request: &Request) -> Purpose {
    if request.headers.get_all("accept").any(is_stream) {
        return Purpose::Stream;
    }
    if let Some(wait) = request.headers.get_all("prefer").find_map(prefer_wait) {
        return Purpose::Wait(wait);
    }
    if let Some(wait) = request.headers.iter().find_map(|(name, value)| waiting_header(name, value)) {
        return Purpose::Wait(wait);
    }
    let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
    let place =
        path.split('/').any(is_waiting_place) || path.rsplit('/').next().is_some_and(|last| is_news(request, last));
    let mut purpose = if place { Purpose::Perhaps } else { Purpose::None };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match parameter(name, value) {
            Purpose::None => {}
            Purpose::Perhaps if matches!(purpose, Purpose::Wait(_)) => {}
            more => purpose = more,
        }
    }
    match purpose {
        Purpose::None | Purpose::Perhaps => in_body(&request.body.captured, place).unwrap_or(purpose),
        known => known,
    }
}

/// Whether a successful response carries content without a length: chunked, or up to the end of the connection.
fn is_endless(response: &Response, method: &str) -> bool {
    response.answer() == Answer::Success
        && !matches!(response.status, 204 | 205)
        && method != "HEAD"
        && response.headers.get("content-length").is_none()
}

/// Whether the last path segment is a place that delivers news. Only a request that fetches waits there, not one that
/// submits.
fn is_news(request: &Request, last: &str) -> bool {
    let last = last.split(':').next_back().unwrap_or(last).to_ascii_lowercase();
    &*request.method == "GET"
        && matches!(&*last, "events" | "updates" | "notifications" | "_changes" | "next" | "receive")
        || &*request.method == "POST"
            && matches!(&*last, "next" | "receive" | "dequeue" | "fetchandlock" | "acquire" | "receivemessage")
}

/// Waiting time in nanoseconds of a header such as `Long-Pulling-Timeout: 30000` or `X-Poll-Timeout: 20`.
fn waiting_header(name: &[u8], value: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let polls = name.contains("poll") || name.contains("pull");
    let waits = (polls && name.contains("timeout")) || name.contains("wait-time") || name.contains("max-wait");
    waits.then(|| seconds(std::str::from_utf8(value).ok()?.trim()))?
}

/// Maximum number of bytes examined of a body.
const LOOKED_AT: usize = 4096;

/// Waiting time in a JSON member or form field: `"WaitTimeSeconds": 20`, `Action=ReceiveMessage&WaitTimeSeconds=20`.
/// The name `timeout` is ambiguous in bodies, so it counts only if the path is a `place` for waiting.
fn in_body(body: &[u8], place: bool) -> Option<Purpose> {
    let body = &body[..body.len().min(LOOKED_AT)];
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut rest = body;
    while let Some(start) = rest.iter().position(is_word) {
        rest = &rest[start..];
        let length = rest.iter().position(|byte| !is_word(byte)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        rest = after;
        let value = match after.strip_prefix(b"\"") {
            Some(after) => after.trim_ascii_start().strip_prefix(b":"),
            None => after.strip_prefix(b"="),
        };
        let Some(value) = value else { continue };
        let value = value.trim_ascii_start();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let length = value.iter().position(|byte| !is_word(byte)).unwrap_or(value.len());
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(&value[..length])) else {
            continue;
        };
        if !place && !name.to_ascii_lowercase().contains("wait") && !name.to_ascii_lowercase().contains("poll") {
            continue;
        }
        if let wait @ Purpose::Wait(_) = parameter(name, value) {
            return Some(wait);
        }
    }
    None
}

/// Whether the media type is one of a stream of events or records.
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

/// Parses `Prefer: wait=20` (RFC 7240 section 4.3) to nanoseconds.
fn prefer_wait(value: &[u8]) -> Option<u64> {
    let value = std::str::from_utf8(value).ok()?;
    value.split([',', ';']).find_map(|part| seconds(part.trim().strip_prefix("wait=")?))
}

/// Whether a path segment has a usual name of a place where clients wait for news.
fn is_waiting_place(segment: &str) -> bool {
    let polls = words(segment)
        .any(|word| ["poll", "polling", "longpoll", "longpolling"].iter().any(|name| word.eq_ignore_ascii_case(name)));
    let segment = segment.to_ascii_lowercase();
    polls
        || matches!(
            &*segment,
            "watch"
                | "subscribe"
                | "sse"
                | "listen"
                | "listener"
                | "getupdates"
                | "wait"
                | "tail"
                | "follow"
                | "stream"
                | "streaming"
                | "eventsource"
                | "event-stream"
                | "cometd"
                | "bayeux"
        )
}

/// Splits a name into words: `long-poll`, `longPoll`, `XHRPolling`, `poll_events`, `poll2`.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphabetic()).flat_map(|part| {
        let bytes = part.as_bytes();
        let begins = move |at: usize| {
            let next_is_lower = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            bytes[at].is_ascii_uppercase() && (bytes[at - 1].is_ascii_lowercase() || next_is_lower)
        };
        let mut start = 0;
        (1..=part.len()).filter(move |at| *at == bytes.len() || begins(*at)).map(move |end| {
            let word = &part[start..end];
            start = end;
            word
        })
    })
}

/// Intention of a query parameter: `wait=30s`, `timeout=50`, `watch=true`.
fn parameter(name: &str, value: &str) -> Purpose {
    let name = name.to_ascii_lowercase();
    let flag = matches!(value, "true" | "1" | "yes" | "");
    let wait = match &*name {
        "transport" if matches!(value, "polling" | "longPolling") => return Purpose::Perhaps,
        "feed" if value == "continuous" => return Purpose::Stream,
        "feed" if value == "longpoll" => return Purpose::Perhaps,
        "stream" | "logs" if flag && !value.is_empty() => return Purpose::Perhaps,
        "watch" | "follow" | "longpoll" | "long_poll" | "long-poll" | "tail" if flag => return Purpose::Stream,
        "wait" | "poll" if value == "true" => return Purpose::Perhaps,
        "wait"
        | "timeout"
        | "poll_timeout"
        | "polltimeout"
        | "longpoll"
        | "long_poll"
        | "timeoutseconds"
        | "timeout_seconds"
        | "wait_seconds"
        | "waitseconds"
        | "waittimeseconds"
        | "wait_time_seconds"
        | "wait_time"
        | "waittime"
        | "max_wait"
        | "maxwait"
        | "max_wait_seconds"
        | "waittimeout"
        | "wait_timeout"
        | "requesttimeout"
        | "longpollingtimeout"
        | "long_polling_timeout" => seconds(value),
        "timeout_ms"
        | "timeoutms"
        | "wait_ms"
        | "waitms"
        | "block"
        | "block_ms"
        | "max_wait_ms"
        | "maxwaitms"
        | "max_poll_ms"
        | "wait_time_ms"
        | "waittimems"
        | "asyncresponsetimeout" => value.parse().ok().map(milliseconds),
        _ => None,
    };
    wait.map_or(Purpose::None, Purpose::Wait)
}

fn milliseconds(value: u64) -> u64 {
    value.saturating_mul(SECOND / 1000)
}

/// Parses `30`, `30s`, `1m30s` or `30000ms` to nanoseconds; a bare number of 1000 or more counts as milliseconds.
fn seconds(text: &str) -> Option<u64> {
    match text.parse::<u64>() {
        Ok(number) if number >= 1000 => Some(milliseconds(number)),
        Ok(number) => Some(number.saturating_mul(SECOND)),
        Err(_) => u64::try_from(units::parse_duration(text)?.as_nanos()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exchange::{Body, Fields, Version};

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let mut fields = Fields::default();
        for (name, value) in headers {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        Request::new("GET".into(), target.into(), Version::Http11, fields)
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
        for place in [
            "/long-poll",
            "/poll",
            "/xhr_polling/7",
            "/longPoll",
            "/XHRPolling",
            "/LONGPOLL",
            "/poll2",
            "/a/pollEvents",
        ] {
            assert_eq!(of(place, &[]), Purpose::Perhaps, "{place}");
        }
        assert_eq!(of("/poll?timeout=20", &[]), Purpose::Wait(20 * SECOND));
        assert_eq!(of("/v1.43/events?filters=%7B%7D", &[]), Purpose::Perhaps);
        assert_eq!(of("/2018-06-01/runtime/invocation/next", &[]), Purpose::Perhaps);
        assert_eq!(of("/?Action=ReceiveMessage&WaitTimeSeconds=20", &[]), Purpose::Wait(20 * SECOND));
        assert_eq!(of("/socket.io/?EIO=4&transport=polling", &[]), Purpose::Perhaps);
        assert_eq!(of("/db/_changes?feed=continuous", &[]), Purpose::Stream);
        assert_eq!(of("/nacos/v1/cs/configs", &[("Long-Pulling-Timeout", "30000")]), Purpose::Wait(30 * SECOND));
        for plain in [
            "/pollution",
            "/polls/7",
            "/pollen/poller",
            "/Pollock",
            "/catapoll",
            "/v1/charges",
            "/?timeout=soon",
            "/?q=wait",
            "/waiting-list",
            "/?wait=",
        ] {
            assert_eq!(of(plain, &[("Accept", "*/*")]), Purpose::None, "{plain}");
        }
        // Submitting an event is not waiting for one.
        let brings = Request { method: "POST".into(), ..request("/v1/events", &[]) };
        assert_eq!(super::of(Some(&brings), None), Purpose::None);
    }

    #[test]
    fn bodies_say_so_too() {
        let of = |target: &str, body: &str| {
            let body = Body { bytes: body.len() as u64, captured: body.into(), missing: 0 };
            let request = Request { method: "POST".into(), body, ..request(target, &[]) };
            super::of(Some(&request), None)
        };
        assert_eq!(of("/", r#"{"QueueUrl":"q","WaitTimeSeconds": 20}"#), Purpose::Wait(20 * SECOND));
        assert_eq!(of("/", "Action=ReceiveMessage&WaitTimeSeconds=20&Version=1"), Purpose::Wait(20 * SECOND));
        assert_eq!(of("/bot/getUpdates", r#"{"offset":1,"timeout":"50"}"#), Purpose::Wait(50 * SECOND));
        for plain in
            [r#"{"timeout": 20}"#, r#"{"note":"wait: 20 minutes"}"#, "wait", "wait=", "\"wait\":", "{\"wait\":{}}"]
        {
            assert_eq!(of("/v1/charges", plain), Purpose::None, "{plain}");
        }
    }

    #[test]
    fn a_response_without_a_length_may_be_a_stream() {
        let response = |headers: &[(&str, &str)], status: u16| crate::model::exchange::Response {
            status,
            reason: "".into(),
            version: Version::Http11,
            headers: request("/", headers).headers,
            body: Body::default(),
            trailers: Fields::default(),
        };
        let of = |response: &Response| super::of(Some(&request("/a", &[])), Some(response));
        assert_eq!(of(&response(&[("Transfer-Encoding", "chunked")], 200)), Purpose::Endless);
        assert_eq!(of(&response(&[], 200)), Purpose::Endless);
        assert_eq!(of(&response(&[("Content-Length", "20")], 200)), Purpose::None);
        assert_eq!(of(&response(&[("Transfer-Encoding", "chunked")], 500)), Purpose::None);
    }
}
