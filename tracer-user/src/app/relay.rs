//! What a command writes that was started beside screens: shown by them, and passed on once they are gone.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::screen::Shared;

/// Bytes of a line that are shown as one.
const LINE: u64 = 64 * 1024;
/// How long what is still on its way may keep the program from ending: others than the command may hold its output open.
const REST: Duration = Duration::from_millis(500);

/// A thread that passes on.
pub(super) struct Relay(JoinHandle<()>);

/// Starts the thread that reads until the command, and whoever else has its output, has closed it. It never stops reading:
/// a command must not wait, nor fail, because of who looks at it.
pub(super) fn start<W: Write + 'static>(
    input: impl Read + Send + 'static,
    shared: Arc<Shared>,
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
                    if !shared.command_line(text.trim_end_matches(['\n', '\r']).to_owned()) {
                        let mut own = own();
                        // Nobody may be there to read it.
                        let _ = own.write_all(&line).and_then(|()| own.flush());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    // It ends with the command.
    let thread = thread::Builder::new()
        .name("pidtap-relay".to_owned())
        .spawn(relay)
        .context("cannot start a thread for the command's output; check the limit of processes (`ulimit -u`)")?;
    Ok(Relay(thread))
}

/// The command has ended: waits until what it wrote last is passed on.
pub(super) fn drain(relays: &[Relay]) {
    let begin = Instant::now();
    while begin.elapsed() < REST && !relays.iter().all(|relay| relay.0.is_finished()) {
        thread::sleep(Duration::from_millis(2));
    }
}
