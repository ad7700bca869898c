//! Results and recordings that go to a pipe whose reader stops, or never comes: the trace goes on, and ends in time.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
};
use tracer_tests::{
    child::{PATIENCE, wait_for},
    guard, pipe,
    report::Report,
    tracer::{Tracer, binary},
};

use crate::support::{Tracee, peer};

/// From a reason to end to the end, where a reader takes nothing.
const BOUND: Duration = Duration::from_secs(20);
/// Exchanges with a body of a megabyte each: more than pipes and queues take.
const EACH: &str = "40";

fn pipe_in(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    pipe::make(&path).expect("a named pipe");
    path
}

/// All that comes until the other side closes it.
fn rest(mut reader: File) -> Vec<u8> {
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).expect("open");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("a pipe");
    bytes
}

fn uploads(address: &str) -> Tracee {
    Tracee::start(&["client", "plain", address, "upload:1000000", EACH]).expect("the tracee starts")
}

/// pidtap, attached; what it says is in the file.
fn start(tracee: &Tracee, folder: &Path, results: &Path, options: &[&str]) -> Child {
    let said = folder.join("said");
    let mut child = Command::new(binary().expect("pidtap"))
        .args([&tracee.pid().to_string(), "-o", "json", "--body-limit", "2MiB", "--output-file"])
        .arg(results)
        .args(options)
        .stdin(Stdio::null())
        .stderr(File::create(&said).expect("a file"))
        .spawn()
        .expect("pidtap starts");
    let attached = wait_for("that it is attached", PATIENCE, || {
        let ended = child.try_wait().ok().flatten().is_some();
        (ended || fs::read_to_string(&said).ok()?.contains("attached to")).then_some(())
    });
    attached.unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(&said).unwrap_or_default()));
    child
}

fn ends_in_time(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    let status = wait_for("the end of pidtap", PATIENCE, || child.try_wait().ok().flatten()).expect("it ends");
    assert!(begin.elapsed() < BOUND, "{:?}", begin.elapsed());
    status.code()
}

#[test]
fn a_recording_that_nobody_reads_makes_nobody_deaf() {
    let Some(_guard) = guard::live() else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = pipe_in(folder.path());
        let (address, _log) = peer("127.0.0.1:0").expect("loopback");
        let mut tracee = uploads(&address);
        let trace = Tracer::attach(&[tracee.pid()], &["--record", &path.to_string_lossy()]).expect("pidtap attaches");
        tracee.work().expect("the tracee works");
        let begin = Instant::now();
        kill_process(Pid::from_raw(trace.pid() as i32).expect("a process"), signal).expect("it runs");
        // What it saw is complete: only the recording has no reader.
        let report = trace.finish().expect("pidtap ends well");
        assert!(begin.elapsed() < BOUND, "{:?}", begin.elapsed());
        assert_eq!((report.exchanges.len(), report.summary.lost_events), (40, 0), "{:?}", report.summary);
    }
}

#[test]
fn a_reader_of_the_results_who_stops_halts_neither_recording_nor_time() {
    let Some(_guard) = guard::live() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (path, tap) = (pipe_in(folder.path()), folder.path().join("it.tap"));
    let stopped = pipe::reader(&path).expect("a named pipe");
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = uploads(&address);
    let options = ["--record", &*tap.to_string_lossy(), "--duration", "5s"];
    let mut child = start(&tracee, folder.path(), &path, &options);
    let begin = Instant::now();
    tracee.work().expect("the tracee works");
    // On a slow machine it is not done within the trace.
    let is_all_seen = begin.elapsed() < Duration::from_secs(4);
    let status = ends_in_time(&mut child);
    let said = fs::read_to_string(folder.path().join("said")).expect("there");
    assert!(begin.elapsed() < BOUND, "{:?}: {said}", begin.elapsed());
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("nobody took any"), "{said}");
    drop(stopped);
    let replayed = Command::new(binary().expect("pidtap")).args(["open", "-o", "json"]).arg(&tap).output();
    let replayed = replayed.expect("it runs");
    assert_eq!(String::from_utf8_lossy(&replayed.stderr), "", "the recording is whole");
    let report = Report::parse(&String::from_utf8_lossy(&replayed.stdout)).expect("JSON");
    let seen = report.exchanges.len();
    assert!(seen == 40 || seen > 10 && !is_all_seen, "{seen} exchanges; pidtap said: {said}");
    assert_eq!(report.summary.lost_events, 0, "{:?}", report.summary);
    assert!(report.summary.duration_ms >= 4_900, "{:?}", report.summary);
}

#[test]
fn a_reader_of_the_results_who_goes_on_is_told_what_is_missing() {
    let Some(_guard) = guard::live() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = pipe_in(folder.path());
    let stopped = pipe::reader(&path).expect("a named pipe");
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = uploads(&address);
    let mut child = start(&tracee, folder.path(), &path, &[]);
    tracee.work().expect("the tracee works");
    let said = || fs::read_to_string(folder.path().join("said")).expect("there");
    wait_for("that lines are left out", PATIENCE, || said().contains("lines are left out").then_some(()))
        .expect("it says");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let text = String::from_utf8(rest(stopped)).expect("UTF-8");
    assert_eq!(ends_in_time(&mut child), Some(0), "{}", said());
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let missing: u64 = of("left_out").iter().filter_map(|line| line["lines"].as_u64()).sum();
    assert!(missing > 0 && of("exchange").len() as u64 + missing >= 40, "{missing}");
    let last = lines.last().expect("a summary");
    assert_eq!((&last["type"], &last["exchanges"]), (&"summary".into(), &40.into()));
}

#[test]
fn a_recording_whose_reader_stops_says_what_is_missing() {
    let Some(_guard) = guard::live() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = pipe_in(folder.path());
    let stopped = pipe::reader(&path).expect("a named pipe");
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = uploads(&address);
    let trace = Tracer::attach(&[tracee.pid()], &["--record", &path.to_string_lossy()]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    wait_for("that events are left out", PATIENCE, || trace.errors().contains("some are left out").then_some(()))
        .expect("it says so");
    kill_process(Pid::from_raw(trace.pid() as i32).expect("a process"), Signal::INT).expect("it runs");
    let tap = folder.path().join("it.tap");
    fs::write(&tap, rest(stopped)).expect("a file");
    let report = trace.finish().expect("pidtap ends well");
    assert_eq!((report.exchanges.len(), report.summary.lost_events), (40, 0), "{:?}", report.summary);
    let lost = &report.summary.lost["recording"];
    assert!(lost.events > 0 && lost.bytes > 0, "{lost:?}");
    let replayed = Command::new(binary().expect("pidtap")).args(["open", "-o", "json"]).arg(&tap).output();
    let replayed = replayed.expect("it runs");
    assert_eq!(String::from_utf8_lossy(&replayed.stderr), "", "it has its end");
    let replayed = Report::parse(&String::from_utf8_lossy(&replayed.stdout)).expect("JSON");
    let missing = &replayed.summary.lost["queue_full"];
    assert_eq!((missing.events, missing.bytes), (lost.events, lost.bytes));
    let whole = replayed.exchanges.iter().filter(|exchange| exchange.quality == "whole").count();
    assert!(whole < report.exchanges.len(), "{:?}", replayed.summary);
}
