//! PROCESS events: processes that are found, fork, execute programs, and exit.

use super::super::{Engine, MAX_TARGETS, Target};
use crate::{
    analysis::detector::Observation,
    event::{Timestamp, wire},
};

impl Engine {
    /// A process was found, forked, executed a program, or exited.
    pub(in crate::engine) fn process(&mut self, event: &wire::ProcessEvent) {
        use wire::process;
        let pid = event.header.tgid;
        match event.action {
            process::FORK => {
                let child = event.other_tgid;
                self.environment.processes.fork(pid, child);
                self.environment.reports.observe(&Observation::ProcessForked { parent: pid, child });
            }
            process::EXEC | process::FOUND => {
                self.environment.processes.set_name(pid, &event.name);
                if event.header.flags & wire::flag::NAMED_TARGET != 0 {
                    let name = self.environment.processes.name(pid);
                    if self.targets.len() < MAX_TARGETS {
                        self.environment.processes.spare(pid);
                        self.targets.push(Target { pid, name });
                    }
                }
            }
            process::EXIT => {
                for inode in self.environment.processes.exit(pid) {
                    self.let_go(inode, Timestamp(event.header.time_ns));
                }
                self.environment.reports.observe(&Observation::ProcessEnded(pid));
            }
            _ => {}
        }
    }
}
