//! What ticks cost while very many calls are open and silent: one core, no kernel.
//!
//! `cargo run --release --example open_calls -- [calls] [seconds]`

use std::time::Instant;

use pidtap::{
    engine::{Engine, EngineOptions},
    event::{
        Event,
        wire::{AttachedEvent, DataEvent, EventHeader, SocketEvent, TickEvent, call, direction, flag, origin},
    },
};

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
/// Ticks come so often, as in a live trace.
const TICK_NS: u64 = 100_000_000;

fn header(time_ns: u64) -> EventHeader {
    EventHeader { time_ns, kind: 0, flags: flag::SEQUENCE | flag::LAST, length: 0, tgid: 10, tid: 11 }
}

fn main() -> Result<(), std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let calls: u64 = arguments.next().map_or(Ok(90_000), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let mut engine = Engine::new(EngineOptions::default());
    let attached = AttachedEvent { header: header(1), realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
    engine.handle_event(&Event::Attached(attached));
    let start = Instant::now();
    for connection in 1..=calls {
        open(&mut engine, connection, 2 + connection);
    }
    println!("{calls} calls opened in {:?}", start.elapsed());
    let (start, ticks) = (Instant::now(), seconds * 1_000_000_000 / TICK_NS);
    let mut told = 0;
    for number in 1..=ticks {
        let tick = TickEvent { header: header(calls + number * TICK_NS), lost_events: [0; 6], lost_bytes: [0; 6] };
        engine.handle_event(&Event::Tick(tick));
        while engine.poll_control().is_some() {}
        while engine.poll().is_some() {
            told += 1;
        }
    }
    let took = start.elapsed();
    let share = took.as_secs_f64() / seconds as f64;
    println!("{ticks} ticks of {seconds} s in {took:?}: {:.2} % of a processor; {told} updates", share * 100.0);
    Ok(())
}

/// A call of a client that was sent and is not answered.
fn open(engine: &mut Engine, connection: u64, time: u64) {
    engine.handle_event(&Event::Socket(SocketEvent {
        header: header(time),
        connection,
        send_position: 0,
        receive_position: 0,
        local: [0; 16],
        remote: [0; 16],
        local_port: connection as u16,
        remote_port: 8080,
        family: 2,
        protocol: 6,
        result: 0,
        fd: connection as i32 + 3,
        state: 1,
        origin: origin::CONNECT,
        reserved: [0; 2],
        netns: 0,
    }));
    let event = DataEvent {
        header: header(time),
        connection,
        position: 0,
        opposite_position: 0,
        result: REQUEST.len() as i32,
        offset: 0,
        captured: REQUEST.len() as u32,
        fd: connection as i32 + 3,
        direction: direction::SEND,
        call: call::WRITE,
        reserved: [0; 6],
    };
    engine.handle_event(&Event::Data(event, REQUEST));
}
