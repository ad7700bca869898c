//! The screen of one exchange, drawn from recordings and from exchanges made here.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::{
    super::tests::{LARGE, SMALL, Stage, store_of, store_of_hang},
    *,
};
use crate::{
    engine::Update,
    event::Timestamp,
    fixture::{self, REALTIME_OFFSET, START, fields},
    model::exchange::{Body, InterimResponse, Outcome, Quality, Timing},
    store::{Store, StoreOptions},
    tui::view::Effect,
    view::members::belongs,
};

/// Both sizes of the screen of an exchange.
fn snapshots(name: &str, store: &Store, id: u64, keys: &str) {
    for size in [SMALL, LARGE] {
        let mut stage = stage(store, id, size);
        stage.keys(keys);
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), stage.screen());
    }
}

fn stage(store: &Store, id: u64, size: (u16, u16)) -> Stage {
    let mut stage = Stage::new(store.clone(), size);
    stage.ui.open(Box::new(ExchangeView::new(ExchangeId(id))));
    stage
}

fn store_with(exchanges: impl IntoIterator<Item = Exchange>) -> Store {
    let mut store = Store::new(StoreOptions::default());
    store.set_realtime_offset(REALTIME_OFFSET);
    store.apply(&fixture::attached());
    for exchange in exchanges {
        store.apply(&Update::Exchange(Arc::new(exchange)));
    }
    store
}

fn at(micros: u64) -> Timestamp {
    Timestamp(START.0 + micros * 1_000)
}

fn body(bytes: &[u8]) -> Body {
    Body { bytes: bytes.len() as u64, captured: bytes.to_vec(), missing: 0 }
}

const CHARGE: &str = r#"{"amount":1999,"currency":"eur","source":{"token":"tok_visa_4242","name":"Jürgen Müller"},"capture":true,"metadata":{"order":"7f3c","tags":["a","b"]}}"#;
const DECLINED: &str = r#"{"error":{"type":"api_error","code":null,"message":"An unknown error occurred; try again. If it goes on, tell us the id of this request.","request_id":"req_1a2b3c","retries":[0.5,1,2]}}"#;

/// A call with everything: secrets, JSON both ways, an interim response, a trailer.
fn charge() -> Exchange {
    let mut exchange = fixture::exchange();
    let request = exchange.request.as_mut().expect("the fixture has one");
    request.target = "/v1/charges?expand=source&api_key=sk_live_51H".into();
    request.authority = Some("api.payments.example".into());
    request.headers = fields(&[
        ("Host", "api.payments.example"),
        ("Authorization", "Bearer sk_live_51H"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "2b1e4f0a-7c1d-4a52-9d0f-6a4f7be1c001"),
        ("Content-Length", "153"),
        ("User-Agent", "payments/2.4 (+https://payments.example/a/rather/long/address/that/does/not/fit/on/a/line)"),
    ]);
    request.body = body(CHARGE.as_bytes());
    let response = exchange.response.as_mut().expect("the fixture has one");
    response.headers = fields(&[("Content-Type", "application/json"), ("Request-Id", "req_1a2b3c")]);
    response.body = body(DECLINED.as_bytes());
    response.trailers = fields(&[("Server-Timing", "db;dur=53")]);
    exchange.interim = vec![InterimResponse { status: 103, headers: fields(&[("Link", "</a>")]), time: at(20_000) }];
    exchange.timing = Timing {
        connect_start: Some(at(0)),
        connect_end: Some(at(4_200)),
        tls_start: None,
        tls_end: None,
        request_start: Some(at(4_400)),
        request_end: Some(at(4_900)),
        response_start: Some(at(61_000)),
        response_end: Some(at(66_000)),
        end: Some(at(66_000)),
    };
    exchange
}

#[test]
fn json_with_secrets_hidden_and_shown() {
    let store = store_with([charge()]);
    snapshots("exchange_json", &store, 1, "");
    snapshots("exchange_json_below", &store, 1, "<PgDn><PgDn>");
    snapshots("exchange_json_secrets", &store, 1, "X<PgDn>");
}

#[test]
fn search_marks_what_it_finds() {
    let store = store_with([charge()]);
    snapshots("exchange_search", &store, 1, "/req_<Enter>n");
    let mut stage = stage(&store, 1, SMALL);
    stage.keys("/TYPE<Enter>");
    assert!(stage.screen().contains("not found"), "capitals are meant");
    stage.keys("/xyz<Esc>");
    assert!(!stage.screen().contains("not found"), "nothing is searched for");
}

