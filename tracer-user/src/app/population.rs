//! The traced processes that are alive. Without any, the trace is over.

use std::collections::HashSet;

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::message::say;
use crate::event::{
    Event,
    wire::{ProcessEvent, flag, process},
};

/// Time between two checks for lost exits, which cost a system call for each process. An exit whose event was lost must
/// not keep a trace open for ever.
const LOOK_NS: u64 = 1_000_000_000;

/// The processes of a trace.
#[derive(Debug)]
pub(super) struct Population {
    living: HashSet<u32>,
    follow: bool,
    looked: u64,
}

impl Population {
    pub(super) fn new(targets: impl IntoIterator<Item = u32>, follow: bool) -> Self {
        Self { living: targets.into_iter().collect(), follow, looked: 0 }
    }

    /// Takes an event. Its time is the current one.
    pub(super) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Process(event) => match event.action {
                process::FORK if self.follow => {
                    self.living.insert(event.other_tgid);
                }
                process::EXIT => {
                    self.living.remove(&event.header.tgid);
                }
                process::EXEC if event.header.flags & flag::REFUSED != 0 => {
                    self.living.remove(&event.header.tgid);
                    say(&refusal(event));
                }
                _ => {}
            },
            Event::Tick(tick) if tick.header.time_ns.saturating_sub(self.looked) >= LOOK_NS => {
                self.looked = tick.header.time_ns;
                self.living.retain(|pid| is_there(*pid));
            }
            _ => {}
        }
    }

    /// True where no process is left.
    pub(super) fn is_extinct(&self) -> bool {
        self.living.is_empty()
    }
}

/// True where the process exists. The null signal needs neither a capability nor `/proc`, where `hidepid` hides
/// processes.
fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Message about a process that is not traced any further.
fn refusal(event: &ProcessEvent) -> String {
    let end = event.name.iter().position(|byte| *byte == 0).unwrap_or(event.name.len());
    format!(
        "{} ({}) is no longer traced: it executes a program as another user or with capabilities; run pidtap with \
         `sudo` to trace it",
        event.header.tgid,
        event.name[..end].escape_ascii()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::wire::{EventHeader, ProcessEvent, TickEvent};

    fn header(tgid: u32, time_ns: u64) -> EventHeader {
        EventHeader { time_ns, kind: 0, flags: 0, length: 0, tgid, tid: tgid }
    }

    fn process(action: u8, tgid: u32, other_tgid: u32) -> Event<'static> {
        let header = header(tgid, 0);
        Event::Process(ProcessEvent { header, other_tgid, exit_code: 0, action, reserved: [0; 7], name: [0; 16] })
    }

    #[test]
    fn the_last_one_ends_it() {
        let mut population = Population::new([1, 2], true);
        population.see(&process(process::FORK, 1, 3));
        for pid in [1, 2] {
            population.see(&process(process::EXIT, pid, 0));
            assert!(!population.is_extinct());
        }
        population.see(&process(process::EXIT, 3, 0));
        assert!(population.is_extinct());
    }

    #[test]
    fn who_may_not_be_traced_any_further_is_left_out() {
        let mut population = Population::new([1], true);
        let Event::Process(mut exec) = process(process::EXEC, 1, 0) else { unreachable!() };
        population.see(&Event::Process(exec));
        assert!(!population.is_extinct());
        exec.header.flags = flag::REFUSED;
        exec.name[..6].copy_from_slice(b"a\x1b[31m");
        population.see(&Event::Process(exec));
        assert!(population.is_extinct());
        assert!(refusal(&exec).starts_with("1 (a\\x1b[31m) is no longer"), "{}", refusal(&exec));
    }

    #[test]
    fn children_count_only_where_they_are_followed() {
        let mut population = Population::new([1], false);
        population.see(&process(process::FORK, 1, 3));
        population.see(&process(process::EXIT, 1, 0));
        assert!(population.is_extinct());
    }

    #[test]
    fn an_exit_that_was_lost_is_found_out() {
        // No process has so large a number (PID_MAX_LIMIT is 2^22).
        let mut population = Population::new([1 << 23], true);
        let tick = TickEvent { header: header(0, LOOK_NS), lost_events: [0; 6], lost_bytes: [0; 6] };
        population.see(&Event::Tick(tick));
        assert!(population.is_extinct());
        let mut population = Population::new([std::process::id()], true);
        population.see(&Event::Tick(tick));
        assert!(!population.is_extinct());
    }
}
