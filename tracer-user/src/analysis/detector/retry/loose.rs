//! Attempts made by several threads or children in turn.
//!
//! ```text
//! thread 1  |--503|
//! thread 2            |--503|                       one after the other, never two at once,
//! thread 3                            |--503|       with gaps that are equal or grow
//! ```
//!
//! A job in a thread pool is retried by any free thread, and a shell that waits for a service starts a child for each
//! attempt. Other programs make the same call in several threads for independent reasons. Such attempts are therefore
//! collected apart from the reported chains, until their gaps show that one clock produced them. They are no chain if
//! they are made for different callers, overlap, or also succeed in between.

use rustc_hash::FxHashMap;

use super::{
    ChainId, Pattern, Retry, RetryThresholds,
    bond::Beginning,
    call::{self, Call},
    chain::{Chain, Doing, Ended},
    rhythm::Habit,
};
use crate::{analysis::detector::Findings, event::Timestamp, model::exchange::ExchangeId};

/// Maximum number of tracked calls; at the limit, all are dropped.
const MOST: usize = 1024;
/// Maximum number of remembered children; at the limit, all are dropped.
const MOST_CHILDREN: usize = 65_536;
/// Number of attempts after which a pattern must have shown.
const MOST_ATTEMPTS: u32 = 8;
/// Pause in nanoseconds after which a rejected call is tracked anew.
const AGAIN_NS: u64 = 10_000_000_000;

/// Calls that may be attempts of one chain.
#[derive(Debug)]
struct Loose {
    chain: Chain,
    root: u32,
    /// Whether the calls are ruled out as a chain.
    broken: bool,
    /// Time of the latest call.
    seen: Timestamp,
    /// Threads that made the calls, in order.
    threads: Vec<u32>,
    /// Whether each call was made by a child that exited before the next.
    children: bool,
    /// Whether the child of the latest call has exited.
    gone: bool,
}

/// Calls that may continue in another thread or child, and the family of each process.
#[derive(Debug, Default)]
pub(super) struct AllLoose {
    calls: FxHashMap<u64, Loose>,
    /// Key of the call for each attempt.
    by_exchange: FxHashMap<ExchangeId, u64>,
    /// Key of the call that a refused connect may belong to, by the key of the connect.
    by_connect: FxHashMap<u64, u64>,
    roots: FxHashMap<u32, u32>,
}

