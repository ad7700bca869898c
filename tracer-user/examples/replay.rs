//! How fast the engine alone is: `replay FILE.tap` reads a recording into memory, feeds it to fresh engines, and prints
//! the number of exchanges and the seconds of each run as JSON. `cargo xtask bench` runs it.

use std::{env, fs::File, time::Instant};

use pidtap::{
    engine::{Engine, EngineOptions, Update},
    event::Event,
    recording::Reader,
};

/// Runs; the first ones also warm the caches.
const RUNS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = env::args_os().nth(1).ok_or("which recording?")?;
    let mut reader = Reader::open(File::open(path)?)?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event()? {
        events.extend_from_slice(event);
    }
    if let Some(end) = reader.early_end() {
        return Err(end.to_string().into());
    }
    let mut exchanges = 0;
    let mut seconds = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        exchanges = run(&events)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    println!("{}", serde_json::json!({ "exchanges": exchanges, "seconds": seconds }));
    Ok(())
}

/// Feeds all events, which follow each other in `events`; gives the number of exchanges.
fn run(mut events: &[u8]) -> Result<u64, Box<dyn std::error::Error>> {
    let mut engine = Engine::new(EngineOptions::default());
    let mut exchanges = 0;
    while !events.is_empty() {
        let event = Event::decode(events)?;
        events = &events[event.header().length as usize..];
        engine.handle_event(&event);
        while let Some(update) = engine.poll() {
            exchanges += u64::from(matches!(update, Update::Exchange(_)));
        }
    }
    engine.finish();
    while let Some(update) = engine.poll() {
        exchanges += u64::from(matches!(update, Update::Exchange(_)));
    }
    Ok(exchanges)
}
