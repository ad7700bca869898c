//! A scripted process with its calls, as events, and a kernel that responds to queries.

use std::net::{IpAddr, SocketAddr};

use zerocopy::FromZeros as _;

use crate::{
    analysis::detector::{Evidence, HangEvidence, Incident, State},
    engine::{Control, Engine, EngineOptions, Note, Update},
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, EventHeader, ProbeEvent, SocketEvent, TcpEvent, ThreadEvent, TickEvent, call,
            direction, flag, origin, peer_window, tcp, tcp_state, waits_on,
        },
    },
    model::{
        connection::{AF_INET, Role},
        exchange::Exchange,
    },
    text::redact::Redactor,
};

const MS: u64 = 1_000_000;
const PID: u32 = 10;
/// Connection of most tests.
pub(super) const INODE: u64 = 500;
/// Connection of a call that the target makes itself.
pub(super) const OUTBOUND: u64 = 700;

/// Thread IDs.
pub(super) struct Who;

impl Who {
    /// Thread that moves the bytes.
    pub(super) const HANDLER: u32 = 11;
    pub(super) const OTHER: u32 = 12;
}

pub(super) struct Play {
    engine: Engine,
    role: Role,
    inode: u64,
    time: u64,
    positions: [u64; 2],
    probe: ProbeEvent,
    threads: Vec<(ThreadEvent, u64)>,
    /// Whether the kernel does not respond.
    silent: bool,
    /// Whether threads are not examined.
    resting: bool,
    updates: Vec<Update>,
    /// Number of queries so far.
    pub(super) asked: usize,
}

impl Play {
    fn new(role: Role) -> Self {
        let mut play = Self {
            engine: Engine::new(EngineOptions::default()),
            role,
            inode: INODE,
            time: 100_000 * MS,
            positions: [1000; 2],
            probe: ProbeEvent {
                state: tcp_state::ESTABLISHED,
                peer_window: peer_window::OPEN,
                ..ProbeEvent::new_zeroed()
            },
            threads: Vec::new(),
            silent: false,
            resting: false,
            updates: Vec::new(),
            asked: 0,
        };
        let attached = AttachedEvent { header: play.header(0), realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
        play.event(&Event::Attached(attached));
        play
    }

    /// The target is the client of an established connection.
    pub(super) fn client() -> Self {
        let mut play = Self::new(Role::Client);
        play.socket(INODE, origin::CONNECT, tcp_state::ESTABLISHED);
        play
    }

    /// The target is the server of an accepted connection.
    pub(super) fn server() -> Self {
        let mut play = Self::new(Role::Server);
        play.socket(INODE, origin::ACCEPT, tcp_state::ESTABLISHED);
        play
    }

    /// The target connects with a blocking call.
    pub(super) fn connecting() -> Self {
        let mut play = Self::new(Role::Client);
        play.state(tcp_state::CLOSE, tcp_state::SYN_SENT);
        play
    }

    pub(super) fn connected(&mut self) -> &mut Self {
        self.state(tcp_state::SYN_SENT, tcp_state::ESTABLISHED);
        self.socket(INODE, origin::CONNECT, tcp_state::ESTABLISHED);
        self
    }

    /// The target is the client of a connection from before the trace, which moved bytes this many milliseconds ago.
    pub(super) fn late(sent: u32, received: u32) -> Self {
        let mut play = Self::new(Role::Client);
        play.socket(INODE, origin::FOUND, tcp_state::ESTABLISHED);
        (play.probe.last_sent_ms, play.probe.last_received_ms) = (sent, received);
        (play.probe.bytes_acked, play.probe.bytes_received) = (100, 100);
        play.answer(INODE);
        play
    }

    fn header(&self, flags: u16) -> EventHeader {
        EventHeader { time_ns: self.time, kind: 0, flags, length: 0, tgid: PID, tid: Who::HANDLER }
    }

    fn event(&mut self, event: &Event<'_>) {
        self.engine.handle_event(event);
        while let Some(update) = self.engine.poll() {
            self.updates.push(update);
        }
    }

    fn socket(&mut self, inode: u64, origin: u8, state: u8) {
        let event = SocketEvent {
            header: self.header(flag::SEQUENCE),
            connection: inode,
            send_position: 1000,
            receive_position: 1000,
            local: address([10, 0, 0, 1]),
            remote: address([10, 0, 0, 7]),
            local_port: 40_000,
            remote_port: 8080,
            family: AF_INET,
            protocol: 6,
            fd: 5,
            state,
            origin,
            ..SocketEvent::new_zeroed()
        };
        self.event(&Event::Socket(event));
    }

    fn state(&mut self, old_state: u8, new_state: u8) {
        let event = TcpEvent {
            header: self.header(flag::SEQUENCE),
            connection: self.inode,
            send_position: self.positions[0],
            receive_position: self.positions[1],
            what: tcp::STATE,
            old_state,
            new_state,
            ..TcpEvent::new_zeroed()
        };
        self.event(&Event::Tcp(event));
    }

    fn data(&mut self, inode: u64, direction: u8, bytes: &[u8], at: [u64; 2]) {
        let event = DataEvent {
            header: self.header(flag::SEQUENCE | flag::LAST),
            connection: inode,
            position: at[usize::from(direction)],
            opposite_position: at[1 - usize::from(direction)],
            result: bytes.len() as i32,
            captured: bytes.len() as u32,
            fd: 5,
            direction,
            call: call::WRITE,
            ..DataEvent::new_zeroed()
        };
        self.event(&Event::Data(event, bytes));
    }

    fn moves(&mut self, direction: u8, bytes: &[u8]) -> &mut Self {
        self.data(self.inode, direction, bytes, self.positions);
        self.positions[usize::from(direction)] += bytes.len() as u64;
        self
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.moves(direction::SEND, bytes)
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) -> &mut Self {
        self.moves(direction::RECEIVE, bytes)
    }

    /// The peer closes.
    pub(super) fn peer_closes(&mut self) -> &mut Self {
        self.probe.state = tcp_state::CLOSE_WAIT;
        self.probe.receive_queue += 1;
        self.state(tcp_state::ESTABLISHED, tcp_state::CLOSE_WAIT);
        self
    }

    /// The target closes.
    pub(super) fn close(&mut self) -> &mut Self {
        self.state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1);
        self
    }

