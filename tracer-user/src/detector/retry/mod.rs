//! Retry chains: a call that failed is made again.
//!
//! ```text
//!                    joins                      fails
//! failed call ---> (waits) ---> attempt under way ---> (waits) ---> ...   no more than expected: given up
//!                                      |
//!                                      +--> answered: recovered
//! ```
//!
//! A request joins a chain when a call of the same process with the same method, authority, path and body has failed
//! and waits; a connect joins one whose connect to the same address failed. What programs say themselves (idempotency
//! keys, attempt numbers, trace ids) decides before anything that is concluded. A chain is an incident from the start of
//! its second attempt, unless something speaks against it, which more attempts must first outweigh:
//!
//! * the call has a rhythm through success (a poller, [`rhythm`]): then it is none at all;
//! * it comes after a long, always equal time: so do scrapers that fail for ever;
//! * it looks like a health check;
//! * the failure is a 4xx that asks for no retry;
//! * a transport sent it again at once because the connection it used had been closed while it idled.

mod call;
mod caller;
mod chain;
mod evidence;
mod pattern;
mod rhythm;
#[cfg(test)]
mod tests;
mod threads;
mod upstream;

use std::{collections::BTreeMap, time::Duration};

use call::{Call, Keys, Marks};
use caller::Callers;
use chain::{Chain, Doing, Ended};
pub use evidence::{Attempt, Caller, Failure, Pattern, RetryEvidence, RetryResult};
use rhythm::{Habit, Rhythms};
use rustc_hash::FxHashMap;
use threads::Threads;
use upstream::Upstreams;

use super::{About, Detect, Findings, Observation, OpenConnection, threshold::thresholds};
use crate::{
    connection::{ConnectionId, Endpoint, Role},
    event::Timestamp,
    exchange::{Exchange, ExchangeId, OpenExchange, Outcome, ProcessRef, Quality, Request, Response, Step},
};

thresholds! {
    /// What the retry detector goes by.
    pub struct RetryThresholds {
        /// a failed call waits so long for its first retry
        window: Duration = Duration::from_mins(1),
        /// an attempt that cannot be foretold is waited for this long at least, and four times the longest gap
        give_up_after: Duration = Duration::from_secs(5),
        /// no attempt is waited for any longer, unless the server asks for it
        longest: Duration = Duration::from_mins(15),
        /// gaps up to this are no backoff
        immediate: Duration = Duration::from_millis(20),
        /// gaps from this on that stay equal are a poller's, unless more than the call itself speaks for a retry
        poll_gap: Duration = Duration::from_secs(5),
        /// a transport that finds an idle connection closed sends again within this time
        resend: Duration = Duration::from_millis(50),
        /// attempts with gaps up to this ...
        hot_gap: Duration = Duration::from_millis(20),
        /// ... are a hot loop when there are so many
        hot_attempts: u32 = 5,
        /// so many chains to one upstream that retry at the same moments are in step
        in_step: u32 = 5,
    }
}

/// Calls that failed and wait, at most. What is forgotten is no longer followed; the oldest go first.
const MOST_CHAINS: usize = 4096;
/// Chains of one call that are looked at to find the one that a request belongs to.
const MOST_CANDIDATES: usize = 128;
/// From here on a chain is not told of at each attempt, but so often.
const CHATTY: u32 = 16;
const TELL_EVERY_NS: u64 = 1_000_000_000;
/// A connection that carries no HTTP has shown by then that the connect was all.
const QUIET_NS: u64 = 1_000_000_000;
/// An address of the other family is tried after this time at most, within one attempt (RFC 8305).
const FALLBACK_NS: u64 = 300_000_000;
/// Events of two threads may be this much out of order.
const SKEW_NS: u64 = 1_000_000;

/// A client that closes after so long a silence within the answer did not want to wait any longer.
const STALLED_NS: u64 = 500_000_000;
/// What a response's body adds to the end of an attempt is told from here on.
const WORTH_TELLING_NS: u64 = 5_000_000;

type ChainId = u64;

/// A connect that failed, over IPv6: one over IPv4 may follow and mean the same attempt.
#[derive(Clone, Copy, Debug)]
struct Fallback {
    tid: u32,
    port: u16,
    chain: ChainId,
    ended: Timestamp,
}

/// Finds retry chains.
#[derive(Debug)]
pub struct Retry {
    thresholds: RetryThresholds,
    chains: BTreeMap<ChainId, Chain>,
    last_chain: ChainId,
    by_key: FxHashMap<u64, Vec<ChainId>>,
    keys: Keys,
    by_exchange: FxHashMap<ExchangeId, ChainId>,
    by_connection: FxHashMap<ConnectionId, ChainId>,
    /// Chains that an inbound exchange waits for.
    awaited: FxHashMap<ExchangeId, Vec<ChainId>>,
    callers: Callers,
    /// What was asked of the target by those who got a failure.
    failed_callers: std::collections::VecDeque<u64>,
    rhythms: Rhythms,
    threads: Threads,
    upstreams: Upstreams,
    fallback: Option<Fallback>,
    next_look: Timestamp,
}

