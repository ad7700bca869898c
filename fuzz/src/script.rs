//! Interprets any bytes as a script of events, and feeds them to the engine.
//!
//! The decoder would refuse nearly all random bytes as events. So the input is a script: each step has a byte for the kind of event, a
//! byte of detail, and for data a length and a payload. HTTP stands in the input unchanged, so that the fuzzer can mutate it.

use pidtap::{
    engine::{Engine, EngineOptions, Update},
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, DescriptorEvent, EventHeader, ProbeEvent, ProcessEvent, SocketEvent, TcpEvent,
            ThreadEvent, TickEvent, call, descriptor, direction, flag, loss, origin, process, tcp, tcp_state,
        },
    },
};

use zerocopy::FromZeros as _;

/// Number of connections in a script: few, so that several steps use the same one.
const CONNECTIONS: usize = 4;
const PID: u32 = 100;

/// Runs a script and checks every property that holds for any input.
///
/// # Panics
///
/// The engine lacks a property: the fuzzer has found a fault.
pub fn run(script: &[u8]) {
    run_before(script, |_| {});
}

/// Runs a script like [`run`], and passes each update on.
///
/// # Panics
///
/// As [`run`].
pub fn run_before(script: &[u8], audience: impl FnMut(&Update)) {
    let mut stage = Stage::new(audience);
    stage.begin();
    let mut rest = script;
    while let [action, detail, after @ ..] = rest {
        rest = stage.step(*action, *detail, after);
    }
    stage.finish();
}

/// The positions of a connection's two directions.
#[derive(Clone, Copy, Default)]
struct Positions {
    sent: u64,
    received: u64,
}

struct Stage<A> {
    audience: A,
    engine: Engine,
    time_ns: u64,
    positions: [Positions; CONNECTIONS],
    exchanges: u64,
    summaries: u64,
}

impl<A: FnMut(&Update)> Stage<A> {
    fn new(audience: A) -> Self {
        Self {
            audience,
            engine: Engine::new(EngineOptions { body_limit: 512, ..EngineOptions::default() }),
            time_ns: 1_000_000,
            positions: [Positions::default(); CONNECTIONS],
            exchanges: 0,
            summaries: 0,
        }
    }

    fn begin(&mut self) {
        self.process(process::FOUND, 1, flag::NAMED_TARGET);
        let header = self.header(0);
        self.feed(&Event::Attached(AttachedEvent {
            header,
            realtime_offset_ns: 1_700_000_000_000_000_000,
            call_capture: 1 << 20,
            ring_size: 1 << 20,
        }));
    }

