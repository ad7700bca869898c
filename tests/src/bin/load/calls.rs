//! The calls: fifty endpoints of five upstreams. Each call has an id of its own, and one in twenty fails.

use std::{collections::VecDeque, io::Write};

use pidtap::{
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, EventHeader, ProcessEvent, SocketEvent, TickEvent, call, direction, flag, loss,
            origin, process, tcp_state,
        },
    },
    model::connection::AF_INET,
    recording::{WriteError, Writer},
};

/// Nanoseconds of a slot, whose calls are made at once.
pub(crate) const SLOT: u64 = 1_000_000;
/// Slots up to the slowest response.
const SLOWEST: u64 = 12;
/// Endpoints, a fifth of them for each upstream.
const ENDPOINTS: u64 = 50;
/// Bytes of a response body.
const BODY: usize = 640;
const PID: u32 = 7700;
/// The first inode of a connection.
const INODES: u64 = 900_000;

#[derive(Clone, Copy)]
struct Connection {
    /// Bytes sent and received.
    positions: [u64; 2],
}

/// The calls in flight, and the written events.
pub(crate) struct Calls {
    base: u64,
    connections: Vec<Connection>,
    /// Connections without a call.
    free: VecDeque<usize>,
    /// By slots from now: connections with a response in that slot, and their call.
    answers: VecDeque<Vec<(usize, u64)>>,
    made: u64,
    body: String,
    event: Vec<u8>,
    message: Vec<u8>,
}

