//! Every missing byte is counted; and pidtap itself may be killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use pidtap::event::{Event, wire::flag};

use tracer_tests::{
    child::{PATIENCE, wait_for},
    compare::no_wrong_pair,
    driver::{Client, Plan},
    guard,
    report::Report,
    tracer::Tracer,
    truth::{Exchange, Role, id_of},
};

use crate::support::{Tracee, agree, all_of, driver, peer};

/// Traces the load of four threads with a ring of this size.
fn flood(ring_size: &str, each: &str) -> Report {
    let (address, log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["scene", "flood", &address, each]).expect("the tracee starts");
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("loss.tap");
    let path = recording.to_string_lossy();
    let trace =
        Tracer::attach(&[tracee.pid()], &["--ring-size", ring_size, "--record", &path]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let report = trace.stop().expect("pidtap ends");
    let truth = tracee.truth().expect("the log");
    agree(&truth, &all_of(&log, truth.len()).expect("the peer's log"));

    no_wrong_pair(&report).expect("no wrong pair");
    no_lies(&truth, &report);
    missing_is_lost(&truth, &report, &recording);
    report
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn forced_loss_is_counted_and_shifts_nothing() {
    let _guard = guard::live();
    let report = flood("16KiB", "1500");
    assert!(report.summary.lost_events > 0, "the ring was too large to force loss: {:?}", report.summary);
    let worse = report.exchanges.iter().filter(|exchange| exchange.quality != "whole").count();
    assert!(worse > 0, "loss shows in exchanges: {:?}", report.summary);
}

/// The same sums without loss: they prove the test's own count of the bytes on the wire.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn nothing_is_missing_where_nothing_is_lost() {
    let _guard = guard::live();
    let report = flood("64MiB", "300");
    assert_eq!((report.summary.lost_events, report.summary.lost_bytes), (0, 0));
}

/// Whole exchanges equal the ground truth, other exchanges are marked, and every exchange took place.
fn no_lies(truth: &[Exchange], report: &Report) {
    let by_id: BTreeMap<&str, &Exchange> = truth.iter().map(|exchange| (exchange.id(), exchange)).collect();
    for exchange in &report.exchanges {
        let Some(path) = &exchange.request.path else {
            assert_ne!(exchange.quality, "whole", "{exchange:?}");
            continue;
        };
        let truth = by_id.get(id_of(path)).unwrap_or_else(|| panic!("invented: {exchange:?}"));
        assert_eq!(truth.role, Role::Client);
        assert_eq!(exchange.request.method.as_deref(), Some(&*truth.request.method));
        let lengths = (
            exchange.request.body.as_ref().map(|body| body.bytes),
            exchange.response.as_ref().map(|response| response.body.bytes),
        );
        let true_lengths =
            (Some(truth.request.body.bytes), truth.response.as_ref().map(|response| response.body.bytes));
        match exchange.quality.as_str() {
            "whole" => {
                assert_eq!(exchange.outcome, "complete", "{exchange:?}");
                assert_eq!(lengths, true_lengths, "{exchange:?}");
                let body = exchange.response.as_ref().map(|response| response.body.missing);
                assert_eq!(body, Some(0), "{exchange:?}");
            }
            "body_gap" => assert_eq!(lengths, true_lengths, "sizes are exact: {exchange:?}"),
            quality => assert_eq!(quality, "header_gap", "{exchange:?}"),
        }
    }
}

/// The bytes that the program moved are the recorded bytes plus the lost bytes of the summary, exactly.
fn missing_is_lost(truth: &[Exchange], report: &Report, recording: &Path) {
    let moved: u64 = truth.iter().map(wire_bytes).sum();
    let seen = captured(recording);
    assert_eq!(report.summary.lost_bytes, moved - seen, "moved {moved}, seen {seen}: {:?}", report.summary);
    let causes = report.summary.lost.values().map(|lost| lost.bytes).sum::<u64>();
    assert_eq!(causes, report.summary.lost_bytes, "by cause: {:?}", report.summary);
}

/// Recorded bytes of streams.
fn captured(recording: &Path) -> u64 {
    let file = std::fs::File::open(recording).expect("it was recorded");
    let mut reader = pidtap::recording::Reader::open(std::io::BufReader::new(file)).expect("a recording");
    let mut bytes = 0;
    while let Some(event) = reader.next_event().expect("a whole recording") {
        if let Ok(Event::Data(data, payload)) = Event::decode(event)
            && data.header.flags & flag::PEEK == 0
        {
            bytes += payload.len() as u64;
        }
    }
    bytes
}

/// Bytes of both messages on the wire.
fn wire_bytes(exchange: &Exchange) -> u64 {
    let fields = |fields: &Option<Vec<(String, String)>>| -> u64 {
        fields.iter().flatten().map(|(name, value)| (name.len() + value.len() + 4) as u64).sum::<u64>() + 2
    };
    let start = (exchange.request.method.len() + exchange.request.target.len() + " HTTP/1.1\r\n".len() + 1) as u64;
    let request = start + fields(&exchange.request.headers) + exchange.request.body.bytes;
    let response = exchange.response.as_ref().map_or(0, |response| {
        let chunked = response.headers.iter().flatten().any(|(name, _)| name == "Transfer-Encoding");
        let framing = if chunked { chunk_framing(response.body.bytes) } else { 0 };
        "HTTP/1.1 200 Whatever\r\n".len() as u64 + fields(&response.headers) + response.body.bytes + framing
    });
    request + response
}

/// The framing that `peer::send_chunks` adds.
fn chunk_framing(mut bytes: u64) -> u64 {
    let mut size = 1;
    let mut framing = 0;
    while bytes > 0 {
        let piece = bytes.min(size);
        framing += format!("{piece:x};sig=\"a;b\"\r\n\r\n").len() as u64;
        bytes -= piece;
        size = (size * 3).min(64 * 1024);
    }
    framing + "0;last\r\nX-Sum: 12345\r\n\r\n".len() as u64
}

/// One connection, one large body, and a call beyond the capture limit: the missing bytes are counted exactly, although no event is
/// lost.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn forced_truncation_is_exact() {
    let _guard = guard::live();
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["client", "plain", &address, "upload:1000000", "1"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &["--call-capture", "4KiB"]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    let report = trace.stop().expect("pidtap ends");
    let [exchange] = &report.exchanges[..] else { panic!("one exchange: {:?}", report.exchanges) };
    assert_eq!(exchange.quality, "body_gap");
    let body = exchange.request.body.as_ref().expect("a body");
    assert_eq!(body.bytes, 1_000_000);
    // 15 calls of 64 KiB and a shorter one; the first 4 KiB of each are captured.
    assert_eq!(body.missing, 1_000_000 - 16 * 4096, "{body:?}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn kill_minus_nine_leaves_nothing_and_the_target_serves_on() {
    let _guard = guard::live();
    let tracee = Tracee::start(&["server", "plain"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    let ours = programs_of(trace.pid());
    let listed = programs();
    assert!(!ours.is_empty() && ours.iter().all(|id| listed.contains(id)), "bpftool sees them: {ours:?}, {listed:?}");
    let scribe = driver();
    let mut client =
        Client::connect(&format!("127.0.0.1:{}", tracee.ready), scribe.clone()).expect("the tracee listens");
    let mut trace = Some(trace);
    for number in 0..3000 {
        if number == 1000 {
            trace.take().map(Tracer::kill).transpose().expect("it can be killed");
        }
        client.exchange(&Plan::get(format!("/get/100/k{number}"))).expect("the target serves on");
    }
    // The kernel frees a program a moment after its last reference.
    let left = || programs().into_iter().filter(|id| ours.contains(id)).collect::<Vec<_>>();
    wait_for("no program is left", PATIENCE, || left().is_empty().then_some(()))
        .expect("nothing is left in the kernel");
    agree(&scribe.log.exchanges(), &tracee.truth_of(3000).expect("the log"));
}

/// Ids of the eBPF programs that a process holds, directly or through a link.
fn programs_of(pid: u32) -> BTreeSet<u64> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    folder
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok()))
        .collect()
}

/// Ids of all loaded eBPF programs.
fn programs() -> BTreeSet<u64> {
    let output = Command::new("bpftool").args(["prog", "show", "--json"]).output().expect("bpftool is installed");
    let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("bpftool speaks JSON");
    all.iter().filter_map(|program| program["id"].as_u64()).collect()
}
