//! Observations: the input of detectors.

use std::{fmt, sync::Arc};

use crate::{
    event::{
        Timestamp,
        wire::{ListenerEvent, ProbeEvent, ThreadEvent, flag, tcp_state},
    },
    model::{
        connection::{ConnectionInfo, Ending, Role},
        exchange::{Exchange, OpenExchange, ProcessRef, Step},
    },
};

/// An observation. It borrows its data, so observations that no detector requests cost nothing.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// An open exchange made a step.
    Exchange(Step, &'a OpenExchange<'a>),
    /// An exchange ended. A failed connect without a request is also reported this way.
    Finished(&'a Exchange),
    /// The target starts to connect. Reported once, when the address is known; for a blocking `connect` that is at its
    /// end.
    Connecting(&'a OpenConnection<'a>),
    /// The connection is established.
    Connected(&'a OpenConnection<'a>),
    /// The connection ended or was evicted.
    Closed(&'a OpenConnection<'a>),
    /// Kernel state of a connection.
    Probe(&'a ProbeEvent, &'a OpenConnection<'a>),
    /// State of a listen queue of this process.
    Listener(&'a ListenerEvent, &'a ProcessRef),
    /// The peer of an accepted connection has shut down sending.
    PeerClosed(&'a OpenConnection<'a>),
    /// The peer of an accepted connection has reset it. Reported before the open exchanges of the connection end.
    PeerReset(&'a OpenConnection<'a>),
    /// The target accepted a connection.
    Accepted(&'a OpenConnection<'a>),
    /// State of a thread of a traced process.
    Thread(&'a ThreadEvent),
    /// A process forked.
    ProcessForked {
        /// Process ID of the parent.
        parent: u32,
        /// Process ID of the child.
        child: u32,
    },
    /// A process exited.
    ProcessEnded(u32),
    /// Time has passed; gives access to the open exchanges and connections.
    Tick(&'a dyn Live),
    /// Tracing ends. Open exchanges and connections stay open.
    End,
}

/// Maximum number of calls on one connection that are visited together: the oldest. Servers allow some hundred streams.
pub const MAX_CALLS: usize = 4_096;

/// Access to the open exchanges and connections. The order is that of a hash table: deterministic, but without meaning.
pub trait Live {
    /// Visits every open exchange.
    fn exchanges(&self, visit: &mut dyn FnMut(&OpenExchange<'_>));

    /// Visits every open connection.
    fn connections(&self, visit: &mut dyn FnMut(&OpenConnection<'_>));

    /// Visits every connection that ended a moment ago. A caller that visits several times a second misses none, and
    /// sees most of them more than once.
    fn closed(&self, visit: &mut dyn FnMut(&OpenConnection<'_>));

    /// Number of known connections, which determines the cost of visiting all.
    fn size(&self) -> usize;

    /// Number of events so far.
    fn events(&self) -> u64;

    /// Visits one connection; nothing if it has closed.
    fn connection(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>));

    /// Visits the calls on one connection, oldest first; nothing if the connection has closed. A call is a pending exchange
    /// that can move by itself: each exchange on a stream, and the oldest of those without a stream, as the others wait for
    /// it. At most [`MAX_CALLS`] are visited. Without a call, the connection is visited once, alone.
    fn calls(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>, Option<&OpenExchange<'_>>));

    /// Takes the connections with activity since the last call, and those whose [`Self::look_again`] time has come by
    /// `now`. There is a single consumer.
    fn take_queued(&self, now: Timestamp, take: &mut dyn FnMut(u64));

    /// Queues the connection for `at`, or for its next activity other than moved bytes.
    fn look_again(&self, inode: u64, at: Timestamp);

    /// Visits connections that existed when tracing began and have had no traffic since. Of very many, each call visits
    /// a part.
    fn found(&self, visit: &mut dyn FnMut(&OpenConnection<'_>));
}

impl fmt::Debug for dyn Live + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

/// Bytes that moved in one direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of bytes since tracing began.
    pub bytes: u64,
    /// Time at which the last of them moved, if it was seen.
    pub last: Option<Timestamp>,
}

/// A run of bytes in one direction without bytes in the other direction between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Direction as seen from the target: `direction::SEND` or `RECEIVE`.
    pub direction: u8,
    /// Time at which the first byte of the run moved.
    pub since: Timestamp,
    /// Thread that moved the last byte.
    pub tid: u32,
    /// Number of turns so far, including this one.
    pub number: u32,
}

/// Kernel state of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// Time of the query.
    pub time: Timestamp,
    /// TCP state as in `include/net/tcp_states.h`.
    pub state: u8,
    /// Bytes that the peer has not acknowledged.
    pub send_queue: u32,
    /// Bytes that the target has not read.
    pub receive_queue: u32,
    /// Segments retransmitted since the connection opened.
    pub retransmits: u32,
    /// Number of times that the retransmission timer doubled, because the peer does not acknowledge.
    pub backoff: u32,
}

/// Bytes that the target has not read. An unread FIN takes one sequence number, which the kernel counts as a byte of
/// the queue (`tcp_fin` advances `rcv_nxt`, and the queue is `rcv_nxt - copied_seq`). A Unix socket has no FIN.
pub(super) fn unread(event: &ProbeEvent) -> u32 {
    let tcp = event.header.flags & flag::UNIX == 0;
    let fin = tcp && matches!(event.state, tcp_state::CLOSE_WAIT | tcp_state::LAST_ACK | tcp_state::CLOSING);
    event.receive_queue.saturating_sub(fin.into())
}

impl From<&ProbeEvent> for KernelView {
    fn from(event: &ProbeEvent) -> Self {
        Self {
            time: Timestamp(event.header.time_ns),
            state: event.state,
            send_queue: event.send_queue,
            receive_queue: unread(event),
            retransmits: event.retransmits,
            backoff: event.backoff,
        }
    }
}

/// Current state of a connection.
#[derive(Clone, Copy, Debug)]
pub struct OpenConnection<'a> {
    /// Addresses and other properties for output.
    pub info: &'a Arc<ConnectionInfo>,
    /// Process that opened the connection, or the first one seen to use it.
    pub process: &'a ProcessRef,
    /// Time at which the target started to connect, if it did.
    pub connect_start: Option<Timestamp>,
    /// Whether the connection is known to be established. Set for connections that the target made or accepted while
    /// traced; older connections are established too.
    pub connected: bool,
    /// Bytes that the target sent.
    pub sent: Traffic,
    /// Bytes that the target received.
    pub received: Traffic,
    /// Whether the peer has shut down sending.
    pub peer_closed: bool,
    /// Bytes sent and received that the kernel counts but no call has returned yet.
    pub under_way: [u64; 2],
    /// Bytes sent and received that bypassed the traced calls, derived from kernel counts.
    pub unseen: [u64; 2],
    /// Role of the target on the connection, if known.
    pub role: Option<Role>,
    /// Current run of bytes, if any was seen.
    pub turn: Option<Turn>,
    /// Whether the connection existed when tracing began and was found by a scan.
    pub found: bool,
    /// Ending of the connection; `Unfinished` if tracing ended first or the connection was evicted; `None` while open.
    pub ending: Option<Ending>,
    /// Time at which it ended.
    pub over: Option<Timestamp>,
    /// Whether connecting failed.
    pub failed: bool,
    /// Number of ended exchanges.
    pub carried: u64,
    /// Number of open exchanges.
    pub open: u32,
    /// Start of the oldest open exchange.
    pub open_since: Option<Timestamp>,
    /// Kernel state of the last query.
    pub kernel: Option<KernelView>,
}

impl OpenConnection<'_> {
    /// Whether the target is connecting.
    pub fn is_connecting(&self) -> bool {
        self.connect_start.is_some() && !self.connected
    }
}
