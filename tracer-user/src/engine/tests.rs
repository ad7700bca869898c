//! The engine on scripted events.

mod bounds;
mod conversation;
mod ending;
mod preamble;
pub(crate) mod scenario;
mod script;
mod unix;

use proptest::prelude::*;
use script::Script;

use super::{Engine, EngineOptions, MAX_CONNECTIONS, NoteKind, Update};
use crate::{
    event::wire::{direction, origin},
    fixture::events,
    model::{
        connection::Role,
        exchange::{Exchange, FOLLOWS_CONNECT_NS, Outcome, Quality},
    },
    protocol::context::MAX_OPEN_BYTES,
};

const GET: &[u8] = b"GET /a?b=1 HTTP/1.1\r\nHost: h\r\nX-Id: 1\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-For: {body}\r\n\r\n{body}", body.len()).into_bytes()
}

fn path(exchange: &Exchange) -> &str {
    exchange.request.as_ref().map_or("", |request| &request.target)
}

fn body(exchange: &Exchange) -> String {
    String::from_utf8_lossy(exchange.response.as_ref().map_or(&[][..], |response| &response.body.captured)).into()
}

fn status(exchange: &Exchange) -> u16 {
    exchange.response.as_ref().map_or(0, |response| response.status)
}

#[test]
fn a_keep_alive_connection_gives_its_exchanges_in_order() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.request(GET).response(OK).request(&get("/2")).response(&ok("two"));
        let exchanges = script.exchanges();
        assert_eq!(exchanges.len(), 2);
        let first = &exchanges[0];
        assert_eq!((first.role, first.outcome, first.quality), (role, Outcome::Complete, Quality::Whole));
        assert_eq!((path(first), status(first), &*body(first)), ("/a?b=1", 200, "hello"));
        let request = first.request.as_ref().unwrap();
        assert_eq!(request.headers.get("x-ID"), Some(&b"1"[..]));
        assert_eq!(request.authority(), Some("h"));
        assert_eq!((path(&exchanges[1]), &*body(&exchanges[1])), ("/2", "two"));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.request(&[get("/1"), get("/2"), get("/3")].concat());
        script.response(&[ok("1"), ok("2")].concat()).response(&ok("3"));
        let pairs: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), body(e))).collect();
        assert_eq!(pairs, [("/1".into(), "1".into()), ("/2".into(), "2".into()), ("/3".into(), "3".into())]);
    }
}

