//! The schedule of looks: which calls a look judges.
//!
//! ```text
//! something happens on a connection ----+
//! it may be silent for long enough now -+--> looked at --> nothing, until more happens
//! the call on it is due ----------------+              +-> a call, not silent for long enough: again when it may be
//!                                                      +-> a silent call: again when it is due
//! ```
//!
//! A call is due when a report or an update of it may be due, and when the kernel is to be queried again. With many
//! silent calls, the intervals grow. Few silent calls are judged at every look, as other calls and threads change their
//! verdict without any activity on their own connections.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use rustc_hash::FxHashSet;

use super::{
    ASK_AT_LEAST, Hang, MAX_OPEN, Made, Watched,
    call::{self, Candidate, Known, Seen, Subject},
    outbound::{self, OutboundCalls},
    timeout, verdict,
};
use crate::{
    analysis::detector::{Ask, Findings, Live},
    event::Timestamp,
    model::exchange::OpenExchange,
};

/// Number of silent calls up to which every look judges all of them.
const FEW: usize = 64;
/// Number of connections up to which the outbound calls are listed whenever a verdict needs them.
const FEW_MADE: usize = 1024;
/// With more connections, each event since the last list pays for this number of connections.
const MADE_FOR_AN_EVENT: u64 = 16;

/// Calls to judge, with their times.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Silent calls, by the inode number of their connection.
    silent: BTreeSet<(u64, Subject)>,
    due: BinaryHeap<Reverse<(Timestamp, u64, Subject)>>,
    /// Hanging calls that are not reported because there are too many, oldest first, with inode numbers.
    unsaid: BTreeSet<(Timestamp, u64, Subject)>,
    /// Threads that wait for a name server.
    queries: Vec<Subject>,
    /// Number of hanging calls.
    hanging: u32,
    /// The latest list of outbound calls, and the number of events at that time.
    made: OutboundCalls,
    made_at: u64,
}

impl Schedule {
    /// Whether there are too many silent calls to judge all of them at every look.
    pub(super) fn are_many(&self) -> bool {
        self.silent.len() > FEW
    }

    /// Removes a call that ended or moved.
    pub(super) fn forget(&mut self, watched: &Watched) {
        let Candidate { subject, progress, connection, .. } = &watched.candidate;
        let inode = connection.inode.0;
        self.silent.remove(&(inode, *subject));
        self.unsaid.remove(&(*progress, inode, *subject));
        self.hanging -= u32::from(watched.hangs);
    }

    /// Queues a call to be reported once another incident has closed.
    pub(super) fn wait_for_room(&mut self, call: &Candidate) {
        self.unsaid.insert((call.progress, call.connection.inode.0, call.subject));
    }

    /// Silent calls on a connection.
    fn on(&self, inode: u64) -> impl Iterator<Item = Subject> {
        let calls = self.silent.range((inode, Subject::FIRST)..);
        calls.take_while(move |(other, _)| *other == inode).map(|(_, subject)| *subject)
    }

    /// Takes the calls that are due, and calls that wait to be reported if there is room for them.
    fn take(&mut self, now: Timestamp, room: usize) -> Due {
        let mut due = Due::default();
        while let Some(Reverse((time, inode, subject))) = self.due.peek().copied()
            && time <= now
        {
            self.due.pop();
            if self.on(inode).next().is_some() {
                due.add(inode, subject);
            }
        }
        if !self.are_many() {
            self.silent.iter().for_each(|(inode, subject)| due.add(*inode, *subject));
        }
        for _ in 0..room {
            let Some((_, inode, subject)) = self.unsaid.pop_first() else { break };
            due.add(inode, subject);
        }
        due
    }
}

/// Calls to judge, and the inodes of their connections.
#[derive(Debug, Default)]
struct Due {
    calls: FxHashSet<Subject>,
    inodes: FxHashSet<u64>,
}

impl Due {
    fn add(&mut self, inode: u64, subject: Subject) {
        self.inodes.insert(inode);
        self.calls.insert(subject);
    }
}

