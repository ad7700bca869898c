//! Calls that the target gave up: the time-out that it evidently uses, and how often in a row that was the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    call::{Candidate, Moved, Stage, Subject, call_of},
    evidence::Call,
    history::Endpoint,
    purpose::Purpose,
    threads::Thread,
};
use crate::{
    analysis::detector::common_timeout::{GivenUp, common, same},
    event::{SocketInode, Timestamp},
    model::{
        connection::{ConnectionId, ConnectionInfo, Endpoint as Address, Protocol, Role},
        exchange::{Exchange, ProcessRef},
    },
};

/// Minimum silence in nanoseconds of a call that timed out. A client that closes sooner did not wait.
pub(super) const SHORTEST_NS: u64 = 50_000_000;
/// Maximum number of endpoints with a known time-out. Beyond it, all are dropped.
const ENDPOINTS: usize = 4096;

/// Number of the latest calls of an endpoint that are compared.
const COMPARED: usize = 8;

#[derive(Clone, Debug, Default)]
struct Last {
    whole: u64,
    silent: u64,
    /// The latest time-out.
    timeout: u64,
    times: u32,
    /// The latest calls, with their silence.
    calls: Vec<GivenUp>,
}

/// Time-outs by endpoint.
#[derive(Debug, Default)]
pub(super) struct Timeouts(FxHashMap<Endpoint, Last>);

impl Timeouts {
    /// Whether clients close a call of this endpoint only when they make the next one.
    pub(super) fn follow(&self, endpoint: Endpoint) -> bool {
        self.0.get(&endpoint).is_some_and(|last| last.calls.iter().any(|call| call.followed))
    }

    /// Whether a call of the endpoint was given up before.
    pub(super) fn knows(&self, endpoint: Endpoint) -> bool {
        !self.0.is_empty() && self.0.contains_key(&endpoint)
    }

    /// Adds a call that the target gave up `whole` nanoseconds after its start and `silent` nanoseconds after its
    /// latest byte. Returns the time-out that the target evidently uses, and how often in a row it was the same. Some
    /// clients count from the start, some from the latest byte: the number that repeats tells which. If the next call
    /// `followed` the close at once, a backoff is part of the silence, and the time-out is the part that several calls
    /// have in common; `None` while that is unknown.
    pub(super) fn add(&mut self, endpoint: Endpoint, whole: u64, silent: u64, followed: bool) -> Option<(u64, u32)> {
        if self.0.len() >= ENDPOINTS {
            self.0.clear();
        }
        let last = self.0.entry(endpoint).or_default();
        if last.calls.len() >= COMPARED {
            last.calls.remove(0);
        }
        last.calls.push(GivenUp { lasted: silent, followed });
        let times = last.times + 1;
        let (timeout, times) = if followed {
            let common = common(&last.calls)?;
            if !common.sure {
                return None;
            }
            (common.timeout, if last.times > 0 && same(last.timeout, common.timeout) { times } else { 1 })
        } else if last.times > 0 && (same(last.silent, silent) || same(last.timeout, silent)) {
            (silent, times)
        } else if last.times > 0 && same(last.whole, whole) {
            (whole, times)
        } else {
            (silent, 1)
        };
        (last.whole, last.silent, last.timeout, last.times) = (whole, silent, timeout, times);
        Some((timeout, times))
    }
}

/// The endpoint whose calls share a time-out.
pub(super) fn endpoint_of(candidate: &Candidate) -> Endpoint {
    // A request and a bare connection to one authority have different time-outs.
    Endpoint::of_call(candidate.role, &candidate.call)
}

/// A finished exchange as a candidate, in the state in which it was given up.
pub(super) fn candidate_of(exchange: &Exchange, threshold: u64) -> Candidate {
    let timing = &exchange.timing;
    let started = timing.connect_start.filter(|_| exchange.request.is_none()).unwrap_or(exchange.started);
    let progress = [timing.request_end, timing.response_end].into_iter().flatten().max().unwrap_or(started);
    let stage = match (&exchange.request, &exchange.response) {
        (None, None) if timing.request_start.is_none() => Stage::Connect,
        (_, Some(_)) => Stage::ReceiveResponse,
        _ => Stage::AwaitResponse,
    };
    Candidate {
        subject: Subject::Exchange(exchange.id),
        stage,
        role: exchange.role,
        started,
        progress,
        lower_bound: false,
        threshold,
        doubtful: false,
        purpose: Purpose::None,
        moved: if exchange.response.is_some() { Moved::Content } else { Moved::Request },
        peer_closed: false,
        shared: exchange.stream.is_some(),
        others_move: false,
        process: exchange.process.clone(),
        tid: exchange.process.tid,
        connection: Arc::clone(&exchange.connection),
        exchange: Some(exchange.id),
        call: call_of(exchange.role, &exchange.connection, exchange.request.as_ref()),
    }
}

/// A candidate for a thread that waits for a name server.
pub(super) fn query(thread: &Thread, since: Timestamp, threshold: u64) -> Candidate {
    let event = &thread.latest;
    let remote = Address::from_wire(event.family, event.remote, event.remote_port);
    let text: Box<str> = remote.to_string().into();
    let name: Arc<str> = thread.name().into();
    let (pid, tid) = (event.header.tgid, event.header.tid);
    // The engine knows no such connection, so the report shows none.
    let connection = ConnectionInfo {
        remote,
        remote_text: text.clone(),
        protocol: Protocol::Other,
        ..ConnectionInfo::new(ConnectionId(0), SocketInode(0))
    };
    Candidate {
        subject: Subject::Query(pid, tid),
        stage: Stage::Query,
        role: Role::Client,
        started: since,
        progress: since,
        lower_bound: true,
        threshold,
        doubtful: false,
        purpose: Purpose::None,
        moved: Moved::Unknown,
        peer_closed: false,
        shared: false,
        others_move: false,
        process: ProcessRef { pid, tid, name },
        tid,
        connection: Arc::new(connection),
        exchange: None,
        call: Call { method: None, authority: text, address: None, path: "".into(), inbound: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_again_is_the_time_out() {
        const MS: u64 = 1_000_000;
        let mut timeouts = Timeouts::default();
        let endpoint = || Endpoint::of(Role::Client, "h", None);
        let mut add = |whole, silent| timeouts.add(endpoint(), whole * MS, silent * MS, false);
        assert_eq!(add(2100, 2000), Some((2000 * MS, 1)));
        assert_eq!(add(2300, 2010), Some((2010 * MS, 2)), "from the last byte on");
        assert_eq!(add(2290, 1000), Some((2290 * MS, 3)), "from the start on");
        assert_eq!(add(9000, 8000), Some((8000 * MS, 1)));
    }

    #[test]
    fn a_backoff_is_no_time_out() {
        const MS: u64 = 1_000_000;
        let mut timeouts = Timeouts::default();
        let endpoint = || Endpoint::of(Role::Client, "h", None);
        let mut add = |lasted, followed| timeouts.add(endpoint(), lasted * MS, lasted * MS, followed);
        assert_eq!([add(900, true), add(1300, true), add(2100, true)], [None; 3]);
        assert_eq!(add(3700, true), Some((500 * MS, 1)));
        assert_eq!(add(500, false), Some((500 * MS, 2)));
    }
}
