//! Requests: starts of attempts.

use super::{
    ChainId, Retry,
    bond::Beginning,
    call::{self, Call, Marks},
    chain::{Chain, Doing},
    unindex,
    upstream::Upstreams,
};
use crate::{
    analysis::detector::Findings,
    event::Timestamp,
    model::exchange::{OpenExchange, Request},
};

impl Retry {
    /// Handles a request of the target.
    pub(super) fn asks(&mut self, exchange: &OpenExchange<'_>, now: Timestamp, findings: &mut Findings) {
        let Some(request) = exchange.request else { return };
        self.callers.want();
        let remote = &*exchange.connection.remote_text;
        let pid = exchange.process.pid;
        let authority = request.authority().unwrap_or(remote);
        let key = call::key_with(pid, request, authority);
        self.keys.keep(exchange.id, key);
        let started = exchange.started;
        let upstream = Upstreams::key(authority);
        // A call that is no retry costs one look-up; nearly all calls are none.
        let may_go_on = !self.chains.is_empty() || !self.loose.is_empty();
        self.upstreams.attempt(upstream, may_go_on);
        let goes_on = may_go_on && {
            let root = self.loose.root(pid);
            let family = if root == pid { None } else { Some(call::key_with(root, request, authority)) };
            self.shows_loose(exchange, request, key, started, now, findings)
                || self.goes_on(exchange, request, key, started, now, findings)
                || family.is_some_and(|key| self.goes_on(exchange, request, key, started, now, findings))
        };
        if !goes_on {
            if may_go_on {
                self.upstreams.call(upstream);
            }
            self.begins(exchange, request, key, started, now, findings);
        }
        self.threads.asks(pid, exchange.process.tid);
    }

    /// Whether the request proves that calls of several threads or children are one chain.
    fn shows_loose(
        &mut self,
        exchange: &OpenExchange<'_>,
        request: &Request,
        key: u64,
        started: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) -> bool {
        if self.loose.is_empty() || self.by_connection.contains_key(&exchange.connection.id) {
            return false;
        }
        let remote = &*exchange.connection.remote_text;
        let beginning =
            Beginning { process: exchange.process, started, request: Some((request, Marks::of(request))), remote, key };
        self.begins_loosely(&beginning, exchange.id, exchange.timing.connect_start.is_some(), now, findings).is_some()
    }

    /// Joins the request to a known chain if it belongs to one. Returns whether it does.
    pub(super) fn goes_on(
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

    /// Handles a request that is an independent call.
    pub(super) fn begins(
        &mut self,
        exchange: &OpenExchange<'_>,
        request: &Request,
        key: u64,
        started: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        self.rhythms.began(key, started);
        let root = self.loose.root(exchange.process.pid);
        if root != exchange.process.pid {
            self.rhythms.began(call::key(root, request, &exchange.connection.remote_text), started);
        }
        self.rhythms.began(call::connect_key(exchange.process.pid, &exchange.connection.remote_text), started);
        if Marks::numbered(&request.headers).is_some_and(|number| number > 1) {
            self.joins_late(exchange, request, key, started, now, findings);
        }
    }

    /// Begins a chain for a request that states that earlier attempts, which were not seen, came before it.
    pub(super) fn joins_late(
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
        chain.begin(Some(exchange.id), started, remote, &self.thresholds);
        chain.doing = Doing::Trying(exchange.id);
        chain.deadline = Timestamp(u64::MAX);
        let id = self.insert(chain);
        self.by_exchange.insert(exchange.id, id);
        self.link_caller(id, exchange.process.tid, &marks, started);
        self.tell(id, now, findings);
    }

    /// Assigns a request to the attempt that its connection began with.
    pub(super) fn adopt(
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
            let key = chain.loose.map_or(key, |root| call::key(root, request, &exchange.connection.remote_text));
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
}
