//! A queue in front of a thread that writes, bounded in bytes.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Bytes in the queue, at most. Allocated memory counts, not its content. A larger piece is accepted into an empty
/// queue.
pub(super) const LIMIT: usize = 8 << 20;
/// Bytes of a buffer that small pieces share; a pipe takes as much at once.
const PIECE: usize = 64 * 1024;
/// Memory that is kept to be used again: so much of it, none larger.
const SPARE: usize = 4;
const KEEP: usize = 256 * 1024;
/// Time without progress after which pidtap ends without its reader.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A queue between a thread that writes and one that takes.
#[derive(Debug, Default)]
pub(in crate::app) struct Queue {
    state: Mutex<State>,
    /// Notified when a piece is added.
    filled: Condvar,
    /// Notified when a piece is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of memory of the waiting pieces and of the one that is being written.
    bytes: usize,
    spare: Vec<Vec<u8>>,
    /// No more pieces are added.
    closed: bool,
    /// The thread that writes has ended.
    ended: bool,
    /// Time since which the program is ending.
    hurry: Option<Instant>,
    /// Time of the last progress.
    progress: Option<Instant>,
}

impl State {
    /// True where the program is ending and there was no progress for [`PATIENCE`].
    fn is_hopeless(&self) -> bool {
        self.hurry.is_some_and(|since| since.max(self.progress.unwrap_or(since)).elapsed() >= PATIENCE)
    }

    /// Adds a piece, undivided. False without room.
    fn push(&mut self, piece: &[u8]) -> bool {
        self.push_within(piece, LIMIT)
    }

    fn push_within(&mut self, piece: &[u8], limit: usize) -> bool {
        if self.bytes == 0 {
            // The queue was empty, so the wait begins now.
            self.progress = Some(Instant::now());
        }
        if let Some(last) = self.waiting.back_mut()
            && last.capacity() - last.len() >= piece.len()
        {
            last.extend_from_slice(piece);
            return true;
        }
        let size = piece.len().max(PIECE);
        if self.bytes > 0 && self.bytes.saturating_add(size) > limit {
            return false;
        }
        let mut memory =
            self.spare.pop_if(|spare| spare.capacity() >= size).unwrap_or_else(|| Vec::with_capacity(size));
        memory.extend_from_slice(piece);
        self.bytes += memory.capacity();
        self.waiting.push_back(memory);
        true
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a piece if there is room. Never waits.
    pub(super) fn offer(&self, piece: &[u8]) -> bool {
        let taken = self.state().push(piece);
        if taken {
            self.filled.notify_one();
        }
        taken
    }

    /// Adds the last piece beyond the limit. It must be small.
    pub(super) fn put_last(&self, piece: &[u8]) {
        self.state().push_within(piece, usize::MAX);
        self.filled.notify_one();
    }

    /// True where half of the limit is free.
    pub(super) fn has_room(&self) -> bool {
        self.state().bytes <= LIMIT / 2
    }

    /// Adds a piece, and waits for room. False where the program ends and nothing moves.
    pub(super) fn push(&self, piece: &[u8]) -> bool {
        let mut state = self.state();
        while !state.push(piece) {
            if state.is_hopeless() || state.ended {
                return false;
            }
            state = self.wait(state);
        }
        self.filled.notify_one();
        true
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        /// Time passes without a word from anybody.
        const LOOK: Duration = Duration::from_millis(50);
        self.emptied.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for the next piece; `None` after the last one. `before` is the previous piece, which is written.
    pub(super) fn take(&self, before: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut state = self.state();
        if let Some(mut before) = before {
            state.bytes -= before.capacity();
            if before.capacity() <= KEEP && state.spare.len() < SPARE {
                before.clear();
                state.spare.push(before);
            }
            self.emptied.notify_all();
        }
        loop {
            if let Some(piece) = state.waiting.pop_front() {
                return Some(piece);
            }
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No more pieces are added.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }

    /// Reports the end of the thread that writes.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.emptied.notify_all();
    }

    /// Reports that the program is ending: waits are bounded by [`PATIENCE`] without progress.
    pub(super) fn hurry(&self) {
        self.state().hurry.get_or_insert_with(Instant::now);
    }

    /// True where the program is ending.
    pub(super) fn is_hurried(&self) -> bool {
        self.state().hurry.is_some()
    }

    /// Waits until everything is written; of a closed queue, until the thread has ended. False where the program ends
    /// and nothing moves.
    pub(super) fn drain(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.ended || state.bytes == 0 && !state.closed {
                return true;
            }
            if state.is_hopeless() {
                return false;
            }
            state = self.wait(state);
        }
    }

    /// Bytes of memory in the queue and being written.
    pub(super) fn left(&self) -> usize {
        self.state().bytes
    }

    fn progressed(&self) {
        self.state().progress = Some(Instant::now());
    }
}

/// Notes the progress of a writer in its queue.
#[derive(Debug)]
pub(in crate::app) struct Noting<W> {
    pub(super) writer: W,
    pub(super) queue: Arc<Queue>,
}

impl<W: Write> Write for Noting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Small writes, so that a slow reader of a long line shows progress.
        let count = self.writer.write(&bytes[..bytes.len().min(PIECE)])?;
        self.queue.progressed();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_waits_is_bounded_in_bytes_whatever_the_pieces() {
        for size in [1, 100, PIECE - 1, PIECE + 1, 3 << 20] {
            let queue = Queue::default();
            let piece = vec![b'x'; size];
            let mut taken = 0;
            while queue.offer(&piece) {
                taken += size;
            }
            assert!(queue.left() <= LIMIT, "{size}: {}", queue.left());
            assert!(taken >= LIMIT / 2, "{size}: half of the memory is used at least: {taken}");
            let memory: usize = queue.state().waiting.iter().map(Vec::capacity).sum();
            assert_eq!(memory, queue.left());
        }
    }

    #[test]
    fn a_piece_that_is_larger_goes_in_alone() {
        let queue = Queue::default();
        assert!(queue.offer(&vec![0; 2 * LIMIT]));
        assert!(!queue.offer(b"more"));
        let piece = queue.take(None).expect("there");
        assert!(!queue.offer(b"more"), "it is being written");
        queue.close();
        assert!(queue.take(Some(piece)).is_none());
        assert_eq!(queue.left(), 0);
    }

    #[test]
    fn who_waits_for_room_gets_it_and_gives_up_when_it_is_to_end() {
        let queue = Arc::new(Queue::default());
        while queue.offer(&vec![0; PIECE]) {}
        queue.put_last(b"end");
        assert!(queue.left() <= LIMIT + PIECE);
        let piece = queue.take(None);
        let other = Arc::clone(&queue);
        let waits = thread::spawn(move || other.push(&vec![0; PIECE]));
        let piece = queue.take(piece);
        let piece = queue.take(piece);
        assert!(waits.join().expect("no panic"));
        queue.hurry();
        let begin = Instant::now();
        while queue.push(&vec![0; PIECE]) {}
        assert!(!queue.drain());
        assert!((PATIENCE..10 * PATIENCE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        drop(piece);
    }
}