impl Detect for Retry {
    type Thresholds = RetryThresholds;
    type Evidence = RetryEvidence;
    const ABOUT: About = About {
        looks_for: "a call that failed and is made again: how often, with what backoff, and how it ends",
        example: "POST gateway:8080/v1/charges was given up after 4 attempts (last: 503); the caller got 502",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self {
            thresholds,
            chains: BTreeMap::new(),
            last_chain: 0,
            by_key: FxHashMap::default(),
            keys: Keys::default(),
            by_exchange: FxHashMap::default(),
            by_connection: FxHashMap::default(),
            awaited: FxHashMap::default(),
            callers: Callers::default(),
            failed_callers: std::collections::VecDeque::new(),
            rhythms: Rhythms::default(),
            threads: Threads::default(),
            upstreams: Upstreams::default(),
            fallback: None,
            next_look: Timestamp(u64::MAX),
        }
    }

    fn wants(&self, step: Step, role: Role) -> bool {
        match (role, step) {
            (_, Step::RequestHead) | (Role::Server, Step::ResponseHead) => false,
            (Role::Client, _) => true,
            (Role::Server, Step::RequestDone) => self.callers.are_wanted(),
        }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Exchange(Step::RequestDone, exchange) => match exchange.role {
                Role::Client => self.asks(exchange, now, findings),
                Role::Server => self.callers.began(exchange),
            },
            Observation::Exchange(Step::ResponseHead, exchange) if exchange.role == Role::Client => {
                if exchange.thread != exchange.process.tid {
                    self.threads.takes_turns(exchange.process.pid);
                }
                self.is_answered(exchange, now, findings);
            }
            Observation::Finished(exchange) => match exchange.role {
                Role::Client => self.finished(exchange, now, findings),
                Role::Server => self.caller_answered(exchange, now, findings),
            },
            Observation::Connecting(connection) => self.connects(connection, false, now, findings),
            Observation::Connected(connection) => self.connects(connection, true, now, findings),
            Observation::ProcessEnded(pid) => self.process_ended(*pid, now, findings),
            Observation::Tick(_) if now >= self.next_look => self.look(now, findings),
            Observation::Exchange(..)
            | Observation::Closed(_)
            | Observation::Probe(..)
            | Observation::Thread(_)
            | Observation::Tick(_)
            | Observation::End => {}
        }
    }
}

/// An attempt that begins.
struct Beginning<'a> {
    process: &'a ProcessRef,
    started: Timestamp,
    request: Option<(&'a Request, Marks)>,
    remote: &'a str,
    key: u64,
}

/// What a chain and an attempt have in common.
#[derive(Default)]
struct Bond {
    explicit: Vec<&'static str>,
    caller: Option<Caller>,
    doubtful: bool,
    /// Smaller is better.
    distance: f64,
}

impl Retry {
    /// The target sent a request.
    fn asks(&mut self, exchange: &OpenExchange<'_>, now: Timestamp, findings: &mut Findings) {
        let Some(request) = exchange.request else { return };
        self.callers.want();
        let remote = &*exchange.connection.remote_text;
        let pid = exchange.process.pid;
        let authority = request.authority().unwrap_or(remote);
        let key = call::key_with(pid, request, authority);
        self.keys.keep(exchange.id, key);
        // What made a connection began with that.
        let started = exchange.timing.connect_start.unwrap_or(exchange.started);
        let upstream = Upstreams::key(authority);
        // One look-up for a call that is no retry, as nearly all are.
        let may_go_on = !self.chains.is_empty();
        self.upstreams.attempt(upstream, may_go_on);
        let goes_on = may_go_on && self.goes_on(exchange, request, key, started, now, findings);
        if !goes_on {
            if may_go_on {
                self.upstreams.call(upstream);
            }
            self.begins(exchange, request, key, started, now, findings);
        }
        self.threads.asks(pid, exchange.process.tid);
    }

    /// Whether the request is an attempt of a known chain, which it then joins.
    fn goes_on(
        &mut self,
        exchange: &OpenExchange<'_>,
        request: &Request,
        key: u64,
        started: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) -> bool {
        if let Some(id) = self.by_connection.remove(&exchange.connection.id) {
            self.adopt(id, exchange, request, key, now, findings);
            return true;
        }
        if !self.by_key.contains_key(&key) {
            return false;
        }
        let remote = &*exchange.connection.remote_text;
        let marks = Marks::of(request);
        let beginning = Beginning { process: exchange.process, started, request: Some((request, marks)), remote, key };
        let Some((id, bond)) = self.find(&beginning) else { return false };
        self.join(id, bond, &beginning, Doing::Trying(exchange.id), now, findings);
        self.by_exchange.insert(exchange.id, id);
        true
    }

