//! Connections that exist when tracing begins, and the current kernel state of connections.
//!
//! The descriptors of the targets reveal their sockets, and `sock_diag` in each target's network namespace describes
//! them. Neither `sock_diag` nor the socket's inode, whose times are zero, reports the age of a connection. PROBE
//! events carry the time since bytes last moved, which is a lower bound of the age.
//!
//! Cost: see [`Inspector::inspect`].

pub(crate) mod descriptor;
mod event;
mod find;
mod inet;
mod listen;
mod namespace;
mod netlink;
mod query;
mod refusal;
mod unix;

pub use find::Found;
pub(crate) use refusal::{has_ended, unseen_namespace, why_refused};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::time::{ClockId, clock_gettime};

use self::{inet::Key, netlink::DiagSocket};
use crate::event::Timestamp;

/// Current time of the clock that all events use.
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Monotonic);
    Timestamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// A network namespace of targets.
#[derive(Debug)]
struct Namespace {
    inode: u64,
    socket: DiagSocket,
}

/// Maximum number of remembered sockets per table; at the limit, the tables are cleared.
const REMEMBERED: usize = 40_000;

/// Queries the kernel about connections in the network namespaces of the targets.
#[derive(Debug, Default)]
pub struct Inspector {
    namespaces: Vec<Namespace>,
    /// Index of the namespace, key, and whether it was accepted, by inode number.
    keys: FxHashMap<u32, (usize, Key, bool)>,
    /// Inode numbers of MPTCP connections. They have no key, as subflows come and go.
    mptcp: FxHashSet<u32>,
    /// Inode numbers that were missing from the last complete dump.
    missed: FxHashSet<u32>,
    /// Index of the namespace of each Unix socket, by inode number.
    unix: FxHashMap<u32, usize>,
    /// Inode numbers that were not found: closed, or of another kind.
    unknown: FxHashSet<u32>,
    /// Inode numbers of sockets that threads wait on and that are no connected UDP sockets.
    no_udp: FxHashSet<u64>,
    listeners: listen::Listeners,
    /// Time of the last scan of all processes for empty namespaces.
    looked_for_empty: Timestamp,
}

impl Inspector {
    /// Creates an inspector without namespaces.
    pub fn new() -> Self {
        Self::default()
    }
}