    /// Executes one step. Returns the rest of the script.
    fn step<'a>(&mut self, action: u8, detail: u8, rest: &'a [u8]) -> &'a [u8] {
        let connection = usize::from(detail) % CONNECTIONS;
        self.time_ns += u64::from(detail) * 1000;
        match action % 16 {
            // The smaller numbers, the most frequent ones, are data.
            0..=8 => return self.data(action, detail, connection, rest),
            9 => self.socket(connection, origin::CONNECT, if detail & 0x10 == 0 { 0 } else { -111 }),
            10 => self.socket(connection, origin::ACCEPT, 0),
            11 => self.tcp(connection, tcp::STATE, detail >> 4, if detail & 8 == 0 { 0 } else { 104 }),
            12 => self.tcp(connection, if detail & 0x10 == 0 { tcp::RESET_RECEIVED } else { tcp::RESET_SENT }, 0, 104),
            13 => self.descriptor(connection, (detail >> 2) % 5),
            14 => self.process((detail >> 2) % 4, u32::from(detail), 0),
            _ => {
                // A gap.
                self.positions[connection].sent += u64::from(detail);
                self.positions[connection].received += u64::from(detail >> 3);
                if detail & 0x80 != 0 {
                    self.ask(connection, detail);
                }
                // Sometimes long enough for a call to hang.
                if detail & 0x40 != 0 {
                    self.time_ns += 1_000_000_000;
                }
                let header = self.header(0);
                self.feed(&Event::Tick(tick(header)));
            }
        }
        rest
    }

    /// The kernel's state of a connection, and of a thread that waits on it.
    fn ask(&mut self, connection: usize, detail: u8) {
        let inode = connection as u64 + 1;
        let probe = ProbeEvent {
            header: self.header(0),
            connection: inode,
            receive_queue: u32::from(detail & 4),
            send_queue: u32::from(detail & 8),
            backoff: u32::from(detail & 0x10),
            peer_window: detail & 3,
            state: tcp_state::ESTABLISHED,
            ..ProbeEvent::new_zeroed()
        };
        self.feed(&Event::Probe(probe));
        let thread = ThreadEvent {
            header: self.header(flag::LOOKED),
            connection: inode,
            waits_on: detail % 7,
            remote_port: if detail & 0x20 == 0 { 0 } else { 53 },
            family: 2,
            state: if detail & 0x10 == 0 { b'S' } else { b'T' },
            ..ThreadEvent::new_zeroed()
        };
        self.feed(&Event::Thread(thread));
    }

    /// Moves data: a length and the payload follow. A part may be uncaptured, peeked at, or repeated from an earlier position, and the
    /// call may fail.
    fn data<'a>(&mut self, action: u8, detail: u8, connection: usize, rest: &'a [u8]) -> &'a [u8] {
        let Some((length, rest)) = rest.split_first() else { return rest };
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let receive = detail & 4 != 0;
        let (extra, flags, back, error) = match action % 16 {
            0..=3 => (0, flag::LAST, 0, 0),
            4 => (u32::from(detail), flag::LAST | flag::TRUNCATED, 0, 0),
            5 => (u32::from(detail >> 3), flag::LAST | flag::LENGTH_ONLY, 0, 0),
            6 => (0, flag::LAST | flag::PEEK, 0, 0),
            7 => (0, flag::LAST, u64::from(detail >> 3), 0),
            _ => (0, flag::LAST, 0, if detail & 0x40 == 0 { -104 } else { -32 }),
        };
        let payload = if error != 0 || flags & flag::LENGTH_ONLY != 0 { &[][..] } else { payload };
        let moved = payload.len() as u32 + extra;
        let at = self.positions[connection];
        let (position, opposite_position) = if receive { (at.received, at.sent) } else { (at.sent, at.received) };
        let event = DataEvent {
            header: self.header(flags),
            connection: connection as u64 + 1,
            position: position.wrapping_sub(back),
            opposite_position,
            result: if error == 0 { moved as i32 } else { error },
            offset: 0,
            captured: payload.len() as u32,
            fd: connection as i32 + 3,
            direction: if receive { direction::RECEIVE } else { direction::SEND },
            call: if receive { call::RECVFROM } else { call::SENDTO },
            reserved: [0; 6],
        };
        if flags & flag::PEEK == 0 && back == 0 && error == 0 {
            let at = &mut self.positions[connection];
            *(if receive { &mut at.received } else { &mut at.sent }) += u64::from(moved);
        }
        self.feed(&Event::Data(event, payload));
        rest
    }

    fn socket(&mut self, connection: usize, origin: u8, result: i32) {
        let at = self.positions[connection];
        let event = SocketEvent {
            header: self.header(0),
            connection: connection as u64 + 1,
            send_position: at.sent,
            receive_position: at.received,
            local: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            remote: [127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            local_port: 40_000 + connection as u16,
            remote_port: 80,
            family: 2,
            protocol: 6,
            result,
            fd: connection as i32 + 3,
            state: tcp_state::ESTABLISHED,
            origin,
            reserved: [0; 2],
            netns: 0,
        };
        self.feed(&Event::Socket(event));
    }

    fn tcp(&mut self, connection: usize, what: u8, new_state: u8, error: i32) {
        let at = self.positions[connection];
        let event = TcpEvent {
            header: self.header(0),
            connection: connection as u64 + 1,
            send_position: at.sent,
            receive_position: at.received,
            error,
            what,
            old_state: tcp_state::ESTABLISHED,
            new_state,
            reserved: 0,
        };
        self.feed(&Event::Tcp(event));
    }

    fn descriptor(&mut self, connection: usize, action: u8) {
        let event = DescriptorEvent {
            header: self.header(0),
            connection: if action == descriptor::CLOSE { 0 } else { connection as u64 + 1 },
            fd: connection as i32 + 3,
            new_fd: connection as i32 + 10,
            action,
            reserved: [0; 7],
        };
        self.feed(&Event::Descriptor(event));
    }

    fn process(&mut self, action: u8, other_tgid: u32, flags: u16) {
        let event = ProcessEvent {
            header: self.header(flags),
            other_tgid,
            exit_code: 0,
            action,
            reserved: [0; 7],
            name: *b"service\0\0\0\0\0\0\0\0\0",
        };
        self.feed(&Event::Process(event));
    }

    fn header(&mut self, flags: u16) -> EventHeader {
        self.time_ns += 1000;
        EventHeader { time_ns: self.time_ns, kind: 0, flags, length: 0, tgid: PID, tid: PID }
    }

    /// Feeds an event as bytes, as every source of events does.
    fn feed(&mut self, event: &Event<'_>) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        // The decoder refuses events without a meaning, such as a position before the first.
        if let Ok(event) = Event::decode(&bytes) {
            self.engine.handle_event(&event);
            self.take_updates();
        }
    }

    fn finish(&mut self) {
        let header = self.header(0);
        self.feed(&Event::Detached(tick(header)));
        self.engine.finish();
        self.take_updates();
        assert_eq!(self.summaries, 1, "there is exactly one summary");
    }

    fn take_updates(&mut self) {
        while let Some(update) = self.engine.poll() {
            assert_eq!(self.summaries, 0, "the summary is the last update");
            (self.audience)(&update);
            match update {
                Update::Exchange(exchange) => {
                    self.exchanges += 1;
                    let request = exchange.request.as_ref().map(|request| &request.body);
                    let response = exchange.response.as_ref().map(|response| &response.body);
                    for body in request.into_iter().chain(response) {
                        assert!(body.captured.len() as u64 <= body.bytes, "more is captured than there was");
                    }
                }
                Update::Summary(summary) => {
                    self.summaries += 1;
                    assert_eq!(summary.exchanges, self.exchanges, "every exchange is counted once");
                }
                _ => {}
            }
        }
    }
}

fn tick(header: EventHeader) -> TickEvent {
    TickEvent { header, lost_events: [0; loss::CAUSES], lost_bytes: [0; loss::CAUSES] }
}