    /// The request is a call of its own.
    fn begins(
        &mut self,
        exchange: &OpenExchange<'_>,
        request: &Request,
        key: u64,
        started: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        self.rhythms.began(key, started);
        self.rhythms.began(call::connect_key(exchange.process.pid, &exchange.connection.remote_text), started);
        if Marks::numbered(&request.headers).is_some_and(|number| number > 1) {
            self.joins_late(exchange, request, key, started, now, findings);
        }
    }

    /// A request that says itself that others came before it, which were not seen.
    fn joins_late(
        &mut self,
        exchange: &OpenExchange<'_>,
        request: &Request,
        key: u64,
        started: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let marks = Marks::of(request);
        let Some((name, number)) = marks.number else { return };
        let remote = &*exchange.connection.remote_text;
        let keys = [key, call::connect_key(exchange.process.pid, remote)];
        let upstream = Upstreams::key(request.authority().unwrap_or(remote));
        let mut chain = Chain::new(Call::of(request, remote), marks, keys, exchange.process.clone(), upstream);
        chain.attempts = number - 1;
        chain.confidence.explicit.push(name);
        chain.begin(Some(exchange.id), started, &self.thresholds);
        chain.doing = Doing::Trying(exchange.id);
        chain.deadline = Timestamp(u64::MAX);
        let id = self.insert(chain);
        self.by_exchange.insert(exchange.id, id);
        self.link_caller(id, exchange.process.tid, &marks, started);
        self.tell(id, now, findings);
    }

    /// The request on a connection whose connect was an attempt.
    fn adopt(
        &mut self,
        id: ChainId,
        exchange: &OpenExchange<'_>,
        request: &Request,
        key: u64,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        chain.doing = Doing::Trying(exchange.id);
        if let Some(attempt) = chain.listed.last_mut() {
            attempt.exchange = Some(exchange.id);
        }
        if chain.call.method.is_none() {
            // The connects before it were not counted.
            self.upstreams.call(Upstreams::key(request.authority().unwrap_or(&exchange.connection.remote_text)));
            chain.call = Call::of(request, &exchange.connection.remote_text);
            chain.marks = Marks::of(request);
            let old = std::mem::replace(&mut chain.keys[0], key);
            if old != chain.keys[1] {
                unindex(&mut self.by_key, old, id);
            }
            self.by_key.entry(key).or_default().push(id);
        }
        self.by_exchange.insert(exchange.id, id);
        let marks = chain.marks;
        self.link_caller(id, exchange.process.tid, &marks, exchange.started);
        self.tell(id, now, findings);
    }

    /// The chain that an attempt belongs to.
    fn find(&mut self, beginning: &Beginning<'_>) -> Option<(ChainId, Bond)> {
        let candidates: Vec<ChainId> = self.by_key.get(&beginning.key)?.iter().copied().take(MOST_CANDIDATES).collect();
        let mut best: Option<(ChainId, Bond)> = None;
        let mut count = 0;
        for id in candidates {
            let Some(bond) = self.bond(id, beginning) else { continue };
            count += 1;
            if best.as_ref().is_none_or(|(_, known)| bond.distance < known.distance) {
                best = Some((id, bond));
            }
        }
        let (id, mut bond) = best?;
        bond.doubtful |= count > 1 && bond.distance >= OTHER_THREAD;
        Some((id, bond))
    }

