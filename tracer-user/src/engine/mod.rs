//! The engine: takes events, gives updates. No clock, no I/O, no threads.

mod connection;
mod control;
mod due;
mod environment;
mod handle;
mod live;
mod name;
mod not_seen;
mod process_table;
mod reports;
#[cfg(test)]
pub(crate) mod tests;
mod unseen;
mod update;
mod waiting;

use std::cell::RefCell;

use connection::Connection;
pub use control::Control;
use due::Due;
use environment::Environment;
use live::Queue;
use name::Names;
pub use not_seen::Unseen;
use reports::Reports;
use rustc_hash::FxHashMap;
pub use update::{Attached, EngineOptions, Loss, Note, NoteKind, Summary, Target, Update};

use crate::{
    analysis::detector::{Detectors, Live, Observation},
    event::{Event, Timestamp},
    model::{
        connection::{ConnectionId, Ending},
        exchange::ProcessRef,
    },
};

/// Connections that are remembered at once. Beyond this number the oldest are given up.
pub const MAX_CONNECTIONS: usize = 100_000;
/// Processes that are reported as targets.
const MAX_TARGETS: usize = 4_096;
/// Events between two rounds of tidying, which ticks do where they come.
const TIDY_AFTER: u64 = 65_536;
/// Notes that wait for a tick, which tells whether events were lost.
const MAX_UNSEEN: usize = 4_096;
/// Connections that are given up at a time: to find the oldest visits all, which not every new connection can cost.
const GIVEN_UP_AT_ONCE: usize = MAX_CONNECTIONS / 64;

/// Turns events into updates.
#[derive(Debug, Default)]
pub struct Engine {
    environment: Environment,
    connections: FxHashMap<u64, Box<Connection>>,
    /// Connections that something must be done about when time passes.
    due: Due,
    /// Connections that detectors look at when time passes.
    queue: RefCell<Queue>,
    events: u64,
    targets: Vec<Target>,
    last_connection: u64,
    realtime_offset_ns: i64,
    attached: Option<Timestamp>,
    last: Timestamp,
    names: Names,
    loss: Loss,
    /// What was said of it last.
    said_loss: Loss,
    finished: bool,
}

impl Engine {
    /// A new engine.
    pub fn new(options: EngineOptions) -> Self {
        let reports = Reports { detectors: Detectors::new(&options.detectors), ..Reports::default() };
        Self { environment: Environment { options, reports, ..Environment::default() }, ..Self::default() }
    }

    /// The next update, if any.
    pub fn poll(&mut self) -> Option<Update> {
        self.environment.reports.updates.pop_front()
    }

    /// The next wish to the probes, if any. A feeder that replays has none to fulfil.
    pub fn poll_control(&mut self) -> Option<Control> {
        self.environment.controls.pop_front()
    }

    /// Nanoseconds to add to a [`Timestamp`] to get Unix time.
    pub fn realtime_offset_ns(&self) -> i64 {
        self.realtime_offset_ns
    }

    /// What is open now, for outputs that show it.
    pub fn live(&self) -> impl Live + '_ {
        self.live_connections()
    }

    fn live_connections(&self) -> live::LiveConnections<'_> {
        live::LiveConnections { all: &self.connections, queue: &self.queue, events: self.events }
    }

    /// Connections that were looked at because time passed, until now: what ticks cost.
    pub fn visits(&self) -> u64 {
        self.due.visits + self.queue.borrow().visits()
    }

    /// Whether the trace is over: nothing is open any more, and all updates are there.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Time of the latest event.
    pub fn now(&self) -> Timestamp {
        self.last
    }

    /// Connections that are remembered now.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Handles one event. Time enters only here.
    pub fn handle_event(&mut self, event: &Event<'_>) {
        if self.finished {
            return;
        }
        self.last = self.last.max(event.time());
        self.environment.reports.now = self.last;
        self.events += 1;
        if self.events.is_multiple_of(TIDY_AFTER) {
            self.tidy();
        }
        match event {
            Event::Data(event, payload) => self.data(event, payload),
            Event::Socket(event) => self.socket(event),
            Event::Tcp(event) => self.tcp(event),
            Event::Descriptor(event) => self.descriptor(event),
            Event::Process(event) => self.process(event),
            Event::Attached(event) => {
                let time = Timestamp(event.header.time_ns);
                self.realtime_offset_ns = event.realtime_offset_ns;
                self.attached = Some(time);
                let targets = self.targets.clone();
                self.environment.reports.updates.push_back(Update::Attached(Attached { time, targets }));
            }
            Event::Tick(event) => self.tick(event),
            Event::Probe(event) => self.probe(event),
            Event::SocketName(event, path) => self.socket_name(event, path),
            Event::Thread(event) => self.thread(event),
            Event::Listener(event) => {
                let pid = event.header.tgid;
                let process = ProcessRef { pid, tid: pid, name: self.environment.processes.name(pid) };
                self.environment.reports.observe(&Observation::Listener(event, &process));
            }
            Event::Detached(event) => {
                self.tick(event);
                self.finish();
            }
        }
    }

    /// Ends the session at the time of the last event, where no DETACHED event came (a truncated recording): open
    /// exchanges are reported, then the summary. Does nothing after a DETACHED event.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let time = self.last;
        let mut open: Vec<(ConnectionId, u64)> =
            self.connections.iter().map(|(inode, connection)| (connection.info.id, *inode)).collect();
        open.sort_unstable();
        for (_, inode) in open {
            if let Some(connection) = self.connections.get_mut(&inode) {
                let ending = connection.life.ending().map_or(Ending::Unfinished, |end| end.how);
                connection.close(ending, time, &mut self.environment);
            }
        }
        self.connections.clear();
        self.report_unseen();
        self.environment.reports.observe(&Observation::End);
        self.environment.reports.updates.push_back(Update::Summary(Summary {
            exchanges: self.environment.reports.reported,
            incidents: self.environment.reports.detectors.opened(),
            unseen: self.environment.reports.unseen.clone(),
            duration_ns: self.attached.map_or(0, |attached| time.since(attached)),
            waits_given_up: self.environment.waiting.given_up(),
            processes_forgotten: self.environment.processes.forgotten(),
            loss: Loss { time, ..self.loss.clone() },
        }));
    }

    fn attend(&mut self, inode: u64) {
        if let Some(connection) = self.connections.get_mut(&inode) {
            self.due.attend(connection);
        }
    }

    fn bound_connections(&mut self, time: Timestamp) {
        if self.connections.len() <= MAX_CONNECTIONS {
            return;
        }
        let mut known: Vec<(ConnectionId, u64)> =
            self.connections.iter().map(|(inode, connection)| (connection.info.id, *inode)).collect();
        let (oldest, ..) = known.select_nth_unstable(GIVEN_UP_AT_ONCE);
        oldest.sort_unstable();
        for (_, inode) in oldest {
            if let Some(mut connection) = self.connections.remove(inode) {
                connection.close(Ending::Unfinished, time, &mut self.environment);
            }
        }
    }
}
