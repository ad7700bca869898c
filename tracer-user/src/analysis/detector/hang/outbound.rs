//! Outbound calls of the target, which its inbound calls may wait for.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::call::{Known, last};
use crate::{
    analysis::detector::Live,
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Role},
        exchange::ExchangeId,
    },
};

/// An outbound call of the target, which an inbound call may wait for.
#[derive(Clone, Debug)]
pub(super) struct OutboundCall {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) inode: u64,
    pub(super) since: Timestamp,
    pub(super) exchange: Option<ExchangeId>,
    pub(super) connection: Arc<ConnectionInfo>,
}

/// Pending outbound calls of the target.
#[derive(Debug, Default)]
pub(super) struct OutboundCalls {
    /// All calls, oldest first.
    all: Vec<OutboundCall>,
    by_thread: FxHashMap<(u32, u32), Vec<usize>>,
    /// Index of the oldest call on each socket, and whether the socket carries others.
    by_inode: FxHashMap<u64, (usize, bool)>,
    /// Threads that serve requests, with the number of requests. Other requests do not wait for the calls of these
    /// threads.
    serving: FxHashMap<(u32, u32), u32>,
    /// Remote addresses of the sockets that threads wait on.
    peers: FxHashMap<u64, Box<str>>,
}

impl OutboundCalls {
    /// The oldest call on this socket.
    pub(super) fn on(&self, pid: u32, inode: u64) -> Option<&OutboundCall> {
        self.by_inode.get(&inode).map(|(index, _)| &self.all[*index]).filter(|made| made.pid == pid)
    }

    /// Whether several calls share the socket.
    pub(super) fn are_several_on(&self, inode: u64) -> bool {
        self.by_inode.get(&inode).is_some_and(|(_, several)| *several)
    }

    /// The first call of this thread since a time.
    pub(super) fn by(&self, pid: u32, tid: u32, since: Timestamp) -> Option<&OutboundCall> {
        let indices = self.by_thread.get(&(pid, tid))?;
        indices.iter().map(|index| &self.all[*index]).find(|made| made.since >= since)
    }

    /// The first call of the process since a time, without those of threads that serve requests.
    pub(super) fn after(&self, pid: u32, since: Timestamp) -> Option<&OutboundCall> {
        /// Among many calls at once, none stands out.
        const LOOK_AT: usize = 64;
        let begin = self.all.partition_point(|made| made.since < since);
        let mut later = self.all[begin..].iter().take(LOOK_AT);
        later.find(|made| made.pid == pid && !self.serving.contains_key(&(made.pid, made.tid)))
    }

    /// Remote address of a socket.
    pub(super) fn peer(&self, inode: u64) -> Option<&str> {
        self.peers.get(&inode).map(|peer| &**peer)
    }

    /// Whether the thread serves several requests at once, so that the request behind its call is unknown.
    pub(super) fn serves_several(&self, pid: u32, tid: u32) -> bool {
        self.serving.get(&(pid, tid)).is_some_and(|requests| *requests > 1)
    }
}

/// Lists the pending outbound calls, and the threads that serve.
pub(super) fn list(live: &dyn Live, known: Known<'_>) -> OutboundCalls {
    let mut serving = FxHashMap::default();
    let mut all = Vec::new();
    let mut seen = FxHashSet::default();
    live.exchanges(&mut |exchange| {
        if exchange.role == Role::Server {
            *serving.entry((exchange.process.pid, exchange.thread)).or_default() += 1;
        } else if seen.insert(exchange.connection.id) || exchange.stream.is_some() {
            all.push(OutboundCall {
                pid: exchange.process.pid,
                tid: exchange.process.tid,
                inode: exchange.connection.inode.0,
                since: exchange.started,
                exchange: Some(exchange.id),
                connection: Arc::clone(exchange.connection),
            });
        }
    });
    let mut peers = FxHashMap::default();
    live.connections(&mut |connection| {
        if known.waited.contains(&connection.info.inode.0) {
            peers.insert(connection.info.inode.0, connection.info.remote_text.clone());
        }
        if seen.contains(&connection.info.id) || connection.role != Some(Role::Client) {
            return;
        }
        let since = if connection.is_connecting() {
            connection.connect_start
        } else {
            last(connection, known.kernels.get(connection.info.inode.0)).filter(|last| last.sent).map(|last| last.since)
        };
        all.extend(since.map(|since| OutboundCall {
            pid: connection.process.pid,
            tid: connection.turn.map_or(connection.process.tid, |turn| turn.tid),
            inode: connection.info.inode.0,
            since,
            exchange: None,
            connection: Arc::clone(connection.info),
        }));
    });
    all.sort_by_key(|made| (made.since, made.connection.id));
    let mut by_thread: FxHashMap<_, Vec<usize>> = FxHashMap::default();
    for (index, made) in all.iter().enumerate() {
        by_thread.entry((made.pid, made.tid)).or_default().push(index);
    }
    let mut by_inode = FxHashMap::default();
    for (index, made) in all.iter().enumerate() {
        by_inode.entry(made.inode).and_modify(|(_, several)| *several = true).or_insert((index, false));
    }
    OutboundCalls { all, by_thread, by_inode, serving, peers }
}
