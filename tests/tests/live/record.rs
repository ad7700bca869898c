//! Recordings: what is recorded replays to what was printed live, byte for byte, for every kind of scene.
//!
//! With `PIDTAP_RECORDINGS` set to a folder, each scene's recording and its lines are left there: this is how the
//! committed ones are made (`cargo xtask record`). Each run is compared with the ground truth first.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use tracer_tests::{
    compare::{Expectation, no_wrong_pair},
    guard,
    tracer::{Tracer, binary},
};

use crate::{
    late,
    services::{self, Nginxs, Setting, nginx},
    support::{Outcome, Tracee, all_of, peer, trace_client_with},
};

/// Runs a scene with a recording, replays it with the real program, and keeps it where it shall be kept.
fn record(name: &str, scene: impl FnOnce(&Path) -> anyhow::Result<Outcome>) {
    let Some(_guard) = guard::live() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.tap");
    let outcome = scene(&path).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    keep(name, &path, &outcome.json);
}

/// Replays the recording of a trace with the real program, and keeps it where it shall be kept.
pub(crate) fn keep(name: &str, path: &Path, json: &str) {
    keep_with(name, path, json, &[]);
}

/// The same for a trace with options that decide what is found. Those of the committed ones are known to `replay.rs`.
pub(crate) fn keep_with(name: &str, path: &Path, json: &str, options: &[&str]) {
    let replayed = Command::new(binary().expect("pidtap"))
        .args(["open", "-o", "json", "--show-secrets"])
        .args(options)
        .arg(path)
        .output()
        .expect("pidtap opens it");
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let replayed = String::from_utf8(replayed.stdout).expect("JSON is UTF-8");
    for (live, replayed) in json.lines().zip(replayed.lines()) {
        assert_eq!(live, replayed, "{name}: live, and replayed");
    }
    assert_eq!(json, replayed, "{name}");
    if let Some(folder) = env::var_os("PIDTAP_RECORDINGS") {
        let to = Path::new(&folder).join(name);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::copy(path, to.with_extension("tap")).expect("the recording can be kept");
        fs::write(to.with_extension("json"), json).expect("the expectation can be kept");
        eprintln!("kept {name}: {} bytes", fs::metadata(path).map(|data| data.len()).unwrap_or_default());
    }
}

fn little(path: &Path) -> Setting<'_> {
    Setting { connections: 3, each: 12, record: Some(path) }
}

macro_rules! services {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                record(stringify!($name), |path| services::$name(little(path)));
            }
        )*
    };
}

services! { python_server urllib3_client node_server node_fetch go_server go_client curl }

#[test]
fn nginx_small() {
    record("nginx_small", |path| nginx(Nginxs::Small, little(path)));
}

#[test]
fn nginx_sendfile() {
    record("nginx_sendfile", |path| nginx(Nginxs::Large, Setting { connections: 1, each: 3, record: Some(path) }));
}

#[test]
fn nginx_proxied() {
    record("nginx_proxied", |path| nginx(Nginxs::Proxied, little(path)));
}

/// Scenes of the tracee in the client's role.
fn tracee(name: &str, args: &[&str], expectation: &Expectation<'_>) {
    record(name, |path| {
        let path = path.to_string_lossy();
        trace_client_with(args, "127.0.0.1:0", expectation, &["--body-limit", "64KiB", "--record", &path])
    });
}

const WHOLE: Expectation<'static> = Expectation { quality: Some("whole"), nothing_lost: true, digests: false };
const BODY_GAPS: Expectation<'static> = Expectation { quality: None, nothing_lost: true, digests: false };

#[test]
fn client_mixed() {
    tracee("client_mixed", &["client", "mixed", "ADDRESS", "kinds", "1"], &WHOLE);
}

#[test]
fn client_peek() {
    tracee("client_peek", &["client", "peek", "ADDRESS", "bodies", "1"], &WHOLE);
}

#[test]
fn client_splice() {
    tracee("client_splice", &["client", "splice", "ADDRESS", "bodies", "1"], &BODY_GAPS);
}

#[test]
fn pipelining() {
    tracee("pipelining", &["client", "plain", "ADDRESS", "pipeline", "1"], &WHOLE);
}

#[test]
fn upgrade() {
    tracee("upgrade", &["client", "plain", "ADDRESS", "upgrade", "1"], &WHOLE);
}

#[test]
fn connect() {
    tracee("connect", &["client", "plain", "ADDRESS", "connect", "1"], &WHOLE);
}

#[test]
fn close_delimited() {
    tracee("close_delimited", &["client", "plain", "ADDRESS", "close:5000", "2"], &WHOLE);
}

#[test]
fn passed_descriptor() {
    tracee("passed_descriptor", &["scene", "pass", "ADDRESS"], &WHOLE);
}

#[test]
fn dup2() {
    tracee("dup2", &["scene", "dup2", "ADDRESS"], &WHOLE);
}

#[test]
fn threads() {
    tracee("threads", &["scene", "threads", "ADDRESS", "10"], &WHOLE);
}

#[test]
fn children() {
    tracee("children", &["scene", "children", "ADDRESS", "20"], &WHOLE);
}

#[test]
fn gives_up() {
    tracee("gives_up", &["scene", "give-up", "ADDRESS"], &WHOLE);
}

/// Scenes whose truth is not that of a log alone; those are compared by live tests of their own.
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
fn reset_in_a_body() {
    scene("reset_in_a_body", &["client", "plain", "ADDRESS", "reset:2000", "2"], 2, &[]);
}

#[test]
fn early_answer() {
    scene("early_answer", &["client", "plain", "ADDRESS", "early", "1"], 0, &[]);
}

#[test]
fn garbage() {
    scene("garbage", &["scene", "garbage", "ADDRESS"], 0, &[]);
}

#[test]
fn forced_loss() {
    scene("forced_loss", &["scene", "flood", "ADDRESS", "60"], 240, &["--ring-size", "4KiB"]);
}

#[test]
fn joined_late() {
    record("joined_late", |path| {
        let path = path.to_string_lossy();
        late::within_a_body(&["--body-limit", "64KiB", "--record", &path]).context("attaching within a body")
    });
}
