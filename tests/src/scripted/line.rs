//! A connection: the actions of its two ends, with the kernel's stream positions.

use libc::{ECONNREFUSED, ECONNRESET, EINPROGRESS};
use pidtap::{
    event::{
        Event,
        wire::{
            DataEvent, DescriptorEvent, ProbeEvent, SocketEvent, TcpEvent, call, descriptor, direction, flag, origin,
            peer_window, tcp, tcp_state,
        },
    },
    model::connection::AF_INET,
};

use super::stage::{MS, Who, encoded, header};

/// `IPPROTO_TCP`.
const TCP: u16 = 6;
/// The probes' upper bound for the bytes of an event.
const RECORD: usize = 16 * 1024;
/// Time between the steps of a connect or a close.
const STEP: u64 = 20;

/// A connection, and its current time.
#[derive(Clone, Debug)]
pub struct Line {
    inode: u64,
    who: Who,
    client: bool,
    local: ([u8; 4], u16),
    remote: ([u8; 4], u16),
    fd: i32,
    now: u64,
    /// Bytes sent and received.
    positions: [u64; 2],
    /// Time of the last bytes of each direction.
    moved: [u64; 2],
    /// First positions of both streams.
    began: [u64; 2],
    events: Vec<(u64, Vec<u8>)>,
}

impl Line {
    pub(super) fn new(number: u64, who: Who, client: bool, remote: ([u8; 4], u16)) -> Self {
        let positions = [1_000_000 * number, 2_000_000 * number];
        Self {
            inode: 80_000 + number,
            who,
            client,
            local: ([10, 20, 0, 5], 40_000 + number as u16),
            remote,
            fd: 10 + number as i32,
            now: 0,
            positions,
            moved: [0; 2],
            began: positions,
            events: Vec::new(),
        }
    }

    pub(super) fn local_port(mut self, port: u16) -> Self {
        self.local.1 = port;
        self
    }

    pub(super) fn into_events(self) -> Vec<(u64, Vec<u8>)> {
        self.events
    }

    /// The current time.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The inode of the socket.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The process and thread that move bytes.
    pub fn who(&self) -> Who {
        self.who
    }

    /// Continues with another thread.
    pub fn by(&mut self, who: Who) -> &mut Self {
        self.who = who;
        self
    }

    /// Continues at this time.
    ///
    /// # Panics
    ///
    /// The time lies before the current one.
    pub fn at(&mut self, moment: u64) -> &mut Self {
        assert!(moment >= self.now, "a script goes forward: {} to {moment}", self.now);
        self.now = moment;
        self
    }

    /// Advances the time.
    pub fn wait(&mut self, microseconds: u64) -> &mut Self {
        self.at(self.now + microseconds)
    }

    /// Connects, which takes this time, or accepts, which takes none.
    pub fn opens(&mut self, microseconds: u64) -> &mut Self {
        if !self.client {
            return self.socket(origin::ACCEPT, self.fd);
        }
        self.state(tcp_state::CLOSE, tcp_state::SYN_SENT, 0).wait(microseconds);
        self.state(tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0).wait(STEP);
        self.socket(origin::CONNECT, 0).wait(STEP)
    }

    /// Begins a connect in the background.
    pub fn connects(&mut self) -> &mut Self {
        self.state(tcp_state::CLOSE, tcp_state::SYN_SENT, 0).wait(STEP);
        self.socket(origin::CONNECT, -EINPROGRESS)
    }

    /// Connects, and is refused.
    pub fn is_refused(&mut self) -> &mut Self {
        self.state(tcp_state::CLOSE, tcp_state::SYN_SENT, 0).wait(STEP);
        self.state(tcp_state::SYN_SENT, tcp_state::CLOSE, ECONNREFUSED).wait(STEP);
        self.socket(origin::CONNECT, -ECONNREFUSED)
    }

    /// The connection existed before the trace.
    pub fn is_found(&mut self) -> &mut Self {
        self.socket(origin::FOUND, 0)
    }

    /// Moves bytes of a request, in the direction of the role.
    pub fn asks(&mut self, bytes: &[u8]) -> &mut Self {
        self.whole(self.request(), bytes)
    }

    /// Moves bytes of a response.
    pub fn answers(&mut self, bytes: &[u8]) -> &mut Self {
        self.whole(self.response(), bytes)
    }

    /// Moves bytes of a request body that were never in the memory of the process, or that the probes omit.
    pub fn asks_unseen(&mut self, length: u32) -> &mut Self {
        self.data(self.request(), length as i32, 0, &[], flag::LENGTH_ONLY | flag::LAST)
    }

    /// The same for a response.
    pub fn answers_unseen(&mut self, length: u32) -> &mut Self {
        self.data(self.response(), length as i32, 0, &[], flag::LENGTH_ONLY | flag::LAST)
    }

    /// Moves a response of which only the first bytes are captured.
    pub fn answers_cut(&mut self, bytes: &[u8], length: u32) -> &mut Self {
        self.data(self.response(), length as i32, 0, bytes, flag::TRUNCATED | flag::LAST)
    }

    /// Moves a response whose event is lost.
    pub fn answers_lost(&mut self, length: u32) -> &mut Self {
        self.positions[usize::from(self.response())] += u64::from(length);
        self
    }

