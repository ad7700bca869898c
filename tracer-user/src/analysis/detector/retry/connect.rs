//! Connects: attempts without a request yet.

use super::{
    ChainId, MOST_CANDIDATES, QUIET_NS, Retry,
    bond::{Beginning, Bond, OTHER_THREAD},
    call::{self, Call, Marks},
    chain::{Chain, Doing, Ended},
    upstream::Upstreams,
};
use crate::{
    analysis::detector::{Findings, OpenConnection},
    event::Timestamp,
    model::{
        connection::Endpoint,
        exchange::{Exchange, ProcessRef},
    },
};

impl Retry {
    /// Handles a connect that starts or is established.
    pub(super) fn connects(
        &mut self,
        connection: &OpenConnection<'_>,
        up: bool,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let started = connection.connect_start.unwrap_or(now);
        self.falls_back(connection.process, &connection.info.remote, started);
        if up && connection.connect_start.is_some() {
            self.fallbacks.made(connection.process, &connection.info.remote, now);
        }
        if self.chains.is_empty() {
            return;
        }
        let id = connection.info.id;
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
        let root = self.loose.root(connection.process.pid);
        let found = self.find_connect(&beginning, false).or_else(|| {
            let key = call::connect_key(root, remote);
            (root != connection.process.pid).then(|| self.find_connect(&Beginning { key, ..beginning }, false))?
        });
        if let Some((chain, bond)) = found {
            self.join(chain, bond, &beginning, doing, now, findings);
            self.by_connection.insert(id, chain);
            if up {
                self.next_look = self.next_look.min(Timestamp(now.0 + QUIET_NS));
            }
        }
    }

    /// Finds a chain that waits for a connect; with `any`, also one that waits for a request to the same address.
    pub(super) fn find_connect(&mut self, beginning: &Beginning<'_>, any: bool) -> Option<(ChainId, Bond)> {
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
                // The purpose of a connect is unknown.
                bond.distance += 0.25;
            }
            if best.as_ref().is_none_or(|(_, known)| bond.distance < known.distance) {
                best = Some((id, bond));
            }
        }
        let (id, mut bond) = best?;
        let far = bond.distance >= OTHER_THREAD;
        if far && count > 1 && bond.distance > OTHER_THREAD + 0.25 {
            return None;
        }
        bond.doubtful |= (far && count > 1) || bond.other_thread;
        Some((id, bond))
    }

    pub(super) fn connect_failed(
        &mut self,
        exchange: &Exchange,
        end: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let connection = &exchange.connection;
        let started = exchange.started;
        self.falls_back(&exchange.process, &connection.remote, started);
        let Some(failure) = exchange.failure() else { return };
        if self.fallbacks.is_beaten(&exchange.process, &connection.remote, started) {
            return;
        }
        let ended = Ended { time: end, failure, retry_after: None, weak: false, stale: false, cookie_set: false };
        let remote = &*connection.remote_text;
        let key = call::connect_key(exchange.process.pid, remote);
        let mut known = self.by_connection.remove(&connection.id).filter(|id| self.chains.contains_key(id));
        let upstream = Upstreams::key(remote);
        if known.is_none() {
            let beginning = Beginning { process: &exchange.process, started, request: None, remote, key };
            if !self.loose.is_empty()
                && let Some(id) = self.begins_loosely(&beginning, exchange.id, true, now, findings)
            {
                known = Some(id);
            } else if !self.chains.is_empty()
                && let Some((id, bond)) = self.find_connect(&beginning, true).or_else(|| {
                    let root = self.loose.root(exchange.process.pid);
                    let key = call::connect_key(root, remote);
                    (root != exchange.process.pid).then(|| self.find_connect(&Beginning { key, ..beginning }, true))?
                })
            {
                self.join(id, bond, &beginning, Doing::Trying(exchange.id), now, findings);
                known = Some(id);
            }
        }
        let id = known.unwrap_or_else(|| {
            let marks = Marks::default();
            let mut chain = Chain::new(Call::connect(remote), marks, [key, key], exchange.process.clone(), upstream);
            chain.remote = call::cut(remote);
            chain.begin(Some(exchange.id), started, remote, &self.thresholds);
            let id = self.insert(chain);
            self.link_caller(id, exchange.process.tid, &marks, started);
            id
        });
        self.fallbacks.failed(&exchange.process, &connection.remote, end, id);
        self.by_exchange.insert(exchange.id, id);
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if let Some(last) = chain.listed.last_mut() {
            last.exchange = Some(exchange.id);
        }
        chain.fail(ended, &self.thresholds);
        self.next_look = self.next_look.min(chain.deadline);
        self.fails_loosely(exchange.id, ended, id);
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if chain.opened.is_some() {
            self.tell(id, now, findings);
        }
    }

    /// Handles a connect to another address after a failed one: it continues the same attempt.
    pub(super) fn falls_back(&mut self, process: &ProcessRef, remote: &Endpoint, started: Timestamp) {
        let Some(chain) = self.fallbacks.goes_on(process, remote, started, self.callers.has_open()) else { return };
        if self.chains.get(&chain).is_some_and(|chain| chain.opened.is_none()) {
            self.forget(chain);
        }
    }
}
