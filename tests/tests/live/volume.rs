//! Many exchanges, connections and bytes: no loss, and no invented exchange.

use std::thread;

use tracer_tests::{
    compare::{Expectation, compare, no_wrong_pair},
    driver::{Client, Payload, Plan},
    guard,
    tracer::Tracer,
};

use crate::support::{Tracee, agree, driver, trace_client, trace_client_with};

const CONNECTIONS: usize = 50;
const EACH: usize = 200;

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn ten_thousand_exchanges_over_fifty_connections() {
    let _guard = guard::live();
    let tracee = Tracee::start(&["server", "plain"]).expect("the tracee starts");
    let trace = Tracer::attach(&[tracee.pid()], &[]).expect("pidtap attaches");
    let scribe = driver();
    let address = format!("127.0.0.1:{}", tracee.ready);
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (scribe, address) = (scribe.clone(), &address);
            scope.spawn(move || {
                let mut client = Client::connect(address, scribe).expect("the tracee listens");
                for number in 0..EACH {
                    let id = format!("v{connection}-{number}");
                    let plan = match number % 4 {
                        0 => Plan::get(format!("/get/{number}/{id}")),
                        1 => Plan::post(format!("/echo/{id}"), Payload::Sized(number * 7)),
                        2 => Plan::get(format!("/chunked/{}/{id}", number * 5)),
                        _ => Plan::get(format!("/status/404/{id}")).header("X-Number", &number.to_string()),
                    };
                    client.exchange(&plan).expect("the tracee answers");
                }
            });
        }
    });
    let truth = scribe.log.exchanges();
    assert_eq!(truth.len(), CONNECTIONS * EACH);
    agree(&truth, &tracee.truth_of(truth.len()).expect("the tracee's log"));
    let report = trace.stop().expect("pidtap ends");
    compare(&truth, &report, &Expectation::default()).expect("all is as it was");
    assert_eq!(no_wrong_pair(&report).expect("no wrong pair"), CONNECTIONS * EACH);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn connections_at_5000_a_second() {
    let _guard = guard::live();
    trace_client(&["scene", "churn", "ADDRESS", "5000"], "127.0.0.1:0", &Expectation::default())
        .expect("all is as it was");
}

/// A ring that holds the whole load: on a busy machine, loopback is faster than every reader. Other tests cover loss.
fn fifty_megabytes(plan: &str) {
    let _guard = guard::live();
    let args = ["client", "plain", "ADDRESS", plan, "1"];
    trace_client_with(&args, "127.0.0.1:0", &Expectation::default(), &["--ring-size", "64MiB"])
        .expect("all is as it was");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn fifty_megabytes_down() {
    fifty_megabytes("download:50000000");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn fifty_megabytes_up() {
    fifty_megabytes("upload:50000000");
}
