//! Connections: open ones, recently closed ones, and the pool of each upstream.

mod row;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::VecDeque;

pub use row::{Closed, Connection, How, Use};
use rustc_hash::{FxHashMap, FxHashSet};
pub use upstream::{Pool, Upstream, UpstreamKey};

use crate::{
    analysis::detector::{Live, endpoint},
    event::Timestamp,
    model::{
        connection::{ConnectionId, ConnectionInfo, Role},
        exchange::Exchange,
    },
};

/// Maximum number of listed open connections: those that became known last. All are counted.
pub const MAX_CONNECTIONS: usize = 2_000;
/// Maximum number of listed closed connections.
const MAX_CLOSED: usize = 200;
/// Maximum number of upstreams. Beyond it, upstreams without a connection are dropped, else new ones are not counted.
const MAX_UPSTREAMS: usize = 256;
/// Interval between two visits of all connections, in nanoseconds for each connection: 0.1 s with 5,000 connections, 2 s with
/// 100,000.
const PAUSE_NS: u64 = 20_000;
/// Slots of the table of connections whose name is known. A slot holds one connection; another one replaces it.
const LEARNED: usize = 256;

/// Open and recently closed connections, and their upstreams.
#[derive(Clone, Debug)]
pub struct Connections {
    looked: Option<Timestamp>,
    open: Vec<Connection>,
    total: usize,
    closed: VecDeque<Closed>,
    closed_total: u64,
    /// Listed closed connections that the engine still remembers.
    told: FxHashSet<ConnectionId>,
    upstreams: Vec<Upstream>,
    index: FxHashMap<UpstreamKey, usize>,
    /// The current visit found no room for more upstreams. Room is made once per visit, not for each connection.
    full: bool,
    learned: Box<[u64; LEARNED]>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            looked: None,
            open: Vec::new(),
            total: 0,
            closed: VecDeque::new(),
            closed_total: 0,
            told: FxHashSet::default(),
            upstreams: Vec::new(),
            index: FxHashMap::default(),
            full: false,
            learned: Box::new([0; LEARNED]),
        }
    }
}

impl Connections {
    /// Takes the name of an upstream from an exchange.
    pub fn see(&mut self, exchange: &Exchange) {
        let id = exchange.connection.id.0;
        let learned = &mut self.learned[id as usize % LEARNED];
        if *learned == id || exchange.request.is_none() {
            return;
        }
        let key = UpstreamKey::of(Some(exchange.role), &exchange.connection);
        if let Some(index) = self.index.get(&key) {
            *learned = id;
            self.upstreams[*index].is_called(endpoint::authority(exchange));
        }
    }

    /// Visits all connections, unless the last visit was too recent.
    pub fn look(&mut self, now: Timestamp, live: &dyn Live) {
        let pause = (self.total + self.told.len()) as u64 * PAUSE_NS;
        if self.looked.is_some_and(|looked| now.since(looked) < pause) {
            return;
        }
        self.looked = Some(now);
        self.full = false;
        self.look_for_closed(now, live);
        for upstream in &mut self.upstreams {
            upstream.begin_look();
        }
        let mut ids: Vec<ConnectionId> = Vec::with_capacity(self.total);
        live.connections(&mut |connection| {
            ids.push(connection.info.id);
            if let Some(upstream) = self.upstream(connection.role, connection.info) {
                upstream.count(connection);
            }
        });
        self.total = ids.len();
        for upstream in &mut self.upstreams {
            upstream.end_look(now);
        }
        let first = match ids.len().checked_sub(MAX_CONNECTIONS) {
            None | Some(0) => ConnectionId(0),
            Some(beyond) => *ids.select_nth_unstable(beyond).1,
        };
        let before = std::mem::take(&mut self.open);
        live.connections(&mut |connection| {
            if connection.info.id >= first {
                let known = find(&before, connection.info.id);
                self.open.push(Connection::of(connection, known, now));
            }
        });
        self.open.sort_unstable_by_key(|connection| connection.info.id);
    }

    fn look_for_closed(&mut self, now: Timestamp, live: &dyn Live) {
        let mut told = FxHashSet::default();
        let mut new: Vec<Closed> = Vec::new();
        live.closed(&mut |connection| {
            let id = connection.info.id;
            told.insert(id);
            if !self.told.contains(&id) {
                new.push(Closed::of(connection, find(&self.open, id), now));
            }
        });
        for closed in &new {
            if let Some(upstream) = self.upstream(closed.connection.role, &closed.connection.info) {
                upstream.closed += 1;
            }
        }
        self.told = told;
        self.closed_total += new.len() as u64;
        new.sort_unstable_by_key(|closed| (closed.ended, closed.connection.info.id));
        let surplus = (self.closed.len() + new.len()).saturating_sub(MAX_CLOSED);
        self.closed.drain(..surplus.min(self.closed.len()));
        let skip = new.len().saturating_sub(MAX_CLOSED);
        self.closed.extend(new.into_iter().skip(skip));
    }

    fn upstream(&mut self, role: Option<Role>, info: &ConnectionInfo) -> Option<&mut Upstream> {
        let key = UpstreamKey::of(role, info);
        if let Some(index) = self.index.get(&key) {
            return Some(&mut self.upstreams[*index]);
        }
        if self.full {
            return None;
        }
        if self.upstreams.len() >= MAX_UPSTREAMS {
            self.upstreams.retain(|upstream| upstream.now.open > 0 || upstream.before.open > 0);
            self.index = self.upstreams.iter().enumerate().map(|(index, upstream)| (upstream.key, index)).collect();
            self.full = self.upstreams.len() >= MAX_UPSTREAMS;
            if self.full {
                return None;
            }
        }
        self.index.insert(key, self.upstreams.len());
        self.upstreams.push(Upstream::new(key, role, info));
        self.upstreams.last_mut()
    }

    /// Listed open connections, in the order in which they became known; see [`MAX_CONNECTIONS`].
    pub fn open(&self) -> &[Connection] {
        &self.open
    }

    /// Number of open connections.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Listed closed connections, in the order in which they closed.
    pub fn closed(&self) -> impl DoubleEndedIterator<Item = &Closed> {
        self.closed.iter()
    }

    /// Number of connections that closed while the store observed them.
    pub fn closed_total(&self) -> u64 {
        self.closed_total
    }

    /// Upstreams, in the order in which they became known.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// The upstream with this key.
    pub fn upstream_by_key(&self, key: UpstreamKey) -> Option<&Upstream> {
        self.index.get(&key).map(|index| &self.upstreams[*index])
    }
}

fn find(open: &[Connection], id: ConnectionId) -> Option<&Connection> {
    open.binary_search_by_key(&id, |connection| connection.info.id).ok().map(|index| &open[index])
}