#[test]
fn bytes_and_what_was_decoded() {
    let mut exchange = charge();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let picture: Vec<u8> = b"\x89PNG\r\n\x1a\n".iter().copied().chain((0..600).map(|n| (n * n) as u8)).collect();
    encoder.write_all(&picture).expect("into memory");
    let response = exchange.response.as_mut().expect("there");
    response.headers = fields(&[("Content-Type", "image/png"), ("Content-Encoding", "gzip")]);
    response.body = body(&encoder.finish().expect("into memory"));
    response.status = 200;
    response.reason = "OK".into();
    let request = exchange.request.as_mut().expect("there");
    request.authority = Some("h".into());
    request.headers = fields(&[("Host", "h"), ("Content-Type", "application/x-www-form-urlencoded")]);
    request.body = body(b"name=J%C3%BCrgen+M&password=secret&note=two%0Alines");
    snapshots("exchange_bytes", &store_with([exchange]), 1, "<PgDn><Down><Down><Down><Down><Down><Down>");
}

#[test]
fn what_is_missing_is_said() {
    snapshots("exchange_gap", &store_of("nginx_sendfile", None), 1, "");
    snapshots("exchange_cut", &store_of("client_mixed", None), 4, "");
    snapshots("exchange_head_gap", &store_of("forced_loss", None), 12, "");
    snapshots("exchange_reset", &store_of("reset_in_a_body", None), 1, "");
}

#[test]
fn open_calls_and_what_they_wait_for() {
    let store = store_of_hang("hang_served_behind_a_call", Some(1_200));
    snapshots("exchange_open", &store, 1, "");
    snapshots("exchange_open_call", &store, 2, "");
}

#[test]
fn its_incident_is_named_and_can_be_opened() {
    let store = store_of("retry_exponential", None);
    let id = store.exchanges().from(crate::store::Sequence(0)).map(|(_, exchange)| exchange.id.0).last();
    let id = id.expect("there are some");
    snapshots("exchange_retry", &store, id, "");
    let mut stage = stage(&store, id, SMALL);
    stage.keys("i");
    assert!(stage.ui.opened.len() == 2, "the incident is over it");
}

#[test]
fn a_call_that_hung_before_tracing_belongs_to_its_incident() {
    let store = store_of_hang("hang_attached_to_a_call", Some(1_500));
    let incident = store.incidents().iter().next().expect("it hangs");
    assert!(incident.report.exchanges.is_empty(), "nothing was seen of it: {incident:?}");
    let mut exchange = charge();
    (exchange.request, exchange.response, exchange.outcome) = (None, None, Outcome::InFlight);
    assert!(!belongs(&exchange, incident), "it is on another connection");
    exchange.connection = incident.report.connection.clone().expect("it is on one");
    assert!(belongs(&exchange, incident));
}

#[test]
fn a_connection_that_was_refused() {
    let mut exchange = charge();
    exchange.request = None;
    exchange.response = None;
    exchange.interim.clear();
    exchange.outcome = Outcome::Refused;
    exchange.error = Some(111);
    exchange.timing = Timing { connect_start: Some(at(0)), end: Some(at(310)), ..Timing::default() };
    snapshots("exchange_refused", &store_with([exchange]), 1, "");
}

#[test]
fn links_are_selected_and_opened() {
    let store = store_of_hang("hang_served_behind_a_call", Some(560));
    let mut stage = stage(&store, 1, SMALL);
    assert!(stage.screen().contains("made 1 call for it"), "{}", stage.screen());
    stage.keys("l<Enter>");
    let screen = stage.screen();
    assert!(screen.contains("GET stock.test/v1/items") && screen.contains("made for ("), "{screen}");
    stage.keys("<Esc>");
    assert!(stage.screen().contains("GET shop.test/orders/7"));
}

#[test]
fn neighbours_are_a_key_away() {
    let store = store_of("client_mixed", None);
    let order: Vec<ExchangeId> =
        store.exchanges().from(crate::store::Sequence(0)).map(|(_, exchange)| exchange.id).collect();
    let mut stage = stage(&store, order[1].0, SMALL);
    let call = |id: ExchangeId| format!("  call {}, ", id.0);
    assert!(stage.screen().contains(&call(order[1])));
    stage.keys("]");
    assert!(stage.screen().contains(&call(order[2])));
    stage.keys("[[");
    assert!(stage.screen().contains(&call(order[0])));
    stage.keys("[");
    assert!(stage.screen().contains("this is the first call"));
    // Only those that the filter lets through.
    stage.ui.filter.set("status=503".to_owned());
    stage.keys("]");
    assert!(stage.screen().contains("503 Whatever"), "{}", stage.screen());
    stage.keys("[");
    assert!(stage.screen().contains("this is the first call"));
}

