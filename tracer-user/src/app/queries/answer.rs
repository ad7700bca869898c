//! The thread that queries.

use std::{
    io,
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
};

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::time::{ClockId, clock_gettime};

use super::{MAX_PROCESSES, Question, Rest};
use crate::{
    app::message::say,
    event::Event,
    host::{
        capture::Handle,
        sockdiag::{self, Inspector},
        task::{self as threads, Wanted},
    },
};

/// After an answer, the thread rests for this multiple of its CPU time. The two kinds of queries take 2 % of a
/// processor at most.
pub(super) const SHARE: u64 = 100;
/// Port of name servers.
const DOMAIN: u16 = 53;

/// State of the thread.
pub(super) struct Answerer {
    inspector: Inspector,
    handle: Handle,
    rest: Arc<Rest>,
    /// The thread after which the next search begins, by process.
    after: FxHashMap<u32, u32>,
    /// Threads that waited for a name server at the last search.
    resolving: FxHashSet<(u32, u32)>,
    /// An inaccessible namespace was reported.
    said_unseen: bool,
    /// Inaccessible threads were reported.
    said_forbidden: bool,
}

impl Answerer {
    /// The state at the beginning.
    pub(super) fn new(inspector: Inspector, handle: Handle, rest: Arc<Rest>) -> Self {
        Self {
            inspector,
            handle,
            rest,
            after: FxHashMap::default(),
            resolving: FxHashSet::default(),
            said_unseen: false,
            said_forbidden: false,
        }
    }

    /// Answers until the sender is gone.
    pub(super) fn run(mut self, questions: &Receiver<Question>) {
        let mut buffer = Vec::new();
        while let Ok(question) = questions.recv() {
            let begin = cpu_time();
            buffer.clear();
            self.answer(&question, &mut buffer);
            for event in events(&buffer) {
                self.handle.inject(&event);
            }
            let cost = cpu_time().saturating_sub(begin);
            let round = question.all.is_some() || !question.resolving.is_empty();
            let rest = if round { &self.rest.rounds } else { &self.rest.wanted };
            rest.store(sockdiag::now().0 + cost * SHARE, Ordering::Relaxed);
        }
    }

    fn answer(&mut self, question: &Question, buffer: &mut Vec<u8>) {
        for pid in &question.new_processes {
            if let Err(error) = self.inspector.add_namespace_of(*pid) {
                self.say_unseen(*pid, &error);
            }
        }
        // Answers before an error are valid.
        let _: io::Result<()> = question.all.iter().try_for_each(|open| self.inspector.reconcile(open, buffer));
        let _: io::Result<usize> = self.inspector.ask(&question.connections, buffer);
        let connections: FxHashSet<u64> = question.connections.iter().map(|inode| inode.0).collect();
        if self.after.len() > MAX_PROCESSES * MAX_PROCESSES {
            self.after.clear();
        }
        for (pid, tids) in &question.threads {
            self.say_forbidden(*pid);
            let after = self.after.entry(*pid).or_default();
            let wanted = Wanted { tids, connections: &connections, after: *after };
            *after = look(&mut self.inspector, *pid, wanted, buffer);
        }
        if !question.traced.is_empty() {
            // Events before an error are valid.
            let _ = self.inspector.look_at_listeners(&question.traced, buffer);
        }
        for pid in &question.resolving {
            self.look_for_queries(*pid, buffer);
        }
    }

    /// Reports, once, that connections in a namespace cannot be queried. A process that has ended has none.
    fn say_unseen(&mut self, pid: u32, error: &io::Error) {
        if !sockdiag::has_ended(error) && !std::mem::replace(&mut self.said_unseen, true) {
            say(&sockdiag::unseen_namespace(pid, error));
        }
    }

    /// Reports, once, that the state of threads is inaccessible.
    fn say_forbidden(&mut self, pid: u32) {
        if !self.said_forbidden
            && let Some(error) = threads::refused(pid)
        {
            self.said_forbidden = true;
            let why = sockdiag::why_refused(&error);
            say(&format!(
                "cannot read the thread states of process {pid} ({error}{why}): incidents of hanging calls lack them"
            ));
        }
    }

    /// Adds the threads that wait for a name server, and once those that no longer do. Datagrams have no events, so
    /// only a search shows that a name is being resolved.
    fn look_for_queries(&mut self, pid: u32, buffer: &mut Vec<u8>) {
        let after = self.after.entry(pid).or_default();
        let (mut waiting, last) = threads::receiving(pid, *after, sockdiag::now());
        *after = last;
        self.inspector.name_udp(&mut waiting);
        waiting.retain(|thread| thread.family != 0 && thread.remote_port == DOMAIN);
        let now: FxHashSet<(u32, u32)> = waiting.iter().map(|thread| (pid, thread.header.tid)).collect();
        let gone: Vec<u32> =
            self.resolving.iter().filter(|at| at.0 == pid && !now.contains(at)).map(|(_, tid)| *tid).collect();
        self.resolving.retain(|(of, _)| *of != pid);
        self.resolving.extend(now);
        for thread in waiting {
            Event::Thread(thread).encode(buffer);
        }
        if !gone.is_empty() {
            let connections = FxHashSet::default();
            look(&mut self.inspector, pid, Wanted { tids: &gone, connections: &connections, after: last }, buffer);
        }
    }
}

/// Adds the state of the threads of a process. Gives the last one, after which the next call may go on.
pub(in crate::app) fn look(inspector: &mut Inspector, pid: u32, wanted: Wanted<'_>, buffer: &mut Vec<u8>) -> u32 {
    let mut all = threads::look(pid, wanted, sockdiag::now());
    inspector.name_udp(&mut all);
    let last = all.last().map_or(0, |thread| thread.header.tid);
    for thread in all {
        Event::Thread(thread).encode(buffer);
    }
    last
}

/// CPU time of this thread in nanoseconds.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The events in a buffer of our own.
pub(in crate::app) fn events(mut buffer: &[u8]) -> impl Iterator<Item = Event<'_>> {
    std::iter::from_fn(move || {
        let event = Event::decode(buffer).ok()?;
        buffer = buffer.get(event.header().length as usize..).unwrap_or_default();
        Some(event)
    })
}
