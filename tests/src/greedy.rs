//! Recordings that make the engine allocate memory.

use pidtap::{
    event::{
        Event,
        wire::{AttachedEvent, DataEvent, EventHeader, SocketEvent, TickEvent, call, direction, flag},
    },
    recording::{Header, Writer},
};

use crate::cli::accepted;

const NOW: u64 = 1_000_000_000;

fn header(time_ns: u64) -> EventHeader {
    EventHeader { time_ns, kind: 0, flags: flag::SEQUENCE | flag::LAST, length: 0, tgid: 10, tid: 11 }
}

/// An unfinished recording.
#[derive(Debug)]
pub struct Tape {
    writer: Writer<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Tape {
    fn new() -> Self {
        let writer = Writer::new(Vec::new(), &Header::default()).expect("a Vec takes everything");
        let mut tape = Self { writer, buffer: Vec::new() };
        let attached = AttachedEvent { header: header(NOW), realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
        tape.put(&Event::Attached(attached));
        tape
    }

    fn put(&mut self, event: &Event<'_>) {
        self.buffer.clear();
        event.encode(&mut self.buffer);
        self.writer.write_event(&self.buffer).expect("a Vec takes everything");
    }

    fn accepted(&mut self, connection: u64) {
        self.put(&Event::Socket(SocketEvent {
            send_position: 0,
            receive_position: 0,
            fd: connection as i32 + 3,
            ..accepted(header(NOW), connection)
        }));
    }

    fn received(&mut self, connection: u64, position: u64, bytes: &[u8]) {
        let event = DataEvent {
            header: header(NOW),
            connection,
            position,
            opposite_position: 0,
            result: bytes.len() as i32,
            offset: 0,
            captured: bytes.len() as u32,
            fd: connection as i32 + 3,
            direction: direction::RECEIVE,
            call: call::READ,
            reserved: [0; 6],
        };
        self.put(&Event::Data(event, bytes));
    }

    fn tick(&mut self, time_ns: u64) {
        let tick = TickEvent { header: header(time_ns), lost_events: [0; 6], lost_bytes: [0; 6] };
        self.put(&Event::Tick(tick));
    }

    fn written(self) -> Vec<u8> {
        self.writer.finish().expect("a Vec takes everything")
    }
}

/// Each of `connections` receives `segments` segments of `length` bytes, after a gap that is never filled.
pub fn reordered(connections: u64, segments: u64, length: usize) -> Vec<u8> {
    let (mut tape, bytes) = (Tape::new(), vec![b'x'; length]);
    for connection in 1..=connections {
        tape.accepted(connection);
        for place in 0..segments {
            tape.received(connection, 1 + place * (length as u64 + 1), &bytes);
        }
    }
    tape.written()
}

/// Each of `connections` receives `requests` requests with a header of `length` bytes, and sends no response.
pub fn unanswered(connections: u64, requests: u64, length: usize) -> Vec<u8> {
    let mut tape = Tape::new();
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(length)).into_bytes();
    for connection in 1..=connections {
        tape.accepted(connection);
        for place in 0..requests {
            tape.received(connection, place * request.len() as u64, &request);
        }
    }
    tape.written()
}

/// `calls` calls stay open for `seconds` ticks of a second.
pub fn open_calls(calls: u64, seconds: u64) -> Vec<u8> {
    let mut tape = Tape::new();
    for connection in 1..=calls {
        tape.accepted(connection);
        tape.received(connection, 0, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for second in 1..=seconds {
        tape.tick(NOW + second * 1_000_000_000);
    }
    tape.written()
}
