//! The first events of a trace: the processes, the connections that existed before, and the beginning itself.

use rustc_hash::FxHashSet;
use rustix::time::{ClockId, clock_gettime};

use super::processes::Processes;
use crate::{
    app::{message::say, queries},
    cli::TraceArgs,
    event::{
        Event, SocketInode,
        wire::{AttachedEvent, EventHeader, flag},
    },
    host::{
        capture::Handle,
        sockdiag::{self, Inspector},
        task::Wanted,
    },
};

/// Encodes them. `launched`: the target is the command of `run`, which has no connections yet.
pub(super) fn events(
    processes: &Processes,
    inspector: &mut Inspector,
    handle: &Handle,
    trace: &TraceArgs,
    launched: bool,
) -> Vec<u8> {
    let mut events = Vec::new();
    let time = sockdiag::now();
    for (processes, named) in [(&processes.named, true), (&processes.children, false)] {
        for process in processes {
            process.encode_found(time, named, &mut events);
        }
    }
    let pids: Vec<u32> = processes.named.iter().chain(&processes.children).map(|process| process.pid).collect();
    let found = inspector.find(&pids, &mut events);
    for note in &found.notes {
        say(note);
    }
    for event in queries::events(&events) {
        if let Event::Socket(socket) = event {
            // If the map is full, the first bytes announce the connection.
            let _ = handle.watch(SocketInode(socket.connection));
        }
    }
    if !launched {
        add_threads(&pids, inspector, &mut events);
    }
    let time = sockdiag::now();
    let attached = AttachedEvent {
        header: EventHeader {
            time_ns: time.0,
            kind: 0,
            flags: if launched { flag::LAUNCHED } else { 0 },
            length: 0,
            tgid: 0,
            tid: 0,
        },
        realtime_offset_ns: nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Monotonic),
        call_capture: trace.call_capture.0,
        ring_size: trace.ring_size.0,
    };
    Event::Attached(attached).encode(&mut events);
    events
}

/// Adds the state of the threads: one of them may wait for a call that already hangs.
fn add_threads(pids: &[u32], inspector: &mut Inspector, events: &mut Vec<u8>) {
    /// Looking at this many processes delays the attach by 20 ms at most.
    const PROCESSES: usize = 16;
    let connections = FxHashSet::default();
    for pid in pids.iter().take(PROCESSES) {
        queries::look(inspector, *pid, Wanted { tids: &[], connections: &connections, after: 0 }, events);
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
