//! Latest known states of threads.
//!
//! The state of a thread is valid until a look shows that the thread has exited; age alone does not end it. Looks are
//! rare while the prober rests, and the verdict on a call must not change for that. A look that covers all threads of a
//! process reveals those that have exited; a process with more threads needs several looks.

use rustc_hash::{FxHashMap, FxHashSet};

use super::evidence::{Doing, ThreadFact};
use crate::event::{
    Timestamp,
    wire::{ThreadEvent, flag, waits_on},
};

/// Maximum number of remembered threads.
const REMEMBERED: usize = 8192;
/// Half of the threads that a look covers: the other half may be threads that are wanted each time.
const IN_TURN: u32 = 32;
/// Number of rounds without a sighting after which a thread has exited, if looks do not cover all threads. Two more
/// looks allow for threads that start and exit meanwhile.
const ROUNDS: u32 = 2;
/// Time in nanoseconds without a look after which a process is removed. This removes children that a thread waited for:
/// if children are not followed, no event reports their exit. The time is longer than the prober ever rests.
const UNSEEN_NS: u64 = 60_000_000_000;
/// Minimum time in nanoseconds between two looks for computing the CPU share, as CPU time may be counted in timer
/// ticks.
const SHARE_FROM_NS: u64 = 20_000_000;
/// CPU share from which on a thread counts as computing.
pub(super) const COMPUTES: f64 = 0.5;
/// CPU share from which on a thread counts as computing if it is runnable and in no system call.
const RUNNABLE: f64 = 0.1;

/// Latest state of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thread {
    pub(super) latest: ThreadEvent,
    /// CPU share since the previous look, from 0 to 1.
    pub(super) share: Option<f64>,
    /// Time since which the thread is known not to have run.
    pub(super) still: Timestamp,
    /// Time since which the thread is known to wait for a name server.
    pub(super) query: Option<Timestamp>,
    /// Number of the process's look that saw the thread last.
    look: u32,
}

/// Port of the service `domain`.
const PORT: u16 = 53;
/// Maximum number of runs between two looks of a resolver that repeats its query after some seconds. One whose queries
/// are answered runs for each of them.
const RUNS_TO_ASK_AGAIN: u64 = 4;

fn is_query(event: &ThreadEvent) -> bool {
    event.family != 0 && event.remote_port == PORT && event.waits_on == waits_on::SOCKET
}

