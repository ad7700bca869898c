//! One connection, as of the last visit.

use std::sync::Arc;

use super::UpstreamKey;
use crate::{
    analysis::detector::{KernelView, OpenConnection, Traffic},
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Ending, Protocol, Role},
        exchange::ProcessRef,
    },
};

/// Current use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Exchanges are pending on it.
    Busy,
    /// The target connects.
    Connecting,
    /// The connection carries a protocol whose exchanges are not decoded.
    Opaque,
    /// No exchange is pending on it.
    Idle,
}

/// A connection, as of the last visit.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Addresses and protocol.
    pub info: Arc<ConnectionInfo>,
    /// The process that opened the connection, or that first used it.
    pub process: ProcessRef,
    /// Role of the target, if known.
    pub role: Option<Role>,
    /// Key of its upstream.
    pub upstream: UpstreamKey,
    /// Time of the connect or accept; of an older connection (see [`is_older`](Self::is_older)), time at which it became known.
    pub known: Timestamp,
    /// Current use.
    pub used: Use,
    /// Start of the current use: start of the oldest pending exchange or of the connect, else time of the latest byte.
    pub since: Timestamp,
    /// The peer sends no more.
    pub peer_closed: bool,
    /// Number of ended exchanges.
    pub carried: u64,
    /// Number of pending exchanges.
    pub open: u32,
    /// Traffic that the target sent.
    pub sent: Traffic,
    /// Traffic that the target received.
    pub received: Traffic,
    /// The latest state that the kernel reported.
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

    /// Whether the connection existed before it became known.
    pub fn is_older(&self) -> bool {
        self.info.opened.is_none()
    }
}

/// Current use of a connection.
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

/// End of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The connect failed.
    Failed,
    /// The connection was reset.
    Reset,
    /// The peer closed it.
    ByPeer,
    /// The target closed it.
    ByTarget,
    /// The end was not observed: pidtap dropped the connection.
    Unknown,
}

/// A connection that is over.
#[derive(Clone, Debug)]
pub struct Closed {
    /// State at the end.
    pub connection: Connection,
    /// How the connection ended.
    pub how: How,
    /// When the connection ended.
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

    /// Lifetime in nanoseconds; a lower bound for a connection that existed before it became known.
    pub fn lived(&self) -> u64 {
        self.ended.since(self.connection.known)
    }
}
