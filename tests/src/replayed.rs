//! Replays recordings through the engine and the JSON output, without the program.

use std::io::Read;

use anyhow::{Context as _, ensure};
use pidtap::{
    engine::{Engine, EngineOptions, Update},
    event::Event,
    output::{
        UpdateSink as _,
        json::{JsonOptions, JsonOutput},
    },
    recording::{EarlyEnd, EarlyEndReason, Reader},
};

/// The events of a committed recording, which must be whole and of this version. Some of the recordings for screens end while calls
/// are open.
///
/// # Errors
///
/// The recording is not.
pub fn events(name: &str, recording: impl Read) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut reader = Reader::open(recording).context("it is no recording")?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().context("it cannot be read")? {
        events.push(event.to_vec());
    }
    let breaks_off = |end: &EarlyEnd| end.reason == EarlyEndReason::NoEnd && name.starts_with("screen_");
    let early = reader.early_end().filter(|end| !breaks_off(end));
    ensure!(early.is_none(), "it is not whole: {early:?}");
    ensure!((reader.skipped_events(), reader.malformed_events()) == (0, 0), "it has events that are not understood");
    Ok(events)
}

/// The thresholds of the trace: in recordings of hanging calls, the one for hangs is short.
fn options(name: &str) -> EngineOptions {
    let mut options = EngineOptions::default();
    if name.starts_with("hang_") {
        options.detectors.tune("hang.after=500ms").expect("there is such a threshold");
    }
    options
}

/// The output of `pidtap open -o json --show-secrets` for a committed recording.
///
/// # Panics
///
/// An event does not decode.
pub fn replay(name: &str, events: &[Vec<u8>]) -> String {
    let mut engine = Engine::new(options(name));
    let options = JsonOptions { show_secrets: true, ..JsonOptions::default() };
    let mut output = JsonOutput::new(Vec::new(), options);
    let mut print = |engine: &mut Engine| {
        while let Some(update) = engine.poll() {
            if matches!(update, Update::Attached(_)) {
                output.set_realtime_offset(engine.realtime_offset_ns());
            }
            output.write(&update).expect("a Vec takes everything");
        }
        output.flush().expect("a Vec takes everything");
    };
    for event in events {
        engine.handle_event(&Event::decode(event).expect("recorded events decode"));
        print(&mut engine);
    }
    engine.finish();
    print(&mut engine);
    String::from_utf8(output.get_ref().clone()).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Report, scripted::large_header};

    #[test]
    fn a_head_that_does_not_end_is_not_kept() -> anyhow::Result<()> {
        let text = replay("large", &events("large", &*large_header())?);
        Report::parse(&text)?;
        assert!(text.len() < 100_000, "{} bytes are told of it", text.len());
        Ok(())
    }
}
