//! Detection of programs whose calls move between threads.
//!
//! A thread that waits for each response makes its own retries, so a call of another thread is independent. Event loops
//! and goroutines show in two ways: one thread has several calls open at once, or a response is read by another thread
//! than the one that sent the request.

use rustc_hash::FxHashMap;

/// Maximum number of remembered threads and processes; at the limit, all are dropped and learned anew.
const MOST: usize = 32_768;
/// Number of observations that rule out chance (a connection handed once from one thread to another).
const TURNS: u32 = 2;

/// Observations of threads that make calls.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// Number of open calls of each thread.
    open: FxHashMap<u32, u32>,
    /// Number of observed turns of each process.
    turns: FxHashMap<u32, u32>,
}

impl Threads {
    /// Records that the thread starts a call.
    pub(super) fn asks(&mut self, pid: u32, tid: u32) {
        if self.open.len() >= MOST {
            self.open.clear();
        }
        let open = self.open.entry(tid).or_default();
        *open += 1;
        if *open > 1 {
            self.takes_turns(pid);
        }
    }

    /// Records that a call of the thread ended.
    pub(super) fn is_done(&mut self, tid: u32) {
        if let Some(open) = self.open.get_mut(&tid) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&tid);
            }
        }
    }

    /// Records that a thread of the process did not wait for its call.
    pub(super) fn takes_turns(&mut self, pid: u32) {
        if self.turns.len() >= MOST {
            self.turns.clear();
        }
        let turns = self.turns.entry(pid).or_default();
        *turns = turns.saturating_add(1);
    }

    /// Whether threads of this process do not wait for their calls.
    pub(super) fn take_turns(&self, pid: u32) -> bool {
        self.turns.get(&pid).is_some_and(|turns| *turns >= TURNS)
    }
}
