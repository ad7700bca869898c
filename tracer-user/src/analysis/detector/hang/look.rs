//! Which calls a look takes: those on whose connections something happened, and those that are due.
//!
//! ```text
//! something happens on a connection ----+
//! it may be silent for long enough now -+--> looked at --> nothing, until more happens
//! the call on it is due ----------------+              +-> a call, not silent for long enough: again when it may be
//!                                                      +-> a silent call: again when it is due
//! ```
//!
//! A call is due when it may have to be told, when more is to be said of it, and when the kernel is to be asked again: of very
//! many, ever more seldom. While they are few, all of them are looked at each time, as what the verdict rests on (other calls,
//! threads) changes without anything happening on their own connections.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    ASK_AT_LEAST, Hang, MAX_OPEN, Made, Watched,
    call::{self, AllMade, Candidate, Known, Seen, Subject},
    timeout, verdict,
};
use crate::{
    analysis::detector::{Ask, Findings, Live},
    event::Timestamp,
};

/// Silent calls that are looked at each time.
const FEW: usize = 64;
/// Connections that are looked at for all calls that are made, however few events came.
const FEW_MADE: usize = 1024;
/// With more, an event pays for so many.
const MADE_FOR_AN_EVENT: u64 = 16;

/// What is to be looked at, and when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The silent call on each connection.
    on: FxHashMap<u64, Subject>,
    due: BinaryHeap<Reverse<(Timestamp, u64)>>,
    /// Calls that hang and are not told, as too many are; the oldest first, with their connections.
    unsaid: BTreeSet<(Timestamp, u64)>,
    /// Threads that wait for a name server.
    queries: Vec<Subject>,
    /// Calls that hang.
    hanging: u32,
    /// All calls that are made, as of so many events.
    made: AllMade,
    made_at: u64,
}

impl Schedule {
    /// There are too many silent calls to look at all.
    pub(super) fn are_many(&self) -> bool {
        self.on.len() > FEW
    }

    /// The call is over, or goes on.
    pub(super) fn forget(&mut self, watched: &Watched) {
        let Candidate { subject, progress, connection, .. } = &watched.candidate;
        let inode = connection.inode.0;
        if self.on.get(&inode) == Some(subject) {
            self.on.remove(&inode);
        }
        self.unsaid.remove(&(*progress, inode));
        self.hanging -= u32::from(watched.hangs);
    }

    /// It is to be told when others are over.
    pub(super) fn wait_for_room(&mut self, call: &Candidate) {
        self.unsaid.insert((call.progress, call.connection.inode.0));
    }

    /// Connections whose calls are due.
    fn take(&mut self, now: Timestamp, room: usize) -> FxHashSet<u64> {
        let mut due = FxHashSet::default();
        while let Some(Reverse((time, inode))) = self.due.peek().copied()
            && time <= now
        {
            self.due.pop();
            if self.on.contains_key(&inode) {
                due.insert(inode);
            }
        }
        if !self.are_many() {
            due.extend(self.on.keys());
        }
        for _ in 0..room {
            let Some((_, inode)) = self.unsaid.pop_first() else { break };
            due.insert(inode);
        }
        due
    }
}

