//! Correlation of inbound exchanges of a process with its outbound calls.
//!
//! HTTP does not express this relation, unless the program propagates a trace or request ID. Each link therefore has a
//! [`Certainty`], and no link is reported if several inbound exchanges are equally plausible. The retry detector
//! applies the same rules to open exchanges; this module applies them to stored ones.

use std::sync::Arc;

use strum::IntoStaticStr;

use crate::{
    event::Timestamp,
    model::{
        connection::{Endpoint, Role},
        exchange::{Exchange, ExchangeId},
    },
};

/// Maximum number of calls reported for one inbound exchange.
const MOST_CALLS: usize = 200;
/// Maximum number of calls examined for one inbound exchange.
const MOST_LOOKED_AT: usize = 1_000;
/// Maximum number of inbound exchanges compared with a call. Among more, only a thread or an ID could decide.
const MOST_INBOUND: usize = 2_000;

/// Certainty of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Certainty {
    /// The inbound exchange was the only open one; but a process may also make calls on its own.
    Possible,
    /// The same thread handled the inbound exchange and made the call, and handled no other exchange at that time.
    Likely,
    /// The program states the relation.
    Certain,
}

impl Certainty {
    /// Name of the certainty, for display.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A link to another exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The linked exchange.
    pub exchange: ExchangeId,
    /// Certainty of the link.
    pub certainty: Certainty,
    /// Reason, for display.
    pub why: &'static str,
}

/// Exchanges linked with one exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// The inbound exchange that caused this call.
    pub caused_by: Option<Link>,
    /// Calls that this inbound exchange caused, in the order of their start.
    pub caused: Vec<Link>,
    /// Whether further calls exist beyond the limits.
    pub more: bool,
    /// The same exchange as seen at the other end of its connection.
    pub other_end: Option<ExchangeId>,
}

/// Finds the exchanges among `others` that are linked with `exchange`. `others` may contain `exchange`.
pub fn of<'a>(exchange: &Exchange, others: impl Iterator<Item = &'a Arc<Exchange>>) -> Causes {
    let mut causes = Causes::default();
    let mut inbound = Vec::new();
    let mut calls = Vec::new();
    let end = exchange.end();
    let mut other_end: Option<&Arc<Exchange>> = None;
    let (trace, request) = marks(exchange);
    // Calls after the end of the exchange count only if the program states the relation.
    let is_marked = |call: &Exchange| {
        (trace.is_some() || request.is_some()) && {
            let (its_trace, its_request) = marks(call);
            trace.is_some() && trace == its_trace || request.is_some() && request == its_request
        }
    };
    for other in others.filter(|other| other.id != exchange.id) {
        if is_other_end(exchange, other) && other_end.is_none_or(|before| nearer(exchange, other, before)) {
            other_end = Some(other);
        }
        if other.process.pid != exchange.process.pid {
            continue;
        }
        match (exchange.role, other.role) {
            (_, Role::Server) if inbound.len() < MOST_INBOUND => inbound.push(Inbound::of(other)),
            (Role::Server, Role::Client)
                if other.started >= exchange.started
                    && (end.is_none_or(|end| other.started <= end) || is_marked(other)) =>
            {
                if calls.len() < MOST_LOOKED_AT {
                    calls.push(other);
                } else {
                    causes.more = true;
                }
            }
            _ => {}
        }
    }
    causes.other_end = other_end.map(|other| other.id);
    if exchange.role == Role::Client {
        causes.caused_by = cause_of(exchange, &inbound);
        return causes;
    }
    inbound.push(Inbound::of(exchange));
    calls.sort_unstable_by_key(|call| call.id);
    for call in calls {
        let Some(link) = cause_of(call, &inbound).filter(|link| link.exchange == exchange.id) else { continue };
        if causes.caused.len() == MOST_CALLS {
            causes.more = true;
            break;
        }
        causes.caused.push(Link { exchange: call.id, ..link });
    }
    causes
}

/// Inbound exchange of a process, as far as the comparison needs it.
#[derive(Clone, Copy, Debug)]
struct Inbound<'a> {
    id: ExchangeId,
    tid: u32,
    started: Timestamp,
    end: Option<Timestamp>,
    trace: Option<&'a [u8]>,
    request: Option<&'a [u8]>,
}

