//! Conversations whose framing is lost, invalid or cut, each followed by two plain exchanges: what is wrong with one
//! message leaves the others whole.

use proptest::prelude::*;

use super::{body, get, ok, path, script::Script, status};
use crate::{
    engine::{NoteKind, Update},
    model::{
        connection::Role,
        exchange::{Exchange, Outcome, Quality},
    },
};

/// What is captured of one call here.
const CAPTURED: usize = 4096;

type Call<'a> = (bool, &'a [u8]);

fn chunk(length: usize) -> Vec<u8> {
    [format!("{length:x}\r\n").into_bytes(), vec![b'z'; length], b"\r\n".to_vec()].concat()
}

fn play(script: &mut Script, calls: &[Call<'_>]) {
    for (is_request, bytes) in calls {
        script.captured(*is_request, bytes, CAPTURED);
    }
}

fn follow(script: &mut Script) {
    script.request(&get("/next")).response(&ok("next")).request(&get("/next2")).response(&ok("next2"));
}

/// The exchanges of a conversation, of which the last two are as they should be, for both roles.
fn played(calls: &[Call<'_>], check: impl Fn(&[Exchange])) {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        play(&mut script, calls);
        follow(&mut script);
        let exchanges = script.exchanges();
        let told: Vec<_> =
            exchanges.iter().map(|e| (path(e).to_owned(), status(e), body(e), e.quality, e.outcome)).collect();
        let count = exchanges.len();
        assert!(count >= 2, "{told:?}");
        for (exchange, name) in exchanges[count - 2..].iter().zip(["next", "next2"]) {
            assert_eq!((&path(exchange)[1..], &*body(exchange)), (name, name), "{role:?} {told:?}");
            assert_eq!((exchange.quality, exchange.outcome), (Quality::Whole, Outcome::Complete), "{role:?} {told:?}");
        }
        check(&exchanges[..count - 2]);
    }
}

fn size(exchange: &Exchange) -> (u64, u64) {
    let request = exchange.request.as_ref().map_or(0, |request| request.body.bytes);
    (request, exchange.response.as_ref().map_or(0, |response| response.body.bytes))
}

const UPLOAD: &[u8] = b"POST /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const OK2: &[u8] = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok";
const LAST: &[u8] = b"0\r\n\r\n";

#[test]
fn a_chunk_longer_than_what_is_captured_of_a_call_is_skipped_exactly() {
    let whole = [UPLOAD, &chunk(10_000), LAST].concat();
    let (head, big) = ([UPLOAD, &chunk(9_000)].concat(), chunk(20_000));
    let uploads: [&[&[u8]]; 3] = [&[&whole], &[&head, &big, LAST], &[UPLOAD, &big, &chunk(0)]];
    for (parts, bytes) in uploads.iter().zip([10_000, 29_000, 20_000]) {
        let calls: Vec<_> = parts.iter().map(|part| (true, *part)).chain([(false, OK2)]).collect();
        played(&calls, |first| {
            assert_eq!((first.len(), size(&first[0]), first[0].quality), (1, (bytes, 2), Quality::BodyGap));
        });
    }
    let ends = [b"\r\n".as_slice(), LAST].concat();
    let joined = [&big[..big.len() - 2], &ends].concat();
    let downloads: [&[&[u8]]; 4] = [
        &[CHUNKED, &big, &big, &big, LAST],
        // Without the line end, or half of it, in the same call.
        &[CHUNKED, &big[..big.len() - 2], &ends],
        &[CHUNKED, &big[..big.len() - 1], &ends[1..]],
        // The end in the same call.
        &[CHUNKED, &big, &joined],
    ];
    for (parts, bytes) in downloads.iter().zip([60_000, 20_000, 20_000, 40_000]) {
        let request = get("/a");
        let mut calls = vec![(true, &*request)];
        calls.extend(parts.iter().map(|part| (false, *part)));
        played(&calls, |first| {
            assert_eq!((first.len(), size(&first[0]), first[0].quality), (1, (0, bytes), Quality::BodyGap));
            assert_eq!(first[0].outcome, Outcome::Complete);
        });
    }
}

#[test]
fn a_response_that_perhaps_is_over_is_so_when_nothing_follows() {
    let mut script = Script::new(Role::Client);
    play(&mut script, &[(true, &get("/a")), (false, CHUNKED), (false, &[&chunk(9_000)[..], LAST].concat())]);
    script.tick();
    let exchanges = script.exchanges();
    assert_eq!((exchanges.len(), size(&exchanges[0]), exchanges[0].outcome), (1, (0, 9_000), Outcome::Complete));
}

#[test]
fn chunks_of_which_framing_is_missing_mark_that_message_alone() {
    let (many, more) = ([chunk(3_000), chunk(3_000), chunk(3_000)].concat(), [chunk(700), chunk(7_000)].concat());
    let request = get("/a");
    // A gap as long as if the message ended in it, and it goes on.
    let looks_over = [&chunk(9_000)[..], b"7d0\r\n"].concat();
    let rest = [vec![b'y'; 2_000], b"\r\n0\r\n\r\n".to_vec()].concat();
    for parts in [
        &[&*many, &more, LAST][..],
        &[&[&*many, LAST].concat()],
        &[&many, &[&*more, LAST].concat()],
        &[&looks_over, &rest],
    ] {
        let mut calls = vec![(true, &*request), (false, CHUNKED)];
        calls.extend(parts.iter().map(|part| (false, *part)));
        played(&calls, |first| assert_eq!((first.len(), first[0].quality), (1, Quality::HeaderGap)));
        let mut calls = vec![(true, UPLOAD)];
        calls.extend(parts.iter().map(|part| (true, *part)));
        calls.push((false, OK2));
        played(&calls, |first| {
            assert_eq!((first.len(), first[0].quality, status(&first[0])), (1, Quality::HeaderGap, 200));
        });
    }
}

#[test]
fn framing_that_is_invalid_ends_with_its_exchange() {
    let request = get("/a");
    let cases: [(&[Call<'_>], Quality); 7] = [
        // A bad chunk size, in a request and in a response.
        (&[(true, UPLOAD), (true, b"zz\r\nabc\r\n0\r\n\r\n"), (false, OK2)], Quality::Unframed),
        (&[(true, &request), (false, CHUNKED), (false, b"2\r\nab\r\nzz\r\n"), (false, b"c")], Quality::Unframed),
        // Stray bytes after a message without content, and after content.
        (&[(true, b"POST /a HTTP/1.1\r\nHost: t\r\n\r\n{\"a\": 1}"), (false, OK2)], Quality::Unframed),
        (&[(true, b"POST /a HTTP/1.1\r\nHost: t\r\n\r\n"), (true, b"{\"a\": 1}"), (false, OK2)], Quality::Unframed),
        (&[(true, &request), (false, b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nokmore")], Quality::Unframed),
        // Content cut off.
        (&[(true, &request), (false, b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nok")], Quality::Cut),
        (&[(true, b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"), (false, OK2)], Quality::Cut),
    ];
    for (calls, quality) in cases {
        played(calls, |first| {
            assert_eq!((first.len(), first[0].quality, status(&first[0])), (1, quality, 200), "{calls:?}");
            assert_eq!(first[0].outcome, Outcome::Complete);
        });
    }
}

#[test]
fn bytes_that_do_not_fit_the_framing_are_counted() {
    let mut script = Script::new(Role::Server);
    script
        .request(b"POST /a HTTP/1.1\r\n\r\n{\"a\": 1}")
        .response(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nokmore");
    let first = &script.exchanges()[0];
    assert_eq!((first.request_misfit.stray, first.response_misfit.stray), (8, 4));
    let mut script = Script::new(Role::Server);
    script.request(b"POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
    script.response(b"HTTP/1.1 413 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").target_closes();
    let first = &script.exchanges()[0];
    assert_eq!((first.request_misfit.cut, first.quality, first.outcome), (7, Quality::Cut, Outcome::Complete));
}

#[test]
fn an_answer_belongs_to_the_request_whose_head_has_begun() {
    let refused = b"HTTP/1.1 414 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut script = Script::new(Role::Server);
    script.request(b"GET /long").response(refused).request(b"er HTTP/1.1\r\nHost: t\r\n\r\n").target_closes();
    let told: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), status(e), e.outcome)).collect();
    assert_eq!(told, [("/longer".to_owned(), 414, Outcome::Complete)]);
    for head in ["GET /b HTTP/1.1\r\nHost: t\r\nCookie: ccc", "GET /b HTTP/1.1", "GET /b"] {
        let mut script = Script::new(Role::Server);
        script.request(head.as_bytes()).response(refused).target_closes();
        let told: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), status(e), e.quality)).collect();
        assert_eq!(told, [("/b".to_owned(), 414, Quality::Cut)], "{head}");
    }
}

#[test]
fn an_http_answer_makes_the_connection_http() {
    let bad = b"HTTP/1.1 400 X\r\nContent-Length: 3\r\n\r\nbad";
    for request in [&b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"[..], b"GET\t/\tHTTP/1.1\r\nHost: t\r\n\r\n"] {
        played(&[(true, request), (false, bad)], |first| {
            assert_eq!((first.len(), status(&first[0]), first[0].quality), (1, 400, Quality::Unframed));
            assert_eq!(first[0].request_misfit.stray, request.len() as u64);
            assert_eq!(first[0].connection.protocol.name(), "http/1.1");
        });
    }
}

#[test]
fn a_status_line_with_more_spaces_is_one() {
    played(&[(true, &get("/a")), (false, b"HTTP/1.1  200  OK\r\nContent-Length: 2\r\n\r\nok")], |first| {
        assert_eq!((status(&first[0]), first[0].quality), (200, Quality::Whole));
    });
}

#[test]
fn what_is_refused_with_its_content_kept_back_may_come_again() {
    let ask = b"POST /up HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n";
    let again = b"POST /up HTTP/1.1\r\nContent-Length: 20\r\n\r\n";
    let refused = b"HTTP/1.1 417 X\r\nContent-Length: 2\r\n\r\nno";
    let calls: [Call<'_>; 5] = [(true, ask), (false, refused), (true, again), (true, &[b'k'; 20]), (false, OK2)];
    played(&calls, |first| {
        let told: Vec<_> = first.iter().map(|e| (status(e), size(e).0, e.quality)).collect();
        assert_eq!(told, [(417, 0, Quality::Whole), (200, 20, Quality::Whole)]);
    });
}

#[test]
fn lengths_that_contradict_each_other_frame_nothing() {
    let mut script = Script::new(Role::Client);
    script.request(b"POST /a HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nbc /smuggled HTTP/1.1\r\n\r\n");
    script.request(&get("/smuggled"));
    script.response(b"HTTP/1.1 400 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").end_of_stream();
    let told: Vec<_> = script.exchanges().iter().map(|e| (path(e).to_owned(), e.outcome, e.quality)).collect();
    assert_eq!(told, [("/a".to_owned(), Outcome::Complete, Quality::Unframed)]);
}

#[test]
fn a_request_line_may_be_as_long_as_a_head_and_what_is_longer_loses_itself_alone() {
    let long = get(&format!("/q?{}", "a".repeat(70_000)));
    for parts in [vec![&long[..]], long.chunks(16_384).collect(), vec![&long[..100], &long[100..]]] {
        for role in [Role::Client, Role::Server] {
            let mut script = Script::new(role);
            for part in &parts {
                script.request(part);
            }
            script.response(OK2);
            follow(&mut script);
            let exchanges = script.exchanges();
            assert_eq!((exchanges.len(), path(&exchanges[0]).len(), exchanges[0].quality), (3, 70_003, Quality::Whole));
        }
    }
    let endless = get(&format!("/q?{}", "a".repeat(600 * 1024)));
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        endless.chunks(65_536).for_each(|part| _ = script.request(part));
        script.response(OK2);
        follow(&mut script);
        let told: Vec<_> = script.exchanges().iter().map(|e| (status(e), e.quality)).collect();
        assert_eq!(told, [(200, Quality::HeaderGap), (200, Quality::Whole), (200, Quality::Whole)], "{role:?}");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_said_to_be_one() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.request(&get("/a")).response(OK2);
        script.response(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let told: Vec<_> = script.exchanges().iter().map(|e| (status(e), e.outcome, e.is_failed())).collect();
        assert_eq!(told, [(200, Outcome::Complete, false), (408, Outcome::Unsolicited, false)]);
    }
}

#[test]
fn an_answer_that_is_no_http_is_named() {
    for (answer, protocol) in [
        (&b"\x15\x03\x01\x00\x02\x02\x46"[..], "tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh"),
        (b"ICY 200 OK\r\nicy-name: x\r\n\r\n", "icy"),
        (b"220 mail ready\r\n", "other"),
    ] {
        for role in [Role::Client, Role::Server] {
            let mut script = Script::new(role);
            script.request(&get("/a")).response(answer);
            let updates = script.updates();
            let exchanges = Script::exchanges_of(&updates);
            assert_eq!((exchanges.len(), exchanges[0].outcome), (1, Outcome::NotHttp));
            assert_eq!((exchanges[0].quality, exchanges[0].connection.protocol.name()), (Quality::Whole, protocol));
            assert!(
                updates.iter().any(|update| matches!(update, Update::Note(note) if note.kind == NoteKind::NotHttp))
            );
        }
    }
    let mut script = Script::new(Role::Client);
    script.request(b"GET /old\r\n").response(b"<html>old</html>").end_of_stream();
    let name = script.updates().iter().find_map(|update| match update {
        Update::Note(note) => Some(note.connection.protocol.name()),
        _ => None,
    });
    assert_eq!(name, Some("http/0.9"));
    let mut script = Script::new(Role::Client);
    script.request(b"GET /lower http/1.1\r\n\r\n").response(OK2);
    assert_eq!(path(&script.exchanges()[0]), "/lower");
}

#[test]
fn a_chunked_answer_without_its_last_line_end_loses_at_most_itself() {
    let answer = [CHUNKED, b"2\r\nok\r\n0\r\n"].concat();
    played(&[(true, &get("/a")), (false, &answer)], |first| {
        assert_eq!((first.len(), &*body(&first[0]), first[0].quality), (1, "ok", Quality::Cut));
    });
}

#[test]
fn an_answer_that_was_sent_unseen_is_no_failure() {
    let mut script = Script::new(Role::Server);
    script.request(&get("/a")).lose_next().response(OK2).target_closes();
    let told: Vec<_> = script.exchanges().iter().map(|e| (e.outcome, e.quality)).collect();
    assert_eq!(told, [(Outcome::Complete, Quality::HeaderGap)]);
    let mut script = Script::new(Role::Server);
    script.request(&get("/a")).target_closes();
    assert_eq!(script.exchanges()[0].outcome, Outcome::Closed);
}

#[test]
fn a_client_that_closes_what_flows_has_had_enough() {
    const SECOND: u64 = 1_000_000_000;
    let events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n";
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello";
    let closed = |role: Role, answer: &[u8], pause: u64, silence: u64| {
        let mut script = Script::new(role);
        script.request(&get("/a")).response(answer).pass(pause).response(b"more").pass(silence);
        match role {
            Role::Client => script.target_closes(),
            Role::Server => script.end_of_stream().receive_error(104),
        };
        script.exchanges()[0].outcome
    };
    for role in [Role::Client, Role::Server] {
        assert_eq!(closed(role, events, 0, 9 * SECOND), Outcome::ClosedEarly);
        assert_eq!(closed(role, part, 0, 1_000), Outcome::ClosedEarly);
        assert_eq!(closed(role, part, SECOND, SECOND), Outcome::ClosedEarly);
    }
    assert_eq!(closed(Role::Client, part, 0, SECOND), Outcome::ClientTimeout);
    assert_eq!(closed(Role::Server, part, 0, SECOND), Outcome::Reset);
    let mut script = Script::new(Role::Client);
    script.request(&get("/a")).target_closes();
    assert_eq!(script.exchanges()[0].outcome, Outcome::ClientTimeout);
}

#[test]
fn numbers_have_no_holes() {
    let mut script = Script::joined(Role::Client);
    script.request(b"hello there, no HTTP\n").response(b"nor is this\n").request(&get("/a")).response(OK2);
    assert_eq!(script.exchanges().iter().map(|e| e.id.0).collect::<Vec<_>>(), [1, 2]);
}

/// Content of a response whose head went by may be HTTP text, in calls that begin with what looks like a status line.
#[test]
fn http_text_in_content_is_no_response() {
    const TEXT: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nabc";
    const UNTIL_CLOSE: &[u8] = b"HTTP/1.0 500 Internal Server Error\r\n\r\nabc";
    const LINE: &[u8] = b"and so on\n";
    let conversations: &[&[Call<'_>]] = &[
        &[(true, b"!"), (false, TEXT), (false, TEXT), (false, TEXT)],
        &[(false, TEXT), (false, TEXT)],
        &[(false, TEXT), (true, b"!"), (false, TEXT), (true, b"!")],
        &[(false, TEXT), (false, LINE)],
        &[(false, LINE), (false, TEXT)],
        &[(false, LINE), (false, UNTIL_CLOSE), (false, LINE)],
        &[(false, UNTIL_CLOSE), (false, LINE)],
        &[(false, &[TEXT, TEXT].concat())],
    ];
    for conversation in conversations {
        for role in [Role::Client, Role::Server] {
            for follows in [true, false] {
                let mut script = Script::joined(role);
                play(&mut script, conversation);
                if !follows && conversation.last().is_some_and(|call| call.1.starts_with(b"HTTP/1.0") || call.1 == LINE)
                {
                    continue;
                }
                if follows {
                    follow(&mut script);
                }
                let exchanges = script.exchanges();
                let told: Vec<_> = exchanges.iter().map(|e| (e.id.0, path(e), status(e), e.quality)).collect();
                assert_eq!(told[0], (1, "", 0, Quality::JoinedLate), "{told:?}");
                assert_eq!(told.len(), if follows { 3 } else { 1 }, "{told:?}");
                if follows {
                    assert_eq!(told[1..], [(2, "/next", 200, Quality::Whole), (3, "/next2", 200, Quality::Whole)]);
                }
            }
        }
    }
}

/// A response that came after tracing began, to a request that went before, is told when a request follows it, when the
/// connection ends, or when nothing follows for a moment.
#[test]
fn a_response_to_an_unseen_request_is_told() {
    for role in [Role::Client, Role::Server] {
        for end in 0..3 {
            let mut script = Script::joined(role);
            script.response(b"HTTP/1.1 100 Continue\r\n\r\n").response(&ok("old"));
            let exchanges = match end {
                0 => script.request(&get("/new")).exchanges(),
                1 => script.target_closes().exchanges(),
                _ => {
                    for _ in 0..6 {
                        script.tick();
                    }
                    script.exchanges_so_far()
                }
            };
            let old = &exchanges[0];
            assert_eq!(
                (status(old), body(old), old.quality),
                (200, "old".into(), Quality::JoinedLate),
                "{role:?} {end}"
            );
            assert_eq!(old.outcome, Outcome::Complete);
        }
    }
}

proptest! {
    /// Whatever part of a message is lost, a pair that is reported is a true pair; and what follows a whole exchange at
    /// rest is whole.
    #[test]
    fn losing_parts_of_messages_never_mispairs(
        kinds in proptest::collection::vec(0_usize..6, 12),
        lost in proptest::collection::vec(0_u8..4, 1..60),
        cuts in proptest::collection::vec(1_usize..60, 1..20),
        truncate in proptest::collection::vec(1_usize..120, 1..20),
        client in any::<bool>(),
        ticks in any::<bool>(),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut script = Script::new(role);
        let (mut lost, mut cuts, mut truncate) = (lost.iter().cycle(), cuts.iter().cycle(), truncate.iter().cycle());
        let mut whole = Vec::new();
        for (number, kind) in kinds.iter().enumerate() {
            let mut all = true;
            for (is_request, data) in super::round(number, *kind) {
                let mut rest = &data[..];
                // A call that begins a message holds its start line.
                let mut least = 30;
                while !rest.is_empty() {
                    let (part, tail) = rest.split_at((*cuts.next().unwrap()).max(least).min(rest.len()));
                    (rest, least) = (tail, 1);
                    match *lost.next().unwrap() {
                        0 => { script.lose_next().part(is_request, part); all = false; }
                        1 => {
                            let captured = *truncate.next().unwrap();
                            all &= captured >= part.len();
                            script.captured(is_request, part, captured);
                        }
                        _ => { script.part(is_request, part); }
                    }
                }
            }
            whole.push(all);
            // What is lost is known to be only after a while.
            if ticks { script.tick(); }
        }
        let mut seen = Vec::new();
        for exchange in script.exchanges() {
            let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else { continue };
            let Some(answers) = response.headers.get("x-for") else { continue };
            prop_assert_eq!(request.target[1..].as_bytes(), answers);
            if exchange.quality == Quality::Whole {
                seen.push(request.target[1..].parse::<usize>().unwrap());
            }
        }
        for number in 1..kinds.len() {
            if ticks && whole[number] && whole[number - 1] {
                prop_assert!(seen.contains(&number) , "{number} is not whole: {seen:?} of {whole:?}");
            }
        }
    }
}
