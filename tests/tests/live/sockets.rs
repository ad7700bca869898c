//! Sockets other than plain TCP, and connections that end in every way.

use std::fs::File;

use pidtap::{
    analysis::detector::Live as _,
    engine::{Engine, EngineOptions},
    event::{Event, wire::flag},
    recording::Reader,
};
use tracer_tests::{
    guard,
    report::Report,
    service::{Program, python},
    tracer::Tracer,
};

/// Traces the program without its children, which are the peer.
fn trace(arguments: &[&str]) -> anyhow::Result<Report> {
    let mut program = Program::start(python("sockets.py").args(arguments))?;
    let trace = Tracer::attach(&[program.pid()], &["--no-follow"])?;
    program.work()?;
    trace.stop()
}

fn calls(report: &Report) -> Vec<(&str, &str, &str)> {
    let path = |url: &str| url.rsplit_once('/').map_or(0, |(base, _)| base.len());
    let mut calls: Vec<_> = report
        .exchanges
        .iter()
        .map(|exchange| {
            let url = exchange.request.url.as_deref().unwrap_or("");
            (exchange.role.as_str(), exchange.outcome.as_str(), &url[path(url)..])
        })
        .collect();
    calls.sort_unstable();
    calls
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn mptcp_is_one_connection_in_both_roles() {
    let _guard = guard::live();
    for (scene, role) in [("mptcp-client", "client"), ("mptcp-joined", "client"), ("mptcp-server", "server")] {
        let report = trace(&[scene]).unwrap_or_else(|error| panic!("{scene}: {error:?}"));
        let expected = ["/m0", "/m1", "/m2"].map(|path| (role, "complete", path));
        assert_eq!(calls(&report), expected, "{scene}");
        let connection = &report.exchanges[0].connection;
        assert!(report.exchanges.iter().all(|exchange| exchange.connection.id == connection.id), "{scene}");
        assert!(report.exchanges.iter().all(|exchange| exchange.quality == "whole"), "{scene}");
        assert_eq!(report.notes.len(), 0, "{scene}: {:?}", report.notes);
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn unix_sockets_have_their_path() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.sock").to_string_lossy().into_owned();
    let name = format!("@pidtap-test-{}", std::process::id());
    for path in [path, name] {
        let report = trace(&["unix", &path]).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let text = format!("unix:{path}");
        let mut ends: Vec<_> = report
            .exchanges
            .iter()
            .map(|exchange| {
                let connection = &exchange.connection;
                (
                    exchange.role.as_str(),
                    exchange.outcome.as_str(),
                    connection.local.as_str(),
                    connection.remote.as_str(),
                )
            })
            .collect();
        ends.sort_unstable();
        let mut expected =
            vec![("client", "complete", "unix", text.as_str()), ("server", "complete", text.as_str(), "unix")];
        if !path.starts_with('@') {
            expected.extend([
                ("client", "connect_failed", "unix", text.as_str()),
                ("client", "refused", "unix", text.as_str()),
            ]);
        }
        expected.sort_unstable();
        assert_eq!(ends, expected);
        let urls = report.exchanges.iter().filter_map(|exchange| exchange.request.url.as_deref());
        assert!(urls.into_iter().all(|url| url.starts_with("http+unix://")), "{:?}", report.exchanges);
    }
}

/// No connection stays open after any kind of end. The probes' events alone show that, without a later query of all connections, which
/// corrects losses.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn connections_that_are_over_do_not_stay_open() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.tap");
    let mut program = Program::start(python("sockets.py").args(["endings", "300"])).expect("it starts");
    let options = ["--no-follow", "--record", path.to_str().expect("it is UTF-8")];
    let trace = Tracer::attach(&[program.pid()], &options).expect("pidtap attaches");
    program.work().expect("it works");
    trace.stop().expect("pidtap ends");
    assert_eq!(left_open(&path), Vec::<String>::new());
}

/// The open connections before the end of a recording, by the probes' events alone.
fn left_open(path: &std::path::Path) -> Vec<String> {
    let mut reader = Reader::open(File::open(path).expect("it is there")).expect("it is a recording");
    let mut engine = Engine::new(EngineOptions::default());
    let mut last = None;
    while let Some(bytes) = reader.next_event().expect("it can be read") {
        match Event::decode(bytes).expect("it is an event") {
            Event::Detached(tick) => last = Some(tick),
            Event::Probe(probe) if probe.header.flags & flag::GONE != 0 => {}
            event => engine.handle_event(&event),
        }
        while engine.poll().is_some() {}
    }
    // The engine waits a moment for late events before it ends a connection.
    let mut tick = last.expect("it is whole");
    for _ in 0..2 {
        tick.header.time_ns += 2_000_000_000;
        engine.handle_event(&Event::Tick(tick));
    }
    let mut open = Vec::new();
    engine.live().connections(&mut |connection| {
        open.push(format!(
            "{} {} to {}",
            connection.info.inode, connection.info.local_text, connection.info.remote_text
        ));
    });
    open
}
