//! Connections to one upstream, and how many of them are in use.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::FxHasher;

use super::row::{Use, used};
use crate::{
    analysis::detector::{OpenConnection, endpoint},
    event::Timestamp,
    model::connection::{ConnectionInfo, Role},
    store::Recent,
};

/// Maximum number of names of one upstream.
const MAX_NAMES: usize = 4;

/// Key of an upstream: the address that the target calls, or its own address that others call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamKey(u64);

fn address(role: Option<Role>, info: &ConnectionInfo) -> &str {
    if role == Some(Role::Server) { &info.local_text } else { &info.remote_text }
}

impl UpstreamKey {
    /// The upstream of a connection.
    pub fn of(role: Option<Role>, info: &ConnectionInfo) -> Self {
        let mut hasher = FxHasher::default();
        (role == Some(Role::Server)).hash(&mut hasher);
        address(role, info).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Number of connections by use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// All open connections.
    pub open: u32,
    /// Connections with pending exchanges. One that carries several counts once.
    pub busy: u32,
    /// Connections without a pending exchange.
    pub idle: u32,
    /// Connections that are being made.
    pub connecting: u32,
}

impl Pool {
    /// The greater of each number.
    fn max(self, other: Self) -> Self {
        Self {
            open: self.open.max(other.open),
            busy: self.busy.max(other.busy),
            idle: self.idle.max(other.idle),
            connecting: self.connecting.max(other.connecting),
        }
    }
}

/// An upstream and its connections.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Key of the upstream.
    pub key: UpstreamKey,
    /// Role of the target on its connections, if known.
    pub role: Option<Role>,
    /// Address of the peer; where the target serves, its own address.
    pub address: Box<str>,
    /// Authorities in the requests, other than the address: the first few.
    pub names: Vec<Box<str>>,
    /// Connections now.
    pub now: Pool,
    /// Greatest numbers that one visit found.
    pub most: Pool,
    /// Greatest numbers in each second.
    pub history: Recent<Pool>,
    /// Number of closed connections.
    pub closed: u64,
    /// Connections at the previous visit, during a visit.
    pub(super) before: Pool,
}

impl Upstream {
    pub(super) fn new(key: UpstreamKey, role: Option<Role>, info: &ConnectionInfo) -> Self {
        Self {
            key,
            role,
            address: endpoint::cut(address(role, info)),
            names: Vec::new(),
            now: Pool::default(),
            most: Pool::default(),
            history: Recent::default(),
            closed: 0,
            before: Pool::default(),
        }
    }

    pub(super) fn is_called(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES && *name != *self.address && self.names.iter().all(|own| **own != *name) {
            self.names.push(endpoint::cut(name));
        }
    }

    pub(super) fn begin_look(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    pub(super) fn count(&mut self, connection: &OpenConnection<'_>) {
        self.now.open += 1;
        self.role = self.role.or(connection.role);
        match used(connection) {
            Use::Busy => self.now.busy += 1,
            Use::Connecting => self.now.connecting += 1,
            Use::Idle => self.now.idle += 1,
            Use::Opaque => {}
        }
    }

    pub(super) fn end_look(&mut self, now: Timestamp) {
        self.most = self.most.max(self.now);
        if let Some(second) = self.history.at(now) {
            *second = second.max(self.now);
        }
    }
}
