//! Calls that hang for different reasons, and the verdict on each.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    guard,
    keep::keep_with,
    report::{Incident, Report},
    service::{Program, python},
    tracer::Tracer,
};

use crate::support::Outcome;

/// A side of a call, by `hang.py`.
fn side(role: &str, mode: &str, address: &str) -> Program {
    let mut command: Command = python("hang.py");
    Program::start(command.args([role, mode, address])).expect("python starts")
}

fn address(program: &Program) -> String {
    format!("127.0.0.1:{}", program.ready)
}

/// A short threshold, and still longer than the kernel's first retransmission timeout.
const AFTER: [&str; 2] = ["--hang-after", "500ms"];
/// Longer than [`AFTER`].
const PAST: Duration = Duration::from_millis(700);

fn attach(program: &Program, options: &[&str]) -> Tracer {
    let all: Vec<&str> = AFTER.iter().chain(options).copied().collect();
    Tracer::attach(&[program.pid()], &all).expect("pidtap attaches")
}

/// A verdict without its numbers.
#[derive(Debug, PartialEq, Eq)]
struct Said<'a> {
    phase: &'a str,
    waiting_on: &'a str,
    reason: &'a str,
    doing: Option<&'a str>,
}

fn said(incident: &Incident) -> Said<'_> {
    let text = |name: &str| incident.evidence[name].as_str();
    Said {
        phase: text("phase").unwrap_or_default(),
        waiting_on: text("waiting_on").unwrap_or_default(),
        reason: text("reason").unwrap_or_default(),
        doing: text("doing"),
    }
}

fn hangs(report: &Report) -> Vec<&Incident> {
    report.incidents.iter().filter(|incident| incident.kind == "hang").collect()
}