    /// The process closes the connection.
    pub fn closes(&mut self) -> &mut Self {
        self.state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1, 0).wait(STEP);
        let event = DescriptorEvent {
            header: header(self.now, 0, self.who),
            connection: 0,
            fd: self.fd,
            new_fd: -1,
            action: descriptor::CLOSE,
            reserved: [0; 7],
        };
        self.put(&Event::Descriptor(event))
    }

    /// The peer closes the connection, and the process reads the end.
    pub fn is_closed(&mut self) -> &mut Self {
        self.state(tcp_state::ESTABLISHED, tcp_state::CLOSE_WAIT, 0).wait(STEP);
        self.data(direction::RECEIVE, 0, 0, &[], flag::LAST).wait(STEP);
        self.state(tcp_state::CLOSE_WAIT, tcp_state::LAST_ACK, 0).wait(STEP);
        let header = header(self.now, 0, self.who);
        let (fd, action) = (self.fd, descriptor::CLOSE);
        self.put(&Event::Descriptor(DescriptorEvent {
            header,
            connection: 0,
            fd,
            new_fd: -1,
            action,
            reserved: [0; 7],
        }))
    }

    /// The peer resets the connection.
    pub fn is_reset(&mut self) -> &mut Self {
        self.state(tcp_state::ESTABLISHED, tcp_state::CLOSE, ECONNRESET).wait(STEP);
        self.data(direction::RECEIVE, -ECONNRESET, 0, &[], flag::LAST)
    }

    /// The kernel's current state of the connection, with everything acknowledged and read.
    pub fn probe(&self) -> ProbeEvent {
        let ago = |moved: u64| ((self.now - moved) / MS) as u32;
        let moved = |way: u8| self.positions[usize::from(way)] - self.began[usize::from(way)];
        let syn = u64::from(self.client);
        ProbeEvent {
            header: header(self.now, 0, self.who),
            connection: self.inode,
            bytes_acked: moved(direction::SEND) + syn,
            bytes_received: moved(direction::RECEIVE),
            receive_queue: 0,
            send_queue: 0,
            last_sent_ms: ago(self.moved[0]),
            last_received_ms: ago(self.moved[1]),
            unacknowledged: 0,
            retransmits: 0,
            backoff: 0,
            window_probes: 0,
            state: tcp_state::ESTABLISHED,
            peer_window: peer_window::OPEN,
            reserved: [0; 6],
            bytes_sent: moved(direction::SEND),
        }
    }

    fn request(&self) -> u8 {
        if self.client { direction::SEND } else { direction::RECEIVE }
    }

    fn response(&self) -> u8 {
        1 - self.request()
    }

    /// A call that is captured completely.
    fn whole(&mut self, way: u8, bytes: &[u8]) -> &mut Self {
        let position = self.positions[usize::from(way)];
        let mut offset = 0;
        for record in bytes.chunks(RECORD) {
            let last = if offset + record.len() == bytes.len() { flag::LAST } else { 0 };
            self.positions[usize::from(way)] = position;
            self.data(way, bytes.len() as i32, offset, record, last);
            offset += record.len();
        }
        self
    }

    fn data(&mut self, way: u8, result: i32, offset: usize, payload: &[u8], flags: u16) -> &mut Self {
        let (own, other) = (usize::from(way), usize::from(1 - way));
        let event = DataEvent {
            header: header(self.now, flag::SEQUENCE | flags, self.who),
            connection: self.inode,
            position: self.positions[own],
            opposite_position: self.positions[other],
            result,
            offset: offset as u32,
            captured: payload.len() as u32,
            fd: self.fd,
            direction: way,
            call: if way == direction::SEND { call::WRITE } else { call::READ },
            reserved: [0; 6],
        };
        self.put(&Event::Data(event, payload));
        self.positions[own] += u64::try_from(result).unwrap_or_default();
        if result > 0 {
            self.moved[own] = self.now;
        }
        self
    }

    fn socket(&mut self, origin: u8, result: i32) -> &mut Self {
        let address = |part: [u8; 4]| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&part);
            address
        };
        let listens = origin == origin::FOUND && !self.client;
        let up = result >= 0;
        let event = SocketEvent {
            header: header(self.now, flag::SEQUENCE | if listens { flag::LISTENING_PORT } else { 0 }, self.who),
            connection: self.inode,
            send_position: self.positions[0],
            receive_position: self.positions[1],
            local: address(self.local.0),
            remote: address(self.remote.0),
            local_port: self.local.1,
            remote_port: self.remote.1,
            family: AF_INET,
            protocol: TCP,
            result,
            fd: self.fd,
            state: if up { tcp_state::ESTABLISHED } else { tcp_state::SYN_SENT },
            origin,
            reserved: [0; 2],
            netns: 0,
        };
        (self.moved, self.began) = ([self.now; 2], self.positions);
        self.put(&Event::Socket(event))
    }

    fn state(&mut self, old_state: u8, new_state: u8, error: i32) -> &mut Self {
        let event = TcpEvent {
            header: header(self.now, flag::SEQUENCE, self.who),
            connection: self.inode,
            send_position: self.positions[0],
            receive_position: self.positions[1],
            error,
            what: tcp::STATE,
            old_state,
            new_state,
            reserved: 0,
        };
        self.put(&Event::Tcp(event))
    }

    fn put(&mut self, event: &Event<'_>) -> &mut Self {
        self.events.push((self.now, encoded(event)));
        self
    }
}