    /// Whether the attempt may belong to the chain, and what speaks for it.
    fn bond(&mut self, id: ChainId, beginning: &Beginning<'_>) -> Option<Bond> {
        let chain = self.chains.get(&id)?;
        let span = chain.span();
        let started = beginning.started;
        if !matches!(chain.doing, Doing::Waiting | Doing::GivenUp)
            || started.0.saturating_add(SKEW_NS) < span.1.0
            || started > chain.deadline
        {
            return None;
        }
        let mut bond = Bond { distance: 0.5, ..Bond::default() };
        let mut marks = Marks::default();
        if let Some((request, later)) = &beginning.request {
            marks = *later;
            let mut earlier = chain.marks;
            if chain.cookie_set {
                earlier.identity = later.identity;
            }
            if !chain.call.is_of(request, beginning.remote) || earlier.contradict(later) {
                return None;
            }
            if let Some((name, _)) = later.key {
                bond.explicit.push(name);
            }
            if let Some((name, number)) = later.number
                && number > chain.marks.number.map_or(1, |(_, number)| number)
            {
                bond.explicit.push(name);
            }
            if later.trace.is_some() && later.trace == chain.marks.trace {
                bond.explicit.push("same trace id");
            }
        }
        bond.caller = self.callers.of(beginning.process.tid, &marks, started);
        let mut same_caller = false;
        if let (Some(one), Some(other)) = (&chain.caller, &bond.caller) {
            if one.exchange != other.exchange {
                return None;
            }
            same_caller = true;
        }
        let same_thread = chain.process.tid == beginning.process.tid;
        let gap = started.since(span.1) as f64;
        if bond.explicit.is_empty() && !same_caller && !same_thread {
            // Another thread's call is another call, unless threads take turns here; and then one that comes at once may be.
            let turns = self.threads.take_turns(beginning.process.pid);
            if !turns || gap <= self.thresholds.immediate.as_nanos() as f64 {
                return None;
            }
        }
        let expected = chain.fit.next.or(self.upstreams.usual_gap(beginning.key, chain.attempts)).map(|gap| gap as f64);
        if let Some(expected) = expected {
            bond.distance = ((gap - expected).abs() / expected.max(5e6)).min(1.0);
        }
        let due = expected.is_some() && bond.distance <= 0.25;
        if bond.explicit.is_empty() && !same_caller {
            match self.rhythms.habit(beginning.key, span, started) {
                Habit::None => {}
                Habit::Busy if (chain.attempts > 1 && due) || beginning.request.is_none() => bond.doubtful = true,
                Habit::Busy => return None,
                Habit::Regular => {
                    if chain.opened.is_none() {
                        self.rhythms.went_on(beginning.key, span, started);
                        self.forget(id);
                    }
                    return None;
                }
            }
        }
        if !bond.explicit.is_empty() {
            bond.distance -= 4.0;
        }
        if same_caller {
            bond.distance -= 2.0;
        } else if !same_thread {
            bond.distance += OTHER_THREAD;
        }
        Some(bond)
    }

    /// The attempt belongs to the chain.
    fn join(
        &mut self,
        id: ChainId,
        bond: Bond,
        beginning: &Beginning<'_>,
        doing: Doing,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let thresholds = &self.thresholds;
        let Some(chain) = self.chains.get_mut(&id) else { return };
        let exchange = if let Doing::Trying(exchange) = doing { Some(exchange) } else { None };
        for name in &bond.explicit {
            if !chain.confidence.explicit.contains(name) {
                chain.confidence.explicit.push(name);
            }
        }
        if chain.confidence.inferred.is_empty() {
            let same = if chain.call.method.is_some() {
                "same method, authority, path and body"
            } else {
                "connects to the same address"
            };
            chain.confidence.inferred.push(same);
        }
        chain.confidence.doubtful |= bond.doubtful;
        chain.begin(exchange, beginning.started, thresholds);
        if let Some((_, marks)) = beginning.request {
            if let Some((_, number)) = marks.number.filter(|(_, number)| *number > chain.attempts) {
                // Attempts in between were not seen.
                chain.attempts = number;
                if let Some(last) = chain.listed.last_mut() {
                    last.number = number;
                }
            }
            chain.marks = marks;
        }
        if chain.doing == Doing::GivenUp {
            // Whoever was answered does not wait for this.
            chain.caller = None;
        }
        chain.doing = doing;
        chain.process.tid = beginning.process.tid;
        if let Some(gap) = chain.listed.last().and_then(|attempt| attempt.gap) {
            self.upstreams.learn_gap(beginning.key, chain.attempts - 1, gap);
        }
        if chain.caller.is_none()
            && let Some(caller) = bond.caller
        {
            self.awaited.entry(caller.exchange).or_default().push(id);
            chain.caller = Some(caller);
        }
        self.compare(id);
        self.tell(id, now, findings);
    }

    /// Looks whether others retry at the same moments, or in another layer.
    fn compare(&mut self, id: ChainId) {
        let Some(chain) = self.chains.get(&id) else { return };
        let Some((started, gap)) = chain.listed.last().and_then(|last| Some((last.started, last.gap?))) else { return };
        let near = (gap / 50).clamp(2_000_000, 100_000_000);
        let mut in_step = 0;
        if chain.attempts >= 3 && gap >= self.thresholds.hot_gap.as_nanos() as u64 {
            in_step = self
                .chains
                .values()
                .filter(|other| other.upstream == chain.upstream && other.attempts >= 3)
                .filter_map(|other| other.listed.last())
                .filter(|last| last.started.0.abs_diff(started.0) <= near)
                .count();
        }
        let layered = chain
            .caller
            .as_ref()
            .and_then(|caller| self.callers.get(caller.exchange))
            .is_some_and(|inbound| inbound.number() > 1 || self.failed_callers.contains(&inbound.asked));
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if self.thresholds.in_step > 0 && in_step >= self.thresholds.in_step as usize {
            chain.pathology("in_step");
        }
        if layered {
            chain.pathology("layered");
        }
    }

