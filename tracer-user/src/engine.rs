//! The engine: takes events, gives updates. No clock, no I/O, no threads.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    connection::ConnectionInfo,
    event::{Event, Timestamp},
    exchange::{Exchange, ProcessRef},
};

/// What the engine is told once.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes of each body that are kept.
    pub body_limit: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { body_limit: 64 * 1024 }
    }
}

/// A traced process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// Process name (`comm`).
    pub name: Arc<str>,
}

/// Tracing has begun.
#[derive(Clone, Debug)]
pub struct Attached {
    /// When.
    pub time: Timestamp,
    /// Processes that the user named.
    pub targets: Vec<Target>,
}

/// Something about a connection that a person must know to read what is (not) shown.
#[derive(Clone, Debug)]
pub struct Note {
    /// When.
    pub time: Timestamp,
    /// Which connection.
    pub connection: Arc<ConnectionInfo>,
    /// Who.
    pub process: ProcessRef,
    /// What.
    pub kind: NoteKind,
}

/// What a [`Note`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// The bytes are not HTTP/1: what they seem to be is `connection.protocol`.
    NotHttp,
    /// The connection was upgraded to the named protocol, or is a tunnel (CONNECT): opaque from here on.
    Opaque {
        /// Value of `Upgrade`, or `CONNECT`.
        protocol: Box<str>,
    },
    /// The kernel moved bytes that no hooked system call accounts for (io_uring, or another path).
    UnseenBytes {
        /// Bytes sent but not seen.
        sent: u64,
        /// Bytes received but not seen.
        received: u64,
    },
}

/// Counts of a whole trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Exchanges reported.
    pub exchanges: u64,
    /// Incidents reported.
    pub incidents: u64,
    /// Events that were not delivered, all causes.
    pub lost_events: u64,
    /// Stream bytes behind those events.
    pub lost_bytes: u64,
    /// The same by cause: indices of [`tracer_common::event::loss`].
    pub lost_events_by_cause: [u64; 6],
    /// Likewise.
    pub lost_bytes_by_cause: [u64; 6],
    /// From attach to end.
    pub duration_ns: u64,
    /// When.
    pub time: Timestamp,
}

/// What the engine found out.
#[derive(Clone, Debug)]
pub enum Update {
    /// First of all.
    Attached(Attached),
    /// An exchange is over.
    Exchange(Arc<Exchange>),
    /// A connection needs a word.
    Note(Note),
    /// Last of all.
    Summary(Summary),
}

/// Turns events into updates.
#[derive(Debug, Default)]
pub struct Engine {
    updates: VecDeque<Update>,
    realtime_offset_ns: i64,
}

impl Engine {
    /// A new engine.
    pub fn new(_options: EngineOptions) -> Self {
        Self::default()
    }

    /// Takes one event. Time enters only here.
    pub fn handle_event(&mut self, _event: &Event<'_>) {}

    /// The next update, if any.
    pub fn poll(&mut self) -> Option<Update> {
        self.updates.pop_front()
    }

    /// Ends the session at the time of the last event, where no DETACHED event came (a truncated recording): open
    /// exchanges are reported, then the summary. Does nothing after a DETACHED event.
    pub fn finish(&mut self) {}

    /// Nanoseconds to add to a [`Timestamp`] to get Unix time.
    pub fn realtime_offset_ns(&self) -> i64 {
        self.realtime_offset_ns
    }
}
