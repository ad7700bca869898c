//! Choice of the thread that has to act, and calls that no thread works on.

use super::{Doing, GET, OK, Play, Who, is, one, play};
use crate::{
    analysis::detector::{
        Explain as _, State,
        hang::{HangResult, Phase, Reason, WaitingOn},
    },
    event::wire::waits_on,
    text::redact::Redactor,
};

#[test]
fn where_several_threads_could_be_meant_nothing_is_certain() {
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    play.thread(Who::OTHER, b'S', "futex", waits_on::NOTHING, 0, 0);
    assert!(one(&mut play).doing_is_likely);
    assert_eq!(play.level(), "possible");
    // A computing thread outweighs waiting ones.
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    play.thread(Who::OTHER, b'R', "", waits_on::NOTHING, 0, 100);
    let evidence = one(&mut play);
    assert_eq!((evidence.doing, evidence.threads[0].tid), (Some(Doing::OnCpu), Who::OTHER));
    assert_eq!(play.level(), "possible");
}

#[test]
fn work_that_moves_between_threads_is_summed() {
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0);
    for tid in 20..24 {
        play.thread(tid, b'S', "futex", waits_on::NOTHING, 0, 24);
    }
    let evidence = one(&mut play);
    assert_eq!((evidence.doing, evidence.doing_is_likely), (Some(Doing::OnCpu), true));
}

#[test]
fn waits_say_what_they_wait_for() {
    // A wait with a timeout is a sleep.
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "futex", waits_on::NOTHING, 0, 0).timed();
    assert_eq!(one(&mut play).doing, Some(Doing::Sleep));
    // A child process, by name.
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "wait4", waits_on::NOTHING, 0, 0).child(77, "convert");
    let evidence = one(&mut play);
    assert_eq!(evidence.doing, Some(Doing::Child));
    let title = evidence.title(Redactor::new(false));
    assert!(title.contains("waits for its child process 77 (convert) in wait4"), "{title}");
    // A socket, by its peer.
    let mut play = Play::server();
    play.call_out(b"*1\r\n$4\r\nPING\r\n").receive(GET);
    play.thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, play::OUTBOUND, 0);
    let title = one(&mut play).title(Redactor::new(false));
    assert!(title.contains("to 10.0.0.7:8080 in recvfrom"), "{title}");
    // No thread works on the request.
    let mut play = Play::server();
    play.receive(GET).thread(Who::HANDLER, b'S', "epoll_wait", waits_on::EPOLL, 0, 0);
    let title = one(&mut play).title(Redactor::new(false));
    assert!(title.contains("no thread is working on it: its handler waits for an event"), "{title}");
}

#[test]
fn answers_that_nobody_reads_are_one_leak() {
    let mut play = Play::client();
    play.kernel(|probe| probe.receive_queue = 5000);
    // Fewer than the leak detector needs.
    for _ in 0..20 {
        play.send(GET).pass(500).reconnect();
    }
    play.thread(Who::OTHER, b'S', "clock_nanosleep", waits_on::NOTHING, 0, 0).pass(20_000);
    let told = play.hangs();
    let opened = told.iter().filter(|(state, _)| *state == State::Open).count();
    let (_, last) = told.last().expect("it is told");
    assert_eq!((opened, last.forgotten), (1, 20));
    is(last, Phase::Receive, WaitingOn::ThisProcess, Reason::Unread);
    assert!(last.outbound.is_none(), "none waits for another");
    let title = last.title(Redactor::new(false));
    assert!(title.contains("20 calls like GET stock/v1/items") && title.contains("(a leak)"), "{title}");
}

#[test]
fn a_leak_that_is_collected_is_no_time_out() {
    let mut play = Play::client();
    play.kernel(|probe| probe.receive_queue = 5000);
    for _ in 0..20 {
        play.send(GET).pass(500).reconnect();
    }
    play.thread(Who::OTHER, b'S', "clock_nanosleep", waits_on::NOTHING, 0, 0).pass(20_000);
    // Followers, the leader, and its successors.
    for number in [7, 3, 0, 1, 19].into_iter().chain((2..19).filter(|number| ![3, 7].contains(number))) {
        play.on(play::INODE + number).close().pass(300);
    }
    play.pass(5_000);
    assert_eq!(play.all_memberships(), vec![vec![1]; 20], "{:#?}", play.titles());
    let told = play.hangs();
    assert_eq!(told.iter().filter(|(state, _)| *state == State::Open).count(), 1, "{:#?}", play.titles());
    let Some((State::Closed, last)) = told.last() else { panic!("{told:#?}") };
    assert_eq!((last.result, last.forgotten, last.timeout), (HangResult::Over, 20, None));
    // Their durations do not reveal a timeout of this process either.
    play.kernel(|probe| probe.receive_queue = 0).on(play::INODE + 40).reconnect().send(GET).pass(9_000);
    let told = play.hangs();
    let Some((State::Open | State::Update, last)) = told.last() else { panic!("{told:#?}") };
    assert!(!last.has_timeout, "{last:#?}");
}

