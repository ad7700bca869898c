//! Recordings of every kind of scene replay to the lines that were printed live, byte for byte.
//!
//! If `PIDTAP_RECORDINGS` names a folder, each scene leaves its recording and its lines there: `cargo xtask record` makes the committed
//! ones. Each run is compared with the ground truth first.

use std::path::Path;

use anyhow::{Context as _, ensure};
use tracer_tests::{
    compare::{Expectation, no_wrong_pair},
    guard,
    keep::keep,
    tracer::Tracer,
};

use crate::{
    late,
    services::{self, Nginxs, Setting, nginx},
    support::{Outcome, Tracee, all_of, peer, trace_client_with},
};

/// Runs a scene with a recording, replays it with the real program, and keeps it if requested.
fn record(name: &str, scene: impl FnOnce(&Path) -> anyhow::Result<Outcome>) {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.tap");
    let outcome = scene(&path).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    keep(name, &path, &outcome.json);
}

fn little(path: &Path) -> Setting<'_> {
    Setting { connections: 3, each: 12, record: Some(path) }
}

macro_rules! services {
    ($($name:ident)*) => {
        $(
            #[test]
            #[ignore = "needs root: `cargo xtask test live`"]
            fn $name() {
                record(stringify!($name), |path| services::$name(little(path)));
            }
        )*
    };
}

services! { python_server urllib3_client node_server node_fetch go_server go_client curl }

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn nginx_small() {
    record("nginx_small", |path| nginx(Nginxs::Small, little(path)));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn nginx_sendfile() {
    record("nginx_sendfile", |path| nginx(Nginxs::Large, Setting { connections: 1, each: 3, record: Some(path) }));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn nginx_proxied() {
    record("nginx_proxied", |path| nginx(Nginxs::Proxied, little(path)));
}

/// A scene with the tracee as client.
fn tracee(name: &str, args: &[&str], expectation: &Expectation<'_>) {
    record(name, |path| {
        let path = path.to_string_lossy();
        trace_client_with(args, "127.0.0.1:0", expectation, &["--body-limit", "64KiB", "--record", &path])
    });
}

const WHOLE: Expectation<'static> = Expectation { quality: Some("whole"), nothing_lost: true, digests: false };
const BODY_GAPS: Expectation<'static> = Expectation { quality: None, nothing_lost: true, digests: false };

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn client_mixed() {
    tracee("client_mixed", &["client", "mixed", "ADDRESS", "kinds", "1"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn client_peek() {
    tracee("client_peek", &["client", "peek", "ADDRESS", "bodies", "1"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn client_splice() {
    tracee("client_splice", &["client", "splice", "ADDRESS", "bodies", "1"], &BODY_GAPS);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn pipelining() {
    tracee("pipelining", &["client", "plain", "ADDRESS", "pipeline", "1"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn upgrade() {
    tracee("upgrade", &["client", "plain", "ADDRESS", "upgrade", "1"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn connect() {
    tracee("connect", &["client", "plain", "ADDRESS", "connect", "1"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn close_delimited() {
    tracee("close_delimited", &["client", "plain", "ADDRESS", "close:5000", "2"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn passed_descriptor() {
    tracee("passed_descriptor", &["scene", "pass", "ADDRESS"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn dup2() {
    tracee("dup2", &["scene", "dup2", "ADDRESS"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn threads() {
    tracee("threads", &["scene", "threads", "ADDRESS", "10"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn children() {
    tracee("children", &["scene", "children", "ADDRESS", "20"], &WHOLE);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn gives_up() {
    tracee("gives_up", &["scene", "give-up", "ADDRESS"], &WHOLE);
}

/// A scene whose truth is more than a log. Other live tests compare it.
fn scene(name: &str, args: &[&str], count: usize, options: &[&str]) {
    record(name, |path| {
        let (address, log) = peer("127.0.0.1:0")?;
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "ADDRESS" { address.as_str() } else { *arg }).collect();
        let mut tracee = Tracee::start(&args)?;
        let path = path.to_string_lossy();
        let mut all = vec!["--body-limit", "64KiB", "--record", &*path];
        all.extend(options);
        let trace = Tracer::attach(&[tracee.pid()], &all)?;
        tracee.work()?;
        let (report, json) = trace.stop_with_text()?;
        // A gap may tear an exchange in two: the half without a request has no path.
        let asked = report.exchanges.iter().filter(|exchange| exchange.request.path.is_some()).count();
        ensure!(asked <= all_of(&log, count)?.len().max(1), "nothing is invented");
        no_wrong_pair(&report)?;
        Ok(Outcome { report, json })
    });
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn reset_in_a_body() {
    scene("reset_in_a_body", &["client", "plain", "ADDRESS", "reset:2000", "2"], 2, &[]);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn early_answer() {
    scene("early_answer", &["client", "plain", "ADDRESS", "early", "1"], 0, &[]);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn garbage() {
    scene("garbage", &["scene", "garbage", "ADDRESS"], 0, &[]);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn forced_loss() {
    scene("forced_loss", &["scene", "flood", "ADDRESS", "60"], 240, &["--ring-size", "4KiB"]);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn joined_late() {
    record("joined_late", |path| {
        let path = path.to_string_lossy();
        late::within_a_body(&["--body-limit", "64KiB", "--record", &path]).context("attaching within a body")
    });
}
