//! What ticks cost while very many calls are open and silent: one core, no kernel.
//!
//! `cargo run --release --example open_calls -- [calls] [seconds]`

use std::time::Instant;

use pidtap::{
    engine::{Engine, EngineOptions},
    event::{
        self,
        wire::{direction, origin},
    },
};

/// As the tests of the library have them.
#[path = "../src/fixture/events.rs"]
mod events;

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
/// Ticks come so often, as in a live trace.
const TICK_NS: u64 = 100_000_000;

fn main() -> Result<(), std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let calls: u64 = arguments.next().map_or(Ok(90_000), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let mut engine = Engine::new(EngineOptions::default());
    engine.handle_event(&events::attached(1));
    let start = Instant::now();
    for connection in 1..=calls {
        open(&mut engine, connection, 2 + connection);
    }
    println!("{calls} calls opened in {:?}", start.elapsed());
    let (start, ticks) = (Instant::now(), seconds * 1_000_000_000 / TICK_NS);
    let mut told = 0;
    for number in 1..=ticks {
        engine.handle_event(&events::tick(calls + number * TICK_NS));
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
    engine.handle_event(&events::socket(time, connection, origin::CONNECT));
    engine.handle_event(&events::data(time, connection, direction::SEND, [0; 2], REQUEST));
}