    /// Moves the following calls to this connection.
    pub(super) fn on(&mut self, inode: u64) -> &mut Self {
        self.inode = inode;
        self.positions = [1000 + super::GET.len() as u64, 1000];
        self
    }

    /// Opens a new connection in place of the old one.
    pub(super) fn reconnect(&mut self) -> &mut Self {
        self.inode += 1;
        self.positions = [1000; 2];
        let inode = self.inode;
        self.socket(inode, if self.role == Role::Client { origin::CONNECT } else { origin::ACCEPT }, 1);
        self
    }

    /// The target makes a call of its own.
    pub(super) fn call_out(&mut self, bytes: &[u8]) -> &mut Self {
        self.socket(OUTBOUND, origin::CONNECT, tcp_state::ESTABLISHED);
        self.data(OUTBOUND, direction::SEND, bytes, [1000; 2]);
        self
    }

    /// Starts `count` calls on a connection each.
    pub(super) fn many(&mut self, count: u64) -> &mut Self {
        for inode in 1000..1000 + count {
            self.socket(inode, origin::CONNECT, tcp_state::ESTABLISHED);
            self.data(inode, direction::SEND, super::GET, [1000; 2]);
        }
        self
    }

    /// Changes the kernel state from now on.
    pub(super) fn kernel(&mut self, change: impl FnOnce(&mut ProbeEvent)) -> &mut Self {
        change(&mut self.probe);
        self
    }

    /// The kernel reports its state now, as after a query about all connections.
    pub(super) fn says(&mut self) -> &mut Self {
        self.answer(self.inode);
        self
    }

    /// The kernel stops responding.
    pub(super) fn silent(&mut self) -> &mut Self {
        self.silent = true;
        self
    }

    /// Sets the state of a thread from now on; `share` is in percent of a processor.
    pub(super) fn thread(&mut self, tid: u32, state: u8, call: &str, on: u8, socket: u64, share: u64) -> &mut Self {
        let mut event = ThreadEvent {
            header: EventHeader { tid, ..self.header(0) },
            connection: socket,
            runs: 7,
            call: if call.is_empty() { -1 } else { 1 },
            state,
            waits_on: on,
            threads: 2,
            ..ThreadEvent::new_zeroed()
        };
        event.call_name[..call.len()].copy_from_slice(call.as_bytes());
        self.threads.push((event, share));
        self
    }

    /// A thread exits.
    pub(super) fn ends(&mut self, tid: u32) -> &mut Self {
        self.threads.retain(|(thread, _)| thread.header.tid != tid);
        self
    }

    /// Threads are no longer examined, as if the prober rested.
    pub(super) fn rests(&mut self) -> &mut Self {
        self.resting = true;
        self
    }

    /// The wait of the last thread has a timeout.
    pub(super) fn timed(&mut self) -> &mut Self {
        self.threads.last_mut().expect("one").0.timed = 1;
        self
    }

