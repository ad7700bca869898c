//! Standard error, whose reader may take nothing: `2> PIPE`, or a command of `run` that has filled the pipe that it shares with
//! pidtap.

use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A pipe that can be written to takes so much at once (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;
/// How long a reader may take.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// A reader took nothing in time: the next word is not waited with.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Writes to standard error. Where nobody takes it, the rest is given up: whoever says something has signals, timers or the ring
/// to look after.
pub(super) fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    for piece in text.as_bytes().chunks(AT_ONCE) {
        let patience = if STUCK.load(Ordering::Relaxed) { Timespec::default() } else { PATIENCE };
        // Without an answer (it is closed), the write says what is wrong.
        let taken = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&patience));
        STUCK.store(taken == Ok(0), Ordering::Relaxed);
        if taken == Ok(0) || stderr.write_all(piece).is_err() {
            return;
        }
    }
}