impl Hang {
    /// Whether a call on a shared connection has not moved since the last look at it and is not due: only other calls
    /// moved.
    fn rests(&self, exchange: &OpenExchange<'_>, due: &Due) -> bool {
        let subject = Subject::Exchange(exchange.id);
        exchange.stream.is_some()
            && !due.calls.contains(&subject)
            && self.watched.get(&subject).is_some_and(|watched| watched.candidate.progress >= call::progress(exchange))
    }

    pub(super) fn look(&mut self, live: &dyn Live, now: Timestamp, findings: &mut Findings) {
        self.next_look = Timestamp(now.0.saturating_add(self.every()));
        if now >= self.next_threads {
            self.next_threads = Timestamp(now.0.saturating_add(ASK_AT_LEAST.min(self.after())));
            self.threads.expire(now);
            for pid in call::with_silent_connections(live) {
                findings.ask(Ask::Threads { pid, tid: 0 });
            }
        }
        let mut due = self.schedule.take(now, MAX_OPEN.saturating_sub(self.open));
        live.take_queued(now, &mut |inode| {
            due.inodes.insert(inode);
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
        let mut soon = Vec::new();
        for inode in due.inodes.iter().copied() {
            // Silent calls on the connection, and the earliest time at which another call may be silent.
            let (mut silent, mut later) = (Vec::new(), None::<(Timestamp, Subject)>);
            live.calls(inode, &mut |connection, exchange| {
                if let Some(exchange) = exchange.filter(|exchange| self.rests(exchange, &due)) {
                    return silent.push(Subject::Exchange(exchange.id));
                }
                match call::on(connection, exchange, known) {
                    Seen::Silent(candidate) => {
                        silent.push(candidate.subject);
                        candidates.push(*candidate);
                    }
                    Seen::Later(at) => {
                        let subject = exchange.map_or(Subject::FIRST, |exchange| Subject::Exchange(exchange.id));
                        later = Some(later.map_or((at, subject), |earlier| earlier.min((at, subject))));
                    }
                    Seen::Nothing => {}
                }
            });
            match later {
                // The connection must not be put off: bytes may end the silence of a call.
                Some((at, subject)) if !silent.is_empty() => soon.push(Reverse((at, inode, subject))),
                Some((at, _)) => live.look_again(inode, at),
                None => {}
            }
            silent.sort_unstable();
            gone.extend(self.schedule.on(inode).filter(|subject| silent.binary_search(subject).is_err()));
        }
        self.schedule.due.extend(soon);
        // The oldest calls first, as the order of a hash table has no meaning.
        candidates.sort_by_key(|candidate| (candidate.progress, candidate.connection.id, candidate.subject));
        let queries = self.queries(now);
        let before = std::mem::replace(&mut self.schedule.queries, queries.iter().map(|query| query.subject).collect());
        gone.extend(before.into_iter().filter(|query| !self.schedule.queries.contains(query)));
        candidates.extend(queries);
        let waits =
            |candidate: &Candidate| verdict::needs_threads(candidate, self.kernels.get(candidate.connection.inode.0));
        let (mut made, mut fresh) = (OutboundCalls::default(), true);
        if candidates.iter().any(waits) {
            let events = live.events();
            let paid = events.saturating_sub(self.schedule.made_at).saturating_mul(MADE_FOR_AN_EVENT);
            fresh = live.size() <= FEW_MADE || paid >= live.size() as u64;
            made = if fresh { outbound::list(live, known) } else { std::mem::take(&mut self.schedule.made) };
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

    /// Candidates for threads that wait for a name server.
    fn queries(&self, now: Timestamp) -> Vec<Candidate> {
        let watch = self.after() / 2;
        let waits = self.threads.queries().filter(|(thread, since)| {
            // The state of the thread is recent.
            now.since(thread.time()) < ASK_AT_LEAST * 2 && now.since(*since) >= watch
        });
        waits.map(|(thread, since)| timeout::query(thread, since, self.after())).collect()
    }

    /// Counts the hanging calls.
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

    /// Schedules the next look at a call without activity.
    fn again(&mut self, subject: Subject, inode: u64, now: Timestamp) {
        let grace = self.grace();
        let ready = self.after() / 2 + grace;
        let Some(watched) = self.watched.get_mut(&subject) else { return };
        self.schedule.silent.insert((inode, subject));
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
            self.schedule.due.push(Reverse((next, inode, subject)));
        }
    }
}
