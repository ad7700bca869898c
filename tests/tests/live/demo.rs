//! `pidtap demo` traces real processes, and ends them under every kind of end.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    child::{Guarded, PATIENCE, wait_for},
    guard,
    privileges::of_process,
    tracer::{Tracer, binary},
};

fn children(pid: u32) -> Vec<u32> {
    // Each thread has its own list of children.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let lists = tasks.flatten().map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<_>>())
        .collect()
}

fn wait_until_gone(pids: &[u32]) {
    let lives = |pid: &u32| Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok();
    wait_for("the end of the demo's parts", PATIENCE, || (!pids.iter().any(lives)).then_some(()))
        .expect("nothing is left");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn demo_shows_failures_of_a_real_process_and_masks_secrets() {
    let _guard = guard::live();
    let trace = Tracer::demo().expect("the demo starts");
    let parts = children(trace.pid());
    assert_eq!(parts.len(), 4, "payments, ledger, gateway, load: {parts:?}");
    for part in &parts {
        let privileges = of_process(*part).expect("it runs");
        assert_eq!((privileges.permitted, privileges.bounding, privileges.no_new), (0, 0, true), "it serves strangers");
    }
    trace.wait_for_output(r#""response":{"status":503"#).expect("the gateway fails soon");
    trace.wait_for_output(r#""path":"/v1/payments""#).expect("the load pays");
    let (report, json) = trace.stop_with_text().expect("it ends in order");
    wait_until_gone(&parts);
    assert_eq!(report.targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["payments"]);
    for role in ["client", "server"] {
        assert!(report.exchanges.iter().any(|exchange| exchange.role == role), "{role}: {:?}", report.exchanges);
    }
    assert!(json.contains("authorization") && !json.contains("not-a-real-token"), "secrets are masked");
    assert_eq!(report.summary.lost_events, 0);
}

/// Without a key, the demo shows a chain with its backoff that gives up, with the caller's response; a chain that recovers; a call that
/// hangs, with its verdict.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn the_demo_shows_what_pidtap_is_for_within_fifteen_seconds() {
    let _guard = guard::live();
    let trace = Tracer::demo().expect("the demo starts");
    let begin = Instant::now();
    trace.wait_for_output(r#""result":"recovered""#).expect("a chain recovers");
    trace.wait_for_output(r#""kind":"hang","state":"open""#).expect("a call hangs");
    trace.wait_for_output(r#""result":"gave_up""#).expect("a chain is given up");
    let took = begin.elapsed();
    let (report, _) = trace.stop_with_text().expect("it ends in order");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let of = |kind: &str| report.incidents.iter().filter(|incident| incident.kind == kind).collect::<Vec<_>>();
    let given_up =
        of("retry").into_iter().find(|incident| incident.evidence["result"] == "gave_up").expect("seen above");
    assert_eq!(given_up.evidence["pattern"], "exponential", "{given_up:?}");
    assert_eq!(given_up.evidence["caller"]["got"], "502", "{given_up:?}");
    let on: Vec<&str> = of("hang").iter().filter_map(|hang| hang.evidence["waiting_on"].as_str()).collect();
    assert!(
        on.contains(&"peer_application") && on.contains(&"this_process"),
        "the ledger, and who waits for it: {on:?}"
    );
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn kill_minus_nine_ends_the_demo() {
    let _guard = guard::live();
    let trace = Tracer::demo().expect("the demo starts");
    let parts = children(trace.pid());
    assert_eq!(parts.len(), 4);
    trace.kill().expect("it can be killed");
    wait_until_gone(&parts);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_recording_that_has_no_room_ends_and_tracing_goes_on() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let (recording, errors) = (folder.path().join("demo.tap"), folder.path().join("errors"));
    // Under a limit of 16 blocks, a write fails as on a full disk.
    let script = r#"ulimit -f 16; exec "$0" demo -o json --record "$1""#;
    let mut pidtap = Guarded::start(
        Command::new("sh")
            .args(["-c", script])
            .args([&binary().expect("there is one"), &recording])
            .stderr(fs::File::create(&errors).expect("a file")),
    )
    .expect("it starts");
    let said = || fs::read_to_string(&errors).unwrap_or_default();
    wait_for("the end of the recording", PATIENCE, || said().contains("recording stopped").then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", said()));
    assert!(said().contains("File too large") && said().contains("tracing continues"), "{}", said());
    let recorded = fs::read(&recording).expect("it is there");
    while !pidtap.line().expect("tracing continues").contains(r#""lost":{"#) {}
    for _ in 0..20 {
        assert!(pidtap.line().expect("tracing continues").starts_with(r#"{"type":"#));
    }
    kill_process(Pid::from_raw(pidtap.pid() as i32).expect("a number"), Signal::INT).expect("it runs");
    let mut last = String::new();
    while let Ok(line) = pidtap.line() {
        last = line;
        if last.contains(r#""summary""#) {
            break;
        }
    }
    assert_eq!(pidtap.wait(PATIENCE).expect("it ends").code(), Some(0), "{}", said());
    let summary: serde_json::Value = serde_json::from_str(&last).expect("a summary");
    assert!(summary["lost"]["recording"]["events"].as_u64().is_some_and(|lost| lost > 0), "{summary}");
    // The trace went on.
    assert_eq!((&summary["lost_events"], &summary["lost_bytes"]), (&0.into(), &0.into()), "{summary}");
    assert!(fs::read(&recording).expect("it is there") == recorded, "nothing was added or taken");
    let opened = Command::new(binary().expect("there is one"))
        .args(["open", "-o", "json"])
        .arg(&recording)
        .output()
        .expect("pidtap opens it");
    let (shown, said) = (String::from_utf8_lossy(&opened.stdout), String::from_utf8_lossy(&opened.stderr));
    assert!(opened.status.success() && said.contains("is valid for"), "{said}");
    assert!(shown.lines().last().is_some_and(|line| line.contains(r#""summary""#)), "{shown}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn results_and_recording_in_one_file_are_refused() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let ended = Command::new(binary().expect("there is one"))
        .args(["--record", "both", "--output-file", "./both", "demo", "--duration", "1s"])
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && said.contains("choose another file"), "{said}");
}
