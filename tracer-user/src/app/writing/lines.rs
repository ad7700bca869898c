//! The thread of an output of lines. It runs beside the engine: where pidtap and its target share processors, pidtap finishes a batch
//! in about half the time.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;

use super::queue::{Noting, PATIENCE, Queue};
use crate::host::{
    confine::{self, Duty},
    file::{FileError, Opened},
};

/// The error of the thread, until a caller takes it.
type Failure = Arc<Mutex<Option<io::Error>>>;

/// Behaviour while the queue has no room.
#[derive(Clone, Copy, Debug)]
pub(in crate::app) enum Policy {
    /// Wait: events of a recording can be read at any time.
    Wait,
    /// Drop lines: a live trace goes on. The function gives the line that stands in their place.
    LeaveOut(fn(LeftOut) -> String),
}

/// Lines that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::app) struct LeftOut {
    pub(in crate::app) lines: u64,
    pub(in crate::app) bytes: u64,
}

/// Hands lines to the thread. Each write must be of whole lines. The next write or flush gives an error of the thread.
pub(in crate::app) struct LineWriter {
    queue: Arc<Queue>,
    failure: Failure,
    policy: Policy,
    /// Lines that were dropped since the last one that was queued.
    missing: LeftOut,
    /// Number of all dropped lines.
    lines: Arc<AtomicU64>,
}

/// State of the thread of a [`LineWriter`].
#[derive(Clone)]
pub(in crate::app) struct LineState {
    queue: Arc<Queue>,
    failure: Failure,
    lines: Arc<AtomicU64>,
    /// Lines are dropped while there is no room: the events are those of a live trace.
    drops: bool,
}

