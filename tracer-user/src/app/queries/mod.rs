//! Queries of the kernel while a trace runs. Queues and threads show why calls hang; bytes that moved without a traced
//! call show paths that are not seen.
//!
//! One thread queries, and rests after each answer: queries take at most two parts in [`SHARE`](answer::SHARE) of one
//! processor. Calls that may hang and the rounds over all connections rest separately, so that an expensive round does
//! not delay a verdict.

mod answer;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
};

use answer::Answerer;
pub(super) use answer::{events, look};
use rustc_hash::{FxHashMap, FxHashSet};
use tracer_common::event::{flag, tcp, tcp_state};

use super::message::say;
use crate::{
    event::{Event, SocketInode, wire::process},
    host::{
        capture::Handle,
        confine::{self, Duty},
        sockdiag::Inspector,
        task,
    },
};

/// Nanoseconds between two rounds over all connections, which find bytes that were not seen. A round dumps all TCP
/// sockets of the namespace.
const INTERVAL_NS: u64 = 1_000_000_000;
/// Nanoseconds between two queries about the connections on the screen, where no round covers them.
const WATCH_NS: u64 = INTERVAL_NS + INTERVAL_NS / 10;
/// With more open connections, rounds are not worth their cost.
const MAX_CONNECTIONS: usize = 20_000;
/// Processes whose threads one answer covers, at most.
const MAX_PROCESSES: usize = 16;
/// Processes that executed a program since the last query, at most. Their namespaces are added. Creating a namespace
/// takes longer than a query, so the limit loses none.
const MAX_NEW: usize = 1024;
/// `IPPROTO_TCP`, `IPPROTO_MPTCP`.
const WITH_STATES: [u16; 2] = [6, 262];

/// End of the thread's rest from each kind of query.
#[derive(Debug, Default)]
struct Rest {
    wanted: AtomicU64,
    rounds: AtomicU64,
}

/// A set of queries.
#[derive(Default)]
struct Question {
    /// Connections with open calls.
    connections: Vec<SocketInode>,
    /// All open connections with their namespaces, where a round is due.
    all: Option<FxHashMap<u64, u32>>,
    /// Processes, with the most important threads of each.
    threads: Vec<(u32, Vec<u32>)>,
    /// Processes to be searched for threads that wait for a name server.
    resolving: Vec<u32>,
    /// All traced processes, for their listening sockets, where a round is due.
    traced: Vec<u32>,
    /// Processes that may have a namespace of their own.
    new_processes: Vec<u32>,
}

/// The open connections, and the pending requests of the engine.
pub(super) struct Queries {
    /// Network namespace of each open connection, by inode.
    open: FxHashMap<u64, u32>,
    new_processes: Vec<u32>,
    asked_all: u64,
    /// Time of the last query about the connections on the screen.
    watched: u64,
    wanted: FxHashSet<u64>,
    wanted_threads: FxHashMap<u32, Vec<u32>>,
    /// Traced processes, and the next one to be searched.
    processes: BTreeSet<u32>,
    next_process: u32,
    looked_over: u64,
    /// Time of the last tick.
    now: u64,
    rest: Arc<Rest>,
    questions: Option<SyncSender<Question>>,
}

impl Queries {
    /// Starts the thread that queries. Where the system refuses the thread, nothing is queried, and a message reports
    /// it.
    pub(super) fn start(inspector: Inspector, handle: Handle) -> Self {
        let (sender, receiver) = sync_channel(1);
        let rest = Arc::new(Rest::default());
        let answerer = Answerer::new(inspector, handle, Arc::clone(&rest));
        let thread = confine::spawn("pidtap-probe", Duty::Look, move || answerer.run(&receiver));
        if let Err(error) = &thread {
            say(&format!(
                "cannot start the thread that queries the kernel about connections ({error}): the causes of hanging \
                 calls remain unknown"
            ));
        }
        Self {
            open: FxHashMap::default(),
            new_processes: Vec::new(),
            asked_all: 0,
            watched: 0,
            wanted: FxHashSet::default(),
            wanted_threads: FxHashMap::default(),
            processes: BTreeSet::new(),
            next_process: 0,
            looked_over: 0,
            now: 0,
            rest,
            questions: thread.is_ok().then_some(sender),
        }
    }

    /// Requests the kernel's state of a connection with an open call.
    pub(super) fn want_connection(&mut self, inode: u64) {
        if self.wanted.len() < MAX_CONNECTIONS {
            self.wanted.insert(inode);
        }
    }

    /// True where [`watch`](Self::watch) is due. A round over all connections counts as well.
    pub(super) fn is_time_to_watch(&self) -> bool {
        self.now.saturating_sub(self.watched.max(self.asked_all)) >= WATCH_NS
    }

