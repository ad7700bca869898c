//! Retry chains: failed calls that are repeated.
//!
//! ```text
//!                    joins                      fails
//! failed call ---> (waits) ---> attempt in flight ---> (waits) ---> ...   no further attempt: given up
//!                                      |
//!                                      +--> success: recovered
//! ```
//!
//! A request joins a chain if a call of the same process with the same method, authority, path and body has failed and
//! waits. A connect joins a chain whose connect to the same address failed. Explicit marks (idempotency keys, attempt
//! numbers, trace IDs) take precedence over conclusions. A chain becomes an incident at the start of its second
//! attempt, unless one of the following holds, which further attempts must outweigh:
//!
//! * the call is periodic while it succeeds (a poller, [`rhythm`]), which rules out a chain;
//! * the gaps are long and equal, as those of a scraper that always fails;
//! * the call looks like a health check;
//! * the failure is a 4xx that does not invite a retry;
//! * the transport resent the request at once, because the idle connection had been closed.

mod bond;
mod call;
mod caller;
mod chain;
mod connect;
mod end;
mod evidence;
mod fallback;
mod join;
mod loose;
mod pattern;
mod request;
mod rhythm;
#[cfg(test)]
mod tests;
mod threads;
mod upstream;

use std::{collections::BTreeMap, time::Duration};

use call::Keys;
use caller::Callers;
use chain::{Chain, Doing};
pub use evidence::{Attempt, Caller, Pattern, RetryEvidence, RetryResult};
use fallback::Fallbacks;
use loose::AllLoose;
use rhythm::Rhythms;
use rustc_hash::FxHashMap;
use threads::Threads;
use upstream::Upstreams;

use super::{About, Detect, Findings, Observation, threshold::thresholds};
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionId, Role},
        exchange::{ExchangeId, Step},
    },
};

thresholds! {
    /// Thresholds of the detector `retry`.
    pub struct RetryThresholds {
        /// time after a failed call in which the first retry must begin
        window: Duration = Duration::from_mins(1),
        /// minimum wait for a next attempt that cannot be predicted; the detector waits for four times the longest gap
        /// if that is longer
        give_up_after: Duration = Duration::from_secs(5),
        /// maximum wait for a next attempt, unless the server asks for a longer wait (Retry-After)
        longest: Duration = Duration::from_mins(15),
        /// longest gap between attempts that does not count as a backoff
        immediate: Duration = Duration::from_millis(20),
        /// shortest constant gap that counts as polling instead of retrying, unless other evidence indicates a retry
        poll_gap: Duration = Duration::from_secs(5),
        /// time in which a client resends a request after it finds an idle connection closed; a resend is not a retry
        resend: Duration = Duration::from_millis(50),
        /// longest gap between two attempts of a hot loop
        hot_gap: Duration = Duration::from_millis(20),
        /// number of attempts in a row with gaps of at most hot-gap that make a hot loop
        hot_attempts: u32 = 5,
        /// number of chains to one upstream that retry at the same moments before they are reported as in step
        in_step: u32 = 5,
    }
}

/// Maximum number of chains. At the limit, the oldest is removed.
const MOST_CHAINS: usize = 4096;
/// Maximum number of chains of one call that are compared with a request.
const MOST_CANDIDATES: usize = 128;
/// Number of attempts after which updates are limited to one per [`TELL_EVERY_NS`].
const CHATTY: u32 = 16;
const TELL_EVERY_NS: u64 = 1_000_000_000;
/// Time in nanoseconds after which a connection without HTTP shows that the connect was the whole call.
const QUIET_NS: u64 = 1_000_000_000;
type ChainId = u64;