#[test]
fn responses_without_content_do_not_swallow_the_next() {
    let mut script = Script::new(Role::Client);
    script.request(b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n").response(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n");
    script.request(&get("/n")).response(b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n");
    script.request(&get("/m")).response(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
    script.request(&get("/o")).response(OK);
    let statuses: Vec<_> = script.exchanges().iter().map(status).collect();
    assert_eq!(statuses, [200, 204, 304, 200]);
}

#[test]
fn interim_responses_belong_to_the_final_one() {
    let mut script = Script::new(Role::Client);
    script.request(b"POST /u HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    script.response(b"HTTP/1.1 100 Continue\r\n\r\n").request(b"abc");
    script.response(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 1);
    let interim: Vec<_> = exchanges[0].interim.iter().map(|interim| interim.status).collect();
    assert_eq!((interim, status(&exchanges[0])), (vec![100, 103], 201));
    assert_eq!(exchanges[0].request.as_ref().unwrap().body.captured, b"abc");
}

#[test]
fn interim_responses_without_end_take_no_memory() {
    let mut script = Script::new(Role::Client);
    script.request(&get("/u"));
    for _ in 0..1_000 {
        script.response(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n");
    }
    script.response(OK);
    let exchanges = script.exchanges();
    assert_eq!((exchanges.len(), exchanges[0].interim.len(), status(&exchanges[0])), (1, 16, 200));
}

#[test]
fn chunked_in_both_directions_with_extensions_and_trailers() {
    let mut script = Script::new(Role::Server);
    script.request(
        b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
    );
    script.response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    script.request(GET).response(OK);
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 2);
    let request = exchanges[0].request.as_ref().unwrap();
    assert_eq!((request.body.bytes, &request.body.captured[..]), (13, &b"abc0123456789"[..]));
    assert_eq!(request.trailers.get("x-t"), Some(&b"1"[..]));
    assert_eq!(body(&exchanges[0]), "ok");
}

#[test]
fn content_until_close_is_whole_when_the_sender_closes() {
    let mut script = Script::new(Role::Client);
    script.request(GET).response(b"HTTP/1.0 200 OK\r\n\r\nsome ").response(b"content").end_of_stream();
    let exchanges = script.exchanges();
    assert_eq!((exchanges[0].outcome, &*body(&exchanges[0])), (Outcome::Complete, "some content"));

    let mut script = Script::new(Role::Server);
    script.request(GET).response(b"HTTP/1.0 200 OK\r\n\r\nsome content").target_closes();
    let exchanges = script.exchanges();
    assert_eq!((exchanges[0].outcome, &*body(&exchanges[0])), (Outcome::Complete, "some content"));
}

#[test]
fn what_ends_before_its_time_says_how() {
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel";
    let ended = |end: &dyn Fn(&mut Script)| {
        let mut script = Script::new(Role::Client);
        script.request(GET).response(part);
        end(&mut script);
        let exchanges = script.exchanges();
        assert_eq!(exchanges.len(), 1);
        assert_eq!(body(&exchanges[0]), "hel");
        exchanges[0].outcome
    };
    assert_eq!(ended(&|script| _ = script.end_of_stream()), Outcome::Closed);
    assert_eq!(ended(&|script| _ = script.receive_error(104)), Outcome::Reset);
    assert_eq!(ended(&|script| _ = script.target_closes()), Outcome::ClosedEarly);
    assert_eq!(ended(&|script| _ = script.pass(300_000_000).target_closes()), Outcome::ClientTimeout);
    assert_eq!(ended(&|script| _ = script.finish()), Outcome::InFlight);
}

#[test]
fn an_early_refusal_answers_a_request_that_is_not_over() {
    let mut script = Script::new(Role::Client);
    script.request(b"POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n0123456789");
    script
        .response(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .end_of_stream();
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 1);
    assert_eq!((exchanges[0].outcome, status(&exchanges[0])), (Outcome::Complete, 413));
    assert_eq!(exchanges[0].request.as_ref().unwrap().body.bytes, 10);
}

#[test]
fn an_answer_to_half_a_head_belongs_to_it() {
    let mut script = Script::new(Role::Server);
    script.request(b"GET /slow HTTP/1.1\r\nHost: h\r\n");
    script.response(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").target_closes();
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(status(&exchanges[0]), 408);
}

#[test]
fn a_response_whose_event_comes_first_waits_for_its_request() {
    let mut script = Script::new(Role::Client);
    script.request(GET).response(OK);
    script.hold_next();
    script.request(&get("/late"));
    script.response(&ok("late")).release();
    script.request(&get("/next")).response(&ok("next"));
    let pairs: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), body(e), e.quality)).collect();
    assert_eq!(pairs[1], ("/late".into(), "late".into(), Quality::Whole));
    assert_eq!(pairs[2], ("/next".into(), "next".into(), Quality::Whole));
}

#[test]
fn a_lost_request_does_not_shift_the_pairing() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.request(&get("/1")).response(&ok("1"));
        script.lose_next().request(&get("/2")).response(&ok("2"));
        script.request(&get("/3")).response(&ok("3"));
        let mut exchanges = script.exchanges();
        exchanges.sort_by_key(body);
        let pairs: Vec<_> = exchanges.iter().map(|e| (path(e).to_owned(), body(e), e.quality)).collect();
        assert_eq!(
            pairs,
            [
                ("/1".into(), "1".into(), Quality::Whole),
                (String::new(), "2".into(), Quality::HeaderGap),
                ("/3".into(), "3".into(), Quality::Whole)
            ]
        );
    }
}

#[test]
fn a_lost_response_does_not_shift_the_pairing() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.request(&get("/1")).response(&ok("1"));
        script.request(&get("/2")).lose_next().response(&ok("2"));
        script.request(&get("/3")).response(&ok("3"));
        let pairs: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), body(e), e.quality)).collect();
        assert_eq!(
            pairs,
            [
                ("/1".into(), "1".into(), Quality::Whole),
                ("/2".into(), String::new(), Quality::HeaderGap),
                ("/3".into(), "3".into(), Quality::Whole)
            ],
            "{role:?}"
        );
    }
}