impl<'a> Inbound<'a> {
    fn of(exchange: &'a Exchange) -> Self {
        let (trace, request) = marks(exchange);
        let end = exchange.end();
        Self { id: exchange.id, tid: exchange.process.tid, started: exchange.started, end, trace, request }
    }

    fn was_open_at(&self, time: Timestamp) -> bool {
        self.started <= time && self.end.is_none_or(|end| time <= end)
    }
}

/// Finds the inbound exchange that caused a call.
fn cause_of(call: &Exchange, inbound: &[Inbound<'_>]) -> Option<Link> {
    let (trace, request) = marks(call);
    let earlier = || inbound.iter().filter(|inbound| inbound.started <= call.started);
    let certain = |exchange, why| Link { exchange, certainty: Certainty::Certain, why };
    if let Some(id) = trace.and_then(|trace| alone(earlier().filter(|inbound| inbound.trace == Some(trace)), call)) {
        return Some(certain(id, "same trace id"));
    }
    let same_request = |request| earlier().filter(move |inbound| inbound.request == Some(request));
    if let Some(id) = request.and_then(|request| alone(same_request(request), call)) {
        return Some(certain(id, "same request id"));
    }
    let open = || inbound.iter().filter(|inbound| inbound.was_open_at(call.started));
    let (certainty, why, exchange) = match only(open().filter(|inbound| inbound.tid == call.process.tid)) {
        Found::One(id) => (Certainty::Likely, "same thread", id),
        Found::Several => return None,
        Found::None => match only(open()) {
            Found::One(id) => (Certainty::Possible, "the only one open then", id),
            Found::Several | Found::None => return None,
        },
    };
    // Different trace IDs rule out the link.
    let other = inbound.iter().find(|inbound| inbound.id == exchange)?;
    let contradicts = |own: Option<&[u8]>, other: Option<&[u8]>| own.is_some() && other.is_some() && own != other;
    (!contradicts(trace, other.trace)).then_some(Link { exchange, certainty, why })
}

enum Found {
    None,
    One(ExchangeId),
    Several,
}

fn only<'a>(mut inbound: impl Iterator<Item = &'a Inbound<'a>>) -> Found {
    match (inbound.next(), inbound.next()) {
        (None, _) => Found::None,
        (Some(one), None) => Found::One(one.id),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// Returns the only matching inbound exchange. Of several (a trace may reach a process more than once), returns the
/// only one that was open when the call started.
fn alone<'a>(inbound: impl Iterator<Item = &'a Inbound<'a>> + Clone, call: &Exchange) -> Option<ExchangeId> {
    match only(inbound.clone()) {
        Found::One(id) => Some(id),
        Found::None => None,
        Found::Several => match only(inbound.filter(|inbound| inbound.was_open_at(call.started))) {
            Found::One(id) => Some(id),
            Found::None | Found::Several => None,
        },
    }
}

/// Trace ID (W3C Trace Context or B3) and request ID of a request, if present.
fn marks(exchange: &Exchange) -> (Option<&[u8]>, Option<&[u8]>) {
    let Some(request) = &exchange.request else { return (None, None) };
    let trace = request.headers.get("traceparent").and_then(|value| value.get(3..35));
    let trace = trace.or_else(|| request.headers.get("x-b3-traceid"));
    (trace, request.headers.get("x-request-id"))
}

/// Whether both ends of the connection are traced and `other` is the same exchange at the other end.
fn is_other_end(exchange: &Exchange, other: &Exchange) -> bool {
    let (own, its) = (&exchange.connection, &other.connection);
    exchange.role != other.role
        && matches!(own.local, Endpoint::Inet(_))
        && own.local == its.remote
        && own.remote == its.local
        && (exchange.stream.is_none() || other.stream.is_none() || exchange.stream == other.stream)
        && matches!((&exchange.request, &other.request), (Some(own), Some(its))
            if own.target == its.target && own.method == its.method)
        && exchange.end().is_none_or(|end| other.started <= end)
        && other.end().is_none_or(|end| exchange.started <= end)
}

fn nearer(exchange: &Exchange, one: &Exchange, other: &Exchange) -> bool {
    let distance = |it: &Exchange| it.started.0.abs_diff(exchange.started.0);
    distance(one) < distance(other)
}

#[cfg(test)]
mod tests;
