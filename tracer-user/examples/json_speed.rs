//! How long one exchange takes to become a line of JSON: `cargo run --release --example json_speed [PART OF A NAME]`.

use std::{hint::black_box, io, net::SocketAddr, sync::Arc, time::Instant};

use pidtap::{
    engine::Update,
    event::{SocketInode, Timestamp},
    model::{
        connection::{ConnectionId, ConnectionInfo, Endpoint, Protocol, Role},
        exchange::{
            Body, Exchange, ExchangeId, Fields, Misfit, Outcome, ProcessRef, Quality, Request, Response, Scheme,
            Timing, Version,
        },
    },
    output::{
        UpdateSink,
        json::{JsonOptions, JsonOutput},
        line::{LineOptions, LineOutput},
    },
};

/// Exchanges of one measurement, and measurements, of which the median is given.
const EXCHANGES: u32 = 200_000;
const ROUNDS: usize = 9;

fn main() -> io::Result<()> {
    let html =
        "<p>If you see this page, the web server is working. <a href=\"http://example.org/\">More</a>.</p>\n".repeat(6);
    let json = "{\"id\":12345,\"state\":\"settled\",\"amount\":99.5,\"currency\":\"EUR\"},\n".repeat(9);
    let only = std::env::args().nth(1).unwrap_or_default();
    for (name, content_type, body) in [("html", "text/html", html), ("json", "application/json", json)] {
        let other = exchange(content_type, body.into_bytes());
        let update = Update::Exchange(Arc::new(other.clone()));
        let mut output = JsonOutput::new(io::sink(), JsonOptions::default());
        measure(&format!("json, {name} body"), &only, &mut output, std::slice::from_ref(&update))?;
        let mut output = JsonOutput::new(io::sink(), JsonOptions::default());
        let mut other = other;
        other.request.iter_mut().for_each(|request| request.headers.push(b"X-Other", b"1"));
        other.response.iter_mut().for_each(|response| response.headers.push(b"X-Other", b"1"));
        let updates = [update.clone(), Update::Exchange(other.into())];
        measure(&format!("json, {name} body, headers ever new"), &only, &mut output, &updates)?;
        let mut output = LineOutput::new(io::sink(), LineOptions::default());
        measure(&format!("line, {name} body"), &only, &mut output, &[update])?;
    }
    Ok(())
}

fn measure(name: &str, only: &str, output: &mut dyn UpdateSink, updates: &[Update]) -> io::Result<()> {
    if !name.contains(only) {
        return Ok(());
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for update in updates.iter().cycle().take(EXCHANGES as usize) {
            output.write(black_box(update))?;
        }
        output.flush()?;
        rounds.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(EXCHANGES));
    }
    rounds.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.0} ns/exchange (fastest {:.0}, slowest {:.0})",
        rounds[ROUNDS / 2],
        rounds[0],
        rounds[ROUNDS - 1]
    );
    Ok(())
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in lines {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

/// Eight headers each way, as browsers and nginx send them.
fn exchange(content_type: &str, body: Vec<u8>) -> Exchange {
    let local: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let remote = SocketAddr::from(([127, 0, 0, 1], 8_080));
    Exchange {
        id: ExchangeId(123_456),
        role: Role::Client,
        outcome: Outcome::Complete,
        quality: Quality::Whole,
        request_misfit: Misfit::default(),
        response_misfit: Misfit::default(),
        started: Timestamp(1_000_000_000),
        process: ProcessRef { pid: 1234, tid: 1234, name: "payments".into() },
        connection: Arc::new(ConnectionInfo {
            local: Endpoint::Inet(local),
            remote: Endpoint::Inet(remote),
            local_text: local.to_string().into(),
            remote_text: remote.to_string().into(),
            protocol: Protocol::Http1,
            ..ConnectionInfo::new(ConnectionId(17), SocketInode(99_999))
        }),
        stream: None,
        scheme: Scheme::Http,
        request: Some(Request::new(
            "GET".into(),
            "/v1/payments/8f14e45f?expand=lines&limit=20".into(),
            Version::Http11,
            fields(&[
                ("Host", "payments.internal:8080"),
                ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
                ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                ("Accept-Language", "en-US,en;q=0.5"),
                ("Accept-Encoding", "gzip, deflate, br"),
                ("Connection", "keep-alive"),
                ("Authorization", "Bearer 0123456789abcdef0123456789abcdef"),
                ("X-Request-Id", "8f14e45f-ceea-467f-a8f6-0123456789ab"),
            ]),
        )),
        interim: Vec::new(),
        response: Some(Response {
            status: 200,
            reason: "OK".into(),
            version: Version::Http11,
            headers: fields(&[
                ("Server", "nginx/1.22.1"),
                ("Date", "Sat, 21 Nov 2026 04:05:06 GMT"),
                ("Content-Type", content_type),
                ("Content-Length", "615"),
                ("Last-Modified", "Tue, 14 May 2024 09:00:00 GMT"),
                ("Connection", "keep-alive"),
                ("ETag", "\"664329d0-267\""),
                ("Accept-Ranges", "bytes"),
            ]),
            body: Body { bytes: body.len() as u64, captured: body, missing: 0 },
            trailers: Fields::default(),
        }),
        messages: None,
        timing: Timing {
            request_start: Some(Timestamp(1_000_000_000)),
            request_end: Some(Timestamp(1_000_010_000)),
            response_start: Some(Timestamp(1_000_900_000)),
            response_end: Some(Timestamp(1_000_950_000)),
            end: Some(Timestamp(1_000_950_000)),
            ..Timing::default()
        },
        error: None,
        incidents: Vec::new(),
    }
}