    /// The last thread waits for this child.
    pub(super) fn child(&mut self, pid: u32, name: &str) -> &mut Self {
        let (thread, _) = self.threads.last_mut().expect("one");
        thread.argument = pid.into();
        let mut child = ThreadEvent { argument: 0, ..*thread };
        (child.header.tgid, child.header.tid) = (pid, pid);
        child.name[..name.len()].copy_from_slice(name.as_bytes());
        self.threads.push((child, 0));
        self
    }

    /// A thread waits for a name server.
    pub(super) fn query(&mut self, server: &str) -> &mut Self {
        let server: SocketAddr = server.parse().expect("an address");
        let IpAddr::V4(ip) = server.ip() else { panic!("IPv4") };
        self.thread(Who::HANDLER, b'S', "recvfrom", waits_on::SOCKET, 900, 0);
        let (event, _) = self.threads.last_mut().expect("just now");
        (event.family, event.remote, event.remote_port) = (AF_INET, address(ip.octets()), server.port());
        self.look();
        self
    }

    /// Lets time pass; queries are answered.
    pub(super) fn pass(&mut self, milliseconds: u64) -> &mut Self {
        let end = self.time + milliseconds * MS;
        while self.time < end {
            self.time = (self.time + 50 * MS).min(end);
            let tick = TickEvent { header: self.header(0), ..TickEvent::new_zeroed() };
            self.event(&Event::Tick(tick));
            let mut threads = false;
            while let Some(control) = self.engine.poll_control() {
                match control {
                    Control::AskConnection { inode } => self.answer(inode),
                    Control::AskThreads { .. } => threads = true,
                    Control::Mute { .. } | Control::Skip { .. } => continue,
                }
                self.asked += 1;
            }
            if threads && !self.resting {
                self.look();
            }
        }
        self
    }

    fn answer(&mut self, inode: u64) {
        if !self.silent {
            let [sent, received] = if inode == self.inode { self.positions.map(|at| at - 1000) } else { [0; 2] };
            let probe = ProbeEvent {
                header: self.header(0),
                connection: inode,
                // Bytes that the calls moved, and those set explicitly.
                bytes_acked: (self.probe.bytes_acked + sent).saturating_sub(self.probe.send_queue.into()),
                bytes_received: self.probe.bytes_received + received + u64::from(self.probe.receive_queue),
                ..self.probe
            };
            self.event(&Event::Probe(probe));
        }
    }

    fn look(&mut self) {
        let own = |(thread, _): &(ThreadEvent, u64)| thread.header.tgid == PID;
        let (threads, last) =
            (self.threads.iter().filter(|thread| own(thread)).count(), self.threads.iter().rposition(own));
        for index in 0..self.threads.len() {
            let (mut event, share) = self.threads[index];
            event.header.time_ns = self.time;
            if own(&self.threads[index]) {
                event.threads = threads as u32;
            }
            if Some(index) == last {
                event.header.flags |= flag::LOOKED;
            }
            if share > 0 {
                (event.cpu_ns, event.runs) = (self.time * share / 100, self.time / MS);
            }
            self.event(&Event::Thread(event));
        }
    }

    fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.updates.iter().filter_map(|update| match update {
            Update::Incident(incident) => Some(&**incident),
            _ => None,
        })
    }

    /// All reports of hangs.
    pub(super) fn hangs(&self) -> Vec<(State, HangEvidence)> {
        let evidence = |incident: &Incident| match &incident.report.evidence {
            Evidence::Hang(evidence) => Some((incident.state, (**evidence).clone())),
            _ => None,
        };
        self.incidents().filter_map(evidence).collect()
    }

    /// All notes on connections.
    pub(super) fn notes(&self) -> Vec<&Note> {
        self.updates
            .iter()
            .filter_map(|update| match update {
                Update::Note(note) => Some(note),
                _ => None,
            })
            .collect()
    }

    /// Titles of all incidents.
    pub(super) fn titles(&self) -> Vec<String> {
        self.incidents().map(|incident| incident.report.evidence.title(Redactor::new(false))).collect()
    }

    /// Confidence level of the first incident.
    pub(super) fn level(&self) -> &'static str {
        self.incidents().next().expect("there is one").report.confidence.level()
    }

    /// Incidents of each ended exchange.
    pub(super) fn all_memberships(&self) -> Vec<Vec<u64>> {
        let of = |exchange: &Exchange| exchange.incidents.iter().map(|id| id.0).collect();
        self.updates
            .iter()
            .filter_map(|update| match update {
                Update::Exchange(exchange) => Some(of(exchange)),
                _ => None,
            })
            .collect()
    }

    /// Incidents of the last exchange.
    pub(super) fn memberships(&self) -> Vec<u64> {
        self.all_memberships().pop().expect("there is one")
    }
}

fn address(octets: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&octets);
    bytes
}
