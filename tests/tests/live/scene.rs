//! Connections that processes share, address families, framing, and bytes other than HTTP.

use tracer_tests::{
    compare::{Expectation, compare},
    driver::{Client, Plan},
    guard,
    peer::{Scribe, listen_unix},
    tracer::Tracer,
    truth::Log,
};

use crate::support::{Tracee, agree, all_of, driver, peer, trace_client};

fn traced(args: &[&str], listen: &str) {
    let _guard = guard::live();
    trace_client(args, listen, &Expectation::default()).expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn answers_read_by_another_thread_than_the_writer() {
    traced(&["scene", "threads", "ADDRESS", "200"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn descriptor_passed_by_scm_rights() {
    traced(&["scene", "pass", "ADDRESS"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn dup2_over_a_live_descriptor() {
    traced(&["scene", "dup2", "ADDRESS"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn ipv6() {
    traced(&["client", "plain", "ADDRESS", "kinds", "2"], "[::1]:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn pipelining() {
    traced(&["client", "plain", "ADDRESS", "pipeline", "3"], "127.0.0.1:0");
    traced(&["client", "mixed", "ADDRESS", "pipeline", "3"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn close_delimited() {
    traced(&["client", "plain", "ADDRESS", "close:50000", "5"], "127.0.0.1:0");
    traced(&["client", "one-byte", "ADDRESS", "close:500", "2"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn headers_of_64_kib() {
    traced(&["client", "plain", "ADDRESS", "headers:65000", "2"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn upgrade_and_connect() {
    traced(&["client", "plain", "ADDRESS", "upgrade", "2"], "127.0.0.1:0");
    traced(&["client", "plain", "ADDRESS", "connect", "2"], "127.0.0.1:0");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn ipv4_mapped() {
    let _guard = guard::live();
    let (address, log) = peer("127.0.0.1:0").expect("loopback");
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let mapped = format!("[::ffff:127.0.0.1]:{port}");
    let mut tracee = Tracee::start(&["client", "plain", &mapped, "kinds", "1"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let truth = tracee.truth().expect("the log");
    agree(&truth, &all_of(&log, truth.len()).expect("the peer's log"));
    compare(&truth, &trace.stop().expect("pidtap ends"), &Expectation::default()).expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn unix_stream_socket() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("peer.sock");
    let log = Log::new();
    listen_unix(&path, Scribe { log: log.clone(), for_other_side: true }).expect("the path can be bound");
    let address = format!("unix:{}", path.display());
    let mut tracee = Tracee::start(&["client", "plain", &address, "kinds", "2"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let truth = tracee.truth().expect("the log");
    agree(&truth, &all_of(&log, truth.len()).expect("the peer's log"));
    let report = trace.stop().expect("pidtap ends");
    compare(&truth, &report, &Expectation::default()).expect("all is as it was");
    assert!(report.exchanges.iter().all(|exchange| exchange.connection.remote.starts_with("unix")));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn fork_after_accept() {
    let _guard = guard::live();
    let mut tracee = Tracee::start(&["scene", "fork-accept", "-"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.process.say("go").expect("it listens");
    let scribe = driver();
    let address = format!("127.0.0.1:{}", tracee.ready);
    for connection in 0..5 {
        let mut client = Client::connect(&address, scribe.clone()).expect("it listens");
        for number in 0..4 {
            client.exchange(&Plan::get(format!("/get/300/fork-{connection}-{number}"))).expect("it answers");
        }
    }
    tracee.process.expect("done").expect("the children end");
    let truth = scribe.log.exchanges();
    agree(&truth, &tracee.truth().expect("the log"));
    let report = trace.stop().expect("pidtap ends");
    compare(&truth, &report, &Expectation::default()).expect("all is as it was");
    assert!(report.exchanges.iter().all(|exchange| exchange.process.pid != tracee.pid()), "children served");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn early_answer_before_the_request_is_whole() {
    let _guard = guard::live();
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["client", "plain", &address, "early", "1"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let report = trace.stop().expect("pidtap ends");
    let [exchange] = &report.exchanges[..] else { panic!("one exchange: {:?}", report.exchanges) };
    assert_eq!(exchange.request.path.as_deref(), Some("/early/c0-early"));
    assert_eq!(exchange.request.body.as_ref().map(|body| body.bytes), Some(500), "what was sent: {exchange:?}");
    assert_eq!(exchange.response.as_ref().map(|response| response.status), Some(413));
    assert_eq!(report.summary.lost_events, 0);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn peer_resets_mid_body() {
    let _guard = guard::live();
    let (address, log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["client", "plain", &address, "reset:2000", "3"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let truth = all_of(&log, 3).expect("the peer's log");
    let report = trace.stop().expect("pidtap ends");
    assert_eq!(report.exchanges.len(), truth.len());
    for exchange in &report.exchanges {
        assert_eq!(exchange.outcome, "reset", "{exchange:?}");
        // The kernel may discard bytes that the peer sent before the RST: the tracee read a part of them.
        if let Some(response) = &exchange.response {
            assert!(response.body.bytes <= 1000, "{exchange:?}");
            assert_eq!(response.status, 200);
        }
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn garbage_is_no_exchange() {
    let _guard = guard::live();
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["scene", "garbage", &address]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let report = trace.stop().expect("pidtap ends");
    assert!(report.exchanges.is_empty(), "nothing is invented: {:?}", report.exchanges);
    let protocols: Vec<&str> = report.notes.iter().map(|note| note.connection.protocol.as_str()).collect();
    assert_eq!(protocols, ["tls", "other", "other"], "one line a connection: {:?}", report.notes);
}
