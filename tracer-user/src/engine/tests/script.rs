//! Events of one connection, with the positions that the kernel would give.

use zerocopy::FromZeros as _;

use crate::{
    analysis::detector::Live as _,
    engine::{Engine, EngineOptions, Update},
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, DescriptorEvent, EventHeader, ProbeEvent, SocketEvent, TcpEvent, TickEvent, call,
            descriptor, direction, flag, origin, tcp, tcp_state,
        },
    },
    model::{
        connection::{AF_INET, Role},
        exchange::Exchange,
    },
};

const INODE: u64 = 4711;
const FD: i32 = 7;

/// A conversation on one connection.
pub(super) struct Script {
    engine: Engine,
    role: Role,
    pid: u32,
    time: u64,
    /// Sent and received: sequence numbers, which wrap soon.
    positions: [u32; 2],
    /// What SOCKET says of it.
    local_port: u16,
    state: u8,
    lose: bool,
    hold: bool,
    held: Vec<(DataEvent, Vec<u8>)>,
}

impl Script {
    fn begin(role: Role) -> Self {
        let engine = Engine::new(EngineOptions::default());
        let positions = [0xffff_ff00, 0x7fff_fff0];
        let mut script = Self {
            engine,
            role,
            pid: 10,
            time: 1_000_000,
            positions,
            local_port: 5000,
            state: 0,
            lose: false,
            hold: false,
            held: Vec::new(),
        };
        let header = script.header(0);
        let attached = AttachedEvent { header, realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
        script.engine.handle_event(&Event::Attached(attached));
        script
    }

    /// A connection seen from its beginning.
    pub(super) fn new(role: Role) -> Self {
        let mut script = Self::begin(role);
        if role == Role::Client {
            script.tcp(tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
            script.socket(origin::CONNECT, -115);
            script.tcp(tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0);
        } else {
            script.socket(origin::ACCEPT, FD);
        }
        script
    }

    /// A connection whose connect takes so long.
    pub(super) fn slow_connect(nanoseconds: u64) -> Self {
        let mut script = Self::begin(Role::Client);
        script.tcp(tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
        script.socket(origin::CONNECT, -115);
        script.wait(nanoseconds).tcp(tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0);
        script
    }

    /// Lets time pass, of which no event says so.
    pub(super) fn wait(&mut self, nanoseconds: u64) -> &mut Self {
        self.time += nanoseconds;
        self
    }

    /// What follows is done by another process.
    pub(super) fn by_process(&mut self, pid: u32) -> &mut Self {
        self.pid = pid;
        self
    }

    /// A connection that was reset before it was accepted: the kernel says so in the event of the accept alone.
    pub(super) fn accepted_when_reset(state: u8, local_port: u16) -> Self {
        let mut script = Self::begin(Role::Server);
        script.state = state;
        script.local_port = local_port;
        script.socket(origin::ACCEPT, FD);
        script
    }

    /// A connection that was there before tracing began.
    pub(super) fn joined(role: Role) -> Self {
        let mut script = Self::begin(role);
        script.socket(origin::SEEN, 0);
        script
    }

    /// A connection that was found through `/proc` and `sock_diag`.
    pub(super) fn found(role: Role) -> Self {
        let mut script = Self::begin(role);
        script.socket(origin::FOUND, 0);
        script
    }

    pub(super) fn unconnected() -> Self {
        Self::begin(Role::Client)
    }

    fn header(&mut self, flags: u16) -> EventHeader {
        self.time += 10_000;
        EventHeader { time_ns: self.time, kind: 0, flags, length: 0, tgid: self.pid, tid: 11 }
    }

    /// Another thread accepts a connection, whose descriptor has the same number.
    pub(super) fn accepts_another(&mut self) -> &mut Self {
        self.socket_of(INODE + 1, origin::ACCEPT, 0);
        self
    }

    /// A close of the connection returns after [`Self::accepts_another`].
    pub(super) fn closes_what_is_given_out_again(&mut self) -> &mut Self {
        self.descriptor_of(INODE + 1, descriptor::CLOSE)
    }

    fn socket(&mut self, origin: u8, result: i32) {
        self.socket_of(INODE, origin, result);
    }

    fn socket_of(&mut self, inode: u64, origin: u8, result: i32) {
        let listening = origin == origin::FOUND && self.role == Role::Server;
        let header = self.header(flag::SEQUENCE | if listening { flag::LISTENING_PORT } else { 0 });
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[127, 0, 0, 1]);
        self.engine.handle_event(&Event::Socket(SocketEvent {
            header,
            connection: inode,
            send_position: u64::from(self.positions[0]),
            receive_position: u64::from(self.positions[1]),
            local: address,
            remote: address,
            local_port: self.local_port,
            remote_port: 80,
            family: AF_INET,
            protocol: 6,
            result,
            fd: FD,
            state: self.state,
            origin,
            reserved: [0; 2],
            netns: 0,
        }));
    }

    fn tcp(&mut self, old_state: u8, new_state: u8, error: i32) {
        let header = self.header(flag::SEQUENCE);
        self.engine.handle_event(&Event::Tcp(TcpEvent {
            header,
            connection: INODE,
            send_position: u64::from(self.positions[0]),
            receive_position: u64::from(self.positions[1]),
            error,
            what: tcp::STATE,
            old_state,
            new_state,
            reserved: 0,
        }));
    }

    fn data(&mut self, direction: u8, result: i32, payload: &[u8], flags: u16) {
        let header = self.header(flag::SEQUENCE | flag::LAST | flags);
        let own = usize::from(direction);
        let position = self.positions[own];
        self.positions[own] = position.wrapping_add(u32::try_from(result).unwrap_or(0));
        let event = DataEvent {
            header,
            connection: INODE,
            position: u64::from(position),
            opposite_position: u64::from(self.positions[1 - own]),
            result,
            offset: 0,
            captured: payload.len() as u32,
            fd: FD,
            direction,
            call: call::WRITE,
            reserved: [0; 6],
        };
        if std::mem::take(&mut self.lose) {
        } else if std::mem::take(&mut self.hold) {
            self.held.push((event, payload.to_vec()));
        } else {
            self.engine.handle_event(&Event::Data(event, payload));
        }
    }

    fn direction(&self, is_request: bool) -> u8 {
        if is_request == (self.role == Role::Client) { direction::SEND } else { direction::RECEIVE }
    }

    pub(super) fn part(&mut self, is_request: bool, bytes: &[u8]) -> &mut Self {
        self.data(self.direction(is_request), bytes.len() as i32, bytes, 0);
        self
    }

    /// A call that moved all of `bytes`, of which only the first are captured.
    pub(super) fn captured(&mut self, is_request: bool, bytes: &[u8], captured: usize) -> &mut Self {
        self.data(self.direction(is_request), bytes.len() as i32, &bytes[..captured.min(bytes.len())], 0);
        self
    }

    /// Lets time pass, of which nothing is said.
    pub(super) fn pass(&mut self, nanoseconds: u64) -> &mut Self {
        self.time += nanoseconds;
        self
    }

    pub(super) fn request(&mut self, bytes: &[u8]) -> &mut Self {
        self.part(true, bytes)
    }

    pub(super) fn response(&mut self, bytes: &[u8]) -> &mut Self {
        self.part(false, bytes)
    }

    pub(super) fn sendfile(&mut self, length: i32) -> &mut Self {
        self.data(direction::SEND, length, &[], flag::LENGTH_ONLY);
        self
    }

    /// A call of which the first `skipped` bytes were left out by the probes.
    pub(super) fn skipped_then(&mut self, skipped: u32, payload: &[u8]) -> &mut Self {
        let direction = self.direction(true);
        let own = usize::from(direction);
        let result = skipped + payload.len() as u32;
        let event = DataEvent {
            header: self.header(flag::SEQUENCE | flag::LAST),
            connection: INODE,
            position: u64::from(self.positions[own]),
            opposite_position: u64::from(self.positions[1 - own]),
            result: result as i32,
            offset: skipped,
            captured: payload.len() as u32,
            fd: FD,
            direction,
            call: call::READ,
            reserved: [0; 6],
        };
        self.positions[own] = self.positions[own].wrapping_add(result);
        self.engine.handle_event(&Event::Data(event, payload));
        self
    }

    pub(super) fn end_of_stream(&mut self) -> &mut Self {
        self.data(direction::RECEIVE, 0, &[], 0);
        self
    }

    pub(super) fn receive_error(&mut self, error: i32) -> &mut Self {
        self.data(direction::RECEIVE, -error, &[], 0);
        self
    }

    pub(super) fn target_closes(&mut self) -> &mut Self {
        self.tcp(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1, 0);
        self.descriptor(descriptor::CLOSE)
    }

    pub(super) fn connect_fails(&mut self, error: i32) -> &mut Self {
        self.tcp(tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
        self.tcp(tcp_state::SYN_SENT, tcp_state::CLOSE, error);
        self.socket(origin::CONNECT, -error);
        self
    }

    /// `connect` to no address ends the connection, another `connect` begins one with the same socket.
    pub(super) fn reconnects(&mut self) -> &mut Self {
        self.tcp(tcp_state::ESTABLISHED, tcp_state::CLOSE, 0);
        self.positions = [0x1234_5678, 0x8765_4321];
        self.tcp(tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
        self.socket(origin::CONNECT, -115);
        self.tcp(tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0);
        self
    }

    /// So much is sent and received without a call that is seen.
    pub(super) fn unseen(&mut self, sent: u32, received: u32) -> &mut Self {
        self.positions[0] = self.positions[0].wrapping_add(sent);
        self.positions[1] = self.positions[1].wrapping_add(received);
        self
    }

    /// The kernel says that the state changes.
    pub(super) fn state(&mut self, old: u8, new: u8) -> &mut Self {
        self.tcp(old, new, 0);
        self
    }

    /// The target does this (of [`descriptor`]) to its only descriptor.
    pub(super) fn descriptor(&mut self, action: u8) -> &mut Self {
        let connection = if action == descriptor::CLOSE { 0 } else { INODE };
        self.descriptor_of(connection, action)
    }

    fn descriptor_of(&mut self, connection: u64, action: u8) -> &mut Self {
        let header = self.header(0);
        self.engine.handle_event(&Event::Descriptor(DescriptorEvent {
            header,
            connection,
            fd: FD,
            new_fd: -1,
            action,
            reserved: [0; 7],
        }));
        self
    }

    /// `sock_diag` does not find the connection.
    pub(super) fn gone(&mut self) -> &mut Self {
        let header = self.header(flag::GONE);
        self.engine.handle_event(&Event::Probe(ProbeEvent { header, connection: INODE, ..ProbeEvent::new_zeroed() }));
        self
    }

    /// Connections that are open after some time.
    pub(super) fn open(&mut self) -> usize {
        self.tick().tick();
        let mut open = 0;
        self.engine.live().connections(&mut |_| open += 1);
        open
    }

    /// What the kernel has counted.
    pub(super) fn probe(&mut self, acknowledged: u64, received: u64) -> &mut Self {
        self.probe_with_ages(acknowledged, received, 0, 0)
    }

    /// How long ago the target last sent and received, in milliseconds.
    pub(super) fn ages(&mut self, sent: u32, received: u32) -> &mut Self {
        self.probe_with_ages(100, 100, sent, received)
    }

    fn probe_with_ages(
        &mut self,
        acknowledged: u64,
        received: u64,
        last_sent_ms: u32,
        last_received_ms: u32,
    ) -> &mut Self {
        let header = self.header(0);
        self.engine.handle_event(&Event::Probe(ProbeEvent {
            header,
            connection: INODE,
            bytes_acked: acknowledged,
            bytes_received: received,
            receive_queue: 0,
            send_queue: 0,
            last_sent_ms,
            last_received_ms,
            unacknowledged: 0,
            retransmits: 0,
            backoff: 0,
            window_probes: 0,
            state: tcp_state::ESTABLISHED,
            peer_window: 0,
            reserved: [0; 6],
            bytes_sent: 0,
        }));
        self
    }

    /// The next data event is lost.
    pub(super) fn lose_next(&mut self) -> &mut Self {
        self.lose = true;
        self
    }

    /// The next data event comes only at [`Self::release`].
    pub(super) fn hold_next(&mut self) -> &mut Self {
        self.hold = true;
        self
    }

    pub(super) fn release(&mut self) -> &mut Self {
        for (event, payload) in std::mem::take(&mut self.held) {
            self.engine.handle_event(&Event::Data(event, &payload));
        }
        self
    }

    pub(super) fn tick(&mut self) -> &mut Self {
        self.tick_with_loss(200_000_000, 0)
    }

    /// Lets time pass, after which so many events are lost in all.
    pub(super) fn tick_with_loss(&mut self, nanoseconds: u64, lost: u64) -> &mut Self {
        self.time += nanoseconds;
        let header = self.header(0);
        let lost_events = [lost, 0, 0, 0, 0, 0];
        self.engine.handle_event(&Event::Tick(TickEvent { header, lost_events, lost_bytes: [0; 6] }));
        self
    }

    /// A tick whose counters could not be read.
    pub(super) fn outdated_tick(&mut self, nanoseconds: u64, lost: u64) -> &mut Self {
        self.time += nanoseconds;
        let header = self.header(flag::OUTDATED);
        let lost_events = [lost, 0, 0, 0, 0, 0];
        self.engine.handle_event(&Event::Tick(TickEvent { header, lost_events, lost_bytes: [0; 6] }));
        self
    }

    pub(super) fn finish(&mut self) -> &mut Self {
        self.engine.finish();
        self
    }

    /// Lets time pass, ends the trace, gives everything that came out.
    pub(super) fn updates(&mut self) -> Vec<Update> {
        self.tick().tick().finish();
        std::iter::from_fn(|| self.engine.poll()).collect()
    }

    pub(super) fn exchanges(&mut self) -> Vec<Exchange> {
        Self::exchanges_of(&self.updates())
    }

    /// What is over by now.
    pub(super) fn exchanges_so_far(&mut self) -> Vec<Exchange> {
        let updates: Vec<_> = std::iter::from_fn(|| self.engine.poll()).collect();
        Self::exchanges_of(&updates)
    }

    pub(super) fn exchanges_of(updates: &[Update]) -> Vec<Exchange> {
        updates
            .iter()
            .filter_map(
                |update| if let Update::Exchange(exchange) = update { Some((**exchange).clone()) } else { None },
            )
            .collect()
    }
}
