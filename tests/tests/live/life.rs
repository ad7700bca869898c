//! Processes that start, exec and exit while they are traced.

use tracer_tests::{
    child::PATIENCE,
    compare::{Expectation, compare},
    guard,
    tracer::Tracer,
};

use crate::support::{Tracee, agree, all_of, peer, trace_client, tracee_path};

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn children_at_500_a_second() {
    let _guard = guard::live();
    trace_client(&["scene", "children", "ADDRESS", "500"], "127.0.0.1:0", &Expectation::default())
        .expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn target_executes_another_program() {
    let _guard = guard::live();
    let (address, log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["scene", "exec", &address]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.process.say("go").expect("it runs");
    tracee.process.expect("ready").expect("it executed itself");
    tracee.work().expect("it works on");
    let truth = tracee.truth().expect("the log");
    assert_eq!(truth.len(), 2);
    agree(&truth, &all_of(&log, 2).expect("the peer's log"));
    compare(&truth, &trace.stop().expect("pidtap ends"), &Expectation::default()).expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn target_exits_with_an_open_exchange() {
    let _guard = guard::live();
    let (address, log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["scene", "exit", &address]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.process.say("go").expect("it runs");
    assert_eq!(tracee.process.wait(PATIENCE).expect("it exits").code(), Some(7));
    // The trace ends with its last target.
    let report = trace.finish().expect("pidtap ends by itself");
    let truth = tracee.truth().expect("the log");
    agree(&truth, &all_of(&log, 2).expect("the peer's log"));
    compare(&truth, &report, &Expectation::default()).expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn target_gives_up() {
    let _guard = guard::live();
    trace_client(&["scene", "give-up", "ADDRESS"], "127.0.0.1:0", &Expectation::default()).expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn target_is_killed() {
    let _guard = guard::live();
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["client", "plain", &address, "kinds", "1"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    tracee.work().expect("the tracee works");
    tracee.process.kill().expect("it can be killed");
    let report = trace.finish().expect("pidtap ends by itself");
    compare(&tracee.truth().expect("the log"), &report, &Expectation::default()).expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn run_misses_no_byte_and_gives_the_exit_status() {
    let _guard = guard::live();
    let (address, log) = peer("127.0.0.1:0").expect("loopback");
    let script = format!(
        "printf 'go\\n' | TRUTH=/dev/null '{}' scene one {address} 5; printf 'go\\n' | TRUTH=/dev/null '{0}' scene \
         one {address} 6",
        tracee_path().display()
    );
    let trace = Tracer::run(&[], &["sh".as_ref(), "-c".as_ref(), script.as_ref()]).expect("pidtap runs it");
    let report = trace.finish().expect("the command ends with 0, and so does pidtap");
    compare(&all_of(&log, 2).expect("the peer's log"), &report, &Expectation::default()).expect("all is as it was");
}