#[test]
fn thousands_that_end_are_still_one() {
    let mut play = Play::client();
    play.kernel(|probe| probe.receive_queue = 5000).many(3_000).pass(12_000);
    assert_eq!(play.hangs().last().expect("it is told").1.forgotten, 3_000);
    // The leader is always the next to end.
    for inode in 1000..4000 {
        play.on(inode).close();
    }
    play.pass(1_000);
    let told = play.hangs();
    let Some((State::Closed, last)) = told.last() else { panic!("{told:#?}") };
    assert_eq!((last.result, last.forgotten), (HangResult::Over, 3_000));
    assert_eq!(told.iter().filter(|(state, _)| *state == State::Open).count(), 1);
}

#[test]
fn many_of_them_are_a_connection_leak() {
    let mut play = Play::client();
    play.kernel(|probe| probe.receive_queue = 5000);
    for _ in 0..60 {
        play.send(GET).pass(100).reconnect();
    }
    play.pass(45_000);
    let titles: Vec<String> = play.titles();
    assert!(titles.iter().any(|title| title.contains("60 of them are unread")), "{titles:#?}");
    assert_eq!(play.hangs().iter().filter(|(state, _)| *state == State::Open).count(), 1, "one, and not one each");
}

#[test]
fn a_client_attached_late_is_as_good_as_a_server() {
    let mut play = Play::late(60_000, 30_000);
    play.kernel(|probe| probe.receive_queue = 3_000_000).says().pass(9_000);
    let told = play.hangs();
    is(&told[0].1, Phase::Receive, WaitingOn::ThisProcess, Reason::Unread);
    assert_eq!(play.level(), "certain");
    // A few bytes may be anything.
    let mut play = Play::late(60_000, 30_000);
    play.kernel(|probe| probe.receive_queue = 24).says().pass(9_000);
    assert_eq!((play.hangs().len(), play.level()), (1, "possible"));
}

#[test]
fn advice_does_not_tell_to_set_a_time_out_that_there_is() {
    let mut play = Play::client();
    play.send(GET).pass(7_000);
    assert!(play.hangs()[0].1.advice().contains("Set a client timeout"), "none is known");
    play.close().pass(300).reconnect().send(GET).pass(6_000);
    let told = play.hangs();
    let closed = told.iter().find(|(state, _)| *state == State::Closed).expect("given up");
    assert!(!closed.1.advice().contains("Set a client timeout"), "{}", closed.1.advice());
    assert!(!told.last().expect("the next").1.advice().contains("Set a client timeout"), "it is known by now");
    play.receive(OK);
}

#[test]
fn a_thread_that_has_ended_waits_for_nothing() {
    // This thread alone showed that the process waits.
    let mut play = Play::late(90_000, 60_000);
    play.thread(Who::OTHER, b'S', "epoll_wait", waits_on::EPOLL, 0, 0);
    play.thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, play::INODE, 0).pass(9_000);
    assert!(play.hangs().iter().all(|(state, _)| *state != State::Closed), "{:#?}", play.hangs());
    play.ends(Who::HANDLER).pass(12_000);
    let told = play.hangs();
    let (state, last) = told.last().expect("it was told");
    assert_eq!((*state, last.result), (State::Closed, HangResult::Over), "{last:#?}");
    assert_eq!(told.iter().filter(|(state, _)| *state == State::Open).count(), 1);
    // A thread that served the call.
    let mut play = Play::server();
    play.thread(Who::OTHER, b'S', "epoll_wait", waits_on::EPOLL, 0, 0);
    play.receive(GET).thread(Who::HANDLER, b'S', "read", waits_on::PIPE, 0, 0).pass(9_000);
    play.ends(Who::HANDLER).pass(12_000);
    let told = play.hangs();
    let (state, last) = told.last().expect("it goes on");
    assert_eq!(*state, State::Update);
    assert!(last.threads.iter().all(|thread| thread.tid == Who::OTHER), "{:#?}", last.threads);
}

#[test]
fn a_thread_that_nobody_looks_at_does_what_it_did() {
    for (call, on, socket) in [("recvfrom", waits_on::SOCKET, play::INODE), ("read", waits_on::PIPE, 0)] {
        let mut play = if socket == 0 { Play::server() } else { Play::late(90_000, 60_000) };
        if socket == 0 {
            play.receive(GET);
        }
        play.thread(Who::HANDLER, b'S', call, on, socket, 0).pass(9_000).rests().pass(40_000);
        let told = play.hangs();
        let doing = told[0].1.doing;
        let same = |evidence: &super::HangEvidence| evidence.doing == doing && evidence.threads[0].tid == Who::HANDLER;
        assert!(told.iter().skip(1).all(|(state, evidence)| *state == State::Update && same(evidence)), "{told:#?}");
    }
}
