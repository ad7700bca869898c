//! Attaches to a process and prints the events of its sockets, one a line: `events PID [SECONDS] [--quiet]`.
//!
//! For looking at what the probes send, and for measuring what capturing alone costs (`--quiet` prints counts only).

use std::{
    io::{BufWriter, Write as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use pidtap::{
    event::Event,
    host::capture::{Capture, CaptureError, CaptureOptions, Received},
};

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let quiet = arguments.iter().any(|argument| argument == "--quiet");
    let follow = !arguments.iter().any(|argument| argument == "--no-follow");
    arguments.retain(|argument| !argument.starts_with("--"));
    let pid = arguments.first().context("usage: events PID [SECONDS] [--quiet] [--no-follow]")?.parse()?;
    let seconds = arguments.get(1).map_or(Ok(10), |text| text.parse())?;
    let started = Instant::now();
    let mut options = CaptureOptions { targets: vec![pid], follow, ..CaptureOptions::default() };
    if let Ok(size) = std::env::var("RING") {
        options.ring_size = size.parse()?;
    }
    let capture = Capture::start(&options).inspect_err(|error| {
        if let CaptureError::Verifier { log, .. } = error {
            eprintln!("{log}");
        }
    })?;
    eprintln!("attached in {:?}; missing: {:?}", started.elapsed(), capture.missing_tracepoints());

    let mut out = BufWriter::new(std::io::stdout().lock());
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut events, mut bytes) = (0_u64, 0_u64);
    let mut stopped = false;
    loop {
        if !stopped && Instant::now() >= end {
            stopped = true;
            capture.stop();
        }
        let batch = match capture.recv_timeout(Duration::from_millis(100)) {
            Received::Batch(batch) => batch,
            Received::Timeout => continue,
            Received::Ended => break,
        };
        bytes += batch.len() as u64;
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let event = Event::decode(rest)?;
            events += 1;
            match &event {
                Event::Tick(_) => {}
                Event::Detached(tick) => eprintln!("{tick:?}"),
                Event::Data(event, payload) if !quiet => {
                    writeln!(out, "{event:?} {:?}", payload[..payload.len().min(60)].escape_ascii().to_string())?;
                }
                other if !quiet => writeln!(out, "{other:?}")?,
                _ => {}
            }
            rest = &rest[event.header().length as usize..];
        }
        capture.recycle(batch);
        out.flush()?;
    }
    eprintln!("{events} events, {bytes} bytes");
    Ok(())
}
