//! Attaching while connections and messages are in flight.

use std::{io::Write as _, thread, time::Duration};

use anyhow::{Context as _, ensure};
use tracer_tests::{
    compare::{Expectation, compare, no_wrong_pair},
    driver::{Client, Plan, every_kind, prepare},
    guard,
    tracer::Tracer,
    truth::Exchange,
};

use crate::support::{Outcome, Tracee, driver};

/// A server tracee with a used connection.
fn used_connection() -> (Tracee, Client<std::net::TcpStream>) {
    let tracee = Tracee::start(&["server", "plain"]).expect("the tracee starts");
    let address = format!("127.0.0.1:{}", tracee.ready);
    let mut client = Client::connect(&address, driver()).expect("the tracee listens");
    for number in 0..3 {
        client.exchange(&Plan::get(format!("/get/100/before-{number}"))).expect("it answers");
    }
    (tracee, client)
}

fn after(exchanges: Vec<Exchange>) -> Vec<Exchange> {
    exchanges.into_iter().filter(|exchange| !exchange.id().starts_with("before")).collect()
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attach_in_the_middle_of_keep_alive() {
    let _guard = guard::live();
    let (tracee, mut client) = used_connection();
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    let scribe = driver();
    client = Client::new(client.stream, scribe.clone());
    for plan in every_kind("after") {
        client.exchange(&plan).expect("it answers");
    }
    let report = trace.stop().expect("pidtap ends");
    compare(&after(scribe.log.exchanges()), &report, &Expectation::default()).expect("all is as it was, and whole");
}

/// Attaches after the tracee has read `begin` of a request. Then sends `rest`, and ordinary requests.
fn attach_within(begin: &str, rest: &str, options: &[&str]) -> anyhow::Result<Outcome> {
    let (tracee, mut client) = used_connection();
    // A sleep on purpose: the kernel reports when a connection last sent and received in ticks of its timer (10 ms at most), and the
    // previous exchange must be older than the request by some of them.
    thread::sleep(Duration::from_millis(25));
    client.stream.write_all(begin.as_bytes())?;
    wait_until_read(&client)?;
    let trace = Tracer::attach(&[tracee.pid()], options)?;
    client.stream.write_all(rest.as_bytes())?;
    let (sent, _) = prepare(&Plan::get("/echo/middle"));
    ensure!(client.receive(sent)? == 200, "it answers");
    let scribe = driver();
    let mut client = Client::new(client.stream, scribe.clone());
    for plan in every_kind("after") {
        client.exchange(&plan)?;
    }
    let (mut report, json) = trace.stop_with_text()?;
    no_wrong_pair(&report)?;
    // The exchange in flight may be reported, marked as joined late.
    let whole = report.exchanges.iter().filter(|exchange| exchange.quality == "whole").cloned().collect();
    let all = std::mem::replace(&mut report.exchanges, whole);
    let late: Vec<_> = all.iter().filter(|exchange| exchange.quality != "whole").collect();
    ensure!(late.len() <= 1, "{late:?}");
    for exchange in &late {
        ensure!(exchange.quality == "joined_late", "{exchange:?}");
        ensure!(exchange.request.path.as_deref().is_none_or(|path| path == "/echo/middle"), "{exchange:?}");
        ensure!(exchange.response.as_ref().map(|response| response.status) == Some(200), "{exchange:?}");
    }
    // Bodies beyond the limit of the recording are not compared.
    let expectation = Expectation { digests: options.is_empty(), ..Expectation::default() };
    compare(&scribe.log.exchanges(), &report, &expectation).context("all that follows is whole")?;
    report.exchanges = all;
    Ok(Outcome { report, json })
}

/// Attaches within a body; `record` uses it, too.
pub(crate) fn within_a_body(options: &[&str]) -> anyhow::Result<Outcome> {
    let head = "POST /echo/middle HTTP/1.1\r\nHost: truth.test\r\nContent-Length: 50\r\n\r\n";
    attach_within(&format!("{head}half of "), &"x".repeat(42), options)
}

/// Waits until the tracee's receive queue is empty, by the kernel's list of sockets.
fn wait_until_read(client: &Client<std::net::TcpStream>) -> anyhow::Result<()> {
    let port = client.stream.local_addr()?.port();
    tracer_tests::child::wait_for("the tracee reads", tracer_tests::child::PATIENCE, || {
        let table = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let end = format!(":{port:04X}");
        // A line has the tracee's remote address, the state, and `tx_queue:rx_queue`.
        let all = table.join("\n");
        let line = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|fields| {
            fields.get(2).is_some_and(|remote| remote.ends_with(&end))
                && fields.get(3).is_some_and(|state| *state == "01")
        })?;
        line[4].ends_with(":00000000").then_some(())
    })
}

fn check(begin: &str, rest: &str) {
    let _guard = guard::live();
    attach_within(begin, rest, &[]).expect("nothing is mispaired, and all that follows is whole");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attach_in_the_middle_of_a_head() {
    check("POST /echo/middle HTTP/1.1\r\nHost: tr", "uth.test\r\nContent-Length: 4\r\n\r\nbody");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attach_in_the_middle_of_a_body() {
    let _guard = guard::live();
    within_a_body(&[]).expect("nothing is mispaired, and all that follows is whole");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attach_in_the_middle_of_a_large_body() {
    let _guard = guard::live();
    // Longer than the bytes after which pidtap ignores a connection without HTTP.
    let head = "POST /echo/middle HTTP/1.1\r\nHost: truth.test\r\nContent-Length: 2000005\r\n\r\n";
    attach_within(&format!("{head}begin"), &"x y\n".repeat(500_000), &[]).expect("nothing is mispaired or missed");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attach_between_a_head_and_its_body() {
    check("POST /echo/middle HTTP/1.1\r\nHost: truth.test\r\nContent-Length: 40\r\n\r\n", &"y".repeat(40));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn attach_before_a_body_that_looks_like_a_request() {
    check(
        "POST /echo/middle HTTP/1.1\r\nHost: truth.test\r\nContent-Length: 40\r\n\r\n",
        "GET /get/10/invented HTTP/1.1\r\nHost: x\r\n",
    );
}
