//! Connections over Unix sockets: positions are counts, the kernel counts no bytes.

use zerocopy::FromZeros as _;

use crate::{
    connection::AF_UNIX,
    engine::{Engine, EngineOptions, Update},
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, EventHeader, ProbeEvent, SocketEvent, TickEvent, call, direction, flag, origin,
            tcp_state,
        },
    },
};

const INODE: u64 = 77;

/// A conversation over a Unix socket.
struct Talk {
    engine: Engine,
    time: u64,
    positions: [u64; 2],
}

impl Talk {
    fn begin() -> Self {
        let mut talk = Self { engine: Engine::new(EngineOptions::default()), time: 0, positions: [0; 2] };
        let header = talk.header(0);
        let attached = AttachedEvent { header, realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
        talk.engine.handle_event(&Event::Attached(attached));
        talk
    }

    fn header(&mut self, flags: u16) -> EventHeader {
        self.time += 1_000_000;
        EventHeader { time_ns: self.time, kind: 0, flags, length: 0, tgid: 10, tid: 10 }
    }

    fn socket(&mut self, origin: u8, result: i32) -> &mut Self {
        let header = self.header(0);
        self.engine.handle_event(&Event::Socket(SocketEvent {
            header,
            connection: INODE,
            family: AF_UNIX,
            fd: 5,
            origin,
            result,
            ..SocketEvent::new_zeroed()
        }));
        self
    }

    fn data(&mut self, way: u8, bytes: &[u8]) -> &mut Self {
        let header = self.header(flag::LAST);
        let own = usize::from(way);
        let event = DataEvent {
            header,
            connection: INODE,
            position: self.positions[own],
            opposite_position: self.positions[1 - own],
            result: bytes.len() as i32,
            offset: 0,
            captured: bytes.len() as u32,
            fd: 5,
            direction: way,
            call: call::WRITE,
            reserved: [0; 6],
        };
        self.positions[own] += bytes.len() as u64;
        self.engine.handle_event(&Event::Data(event, bytes));
        self
    }

    fn queues(&mut self, receive_queue: u32, send_queue: u32) -> &mut Self {
        let header = self.header(flag::UNIX);
        self.engine.handle_event(&Event::Probe(ProbeEvent {
            header,
            connection: INODE,
            receive_queue,
            send_queue,
            state: tcp_state::ESTABLISHED,
            ..ProbeEvent::new_zeroed()
        }));
        self
    }

    fn updates(&mut self) -> Vec<Update> {
        for _ in 0..3 {
            self.time += 1_000_000_000;
            let header = self.header(0);
            self.engine.handle_event(&Event::Tick(TickEvent { header, lost_events: [0; 6], lost_bytes: [0; 6] }));
        }
        self.engine.finish();
        std::iter::from_fn(|| self.engine.poll()).collect()
    }
}

/// The kernel counts no bytes of Unix sockets: zeroes there are not bytes that nobody saw.
#[test]
fn what_the_kernel_does_not_count_is_not_unseen() {
    let mut talk = Talk::begin();
    talk.socket(origin::CONNECT, 0).data(direction::SEND, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    talk.queues(0, 0).queues(0, 0).queues(100, 0).queues(100, 0);
    let notes = talk.updates().into_iter().filter(|update| matches!(update, Update::Note(_))).count();
    assert_eq!(notes, 0);
}
