//! Output of a command that runs beside screens: they show it, and it is passed on once they have ended.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::message::{Line, Messages};
use crate::host::confine::{self, Duty};

/// Bytes of a line; a longer one is shown as several.
const LINE: u64 = 64 * 1024;
/// The rest of the output delays the end of pidtap by this at most: other processes than the command may hold it open.
const REST: Duration = Duration::from_millis(500);

/// The thread that reads one stream of the command.
pub(super) struct Relay(JoinHandle<()>);

/// Starts the thread that reads until every process has closed the stream. It never stops reading: tracing must not make a command
/// wait or fail.
pub(super) fn start<W: Write + 'static>(
    input: impl Read + Send + 'static,
    messages: Arc<Messages>,
    own: fn() -> W,
) -> anyhow::Result<Relay> {
    let relay = move || {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        loop {
            line.clear();
            match input.by_ref().take(LINE).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    let text = text.trim_end_matches(['\n', '\r']).to_owned();
                    if !messages.push(Line::Command(text)) {
                        let mut own = own();
                        // The reader may be gone.
                        let _ = own.write_all(&line).and_then(|()| own.flush());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    // The thread starts before the main thread drops its privileges, so it drops its own. It ends with the command.
    let thread = confine::spawn("pidtap-relay", Duty::Open, relay)
        .context("cannot start a thread for the command's output; check the limit on processes (`ulimit -u`)")?;
    Ok(Relay(thread))
}

/// Waits until the last output of a command that has ended is passed on.
pub(super) fn drain(relays: &[Relay]) {
    let begin = Instant::now();
    while begin.elapsed() < REST && !relays.iter().all(|relay| relay.0.is_finished()) {
        thread::sleep(Duration::from_millis(2));
    }
}
