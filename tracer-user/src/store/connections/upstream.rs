//! Connections that lead to one place, and how many of them are in use.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::FxHasher;

use super::row::{Use, used};
use crate::{
    analysis::detector::{OpenConnection, endpoint},
    event::Timestamp,
    model::connection::{ConnectionInfo, Role},
    store::Recent,
};

/// Names that are remembered.
const MAX_NAMES: usize = 4;

/// Names an upstream: whom the target calls, or its own address that others call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamKey(u64);

fn address(role: Option<Role>, info: &ConnectionInfo) -> &str {
    if role == Some(Role::Server) { &info.local_text } else { &info.remote_text }
}

impl UpstreamKey {
    /// Where a connection leads to.
    pub fn of(role: Option<Role>, info: &ConnectionInfo) -> Self {
        let mut hasher = FxHasher::default();
        (role == Some(Role::Server)).hash(&mut hasher);
        address(role, info).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// All.
    pub open: u32,
    /// Those on which exchanges are open.
    pub busy: u32,
    /// Those on which none is.
    pub idle: u32,
    /// Those that are being made.
    pub connecting: u32,
}

impl Pool {
    /// The most of each.
    fn max(self, other: Self) -> Self {
        Self {
            open: self.open.max(other.open),
            busy: self.busy.max(other.busy),
            idle: self.idle.max(other.idle),
            connecting: self.connecting.max(other.connecting),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Names it.
    pub key: UpstreamKey,
    /// What the target is on these connections.
    pub role: Option<Role>,
    /// The peer's address, or where the target serves its own.
    pub address: Box<str>,
    /// How the exchanges call it: those that were seen first.
    pub names: Vec<Box<str>>,
    /// As it is now.
    pub now: Pool,
    /// The most that were seen at once.
    pub most: Pool,
    /// The most in each second.
    pub history: Recent<Pool>,
    /// Connections that were closed.
    pub closed: u64,
    /// At the look before, while one goes on.
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
