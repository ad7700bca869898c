//! Standard error, whose reader may block: `2> PIPE`, or a command of `run` that has filled the pipe that it shares
//! with pidtap.

use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that a writable pipe takes at once (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;
/// Time that a write waits for the reader.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The reader was too slow: the next write does not wait.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Writes to standard error. Drops the rest where the reader is too slow: the calling thread handles signals, timers or
/// the ring.
pub(super) fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    for piece in text.as_bytes().chunks(AT_ONCE) {
        let patience = if STUCK.load(Ordering::Relaxed) { Timespec::default() } else { PATIENCE };
        // On an error of `poll`, the write gives the error.
        let taken = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&patience));
        STUCK.store(taken == Ok(0), Ordering::Relaxed);
        if taken == Ok(0) || stderr.write_all(piece).is_err() {
            return;
        }
    }
}
