//! Several faults at once: a retry chain that waits for its next attempt, a call that hangs, chains that recovered and gave up, an
//! upstream that fails.

use super::{
    chance::Chance,
    http::{empty, get, json, post},
    line::Line,
    stage::{MS, S, Stage, Who, waiting},
};

const PID: u32 = 2860;
const HOST: &str = "payments.internal";
const GATEWAY: &str = "gateway.internal:9000";
const LEDGER: &str = "ledger.internal:9100";
const RATES: &str = "rates.example";
const GATEWAY_AT: ([u8; 4], u16) = ([10, 20, 7, 1], 9000);
const LEDGER_AT: ([u8; 4], u16) = ([10, 20, 7, 2], 9100);
const RATES_AT: ([u8; 4], u16) = ([203, 0, 113, 80], 80);
const END: u64 = 42 * S;

fn who(thread: u32) -> Who {
    Who { pid: PID, tid: PID + thread }
}

pub(super) fn recording() -> Vec<u8> {
    let mut stage = Stage::new(250 * MS, &[(PID, b"payments")]);
    healthy(&mut stage);
    // Two failures, then success.
    chain(&mut stage, 21, 12 * S, "7001", &[200, 400, 0], Some("201 Created"));
    // Five failures; the caller gets 502.
    chain(&mut stage, 22, 16 * S, "7002", &[200, 400, 800, 1600, 0], Some("502 Bad Gateway"));
    // Four failures. The next attempt is due after the end.
    chain(&mut stage, 23, END - 2300 * MS, "7003", &[200, 400, 800, 1600], None);
    hang(&mut stage, END - 9 * S);
    burst(&mut stage, END - 8 * S);
    stage.breaks_off(END)
}

/// A successful payment now and then, which calls the ledger and the gateway.
fn healthy(stage: &mut Stage) {
    let mut chance = Chance::new(11);
    let mut caller = stage.server(who(1), 8443, ([10, 20, 1, 4], 50_001));
    let mut ledger = stage.client(who(1), LEDGER_AT);
    let mut gateway = stage.client(who(1), GATEWAY_AT);
    caller.at(450 * MS).opens(0);
    ledger.at(460 * MS).opens(300);
    gateway.at(460 * MS).opens(400);
    let mut at = 500 * MS;
    let mut number = 6000;
    while at < END - 400 * MS {
        caller.at(at).asks(&post("/v1/payments", HOST, &format!(r#"{{"order":{number},"amount":1250}}"#)));
        ledger.at(at + MS).asks(&post("/v1/holds", LEDGER, &format!(r#"{{"order":{number}}}"#)));
        ledger.wait(chance.between(3 * MS, 9 * MS)).answers(&json("201 Created", r#"{"hold":true}"#));
        gateway.at(ledger.now() + MS).asks(&post("/v1/charges", GATEWAY, &format!(r#"{{"order":{number}}}"#)));
        gateway.wait(chance.between(20 * MS, 60 * MS)).answers(&json("200 OK", r#"{"charged":true}"#));
        caller.at(gateway.now() + MS).answers(&json("201 Created", r#"{"state":"paid"}"#));
        at += chance.between(300 * MS, 900 * MS);
        number += 1;
    }
    for line in [caller, ledger, gateway] {
        stage.plays(line);
    }
}

/// A payment whose charge fails and is retried after each of the gaps. The last attempt succeeds if the caller gets 201. Without a
/// response, the caller waits.
fn chain(stage: &mut Stage, thread: u32, at: u64, order: &str, gaps: &[u64], end: Option<&str>) {
    let mut caller = stage.server(who(thread), 8443, ([10, 20, 1, 4], 50_000 + thread as u16));
    let mut gateway = stage.client(who(thread), GATEWAY_AT);
    let body = format!(r#"{{"order":{order},"amount":990}}"#);
    caller.at(at).opens(0).wait(60).asks(&post("/v1/payments", HOST, &body));
    gateway.at(at + MS).opens(400);
    let charge = post("/v1/charges", GATEWAY, &body);
    for (index, gap) in gaps.iter().enumerate() {
        let last = index + 1 == gaps.len();
        let good = last && end.is_some_and(|status| status.starts_with('2'));
        let answer = if good {
            json("200 OK", r#"{"charged":true}"#)
        } else {
            json("503 Service Unavailable", r#"{"error":"busy"}"#)
        };
        gateway.asks(&charge).wait(12 * MS).answers(&answer);
        // The last gap is in the future.
        if !last {
            gateway.wait(gap * MS);
        }
    }
    if let Some(status) = end {
        caller.at(gateway.now() + MS).answers(&json(status, r#"{"state":"over"}"#));
    }
    stage.plays(caller);
    stage.plays(gateway);
}

/// A caller requests a settlement; the ledger reads the request and does not respond. The script has the answers to a live trace's
/// queries of the kernel.
fn hang(stage: &mut Stage, at: u64) {
    let thread = who(31);
    let mut caller = stage.server(thread, 8443, ([10, 20, 1, 9], 50_031));
    let mut ledger = stage.client(thread, LEDGER_AT);
    let body = r#"{"day":"2026-11-20"}"#;
    caller.at(at).opens(0).wait(60).asks(&post("/v1/settlements", HOST, body));
    ledger.at(at + MS).opens(300).asks(&post("/v1/settlements", LEDGER, body));
    let mut asked = at + 2500 * MS;
    while asked < END {
        let look = |line: &mut Line| line.at(asked).probe();
        let (inbound, outbound) = (look(&mut caller), look(&mut ledger));
        stage.probe(asked, inbound);
        stage.probe(asked, outbound);
        stage.thread(asked, thread, waiting(ledger.inode(), [b"recvfrom", b"wait_woken", b"payments"]));
        asked += 600 * MS;
    }
    stage.plays(caller);
    stage.plays(ledger);
}

/// Calls succeed at first; then every other one fails.
fn burst(stage: &mut Stage, from: u64) {
    let mut line = stage.client(who(41), RATES_AT);
    line.at(S).opens(20 * MS);
    let mut currency = 0;
    while line.now() < END - 600 * MS {
        let fails = line.now() >= from && currency % 4 != 0;
        line.asks(&get(&format!("/v2/rates/{}", 840 + currency), RATES, &[])).wait(25 * MS);
        line.answers(&if fails { empty("500 Internal Server Error") } else { json("200 OK", r#"{"rate":1.08}"#) });
        line.wait(430 * MS);
        currency += 1;
    }
    stage.plays(line);
}
