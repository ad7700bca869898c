//! One connection, as it was last looked at.

use std::sync::Arc;

use super::UpstreamKey;
use crate::{
    analysis::detector::{KernelView, OpenConnection, Traffic},
    event::Timestamp,
    model::connection::Ending,
    model::{
        connection::{ConnectionInfo, Protocol, Role},
        exchange::ProcessRef,
    },
};

/// What a connection is used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Exchanges are open on it.
    Busy,
    /// The target connects.
    Connecting,
    /// It carries something whose exchanges are not seen.
    Opaque,
    /// Nothing is open on it.
    Idle,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where.
    pub info: Arc<ConnectionInfo>,
    /// Who opened it, or was first seen to use it.
    pub process: ProcessRef,
    /// What the target is on it, where that is known.
    pub role: Option<Role>,
    /// Which upstream it belongs to.
    pub upstream: UpstreamKey,
    /// Since when it is known: when it was opened, unless it was there before (see [`is_older`](Self::is_older)).
    pub known: Timestamp,
    /// What it is used for.
    pub used: Use,
    /// Since when: when the oldest open exchange began, the connect began, or bytes last moved.
    pub since: Timestamp,
    /// The peer sends no more.
    pub peer_closed: bool,
    /// Exchanges that are over.
    pub carried: u64,
    /// Exchanges that are open.
    pub open: u32,
    /// What the target sent.
    pub sent: Traffic,
    /// What it received.
    pub received: Traffic,
    /// What the kernel said last.
    pub kernel: Option<KernelView>,
}

impl Connection {
    pub(super) fn of(connection: &OpenConnection<'_>, before: Option<&Self>, now: Timestamp) -> Self {
        let info = connection.info;
        let role = connection.role.or(before.and_then(|before| before.role));
        let known = info.opened.or(before.map(|before| before.known)).unwrap_or(now);
        let used = used(connection);
        let moved = connection.sent.last.max(connection.received.last);
        let since = match used {
            Use::Busy => connection.open_since,
            Use::Connecting => connection.connect_start,
            Use::Opaque | Use::Idle => moved,
        };
        let since = since.unwrap_or(known);
        Self {
            info: Arc::clone(info),
            process: connection.process.clone(),
            role,
            upstream: UpstreamKey::of(role, info),
            known: known.min(since),
            used,
            since,
            peer_closed: connection.peer_closed,
            carried: connection.carried,
            open: connection.open,
            sent: connection.sent,
            received: connection.received,
            kernel: connection.kernel,
        }
    }

    /// It was there before it was seen, so it is older than it is known.
    pub fn is_older(&self) -> bool {
        self.info.opened.is_none()
    }
}

/// What it is used for.
pub(super) fn used(connection: &OpenConnection<'_>) -> Use {
    if connection.is_connecting() {
        Use::Connecting
    } else if connection.open > 0 {
        Use::Busy
    } else if matches!(connection.info.protocol, Protocol::Unknown | Protocol::Http1) {
        Use::Idle
    } else {
        Use::Opaque
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It could not be made.
    Failed,
    /// RST.
    Reset,
    /// The peer closed it.
    ByPeer,
    /// The target closed it.
    ByTarget,
    /// Not known: it was given up.
    Unknown,
}

/// A connection that is over.
#[derive(Clone, Debug)]
pub struct Closed {
    /// As it was when it ended.
    pub connection: Connection,
    /// How it ended.
    pub how: How,
    /// When.
    pub ended: Timestamp,
}

impl Closed {
    pub(super) fn of(connection: &OpenConnection<'_>, before: Option<&Connection>, now: Timestamp) -> Self {
        let how = match connection.ending {
            _ if connection.failed => How::Failed,
            Some(Ending::ByPeer) => How::ByPeer,
            Some(Ending::Reset | Ending::ResetByTarget) => How::Reset,
            Some(Ending::ByTarget) => How::ByTarget,
            Some(Ending::Unfinished) | None => How::Unknown,
        };
        let ended = connection.over.unwrap_or(now);
        let mut connection = Connection::of(connection, before, now);
        connection.known = connection.known.min(ended);
        Self { connection, how, ended }
    }

    /// How long it lived, nanoseconds; where it was there before it was seen, longer.
    pub fn lived(&self) -> u64 {
        self.ended.since(self.connection.known)
    }
}
