//! Whether a call that goes on in another thread may be the same: that depends on the program.
//!
//! A thread that waits for each answer comes back for its own retry, and what another thread asks for is another call.
//! Event loops and goroutines are told by two things: a thread that has several calls open at once, and an answer that
//! another thread reads than the one that asked.

use rustc_hash::FxHashMap;

/// Threads and processes that are remembered; beyond it all are forgotten and learned again.
const MOST: usize = 32_768;
/// Turns that are no chance (a connection handed from thread to thread once).
const TURNS: u32 = 2;

/// What is known of threads that make calls.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// Calls of each that are open.
    open: FxHashMap<u32, u32>,
    /// Processes whose threads take turns, and how often they did.
    turns: FxHashMap<u32, u32>,
}

impl Threads {
    /// The thread makes a call.
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

    /// A call of the thread is over.
    pub(super) fn is_done(&mut self, tid: u32) {
        if let Some(open) = self.open.get_mut(&tid) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&tid);
            }
        }
    }

    /// A thread does not wait for what it asked for.
    pub(super) fn takes_turns(&mut self, pid: u32) {
        if self.turns.len() >= MOST {
            self.turns.clear();
        }
        let turns = self.turns.entry(pid).or_default();
        *turns = turns.saturating_add(1);
    }

    /// Threads of this process do not wait for what they asked for.
    pub(super) fn take_turns(&self, pid: u32) -> bool {
        self.turns.get(&pid).is_some_and(|turns| *turns >= TURNS)
    }
}