impl Calls {
    pub(crate) fn new(base: u64, rate: u64) -> Self {
        let count = (rate * SLOT / 1_000_000_000 + 1) * (SLOWEST + 1);
        Self {
            base,
            connections: (0..count).map(|number| Connection { positions: [number << 20; 2] }).collect(),
            free: (0..count as usize).collect(),
            answers: (0..=SLOWEST).map(|_| Vec::new()).collect(),
            made: 0,
            body: "All the tea that is in the house. ".chars().cycle().take(BODY).collect(),
            event: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Calls made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    fn header(&self, slot: u64, within: u64, flags: u16) -> EventHeader {
        let time_ns = self.base + slot * SLOT + within;
        EventHeader { time_ns, kind: 0, flags, length: 0, tgid: PID, tid: PID }
    }

    fn put(&mut self, writer: &mut Writer<impl Write>, event: &Event<'_>) -> Result<(), WriteError> {
        self.event.clear();
        event.encode(&mut self.event);
        writer.write_event(&self.event)
    }

    /// Announces the process and its connections.
    pub(crate) fn begin(&mut self, writer: &mut Writer<impl Write>, offset: i64) -> Result<(), WriteError> {
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"busy");
        let found = ProcessEvent {
            header: self.header(0, 0, flag::NAMED_TARGET),
            other_tgid: 1,
            exit_code: 0,
            action: process::FOUND,
            reserved: [0; 7],
            name,
        };
        self.put(writer, &Event::Process(found))?;
        let header = self.header(0, 0, 0);
        let attached = AttachedEvent { header, realtime_offset_ns: offset, call_capture: 1 << 20, ring_size: 1 << 24 };
        self.put(writer, &Event::Attached(attached))?;
        for index in 0..self.connections.len() {
            let event = self.connected(index);
            self.put(writer, &Event::Socket(event))?;
        }
        Ok(())
    }

    fn connected(&self, index: usize) -> SocketEvent {
        let [send_position, receive_position] = self.connections[index].positions;
        let address = |last: u8| [10, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        SocketEvent {
            header: self.header(0, 0, flag::SEQUENCE),
            connection: INODES + index as u64,
            send_position,
            receive_position,
            local: address(1),
            remote: address(10 + (index % 5) as u8),
            local_port: 30_000 + index as u16,
            remote_port: 80,
            family: AF_INET,
            protocol: 6,
            result: 0,
            fd: 10 + index as i32,
            state: tcp_state::ESTABLISHED,
            origin: origin::CONNECT,
            reserved: [0; 2],
            netns: 0,
        }
    }

    /// Plays a slot: due responses, then calls, up to a total of `until`.
    pub(crate) fn slot(&mut self, writer: &mut Writer<impl Write>, slot: u64, until: u64) -> Result<(), WriteError> {
        let answers = self.answers.pop_front().unwrap_or_default();
        let events = answers.len() as u64 + until.saturating_sub(self.made) + 1;
        let mut within = 0;
        let mut step = || {
            within += SLOT / (events + 1);
            within
        };
        for (index, call) in &answers {
            self.answer(*call);
            self.data(writer, *index, direction::RECEIVE, (slot, step()))?;
            self.free.push_back(*index);
        }
        self.answers.push_back(Vec::new());
        while self.made < until {
            let Some(index) = self.free.pop_front() else { break };
            self.request(self.made);
            self.data(writer, index, direction::SEND, (slot, step()))?;
            let takes = if self.made.is_multiple_of(97) { SLOWEST } else { 1 + self.made % ENDPOINTS % 5 };
            self.answers[takes as usize - 1].push((index, self.made));
            self.made += 1;
        }
        Ok(())
    }

    fn request(&mut self, call: u64) {
        let endpoint = call % ENDPOINTS;
        let method = ["GET", "GET", "GET", "DELETE"][(endpoint % 4) as usize];
        self.message.clear();
        let _ = write!(
            self.message,
            "{method} /v1/resource{}/{call} HTTP/1.1\r\nHost: upstream{}.internal\r\nUser-Agent: busy/1.0\r\n\
            Accept: application/json\r\nX-Request-Id: 00000000-0000-4000-a000-{call:012x}\r\n\r\n",
            endpoint / 5,
            endpoint % 5
        );
    }

    fn answer(&mut self, call: u64) {
        let status = match call % 20 {
            7 if call.is_multiple_of(3) => "503 Service Unavailable",
            7 => "500 Internal Server Error",
            _ => "200 OK",
        };
        self.message.clear();
        let _ = write!(
            self.message,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\nServer: upstream\r\n\r\n{}",
            self.body
        );
    }

    /// Moves a message.
    fn data(
        &mut self,
        writer: &mut Writer<impl Write>,
        index: usize,
        way: u8,
        (slot, within): (u64, u64),
    ) -> Result<(), WriteError> {
        let header = self.header(slot, within, flag::SEQUENCE | flag::LAST);
        let (own, length) = (usize::from(way), self.message.len());
        let positions = &mut self.connections[index].positions;
        let event = DataEvent {
            header,
            connection: INODES + index as u64,
            position: positions[own],
            opposite_position: positions[1 - own],
            result: length as i32,
            offset: 0,
            captured: length as u32,
            fd: 10 + index as i32,
            direction: way,
            call: if way == direction::SEND { call::WRITE } else { call::READ },
            reserved: [0; 6],
        };
        // Sequence numbers wrap.
        positions[own] = (positions[own] + length as u64) & u64::from(u32::MAX);
        let message = std::mem::take(&mut self.message);
        let result = self.put(writer, &Event::Data(event, &message));
        self.message = message;
        result
    }

    fn counters(&self, slot: u64) -> TickEvent {
        TickEvent {
            header: self.header(slot, SLOT - 1, 0),
            lost_events: [0; loss::CAUSES],
            lost_bytes: [0; loss::CAUSES],
        }
    }

    /// Writes a tick.
    pub(crate) fn tick(&mut self, writer: &mut Writer<impl Write>, slot: u64) -> Result<(), WriteError> {
        let event = self.counters(slot);
        self.put(writer, &Event::Tick(event))
    }

    /// Answers all calls, and ends the trace.
    pub(crate) fn end(&mut self, writer: &mut Writer<impl Write>, slot: u64) -> Result<(), WriteError> {
        for more in 0..=SLOWEST {
            self.slot(writer, slot + more, self.made)?;
        }
        let event = self.counters(slot + SLOWEST);
        self.put(writer, &Event::Detached(event))
    }
}