    /// Says how the chain stands, if it is one and there is something new.
    fn tell(&mut self, id: ChainId, now: Timestamp, findings: &mut Findings) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        let upstream = self.upstreams.counts(chain.upstream);
        match chain.opened {
            None if chain.attempts > 1 && chain.is_sure(&self.thresholds) => {
                chain.opened = Some(findings.open(now, chain.report(RetryResult::Ongoing, upstream)));
                chain.said = now;
            }
            Some(opened) if chain.attempts <= CHATTY || now.since(chain.said) >= TELL_EVERY_NS => {
                findings.update(opened, now, chain.report(RetryResult::Ongoing, upstream));
                chain.said = now;
            }
            None | Some(_) => {}
        }
    }

    /// The status ends the chain of the exchange although it is no success: the upstream answers again, and what it says
    /// of the request will not change.
    fn is_over(&self, exchange: ExchangeId, status: u16) -> bool {
        let chain = self.by_exchange.get(&exchange).and_then(|id| self.chains.get(id));
        is_weak(status) && chain.is_some_and(|chain| chain.attempts > 1 && !chain.weak)
    }

    /// The head of a response: a failure is one before its body is read.
    fn is_answered(&mut self, exchange: &OpenExchange<'_>, now: Timestamp, findings: &mut Findings) {
        let Some(response) = exchange.response else { return };
        if !is_failure(response.status) || self.is_over(exchange.id, response.status) {
            return;
        }
        let ended = Ended {
            time: exchange.timing.response_start.unwrap_or(now),
            failure: Failure::Status(response.status),
            retry_after: call::retry_after(&response.headers),
            weak: is_weak(response.status),
            stale: false,
            cookie_set: response.headers.get("set-cookie").is_some(),
        };
        self.failed(exchange.id, ended, now, findings, |retry| {
            let request = exchange.request?;
            let started = exchange.timing.connect_start.unwrap_or(exchange.started);
            Some(retry.begin_chain(exchange.id, exchange.process, request, &exchange.connection.remote_text, started))
        });
    }

    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let end = exchange.timing.end.unwrap_or(now);
        if exchange.request.is_some() {
            self.threads.is_done(exchange.process.tid);
        }
        if exchange.request.is_none()
            && exchange.timing.connect_start.is_some()
            && exchange.timing.connect_end.is_none()
        {
            self.connect_failed(exchange, end, now, findings);
        } else if let Some(ended) = failure_of(exchange, end)
            .filter(|ended| !matches!(ended.failure, Failure::Status(status) if self.is_over(exchange.id, status)))
        {
            self.failed(exchange.id, ended, now, findings, |retry| {
                let request = exchange.request.as_ref()?;
                let started = exchange.timing.connect_start.unwrap_or(exchange.started);
                let remote = &exchange.connection.remote_text;
                Some(retry.begin_chain(exchange.id, &exchange.process, request, remote, started))
            });
        } else if exchange.outcome != Outcome::InFlight {
            self.succeeded(exchange, end, now, findings);
        }
        if let Some(id) = self.by_exchange.remove(&exchange.id)
            && let Some(opened) = self.chains.get(&id).and_then(|chain| chain.opened)
        {
            findings.belongs(opened);
        }
    }

    /// An exchange failed: one of a chain, or one that a chain may grow from.
    fn failed(
        &mut self,
        exchange: ExchangeId,
        ended: Ended,
        now: Timestamp,
        findings: &mut Findings,
        begin: impl FnOnce(&mut Self) -> Option<ChainId>,
    ) {
        let known = self.by_exchange.get(&exchange).copied().filter(|id| self.chains.contains_key(id));
        let Some(id) = known.or_else(|| begin(self)) else { return };
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if chain.doing == Doing::Waiting && known.is_some() {
            // The end of a failure whose head was seen before; the next attempt may have begun already.
            if let Some(last) = chain.listed.last_mut().filter(|last| last.exchange == Some(exchange)) {
                let later = ended.time.since(last.ended.unwrap_or_default());
                last.ended = Some(ended.time);
                if later >= WORTH_TELLING_NS && chain.opened.is_some() {
                    self.tell(id, now, findings);
                }
            }
            return;
        }
        if chain.doing != Doing::Trying(exchange) {
            return;
        }
        chain.fail(ended, &self.thresholds);
        self.next_look = self.next_look.min(chain.deadline);
        self.by_exchange.insert(exchange, id);
        if chain.opened.is_some() {
            self.tell(id, now, findings);
        }
    }

    /// A chain of one attempt.
    fn begin_chain(
        &mut self,
        exchange: ExchangeId,
        process: &ProcessRef,
        request: &Request,
        remote: &str,
        started: Timestamp,
    ) -> ChainId {
        let marks = Marks::of(request);
        let keys = [call::key(process.pid, request, remote), call::connect_key(process.pid, remote)];
        let upstream = Upstreams::key(request.authority().unwrap_or(remote));
        let mut chain = Chain::new(Call::of(request, remote), marks, keys, process.clone(), upstream);
        chain.attempts = marks.number.map_or(0, |(_, number)| number.saturating_sub(1));
        chain.begin(Some(exchange), started, &self.thresholds);
        chain.doing = Doing::Trying(exchange);
        let id = self.insert(chain);
        self.link_caller(id, process.tid, &marks, started);
        id
    }

    fn link_caller(&mut self, id: ChainId, tid: u32, marks: &Marks, started: Timestamp) {
        let Some(chain) = self.chains.get_mut(&id).filter(|chain| chain.caller.is_none()) else { return };
        if let Some(caller) = self.callers.of(tid, marks, started) {
            self.awaited.entry(caller.exchange).or_default().push(id);
            chain.caller = Some(caller);
        }
    }

    fn succeeded(&mut self, exchange: &Exchange, end: Timestamp, now: Timestamp, findings: &mut Findings) {
        let known = if self.by_exchange.is_empty() { None } else { self.by_exchange.get(&exchange.id).copied() };
        if let Some(id) = known
            && let Some(chain) = self.chains.get_mut(&id).filter(|chain| chain.doing == Doing::Trying(exchange.id))
        {
            chain.answer = exchange.response.as_ref().map(|response| response.status);
            if chain.answer.is_some() {
                self.recovered(id, end, now, findings);
            } else {
                chain.unseen(end, &self.thresholds);
                self.next_look = self.next_look.min(chain.deadline);
            }
        }
        if let Some(request) = exchange.request.as_ref().filter(|_| exchange.response.is_some()) {
            let started = exchange.timing.connect_start.unwrap_or(exchange.started);
            let (pid, remote) = (exchange.process.pid, &*exchange.connection.remote_text);
            let key = self.keys.of(exchange.id).unwrap_or_else(|| call::key(pid, request, remote));
            self.rhythms.succeeded(key, (started, end));
            self.rhythms.succeeded(call::connect_key(pid, remote), (started, end));
        }
    }

    fn recovered(&mut self, id: ChainId, end: Timestamp, now: Timestamp, findings: &mut Findings) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if let Some(last) = chain.listed.last_mut() {
            last.ended = Some(end);
        }
        if let Some(opened) = chain.opened {
            let upstream = self.upstreams.counts(chain.upstream);
            findings.close(opened, now, end, chain.report(RetryResult::Recovered, upstream));
            if let Some(exchange) = chain.listed.last().and_then(|last| last.exchange)
                && self.by_exchange.contains_key(&exchange)
            {
                findings.belongs(opened);
            }
        }
        self.forget(id);
    }

    fn give_up(&mut self, id: ChainId, now: Timestamp, findings: &mut Findings) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if let Some(opened) = chain.opened {
            // What is given up is not due.
            chain.doing = Doing::GivenUp;
            let upstream = self.upstreams.counts(chain.upstream);
            let (_, ended) = chain.span();
            findings.close(opened, now, ended, chain.report(RetryResult::GaveUp, upstream));
        }
    }

    /// The target answered somebody.
    fn caller_answered(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let Some(inbound) = self.callers.ended(exchange) else { return };
        let Some(waiting) = self.awaited.remove(&exchange.id) else { return };
        let (got, failed) = caller::answer(exchange);
        if failed {
            self.failed_callers.push_back(inbound.asked);
            if self.failed_callers.len() > REMEMBERED_CALLERS {
                self.failed_callers.pop_front();
            }
        }
        for id in waiting {
            let Some(chain) = self.chains.get_mut(&id) else { continue };
            let Some(caller) = chain.caller.as_mut().filter(|caller| caller.exchange == exchange.id) else { continue };
            caller.got = Some(got.clone());
            match (chain.doing, chain.opened) {
                (Doing::Waiting, Some(_)) => self.give_up(id, now, findings),
                (Doing::Waiting, None) => self.forget(id),
                _ => {}
            }
        }
    }

    /// A connect begins, or is through.
    fn connects(&mut self, connection: &OpenConnection<'_>, up: bool, now: Timestamp, findings: &mut Findings) {
        self.falls_back(&connection.info.remote, connection.process.tid, now);
        if self.chains.is_empty() {
            return;
        }
        let id = connection.info.id;
        let started = connection.connect_start.unwrap_or(now);
        if let Some(chain) = self.by_connection.get(&id).and_then(|chain| self.chains.get_mut(chain)) {
            if up {
                chain.doing = Doing::Connected(id, now);
                self.next_look = self.next_look.min(Timestamp(now.0 + QUIET_NS));
            }
            return;
        }
        let remote = &*connection.info.remote_text;
        let key = call::connect_key(connection.process.pid, remote);
        let beginning = Beginning { process: connection.process, started, request: None, remote, key };
        let doing = if up { Doing::Connected(id, now) } else { Doing::Connecting(id) };
        if let Some((chain, bond)) = self.find_connect(&beginning, false) {
            self.join(chain, bond, &beginning, doing, now, findings);
            self.by_connection.insert(id, chain);
            if up {
                self.next_look = self.next_look.min(Timestamp(now.0 + QUIET_NS));
            }
        }
    }

    /// A chain that waits for a connect; with `any`, also one that waits for a request to the same address.
    fn find_connect(&mut self, beginning: &Beginning<'_>, any: bool) -> Option<(ChainId, Bond)> {
        let candidates: Vec<ChainId> = self.by_key.get(&beginning.key)?.iter().copied().take(MOST_CANDIDATES).collect();
        let mut best: Option<(ChainId, Bond)> = None;
        let mut count = 0;
        for id in candidates {
            let Some(chain) = self.chains.get(&id) else { continue };
            if chain.call.method.is_some() && !any {
                continue;
            }
            let Some(mut bond) = self.bond(id, beginning) else { continue };
            count += 1;
            if self.chains.get(&id).is_some_and(|chain| chain.call.method.is_some()) {
                // A connect does not say what for.
                bond.distance += 0.25;
            }
            if best.as_ref().is_none_or(|(_, known)| bond.distance < known.distance) {
                best = Some((id, bond));
            }
        }
        let (id, mut bond) = best?;
        let other_thread = bond.distance >= OTHER_THREAD;
        if other_thread && count > 1 && bond.distance > OTHER_THREAD + 0.25 {
            return None;
        }
        bond.doubtful |= other_thread;
        Some((id, bond))
    }

    fn connect_failed(&mut self, exchange: &Exchange, end: Timestamp, now: Timestamp, findings: &mut Findings) {
        let connection = &exchange.connection;
        self.falls_back(&connection.remote, exchange.process.tid, now);
        let started = exchange.timing.connect_start.unwrap_or(exchange.started);
        let failure = match exchange.outcome {
            Outcome::Refused => Failure::Refused,
            Outcome::Reset => Failure::Reset,
            Outcome::ClientTimeout => Failure::ClientTimeout,
            Outcome::InFlight => return,
            _ => Failure::Unreachable,
        };
        let ended = Ended { time: end, failure, retry_after: None, weak: false, stale: false, cookie_set: false };
        let remote = &*connection.remote_text;
        let key = call::connect_key(exchange.process.pid, remote);
        let mut known = self.by_connection.remove(&connection.id).filter(|id| self.chains.contains_key(id));
        let upstream = Upstreams::key(remote);
        if known.is_none() {
            let beginning = Beginning { process: &exchange.process, started, request: None, remote, key };
            if !self.chains.is_empty()
                && let Some((id, bond)) = self.find_connect(&beginning, true)
            {
                self.join(id, bond, &beginning, Doing::Trying(exchange.id), now, findings);
                known = Some(id);
            }
        }
        let id = known.unwrap_or_else(|| {
            let marks = Marks::default();
            let mut chain = Chain::new(Call::connect(remote), marks, [key, key], exchange.process.clone(), upstream);
            chain.begin(Some(exchange.id), started, &self.thresholds);
            let id = self.insert(chain);
            self.link_caller(id, exchange.process.tid, &marks, started);
            id
        });
        if let Endpoint::Inet(std::net::SocketAddr::V6(address)) = &connection.remote {
            let (tid, port) = (exchange.process.tid, address.port());
            self.fallback = Some(Fallback { tid, port, chain: id, ended: end });
        }
        self.by_exchange.insert(exchange.id, id);
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if let Some(last) = chain.listed.last_mut() {
            last.exchange = Some(exchange.id);
        }
        chain.fail(ended, &self.thresholds);
        self.next_look = self.next_look.min(chain.deadline);
        if chain.opened.is_some() {
            self.tell(id, now, findings);
        }
    }

    /// IPv4 after IPv6 failed: the same attempt goes on.
    fn falls_back(&mut self, remote: &Endpoint, tid: u32, now: Timestamp) {
        let Endpoint::Inet(std::net::SocketAddr::V4(address)) = remote else { return };
        let Some(fallback) = self.fallback.take_if(|fallback| {
            fallback.tid == tid && fallback.port == address.port() && now.since(fallback.ended) <= FALLBACK_NS
        }) else {
            return;
        };
        if self.chains.get(&fallback.chain).is_some_and(|chain| chain.opened.is_none()) {
            self.forget(fallback.chain);
        }
    }

    fn process_ended(&mut self, pid: u32, now: Timestamp, findings: &mut Findings) {
        let ended: Vec<ChainId> =
            self.chains.iter().filter(|(_, chain)| chain.process.pid == pid).map(|(id, _)| *id).collect();
        for id in ended {
            if self.chains.get(&id).is_some_and(|chain| chain.doing == Doing::Waiting) {
                self.give_up(id, now, findings);
            }
            self.forget(id);
        }
    }

    /// Looks for chains that wait in vain.
    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        let mut next = Timestamp(u64::MAX);
        let mut over = Vec::new();
        for (id, chain) in &self.chains {
            let deadline = match chain.doing {
                Doing::Waiting | Doing::GivenUp => chain.deadline,
                Doing::Connected(_, since) => Timestamp(since.0 + QUIET_NS),
                Doing::Connecting(_) | Doing::Trying(_) => continue,
            };
            if deadline <= now {
                over.push((*id, chain.doing));
            } else {
                next = next.min(deadline);
            }
        }
        self.next_look = next;
        for (id, doing) in over {
            match doing {
                Doing::Waiting => {
                    self.give_up(id, now, findings);
                    self.forget(id);
                }
                Doing::Connected(_, since) => self.recovered(id, since, now, findings),
                _ => self.forget(id),
            }
        }
    }

    fn insert(&mut self, chain: Chain) -> ChainId {
        if self.chains.len() >= MOST_CHAINS
            && let Some(oldest) = self.chains.keys().next().copied()
        {
            self.forget(oldest);
        }
        self.last_chain += 1;
        let id = self.last_chain;
        self.by_key.entry(chain.keys[0]).or_default().push(id);
        if chain.keys[1] != chain.keys[0] {
            self.by_key.entry(chain.keys[1]).or_default().push(id);
        }
        self.chains.insert(id, chain);
        id
    }

    fn forget(&mut self, id: ChainId) {
        let Some(chain) = self.chains.remove(&id) else { return };
        for key in chain.keys {
            unindex(&mut self.by_key, key, id);
        }
        for exchange in chain.listed.iter().filter_map(|attempt| attempt.exchange) {
            self.by_exchange.remove(&exchange);
        }
        if let Doing::Connecting(connection) | Doing::Connected(connection, _) = chain.doing {
            self.by_connection.remove(&connection);
        }
        if let Some(caller) = &chain.caller
            && let Some(waiting) = self.awaited.get_mut(&caller.exchange)
        {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.awaited.remove(&caller.exchange);
            }
        }
    }
}