/// Detects retry chains.
#[derive(Debug)]
pub struct Retry {
    thresholds: RetryThresholds,
    chains: BTreeMap<ChainId, Chain>,
    last_chain: ChainId,
    by_key: FxHashMap<u64, Vec<ChainId>>,
    keys: Keys,
    by_exchange: FxHashMap<ExchangeId, ChainId>,
    by_connection: FxHashMap<ConnectionId, ChainId>,
    /// Chains that each inbound exchange waits for.
    awaited: FxHashMap<ExchangeId, Vec<ChainId>>,
    callers: Callers,
    /// Hashes of inbound requests that failed.
    failed_callers: std::collections::VecDeque<u64>,
    rhythms: Rhythms,
    threads: Threads,
    upstreams: Upstreams,
    fallbacks: Fallbacks,
    loose: AllLoose,
    next_look: Timestamp,
}

impl Detect for Retry {
    type Thresholds = RetryThresholds;
    type Evidence = RetryEvidence;
    const ABOUT: About = About {
        looks_for: "a failed call that is made again: the number of attempts, the backoff, and the result",
        example: "POST gateway:8080/v1/charges gave up after 4 attempts (last: 503); the caller got 502",
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
            fallbacks: Fallbacks::default(),
            loose: AllLoose::default(),
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
            Observation::ProcessForked { parent, child } => self.loose.forked(*parent, *child),
            Observation::ProcessEnded(pid) => self.process_ended(*pid, now, findings),
            Observation::Tick(_) if now >= self.next_look => self.look(now, findings),
            Observation::Exchange(..)
            | Observation::Closed(_)
            | Observation::Probe(..)
            | Observation::Thread(_)
            | Observation::Listener(..)
            | Observation::PeerClosed(_)
            | Observation::PeerReset(_)
            | Observation::Accepted(_)
            | Observation::Tick(_) => {}
            Observation::End => self.pay(true, now, findings),
        }
    }
}

impl Retry {
    fn process_ended(&mut self, pid: u32, now: Timestamp, findings: &mut Findings) {
        let ended: Vec<ChainId> = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.loose.unwrap_or(chain.process.pid) == pid)
            .map(|(id, _)| *id)
            .collect();
        self.loose.ended(pid);
        for id in ended {
            if self.chains.get(&id).is_some_and(|chain| chain.doing == Doing::Waiting) {
                self.give_up(id, now, findings);
            }
            self.forget(id);
        }
    }

    /// Reports chains whose last change was held back because a report was too recent. The next attempt, which would
    /// trigger a report, may be a minute away.
    fn pay(&mut self, all: bool, now: Timestamp, findings: &mut Findings) {
        let held_back = |chain: &&Chain| chain.owed && chain.opened.is_none();
        let due = |chain: &Chain| chain.may_go_elsewhere().is_none_or(|until| until <= now);
        let unsaid: Vec<ChainId> =
            self.chains.iter().filter(|(_, chain)| held_back(chain) && due(chain)).map(|(id, _)| *id).collect();
        for id in unsaid {
            self.tell(id, now, findings);
        }
        for chain in self.chains.values_mut().filter(|chain| chain.owed && (all || chain.may_tell() <= now)) {
            let upstream = self.upstreams.counts(chain.upstream);
            chain.tell(upstream, now, findings);
        }
    }

    /// Ends chains that waited in vain, and reports held back changes.
    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        self.pay(false, now, findings);
        let mut next = Timestamp(u64::MAX);
        let mut over = Vec::new();
        for (id, chain) in &self.chains {
            if chain.owed {
                let unsaid = chain.may_go_elsewhere().filter(|_| chain.opened.is_none());
                next = next.min(unsaid.unwrap_or_else(|| chain.may_tell()));
            }
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
        // The latest attempt of a reported chain may still be in flight and must not begin another chain. The end of
        // its exchange removes the entry.
        if chain.opened.is_none() {
            for exchange in chain.listed.iter().filter_map(|attempt| attempt.exchange) {
                self.by_exchange.remove(&exchange);
            }
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

fn unindex(by_key: &mut FxHashMap<u64, Vec<ChainId>>, key: u64, id: ChainId) {
    if let Some(ids) = by_key.get_mut(&key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            by_key.remove(&key);
        }
    }
}