impl AllLoose {
    /// Process that is the common ancestor of this one and its siblings.
    pub(super) fn root(&self, pid: u32) -> u32 {
        self.roots.get(&pid).copied().unwrap_or(pid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn forked(&mut self, parent: u32, child: u32) {
        if self.roots.len() >= MOST_CHILDREN {
            self.roots.clear();
        }
        self.roots.insert(child, self.root(parent));
    }

    /// Handles the exit of a process.
    pub(super) fn ended(&mut self, pid: u32) {
        self.roots.remove(&pid);
        if self.calls.is_empty() {
            return;
        }
        let orphans: Vec<u64> = self.calls.iter().filter(|(_, loose)| loose.root == pid).map(|(key, _)| *key).collect();
        for key in orphans {
            self.remove(key);
        }
        for loose in self.calls.values_mut() {
            loose.gone |= loose.chain.process.pid == pid;
        }
    }

    /// Handles a success, which ends all assumptions about earlier calls.
    pub(super) fn succeeded(&mut self, key: u64) {
        if !self.calls.is_empty() {
            self.remove(key);
        }
    }

    /// Reserves the attempts of a chain: calls that share one of them are no separate chain, even after this chain is
    /// removed.
    pub(super) fn claim(&mut self, chain: &Chain) {
        // Attempts that are no longer listed were claimed earlier.
        if self.calls.is_empty() || (chain.opened.is_none() && chain.attempts <= MOST_ATTEMPTS) {
            return;
        }
        for exchange in chain.listed.iter().filter_map(|attempt| attempt.exchange) {
            if let Some(loose) = self.by_exchange.get(&exchange).and_then(|key| self.calls.get_mut(key)) {
                loose.broken = true;
            }
        }
    }

    fn remove(&mut self, key: u64) -> Option<Loose> {
        let loose = self.calls.remove(&key)?;
        for exchange in loose.chain.listed.iter().filter_map(|attempt| attempt.exchange) {
            self.by_exchange.remove(&exchange);
        }
        if self.by_connect.get(&loose.chain.keys[1]) == Some(&key) {
            self.by_connect.remove(&loose.chain.keys[1]);
        }
        Some(loose)
    }

    fn insert(&mut self, key: u64, loose: Loose) {
        if self.calls.len() >= MOST {
            self.calls.clear();
            self.by_exchange.clear();
            self.by_connect.clear();
        }
        for exchange in loose.chain.listed.iter().filter_map(|attempt| attempt.exchange) {
            self.by_exchange.insert(exchange, key);
        }
        self.by_connect.insert(loose.chain.keys[1], key);
        self.calls.insert(key, loose);
    }
}

impl Loose {
    /// Whether more than one thread made the calls.
    fn is_handed_on(&self) -> bool {
        self.threads.windows(2).any(|pair| pair[0] != pair[1])
    }

    /// Whether the latest thread made an earlier call, with other threads in between. Such a thread could soon seem to
    /// retry on its own.
    fn has_come_back(&self) -> bool {
        let Some((last, before)) = self.threads.split_last() else { return false };
        before.last() != Some(last) && before.contains(last)
    }

    /// Whether one clock produced the gaps, as chance would seldom do.
    fn is_sure(&self, thresholds: &RetryThresholds) -> bool {
        let fit = &self.chain.fit;
        let regular = matches!(
            fit.pattern,
            Some(Pattern::Constant | Pattern::Exponential | Pattern::Linear | Pattern::RetryAfter)
        );
        let shown = match self.chain.attempts {
            0..=2 => false,
            3 => regular && (self.children || self.has_come_back()),
            4 => regular && (self.children || self.has_come_back() || fit.settled),
            _ => regular || fit.pattern == Some(Pattern::ExponentialJitter),
        };
        shown && self.is_handed_on() && self.chain.is_sure(thresholds)
    }
}

impl Retry {
    /// Handles a call that may continue calls of other threads or children. Returns the chain if this call proves it.
    pub(super) fn begins_loosely(
        &mut self,
        beginning: &Beginning<'_>,
        exchange: ExchangeId,
        connects: bool,
        now: Timestamp,
        findings: &mut Findings,
    ) -> Option<ChainId> {
        if self.loose.calls.is_empty() {
            return None;
        }
        let started = beginning.started;
        let root = self.loose.root(beginning.process.pid);
        let key = match &beginning.request {
            Some((request, _)) => call::key(root, request, beginning.remote),
            None => call::connect_key(root, beginning.remote),
        };
        let by_connect = || {
            let known = self.loose.by_connect.get(&call::connect_key(root, beginning.remote)).filter(|_| connects)?;
            // A connect does not prove that two requests are the same.
            let both = beginning.request.is_some() && self.loose.calls.get(known)?.chain.call.method.is_some();
            (!both).then_some(*known)
        };
        let known = if self.loose.calls.contains_key(&key) { key } else { by_connect()? };
        let loose = self.loose.calls.get_mut(&known)?;
        let (_, ended) = loose.chain.span();
        if started > loose.chain.deadline || (loose.broken && started.since(loose.seen) > AGAIN_NS) {
            self.loose.remove(known);
            return None;
        }
        if let Some((request, marks)) = &beginning.request
            && loose.chain.call.method.is_some()
            && (!loose.chain.call.is_of(request, beginning.remote) || loose.chain.marks.contradict(marks))
        {
            return None;
        }
        loose.seen = started;
        let first = loose.chain.listed.first().map_or(started, |first| first.started);
        let for_another = self.callers.oldest().is_some_and(|oldest| oldest > first);
        let at_once = started.since(ended) <= self.thresholds.immediate.as_nanos() as u64;
        loose.broken |= for_another
            || at_once
            || loose.chain.doing != Doing::Waiting
            || self.rhythms.habit(key, loose.chain.span(), started) != Habit::None;
        if loose.broken {
            return None;
        }
        let mut loose = self.loose.remove(known)?;
        loose.children &= loose.gone && loose.chain.process.pid != beginning.process.pid;
        loose.gone = false;
        loose.threads.push(beginning.process.tid);
        loose.chain.process = beginning.process.clone();
        loose.chain.begin(Some(exchange), started, beginning.remote, &self.thresholds);
        loose.chain.doing = Doing::Trying(exchange);
        if let Some((request, marks)) = &beginning.request {
            loose.chain.call = Call::of(request, beginning.remote);
            loose.chain.marks = *marks;
            loose.chain.keys[0] = key;
        }
        self.tell_loose(loose, exchange, now, findings)
    }

    /// Turns the calls into a chain if the evidence suffices, otherwise keeps them.
    fn tell_loose(
        &mut self,
        mut loose: Loose,
        exchange: ExchangeId,
        now: Timestamp,
        findings: &mut Findings,
    ) -> Option<ChainId> {
        if !loose.is_sure(&self.thresholds) {
            // Too many attempts without a pattern, and no room for more.
            loose.broken |= loose.chain.attempts > MOST_ATTEMPTS;
            self.loose.insert(loose.chain.keys[0], loose);
            return None;
        }
        let is_of = |chain: &Chain| {
            let mut theirs = chain.listed.iter().filter_map(|attempt| attempt.exchange);
            theirs.any(|exchange| loose.chain.listed.iter().any(|attempt| attempt.exchange == Some(exchange)))
        };
        let (told, alone): (Vec<_>, Vec<_>) = self
            .chains
            .iter()
            .filter(|(_, chain)| is_of(chain))
            .map(|(id, chain)| (*id, chain.opened))
            .partition(|(_, opened)| opened.is_some());
        if !told.is_empty() {
            loose.broken = true;
            self.loose.insert(loose.chain.keys[0], loose);
            return None;
        }
        for (id, _) in alone {
            self.forget(id);
        }
        let mut chain = loose.chain;
        chain.loose = Some(loose.root);
        chain.confidence.inferred = vec![if loose.children {
            "the same call, one child after the other, with a backoff"
        } else {
            "the same call, one thread after the other, with a backoff"
        }];
        let id = self.insert(chain);
        self.by_exchange.insert(exchange, id);
        self.tell(id, now, findings);
        Some(id)
    }

    /// Records a failed call that is an attempt of chain `id`.
    pub(super) fn fails_loosely(&mut self, exchange: ExchangeId, ended: Ended, id: ChainId) {
        let Some(chain) = self.chains.get(&id).filter(|chain| chain.loose.is_none()) else { return };
        let latest = |loose: &&mut Loose| loose.chain.listed.last().is_some_and(|last| last.exchange == Some(exchange));
        let known = self.loose.by_exchange.get(&exchange).and_then(|key| self.loose.calls.get_mut(key));
        if let Some(loose) = known.filter(latest) {
            if loose.chain.doing == Doing::Trying(exchange) {
                loose.chain.fail(ended, &self.thresholds);
            } else if let Some(last) = loose.chain.listed.last_mut() {
                last.ended = Some(ended.time);
            }
            return;
        }
        let Some(last) = chain.listed.last().filter(|last| last.exchange == Some(exchange)) else { return };
        let root = self.loose.root(chain.process.pid);
        let key = chain.call.key(root);
        if let Some(loose) = self.loose.calls.get_mut(&key) {
            // The call was in flight before these began, or is an independent call in between.
            loose.broken |= chain.call == loose.chain.call && !chain.marks.contradict(&loose.chain.marks);
            loose.seen = ended.time;
            return;
        }
        let keys = [key, call::connect_key(root, &chain.remote)];
        let mut first = Chain::new(chain.call.clone(), chain.marks, keys, chain.process.clone(), chain.upstream);
        first.remote.clone_from(&chain.remote);
        first.addresses.clone_from(&chain.addresses);
        first.served = chain.served;
        first.begin(Some(exchange), last.started, &chain.remote, &self.thresholds);
        first.fail(ended, &self.thresholds);
        let threads = vec![chain.process.tid];
        // An attempt of a reported chain belongs to no other chain.
        let broken = chain.caller.is_some() || chain.opened.is_some();
        let loose = Loose { chain: first, root, broken, seen: ended.time, threads, children: true, gone: false };
        self.loose.insert(key, loose);
    }
}
