//! Ends of attempts and chains.

use super::{
    ChainId, Retry, RetryResult,
    call::{self, Call, Marks},
    caller,
    chain::{Chain, Doing, Ended},
    upstream::Upstreams,
};
use crate::{
    analysis::detector::Findings,
    event::Timestamp,
    model::exchange::{
        Answer, Exchange, ExchangeId, Failure, OpenExchange, Outcome, ProcessRef, Quality, Request, Response,
    },
};

/// Silence within a response in nanoseconds after which a closing client counts as having timed out.
const STALLED_NS: u64 = 500_000_000;
/// Minimum extension of an attempt by its response body, in nanoseconds, that triggers an update.
const WORTH_TELLING_NS: u64 = 5_000_000;
/// Maximum number of callers with a failed response that are remembered, to recognise their retries.
const REMEMBERED_CALLERS: usize = 64;

impl Retry {
    /// Whether the status ends the chain although it is no success: the upstream responds again, and its verdict on the
    /// request will not change.
    pub(super) fn is_over(&self, exchange: ExchangeId, status: u16) -> bool {
        let chain = self.by_exchange.get(&exchange).and_then(|id| self.chains.get(id));
        is_weak(status) && chain.is_some_and(|chain| chain.attempts > 1 && !chain.weak)
    }