#[test]
fn what_is_copied() {
    let store = store_with([charge()]);
    let mut stage = stage(&store, 1, SMALL);
    let [Effect::Copy { what, text }] = &stage.keys("y")[..] else { panic!("a copy") };
    assert_eq!(what, "curl command");
    assert!(text.contains("\ncurl 'http://api.payments.example/v1/charges?expand=source&api_key=***"), "{text}");
    assert!(!text.contains("sk_live") && text.contains("# secrets are masked"), "{text}");
    let [Effect::Copy { text, .. }] = &stage.keys("Y")[..] else { panic!("a copy") };
    assert!(text.starts_with("http://api.payments.example/v1/charges?expand=source&api_key=***"), "{text}");
    let [Effect::Copy { text, .. }] = &stage.keys("Xy")[..] else { panic!("a copy") };
    assert!(text.contains("Bearer sk_live_51H") && text.contains("# this command contains secrets"), "{text}");
    stage.keys("X");
    let [Effect::Page { title, text }] = &stage.keys("d")[..] else { panic!("a page") };
    assert_eq!(title, "body of call 1");
    assert!(text.starts_with("── body of the request ──\n(secrets are masked)\n{\n  \"amount\": 1999,\n"), "{text}");
    assert!(text.contains("── body of the response ──\n{\n  \"error\": {\n"), "{text}");
    let files = stage.keys("D");
    let [Effect::WriteFile { name, bytes }, Effect::WriteFile { name: second, .. }] = &files[..] else {
        panic!("two files")
    };
    assert_eq!((name.0.as_str(), name.1.as_str()), ("pidtap-call-1-request", "json"));
    assert_eq!(second.0, "pidtap-call-1-response");
    assert!(bytes.starts_with(b"{\"amount\":1999,") && !bytes.windows(8).any(|window| window == b"tok_visa"));
}

#[test]
fn what_is_forgotten_stays_as_it_was() {
    let mut stage = stage(&store_with([charge()]), 1, SMALL);
    stage.screen();
    stage.store = store_with([]);
    let screen = stage.screen();
    assert!(screen.contains("no longer in memory") && screen.contains("502 Bad Gateway"), "{screen}");
}

/// Whatever comes over the wire, in every place where it is shown.
#[test]
fn hostile_text_draws_without_harm() {
    let evil = "\x1b]52;c;AAAA\x07\x1b[2J\u{202e}txt\u{200b}\r\n\0\u{9b}31m\u{1f469}\u{200d}\u{1f469}日本";
    let mut exchange = charge();
    exchange.process.name = evil.into();
    let long = evil.repeat(300);
    let request = exchange.request.as_mut().expect("there");
    request.method = evil.into();
    request.target = format!("/{long}").into();
    request.authority = Some(evil.into());
    request.headers = fields(&[("Host", evil), (evil, &long), ("Content-Type", evil)]);
    request.headers.push(b"X-Raw", &vec![0xff; 20_000]);
    request.body = body(long.as_bytes());
    let response = exchange.response.as_mut().expect("there");
    response.reason = evil.into();
    response.headers = fields(&[("Content-Type", "application/json")]);
    response.body = body(format!("{{\"{evil}\":[{}", "[".repeat(5_000)).as_bytes());
    response.trailers = fields(&[(evil, evil)]);
    exchange.quality = Quality::BodyGap;
    let store = store_with([exchange]);
    for size in [SMALL, LARGE, (60, 12)] {
        let mut stage = stage(&store, 1, size);
        for keys in ["", "<PgDn>", "/txt<Enter>", "n", "<End>", "X"] {
            stage.keys(keys);
            let screen = stage.screen();
            assert!(!screen.replace('\n', "").contains(char::is_control), "{screen:?}");
            for effect in stage.keys("yY") {
                let Effect::Copy { text, .. } = effect else { panic!("a copy") };
                assert!(text.lines().all(|line| crate::text::escape::Visible(line).is_plain()), "{text}");
            }
            assert!(!screen.contains(['\u{202e}', '\u{200b}', '\u{200d}']), "{screen:?}");
        }
        for effect in stage.keys("d") {
            let Effect::Page { text, .. } = effect else { panic!("a page") };
            assert!(!text.replace('\n', "").contains(char::is_control));
        }
    }
}
