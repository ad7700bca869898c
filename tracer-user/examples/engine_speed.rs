//! How many exchanges a second the engine takes from memory, alone and with JSON output: one core, no kernel.
//!
//! `cargo run --release --example engine_speed -- [exchanges] [connections] [client]`

use std::{io, time::Instant};

use pidtap::{
    engine::{Engine, EngineOptions},
    event::{
        Event,
        wire::{AttachedEvent, DataEvent, EventHeader, SocketEvent, TickEvent, call, direction, flag, origin},
    },
    output::{
        UpdateSink as _,
        json::{JsonOptions, JsonOutput},
    },
};

const REQUEST: &[u8] =
    b"GET /index.html?user=4711 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: speed/1.0\r\nAccept: */*\r\n\
    Accept-Encoding: gzip\r\nX-Request-Id: 0123456789abcdef\r\n\r\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let exchanges: u64 = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    let connections: u64 = arguments.next().map_or(Ok(16), |text| text.parse())?;
    let client = arguments.next().is_some_and(|text| text == "client");
    let mut response = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
        Content-Type: text/html\r\nContent-Length: 612\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
        Connection: keep-alive\r\nETag: \"6720-264\"\r\nAccept-Ranges: bytes\r\n\r\n"
        .to_vec();
    response.extend(std::iter::repeat_n(b'x', 612));
    let batch = encode(exchanges, connections, client, &response);
    for json in [false, true, false, true] {
        let start = Instant::now();
        let count = run(&batch, json)?;
        let seconds = start.elapsed().as_secs_f64();
        let per_exchange = seconds * 1e9 / count as f64;
        println!("json {json}: {count} exchanges, {:.0} per second, {per_exchange:.0} ns each", count as f64 / seconds);
    }
    Ok(())
}

fn header(time_ns: u64, flags: u16) -> EventHeader {
    EventHeader { time_ns, kind: 0, flags, length: 0, tgid: 10, tid: 11 }
}

fn encode(exchanges: u64, connections: u64, client: bool, response: &[u8]) -> Vec<u8> {
    let (requests, responses) =
        if client { (direction::SEND, direction::RECEIVE) } else { (direction::RECEIVE, direction::SEND) };
    let mut batch = Vec::new();
    let attached = AttachedEvent { header: header(1, 0), realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
    Event::Attached(attached).encode(&mut batch);
    for connection in 1..=connections {
        let event = SocketEvent {
            header: header(2, flag::SEQUENCE),
            connection,
            send_position: 0,
            receive_position: 0,
            local: [0; 16],
            remote: [0; 16],
            local_port: 8080,
            remote_port: connection as u16,
            family: 2,
            protocol: 6,
            result: if client { 0 } else { 3 },
            fd: connection as i32 + 3,
            state: 1,
            origin: if client { origin::CONNECT } else { origin::ACCEPT },
            reserved: [0; 2],
            netns: 0,
        };
        Event::Socket(event).encode(&mut batch);
    }
    let mut positions = vec![(0_u64, 0_u64); connections as usize + 1];
    for number in 0..exchanges {
        let connection = number % connections + 1;
        let time = 1_000_000 + number * 10_000;
        let (sent, received) = &mut positions[connection as usize];
        for (direction, payload) in [(requests, REQUEST), (responses, response)] {
            let length = payload.len() as u64;
            let (own, opposite) =
                if direction == direction::SEND { (&mut *sent, *received) } else { (&mut *received, *sent) };
            let event = DataEvent {
                header: header(time + u64::from(direction == responses) * 5_000, flag::SEQUENCE | flag::LAST),
                connection,
                position: *own & 0xffff_ffff,
                opposite_position: opposite & 0xffff_ffff,
                result: length as i32,
                offset: 0,
                captured: length as u32,
                fd: connection as i32 + 3,
                direction,
                call: call::READ,
                reserved: [0; 6],
            };
            *own += length;
            Event::Data(event, payload).encode(&mut batch);
        }
        if number % 5_000 == 0 {
            let tick = TickEvent { header: header(time, 0), lost_events: [0; 6], lost_bytes: [0; 6] };
            Event::Tick(tick).encode(&mut batch);
        }
    }
    batch
}

fn run(batch: &[u8], json: bool) -> Result<u64, Box<dyn std::error::Error>> {
    let mut engine = Engine::new(EngineOptions::default());
    let mut output = JsonOutput::new(io::sink(), JsonOptions::default());
    let mut rest = batch;
    let mut count = 0;
    while !rest.is_empty() {
        let event = Event::decode(rest)?;
        let length = event.header().length as usize;
        engine.handle_event(&event);
        rest = &rest[length..];
        while let Some(update) = engine.poll() {
            count += 1;
            if json {
                output.write(&update)?;
            }
        }
    }
    Ok(count)
}
