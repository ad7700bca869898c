//! What the engine is told, and what it tells.

use std::sync::Arc;

use tracer_common::event::loss;

use super::Unseen;
use crate::{
    analysis::detector::{DetectorOptions, Incident},
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Role},
        exchange::{Exchange, ProcessRef},
    },
};

/// What the engine is told once.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes of each body that are kept.
    pub body_limit: usize,
    /// What is looked for.
    pub detectors: DetectorOptions,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { body_limit: 64 * 1024, detectors: DetectorOptions::default() }
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
    /// What the target is on it, where that is known.
    pub role: Option<Role>,
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

/// What is missing, from the start of the trace until now. Indices are those of [`tracer_common::event::loss`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// When.
    pub time: Timestamp,
    /// Events that were not delivered, by cause.
    pub events: [u64; loss::CAUSES],
    /// Stream bytes behind those events, by cause.
    pub bytes: [u64; loss::CAUSES],
    /// The counters could not be read: the counts are those of before, and more may be missing.
    pub at_least: bool,
}

impl Loss {
    /// Events missing from the trace. What only a recording lacks was traced.
    pub fn total_events(&self) -> u64 {
        Self::total(&self.events)
    }

    /// Whether events are missing from the trace, or may be.
    pub fn is_possible(&self) -> bool {
        self.at_least || self.total_events() > 0
    }

    /// Stream bytes missing from the trace.
    pub fn total_bytes(&self) -> u64 {
        Self::total(&self.bytes)
    }

    fn total(by_cause: &[u64; loss::CAUSES]) -> u64 {
        by_cause.iter().enumerate().filter(|(cause, _)| *cause != loss::RECORDING).map(|(_, count)| count).sum()
    }
}

/// Counts of a whole trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Exchanges reported.
    pub exchanges: u64,
    /// Incidents opened.
    pub incidents: u64,
    /// Connections whose calls were not seen.
    pub unseen: Unseen,
    /// What is missing, and when the trace ended.
    pub loss: Loss,
    /// From attach to end.
    pub duration_ns: u64,
    /// How often a connection gave up what it waited for, as all of them together held too much.
    pub waits_given_up: u64,
    /// How many processes were forgotten, with the connections that they held, as there were too many.
    pub processes_forgotten: u64,
}

/// What the engine found out.
#[derive(Clone, Debug)]
pub enum Update {
    /// First of all.
    Attached(Attached),
    /// An exchange is over.
    Exchange(Arc<Exchange>),
    /// A detector found something, or knows more of it.
    Incident(Arc<Incident>),
    /// A connection needs a word.
    Note(Note),
    /// More is missing than was said before.
    Loss(Loss),
    /// Last of all.
    Summary(Summary),
}
