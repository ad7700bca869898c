//! Results and recordings that go to a pipe without a reader, or whose reader stops. The trace goes on, and ends in time.

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
use tempfile::TempDir;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    guard, pipe,
    report::Report,
    tracer::{Tracer, binary},
    truth::Log,
};

use crate::support::{Tracee, peer};

/// The longest time from a signal to the end, with a reader that takes nothing.
const BOUND: Duration = Duration::from_secs(20);
/// Exchanges, each with a body of a megabyte: more than pipes and queues hold.
const EACH: &str = "40";

/// A process that waits before its exchanges, and a pipe for pidtap's results or recording.
struct Scene {
    folder: TempDir,
    pipe: PathBuf,
    tracee: Tracee,
    _log: Log,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        pipe::make(&pipe).expect("a named pipe");
        let (address, log) = peer("127.0.0.1:0").expect("loopback");
        let tracee = Tracee::start(&["client", "plain", &address, "upload:1000000", EACH]).expect("the tracee starts");
        Self { folder, pipe, tracee, _log: log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Attaches pidtap, with its results in the pipe.
    fn trace(&self, options: &[&str]) -> Child {
        let mut child = Command::new(binary().expect("pidtap"))
            .args([&self.tracee.pid().to_string(), "-o", "json", "--body-limit", "2MiB", "--output-file"])
            .arg(&self.pipe)
            .args(options)
            .stdin(Stdio::null())
            .stderr(File::create(self.path("errors")).expect("a file"))
            .spawn()
            .expect("pidtap starts");
        let attached = wait_for("that it is attached", PATIENCE, || {
            let ended = child.try_wait().ok().flatten().is_some();
            (ended || self.errors().contains("attached to")).then_some(())
        });
        attached.unwrap_or_else(|error| panic!("{error}: {}", self.errors()));
        child
    }

    /// Attaches pidtap, with its recording in the pipe.
    fn record(&self) -> Tracer {
        Tracer::attach(&[self.tracee.pid()], &["--record", &self.pipe.to_string_lossy()]).expect("pidtap attaches")
    }

    /// Standard error of [`Self::trace`].
    fn errors(&self) -> String {
        fs::read_to_string(self.path("errors")).expect("there")
    }
}

/// The report of a recording, which must be whole.
fn replayed(recording: &Path) -> Report {
    let output = Command::new(binary().expect("pidtap")).args(["open", "-o", "json"]).arg(recording).output();
    let output = output.expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the recording has its end");
    Report::parse(&String::from_utf8_lossy(&output.stdout)).expect("JSON")
}

/// Reads the pipe until the other side closes it.
fn rest(mut reader: File) -> Vec<u8> {
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).expect("open");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("a pipe");
    bytes
}

fn ends_in_time(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    let status = wait_for("the end of pidtap", PATIENCE, || child.try_wait().ok().flatten()).expect("it ends");
    assert!(begin.elapsed() < BOUND, "{:?}", begin.elapsed());
    status.code()
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_recording_that_nobody_reads_makes_nobody_deaf() {
    let _guard = guard::live();
    for signal in [Signal::INT, Signal::TERM] {
        let mut scene = Scene::new();
        let trace = scene.record();
        scene.tracee.work().expect("the tracee works");
        let begin = Instant::now();
        kill_process(Pid::from_raw(trace.pid() as i32).expect("a process"), signal).expect("it runs");
        // The report is complete: only the recording has no reader.
        let report = trace.finish().expect("pidtap ends well");
        assert!(begin.elapsed() < BOUND, "{:?}", begin.elapsed());
        assert_eq!((report.exchanges.len(), report.summary.lost_events), (40, 0), "{:?}", report.summary);
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_reader_of_the_results_who_stops_halts_neither_recording_nor_time() {
    let _guard = guard::live();
    let mut scene = Scene::new();
    let tap = scene.path("it.tap");
    let stopped = pipe::reader(&scene.pipe).expect("a named pipe");
    let mut child = scene.trace(&["--record", &*tap.to_string_lossy(), "--duration", "5s"]);
    let begin = Instant::now();
    scene.tracee.work().expect("the tracee works");
    // On a slow machine the trace ends before the exchanges do.
    let is_all_seen = begin.elapsed() < Duration::from_secs(4);
    let status = ends_in_time(&mut child);
    let said = scene.errors();
    assert!(begin.elapsed() < BOUND, "{:?}: {said}", begin.elapsed());
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the reader took none"), "{said}");
    drop(stopped);
    let report = replayed(&tap);
    let seen = report.exchanges.len();
    assert!(seen == 40 || seen > 10 && !is_all_seen, "{seen} exchanges; pidtap said: {said}");
    assert_eq!(report.summary.lost_events, 0, "{:?}", report.summary);
    assert!(report.summary.duration_ms >= 4_900, "{:?}", report.summary);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_reader_of_the_results_who_goes_on_is_told_what_is_missing() {
    let _guard = guard::live();
    let mut scene = Scene::new();
    let stopped = pipe::reader(&scene.pipe).expect("a named pipe");
    let mut child = scene.trace(&[]);
    scene.tracee.work().expect("the tracee works");
    wait_for("that lines are left out", PATIENCE, || scene.errors().contains("lines are dropped").then_some(()))
        .expect("it says");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let text = String::from_utf8(rest(stopped)).expect("UTF-8");
    assert_eq!(ends_in_time(&mut child), Some(0), "{}", scene.errors());
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let missing: u64 = of("left_out").iter().filter_map(|line| line["lines"].as_u64()).sum();
    assert!(missing > 0 && of("exchange").len() as u64 + missing >= 40, "{missing}");
    let last = lines.last().expect("a summary");
    assert_eq!((&last["type"], &last["exchanges"]), (&"summary".into(), &40.into()));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_recording_whose_reader_stops_says_what_is_missing() {
    let _guard = guard::live();
    let mut scene = Scene::new();
    let stopped = pipe::reader(&scene.pipe).expect("a named pipe");
    let trace = scene.record();
    scene.tracee.work().expect("the tracee works");
    wait_for("that events are left out", PATIENCE, || trace.errors().contains("events are dropped").then_some(()))
        .expect("it says so");
    kill_process(Pid::from_raw(trace.pid() as i32).expect("a process"), Signal::INT).expect("it runs");
    let tap = scene.path("it.tap");
    fs::write(&tap, rest(stopped)).expect("a file");
    let report = trace.finish().expect("pidtap ends well");
    assert_eq!((report.exchanges.len(), report.summary.lost_events), (40, 0), "{:?}", report.summary);
    let lost = &report.summary.lost["recording"];
    assert!(lost.events > 0 && lost.bytes > 0, "{lost:?}");
    let replayed = replayed(&tap);
    let missing = &replayed.summary.lost["queue_full"];
    assert_eq!((missing.events, missing.bytes), (lost.events, lost.bytes));
    let whole = replayed.exchanges.iter().filter(|exchange| exchange.quality == "whole").count();
    assert!(whole < report.exchanges.len(), "{:?}", replayed.summary);
}
