//! TICK events: the passage of time, and the counters of loss.

use super::super::{
    Control, Engine, Loss, MAX_UNSEEN, Update,
    connection::{REMEMBER_NS, connect_failed, report_up},
    live::LiveConnections,
};
use crate::{
    analysis::detector::{Ask, Observation},
    event::{Timestamp, wire},
};

/// Time between two reports of loss that goes on.
const REPORT_LOSS_EVERY_NS: u64 = 1_000_000_000;

impl Engine {
    /// Time passed.
    pub(in crate::engine) fn tick(&mut self, event: &wire::TickEvent) {
        let now = Timestamp(event.header.time_ns);
        let at_least = event.header.flags & wire::flag::OUTDATED != 0;
        self.loss = Loss { time: now, events: event.lost_events, bytes: event.lost_bytes, at_least };
        for (number, inode) in self.due.take(now, &mut self.connections) {
            let Some(connection) = self.connections.get_mut(&inode) else { continue };
            if let Some((error, time)) = connection.life.take_failure() {
                connect_failed(connection, error, time, &mut self.environment);
            }
            report_up(connection, &mut self.environment);
            connection.handle_timeout(now, &mut self.environment);
            if connection.life.over().is_some_and(|over| now.since(over) >= REMEMBER_NS) {
                self.connections.remove(&inode);
                continue;
            }
            connection.settle(&mut self.environment);
            self.due.attend_again(connection, number, now);
        }
        self.queue.get_mut().tidy(&self.connections);
        self.report_unseen();
        self.environment.reports.observe(&Observation::Tick(&LiveConnections {
            all: &self.connections,
            queue: &self.queue,
            events: self.events,
        }));
        for ask in self.environment.reports.detectors.take_asks() {
            self.environment.controls.push_back(match ask {
                Ask::Connection(inode) => Control::AskConnection { inode: inode.0 },
                Ask::Threads { pid, tid } => Control::AskThreads { pid, tid },
            });
        }
        let counts = |loss: &Loss| (loss.events, loss.at_least);
        if counts(&self.loss) != counts(&self.said_loss) && now.since(self.said_loss.time) >= REPORT_LOSS_EVERY_NS {
            self.said_loss = self.loss.clone();
            self.environment.reports.updates.push_back(Update::Loss(self.loss.clone()));
        }
    }

    /// Says which connections moved bytes that no event accounts for, unless events are known to be lost.
    pub(in crate::engine) fn report_unseen(&mut self) {
        let explained = self.loss.is_possible();
        for note in std::mem::take(&mut self.environment.unseen) {
            if !explained {
                self.environment.reports.note(note);
            }
        }
    }

    /// Forgets what was meant for connections that are gone. A recording may have no ticks.
    pub(in crate::engine) fn tidy(&mut self) {
        self.queue.get_mut().tidy(&self.connections);
        self.due.tidy(&self.connections);
        if self.environment.unseen.len() > MAX_UNSEEN {
            self.report_unseen();
        }
    }
}