/// Waits for the first report of a hang, and ends the trace.
fn first(trace: Tracer) -> (Incident, Outcome) {
    trace.wait_for_output(r#""kind":"hang""#).unwrap_or_else(|error| panic!("{error}: {}", trace.output()));
    let (report, json) = trace.stop_with_text().expect("pidtap ends");
    let incident = hangs(&report)[0].clone();
    assert_eq!(incident.state, "open");
    let ended = report.exchanges.iter().filter(|exchange| exchange.outcome != "in_flight");
    assert!(ended.count() <= 1, "{:?}", report.exchanges);
    (incident, Outcome { report, json })
}

/// Traces a client that calls a peer. pidtap attaches before the call.
pub(crate) fn client(mode: &str, peer: &str, options: &[&str]) -> (Incident, Outcome) {
    let peer = side("peer", peer, "");
    let mut target = side("client", mode, &address(&peer));
    let trace = attach(&target, options);
    target.process.say("go").expect("it waits");
    first(trace)
}

/// Traces a client that calls a peer. pidtap attaches after the call has hung for longer than [`AFTER`] in the kernel function `waits`.
fn client_late(mode: &str, peer: &str, waits: &str, options: &[&str]) -> (Incident, Outcome) {
    let peer = side("peer", peer, "");
    let mut target = side("client", mode, &address(&peer));
    target.process.say("go").expect("it waits");
    hung_in(target.pid(), waits);
    first(attach(&target, options))
}

/// Waits until the process has been in this kernel function for longer than a call may hang.
fn hung_in(pid: u32, function: &str) {
    let channel = || std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    wait_for(&format!("{function} in wchan"), PATIENCE, || channel().contains(function).then_some(()))
        .expect("it hangs");
    // A sleep on purpose: the hang must be older than the attach, and nothing happens meanwhile that could be waited for.
    thread::sleep(PAST);
    assert!(channel().contains(function), "it hangs on");
}

/// Checks a verdict. `doing` is `None` if pidtap does not query the threads: the peer must continue the exchange.
fn check(incident: &Incident, phase: &str, waiting_on: &str, reason: &str, doing: Option<&str>) {
    assert_eq!(said(incident), Said { phase, waiting_on, reason, doing }, "{incident:#?}");
    let age = incident.evidence["age_ms"].as_u64().expect("an age");
    assert!((400..20_000).contains(&age), "{age} ms: {incident:?}");
    assert_eq!(incident.evidence["result"], "ongoing");
}

/// Runs a scene with a recording, which must replay to the same lines.
fn recorded(name: &str, scene: impl FnOnce(&[&str]) -> (Incident, Outcome)) -> Incident {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.tap");
    let text = path.to_string_lossy();
    let (incident, outcome) = scene(&["--body-limit", "64KiB", "--record", &text]);
    keep_with(&format!("hang_{name}"), &path, &outcome.json, &AFTER);
    incident
}

macro_rules! client_tests {
    ($($name:ident: $mode:literal, $peer:literal => $phase:literal, $waiting_on:literal, $reason:literal, $doing:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs root: `cargo xtask test live`"]
            fn $name() {
                let _guard = guard::live();
                let incident = recorded(stringify!($name), |options| client($mode, $peer, options));
                check(&incident, $phase, $waiting_on, $reason, $doing);
                assert_eq!(incident.evidence["age_is_lower_bound"], false);
            }
        )*
    };
}

client_tests! {
    peer_application_asleep: "get", "asleep" => "wait", "peer_application", "unanswered", None;
    body_stalled_in_the_middle: "get", "half_body" => "receive", "peer_application", "body_stalled", None;
    syn_dropped: "get", "dropped" => "connect", "network", "syn_unanswered", Some("socket");
    backlog_full: "get", "full" => "connect", "network", "syn_unanswered", Some("socket");
    peer_host_silent: "twice", "silent_then" => "send", "network", "unacknowledged", None;
    request_half_sent: "half", "asleep" => "send", "this_process", "request_unwritten", Some("sleep");
    answer_not_read: "does_not_read", "answers" => "receive", "this_process", "unread", Some("sleep");
    answer_not_read_by_a_busy_loop: "busy", "answers" => "receive", "this_process", "unread", Some("on_cpu");
    not_http: "redis", "redis" => "wait", "peer_application", "unanswered", Some("socket");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn peer_does_not_read() {
    let _guard = guard::live();
    // Without a recording, which would have megabytes of upload.
    let (incident, _) = client("upload", "never_reads", &[]);
    check(&incident, "send", "peer_host", "zero_window", Some("socket"));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn what_is_not_http_is_told_without_content() {
    let _guard = guard::live();
    let (incident, outcome) = client("redis", "redis", &[]);
    assert_eq!(incident.evidence["method"], Value::Null);
    assert!(incident.exchanges.is_empty() && outcome.report.exchanges.is_empty());
    let connection = incident.connection.expect("it is about one");
    assert_eq!(incident.evidence["authority"], *connection.remote);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_stopped_process_does_not_read() {
    let _guard = guard::live();
    let peer = side("peer", "late", "");
    let mut target = side("client", "get", &address(&peer));
    let trace = Tracer::attach(&[target.pid()], &["--hang-after", "1200ms"]).expect("pidtap attaches");
    target.process.say("go").expect("it waits");
    wait_for("it waits for the answer", PATIENCE, || in_call(target.pid(), "wait_woken").then_some(()))
        .expect("it does");
    let pid = stop(&target);
    let (incident, _) = first(trace);
    kill_process(pid, Signal::CONT).expect("ours");
    check(&incident, "receive", "this_process", "unread", Some("stopped"));
}

fn in_call(pid: u32, channel: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|name| name.contains(channel))
}

/// Stops all threads of the process.
fn stop(program: &Program) -> Pid {
    let pid = Pid::from_raw(program.pid() as i32).expect("a number");
    kill_process(pid, Signal::STOP).expect("ours");
    let folder = format!("/proc/{}/task", program.pid());
    let stopped = || {
        let tasks = std::fs::read_dir(&folder).ok()?;
        let states = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default());
        let all = states.into_iter().all(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")));
        all.then_some(())
    };
    wait_for("all threads are stopped", PATIENCE, stopped).expect("they are");
    pid
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attached_to_a_call_that_hangs() {
    let _guard = guard::live();
    let incident = recorded("attached_to_a_call", |options| client_late("get", "asleep", "wait_woken", options));
    check(&incident, "wait", "peer_application", "unanswered", Some("socket"));
    assert_late(&incident, "recvfrom");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attached_to_a_connect_that_hangs() {
    let _guard = guard::live();
    let incident = recorded("attached_to_a_connect", |options| client_late("get", "dropped", "wait_woken", options));
    check(&incident, "connect", "network", "syn_unanswered", Some("socket"));
    assert_late(&incident, "connect");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attached_to_a_silent_host() {
    let _guard = guard::live();
    let incident =
        recorded("attached_to_a_silent_host", |options| client_late("twice", "silent_then", "wait_woken", options));
    check(&incident, "send", "network", "unacknowledged", Some("socket"));
    assert_late(&incident, "recvfrom");
}

fn assert_late(incident: &Incident, call: &str) {
    assert_eq!(incident.evidence["age_is_lower_bound"], true);
    let thread = &incident.evidence["threads"][0];
    assert_eq!((&thread["call"], &thread["tid"]), (&call.into(), &incident.process.tid.into()), "{incident:#?}");
    assert!(incident.connection.as_ref().is_some_and(|connection| connection.remote.starts_with("127.0.0.1:")));
}

/// Sends a request to a server.
fn request(server: &Program) -> TcpStream {
    let mut client = TcpStream::connect(address(server)).expect("it listens");
    client.write_all(b"GET /orders/7 HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("it reads");
    client
}

/// A server that does not answer a request; with `late`, the request is older than the attach.
fn server(mode: &str, late: bool, options: &[&str]) -> (Incident, Outcome) {
    let target = side("server", mode, "");
    if late {
        let _client = request(&target);
        // A sleep on purpose: the request must be older than the attach, and the server does nothing that could be waited for.
        thread::sleep(PAST);
        return first(attach(&target, options));
    }
    let trace = attach(&target, options);
    let _client = request(&target);
    first(trace)
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn served_behind_a_lock() {
    let _guard = guard::live();
    let incident = recorded("served_behind_a_lock", |options| server("locked", false, options));
    check(&incident, "serve", "this_process", "not_served", Some("lock"));
    assert_eq!(incident.evidence["threads"][0]["call"], "futex");
    assert_eq!(incident.evidence["path"], "/orders/7");
}

/// Both hang: the call that the server makes, and the request that waits for it.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn served_behind_a_call_of_its_own() {
    let _guard = guard::live();
    let peer = side("peer", "asleep", "");
    let mut both = Vec::new();
    recorded("served_behind_a_call", |options| {
        let target = side("server", "calls", &address(&peer));
        let trace = attach(&target, options);
        let _client = request(&target);
        for phase in [r#""phase":"serve""#, r#""phase":"wait""#] {
            trace.wait_for_output(phase).unwrap_or_else(|error| panic!("{error}: {}", trace.output()));
        }
        let (incident, outcome) = first(trace);
        both = hangs(&outcome.report).into_iter().filter(|hang| hang.state == "open").cloned().collect();
        (incident, outcome)
    });
    both.sort_by_key(|hang| hang.evidence["phase"].as_str().map(str::to_owned));
    let [serve, call] = &both[..] else { panic!("{both:#?}") };
    check(serve, "serve", "this_process", "not_served", Some("outbound_call"));
    let outbound = &serve.evidence["outbound"];
    assert_eq!((&outbound["by"], &outbound["remote"]), (&"same socket".into(), &address(&peer).into()));
    assert_eq!(outbound["exchange"], call.exchanges[0]);
    check(call, "wait", "peer_application", "unanswered", Some("socket"));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn served_by_a_thread_that_computes() {
    let _guard = guard::live();
    let incident = recorded("served_by_a_busy_thread", |options| server("burns", false, options));
    check(&incident, "serve", "this_process", "not_served", Some("on_cpu"));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attached_to_a_request_behind_a_lock() {
    let _guard = guard::live();
    let incident = recorded("attached_to_a_request", |options| server("locked", true, options));
    check(&incident, "serve", "this_process", "not_served", Some("lock"));
    assert_eq!(incident.evidence["age_is_lower_bound"], true);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_request_of_which_only_half_comes() {
    let _guard = guard::live();
    let target = side("server", "reads_on", "");
    let trace = attach(&target, &[]);
    let mut client = TcpStream::connect(address(&target)).expect("it listens");
    client.write_all(b"GET /orders/8 HTTP/1.1\r\nHost: shop.te").expect("it reads");
    let (incident, _) = first(trace);
    check(&incident, "receive", "peer_application", "request_stalled", Some("socket"));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_request_that_a_stopped_server_does_not_read() {
    let _guard = guard::live();
    let target = side("server", "reads_on", "");
    let mut client = TcpStream::connect(address(&target)).expect("it listens");
    client.write_all(b"GET /orders/9 HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("it reads");
    client.read_exact(&mut [0; 40]).expect("it answers");
    let trace = attach(&target, &[]);
    let pid = stop(&target);
    client.write_all(b"GET /orders/10 HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("it is queued");
    let (incident, _) = first(trace);
    kill_process(pid, Signal::CONT).expect("ours");
    check(&incident, "receive", "this_process", "unread", Some("stopped"));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_hang_that_ends_is_closed_with_its_total() {
    let _guard = guard::live();
    let peer = side("peer", "late", "");
    let mut target = side("client", "get", &address(&peer));
    let trace = attach(&target, &[]);
    target.process.say("go").expect("it waits");
    target.process.expect("done").expect("it is answered");
    let report = trace.stop().expect("pidtap ends");
    let [open, .., closed] = &hangs(&report)[..] else { panic!("{:?}", report.incidents) };
    check(open, "wait", "peer_application", "unanswered", None);
    assert_eq!((&*closed.state, &closed.evidence["result"], closed.id), ("closed", &"answered".into(), open.id));
    let total = closed.evidence["age_ms"].as_u64().expect("a total");
    assert!((1000..20_000).contains(&total), "{total}");
    assert_eq!(report.exchanges[0].incidents, [open.id]);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn time_outs_of_the_client_are_told_and_that_they_are_the_same() {
    let _guard = guard::live();
    let peer = side("peer", "asleep", "");
    let mut target = side("client", "impatient", &address(&peer));
    let trace = Tracer::attach(&[target.pid()], &["--hang-after", "200ms"]).expect("pidtap attaches");
    target.process.say("go").expect("it waits");
    target.process.expect("done").expect("it gives up");
    let report = trace.stop().expect("pidtap ends");
    let closed: Vec<_> = hangs(&report).into_iter().filter(|incident| incident.state == "closed").collect();
    assert_eq!(closed.len(), 3, "{closed:?}");
    for incident in &closed {
        assert_eq!(incident.evidence["result"], "client_timeout");
        // Other load may delay the client's timer.
        let timeout = incident.evidence["timeout_ms"].as_u64().expect("a time");
        assert!((800..2_000).contains(&timeout), "{timeout}");
    }
    let most = closed.iter().filter_map(|incident| incident.evidence["equal_timeouts"].as_u64()).max();
    assert!(most >= Some(2), "{closed:#?}");
}

/// A name server that does not answer. pidtap recognises it by port 53; the address belongs to this test alone.
fn mute_name_server(number: u32) -> (UdpSocket, String) {
    let id = std::process::id();
    let place = format!("127.{}.{}.{}:53", 1 + id % 250, id / 250 % 250, 10 + number);
    (UdpSocket::bind(&place).expect("root may"), place)
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_name_server_that_does_not_answer() {
    let _guard = guard::live();
    let (_server, place) = mute_name_server(1);
    let mut target = side("client", "dns", &place);
    let trace = attach(&target, &[]);
    target.process.say("go").expect("it waits");
    let (incident, _) = first(trace);
    check(&incident, "dns", "unknown", "query_unanswered", Some("socket"));
    assert_eq!(incident.evidence["authority"], *place);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attached_to_a_name_query() {
    let _guard = guard::live();
    let (_server, place) = mute_name_server(2);
    let mut target = side("client", "dns", &place);
    target.process.say("go").expect("it waits");
    hung_in(target.pid(), "wait_for_more_packets");
    let (incident, _) = first(attach(&target, &[]));
    check(&incident, "dns", "unknown", "query_unanswered", Some("socket"));
    assert_eq!(incident.evidence["age_is_lower_bound"], true);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn what_takes_long_on_purpose_does_not_hang() {
    let _guard = guard::live();
    let peer = side("peer", "purposes", "");
    let mut target = side("client", "purposes", &address(&peer));
    let trace = Tracer::attach(&[target.pid()], &["--hang-after", "1s"]).expect("pidtap attaches");
    target.process.say("go").expect("it waits");
    target.process.expect("done").expect("all end");
    let report = trace.stop().expect("pidtap ends");
    assert!(hangs(&report).is_empty(), "{:#?}", report.incidents);
    assert_eq!(report.exchanges.len(), 4, "{:#?}", report.exchanges);
}