#[test]
fn a_gap_in_content_of_known_length_is_skipped_exactly() {
    let mut script = Script::new(Role::Client);
    script.request(GET).response(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nab");
    script.lose_next().response(b"cdefg").response(b"hijkl");
    script.request(&get("/2")).response(&ok("2"));
    let exchanges = script.exchanges();
    let response = exchanges[0].response.as_ref().unwrap();
    assert_eq!((response.body.bytes, response.body.missing, &response.body.captured[..]), (12, 5, &b"ab"[..]));
    assert_eq!(exchanges[0].quality, Quality::BodyGap);
    assert_eq!((path(&exchanges[1]), exchanges[1].quality), ("/2", Quality::Whole));
}

#[test]
fn a_gap_in_framing_breaks_that_message_only() {
    let mut script = Script::new(Role::Client);
    script.request(GET).response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    script.lose_next().response(b"4\r\ncdef\r\n").response(b"0\r\n\r\n");
    script.request(&get("/2")).response(&ok("2"));
    let exchanges = script.exchanges();
    assert_eq!((exchanges[0].quality, &*body(&exchanges[0])), (Quality::HeaderGap, "ab"));
    assert_eq!((path(&exchanges[1]), &*body(&exchanges[1]), exchanges[1].quality), ("/2", "2", Quality::Whole));
}

#[test]
fn sendfile_moves_content_that_cannot_be_seen() {
    let mut script = Script::new(Role::Server);
    script.request(GET).response(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").sendfile(1_000_000);
    script.request(&get("/2")).response(&ok("2"));
    let exchanges = script.exchanges();
    let response = exchanges[0].response.as_ref().unwrap();
    assert_eq!((response.body.bytes, response.body.captured.len()), (1_000_000, 0));
    assert_eq!((exchanges[0].quality, exchanges[0].outcome), (Quality::BodyGap, Outcome::Complete));
    assert_eq!(exchanges[1].quality, Quality::Whole);
}

#[test]
fn joining_in_the_middle_mispairs_nothing() {
    // In the wait for a response.
    let mut script = Script::joined(Role::Client);
    script.response(&ok("old")).request(&get("/new")).response(&ok("new"));
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_eq!((path(&exchanges[0]), &*body(&exchanges[0]), exchanges[0].quality), ("", "old", Quality::JoinedLate));
    assert_eq!((path(&exchanges[1]), &*body(&exchanges[1]), exchanges[1].quality), ("/new", "new", Quality::Whole));

    // In the wait for the response to a HEAD, which announces content that does not come.
    let mut script = Script::joined(Role::Client);
    script.response(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n").request(&get("/new")).response(&ok("new"));
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_eq!((path(&exchanges[0]), status(&exchanges[0]), exchanges[0].quality), ("", 200, Quality::JoinedLate));
    assert_eq!((path(&exchanges[1]), &*body(&exchanges[1]), exchanges[1].quality), ("/new", "new", Quality::Whole));

    let mut script = Script::joined(Role::Client);
    script.request(b"ost: h\r\n\r\n").response(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
    script.request(&get("/new")).response(&ok("new"));
    let exchanges = script.exchanges();
    assert_eq!((exchanges.len(), exchanges[0].quality, &*body(&exchanges[1])), (2, Quality::JoinedLate, "new"));

    // In a response's content.
    let mut script = Script::joined(Role::Client);
    script.response(b"tail of some content").request(&get("/new")).response(&ok("new"));
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_eq!((path(&exchanges[0]), status(&exchanges[0]), exchanges[0].quality), ("", 0, Quality::JoinedLate));
    assert_eq!((path(&exchanges[1]), &*body(&exchanges[1]), exchanges[1].quality), ("/new", "new", Quality::Whole));

    // In a request's head.
    let mut script = Script::joined(Role::Server);
    script.request(b"ost: h\r\nX: y\r\n\r\n").response(&ok("old")).request(&get("/new")).response(&ok("new"));
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_eq!((path(&exchanges[0]), &*body(&exchanges[0]), exchanges[0].quality), ("", "old", Quality::JoinedLate));
    assert_eq!((path(&exchanges[1]), &*body(&exchanges[1])), ("/new", "new"));

    // In a request's content, of which the end could begin a method.
    for mut script in [Script::joined(Role::Client), Script::found(Role::Server)] {
        script.request(b"body").response(&ok("old")).request(&get("/new")).response(&ok("new"));
        let exchanges = script.exchanges();
        let pairs: Vec<_> = exchanges.iter().map(|e| (path(e).to_owned(), body(e), e.quality)).collect();
        assert_eq!(exchanges[1].request.as_ref().map(|request| &*request.method), Some("GET"));
        assert_eq!(
            pairs,
            [
                (String::new(), "old".to_owned(), Quality::JoinedLate),
                ("/new".to_owned(), "new".to_owned(), Quality::Whole)
            ]
        );
    }

    // Idle.
    let mut script = Script::joined(Role::Server);
    script.request(GET).response(OK);
    assert_eq!(script.exchanges()[0].quality, Quality::Whole);
}

#[test]
fn what_is_not_http_is_named_and_no_exchange_is_invented() {
    let cases: [(&[u8], &str); 4] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2"),
        (b"*3\r\n$3\r\nSET\r\n", "other"),
        (b"\x00\x01\xff\xfe", "other"),
    ];
    for (bytes, protocol) in cases {
        for role in [Role::Client, Role::Server] {
            let mut script = Script::new(role);
            script.request(bytes).response(b"\x16\x03\x03\x00\x7a").request(bytes).target_closes();
            let updates = script.updates();
            let notes: Vec<_> =
                updates.iter().filter_map(|u| if let Update::Note(n) = u { Some(n) } else { None }).collect();
            assert_eq!(notes.len(), 1, "{bytes:?}");
            assert_eq!((&notes[0].kind, notes[0].connection.protocol.name()), (&NoteKind::NotHttp, protocol));
            assert!(!updates.iter().any(|update| matches!(update, Update::Exchange(_))));
        }
    }
}

#[test]
fn after_an_upgrade_the_connection_is_opaque_and_says_so() {
    let mut script = Script::new(Role::Client);
    script.request(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    script
        .response(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")
        .request(GET)
        .response(OK);
    let updates = script.updates();
    let exchanges = Script::exchanges_of(&updates);
    assert_eq!((exchanges.len(), exchanges[0].outcome), (1, Outcome::Upgraded));
    assert!(updates.iter().any(|update| matches!(update, Update::Note(note)
        if note.kind == NoteKind::Opaque { protocol: "websocket".into() } && note.connection.protocol.name() == "websocket")));

    let mut script = Script::new(Role::Client);
    script
        .request(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        .response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    script.request(b"\x16\x03\x01\x00\x05hello");
    let exchanges = script.exchanges();
    assert_eq!((exchanges.len(), exchanges[0].outcome), (1, Outcome::Upgraded));
    assert_eq!(exchanges[0].request.as_ref().unwrap().authority(), Some("h:443"));
}

#[test]
fn a_call_begins_with_the_connect_that_was_made_for_it() {
    let request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    // The connect takes 1.03 s, the answer next to nothing.
    let mut script = Script::slow_connect(1_030_000_000);
    let exchanges = script.request(request).response(response).request(request).response(response).exchanges();
    let [first, second] = &exchanges[..] else { panic!("{exchanges:?}") };
    assert_eq!(Some(first.started), first.timing.connect_start);
    assert!(first.is_slow() && first.end().expect("it is over").since(first.started) > 1_030_000_000);
    assert_eq!((second.timing.connect_start, second.is_slow()), (None, false));

    // After a connect that took long, the thread may wake late; a request that comes much later is another matter.
    let exchanges = Script::slow_connect(1_030_000_000).wait(100_000_000).request(request).exchanges();
    assert!(exchanges[0].timing.connect_start.is_some());
    let exchanges =
        Script::slow_connect(1_030_000_000).wait(900_000_000).request(request).response(response).exchanges();
    assert_eq!((exchanges[0].timing.connect_start, exchanges[0].is_slow()), (None, false));
}

#[test]
fn a_connection_opened_ahead_was_not_made_for_the_call_that_uses_it() {
    let request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let exchanges = Script::new(Role::Client).wait(FOLLOWS_CONNECT_NS).request(request).exchanges();
    let timing = exchanges[0].timing;
    assert_eq!((timing.connect_start, timing.connect_end), (None, None));
    assert_eq!(Some(exchanges[0].started), timing.request_start);
    // Nor was one that another process made: it was handed down.
    let exchanges = Script::new(Role::Client).by_process(99).request(request).exchanges();
    assert_eq!(exchanges[0].timing.connect_start, None);
}

#[test]
fn the_summary_counts_connections_whose_calls_are_not_seen() {
    let mut script = Script::new(Role::Client);
    script.request(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello").response(b"\x16\x03\x03\x00\x7a\x02");
    let Some(Update::Summary(summary)) = script.updates().pop() else { panic!("it comes last") };
    assert_eq!((summary.exchanges, summary.unseen.tls, summary.unseen.total()), (0, 1, 1));
    assert_eq!(summary.unseen.to_string(), "1 TLS");
}

#[test]
fn a_refused_connect_is_an_exchange_without_messages() {
    let mut script = Script::unconnected();
    script.connect_fails(111);
    let exchanges = script.exchanges();
    assert_eq!(exchanges.len(), 1);
    assert_eq!((exchanges[0].outcome, exchanges[0].error), (Outcome::Refused, Some(111)));
    assert_eq!(&*exchanges[0].connection.remote_text, "127.0.0.1:80");
}

#[test]
fn odd_but_real_heads_are_taken() {
    let mut script = Script::new(Role::Server);
    script.request(b"\r\nGET /lf HTTP/1.1\nHost: h\nX: 1\n\n").response(b"HTTP/1.1 200\nContent-Length: 0\n\n");
    script.request(b"GET /fold HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\tc\r\n\r\n").response(OK);
    script.request(b"GET /sp ace HTTP/1.1\r\nHost: h\r\nNo colon\r\nX : y\r\n\r\n").response(OK);
    script.request(b"GET http://h:8/abs?q HTTP/1.1\r\nHost: other\r\n\r\n").response(OK);
    let exchanges = script.exchanges();
    let paths: Vec<_> = exchanges.iter().map(path).collect();
    assert_eq!(paths, ["/lf", "/fold", "/sp ace", "http://h:8/abs?q"]);
    let folded = exchanges[1].request.as_ref().unwrap();
    assert_eq!(folded.headers.get("x"), Some(&b"a b c"[..]));
    let absolute = exchanges[3].request.as_ref().unwrap();
    assert_eq!((absolute.authority(), absolute.path()), (Some("h:8"), "/abs?q"));
}

#[test]
fn bodies_are_kept_up_to_the_limit_and_counted_beyond() {
    let mut script = Script::new(Role::Client);
    script
        .request(GET)
        .response(format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000)).as_bytes());
    let exchanges = script.exchanges();
    let response = exchanges[0].response.as_ref().unwrap();
    assert_eq!((response.body.bytes, response.body.captured.len(), response.body.missing), (300_000, 64 * 1024, 0));
    assert_eq!(exchanges[0].quality, Quality::Whole);
}

/// A conversation that uses most of what there is.
fn conversation() -> Vec<(bool, Vec<u8>)> {
    vec![
        (true, b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n".to_vec()),
        (false, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()),
        (true, get("/2")),
        (false, ok("two")),
        (true, b"HEAD /3 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        (false, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_vec()),
        (true, [get("/4"), get("/5")].concat()),
        (false, [ok("four"), ok("five")].concat()),
    ]
}

fn outline(exchanges: &[Exchange]) -> Vec<(String, u16, String, Quality, Outcome, usize)> {
    exchanges.iter().map(|e| (path(e).to_owned(), status(e), body(e), e.quality, e.outcome, e.interim.len())).collect()
}

#[test]
fn calls_of_one_byte_give_the_same() {
    for role in [Role::Client, Role::Server] {
        let (mut whole, mut bytes) = (Script::new(role), Script::new(role));
        for (is_request, data) in conversation() {
            whole.part(is_request, &data);
            for byte in &data {
                bytes.part(is_request, &[*byte]);
            }
        }
        assert_eq!(outline(&whole.exchanges()), outline(&bytes.exchanges()));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(cuts in proptest::collection::vec(1_usize..60, 1..40), client in any::<bool>()) {
        let role = if client { Role::Client } else { Role::Server };
        let (mut whole, mut split) = (Script::new(role), Script::new(role));
        let mut cuts = cuts.iter().cycle();
        for (is_request, data) in conversation() {
            whole.part(is_request, &data);
            let mut rest = &data[..];
            while !rest.is_empty() {
                let (part, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                split.part(is_request, part);
                rest = tail;
            }
        }
        prop_assert_eq!(outline(&whole.exchanges()), outline(&split.exchanges()));
    }

    /// Whatever is lost, a pair that is reported is a true pair: each response carries its request's number. That a
    /// connection pipelines must have been seen once before something is lost.
    #[test]
    fn loss_never_mispairs(lost in proptest::collection::vec(any::<bool>(), 1..60), client in any::<bool>(), pipelined in 1_usize..4) {
        let role = if client { Role::Client } else { Role::Server };
        let mut script = Script::new(role);
        let mut lost = lost.iter().cycle();
        let pairs_seen = lost.clone().take(24).copied().collect::<Vec<_>>().chunks(2).filter(|pair| **pair == [false; 2]).count();
        for round in 0..12 {
            for number in 0..pipelined {
                if *lost.next().unwrap() && (pipelined == 1 || round > 0) { script.lose_next(); }
                script.request(&get(&format!("/{round}-{number}")));
            }
            for number in 0..pipelined {
                if *lost.next().unwrap() && (pipelined == 1 || round > 0) { script.lose_next(); }
                script.response(&ok(&format!("{round}-{number}")));
            }
        }
        let mut pairs = 0;
        for exchange in script.exchanges() {
            if exchange.request.is_some() && exchange.response.is_some() {
                prop_assert_eq!(&path(&exchange)[1..], body(&exchange));
                pairs += 1;
            }
        }
        if pipelined == 1 {
            prop_assert_eq!(pairs, pairs_seen);
        }
    }

    #[test]
    fn garbage_never_panics(parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..40)) {
        let mut script = Script::new(Role::Client);
        for (is_request, data) in parts {
            if !data.is_empty() { script.part(is_request, &data); }
        }
        script.updates();
    }
}

#[test]
fn what_was_left_out_before_a_record_of_a_call_is_no_loss() {
    let mut script = Script::new(Role::Server);
    script.request(b"PUT /big HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n");
    script.part(true, &vec![b'x'; 100_000]).skipped_then(199_000, &vec![b'y'; 1_000]);
    script.response(OK).request(&get("/2")).response(&ok("2"));
    let exchanges = script.exchanges();
    let request = exchanges[0].request.as_ref().unwrap();
    assert_eq!((request.body.bytes, request.body.missing), (300_000, 0));
    assert_eq!((exchanges[0].quality, path(&exchanges[1])), (Quality::Whole, "/2"));
}

#[test]
fn bytes_that_pass_another_way_are_said_once() {
    let mut script = Script::new(Role::Server);
    script.request(GET).response(OK);
    let (sent, received) = (OK.len() as u64, GET.len() as u64);
    // Just after a call, its event may be under way: one probe proves nothing.
    script.probe(sent + 500, received).probe(sent, received + 1).probe(sent, received + 1);
    script.probe(sent + 5_000, received + 300).probe(sent + 5_000, received + 300).probe(sent + 9_000, received + 300);
    let updates = script.updates();
    let notes: Vec<_> =
        updates.iter().filter_map(|u| if let Update::Note(note) = u { Some(&note.kind) } else { None }).collect();
    assert_eq!(notes, [&NoteKind::UnseenBytes { sent: 5_000, received: 300 }]);
}

#[test]
fn loss_is_said_once_a_second_while_it_grows() {
    let mut script = Script::new(Role::Server);
    for (milliseconds, lost) in [(1_500, 0), (40, 3), (40, 5), (1_000, 5), (40, 5), (1_000, 9)] {
        script.tick_with_loss(milliseconds * 1_000_000, lost);
    }
    let updates = script.updates();
    let said: Vec<_> =
        updates.iter().filter_map(|u| if let Update::Loss(l) = u { Some(l.total_events()) } else { None }).collect();
    assert_eq!(said, [3, 5, 9]);
}

#[test]
fn counters_that_cannot_be_read_may_be_too_low_until_they_can() {
    let mut script = Script::new(Role::Server);
    script.tick_with_loss(1_500_000_000, 0).outdated_tick(40_000_000, 0).outdated_tick(1_000_000_000, 0);
    script.tick_with_loss(1_000_000_000, 2);
    let updates = script.updates();
    let said: Vec<_> = updates
        .iter()
        .filter_map(|u| if let Update::Loss(l) = u { Some((l.total_events(), l.at_least)) } else { None })
        .collect();
    assert_eq!(said, [(0, true), (2, false)]);
    let Some(Update::Summary(summary)) = updates.last() else { panic!("a summary") };
    assert!(!summary.loss.at_least);
}

#[test]
fn the_rest_of_a_request_that_looks_like_a_request_is_none() {
    let mut script = Script::found(Role::Server);
    // Received 5 ms ago, sent 900 ms ago: a request is being received or handled.
    script.ages(900, 5).request(&get("/inner")).response(&ok("outer")).request(&get("/next")).response(&ok("next"));
    let pairs: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), body(e), e.quality)).collect();
    assert_eq!(
        pairs,
        [(String::new(), "outer".into(), Quality::JoinedLate), ("/next".into(), "next".into(), Quality::Whole)]
    );

    // Just received, too short ago for the ages to tell, and never answered.
    let mut script = Script::found(Role::Server);
    script.probe(0, 70).request(&get("/inner")).response(&ok("outer"));
    let exchanges = script.exchanges();
    assert_eq!((exchanges.len(), path(&exchanges[0]), &*body(&exchanges[0])), (1, "", "outer"));

    // Idle: what comes is a request.
    let mut script = Script::found(Role::Server);
    script.ages(5, 900).request(&get("/next")).response(&ok("next"));
    let exchanges = script.exchanges();
    assert_eq!((exchanges.len(), path(&exchanges[0]), exchanges[0].quality), (1, "/next", Quality::Whole));
}

#[test]
fn a_socket_that_connects_again_is_another_connection() {
    for mut script in [Script::new(Role::Client), Script::found(Role::Client)] {
        script.request(&get("/1")).response(&ok("one")).request(&get("/left"));
        script.reconnects().request(&get("/2")).response(&ok("two"));
        let updates = script.updates();
        assert!(!updates.iter().any(|update| matches!(update, Update::Note(_))), "{updates:?}");
        let exchanges = Script::exchanges_of(&updates);
        let told: Vec<_> =
            exchanges.iter().map(|e| (path(e), e.outcome.name(), e.quality, e.connection.id.0)).collect();
        let whole = Quality::Whole;
        assert_eq!(
            told,
            [("/1", "complete", whole, 1), ("/left", "client_timeout", whole, 1), ("/2", "complete", whole, 2)]
        );
    }
}

/// A request and its response, which names it in a header, of one of the kinds that frame content differently.
fn round(number: usize, kind: usize) -> [(bool, Vec<u8>); 2] {
    let (request, response) = match kind {
        0 => (
            format!("GET /{number} HTTP/1.1\r\n\r\n"),
            "200 OK\r\nContent-Length: 12\r\nX-For: #\r\n\r\nsome\r\n\r\nmore".to_owned(),
        ),
        1 => (
            format!("POST /{number} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n"),
            "200 OK\r\nTransfer-Encoding: chunked\r\nX-For: #\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n".to_owned(),
        ),
        2 => {
            (format!("HEAD /{number} HTTP/1.1\r\n\r\n"), "200 OK\r\nContent-Length: 900\r\nX-For: #\r\n\r\n".to_owned())
        }
        3 => (
            format!("GET /{number} HTTP/1.1\r\n\r\n"),
            "304 Not Modified\r\nContent-Length: 900\r\nX-For: #\r\n\r\n".to_owned(),
        ),
        4 => (
            format!("PUT /{number} HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"),
            "100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nX-For: #\r\n\r\n".to_owned(),
        ),
        _ => {
            (format!("DELETE /{number} HTTP/1.1\r\n\r\n"), "200 OK\r\nContent-Length: 0\r\nX-For: #\r\n\r\n".to_owned())
        }
    };
    let response = format!("HTTP/1.1 {response}").replace('#', &number.to_string());
    [(true, request.into_bytes()), (false, response.into_bytes())]
}

proptest! {
    /// Wherever tracing joins a connection, no response is given to another's request, and it soon is as if it had been
    /// there from the start.
    #[test]
    fn joining_anywhere_mispairs_nothing(
        kinds in proptest::collection::vec(0_usize..6, 6),
        cuts in proptest::collection::vec(1_usize..80, 1..20),
        join in 0_usize..60,
        client in any::<bool>(),
        found in any::<bool>(),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut script = if found { Script::found(role) } else { Script::joined(role) };
        let mut cuts = cuts.iter().cycle();
        let mut calls = Vec::new();
        for (number, kind) in kinds.iter().enumerate() {
            for (is_request, data) in round(number, *kind) {
                let mut rest = &data[..];
                // A call that begins inside a method ("EAD /") begins what looks like another method.
                let mut least = 8;
                while !rest.is_empty() {
                    let (part, tail) = rest.split_at((*cuts.next().unwrap()).max(least).min(rest.len()));
                    least = 1;
                    calls.push((number, is_request, part.to_vec()));
                    rest = tail;
                }
            }
        }
        let join = join.min(calls.len() - 1);
        let joined_in = calls[join].0;
        for (_, is_request, part) in &calls[join..] {
            script.part(*is_request, part);
        }
        let mut seen = Vec::new();
        for exchange in script.exchanges() {
            let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else { continue };
            let answers = response.headers.get("x-for").map(|value| String::from_utf8_lossy(value).into_owned());
            prop_assert_eq!(Some(&request.target[1..]), answers.as_deref());
            if exchange.quality == Quality::Whole {
                seen.push(request.target[1..].parse::<usize>().unwrap());
            }
        }
        for number in joined_in + 2..kinds.len() {
            prop_assert!(seen.contains(&number), "{number} is not whole: {seen:?}");
        }
    }
}

fn receive(engine: &mut Engine, inode: u64, position: u64, payload: &[u8]) {
    engine.handle_event(&events::data(1_000, inode, direction::RECEIVE, [position, 0], payload));
}

#[test]
fn heads_that_never_end_take_no_more_memory_than_is_allowed() {
    const CONNECTIONS: u64 = 200;
    for joined in [false, true] {
        let mut engine = Engine::new(EngineOptions::default());
        let endless = [b"GET / HTTP/1.1\r\nX: ", &vec![b'a'; 400 << 10][..]].concat();
        let mut largest = 0;
        for inode in 1..=CONNECTIONS {
            if !joined {
                accept(&mut engine, inode);
            }
            receive(&mut engine, inode, 0, &endless);
            largest = largest.max(engine.environment.open_bytes);
        }
        assert!((MAX_OPEN_BYTES - endless.len()..=MAX_OPEN_BYTES + endless.len()).contains(&largest), "{largest}");
        let held = engine.environment.open_bytes;
        // What is small is kept all the same; what ends is counted no longer.
        accept(&mut engine, 1_000);
        receive(&mut engine, 1_000, 0, b"GET /small HTTP/1.1\r\nX: ");
        receive(&mut engine, 1_000, 24, b"1\r\n\r\n");
        receive(&mut engine, 1, endless.len() as u64, b"\r\n\r\n");
        assert_eq!(engine.environment.open_bytes, held - endless.len());
        engine.finish();
        assert_eq!(engine.environment.open_bytes, 0);
        let small = std::iter::from_fn(|| engine.poll()).any(|update| match update {
            Update::Exchange(exchange) => path(&exchange) == "/small" && exchange.quality == Quality::Whole,
            _ => false,
        });
        assert!(small);
    }
}

#[test]
fn connections_are_bounded_and_the_oldest_go_first() {
    let mut engine = Engine::new(EngineOptions::default());
    let many = MAX_CONNECTIONS as u64 + 1;
    for inode in 1..=many {
        if inode % 2 == 1 {
            accept(&mut engine, inode);
        } else {
            // Its announcement was lost.
            receive(&mut engine, inode, 0, b"?");
        }
        if inode == 1 || inode == many {
            receive(&mut engine, inode, 0, GET);
        }
    }
    assert!((MAX_CONNECTIONS / 2..=MAX_CONNECTIONS).contains(&engine.connections()), "{}", engine.connections());
    // Reported as what it is: still open as far as is known.
    let given_up: Vec<_> = std::iter::from_fn(|| engine.poll())
        .filter_map(|update| match update {
            Update::Exchange(exchange) => Some((exchange.connection.id.0, exchange.outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(given_up, [(1, Outcome::InFlight)]);
    engine.finish();
    let left = std::iter::from_fn(|| engine.poll()).find_map(|update| match update {
        Update::Exchange(exchange) => Some(exchange.connection.id.0),
        _ => None,
    });
    assert_eq!(left, Some(many));
}

fn accept(engine: &mut Engine, inode: u64) {
    engine.handle_event(&events::socket(1_000, inode, origin::ACCEPT));
}

#[test]
fn what_a_connect_returned_is_its_outcome() {
    let errors = [99, 101, 100, 113, 112, 24, 110, 111, 1];
    let text = errors.iter().map(|error| format!("+10 t1 connect > errno={error}\n")).collect::<Vec<_>>().concat();
    let told = scenario::Scenario::told(&text);
    let names: Vec<&str> = told.exchanges().iter().map(|exchange| exchange.outcome.name()).collect();
    assert_eq!(
        names,
        [
            "no_local_port",
            "network_unreachable",
            "network_unreachable",
            "host_unreachable",
            "host_unreachable",
            "too_many_files",
            "connect_timeout",
            "refused",
            "connect_failed"
        ]
    );
    assert!(told.exchanges().iter().all(|exchange| exchange.is_failed() && exchange.never_connected()));
}
