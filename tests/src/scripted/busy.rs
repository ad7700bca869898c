//! A shop of three processes, with callers and upstreams: a minute, and calls that are open at its end.

use super::{
    chance::Chance,
    http::{answer, empty, get, json, post, send},
    line::Line,
    stage::{MS, S, Stage, Who},
};

const PIDS: [u32; 3] = [4120, 4121, 4122];
const PORT: u16 = 8000;
const SHOP: &str = "shop.example";
const LENGTH: u64 = 60 * S;
/// The time after which only calls that stay open begin.
const QUIET: u64 = 56 * S;

/// An upstream: its name and its address.
#[derive(Clone, Copy)]
struct Upstream {
    host: &'static str,
    address: ([u8; 4], u16),
}

const STOCK: Upstream = Upstream { host: "stock.internal:8080", address: ([10, 20, 3, 11], 8080) };
const PAYMENTS: Upstream = Upstream { host: "payments.internal:9090", address: ([10, 20, 4, 7], 9090) };
const MAILER: Upstream = Upstream { host: "api.mailer.example", address: ([203, 0, 113, 25], 80) };

/// A call of a process, or to it.
struct Call {
    request: Vec<u8>,
    answer: Vec<u8>,
    takes: u64,
}

/// A process with its connections to upstreams, and those of its callers.
struct Process {
    pid: u32,
    pools: [Vec<Line>; 3],
    callers: Vec<Line>,
}

pub(super) fn recording() -> Vec<u8> {
    let mut stage = Stage::new(250 * MS, &PIDS.map(|pid| (pid, &b"shop"[..])));
    let mut chance = Chance::new(7);
    let mut processes = PIDS.map(|pid| Process { pid, pools: [const { Vec::new() }; 3], callers: Vec::new() });
    let mut now = 300 * MS;
    while now < QUIET {
        let process = &mut processes[chance.below(3) as usize];
        inbound(&mut stage, process, &mut chance, now);
        now += chance.between(120 * MS, 900 * MS);
    }
    open_at_the_end(&mut stage);
    for process in processes {
        for line in process.pools.into_iter().flatten().chain(process.callers) {
            stage.plays(line);
        }
    }
    stage.breaks_off(LENGTH)
}