impl Hang {
    pub(super) fn look(&mut self, live: &dyn Live, now: Timestamp, findings: &mut Findings) {
        self.next_look = Timestamp(now.0.saturating_add(self.every()));
        if now >= self.next_threads {
            self.next_threads = Timestamp(now.0.saturating_add(ASK_AT_LEAST.min(self.after())));
            self.threads.expire(now);
            for pid in call::with_silent_connections(live) {
                findings.ask(Ask::Threads { pid, tid: 0 });
            }
        }
        let mut inodes = self.schedule.take(now, MAX_OPEN.saturating_sub(self.open));
        live.take_queued(now, &mut |inode| {
            inodes.insert(inode);
        });
        let waited = self.threads.waited_on();
        let known = Known {
            waited: &waited,
            now,
            thresholds: &self.thresholds,
            history: &self.history,
            kernels: &self.kernels,
            threads: &self.threads,
        };
        let (mut candidates, mut gone) = (Vec::new(), Vec::new());
        for inode in inodes {
            let mut seen = Seen::Nothing;
            live.look_at(inode, &mut |connection, exchange| seen = call::on(connection, exchange, known));
            let call = match seen {
                Seen::Silent(candidate) => Some(candidate),
                Seen::Later(at) => {
                    live.look_again(inode, at);
                    None
                }
                Seen::Nothing => None,
            };
            let before = self.schedule.on.get(&inode).copied();
            gone.extend(before.filter(|subject| call.as_ref().is_none_or(|call| call.subject != *subject)));
            candidates.extend(call.map(|call| *call));
        }
        // The order of a hash table says nothing: what is found first should be what is oldest.
        candidates.sort_by_key(|candidate| (candidate.progress, candidate.connection.id));
        let queries = self.queries(now);
        let before = std::mem::replace(&mut self.schedule.queries, queries.iter().map(|query| query.subject).collect());
        gone.extend(before.into_iter().filter(|query| !self.schedule.queries.contains(query)));
        candidates.extend(queries);
        let waits =
            |candidate: &Candidate| verdict::needs_threads(candidate, self.kernels.get(candidate.connection.inode.0));
        let (mut made, mut fresh) = (AllMade::default(), true);
        if candidates.iter().any(waits) {
            let events = live.events();
            let paid = events.saturating_sub(self.schedule.made_at).saturating_mul(MADE_FOR_AN_EVENT);
            fresh = live.size() <= FEW_MADE || paid >= live.size() as u64;
            made = if fresh { call::made(live, known) } else { std::mem::take(&mut self.schedule.made) };
            if fresh {
                self.schedule.made_at = events;
            }
        }
        self.count(&candidates, &gone, now);
        let look = Made { all: &made, live: (!fresh).then_some(live) };
        for candidate in candidates {
            let (subject, inode) = (candidate.subject, candidate.connection.inode.0);
            self.watch(candidate, &look, now, findings);
            if !matches!(subject, Subject::Query(..)) {
                self.again(subject, inode, now);
            }
        }
        self.schedule.made = made;
        self.sweep(gone, now, findings);
    }

    /// Threads that wait for a name server.
    fn queries(&self, now: Timestamp) -> Vec<Candidate> {
        let watch = self.after() / 2;
        let waits = self.threads.queries().filter(|(thread, since)| {
            // Looked at lately.
            now.since(thread.time()) < ASK_AT_LEAST * 2 && now.since(*since) >= watch
        });
        waits.map(|(thread, since)| timeout::query(thread, since, self.after())).collect()
    }

    /// Counts the calls that hang now.
    fn count(&mut self, candidates: &[Candidate], gone: &[Subject], now: Timestamp) {
        let mut hanging = self.schedule.hanging;
        for subject in gone {
            if let Some(watched) = self.watched.get_mut(subject) {
                hanging -= u32::from(std::mem::take(&mut watched.hangs));
            }
        }
        let mut new = 0;
        for candidate in candidates {
            let hangs = now.since(candidate.progress) >= candidate.threshold;
            match self.watched.get_mut(&candidate.subject) {
                Some(watched) => {
                    hanging -= u32::from(std::mem::replace(&mut watched.hangs, hangs));
                    hanging += u32::from(hangs);
                }
                None => new += u32::from(hangs),
            }
        }
        self.schedule.hanging = hanging;
        self.hanging = hanging + new;
    }

    /// Says when a call is looked at again, though nothing happens.
    fn again(&mut self, subject: Subject, inode: u64, now: Timestamp) {
        let grace = self.grace();
        let ready = self.after() / 2 + grace;
        let Some(watched) = self.watched.get_mut(&subject) else { return };
        self.schedule.on.insert(inode, subject);
        let Candidate { progress, threshold, .. } = watched.candidate;
        let hangs = now.since(progress) >= threshold;
        if !watched.hangs && hangs {
            self.schedule.hanging += 1;
        }
        watched.hangs = hangs;
        let after = |time: Timestamp, wait: u64| Timestamp(time.0.saturating_add(wait));
        let times = match &watched.told {
            Some(told) => [told.next, watched.next_ask, watched.next_ask],
            None => [after(progress, threshold), after(watched.since, ready), watched.next_ask],
        };
        let next = times.into_iter().filter(|time| *time > now).min().unwrap_or(after(now, 1));
        if watched.next_look <= now || next < watched.next_look {
            watched.next_look = next;
            self.schedule.due.push(Reverse((next, inode)));
        }
    }
}
