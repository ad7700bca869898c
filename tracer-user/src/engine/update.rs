//! Options of the engine, and its updates.

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

/// Options of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes kept of each body.
    pub body_limit: usize,
    /// Thresholds of the detectors.
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

/// The beginning of a trace.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Time at which the probes were live.
    pub time: Timestamp,
    /// Processes that the user named.
    pub targets: Vec<Target>,
}

/// A fact about a connection that explains why its calls are missing or incomplete.
#[derive(Clone, Debug)]
pub struct Note {
    /// Time of the observation.
    pub time: Timestamp,
    /// The connection.
    pub connection: Arc<ConnectionInfo>,
    /// Role of the target, if known.
    pub role: Option<Role>,
    /// The process that made or accepted the connection.
    pub process: ProcessRef,
    /// The fact.
    pub kind: NoteKind,
}

/// The fact of a [`Note`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// The bytes are not HTTP/1. `connection.protocol` names the protocol that they seem to belong to.
    NotHttp,
    /// The connection was upgraded to another protocol, or is a tunnel (CONNECT). Its bytes are not decoded from now on.
    Opaque {
        /// Value of `Upgrade`, or `CONNECT`.
        protocol: Box<str>,
    },
    /// The kernel moved bytes that no hooked system call accounts for (io_uring, or another path).
    UnseenBytes {
        /// Bytes sent without an event.
        sent: u64,
        /// Bytes received without an event.
        received: u64,
    },
}

/// Lost events and bytes, from the start of the trace until now. [`tracer_common::event::loss`] has the indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Time at which the counters were read.
    pub time: Timestamp,
    /// Events that were lost, by cause.
    pub events: [u64; loss::CAUSES],
    /// Stream bytes of those events, by cause.
    pub bytes: [u64; loss::CAUSES],
    /// The counters could not be read. The counts are earlier ones, and more may be lost.
    pub at_least: bool,
}

impl Loss {
    /// Events missing from the trace. Events that only the recording lacks were traced, and do not count.
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
    /// Connections whose calls are invisible.
    pub unseen: Unseen,
    /// Lost events and bytes, and the end of the trace.
    pub loss: Loss,
    /// Nanoseconds from attach to end.
    pub duration_ns: u64,
    /// Connections that gave up waiting for missing bytes because all connections together held too much.
    pub waits_given_up: u64,
    /// Processes that were dropped, with the descriptors that they held, because there were too many.
    pub processes_forgotten: u64,
}

impl Summary {
    /// Describes what pidtap gave up because of its memory bounds, in one line per kind.
    pub fn given_up(&self) -> Vec<String> {
        let (waits, processes) = (self.waits_given_up, self.processes_forgotten);
        let times = if waits == 1 { "once".to_owned() } else { format!("{waits} times") };
        let them = if processes == 1 { "process" } else { "processes" };
        let lines = [
            (
                waits,
                format!(
                    "stopped waiting for missing bytes {times}: too many were waiting; affected exchanges are marked"
                ),
            ),
            (
                processes,
                format!("forgot {processes} {them}: too many at once; their later calls have the process name `?`"),
            ),
        ];
        lines.into_iter().filter(|(count, _)| *count > 0).map(|(_, line)| line).collect()
    }
}

/// A result of the engine.
#[derive(Clone, Debug)]
pub enum Update {
    /// The first update.
    Attached(Attached),
    /// An exchange ended.
    Exchange(Arc<Exchange>),
    /// A detector opened, changed or closed an incident.
    Incident(Arc<Incident>),
    /// A fact about a connection.
    Note(Note),
    /// More was lost than the latest report said.
    Loss(Loss),
    /// The last update.
    Summary(Summary),
}
