//! Every system call that moves bytes through a socket, as client and as server.

use tracer_tests::{
    compare::{Expectation, compare},
    driver::{Client, every_kind},
    guard,
    tracer::Tracer,
};

use crate::support::{Tracee, agree, driver, trace_client};

const WHOLE: Expectation<'static> = Expectation { quality: Some("whole"), nothing_lost: true, digests: true };

fn client(mode: &str, plan: &str) {
    let _guard = guard::live();
    trace_client(&["client", mode, "ADDRESS", plan, "2"], "127.0.0.1:0", &WHOLE).expect("all is as it was");
}

fn server(mode: &str) {
    let _guard = guard::live();
    let tracee = Tracee::start(&["server", mode]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    let scribe = driver();
    for (number, host) in ["127.0.0.1", "[::1]"].into_iter().enumerate() {
        let address = format!("{host}:{}", tracee.ready);
        let mut client = Client::connect(&address, scribe.clone()).expect("the tracee listens");
        for plan in every_kind(&format!("s{number}")) {
            client.exchange(&plan).expect("the tracee answers");
        }
    }
    let truth = scribe.log.exchanges();
    agree(&truth, &tracee.truth_of(truth.len()).expect("the tracee's log"));
    let report = trace.stop().expect("pidtap ends well");
    compare(&truth, &report, &WHOLE).expect("all is as it was");
}

macro_rules! modes {
    ($($client:ident $server:ident $mode:literal)*) => {
        $(
            #[test]
            #[ignore = "needs root: `cargo xtask test live`"]
            fn $client() {
                client($mode, "kinds");
            }

            #[test]
            #[ignore = "needs root: `cargo xtask test live`"]
            fn $server() {
                server($mode);
            }
        )*
    };
}

modes! {
    client_plain server_plain "plain"
    client_one_byte server_one_byte "one-byte"
    client_peek server_peek "peek"
    client_message server_message "message"
    client_messages server_messages "messages"
    client_vectors server_vectors "vectors"
    client_positioned server_positioned "positioned"
    client_more server_more "more"
    client_mixed server_mixed "mixed"
}

/// Bytes that were never in user space: their lengths are right, and no exchange is marked whole.
fn unseen_bodies(mode: &str, request_gap: bool, response_gap: bool) {
    let _guard = guard::live();
    let expectation = Expectation { quality: None, nothing_lost: true, digests: false };
    let report = trace_client(&["client", mode, "ADDRESS", "bodies", "2"], "127.0.0.1:0", &expectation)
        .expect("lengths are right");
    for exchange in &report.exchanges {
        let request = exchange.request.body.as_ref().expect("there is a request");
        let response = exchange.response.as_ref().expect("there is a response");
        let (sent, received) = (request.bytes, response.body.bytes);
        assert_eq!(request.missing, if request_gap { sent } else { 0 }, "{exchange:?}");
        assert_eq!(response.body.missing, if response_gap { received } else { 0 }, "{exchange:?}");
        let gap = request.missing + response.body.missing > 0;
        assert_eq!(exchange.quality, if gap { "body_gap" } else { "whole" }, "{exchange:?}");
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn client_sendfile() {
    unseen_bodies("sendfile", true, false);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn client_splice() {
    unseen_bodies("splice", true, true);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn client_discard() {
    unseen_bodies("discard", false, true);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn uring_bytes_are_said_to_be_unseen() {
    let _guard = guard::live();
    let (address, log) = crate::support::peer("127.0.0.1:0").expect("loopback");
    let mut tracee =
        Tracee::start(&["client", "uring", &address, "bodies", "1"]).expect("the tracee starts (io_uring allowed?)");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let report = trace.stop().expect("pidtap ends well");
    assert!(report.exchanges.is_empty(), "nothing is invented: {:?}", report.exchanges);
    let truth = log.exchanges();
    let note = report.notes.iter().find(|note| note.kind == "unseen_bytes").expect("a note says it");
    assert_eq!(note.connection.local, truth[0].local);
    let bodies: u64 = truth.iter().map(|exchange| exchange.request.body.bytes).sum();
    assert!(note.sent.is_some_and(|sent| sent > bodies), "{note:?}");
}