/// Callers that got a failure and are known again when they ask once more.
const REMEMBERED_CALLERS: usize = 64;
/// How much less an attempt from another thread belongs to a chain.
const OTHER_THREAD: f64 = 0.4;

fn unindex(by_key: &mut FxHashMap<u64, Vec<ChainId>>, key: u64, id: ChainId) {
    if let Some(ids) = by_key.get_mut(&key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            by_key.remove(&key);
        }
    }
}

/// Statuses after which calls are made again, or that say the request itself is wrong. Challenges (401, 407) are
/// answered with credentials: that is no retry.
fn is_failure(status: u16) -> bool {
    (400..=599).contains(&status) && !matches!(status, 401 | 407)
}

/// Says that the request is wrong.
fn is_weak(status: u16) -> bool {
    (400..=499).contains(&status) && !matches!(status, 408 | 425 | 429)
}

/// How an exchange failed.
fn failure_of(exchange: &Exchange, end: Timestamp) -> Option<Ended> {
    let response = exchange.response.as_ref();
    let status = response.map_or(0, |response| response.status);
    let failure = match exchange.outcome {
        Outcome::Complete | Outcome::Upgraded | Outcome::ClientTimeout if is_failure(status) => Failure::Status(status),
        Outcome::Complete | Outcome::Upgraded | Outcome::InFlight => return None,
        Outcome::Reset => Failure::Reset,
        Outcome::Closed => Failure::Closed,
        Outcome::Refused => Failure::Refused,
        Outcome::ConnectTimeout => Failure::Unreachable,
        // What was answered and is not wanted any more has not failed, unless it stood still.
        Outcome::ClientTimeout
            if status != 0 && end.since(exchange.timing.response_end.unwrap_or(end)) < STALLED_NS =>
        {
            return None;
        }
        Outcome::ClientTimeout => Failure::ClientTimeout,
    };
    if exchange.quality >= Quality::JoinedLate && response.is_none() {
        // It may have been answered.
        return None;
    }
    let silent = response.is_none() && exchange.timing.connect_start.is_none();
    Some(Ended {
        time: end,
        failure,
        retry_after: response.and_then(|response| call::retry_after(&response.headers)),
        weak: is_weak(status) && matches!(failure, Failure::Status(_)),
        stale: silent && matches!(failure, Failure::Reset | Failure::Closed),
        cookie_set: response.is_some_and(sets_cookie),
    })
}

fn sets_cookie(response: &Response) -> bool {
    response.headers.get("set-cookie").is_some()
}
