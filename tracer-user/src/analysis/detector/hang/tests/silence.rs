//! Intended silence, calls that move without events, and results of calls.

use super::{GET, OK, Play, Who, is, none, one};
use crate::{
    analysis::detector::{
        Explain as _, State,
        hang::{HangResult, Phase, Reason, WaitingOn},
    },
    event::wire::{peer_window, waits_on},
    text::redact::Redactor,
};

#[test]
fn a_response_without_a_length_may_be_silent_on_purpose() {
    let mut play = Play::client();
    play.send(GET).receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let evidence = one(&mut play);
    is(&evidence, Phase::Receive, WaitingOn::PeerApplication, Reason::BodyStalled);
    assert_eq!((play.level(), evidence.perhaps_on_purpose), ("possible", Some("stream")));
    assert_eq!(evidence.moved_last, Some("response_head"));
    let title = evidence.title(Redactor::new(false));
    assert!(title.contains("has been silent for") && title.contains("reported after 5.0s of silence"), "{title}");
    let mut server = Play::server();
    server.receive(GET).send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n");
    server.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    assert_eq!(one(&mut server).moved_last, Some("response_content"));
    assert_eq!(server.level(), "possible");
    // A response with a length must continue.
    let mut play = Play::client();
    play.send(GET).receive(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf").pass(7_000);
    assert_eq!(play.level(), "certain");
}

#[test]
fn requests_that_wait_for_work_do_not_hang() {
    for request in [
        &b"GET /v1.43/events?filters=%7B%7D HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: sqs\r\nContent-Length: 40\r\n\r\nAction=ReceiveMessage&WaitTimeSeconds=20",
        b"POST / HTTP/1.1\r\nHost: sqs\r\nContent-Length: 37\r\n\r\n{\"QueueUrl\":\"q\",\"WaitTimeSeconds\":20}",
    ] {
        none(Play::client().send(request));
    }
    // Without a stated waiting time, the hang is never certain.
    let mut play = Play::client();
    play.send(b"GET /runtime/invocation/next HTTP/1.1\r\nHost: h\r\n\r\n").pass(100_000);
    let told = play.hangs();
    assert_eq!((play.level(), told[0].1.perhaps_on_purpose), ("possible", Some("long_poll")));
}

#[test]
fn interim_responses_are_movement() {
    let mut play = Play::client();
    play.send(GET);
    for _ in 0..10 {
        play.pass(3_000).receive(b"HTTP/1.1 102 Processing\r\n\r\n");
    }
    play.pass(3_000).receive(OK).pass(100);
    assert!(play.hangs().is_empty(), "{:#?}", play.hangs());
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    for _ in 0..10 {
        play.pass(3_000).send(b"HTTP/1.1 102 Processing\r\n\r\n");
    }
    assert!(play.hangs().is_empty(), "{:#?}", play.hangs());
}

const EXPECTS: &[u8] = b"PUT /u HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";

#[test]
fn a_server_that_never_says_100_is_the_one_that_does_not_move() {
    let mut play = Play::server();
    play.receive(EXPECTS).thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, super::play::INODE, 0);
    is(&one(&mut play), Phase::Receive, WaitingOn::ThisProcess, Reason::ContinueNotSent);
    assert_eq!(play.level(), "certain");
    // After the 100 it is the client's turn, and vice versa.
    let mut play = Play::server();
    play.receive(EXPECTS).send(b"HTTP/1.1 100 Continue\r\n\r\n");
    is(&one(&mut play), Phase::Receive, WaitingOn::PeerApplication, Reason::RequestStalled);
    let mut play = Play::client();
    play.send(EXPECTS).receive(b"HTTP/1.1 100 Continue\r\n\r\n");
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    is(&one(&mut play), Phase::Send, WaitingOn::ThisProcess, Reason::RequestUnwritten);
}

#[test]
fn a_call_that_sends_and_has_not_returned_is_under_way() {
    // One call sends the whole response, and no part of it was seen yet.
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "sendto", waits_on::SOCKET, super::play::INODE, 0);
    for moved in 1..20 {
        play.kernel(|probe| (probe.send_queue, probe.bytes_acked) = (2_000_000, 2_000_000 + moved * 10_000))
            .pass(1_000);
    }
    assert!(play.hangs().is_empty(), "the kernel moves it: {:#?}", play.hangs());
    play.kernel(|probe| probe.peer_window = peer_window::ZERO).pass(7_000);
    let told = play.hangs();
    is(&told[0].1, Phase::Send, WaitingOn::PeerHost, Reason::ZeroWindow);
    assert!(play.notes().is_empty(), "no byte is unseen");
    // A call that receives all bytes as they arrive.
    let mut play = Play::client();
    play.send(GET).thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, super::play::INODE, 0);
    for moved in 1..20 {
        play.kernel(|probe| probe.bytes_received = moved * 10_000).pass(1_000);
    }
    assert!(play.hangs().is_empty(), "{:#?}", play.hangs());
}

#[test]
fn a_head_that_began_is_something() {
    let mut play = Play::client();
    play.send(GET).receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n");
    let evidence = one(&mut play);
    is(&evidence, Phase::Receive, WaitingOn::PeerApplication, Reason::BodyStalled);
    assert_eq!(evidence.moved_last, Some("response_head_begun"));
    assert!(evidence.why().contains("its head is incomplete"), "{}", evidence.why());
}

#[test]
fn an_end_with_503_or_without_a_client_is_no_good_end() {
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "clock_nanosleep", waits_on::NOTHING, 0, 0).pass(7_000);
    play.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").pass(100);
    let told = play.hangs();
    let Some((State::Closed, last)) = told.last() else { panic!("{told:#?}") };
    assert_eq!((last.result, last.status), (HangResult::Failed, Some(503)));
    let title = last.title(Redactor::new(false));
    assert!(title.contains("failed with 503 after 7.") && !title.contains("well"), "{title}");
    assert!(title.ends_with("this process had received the request but did not respond"), "nothing goes on: {title}");
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "clock_nanosleep", waits_on::NOTHING, 0, 0).pass(6_000);
    play.peer_closes().pass(3_000).send(OK).pass(100);
    let told = play.hangs();
    let Some((State::Closed, last)) = told.last() else { panic!("{told:#?}") };
    assert_eq!(last.result, HangResult::ClientGone);
    assert!(
        last.title(Redactor::new(false)).contains("its client had disconnected"),
        "{}",
        last.title(Redactor::new(false))
    );
}

#[test]
fn an_unread_fin_is_no_byte_of_an_answer() {
    let mut play = Play::client();
    play.send(GET).peer_closes();
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    let evidence = one(&mut play);
    is(&evidence, Phase::Wait, WaitingOn::ThisProcess, Reason::CloseUnnoticed);
    assert_eq!(evidence.socket.map(|socket| socket.receive_queue), Some(0));
    let mut play = Play::client();
    play.send(GET).kernel(|probe| probe.receive_queue = 1);
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    is(&one(&mut play), Phase::Receive, WaitingOn::ThisProcess, Reason::Unread);
}
