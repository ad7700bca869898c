//! `pidtap demo` shows a real process, and takes its parts with it however it ends.

use std::{fs, path::Path};

use tracer_tests::{
    child::{PATIENCE, wait_for},
    guard,
    tracer::Tracer,
};

fn children(pid: u32) -> Vec<u32> {
    // Threads have children of their own in this list.
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
fn demo_shows_failures_of_a_real_process_and_masks_secrets() {
    let Some(_guard) = guard::live() else { return };
    let trace = Tracer::demo().expect("the demo starts");
    let parts = children(trace.pid());
    assert_eq!(parts.len(), 4, "payments, ledger, gateway, load: {parts:?}");
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

#[test]
fn kill_minus_nine_ends_the_demo() {
    let Some(_guard) = guard::live() else { return };
    let trace = Tracer::demo().expect("the demo starts");
    let parts = children(trace.pid());
    assert_eq!(parts.len(), 4);
    trace.kill().expect("it can be killed");
    wait_until_gone(&parts);
}
