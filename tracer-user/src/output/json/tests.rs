use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    fixture,
    model::{
        connection::{Endpoint, Role},
        exchange::{Body, Fields, InterimResponse, Misfit, Outcome, Request, Scheme},
    },
};

/// The wire format once more, as a reader has it: a change to either side shows.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Attached { targets: Vec<Target>, time: String },
    Exchange(Box<WireExchange>),
    Note(Box<WireNote>),
    Loss(WireLosses),
    Summary(WireSummary),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Target {
    pid: u32,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireExchange {
    id: u64,
    role: String,
    outcome: String,
    started: String,
    process: WireProcess,
    connection: WireConnection,
    request: WireRequest,
    response: Option<WireResponse>,
    timing: WireTiming,
    quality: String,
    incidents: Vec<u64>,
    #[serde(default)]
    interim: Vec<WireInterim>,
    error: Option<String>,
    errno: Option<i32>,
    #[serde(default)]
    request_cut: Option<u64>,
    #[serde(default)]
    request_stray: Option<u64>,
    #[serde(default)]
    response_cut: Option<u64>,
    #[serde(default)]
    response_stray: Option<u64>,
    #[serde(default)]
    cut_by: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireProcess {
    pid: u32,
    tid: u32,
    name: String,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireConnection {
    id: u64,
    local: Option<String>,
    remote: Option<String>,
    tls: Option<WireTls>,
    protocol: String,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireTls {
    version: Option<String>,
    cipher: Option<String>,
    sni: Option<String>,
    alpn: Option<String>,
    library: Option<String>,
    secrets: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireRequest {
    method: Option<String>,
    url: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    version: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<WireBody>,
    #[serde(default)]
    trailers: Vec<(String, String)>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: WireBody,
    reason: String,
    version: String,
    #[serde(default)]
    trailers: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireBody {
    bytes: u64,
    captured: u64,
    text: Option<String>,
    base64: Option<String>,
    decoded: Option<String>,
    undecoded: Option<String>,
    #[serde(default)]
    truncated: bool,
    cut_by: Option<String>,
    #[serde(default)]
    damaged: bool,
    #[serde(default)]
    missing: u64,
    #[serde(default)]
    masked: bool,
}

#[expect(clippy::struct_field_names, reason = "the names of the contract")]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTiming {
    connect_us: Option<u64>,
    tls_us: Option<u64>,
    send_us: Option<u64>,
    wait_us: Option<u64>,
    receive_us: Option<u64>,
    total_us: Option<u64>,
    open_us: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireInterim {
    status: u16,
    headers: Vec<(String, String)>,
    time: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireNote {
    kind: String,
    time: String,
    process: WireProcess,
    connection: WireConnection,
    protocol: Option<String>,
    sent: Option<u64>,
    received: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSummary {
    exchanges: u64,
    incidents: u64,
    lost_events: u64,
    lost_bytes: u64,
    duration_ms: u64,
    lost: WireLost,
    time: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLosses {
    time: String,
    lost_events: u64,
    lost_bytes: u64,
    lost: WireLost,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLost {
    ring_full: WireLoss,
    fault: WireLoss,
    kernel_read: WireLoss,
    map_full: WireLoss,
    queue_full: WireLoss,
    recording: WireLoss,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireLoss {
    events: u64,
    bytes: u64,
}

fn json(update: &Update, options: JsonOptions) -> String {
    let mut output = JsonOutput::new(Vec::new(), options);
    output.set_realtime_offset(fixture::REALTIME_OFFSET);
    output.write(update).expect("memory");
    output.flush().expect("memory");
    String::from_utf8(output.get_ref().clone()).expect("UTF-8")
}

fn parse(update: &Update) -> Line {
    let text = json(update, JsonOptions::default());
    assert_eq!(text.find('\n'), Some(text.len() - 1), "one line");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn parse_exchange(exchange: crate::model::exchange::Exchange) -> WireExchange {
    match parse(&Update::Exchange(exchange.into())) {
        Line::Exchange(exchange) => *exchange,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_contract_to_the_letter() {
    let exchange = fixture::exchange();
    assert_eq!(
        json(&Update::Exchange(exchange.into()), JsonOptions::default()),
        concat!(
            r#"{"type":"exchange","id":1,"role":"client","outcome":"complete","started":"2026-11-21T04:05:06.123456Z","#,
            r#""process":{"pid":1,"tid":2,"name":"x"},"#,
            r#""connection":{"id":3,"local":"127.0.0.1:1","remote":"127.0.0.1:2","tls":null,"protocol":"http/1.1"},"#,
            r#""request":{"method":"POST","url":"http://h/p?q","authority":"h","path":"/p?q","version":"1.1","#,
            r#""headers":[["host","h"]],"body":{"bytes":3,"captured":3,"text":"a=1"}},"#,
            r#""response":{"status":502,"headers":[],"body":{"bytes":0,"captured":0,"text":""},"#,
            r#""reason":"Bad Gateway","version":"1.1"},"#,
            r#""timing":{"connect_us":null,"tls_us":null,"send_us":1,"wait_us":1,"receive_us":1,"total_us":3},"#,
            r#""quality":"whole","incidents":[]}"#,
            "\n"
        )
    );
    assert_eq!(
        json(&fixture::attached(), JsonOptions::default()),
        "{\"type\":\"attached\",\"targets\":[{\"pid\":1,\"name\":\"nginx\"}],\"time\":\"2026-11-21T04:05:06.123456Z\"}\n"
    );
    assert!(json(&fixture::summary(), JsonOptions::default()).starts_with(concat!(
        r#"{"type":"summary","exchanges":10,"incidents":2,"lost_events":4,"lost_bytes":400,"duration_ms":9000,"#,
        r#""lost":{"ring_full":{"events":4,"bytes":400},"#
    )));
}

#[test]
fn attached_and_summary_are_what_readers_expect() {
    let Line::Attached { targets, time } = parse(&fixture::attached()) else { panic!("attached") };
    assert_eq!((targets, &*time), (vec![Target { pid: 1, name: "nginx".into() }], "2026-11-21T04:05:06.123456Z"));
    let Line::Summary(summary) = parse(&fixture::summary()) else { panic!("summary") };
    assert_eq!((summary.exchanges, summary.incidents, summary.duration_ms), (10, 2, 9_000));
    // Events that only the recording lacks are no loss of the trace.
    assert_eq!((summary.lost_events, summary.lost_bytes), (4, 400));
    assert_eq!(summary.lost.ring_full, WireLoss { events: 4, bytes: 400 });
    assert_eq!(summary.lost.recording, WireLoss { events: 3, bytes: 300 });
    let zero = WireLoss { events: 0, bytes: 0 };
    let lost = summary.lost;
    assert_eq!([&lost.fault, &lost.kernel_read, &lost.map_full, &lost.queue_full], [&zero; 4]);
    assert!(summary.time.ends_with('Z'));
}

#[test]
fn what_a_proxy_says_of_both_ends_is_redacted() {
    let mut exchange = fixture::exchange();
    let mut connection = (*exchange.connection).clone();
    connection.client = Some("ada:correct-horse@10.1.2.3:4000".into());
    connection.destination = Some("api.example/?token=8f14e45fceea167a:443".into());
    exchange.connection = connection.into();
    let update = Update::Exchange(exchange.into());
    let text = json(&update, JsonOptions::default());
    assert!(text.contains(r#","client":"***@10.1.2.3:4000","destination":"api.example/?token=***"#), "{text}");
    let shown = json(&update, JsonOptions { show_secrets: true, ..JsonOptions::default() });
    assert!(shown.contains("ada:correct-horse@10.1.2.3") && shown.contains("8f14e45fceea167a"), "{shown}");
}

#[test]
fn counters_that_cannot_be_read_are_said() {
    let loss = crate::engine::Loss { at_least: true, ..fixture::loss() };
    let text = json(&Update::Loss(loss), JsonOptions::default());
    assert!(text.contains(r#""lost_events":4,"lost_bytes":400,"lost_at_least":true,"lost":{"#), "{text}");
    assert!(!json(&Update::Loss(fixture::loss()), JsonOptions::default()).contains("lost_at_least"));
}

#[test]
fn an_open_exchange_has_an_age_but_no_total() {
    let mut exchange = fixture::exchange();
    exchange.outcome = Outcome::InFlight;
    exchange.timing.end = Some(Timestamp(exchange.started.0 + 5_000));
    let Line::Exchange(exchange) = parse(&Update::Exchange(exchange.into())) else { panic!("exchange") };
    assert_eq!((exchange.timing.open_us, exchange.timing.total_us), (Some(5), None));
}

#[test]
fn loss_is_said_when_it_happens() {
    let Line::Loss(loss) = parse(&Update::Loss(fixture::loss())) else { panic!("loss") };
    assert_eq!((loss.lost_events, loss.lost_bytes, loss.lost.recording.events), (4, 400, 3));
    assert!(loss.time.ends_with('Z'));
}

#[test]
fn notes() {
    let note = |kind| match parse(&fixture::note(kind)) {
        Line::Note(note) => note,
        other => panic!("{other:?}"),
    };
    let not_http = note(NoteKind::NotHttp);
    assert_eq!((&*not_http.kind, &*not_http.connection.protocol), ("not_http", "http/1.1"));
    assert_eq!((not_http.process.tid, &*not_http.time), (2, "2026-11-21T04:05:06.123456Z"));
    let opaque = note(NoteKind::Opaque { protocol: "websocket".into() });
    assert_eq!((&*opaque.kind, opaque.protocol.as_deref()), ("opaque", Some("websocket")));
    let unseen = note(NoteKind::UnseenBytes { sent: 1, received: 2 });
    assert_eq!((&*unseen.kind, unseen.sent, unseen.received), ("unseen_bytes", Some(1), Some(2)));
}

#[test]
fn a_tls_session_and_its_handshake_are_shown() {
    let mut exchange = fixture::exchange();
    exchange.scheme = Scheme::Https;
    (exchange.timing.tls_start, exchange.timing.tls_end) =
        (Some(fixture::START), Some(Timestamp(fixture::START.0 + 7_000)));
    let session = Tls { version: Some("1.3"), sni: Some("h".into()), alpn: Some("h2".into()), ..Tls::default() };
    exchange.connection = Arc::new(ConnectionInfo { tls: Some(Box::new(session)), ..(*exchange.connection).clone() });
    let wire = parse_exchange(exchange);
    let expected = WireTls {
        version: Some("1.3".into()),
        sni: Some("h".into()),
        alpn: Some("h2".into()),
        cipher: None,
        library: None,
        secrets: None,
        reason: None,
    };
    assert_eq!(wire.connection.tls, Some(expected));
    assert_eq!((wire.timing.tls_us, wire.request.url.as_deref()), (Some(7), Some("https://h/p?q")));
}

#[test]
fn what_was_not_seen_is_null() {
    let mut exchange = fixture::exchange();
    exchange.request = None;
    exchange.response = None;
    exchange.outcome = Outcome::Reset;
    exchange.error = Some(104);
    exchange.timing = crate::model::exchange::Timing::default();
    let wire = parse_exchange(exchange);
    assert_eq!(
        wire.request,
        WireRequest {
            method: None,
            url: None,
            authority: None,
            path: None,
            version: None,
            headers: vec![],
            body: None,
            trailers: vec![]
        }
    );
    assert_eq!((wire.response, &*wire.outcome), (None, "reset"));
    assert_eq!((wire.error.as_deref(), wire.errno), (Some("ECONNRESET"), Some(104)));
    let timing = wire.timing;
    let all = [timing.connect_us, timing.tls_us, timing.send_us, timing.wait_us, timing.receive_us, timing.total_us];
    assert_eq!(all, [None; 6]);
    assert_eq!((wire.id, &*wire.role, &*wire.quality, wire.incidents), (1, "client", "whole", vec![]));
    assert_eq!((wire.process.pid, wire.connection.tls, wire.started.len()), (1, None, 27));
}

#[test]
fn bytes_that_do_not_fit_the_framing_are_said() {
    let mut exchange = fixture::exchange();
    exchange.request_misfit = Misfit { cut: 500, stray: 0 };
    exchange.response_misfit = Misfit { cut: 0, stray: 7 };
    let wire = parse_exchange(exchange);
    let misfits = [wire.request_cut, wire.request_stray, wire.response_cut, wire.response_stray];
    assert_eq!(misfits, [Some(500), None, None, Some(7)]);
}

#[test]
fn interim_responses_and_trailers() {
    let mut exchange = fixture::exchange();
    let fields = fixture::fields(&[("Link", "</a>")]);
    exchange.interim = vec![InterimResponse { status: 103, headers: fields.clone(), time: exchange.started }];
    exchange.request.as_mut().expect("there").trailers = fields.clone();
    exchange.response.as_mut().expect("there").trailers = fields;
    let wire = parse_exchange(exchange);
    let expected = vec![("link".to_owned(), "</a>".to_owned())];
    assert_eq!((wire.interim[0].status, &wire.interim[0].headers), (103, &expected));
    assert_eq!(wire.interim[0].time, "2026-11-21T04:05:06.123456Z");
    assert_eq!(wire.request.trailers, expected);
    assert_eq!(wire.response.expect("there").trailers, expected);
}

#[test]
fn urls_of_all_forms() {
    let check = |method: &str, target: &str, host: Option<&str>, role: Role, server: Endpoint, expected: &str| {
        let mut exchange = fixture::exchange();
        exchange.role = role;
        let mut connection = (*exchange.connection).clone();
        let text = server.to_string().into_boxed_str();
        match role {
            Role::Client => (connection.remote, connection.remote_text) = (server, text),
            Role::Server => (connection.local, connection.local_text) = (server, text),
        }
        exchange.connection = connection.into();
        let request = exchange.request.as_mut().expect("there");
        let headers = host.map_or_else(Fields::default, |host| fixture::fields(&[("Host", host)]));
        *request = Request::new(method.into(), target.into(), request.version, headers);
        let wire = parse_exchange(exchange).request;
        assert_eq!(wire.url.as_deref(), Some(expected));
        wire
    };
    let inet = || Endpoint::Inet(([10, 0, 0, 1], 80).into());
    let unix = || Endpoint::Unix("/run/a.sock".into());
    check("GET", "/p", Some("h:8"), Role::Client, inet(), "http://h:8/p");
    check("GET", "/p", None, Role::Client, inet(), "http://10.0.0.1:80/p");
    check("GET", "/p", Some(""), Role::Server, inet(), "http://10.0.0.1:80/p");
    check("GET", "/p", Some("docker"), Role::Client, unix(), "http://docker/p");
    check("GET", "/p", None, Role::Client, unix(), "http+unix://%2Frun%2Fa.sock/p");
    check("GET", "/p", None, Role::Client, Endpoint::Unknown, "/p");
    let wire = check("GET", "https://u:p@h/p?token=t", Some("h"), Role::Client, inet(), "https://***@h/p?token=***");
    assert_eq!((wire.authority.as_deref(), wire.path.as_deref()), (Some("***@h"), Some("/p?token=***")));
    let wire = check("CONNECT", "h:443", Some("h:443"), Role::Client, inet(), "h:443");
    assert_eq!((wire.authority.as_deref(), wire.path.as_deref()), (Some("h:443"), Some("")));
    let wire = check("OPTIONS", "*", Some("h"), Role::Server, inet(), "http://h");
    assert_eq!(wire.path.as_deref(), Some("*"));
    check("GET", "odd", Some("h"), Role::Server, inet(), "http://h/odd");
}

/// The body of a response with these headers.
fn body(headers: &[(&str, &str)], bytes: u64, captured: &[u8], missing: u64) -> WireBody {
    let mut exchange = fixture::exchange();
    let response = exchange.response.as_mut().expect("there");
    response.headers = fixture::fields(headers);
    response.body = Body { bytes, captured: captured.to_vec(), missing };
    parse_exchange(exchange).response.expect("there").body
}

#[test]
fn bodies() {
    let text =
        |bytes, captured, text: &str| WireBody { bytes, captured, text: Some(text.into()), ..WireBody::default() };
    assert_eq!(body(&[], 0, b"", 0), text(0, 0, ""));
    assert_eq!(body(&[], 2, "é".as_bytes(), 0), text(2, 2, "é"));
    assert_eq!(body(&[], 9, b"abc", 0), WireBody { truncated: true, ..text(9, 3, "abc") });
    assert_eq!(body(&[], 9, b"abc", 4), WireBody { truncated: true, missing: 4, ..text(9, 3, "abc") });
    assert_eq!(body(&[], 9, b"", 9), WireBody { truncated: true, missing: 9, ..text(9, 0, "") });
    // A character that the limit cut in two does not make the body binary.
    assert_eq!(body(&[], 9, b"abc\xc3", 0), WireBody { truncated: true, ..text(9, 4, "abc") });
    let binary = WireBody { bytes: 4, captured: 4, base64: Some("YWJjww==".into()), ..WireBody::default() };
    assert_eq!(body(&[], 4, b"abc\xc3", 0), binary);
}

#[test]
fn coded_bodies() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x2b\xc8\x4c\x29\x49\x2c\x50\x28\x40\xa6\xb8\0\xc5\xe5\x60\xa1\x15\0\0\0";
    let length = gzip.len() as u64;
    let gone = [("Content-Encoding", "gzip")];
    let wire = body(&gone, length, gzip, 0);
    assert_eq!((wire.text.as_deref(), wire.decoded.as_deref()), (Some("pidtap pidtap pidtap\n"), Some("gzip")));
    assert_eq!((wire.bytes, wire.captured, wire.truncated, wire.undecoded), (length, length, false, None));
    let wire = body(&gone, length, &gzip[..20], 0);
    assert_eq!((wire.decoded.as_deref(), wire.truncated), (Some("gzip"), true));
    let mut damaged = gzip.to_vec();
    damaged[25] ^= 1;
    let wire = body(&gone, length, &damaged, 0);
    assert_eq!((wire.decoded.as_deref(), wire.damaged), (Some("gzip"), true));
    let wire = body(&[("Content-Encoding", "gzip, rot13")], 3, b"abc", 0);
    assert_eq!((wire.text.as_deref(), wire.undecoded.as_deref()), (Some("abc"), Some("gzip, rot13")));
    assert_eq!((wire.decoded, wire.truncated), (None, false));
}

#[test]
fn secrets_are_masked_unless_asked_for() {
    let mut exchange = fixture::exchange();
    let request = exchange.request.as_mut().expect("there");
    request.target = "/p?api_key=hidden-1".into();
    request.headers = fixture::fields(&[("Authorization", "Bearer hidden-2"), ("Cookie", "id=hidden-3")]);
    let captured = br#"{"password":"hidden-4"}"#.to_vec();
    request.body = Body { bytes: captured.len() as u64, captured, missing: 0 };
    let update = Update::Exchange(exchange.into());
    let masked = json(&update, JsonOptions::default());
    assert!(!masked.contains("hidden"), "{masked}");
    assert!(
        masked.contains(r#""masked":true"#) && masked.contains("Bearer ***") && masked.contains("id=***"),
        "{masked}"
    );
    let shown = json(&update, JsonOptions { show_secrets: true, ..JsonOptions::default() });
    for number in 1..=4 {
        assert!(shown.contains(&format!("hidden-{number}")), "{shown}");
    }
    assert!(!shown.contains("***") && !shown.contains("masked"));
}

fn latin_1(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.iter().map(|&byte| char::from(byte)).collect())
}

proptest! {
    #[test]
    fn whatever_comes_over_the_wire_gives_json_that_says_it(
        method in ".{0,10}",
        target in ".{0,40}",
        reason in ".{0,10}",
        lines in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..12), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        captured in prop_oneof![prop::collection::vec(any::<u8>(), 0..100), ".{0,50}".prop_map(String::into_bytes)],
        more in 0_u64..3,
    ) {
        let mut exchange = fixture::exchange();
        let mut headers = Fields::default();
        for (name, value) in &lines {
            headers.push(name, value);
        }
        let body = Body { bytes: captured.len() as u64 + more, captured, missing: 0 };
        let request = exchange.request.as_mut().expect("there");
        (request.method, request.target) = (method.into(), target.into());
        (request.headers, request.body) = (headers.clone(), body.clone());
        let response = exchange.response.as_mut().expect("there");
        (response.reason, response.headers) = (reason.into(), headers);
        let expected = exchange.clone();
        let text = json(&Update::Exchange(exchange.into()), JsonOptions { show_secrets: true, ..JsonOptions::default() });
        let Line::Exchange(wire) = serde_json::from_str(&text).expect("JSON") else { panic!("{text}") };

        let request = expected.request.expect("there");
        prop_assert_eq!(wire.request.method.as_deref(), Some(&*request.method));
        prop_assert_eq!(wire.request.path.as_deref(), Some(request.path()));
        let names_and_values: Vec<_> =
            lines.iter().map(|(name, value)| (latin_1(name).to_ascii_lowercase(), latin_1(value))).collect();
        prop_assert_eq!(&wire.request.headers, &names_and_values);
        let response = wire.response.expect("there");
        prop_assert_eq!(&response.headers, &names_and_values);
        prop_assert_eq!(response.reason, &*expected.response.expect("there").reason);
        let seen = wire.request.body.expect("there");
        prop_assert_eq!((seen.bytes, seen.captured), (body.bytes, body.captured.len() as u64));
        prop_assert_eq!(seen.truncated, more > 0);
        match (seen.text, seen.base64) {
            (Some(text), None) => prop_assert!(body.captured.starts_with(text.as_bytes()) && body.captured.len() - text.len() < 4),
            (None, Some(base64)) => {
                let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).expect("base64");
                prop_assert_eq!(bytes, body.captured);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

/// As much of everything as a peer can send, of bytes that each become six.
#[test]
fn a_line_is_bounded_and_says_what_was_cut() {
    let mut exchange = fixture::exchange();
    let huge = "\u{80}".repeat(256 << 10);
    let headers = fixture::fields(&[("host", "h"), ("x", &huge)]);
    let body = Body { bytes: 1 << 20, captured: vec![b'"'; 1 << 20], missing: 0 };
    let request = exchange.request.as_mut().expect("there");
    request.target = format!("/{huge}").into();
    (request.headers, request.trailers, request.body) = (headers.clone(), headers.clone(), body.clone());
    let response = exchange.response.as_mut().expect("there");
    (response.headers, response.trailers, response.body) = (headers.clone(), headers, body);
    let mut output = JsonOutput::new(Vec::new(), JsonOptions::default());
    for exchange in [exchange, fixture::exchange()] {
        output.write(&Update::Exchange(exchange.into())).expect("memory takes everything");
    }
    output.flush().expect("memory takes everything");
    let text = std::str::from_utf8(output.get_ref()).expect("UTF-8");
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [Line::Exchange(cut), Line::Exchange(whole)] = &lines[..] else { panic!("two exchanges") };
    assert_eq!((cut.cut_by.as_deref(), whole.cut_by.as_deref()), (Some("line_size"), None));
    assert!(text.lines().all(|line| line.len() < 1 << 20), "{}", text.len());
    assert!(cut.request.path.as_deref().is_some_and(|path| path.starts_with("/\u{80}")));
}