fn time_of(event: &ThreadEvent) -> Timestamp {
    Timestamp(event.header.time_ns)
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

impl Thread {
    fn take(&mut self, event: &ThreadEvent) {
        let passed = time_of(event).since(time_of(&self.latest));
        if passed >= SHARE_FROM_NS {
            let used = event.cpu_ns.saturating_sub(self.latest.cpu_ns);
            self.share = Some((used as f64 / passed as f64).min(1.0));
        }
        // Without the counter (0), activity between two looks is unknown.
        let same = event.runs == self.latest.runs && event.runs != 0 && event.call == self.latest.call;
        if !same {
            self.still = time_of(event);
        }
        let goes_on = event.runs.saturating_sub(self.latest.runs) <= RUNS_TO_ASK_AGAIN;
        self.query = is_query(event).then(|| self.query.filter(|_| goes_on).unwrap_or(time_of(event)));
        self.latest = *event;
    }

    pub(super) fn time(&self) -> Timestamp {
        time_of(&self.latest)
    }

    fn call(&self) -> String {
        text(&self.latest.call_name)
    }

    /// Activity according to state and system call alone.
    pub(super) fn doing(&self) -> Doing {
        let call = self.call();
        match self.latest.state {
            b'T' | b't' => return Doing::Stopped,
            b'D' => return Doing::Uninterruptible,
            _ => {}
        }
        // If other threads compete for the processors, the thread gets less CPU than it could use.
        let runnable = self.latest.state == b'R' && call.is_empty();
        if self.share.is_some_and(|share| share >= if runnable { RUNNABLE } else { COMPUTES }) {
            return Doing::OnCpu;
        }
        match &*call {
            "" => Doing::Runs,
            // With a timeout it is a sleep, or a wait that ends by itself.
            call if call.starts_with("futex") => {
                if self.latest.timed != 0 {
                    Doing::Sleep
                } else {
                    Doing::Lock
                }
            }
            "wait4" | "waitid" => Doing::Child,
            call if call.contains("nanosleep") => Doing::Sleep,
            "poll" | "ppoll" | "select" | "pselect6" if self.latest.waits_on == waits_on::NOTHING => Doing::Sleep,
            "accept" | "accept4" => Doing::EventLoop,
            _ => match self.latest.waits_on {
                waits_on::SOCKET => Doing::Socket,
                waits_on::EPOLL | waits_on::SEVERAL => Doing::EventLoop,
                waits_on::PIPE => Doing::Pipe,
                waits_on::FILE => Doing::File,
                _ => Doing::Other,
            },
        }
    }

    /// Whether the thread waits for another one, with or without a timeout.
    pub(super) fn waits_in_futex(&self) -> bool {
        matches!(self.doing(), Doing::Lock | Doing::Sleep) && self.call().starts_with("futex")
    }

    /// Child process that the thread waits for; 0 if unknown.
    fn child(&self) -> Option<u32> {
        (self.doing() == Doing::Child).then_some(self.latest.argument as u32)
    }

    /// Thread name.
    pub(super) fn name(&self) -> String {
        text(&self.latest.name)
    }

    /// State for display and JSON.
    fn fact(&self, now: Timestamp) -> ThreadFact {
        let call = self.call();
        ThreadFact {
            tid: self.latest.header.tid,
            name: self.name().into(),
            state: char::from(self.latest.state),
            call: (!call.is_empty()).then(|| call.into()),
            wait_channel: Some(text(&self.latest.wait_channel)).filter(|channel| !channel.is_empty()).map(Into::into),
            doing: self.doing(),
            cpu: self.share,
            still_ns: now.since(self.still),
            peer: None,
            child: self.child().filter(|child| *child != 0).map(|child| (child, "".into())),
            socket: (self.latest.connection != 0).then_some(self.latest.connection),
        }
    }
}

/// Threads of a process.
#[derive(Debug, Default)]
struct Process {
    threads: FxHashMap<u32, Thread>,
    /// Number of complete looks.
    looks: u32,
    /// Time at which any of its threads was last seen.
    latest: Timestamp,
}

impl Process {
    /// Completes a look at the process: removes the threads that have exited.
    fn looked(&mut self, last: &ThreadEvent) {
        self.looks = self.looks.wrapping_add(1);
        // All events of a look have the same time.
        let time = time_of(last);
        let seen = self.threads.values().filter(|thread| thread.time() == time).count();
        if last.threads == 0 {
            return;
        }
        if seen >= last.threads as usize {
            self.threads.retain(|_, thread| thread.time() >= time);
        } else {
            let most = ROUNDS.saturating_mul(last.threads.div_ceil(IN_TURN)).saturating_add(2);
            let looks = self.looks;
            self.threads.retain(|_, thread| looks.wrapping_sub(thread.look) <= most);
        }
    }
}

/// Threads of all processes.
#[derive(Debug, Default)]
pub(super) struct Threads {
    processes: FxHashMap<u32, Process>,
    /// Number of threads of all processes.
    count: usize,
}

impl Threads {
    pub(super) fn take(&mut self, event: &ThreadEvent) {
        let (pid, tid) = (event.header.tgid, event.header.tid);
        let is_new = self.get(pid, tid).is_none();
        if is_new && self.count >= REMEMBERED {
            self.make_room();
        }
        let query = is_query(event).then(|| time_of(event));
        let process = self.processes.entry(pid).or_default();
        let look = process.looks;
        let thread = Thread { latest: *event, share: None, still: time_of(event), query, look };
        let known = process.threads.entry(tid).and_modify(|known| known.take(event)).or_insert(thread);
        known.look = look;
        process.latest = process.latest.max(time_of(event));
        self.count += usize::from(is_new);
        if event.header.flags & flag::LOOKED != 0 {
            let before = process.threads.len();
            process.looked(event);
            self.count -= before - process.threads.len();
        }
    }

    /// Removes the half of the threads that was not seen for the longest time, and processes without threads.
    fn make_room(&mut self) {
        let mut times: Vec<Timestamp> = self.all().map(Thread::time).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        self.processes.retain(|_, process| {
            process.threads.retain(|_, thread| thread.time() > middle);
            !process.threads.is_empty()
        });
        self.count = self.all().count();
    }

    /// Removes processes that are no longer examined.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.processes.retain(|_, process| now.since(process.latest) < UNSEEN_NS);
        self.count = self.all().count();
    }

    fn all(&self) -> impl Iterator<Item = &Thread> {
        self.processes.values().flat_map(|process| process.threads.values())
    }

    pub(super) fn forget(&mut self, pid: u32) {
        if let Some(process) = self.processes.remove(&pid) {
            self.count -= process.threads.len();
        }
    }

    pub(super) fn get(&self, pid: u32, tid: u32) -> Option<&Thread> {
        self.processes.get(&pid)?.threads.get(&tid)
    }

    fn of_process(&self, pid: u32) -> impl Iterator<Item = &Thread> {
        self.processes.get(&pid).into_iter().flat_map(|process| process.threads.values())
    }

    /// Number of processors that the threads of a process used in total between their last two looks, if seen at or
    /// after `since`, and the number of threads with any use. Runtimes that move work between threads (Go, Java) use
    /// none of them for long.
    pub(super) fn computing(&self, pid: u32, since: Timestamp) -> (f64, usize) {
        let shares = self.of(pid, since).into_iter().filter_map(|thread| thread.share).filter(|share| *share > 0.0);
        shares.fold((0.0, 0), |(sum, count), share| (sum + share, count + 1))
    }

    /// State of the thread, with the name of its awaited child if the same look saw that child. An older sighting may
    /// belong to another process with the same PID.
    pub(super) fn fact(&self, thread: &Thread, now: Timestamp) -> ThreadFact {
        let mut fact = thread.fact(now);
        if let Some((pid, name)) = &mut fact.child
            && let Some(child) = self.get(*pid, *pid).filter(|child| child.time() >= thread.time())
        {
            *name = child.name().into();
        }
        fact
    }

    /// Inode numbers of sockets that threads wait on.
    pub(super) fn waited_on(&self) -> FxHashSet<u64> {
        let all = self.all().map(|thread| thread.latest.connection);
        all.filter(|inode| *inode != 0).collect()
    }

    /// Whether any thread of the process was seen at or after `since`.
    pub(super) fn seen(&self, pid: u32, since: Timestamp) -> bool {
        self.of_process(pid).any(|thread| thread.time() >= since)
    }

    /// Threads of a process that were seen at or after `since`, by ascending ID.
    pub(super) fn of(&self, pid: u32, since: Timestamp) -> Vec<&Thread> {
        let mut threads: Vec<&Thread> = self.of_process(pid).filter(|thread| thread.time() >= since).collect();
        threads.sort_unstable_by_key(|thread| thread.latest.header.tid);
        threads
    }

    /// Thread that waits on this connection alone, if seen at or after `since`.
    pub(super) fn blocked_on(&self, pid: u32, inode: u64, since: Timestamp) -> Option<&Thread> {
        let waits = |thread: &&Thread| {
            thread.latest.connection == inode && thread.latest.waits_on == waits_on::SOCKET && thread.time() >= since
        };
        self.of_process(pid).filter(waits).min_by_key(|thread| thread.latest.header.tid)
    }

    /// Threads that wait on a UDP socket connected to a name server, with the start of the wait.
    pub(super) fn queries(&self) -> impl Iterator<Item = (&Thread, Timestamp)> {
        self.all().filter_map(|thread| Some((thread, thread.query?)))
    }
}

#[cfg(test)]
mod tests;