    /// Handles the head of a response. A failure counts before its body is read.
    pub(super) fn is_answered(&mut self, exchange: &OpenExchange<'_>, now: Timestamp, findings: &mut Findings) {
        let Some(response) = exchange.response else { return };
        if !is_failure(response) || self.is_over(exchange.id, response.status) {
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
            let started = exchange.started;
            Some(retry.begin_chain(exchange.id, exchange.process, request, &exchange.connection.remote_text, started))
        });
    }

    pub(super) fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
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
                let started = exchange.started;
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

    /// Handles a failed exchange, which belongs to a chain or may begin one.
    pub(super) fn failed(
        &mut self,
        exchange: ExchangeId,
        ended: Ended,
        now: Timestamp,
        findings: &mut Findings,
        begin: impl FnOnce(&mut Self) -> Option<ChainId>,
    ) {
        // An attempt of a finished chain stays with that chain.
        let known = self.by_exchange.get(&exchange).copied();
        let Some(id) = known.or_else(|| begin(self)) else { return };
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if chain.doing == Doing::Waiting && known.is_some() {
            // The end of a failure whose head was seen before. The next attempt may have started already.
            if let Some(last) = chain.listed.last_mut().filter(|last| last.exchange == Some(exchange)) {
                let later = ended.time.since(last.ended.unwrap_or_default());
                last.ended = Some(ended.time);
                self.fails_loosely(exchange, ended, id);
                let Some(chain) = self.chains.get_mut(&id) else { return };
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
        self.fails_loosely(exchange, ended, id);
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if chain.opened.is_some() {
            self.tell(id, now, findings);
        }
    }

    /// Begins a chain with one attempt.
    pub(super) fn begin_chain(
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
        chain.remote = call::cut(remote);
        chain.attempts = marks.number.map_or(0, |(_, number)| number.saturating_sub(1));
        chain.begin(Some(exchange), started, remote, &self.thresholds);
        chain.doing = Doing::Trying(exchange);
        let id = self.insert(chain);
        self.link_caller(id, process.tid, &marks, started);
        id
    }

    pub(super) fn link_caller(&mut self, id: ChainId, tid: u32, marks: &Marks, started: Timestamp) {
        let Some(chain) = self.chains.get_mut(&id).filter(|chain| chain.caller.is_none()) else { return };
        chain.served |= self.callers.has_open();
        if let Some(caller) = self.callers.of(tid, marks, started) {
            self.awaited.entry(caller.exchange).or_default().push(id);
            chain.caller = Some(caller);
        }
    }

    pub(super) fn succeeded(&mut self, exchange: &Exchange, end: Timestamp, now: Timestamp, findings: &mut Findings) {
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
            let started = exchange.started;
            let (pid, remote) = (exchange.process.pid, &*exchange.connection.remote_text);
            let key = self.keys.of(exchange.id).unwrap_or_else(|| call::key(pid, request, remote));
            self.rhythms.succeeded(key, (started, end));
            let root = self.loose.root(pid);
            if root == pid {
                self.loose.succeeded(key);
            } else {
                let key = call::key(root, request, remote);
                self.loose.succeeded(key);
                self.rhythms.succeeded(key, (started, end));
            }
            self.rhythms.succeeded(call::connect_key(pid, remote), (started, end));
        }
    }

    pub(super) fn recovered(&mut self, id: ChainId, end: Timestamp, now: Timestamp, findings: &mut Findings) {
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

    pub(super) fn give_up(&mut self, id: ChainId, now: Timestamp, findings: &mut Findings) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if let Some(opened) = chain.opened {
            // No further attempt is due.
            chain.doing = Doing::GivenUp;
            chain.owed = false;
            chain.find_timeout(true, &self.thresholds);
            let upstream = self.upstreams.counts(chain.upstream);
            let (_, ended) = chain.span();
            // A proxy that takes the next upstream still serves its caller.
            let served = chain.caller.as_ref().and_then(|caller| caller.got.as_deref()).is_some_and(is_good);
            let result = if served { RetryResult::Bypassed } else { RetryResult::GaveUp };
            findings.close(opened, now, ended, chain.report(result, upstream));
        }
    }

    /// Handles the end of an inbound exchange.
    pub(super) fn caller_answered(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let Some(inbound) = self.callers.ended(exchange) else { return };
        let Some(waiting) = self.awaited.remove(&exchange.id) else { return };
        if exchange.outcome == Outcome::InFlight {
            // Tracing ended, not the call, so the caller still waits.
            return;
        }
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
}

/// Whether calls are made again after this response: for this detector, that includes rejected requests.
fn is_failure(response: &Response) -> bool {
    matches!(response.answer(), Answer::NotNow | Answer::Rejected | Answer::Failed)
}

/// Whether the status says that the request is wrong.
fn is_weak(status: u16) -> bool {
    Answer::of(status) == Answer::Rejected
}

/// Whether the status that a caller got says that it was served.
fn is_good(got: &str) -> bool {
    got.parse().is_ok_and(|status| matches!(Answer::of(status), Answer::Success | Answer::Other))
}

/// Failure of an ended exchange, if it failed.
fn failure_of(exchange: &Exchange, end: Timestamp) -> Option<Ended> {
    let response = exchange.response.as_ref();
    let status = response.filter(|response| is_failure(response)).map(|response| response.status);
    let failure = match (exchange.outcome, status) {
        (Outcome::InFlight | Outcome::Unsolicited, _) => return None,
        (Outcome::Complete | Outcome::Upgraded | Outcome::ClosedEarly | Outcome::ClientTimeout, Some(status)) => {
            Failure::Status(status)
        }
        // A client that closes during a response has not timed out, unless the response had stalled.
        (Outcome::ClientTimeout, None)
            if response.is_some() && end.since(exchange.timing.response_end.unwrap_or(end)) < STALLED_NS =>
        {
            return None;
        }
        // An answer in another protocol ends the call as a close does.
        (Outcome::NotHttp, _) => Failure::Outcome(Outcome::Closed),
        _ => exchange.failure()?,
    };
    if exchange.quality >= Quality::JoinedLate && response.is_none() {
        // The response may have been missed.
        return None;
    }
    let silent = response.is_none() && exchange.timing.connect_start.is_none();
    Some(Ended {
        time: end,
        failure,
        retry_after: response.and_then(|response| call::retry_after(&response.headers)),
        weak: matches!(failure, Failure::Status(status) if is_weak(status)),
        stale: silent && matches!(failure, Failure::Outcome(Outcome::Reset | Outcome::Closed)),
        cookie_set: response.is_some_and(sets_cookie),
    })
}

fn sets_cookie(response: &Response) -> bool {
    response.headers.get("set-cookie").is_some()
}