/// A caller's request; the process calls its upstreams before it responds.
fn inbound(stage: &mut Stage, process: &mut Process, chance: &mut Chance, at: u64) {
    let number = chance.between(1, 40);
    let id = 1000 + number;
    let free = process.callers.iter().position(|line| line.now() + 5 * MS < at);
    let mut line = if let Some(index) = free {
        process.callers.remove(index)
    } else {
        let thread = process.callers.len() as u32 + 1;
        let who = Who { pid: process.pid, tid: process.pid + 10 * thread };
        let mut line = stage.server(who, PORT, ([10, 20, 1, 30 + number as u8], 51_000 + id as u16));
        line.at(at - 40).opens(0);
        line
    };
    let tid = line.who().tid;
    line.at(at);
    let (answer, end) = match chance.below(100) {
        0..46 => {
            line.asks(&get(&format!("/products/{id}"), SHOP, &[]));
            let call = item(chance, id);
            let end = outbound(stage, process, tid, 0, at + 2 * MS, &call);
            let body = format!(r#"{{"id":{id},"name":"Tea","stock":{}}}"#, chance.below(90));
            if chance.percent(8) {
                (json("404 Not Found", r#"{"error":"no such product"}"#), end)
            } else {
                (json("200 OK", &body), end)
            }
        }
        46..72 => {
            let order = chance.uuid();
            line.asks(&post("/orders", SHOP, &format!(r#"{{"product":{id},"quantity":{}}}"#, chance.between(1, 5))));
            let reserve = Call {
                request: post("/v1/reservations", STOCK.host, &format!(r#"{{"item":{id},"order":"{order}"}}"#)),
                answer: json("201 Created", r#"{"reserved":true}"#),
                takes: chance.between(4 * MS, 30 * MS),
            };
            let end = outbound(stage, process, tid, 0, at + MS, &reserve);
            let (call, good) = charge(chance, &order);
            let end = outbound(stage, process, tid, 1, end + MS, &call);
            if good {
                let call = mail(chance);
                let end = outbound(stage, process, tid, 2, end + MS, &call);
                (json("201 Created", &format!(r#"{{"order":"{order}"}}"#)), end)
            } else {
                (json("502 Bad Gateway", r#"{"error":"payment failed"}"#), end)
            }
        }
        72..88 => {
            let order = chance.uuid();
            line.asks(&get(&format!("/orders/{order}"), SHOP, &[]));
            let call = Call {
                request: get(&format!("/v1/charges/{order}?expand=refunds"), PAYMENTS.host, &[]),
                answer: json("200 OK", r#"{"status":"captured","amount":1990}"#),
                takes: chance.between(10 * MS, 70 * MS),
            };
            let end = outbound(stage, process, tid, 1, at + MS, &call);
            (json("200 OK", r#"{"state":"sent"}"#), end)
        }
        _ => {
            line.asks(&get("/health", SHOP, &["User-Agent: balancer/2.1"]));
            (answer("200 OK", "text/plain", b"ok"), at + 300)
        }
    };
    line.at(end + chance.between(200, 2 * MS)).answers(&answer);
    process.callers.push(line);
}

fn item(chance: &mut Chance, id: u64) -> Call {
    let description = "A fine tea. ".repeat(chance.below(8) as usize);
    Call {
        request: get(&format!("/v1/items/{id}"), STOCK.host, &[]),
        answer: json("200 OK", &format!(r#"{{"id":{id},"text":"{description}"}}"#)),
        takes: if chance.percent(5) { chance.between(200 * MS, 900 * MS) } else { chance.between(2 * MS, 14 * MS) },
    }
}

fn charge(chance: &mut Chance, order: &str) -> (Call, bool) {
    let request = post("/v1/charges", PAYMENTS.host, &format!(r#"{{"order":"{order}","amount":1990}}"#));
    let (status, body, takes) = match chance.below(100) {
        0..8 => ("402 Payment Required", r#"{"error":"card declined"}"#, chance.between(80 * MS, 150 * MS)),
        8..12 => ("500 Internal Server Error", r#"{"error":"oops"}"#, chance.between(5 * MS, 20 * MS)),
        12..18 => ("201 Created", r#"{"status":"captured"}"#, chance.between(S, 2 * S)),
        _ => ("201 Created", r#"{"status":"captured"}"#, chance.between(60 * MS, 220 * MS)),
    };
    (Call { request, answer: json(status, body), takes }, status.starts_with('2'))
}

fn mail(chance: &mut Chance) -> Call {
    Call {
        request: send(
            "POST",
            "/v3/mail/send",
            MAILER.host,
            "application/x-www-form-urlencoded",
            b"to=me%40example.org&template=order",
        ),
        answer: empty("202 Accepted"),
        takes: chance.between(30 * MS, 90 * MS),
    }
}

/// A call to an upstream, on an idle connection or a new one. Returns the time of its end.
fn outbound(stage: &mut Stage, process: &mut Process, tid: u32, upstream: usize, at: u64, call: &Call) -> u64 {
    let who = Who { pid: process.pid, tid };
    let pool = &mut process.pools[upstream];
    let free = pool.iter().position(|line| line.now() < at);
    let mut line = if let Some(index) = free {
        pool.remove(index)
    } else {
        let mut line = stage.client(who, [STOCK, PAYMENTS, MAILER][upstream].address);
        line.at(at).opens([300, 500, 28 * MS][upstream]);
        line
    };
    let start = line.now().max(at);
    line.by(who).at(start).asks(&call.request).wait(call.takes).answers(&call.answer);
    let end = line.now();
    pool.push(line);
    end
}

/// An open call in each possible state.
fn open_at_the_end(stage: &mut Stage) {
    let who = |thread: u32| Who { pid: PIDS[1], tid: PIDS[1] + 400 + thread };

    let mut serving = stage.server(who(1), PORT, ([10, 20, 1, 77], 52_077));
    serving.at(58 * S + 100 * MS).opens(0).wait(60).asks(&get("/products/1007", SHOP, &[]));
    let mut connecting = stage.client(who(1), MAILER.address);
    connecting.at(58 * S + 102 * MS).connects();

    let mut sending = stage.client(who(2), STOCK.address);
    let upload = b"POST /v1/items/1012/picture HTTP/1.1\r\nHost: stock.internal:8080\r\nContent-Type: image/png\r\n\
        Content-Length: 800000\r\n\r\n\x89PNG\r\n\x1a\n";
    sending.at(57 * S + 900 * MS).opens(300).asks(upload);
    for _ in 0..6 {
        sending.wait(300 * MS).asks_unseen(50_000);
    }

    let mut waiting = stage.client(who(3), PAYMENTS.address);
    waiting.at(57 * S + 500 * MS).opens(500);
    waiting.asks(&post(
        "/v1/charges",
        PAYMENTS.host,
        r#"{"order":"7d0c4c43-31f0-4c1c-a6b2-000000000000","amount":990}"#,
    ));

    let mut receiving = stage.client(who(4), STOCK.address);
    receiving.at(58 * S).opens(300).asks(&get("/v1/export?format=csv", STOCK.host, &[])).wait(40 * MS);
    receiving.answers(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 2400000\r\n\r\nid,name,stock\n1,Tea,5\n",
    );
    for _ in 0..9 {
        receiving.wait(200 * MS).answers_unseen(120_000);
    }

    let mut refused = stage.client(who(5), ([10, 20, 3, 12], 8080));
    refused.at(51 * S).is_refused();
    let mut reset = stage.client(who(5), PAYMENTS.address);
    reset
        .at(43 * S)
        .opens(500)
        .asks(&get("/v1/charges/9a1f3c5e-9a1f-4c5e-a6b2-00000000002a", PAYMENTS.host, &[]))
        .wait(90 * MS)
        .is_reset();
    let mut given_up = stage.client(who(6), MAILER.address);
    given_up.at(47 * S).opens(28 * MS).asks(&get(
        "/v3/templates/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        MAILER.host,
        &[],
    ));
    given_up.wait(900 * MS).closes();

    for line in [serving, connecting, sending, waiting, receiving, refused, reset, given_up] {
        stage.plays(line);
    }
}
