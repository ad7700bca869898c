//! A call that hangs, with nothing but the tracee: guests have no interpreter for the sides of `hang.rs`.

use std::{
    io::Read as _,
    net::TcpListener,
    sync::mpsc::{self, Sender},
    thread,
};

use tracer_tests::{child::PATIENCE, guard, tracer::Tracer};

use crate::support::Tracee;

/// Reads a request, and keeps the connection without an answer until the sender's other end is dropped.
fn silent() -> (String, Sender<()>, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (keep, kept) = mpsc::channel::<()>();
    let (said, read) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let count = stream.read(&mut [0; 4096]).expect("it sends a request");
        assert!(count > 0, "a request has bytes");
        let _ = said.send(());
        let _ = kept.recv();
    });
    (address, keep, read)
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_request_that_is_read_and_not_answered() {
    let _guard = guard::live();
    let (address, keep, read) = silent();
    let mut tracee = Tracee::start(&["client", "plain", &address, "download:100", "1"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &["--hang-after", "500ms"]).expect("pidtap attaches");
    tracee.process.say("go").expect("it waits");
    read.recv_timeout(PATIENCE).expect("the request comes");
    trace.wait_for_output(r#""kind":"hang""#).unwrap_or_else(|error| panic!("{error}: {}", trace.output()));
    let report = trace.stop().expect("pidtap ends");
    drop(keep);
    let hang = report.incidents.iter().find(|incident| incident.kind == "hang").expect("it was told");
    let said = |name: &str| hang.evidence[name].as_str().unwrap_or_default();
    assert_eq!(
        (said("phase"), said("waiting_on"), said("reason")),
        ("wait", "peer_application", "unanswered"),
        "{hang:#?}"
    );
    assert_eq!(report.summary.lost_events, 0);
}
