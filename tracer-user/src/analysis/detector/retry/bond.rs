//! Assignment of attempts to chains.

use super::{Caller, ChainId, MOST_CANDIDATES, Retry, call::Marks, chain::Doing, rhythm::Habit};
use crate::{
    event::Timestamp,
    model::exchange::{ProcessRef, Request},
};

/// Maximum disorder of events of two threads, in nanoseconds.
const SKEW_NS: u64 = 1_000_000;
/// Penalty on the distance for an attempt from another thread.
pub(super) const OTHER_THREAD: f64 = 0.4;

/// An attempt that starts.
pub(super) struct Beginning<'a> {
    pub(super) process: &'a ProcessRef,
    pub(super) started: Timestamp,
    pub(super) request: Option<(&'a Request, Marks)>,
    pub(super) remote: &'a str,
    pub(super) key: u64,
}

/// Relation between a chain and an attempt.
#[derive(Default)]
pub(super) struct Bond {
    pub(super) explicit: Vec<&'static str>,
    pub(super) caller: Option<Caller>,
    pub(super) doubtful: bool,
    /// Whether the attempt may be an independent call, which only further attempts can rule out.
    pub(super) held: bool,
    pub(super) other_thread: bool,
    /// Distance between attempt and chain; smaller is better.
    pub(super) distance: f64,
}

impl Retry {
    /// Finds the chain that an attempt belongs to.
    pub(super) fn find(&mut self, beginning: &Beginning<'_>) -> Option<(ChainId, Bond)> {
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

    /// Relation of the attempt to the chain; `None` if it cannot belong to it.
    pub(super) fn bond(&mut self, id: ChainId, beginning: &Beginning<'_>) -> Option<Bond> {
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
        let turns = self.threads.take_turns(beginning.process.pid);
        let first = chain.listed.first().map_or(span.0, |first| first.started);
        let mut same_caller = false;
        match (&chain.caller, &bond.caller) {
            (Some(one), Some(other)) if one.exchange != other.exchange => return None,
            (Some(_), Some(_)) => same_caller = true,
            // An inbound call that started after the first attempt did not cause it. If threads take turns, the only
            // inbound call of a thread need not be the one that it works for.
            (None, Some(other)) if self.callers.get(other.exchange).is_some_and(|inbound| inbound.started > first) => {
                if !turns || other.by != "same thread" {
                    return None;
                }
                bond.held = true;
                bond.caller = None;
            }
            // All inbound calls that may have caused the first attempt are answered, and others are not.
            (None, None) if chain.served => bond.held = self.callers.oldest().is_some_and(|oldest| oldest > first),
            _ => {}
        }
        let same_thread = chain.process.tid == beginning.process.tid;
        bond.other_thread = !same_thread && chain.loose.is_none();
        let gap = started.since(span.1) as f64;
        if bond.explicit.is_empty() && !same_caller && !same_thread {
            // A call of another thread is another call, unless threads take turns. Even then, one that comes at once is
            // another call.
            let may = turns || chain.loose.is_some();
            if !may || gap <= self.thresholds.immediate.as_nanos() as f64 {
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
                // A connect does not name its purpose. If many calls are made, these connects may belong to as many
                // calls.
                Habit::Busy if beginning.request.is_none() && chain.call.method.is_none() => bond.held = true,
                Habit::Busy if chain.attempts > 1 && due && beginning.request.is_some() => bond.doubtful = true,
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
}
