//! Calls that the target gave up itself: the time-out that it evidently uses, and how often it was the same.

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

/// A call that is closed sooner than this was not waited for.
pub(super) const SHORTEST_NS: u64 = 50_000_000;
/// Endpoints of which the last time-out is remembered; beyond it all are forgotten.
const ENDPOINTS: usize = 4096;

/// Calls of an endpoint that are compared.
const COMPARED: usize = 8;

#[derive(Clone, Debug, Default)]
struct Last {
    whole: u64,
    silent: u64,
    /// Of the time-out that was equal last.
    timeout: u64,
    times: u32,
    /// The latest, by how long they were silent.
    calls: Vec<GivenUp>,
}

/// By endpoint.
#[derive(Debug, Default)]
pub(super) struct Timeouts(FxHashMap<Endpoint, Last>);

impl Timeouts {
    /// Calls of this endpoint are closed when the next one is made.
    pub(super) fn follow(&self, endpoint: Endpoint) -> bool {
        self.0.get(&endpoint).is_some_and(|last| last.calls.iter().any(|call| call.followed))
    }

    /// Calls of the endpoint were given up before.
    pub(super) fn knows(&self, endpoint: Endpoint) -> bool {
        !self.0.is_empty() && self.0.contains_key(&endpoint)
    }

    /// The target gave up after `whole` since the call began and `silent` since anything of it moved. Gives the time-out
    /// that it evidently uses, and how often in a row that was the same. Some count from the start, some from the last
    /// byte: what is the same again tells which. Where the next call `followed` the close at once, the time-out is what
    /// it has in common with others; `None` where that is not known.
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

/// Of one endpoint, calls are given up alike.
pub(super) fn endpoint_of(candidate: &Candidate) -> Endpoint {
    // Requests and bare connections to one authority are not alike.
    Endpoint::of_call(candidate.role, &candidate.call)
}

/// A finished exchange, as if it hung when it was given up.
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
        process: exchange.process.clone(),
        tid: exchange.process.tid,
        connection: Arc::clone(&exchange.connection),
        exchange: Some(exchange.id),
        call: call_of(exchange.role, &exchange.connection, exchange.request.as_ref()),
    }
}

/// A thread that waits for a name server.
pub(super) fn query(thread: &Thread, since: Timestamp, threshold: u64) -> Candidate {
    let event = &thread.latest;
    let remote = Address::from_wire(event.family, event.remote, event.remote_port);
    let text: Box<str> = remote.to_string().into();
    let name: Arc<str> = thread.name().into();
    let (pid, tid) = (event.header.tgid, event.header.tid);
    // No connection of the engine's: none is shown.
    let connection = ConnectionInfo {
        id: ConnectionId(0),
        inode: SocketInode(0),
        local: Address::Unknown,
        remote,
        local_text: Address::Unknown.to_string().into(),
        remote_text: text.clone(),
        protocol: Protocol::Other,
        client: None,
        destination: None,
        opened: None,
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
