//! What detectors are shown.

use std::{fmt, sync::Arc};

use crate::{
    event::{
        Timestamp,
        wire::{ListenerEvent, ProbeEvent, ThreadEvent, flag, tcp_state},
    },
    model::{
        connection::{ConnectionInfo, Role},
        exchange::{Exchange, OpenExchange, ProcessRef, Step},
    },
    protocol::http1::pairing::Ending,
};

/// Something that was seen. Borrowed: nothing is copied for an observation that nobody wants.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// An open exchange went a step further.
    Exchange(Step, &'a OpenExchange<'a>),
    /// An exchange is over; also one that was only a connect, which failed.
    Finished(&'a Exchange),
    /// The target begins to connect; shown once where to is known, which for a blocking `connect` is at its end.
    Connecting(&'a OpenConnection<'a>),
    /// The connection is up.
    Connected(&'a OpenConnection<'a>),
    /// The connection is over, or is forgotten.
    Closed(&'a OpenConnection<'a>),
    /// What the kernel says of a connection.
    Probe(&'a ProbeEvent, &'a OpenConnection<'a>),
    /// What waits in a listen queue of this process.
    Listener(&'a ListenerEvent, &'a ProcessRef),
    /// The peer of a connection that the target accepted sends no more.
    PeerClosed(&'a OpenConnection<'a>),
    /// The peer of a connection that the target accepted has reset it; shown before its open exchanges end.
    PeerReset(&'a OpenConnection<'a>),
    /// The target accepted a connection.
    Accepted(&'a OpenConnection<'a>),
    /// What a thread of a traced process does.
    Thread(&'a ThreadEvent),
    /// A process has made a child.
    ProcessForked {
        /// The process.
        parent: u32,
        /// Its child.
        child: u32,
    },
    /// A process has ended.
    ProcessEnded(u32),
    /// Time has passed; what is open can be looked at.
    Tick(&'a dyn Live),
    /// Tracing ends; what is open stays so.
    End,
}

/// What is open now. Order is that of a hash table: the same for the same events, and of no meaning.
pub trait Live {
    /// Shows every exchange that is not over.
    fn exchanges(&self, visit: &mut dyn FnMut(&OpenExchange<'_>));

    /// Shows every connection that is not over.
    fn connections(&self, visit: &mut dyn FnMut(&OpenConnection<'_>));

    /// Shows every connection that was over a moment ago; who looks several times a second misses none, and sees most
    /// more than once.
    fn closed(&self, visit: &mut dyn FnMut(&OpenConnection<'_>));

    /// Connections that are remembered: what it costs to show them all.
    fn size(&self) -> usize;

    /// Events until now.
    fn events(&self) -> u64;

    /// Shows one connection, where it is not over, with the oldest exchange on it that is not over and of which something was
    /// seen.
    fn look_at(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>, Option<&OpenExchange<'_>>));

    /// Gives the connections on which something happened since they were given last, and those that were to be given again
    /// by `now`. There is one who takes them.
    fn take_queued(&self, now: Timestamp, take: &mut dyn FnMut(u64));

    /// The connection is to be given again at a time, or when more happens on it than that bytes move.
    fn look_again(&self, inode: u64, at: Timestamp);

    /// Shows connections that were there when tracing began and of which nothing was seen: of very many, some at a time.
    fn found(&self, visit: &mut dyn FnMut(&OpenConnection<'_>));
}

impl fmt::Debug for dyn Live + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

/// What moved in one direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes, from where tracing began.
    pub bytes: u64,
    /// When the last of them moved, as far as it was seen.
    pub last: Option<Timestamp>,
}

/// Bytes that moved in one direction, without any in the other between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which way, seen from the target: `direction::SEND` or `RECEIVE`.
    pub direction: u8,
    /// When the first of them moved.
    pub since: Timestamp,
    /// The thread that moved the last of them.
    pub tid: u32,
    /// How many turns there were, this one included.
    pub number: u32,
}

/// What the kernel said of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// When.
    pub time: Timestamp,
    /// TCP state, as in `include/net/tcp_states.h`.
    pub state: u8,
    /// Bytes that the peer has not acknowledged.
    pub send_queue: u32,
    /// Bytes that the target has not read.
    pub receive_queue: u32,
    /// Segments that were sent again, since the connection began.
    pub retransmits: u32,
    /// How often the retransmission that is due was put off: the peer does not answer.
    pub backoff: u32,
}

/// Bytes that the target has not read. A FIN that it has not read takes one position in the sequence, which the kernel
/// counts as a byte of the queue (`tcp_fin` moves `rcv_nxt`, and the queue is `rcv_nxt - copied_seq`). A Unix socket has
/// none.
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

/// A connection as it is now.
#[derive(Clone, Copy, Debug)]
pub struct OpenConnection<'a> {
    /// What outputs say of it.
    pub info: &'a Arc<ConnectionInfo>,
    /// Who opened it, or was first seen to use it.
    pub process: &'a ProcessRef,
    /// When the target began to connect, where it did.
    pub connect_start: Option<Timestamp>,
    /// It is up. Known of connections that the target made or accepted while it was traced; others are up as well.
    pub connected: bool,
    /// What the target sent.
    pub sent: Traffic,
    /// What it received.
    pub received: Traffic,
    /// The peer sends no more.
    pub peer_closed: bool,
    /// Bytes sent and received that the kernel counts and no call has returned yet.
    pub under_way: [u64; 2],
    /// Bytes sent and received that went past the traced calls, by what the kernel counts.
    pub unseen: [u64; 2],
    /// What the target is on it, where that is known.
    pub role: Option<Role>,
    /// Who moves bytes now, as far as it was seen.
    pub turn: Option<Turn>,
    /// It was there when tracing began, and was found by looking.
    pub found: bool,
    /// How it ended, once it has; `Unfinished` where tracing ended first, or it was forgotten.
    pub ending: Option<Ending>,
    /// When that was.
    pub over: Option<Timestamp>,
    /// It could not be made.
    pub failed: bool,
    /// Exchanges that are over.
    pub carried: u64,
    /// Exchanges that are not.
    pub open: u32,
    /// When the oldest of them began.
    pub open_since: Option<Timestamp>,
    /// What the kernel said last.
    pub kernel: Option<KernelView>,
}

impl OpenConnection<'_> {
    /// The target connects, and is not through yet.
    pub fn is_connecting(&self) -> bool {
        self.connect_start.is_some() && !self.connected
    }
}