    /// Requests the kernel's state of the connections on the screen.
    pub(super) fn watch(&mut self, inodes: &[u64]) {
        self.watched = self.now;
        for inode in inodes {
            self.want_connection(*inode);
        }
    }

    /// Requests the state of the threads of a process, of `tid` first.
    pub(super) fn want_threads(&mut self, pid: u32, tid: u32) {
        if self.wanted_threads.len() >= MAX_PROCESSES && !self.wanted_threads.contains_key(&pid) {
            return;
        }
        let tids = self.wanted_threads.entry(pid).or_default();
        if tid != 0 && tids.len() < task::MAX_THREADS && !tids.contains(&tid) {
            tids.push(tid);
        }
    }

    /// Takes an event.
    pub(super) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Socket(event)
                if WITH_STATES.contains(&event.protocol)
                    && event.state != tcp_state::CLOSE
                    && self.open.len() < MAX_CONNECTIONS =>
            {
                self.open.insert(event.connection, event.netns);
            }
            // A connection that the target closes has no further events: its socket has lost its inode.
            Event::Tcp(event)
                if event.what == tcp::STATE
                    && matches!(event.new_state, tcp_state::CLOSE | tcp_state::FIN_WAIT1 | tcp_state::LAST_ACK) =>
            {
                self.open.remove(&event.connection);
            }
            Event::Probe(event) if event.header.flags & flag::GONE != 0 => drop(self.open.remove(&event.connection)),
            Event::Process(event) => match event.action {
                process::EXIT => drop(self.processes.remove(&event.header.tgid)),
                process::EXEC if event.header.flags & flag::REFUSED != 0 => {
                    self.processes.remove(&event.header.tgid);
                }
                action => {
                    if action == process::EXEC && self.new_processes.len() < MAX_NEW {
                        self.new_processes.push(event.header.tgid);
                    }
                    let pid = if action == process::FORK { event.other_tgid } else { event.header.tgid };
                    if self.processes.len() < MAX_CONNECTIONS {
                        self.processes.insert(pid);
                    }
                }
            },
            Event::Tick(tick) => self.now = tick.header.time_ns,
            _ => {}
        }
    }

    /// Sends the queries that are due. Never waits.
    pub(super) fn ask(&mut self) {
        let now = self.now;
        let wants = !self.wanted.is_empty() || !self.wanted_threads.is_empty();
        if wants && now >= self.rest.wanted.load(Ordering::Relaxed) {
            self.ask_wanted();
        } else if now >= self.rest.rounds.load(Ordering::Relaxed) {
            self.ask_round(now);
        }
    }

    /// Sends the queries about calls that may hang.
    fn ask_wanted(&mut self) {
        let question = Question {
            connections: self.wanted.iter().map(|inode| SocketInode(*inode)).collect(),
            threads: self.wanted_threads.iter().map(|(pid, tids)| (*pid, tids.clone())).collect(),
            ..Question::default()
        };
        if self.send(question) {
            self.wanted.clear();
            self.wanted_threads.clear();
        }
    }

    /// Sends the queries of a round.
    fn ask_round(&mut self, now: u64) {
        let all = now.saturating_sub(self.asked_all) >= INTERVAL_NS
            && !self.open.is_empty()
            && self.open.len() < MAX_CONNECTIONS;
        let look_over = now.saturating_sub(self.looked_over) >= INTERVAL_NS && !self.processes.is_empty();
        if !all && !look_over {
            return;
        }
        let question = Question {
            all: all.then(|| self.open.clone()),
            resolving: if look_over { self.next_processes() } else { Vec::new() },
            traced: if look_over { self.processes.iter().copied().collect() } else { Vec::new() },
            ..Question::default()
        };
        if self.send(question) {
            if all {
                self.asked_all = now;
            }
            if look_over {
                self.looked_over = now;
            }
        }
    }

    /// Hands queries to the thread. False while it is still busy.
    fn send(&mut self, mut question: Question) -> bool {
        question.new_processes = std::mem::take(&mut self.new_processes);
        let Some(questions) = &self.questions else { return false };
        match questions.try_send(question) {
            Ok(()) => return true,
            Err(TrySendError::Full(question)) => self.new_processes = question.new_processes,
            Err(TrySendError::Disconnected(_)) => self.questions = None,
        }
        false
    }
}

impl Queries {
    /// The next few processes, in turn.
    fn next_processes(&mut self) -> Vec<u32> {
        let (later, first) = (self.processes.range(self.next_process..), self.processes.range(..self.next_process));
        let some: Vec<u32> = later.chain(first).take(MAX_PROCESSES).copied().collect();
        self.next_process = some.last().map_or(0, |pid| pid + 1);
        some
    }
}
