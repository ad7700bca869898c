//! Connections over Unix sockets: positions are counts, the kernel counts no bytes.

use std::sync::Arc;

use zerocopy::FromZeros as _;

use crate::{
    engine::{Engine, EngineOptions, Update},
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, DescriptorEvent, EventHeader, ProbeEvent, SocketEvent, SocketNameEvent,
            TickEvent, call, descriptor, direction, flag, origin, tcp_state,
        },
    },
    model::{
        connection::AF_UNIX,
        exchange::{Exchange, Outcome},
    },
};

const GET: &[u8] = b"GET /info HTTP/1.0\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
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

    /// The probes tell a name.
    fn name(&mut self, path: &[u8], flags: u16) -> &mut Self {
        let header = self.header(flags);
        let path_length = path.len() as u32;
        let event = SocketNameEvent { header, connection: INODE, path_length, ..SocketNameEvent::new_zeroed() };
        self.engine.handle_event(&Event::SocketName(event, path));
        self
    }

    fn close(&mut self) -> &mut Self {
        let header = self.header(0);
        let event = DescriptorEvent { header, fd: 5, action: descriptor::CLOSE, ..DescriptorEvent::new_zeroed() };
        self.engine.handle_event(&Event::Descriptor(event));
        self
    }

    fn exchanges(&mut self) -> Vec<Arc<Exchange>> {
        let exchange = |update| if let Update::Exchange(exchange) = update { Some(exchange) } else { None };
        self.updates().into_iter().filter_map(exchange).collect()
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

#[test]
fn the_name_that_was_asked_for_is_the_remote_one() {
    let mut talk = Talk::begin();
    talk.name(b"/run/service.sock\0", 0)
        .socket(origin::CONNECT, 0)
        .data(direction::SEND, GET)
        .data(direction::RECEIVE, OK);
    let exchanges = talk.exchanges();
    assert_eq!(&*exchanges[0].connection.remote_text, "unix:/run/service.sock");
    assert_eq!(&*exchanges[0].connection.local_text, "unix");
}

#[test]
fn an_accepted_one_is_at_its_listeners_name() {
    let mut talk = Talk::begin();
    talk.name(b"\0hidden", flag::OWN_NAME).socket(origin::ACCEPT, 5);
    talk.data(direction::RECEIVE, GET).data(direction::SEND, OK);
    let exchanges = talk.exchanges();
    assert_eq!(&*exchanges[0].connection.local_text, "unix:@hidden");
    assert_eq!(&*exchanges[0].connection.remote_text, "unix");
}

/// The same socket tries again: each attempt has its name.
#[test]
fn a_connect_that_fails_tells_where_to() {
    let mut talk = Talk::begin();
    for error in [111, 2, 2] {
        talk.name(b"/run/gone.sock", 0).socket(origin::CONNECT, -error);
    }
    talk.close();
    let exchanges = talk.exchanges();
    let outcomes: Vec<_> = exchanges.iter().map(|exchange| (exchange.outcome, exchange.error)).collect();
    let failed = (Outcome::ConnectFailed, Some(2));
    assert_eq!(outcomes, [(Outcome::Refused, Some(111)), failed, failed]);
    assert!(exchanges.iter().all(|exchange| &*exchange.connection.remote_text == "unix:/run/gone.sock"));
}

/// The C library asks so for each process that looks up a user.
#[test]
fn a_daemon_that_does_not_run_is_no_failure() {
    let mut talk = Talk::begin();
    talk.name(b"/var/run/nscd/socket\0", 0).socket(origin::CONNECT, -2).close();
    // Without its name, nothing tells it from these.
    talk.socket(origin::CONNECT, -2).close();
    assert_eq!(talk.exchanges().len(), 0);
}

/// Names that no connection follows (the events of it were lost) are forgotten.
#[test]
fn names_without_a_connection_are_bounded() {
    let mut names = crate::engine::name::Names::default();
    for inode in 0..5000 {
        let event = SocketNameEvent { connection: inode, ..SocketNameEvent::new_zeroed() };
        names.keep(inode, crate::engine::name::Name::of(&event, b"/x").expect("a name"));
    }
    assert!(names.take(0).is_none() && names.take(4999).is_some());
    assert!(crate::engine::name::Name::of(&SocketNameEvent::new_zeroed(), b"").is_none());
}
