//! All kinds of hangs, and traffic that resembles them, in scripted events.

mod play;
mod hands;
mod shared;
mod silence;

use play::{Play, Who};

use super::{Doing, HangEvidence, HangResult, Phase, Reason, WaitingOn};
use crate::{
    analysis::detector::State,
    event::wire::{peer_window, tcp_state, waits_on},
};

const GET: &[u8] = b"GET /v1/items?key=1 HTTP/1.1\r\nHost: stock\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn is(evidence: &HangEvidence, phase: Phase, waiting_on: WaitingOn, reason: Reason) {
    assert_eq!((evidence.phase, evidence.waiting_on, evidence.reason), (phase, waiting_on, reason), "{evidence:#?}");
}

/// Evidence after 7 s of silence, with the kernel responding throughout.
fn one(play: &mut Play) -> HangEvidence {
    play.pass(7_000);
    let told = play.hangs();
    let [(State::Open, evidence), ..] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(evidence.result, HangResult::Ongoing);
    assert!((4_900_000_000..6_000_000_000).contains(&evidence.stalled), "{}", evidence.stalled);
    evidence.clone()
}

fn none(play: &mut Play) {
    play.pass(20_000);
    assert!(play.hangs().is_empty(), "{:#?}", play.hangs());
}

#[test]
fn all_is_acknowledged_and_nothing_comes() {
    let mut play = Play::client();
    play.send(GET);
    let evidence = one(&mut play);
    is(&evidence, Phase::Wait, WaitingOn::PeerApplication, Reason::Unanswered);
    assert!(!evidence.age_is_lower_bound && evidence.call.path.contains("/v1/items"));
    assert_eq!(play.level(), "certain");
}

#[test]
fn bytes_in_flight_are_sent_again() {
    let mut play = Play::client();
    play.send(GET).kernel(|probe| (probe.unacknowledged, probe.backoff, probe.send_queue) = (1, 4, 44));
    is(&one(&mut play), Phase::Send, WaitingOn::Network, Reason::Unacknowledged);
}

