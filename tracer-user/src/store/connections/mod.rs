//! Connections: those that are open, those that were closed of late, and by upstream how many are in use.

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

/// Open connections that are shown, those that became known last; all are counted.
pub const MAX_CONNECTIONS: usize = 2_000;
/// Closed ones that are remembered.
const MAX_CLOSED: usize = 200;
/// Upstreams that are told apart; beyond it those without a connection are forgotten, or new ones not counted.
const MAX_UPSTREAMS: usize = 256;
/// Time between two looks, for each connection: with 5,000 of them every tenth of a second, with 100,000 every two.
const PAUSE_NS: u64 = 20_000;
/// Connections whose names were learned, in a table without chains.
const LEARNED: usize = 256;

/// See the module.
#[derive(Clone, Debug)]
pub struct Connections {
    looked: Option<Timestamp>,
    open: Vec<Connection>,
    total: usize,
    closed: VecDeque<Closed>,
    closed_total: u64,
    /// Closed ones that were seen to be, as long as they are shown.
    told: FxHashSet<ConnectionId>,
    upstreams: Vec<Upstream>,
    index: FxHashMap<UpstreamKey, usize>,
    /// At this look there is no room for more upstreams: it is made once, not for each connection.
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
    /// An exchange tells how its upstream is called.
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

    /// Time has passed, and this is open.
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

    /// Open ones, in the order in which they became known; see [`MAX_CONNECTIONS`].
    pub fn open(&self) -> &[Connection] {
        &self.open
    }

    /// How many are open.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Closed ones that are remembered, in the order in which they were closed.
    pub fn closed(&self) -> impl DoubleEndedIterator<Item = &Closed> {
        self.closed.iter()
    }

    /// How many were closed while they were looked at.
    pub fn closed_total(&self) -> u64 {
        self.closed_total
    }

    /// By whom they lead to, in the order in which these became known.
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