fn check(failure: &Failure) -> io::Result<()> {
    failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

impl LineWriter {
    /// Starts the thread, which opens the file and writes.
    ///
    /// # Errors
    ///
    /// The system refuses the thread.
    pub(in crate::app) fn start(opened: Opened, policy: Policy) -> anyhow::Result<(Self, LineState)> {
        Self::start_with(move || opened.wait(), policy)
    }

    fn start_with<W: Write>(
        open: impl FnOnce() -> Result<W, FileError> + Send + 'static,
        policy: Policy,
    ) -> anyhow::Result<(Self, LineState)> {
        let (queue, failure, lines) = (Arc::<Queue>::default(), Failure::default(), Arc::default());
        let state = LineState {
            queue: Arc::clone(&queue),
            failure: Arc::clone(&failure),
            lines: Arc::clone(&lines),
            drops: matches!(policy, Policy::LeaveOut(_)),
        };
        let writer = Self { queue, failure, policy, missing: LeftOut::default(), lines };
        let thread = state.clone();
        confine::spawn("pidtap-output", Duty::Pipe, move || thread.run(open))
            .context("cannot start the thread that writes results; check the limit on processes (`ulimit -u`)")?;
        Ok((writer, state))
    }

    /// Queues lines, or drops and counts them.
    fn leave_out(&mut self, bytes: &[u8], said: fn(LeftOut) -> String) {
        let is_taken = if self.missing.lines == 0 {
            self.queue.offer(bytes)
        } else {
            // Waits for half of the room, so that not every second line is dropped.
            self.queue.has_room() && self.queue.offer(said(self.missing).as_bytes()) && {
                self.missing = LeftOut::default();
                self.queue.offer(bytes)
            }
        };
        if !is_taken {
            let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
            self.missing.lines += lines;
            self.missing.bytes += bytes.len() as u64;
            self.lines.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Queues lines, and waits for room. After the end of a trace, the wait is bounded.
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Policy::LeaveOut(said) = self.policy
            && self.missing.lines > 0
            && self.queue.push(said(self.missing).as_bytes())
        {
            self.missing = LeftOut::default();
        }
        if self.queue.push(bytes) { Ok(()) } else { Err(self.queue_stuck()) }
    }

    fn queue_stuck(&self) -> io::Error {
        stuck(&self.queue)
    }
}

fn stuck(queue: &Queue) -> io::Error {
    let text = format!(
        "{} KiB of results are pending, and the reader took none for {} s",
        queue.left() >> 10,
        PATIENCE.as_secs()
    );
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check(&self.failure)?;
        if !bytes.is_empty() {
            match self.policy {
                Policy::LeaveOut(said) if !self.queue.is_hurried() => self.leave_out(bytes, said),
                _ => self.push(bytes)?,
            }
        }
        Ok(bytes.len())
    }

    /// Does not wait: the thread writes as soon as it can. Gives an error of the thread.
    fn flush(&mut self) -> io::Result<()> {
        check(&self.failure)
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl LineState {
    /// Waits until all lines that were queued before are written.
    ///
    /// # Errors
    ///
    /// The error of the thread, unless the writer gave it; `TimedOut` where the program ends and the reader takes nothing.
    pub(in crate::app) fn wait(&self) -> io::Result<()> {
        let is_written = self.queue.drain();
        check(&self.failure)?;
        if is_written { Ok(()) } else { Err(stuck(&self.queue)) }
    }

    /// From now on, a wait ends once the reader has taken nothing for [`PATIENCE`].
    pub(in crate::app) fn hurry(&self) {
        self.queue.hurry();
    }

    /// The trace is over. The end of a recording that is replayed does not hurry the reader.
    pub(in crate::app) fn trace_ends(&self) {
        if self.drops {
            self.hurry();
        }
    }

    /// Number of dropped lines.
    pub(in crate::app) fn lines_left_out(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    fn run<W: Write>(self, open: impl FnOnce() -> Result<W, FileError>) {
        // Only opening a pipe needs the privileges of the duty so far.
        let writer = open().map_err(io::Error::other).and_then(|writer| confine::enter(Duty::Open).map(|()| writer));
        let mut writer = writer
            .map(|writer| Noting { writer, queue: Arc::clone(&self.queue) })
            .map_err(|error| self.fail(error))
            .ok();
        let mut piece = None;
        while let Some(next) = self.queue.take(piece) {
            // After an error it is not known how much was written, so the rest is discarded.
            if let Some(output) = &mut writer
                && let Err(error) = output.write_all(&next).and_then(|()| output.flush())
            {
                self.fail(error);
                writer = None;
            }
            piece = Some(next);
        }
        self.queue.end();
    }

    fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes `room` bytes, then fails.
    struct Full {
        room: usize,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.taken.lock().expect("no panic").extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(writer: impl Write + Send + 'static, policy: Policy) -> (LineWriter, LineState) {
        LineWriter::start_with(move || Ok(writer), policy).expect("a thread starts")
    }

    #[test]
    fn everything_is_written_in_order() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut writer, state) = start(Full { room: usize::MAX, taken: Arc::clone(&taken) }, Policy::Wait);
        let mut expected = Vec::new();
        for number in 0..10_000 {
            writeln!(writer, "line {number}").expect("room");
            expected.extend_from_slice(format!("line {number}\n").as_bytes());
        }
        writer.flush().expect("room");
        state.wait().expect("room");
        assert_eq!(*taken.lock().expect("no panic"), expected);
    }

    #[test]
    fn a_failure_is_told_once_and_what_was_written_before_is_kept() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut writer, state) = start(Full { room: 7, taken: Arc::clone(&taken) }, Policy::Wait);
        writer.write_all(b"one\ntwo\n").expect("taken over");
        assert_eq!(state.wait().expect_err("no room").kind(), io::ErrorKind::StorageFull);
        writer.write_all(b"three\n").expect("said already");
        state.wait().expect("said already");
        assert_eq!(*taken.lock().expect("no panic"), b"one\ntwo");
    }

    /// Takes nothing until the test releases it, then everything.
    struct Stopped {
        go_on: mpsc::Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Also released when the sender is dropped.
            let _ = self.go_on.recv();
            self.taken.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_trace_leaves_lines_out_and_says_so_where_they_are_missing() {
        let (tell, go_on) = mpsc::channel();
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let policy = Policy::LeaveOut(|missing| format!("missing {} {}\n", missing.lines, missing.bytes));
        let (mut writer, state) = start(Stopped { go_on, taken: Arc::clone(&taken) }, policy);
        let line = ["x".repeat(99_999).as_bytes(), b"\n"].concat();
        let count = 3 * super::super::queue::LIMIT / line.len();
        for _ in 0..count {
            writer.write_all(&line).expect("it does not wait");
        }
        let left_out = state.lines_left_out();
        assert!(left_out > 0 && state.queue.left() <= super::super::queue::LIMIT);
        drop(tell);
        state.wait().expect("it takes everything now");
        writer.write_all(b"last\n").expect("room");
        state.wait().expect("it takes everything");
        let text = String::from_utf8(taken.lock().expect("no panic").clone()).expect("ASCII");
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count() as u64 + left_out, count as u64);
        assert!(text.ends_with(&format!("\nmissing {left_out} {}\nlast\n", left_out * line.len() as u64)));
    }

    #[test]
    fn an_end_waits_for_no_reader_who_takes_nothing() {
        let (tell, go_on) = mpsc::channel();
        let (mut writer, state) = start(Stopped { go_on, taken: Arc::default() }, Policy::Wait);
        writer.write_all(b"line\n").expect("room");
        state.hurry();
        let error = state.wait().expect_err("nobody takes it");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        drop(tell);
    }
}