#[test]
fn the_window_is_zero() {
    let mut play = Play::client();
    play.send(b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nxx")
        .kernel(|probe| (probe.send_queue, probe.peer_window) = (2_000_000, peer_window::ZERO));
    is(&one(&mut play), Phase::Send, WaitingOn::PeerHost, Reason::ZeroWindow);
}

#[test]
fn an_upload_that_the_kernel_still_moves_does_not_hang() {
    let mut play = Play::client();
    play.send(b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nxx");
    for acknowledged in 1..20 {
        // The sending call has not returned.
        play.kernel(|probe| (probe.send_queue, probe.bytes_acked) = (900_000, 900_000 + acknowledged * 10_000))
            .pass(1_000);
    }
    assert!(play.hangs().is_empty(), "{:#?}", play.hangs());
}

#[test]
fn bytes_are_not_read() {
    for (state, share, doing) in [(b'T', 0, Doing::Stopped), (b'R', 100, Doing::OnCpu), (b'S', 0, Doing::Lock)] {
        let mut play = Play::client();
        play.send(GET).kernel(|probe| probe.receive_queue = 40);
        play.thread(Who::HANDLER, state, if state == b'R' { "" } else { "futex" }, waits_on::NOTHING, 0, share);
        let evidence = one(&mut play);
        is(&evidence, Phase::Receive, WaitingOn::ThisProcess, Reason::Unread);
        assert_eq!(evidence.doing, Some(doing));
    }
}

#[test]
fn the_peer_has_closed_and_nobody_looks() {
    let mut play = Play::client();
    play.send(GET).kernel(|probe| probe.state = tcp_state::CLOSE_WAIT);
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    let evidence = one(&mut play);
    is(&evidence, Phase::Wait, WaitingOn::ThisProcess, Reason::CloseUnnoticed);
}

#[test]
fn a_request_is_half_sent() {
    let mut play = Play::client();
    play.send(b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nxx");
    play.thread(Who::HANDLER, b'S', "clock_nanosleep", waits_on::NOTHING, 0, 0);
    let evidence = one(&mut play);
    is(&evidence, Phase::Send, WaitingOn::ThisProcess, Reason::RequestUnwritten);
    assert_eq!(evidence.doing, Some(Doing::Sleep));
    let mut play = Play::client();
    play.send(b"POST /u HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n");
    is(&one(&mut play), Phase::Send, WaitingOn::PeerApplication, Reason::NoContinue);
}

#[test]
fn a_response_stops_in_its_middle() {
    let mut play = Play::client();
    play.send(GET).receive(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf");
    is(&one(&mut play), Phase::Receive, WaitingOn::PeerApplication, Reason::BodyStalled);
}

#[test]
fn a_connect_is_not_answered() {
    let mut play = Play::connecting();
    play.kernel(|probe| (probe.state, probe.retransmits) = (tcp_state::SYN_SENT, 3));
    let evidence = one(&mut play);
    is(&evidence, Phase::Connect, WaitingOn::Network, Reason::SynUnanswered);
    assert_eq!(play.level(), "certain");
    play.connected();
    let told = play.hangs();
    let Some((State::Closed, last)) = told.last() else { panic!("{told:#?}") };
    assert_eq!(last.result, HangResult::Connected);
}

#[test]
fn without_the_kernel_nothing_is_made_up() {
    let mut play = Play::client();
    play.silent().send(GET).pass(9_000);
    let told = play.hangs();
    is(&told[0].1, Phase::Wait, WaitingOn::Unknown, Reason::Unknown);
    assert_eq!(play.level(), "possible");
}

#[test]
fn a_server_does_not_answer() {
    let cases = [
        (b'S', "futex", waits_on::NOTHING, 0, Some(Doing::Lock)),
        (b'R', "", waits_on::NOTHING, 100, Some(Doing::OnCpu)),
        (b'S', "clock_nanosleep", waits_on::NOTHING, 0, Some(Doing::Sleep)),
        (b'S', "read", waits_on::PIPE, 0, Some(Doing::Pipe)),
        (b'D', "read", waits_on::FILE, 0, Some(Doing::Uninterruptible)),
        (b'S', "epoll_wait", waits_on::EPOLL, 0, Some(Doing::EventLoop)),
    ];
    for (state, call, on, share, doing) in cases {
        let mut play = Play::server();
        play.receive(GET).thread(Who::HANDLER, state, call, on, 0, share);
        let evidence = one(&mut play);
        is(&evidence, Phase::Serve, WaitingOn::ThisProcess, Reason::NotServed);
        assert_eq!(evidence.doing, doing, "{call}");
        assert_eq!(play.level(), if call == "epoll_wait" { "possible" } else { "certain" });
    }
}

#[test]
fn a_server_waits_for_a_call_of_its_own() {
    // Shown by a thread that waits on this socket, and by an event loop.
    for (call, on, by) in
        [("recvfrom", waits_on::SOCKET, "same socket"), ("epoll_wait", waits_on::EPOLL, "same thread")]
    {
        let mut play = Play::server();
        play.receive(GET).pass(20);
        play.call_out(b"GET /stock HTTP/1.1\r\nHost: stock\r\n\r\n");
        play.thread(Who::HANDLER, b'S', call, on, if on == waits_on::SOCKET { play::OUTBOUND } else { 0 }, 0);
        play.pass(7_000);
        let told = play.hangs();
        let served = told.iter().find(|(_, evidence)| evidence.phase == Phase::Serve).expect("the request hangs");
        assert_eq!(served.1.doing, Some(Doing::OutboundCall));
        let outbound = served.1.outbound.as_ref().expect("it is known");
        assert_eq!((outbound.by, &*outbound.remote), (by, "10.0.0.7:8080"));
        assert!(told.iter().any(|(_, evidence)| evidence.phase == Phase::Wait), "the call hangs as well");
    }
}

#[test]
fn an_event_loop_that_serves_several_may_wait_for_any() {
    let mut play = Play::server();
    play.receive(GET).reconnect().receive(GET).pass(20);
    play.call_out(b"GET /stock HTTP/1.1\r\nHost: stock\r\n\r\n");
    play.thread(Who::HANDLER, b'S', "epoll_wait", waits_on::EPOLL, 0, 0).pass(7_000);
    assert_eq!((play.hangs()[0].1.doing, play.level()), (Some(Doing::OutboundCall), "possible"));
}

#[test]
fn a_server_stops_within_its_response_or_its_client_within_its_request() {
    let mut play = Play::server();
    play.receive(GET).send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf");
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    is(&one(&mut play), Phase::Serve, WaitingOn::ThisProcess, Reason::ResponseUnwritten);
    let mut play = Play::server();
    play.receive(b"GET /half HTTP/1.1\r\nHo");
    is(&one(&mut play), Phase::Receive, WaitingOn::PeerApplication, Reason::RequestStalled);
    let mut play = Play::server();
    play.receive(GET).send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nhalf");
    play.kernel(|probe| (probe.send_queue, probe.peer_window) = (1000, peer_window::ZERO));
    is(&one(&mut play), Phase::Send, WaitingOn::PeerHost, Reason::ZeroWindow);
}

#[test]
fn what_is_not_http_hangs_where_a_thread_waits() {
    let mut play = Play::client();
    play.send(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    play.thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, play::INODE, 0);
    let evidence = one(&mut play);
    is(&evidence, Phase::Wait, WaitingOn::PeerApplication, Reason::Unanswered);
    assert_eq!((evidence.call.method, &*evidence.call.path), (None, ""));
    // Without a waiting thread, it may be a protocol without responses.
    let mut play = Play::client();
    play.send(b"servers.web1.load 1.5 1700000000\n");
    none(&mut play);
    // A connection with alternating directions has responses.
    let mut play = Play::client();
    for _ in 0..3 {
        play.send(b"PING\r\n").pass(10).receive(b"+PONG\r\n").pass(10);
    }
    none(play.pass(20_000));
    play.send(b"PING\r\n");
    is(&one(&mut play), Phase::Wait, WaitingOn::PeerApplication, Reason::Unanswered);
    assert_eq!(play.level(), "possible");
}

#[test]
fn a_tls_handshake_hangs() {
    let mut play = Play::client();
    play.send(&[&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat());
    is(&one(&mut play), Phase::Tls, WaitingOn::PeerApplication, Reason::Unanswered);
    let mut play = Play::server();
    play.receive(&[&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat());
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    is(&one(&mut play), Phase::Tls, WaitingOn::ThisProcess, Reason::NotServed);
}

#[test]
fn an_idle_connection_over_tls_does_not_hang() {
    // The client's last bytes are a control frame, and another thread waits for input.
    let mut play = Play::client();
    play.send(&[&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat());
    play.pass(5).receive(&[0x16, 3, 3, 0, 100]).pass(5).send(&[0x17, 3, 3, 0, 30]);
    play.thread(Who::OTHER, b'S', "recvfrom", waits_on::SOCKET, play::INODE, 0);
    none(&mut play);
}

#[test]
fn what_waits_on_purpose_does_not_hang() {
    for request in [
        &b"GET /kv?wait=60s HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"GET /sync?timeout=30000 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /jobs/1 HTTP/1.1\r\nHost: h\r\nPrefer: wait=30\r\n\r\n",
        b"GET /long-poll HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /feed HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n",
    ] {
        none(Play::client().send(request));
        let mut server = Play::server();
        server.receive(request).thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
        none(&mut server);
    }
    none(Play::client().send(GET).receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"));
    let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    none(Play::client().send(GET).receive(upgrade).pass(5).send(b"\x81\x02hi"));
    let mut asked = Play::client();
    asked.send(b"GET /kv?wait=10s HTTP/1.1\r\nHost: h\r\n\r\n").pass(30_000);
    assert!(!asked.hangs().is_empty(), "longer than it asked for");
}

#[test]
fn a_stream_that_is_not_read_hangs_all_the_same() {
    let mut play = Play::client();
    play.send(GET).receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    play.kernel(|probe| probe.receive_queue = 5000);
    play.thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    let evidence = one(&mut play);
    is(&evidence, Phase::Receive, WaitingOn::ThisProcess, Reason::Unread);
    // The call may be silent forever, but not stuck.
    assert_eq!(evidence.threshold, 5_000_000_000);
}

#[test]
fn a_slow_download_does_not_hang() {
    let mut play = Play::client();
    play.send(GET).receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    for _ in 0..20 {
        play.pass(2_000).receive(b"ten bytes.");
    }
    assert!(play.hangs().is_empty());
}

#[test]
fn an_idle_connection_does_not_hang() {
    none(Play::client().send(GET).pass(5).receive(OK));
    none(Play::server().receive(GET).pass(5).send(OK));
    none(&mut Play::client());
    none(&mut Play::server());
    // The peer closes a pooled connection.
    let mut play = Play::client();
    play.send(GET).pass(5).receive(OK).kernel(|probe| (probe.receive_queue, probe.state) = (24, tcp_state::CLOSE_WAIT));
    none(&mut play);
}

#[test]
fn an_endpoint_that_is_always_slow_hangs_later() {
    let mut play = Play::client();
    for _ in 0..3 {
        play.send(GET).pass(8_000).receive(OK).pass(10);
    }
    let before = play.hangs().iter().filter(|(state, _)| *state == State::Open).count();
    assert_eq!(before, 2, "then it is known");
    play.send(GET).pass(45_000);
    assert_eq!(play.hangs().iter().filter(|(state, _)| *state == State::Open).count(), 3);
}

#[test]
fn a_hang_ends_with_its_total_and_is_told_again_as_it_ages() {
    let mut play = Play::client();
    play.send(GET).pass(43_000).receive(OK).pass(100);
    let told = play.hangs();
    let states: Vec<State> = told.iter().map(|(state, _)| *state).collect();
    // From 5 s on, every 4 s.
    let updates = states.iter().filter(|state| **state == State::Update).count();
    assert_eq!((states.first(), updates, states.last()), (Some(&State::Open), 8, Some(&State::Closed)));
    let (_, last) = told.last().expect("the end");
    assert_eq!((last.result, last.age / 1_000_000_000), (HangResult::Answered, 43));
    assert_eq!(play.memberships(), [1]);
}

#[test]
fn what_goes_on_and_stops_again_is_two_hangs() {
    let mut play = Play::client();
    play.send(GET).pass(8_000).receive(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf").pass(8_000);
    play.receive(b"0123456789abcdef").pass(100);
    let results: Vec<_> = play.hangs().iter().map(|(state, evidence)| (*state, evidence.result)).collect();
    let [first, second] = [(State::Closed, HangResult::Resumed), (State::Closed, HangResult::Answered)];
    assert!(results.contains(&first) && results.contains(&second), "{results:?}");
    assert_eq!(play.memberships(), [1, 2]);
}

#[test]
fn calls_that_were_given_up_tell_the_time_out() {
    let mut play = Play::client();
    for _ in 0..5 {
        play.send(GET).pass(2_000).close().pass(300).reconnect();
    }
    let closed: Vec<_> = play.hangs().into_iter().filter(|(state, _)| *state == State::Closed).collect();
    let times: Vec<_> = closed.iter().map(|(_, evidence)| (evidence.result, evidence.equal_timeouts)).collect();
    assert_eq!(times, [1, 2, 4].map(|times| (HangResult::ClientTimeout, times)));
    assert!(closed.iter().all(|(_, evidence)| evidence.timeout.is_some_and(|timeout| timeout / 50_000_000 == 40)));
    // A user who cancels.
    let mut play = Play::client();
    play.send(GET).pass(200).close().pass(1_000);
    assert!(play.hangs().is_empty());
}

#[test]
fn a_call_from_before_the_trace_has_an_age() {
    let mut play = Play::late(60_000, 90_000);
    play.thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, play::INODE, 0).pass(1_400);
    let told = play.hangs();
    let (_, evidence) = &told[0];
    is(evidence, Phase::Wait, WaitingOn::PeerApplication, Reason::Unanswered);
    assert!(evidence.age_is_lower_bound && (60..62).contains(&(evidence.age / 1_000_000_000)), "{}", evidence.age);
    assert_eq!(evidence.threads[0].call.as_deref(), Some("recvfrom"));
    assert_eq!(play.level(), "certain");
    // Without a thread, the ages alone leave other explanations.
    let mut play = Play::late(60_000, 90_000);
    play.thread(Who::HANDLER, b'S', "epoll_wait", waits_on::EPOLL, 0, 0).pass(1_400);
    assert_eq!((play.hangs().len(), play.level()), (1, "possible"));
    // The peer moved last: an idle connection.
    let mut play = Play::late(90_000, 60_000);
    none(play.thread(Who::HANDLER, b'S', "epoll_wait", waits_on::EPOLL, 0, 0));
    // If a thread waits on this socket, the rest of a response may be missing.
    let mut play = Play::late(90_000, 60_000);
    play.thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, play::INODE, 0).pass(9_000);
    let told = play.hangs();
    is(&told[0].1, Phase::Receive, WaitingOn::PeerApplication, Reason::BodyStalled);
    // Updated every 4 s.
    assert!(told.iter().skip(1).all(|(state, _)| *state == State::Update));
    assert_eq!(play.level(), "possible");
}

#[test]
fn a_name_server_does_not_answer() {
    let mut play = Play::client();
    play.query("10.0.0.53:53");
    let evidence = {
        play.pass(7_000);
        play.hangs()[0].1.clone()
    };
    is(&evidence, Phase::Dns, WaitingOn::Unknown, Reason::QueryUnanswered);
    assert_eq!(&*evidence.call.authority, "10.0.0.53:53");
}

#[test]
fn ten_thousand_calls_hang_at_once() {
    let mut play = Play::client();
    play.many(10_000).pass(12_000);
    let open = play.hangs().iter().filter(|(state, _)| *state == State::Open).count();
    assert_eq!(open, super::MAX_OPEN);
    assert!(play.hangs().iter().any(|(_, evidence)| evidence.hanging == 10_000));
    assert!(play.asked < 10_000 * 20, "each is asked about a few times, then seldom: {}", play.asked);
}
