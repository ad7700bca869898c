//! Whether a call that goes on in another thread may be the same: that depends on the program.

use rustc_hash::{FxHashMap, FxHashSet};

/// Threads and processes that are remembered; beyond it all are forgotten and learned again.
const MOST: usize = 32_768;

/// What is known of threads that make calls.
#[derive(Debug, Default)]
pub(super) struct Threads {
    seen: FxHashSet<u32>,
    /// Processes whose threads take turns in one exchange (an event loop with workers, goroutines).
    hopping: FxHashMap<u32, u32>,
}

/// Turns that are no chance (a connection handed from thread to thread once).
const TURNS: u32 = 2;

impl Threads {
    /// The thread makes a call.
    pub(super) fn calls(&mut self, tid: u32) {
        if self.seen.len() >= MOST {
            self.seen.clear();
        }
        self.seen.insert(tid);
    }

    /// The thread has made a call before.
    pub(super) fn knows(&self, tid: u32) -> bool {
        self.seen.contains(&tid)
    }

    /// One thread sent the request, another read the answer.
    pub(super) fn hops(&mut self, pid: u32) {
        if self.hopping.len() >= MOST {
            self.hopping.clear();
        }
        let turns = self.hopping.entry(pid).or_default();
        *turns = turns.saturating_add(1);
    }

    /// Threads take turns in this process.
    pub(super) fn hop(&self, pid: u32) -> bool {
        self.hopping.get(&pid).is_some_and(|turns| *turns >= TURNS)
    }
}
