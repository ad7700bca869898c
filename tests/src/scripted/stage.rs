//! A stage for connections: a script describes one connection after the other, and the stage sorts their events by time.

use pidtap::{
    event::{
        Event,
        wire::{
            AttachedEvent, EventHeader, ProbeEvent, ProcessEvent, ThreadEvent, TickEvent, flag, loss, process, waits_on,
        },
    },
    recording::{Header, Writer},
};

use super::line::Line;

/// Microseconds of a millisecond. Scripts count microseconds since the trace began.
pub const MS: u64 = 1_000;
/// Microseconds of a second.
pub const S: u64 = 1_000_000;
/// Start of the trace by the clock of the events, in nanoseconds.
const START: u64 = 1_000_000_000_000;
/// Offset that makes the start 2026-11-21T12:00:00Z.
const REALTIME_OFFSET: i64 = 1_795_262_400_000_000_000 - START as i64;

/// A process and one of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
}

/// The events of all connections.
#[derive(Debug)]
pub struct Stage {
    events: Vec<(u64, Vec<u8>)>,
    tick: u64,
    lines: u64,
    /// Times of losses, with the total number of lost events from then on.
    lost: Vec<(u64, u64)>,
}

impl Stage {
    /// Begins a trace of these processes, with a tick event every `tick`.
    pub fn new(tick: u64, processes: &[(u32, &[u8])]) -> Self {
        let mut stage = Self { events: Vec::new(), tick, lines: 0, lost: Vec::new() };
        for (pid, name) in processes {
            stage.put(
                0,
                &Event::Process(ProcessEvent {
                    header: header(0, flag::NAMED_TARGET, Who { pid: *pid, tid: *pid }),
                    other_tgid: 1,
                    exit_code: 0,
                    action: process::FOUND,
                    reserved: [0; 7],
                    name: padded(name),
                }),
            );
        }
        stage.put(
            0,
            &Event::Attached(AttachedEvent {
                header: header(0, 0, NOBODY),
                realtime_offset_ns: REALTIME_OFFSET,
                call_capture: 1 << 20,
                ring_size: 1 << 24,
            }),
        );
        stage
    }

    /// A connection of the process to `to`, before its connect.
    pub fn client(&mut self, who: Who, to: ([u8; 4], u16)) -> Line {
        self.lines += 1;
        Line::new(self.lines, who, true, to)
    }

    /// A connection from `from` to a port of the process, before its accept.
    pub fn server(&mut self, who: Who, port: u16, from: ([u8; 4], u16)) -> Line {
        self.lines += 1;
        Line::new(self.lines, who, false, from).local_port(port)
    }

    /// Adds the events of a connection.
    pub fn plays(&mut self, line: Line) {
        self.events.extend(line.into_events());
    }

    /// Adds the state of a thread: the system call in which it waits on a connection.
    pub fn thread(&mut self, at: u64, who: Who, event: ThreadEvent) {
        self.put(at, &Event::Thread(ThreadEvent { header: header(at, flag::LOOKED, who), ..event }));
    }

    /// Adds the kernel's state of a connection.
    pub fn probe(&mut self, at: u64, event: ProbeEvent) {
        self.put(at, &Event::Probe(ProbeEvent { header: header(at, 0, NOBODY), ..event }));
    }

    /// Adds lost events from this time on.
    pub fn loses(&mut self, at: u64, events: u64) {
        self.lost.push((at, events));
    }

    fn put(&mut self, at: u64, event: &Event<'_>) {
        self.events.push((at, encoded(event)));
    }

    /// The recording, whose writer was killed at this time.
    pub fn breaks_off(mut self, at: u64) -> Vec<u8> {
        self.passes(at);
        self.written()
    }

    /// The recording of a trace that ended at this time.
    pub fn ends(mut self, at: u64) -> Vec<u8> {
        self.passes(at);
        let event = self.counters(at);
        self.put(at, &Event::Detached(event));
        self.written()
    }

    fn passes(&mut self, until: u64) {
        for number in 1..=until / self.tick {
            let at = number * self.tick;
            let event = self.counters(at);
            self.put(at, &Event::Tick(event));
        }
    }

    fn counters(&self, at: u64) -> TickEvent {
        let (mut lost_events, mut lost_bytes) = ([0; loss::CAUSES], [0; loss::CAUSES]);
        let lost = self.lost.iter().filter(|(since, _)| *since <= at).map(|(_, events)| *events).max();
        lost_events[loss::RING_FULL] = lost.unwrap_or_default();
        lost_bytes[loss::RING_FULL] = 100 * lost_events[loss::RING_FULL];
        TickEvent { header: header(at, 0, NOBODY), lost_events, lost_bytes }
    }

    fn written(mut self) -> Vec<u8> {
        // A stable sort: events of the same time keep the order of the script.
        self.events.sort_by_key(|(at, _)| *at);
        let about = Header { created_by: "pidtap".to_owned(), version: "0.1.0".to_owned(), ..Header::default() };
        let mut writer = Writer::new(Vec::new(), &about).expect("a Vec takes everything");
        for (_, event) in &self.events {
            writer.write_event(event).expect("a Vec takes everything");
        }
        writer.finish().expect("a Vec takes everything")
    }
}

/// The state of a thread that waits on a connection. `names` are those of its system call, its wait channel and the thread.
pub fn waiting(connection: u64, names: [&[u8]; 3]) -> ThreadEvent {
    let [call_name, wait_channel, name] = names;
    ThreadEvent {
        header: header(0, 0, NOBODY),
        connection,
        cpu_ns: 4_000_000,
        runs: 17,
        argument: 9,
        remote: [0; 16],
        remote_port: 0,
        family: 0,
        threads: 1,
        call: 45,
        state: b'S',
        waits_on: waits_on::SOCKET,
        timed: 0,
        reserved: [0; 1],
        call_name: padded(call_name),
        wait_channel: padded(wait_channel),
        name: padded(name),
    }
}

fn padded<const LENGTH: usize>(name: &[u8]) -> [u8; LENGTH] {
    let mut padded = [0; LENGTH];
    padded[..name.len()].copy_from_slice(name);
    padded
}

const NOBODY: Who = Who { pid: 0, tid: 0 };

/// The header of an event. Encoding sets kind and length.
pub(super) fn header(at: u64, flags: u16, who: Who) -> EventHeader {
    EventHeader { time_ns: START + at * 1_000, kind: 0, flags, length: 0, tgid: who.pid, tid: who.tid }
}

pub(super) fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}
