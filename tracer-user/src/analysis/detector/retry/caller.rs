//! Inbound exchanges in progress, which may wait for the calls of the target.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::{
    Caller,
    call::{self, Marks},
};
use crate::{
    event::Timestamp,
    model::exchange::{Exchange, ExchangeId, OpenExchange, Outcome},
};

/// Maximum number of known inbound exchanges; further ones are not linked.
const MOST: usize = 16_384;

/// An unanswered inbound exchange.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    tid: u32,
    marks: Marks,
    /// Hash of method, path and user, for comparison.
    pub(super) asked: u64,
    method: Box<str>,
    path: Box<str>,
    pub(super) started: Timestamp,
}

impl Inbound {
    /// Number of the attempt that the client states; 1 if it states none.
    pub(super) fn number(&self) -> u32 {
        self.marks.number.map_or(1, |(_, number)| number)
    }
}

/// Unanswered inbound exchanges.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// Whether the target makes calls; otherwise callers are not tracked.
    wanted: bool,
    open: FxHashMap<ExchangeId, Inbound>,
    /// The same exchanges, oldest first.
    by_age: BTreeSet<(Timestamp, ExchangeId)>,
    by_trace: FxHashMap<u64, ExchangeId>,
    by_request: FxHashMap<u64, ExchangeId>,
    /// For each thread, the number of its exchanges and the XOR of their IDs, which is the ID if there is one.
    by_thread: FxHashMap<u32, (u32, u64)>,
}

impl Callers {
    /// Starts tracking, as the target has made a call.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether callers are tracked.
    pub(super) fn are_wanted(&self) -> bool {
        self.wanted
    }

    /// Records an inbound exchange.
    pub(super) fn began(&mut self, exchange: &OpenExchange<'_>) {
        let Some(request) = exchange.request.filter(|_| self.wanted && self.open.len() < MOST) else { return };
        let marks = Marks::of(request);
        let tid = exchange.process.tid;
        let inbound = Inbound {
            tid,
            marks,
            asked: call::hash(&[request.method.as_bytes(), request.path().as_bytes(), &marks.identity.to_ne_bytes()]),
            method: call::cut(&request.method),
            path: call::cut(request.path()),
            started: exchange.started,
        };
        if self.open.insert(exchange.id, inbound).is_some() {
            return;
        }
        self.by_age.insert((exchange.started, exchange.id));
        if let Some(trace) = marks.trace {
            self.by_trace.insert(trace, exchange.id);
        }
        if let Some(request) = marks.request {
            self.by_request.insert(request, exchange.id);
        }
        let (count, numbers) = self.by_thread.entry(tid).or_default();
        *count += 1;
        *numbers ^= exchange.id.0;
    }

    /// Removes an inbound exchange that ended.
    pub(super) fn ended(&mut self, exchange: &Exchange) -> Option<Inbound> {
        if self.open.is_empty() {
            return None;
        }
        let inbound = self.open.remove(&exchange.id)?;
        self.by_age.remove(&(inbound.started, exchange.id));
        for (index, key) in [(&mut self.by_trace, inbound.marks.trace), (&mut self.by_request, inbound.marks.request)] {
            if let Some(key) = key
                && index.get(&key) == Some(&exchange.id)
            {
                index.remove(&key);
            }
        }
        if let Some((count, numbers)) = self.by_thread.get_mut(&inbound.tid) {
            *count -= 1;
            *numbers ^= exchange.id.0;
            if *count == 0 {
                self.by_thread.remove(&inbound.tid);
            }
        }
        Some(inbound)
    }

    /// Inbound exchange that waits for a call with this thread, these marks and this start.
    pub(super) fn of(&self, tid: u32, marks: &Marks, started: Timestamp) -> Option<Caller> {
        let by = |index: &FxHashMap<u64, ExchangeId>, key: Option<u64>| index.get(&key?).copied();
        let alone = || self.by_thread.get(&tid).filter(|(count, _)| *count == 1).map(|(_, id)| ExchangeId(*id));
        let (exchange, by) = by(&self.by_trace, marks.trace)
            .map(|id| (id, "trace id"))
            .or_else(|| by(&self.by_request, marks.request).map(|id| (id, "request id")))
            .or_else(|| alone().map(|id| (id, "same thread")))?;
        let inbound = self.open.get(&exchange).filter(|inbound| inbound.started <= started)?;
        Some(Caller { exchange, by, method: inbound.method.clone(), path: inbound.path.clone(), got: None })
    }

    /// Whether any inbound exchange is unanswered.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Start of the oldest unanswered exchange.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.by_age.first().map(|(started, _)| *started)
    }

    pub(super) fn get(&self, exchange: ExchangeId) -> Option<&Inbound> {
        self.open.get(&exchange)
    }
}

/// Response of a caller, and whether it was a failure.
pub(super) fn answer(exchange: &Exchange) -> (Box<str>, bool) {
    match (&exchange.response, exchange.outcome) {
        (Some(response), Outcome::Complete | Outcome::Upgraded) => {
            (response.status.to_string().into(), exchange.is_failed())
        }
        (_, outcome) => (format!("no whole answer ({})", outcome.name()).into(), true),
    }
}
