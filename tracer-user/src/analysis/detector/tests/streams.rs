//! Exchanges on streams, several of which share a connection. The detectors are given observations directly, so that no
//! protocol with streams is needed.
//!
//! The language is that of [`Scenario`](crate::engine::tests::scenario), with two words that name an exchange:
//!
//! ```text
//! +0 t1 POST /a on=c1 stream=3 body=text
//! +20 t1 on=c1 stream=3 > 200
//! ```
//!
//! `on=NAME` is the connection, and `stream=N` the stream on it; the first line that names a connection opens it. A call
//! ends by a status, `reset` (the peer resets the stream) or `timeout` (the client does). `> 200 part` is an incomplete
//! answer. `in` calls are those that the process serves. Calls without `stream` are pipelined. Without a call, a line is
//! about the connection: `> lost` and `> closed` end it with all its exchanges, `unread=N` leaves bytes in its receive
//! queue.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

use zerocopy::FromZeros as _;

use crate::{
    analysis::detector::{
        Ask, DetectorOptions, Detectors, Incident, Kind, Live, MAX_CALLS, Observation, OpenConnection, State, Traffic,
        Turn,
    },
    event::{
        SocketInode, Timestamp,
        wire::{EventHeader, ProbeEvent, direction, peer_window, tcp_state},
    },
    fixture,
    model::{
        connection::{ConnectionId, ConnectionInfo, Ending, Endpoint, Protocol, Role},
        exchange::{
            Body, Exchange, ExchangeId, Fields, Misfit, OpenExchange, Outcome, ProcessRef, Quality, Request, Response,
            Scheme, Step, StreamId, Timing, Version,
        },
    },
};

const PID: u32 = 10;
const MS: u64 = 1_000_000;
/// Interval of ticks, as in a live trace.
const TICK: u64 = 50 * MS;

#[derive(Debug)]
struct Pending {
    exchange: Exchange,
    thread: u32,
}

impl Pending {
    fn view(&self) -> OpenExchange<'_> {
        let exchange = &self.exchange;
        OpenExchange {
            id: exchange.id,
            role: exchange.role,
            started: exchange.started,
            process: &exchange.process,
            thread: self.thread,
            connection: &exchange.connection,
            stream: exchange.stream,
            scheme: exchange.scheme,
            request: exchange.request.as_ref(),
            request_done: true,
            interim: &exchange.interim,
            response: exchange.response.as_ref(),
            response_done: false,
            messages: None,
            timing: &exchange.timing,
            quality: exchange.quality,
            late: false,
        }
    }
}

#[derive(Debug)]
struct Connection {
    info: Arc<ConnectionInfo>,
    process: ProcessRef,
    role: Role,
    traffic: [Traffic; 2],
    turn: Option<Turn>,
    pending: BTreeMap<ExchangeId, Pending>,
    carried: u64,
    unread: u32,
    ending: Option<Ending>,
}

impl Connection {
    fn view(&self) -> OpenConnection<'_> {
        OpenConnection {
            info: &self.info,
            process: &self.process,
            connect_start: None,
            connected: true,
            sent: self.traffic[usize::from(direction::SEND)],
            received: self.traffic[usize::from(direction::RECEIVE)],
            peer_closed: false,
            under_way: [0; 2],
            unseen: [0; 2],
            role: Some(self.role),
            turn: self.turn,
            found: false,
            ending: self.ending,
            over: None,
            failed: false,
            carried: self.carried,
            open: self.pending.len() as u32,
            open_since: self.pending.values().map(|pending| pending.exchange.started).min(),
            kernel: None,
        }
    }

    fn moves(&mut self, direction: u8, bytes: u64, time: Timestamp, tid: u32) {
        let traffic = &mut self.traffic[usize::from(direction)];
        traffic.bytes += bytes;
        traffic.last = Some(time);
        match &mut self.turn {
            Some(turn) if turn.direction == direction => turn.tid = tid,
            turn => {
                let number = turn.map_or(0, |turn| turn.number) + 1;
                *turn = Some(Turn { direction, since: time, tid, number });
            }
        }
    }
}

/// All connections, by inode.
#[derive(Debug, Default)]
struct Connections {
    all: BTreeMap<u64, Connection>,
    /// Connections to look at: at once, or at a time.
    queue: RefCell<BTreeMap<u64, Option<Timestamp>>>,
    visits: Cell<u64>,
}

impl Connections {
    fn touch(&self, inode: u64) {
        let mut queue = self.queue.borrow_mut();
        // Bytes alone do not bring forward a look that has a time.
        if !matches!(queue.get(&inode), Some(Some(_))) {
            queue.insert(inode, None);
        }
    }
}

impl Live for Connections {
    fn exchanges(&self, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        self.all.values().flat_map(|connection| connection.pending.values()).for_each(|pending| visit(&pending.view()));
    }

    fn connections(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        self.all.values().for_each(|connection| visit(&connection.view()));
    }

    fn closed(&self, _visit: &mut dyn FnMut(&OpenConnection<'_>)) {}

    fn size(&self) -> usize {
        self.all.len()
    }

    fn events(&self) -> u64 {
        0
    }

    fn connection(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        self.all.get(&inode).into_iter().for_each(|connection| visit(&connection.view()));
    }

    fn calls(&self, inode: u64, visit: &mut dyn FnMut(&OpenConnection<'_>, Option<&OpenExchange<'_>>)) {
        let Some(connection) = self.all.get(&inode) else { return };
        if connection.pending.is_empty() {
            return visit(&connection.view(), None);
        }
        let mut is_pipelined = false;
        let first =
            |pending: &&Pending| pending.exchange.stream.is_some() || !std::mem::replace(&mut is_pipelined, true);
        for pending in connection.pending.values().filter(first).take(MAX_CALLS) {
            self.visits.set(self.visits.get() + 1);
            visit(&connection.view(), Some(&pending.view()));
        }
    }

    fn take_queued(&self, now: Timestamp, take: &mut dyn FnMut(u64)) {
        self.queue.borrow_mut().retain(|inode, at| {
            let due = at.is_none_or(|at| at <= now);
            if due {
                take(*inode);
            }
            !due
        });
    }

    fn look_again(&self, inode: u64, at: Timestamp) {
        self.queue.borrow_mut().insert(inode, Some(at));
    }

    fn found(&self, _visit: &mut dyn FnMut(&OpenConnection<'_>)) {}
}

/// A process whose connections carry several calls each.
pub(crate) struct Streams {
    detectors: Detectors,
    connections: Connections,
    inodes: BTreeMap<String, u64>,
    last_inode: u64,
    time: u64,
    ticked: u64,
    last_exchange: u64,
    incidents: Vec<Incident>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            detectors: Detectors::new(&DetectorOptions::default()),
            connections: Connections::default(),
            inodes: BTreeMap::new(),
            last_inode: 100,
            time: 1_000 * MS,
            ticked: 1_000 * MS,
            last_exchange: 0,
            incidents: Vec::new(),
        }
    }

    /// Plays lines, and returns the incidents of one kind: each state that was reported.
    pub(crate) fn found(kind: Kind, text: &str) -> Vec<Incident> {
        let mut streams = Self::new();
        streams.play(text);
        streams.incidents.into_iter().filter(|incident| incident.kind() == kind).collect()
    }

    /// Open connections and calls.
    pub(crate) fn live(&self) -> &dyn Live {
        &self.connections
    }

    /// Number of calls that looks have visited.
    pub(crate) fn visits(&self) -> u64 {
        self.connections.visits.get()
    }

    pub(crate) fn play(&mut self, text: &str) -> &mut Self {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (times, line) = match line.strip_prefix('*').and_then(|line| line.split_once(' ')) {
                Some((times, line)) => (times.parse().expect("a number of times"), line),
                None => (1, line),
            };
            for _ in 0..times {
                if !line.is_empty() {
                    self.line(line);
                }
            }
        }
        self
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace().peekable();
        let gap = words.next().and_then(|word| word.strip_prefix('+')?.parse::<f64>().ok());
        self.wait((gap.unwrap_or_else(|| panic!("+TIME is missing: {line}")) * MS as f64) as u64);
        let Some(who) = words.next() else { return };
        let tid: u32 = who.strip_prefix('t').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("tN: {line}"));
        let role = if words.next_if_eq(&"in").is_some() { Role::Server } else { Role::Client };
        let words: Vec<&str> = words.collect();
        let split = words.iter().position(|word| *word == ">").unwrap_or(words.len());
        let (asks, answers) = (&words[..split], words.get(split + 1..).unwrap_or_default());
        let name = option(asks, "on").unwrap_or_else(|| panic!("on=NAME: {line}"));
        let inode = match self.inodes.get(name) {
            Some(inode) => *inode,
            None => self.open(name, role, tid, option(asks, "port").unwrap_or("8080")),
        };
        if let Some(unread) = option(asks, "unread") {
            self.connections.all.get_mut(&inode).expect("it is open").unread = unread.parse().expect("bytes");
        }
        let stream = option(asks, "stream").map(|number| StreamId(number.parse().expect("a number")));
        if asks.first().is_some_and(|word| !word.contains('=')) {
            self.ask(inode, stream, tid, asks);
            let takes = option(answers, "took").map_or(2.0, |ms| ms.parse::<f64>().expect("ms"));
            if !answers.is_empty() {
                self.wait((takes * MS as f64) as u64);
            }
        }
        match (answers, stream) {
            ([], _) => {}
            (["lost" | "closed"], None) => self.end(name, inode, answers[0]),
            _ => self.answer(inode, stream, tid, answers),
        }
    }

    fn wait(&mut self, nanoseconds: u64) {
        let until = self.time + nanoseconds;
        while self.ticked + TICK <= until {
            self.ticked += TICK;
            self.time = self.time.max(self.ticked);
            self.detectors.observe(&Observation::Tick(&self.connections), Timestamp(self.time));
            for ask in self.detectors.take_asks() {
                if let Ask::Connection(inode) = ask {
                    self.probe(inode.0);
                }
            }
            self.fetch();
        }
        self.time = until;
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.time)
    }

    fn fetch(&mut self) {
        self.incidents.extend(std::iter::from_fn(|| self.detectors.poll()));
    }

    fn observe(&mut self, inode: u64, observation: impl for<'a> FnOnce(&'a OpenConnection<'a>) -> Observation<'a>) {
        let connection = self.connections.all.get(&inode).expect("it is known");
        self.detectors.observe(&observation(&connection.view()), Timestamp(self.time));
        self.fetch();
    }

    fn open(&mut self, name: &str, role: Role, tid: u32, port: &str) -> u64 {
        self.last_inode += 1;
        let inode = self.last_inode;
        let end = |port: u16| {
            let end = Endpoint::Inet(([127, 0, 0, 1], port).into());
            (end.to_string().into_boxed_str(), end)
        };
        let (own, other) = (end(inode as u16), end(port.parse().expect("a port")));
        let (local, remote) = if role == Role::Client { (own, other) } else { (other, own) };
        let info = Arc::new(ConnectionInfo {
            local: local.1,
            local_text: local.0,
            remote: remote.1,
            remote_text: remote.0,
            // No protocol with streams is decoded yet.
            protocol: Protocol::Http1,
            opened: Some(self.now()),
            ..ConnectionInfo::new(ConnectionId(inode - 100), SocketInode(inode))
        });
        let process = ProcessRef { pid: PID, tid, name: "x".into() };
        let connection = Connection {
            info,
            process,
            role,
            traffic: [Traffic::default(); 2],
            turn: None,
            pending: BTreeMap::new(),
            carried: 0,
            unread: 0,
            ending: None,
        };
        self.connections.all.insert(inode, connection);
        self.inodes.insert(name.to_owned(), inode);
        if role == Role::Client {
            self.observe(inode, |connection| Observation::Connecting(connection));
            self.observe(inode, |connection| Observation::Connected(connection));
        } else {
            self.observe(inode, |connection| Observation::Accepted(connection));
        }
        inode
    }

    fn ask(&mut self, inode: u64, stream: Option<StreamId>, tid: u32, words: &[&str]) {
        let [method, path, ..] = words[..] else { panic!("METHOD PATH: {words:?}") };
        let now = self.now();
        let captured = option(words, "body").unwrap_or_default().as_bytes().to_vec();
        let mut headers = Fields::default();
        for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
            if name.starts_with(char::is_uppercase) {
                headers.push(name.as_bytes(), value.as_bytes());
            }
        }
        let request = Request {
            authority: Some("up".into()),
            body: Body { bytes: captured.len() as u64, captured, missing: 0 },
            ..Request::new(method.into(), path.into(), Version::Http11, headers)
        };
        self.last_exchange += 1;
        let connection = self.connections.all.get_mut(&inode).expect("it is open");
        let exchange = Exchange {
            id: ExchangeId(self.last_exchange),
            role: connection.role,
            outcome: Outcome::InFlight,
            quality: Quality::Whole,
            started: now,
            process: ProcessRef { pid: PID, tid, name: "x".into() },
            connection: Arc::clone(&connection.info),
            stream,
            scheme: Scheme::Http,
            request: Some(request),
            interim: Vec::new(),
            response: None,
            messages: None,
            request_misfit: Misfit::default(),
            response_misfit: Misfit::default(),
            timing: Timing { request_start: Some(now), request_end: Some(now), ..Timing::default() },
            error: None,
            incidents: Vec::new(),
        };
        let direction = if connection.role == Role::Client { direction::SEND } else { direction::RECEIVE };
        connection.moves(direction, 100, now, tid);
        let id = exchange.id;
        connection.pending.insert(id, Pending { exchange, thread: tid });
        self.connections.touch(inode);
        for step in [Step::RequestHead, Step::RequestDone] {
            self.step(inode, id, step);
        }
    }

    fn step(&mut self, inode: u64, id: ExchangeId, step: Step) {
        let pending = &self.connections.all[&inode].pending[&id];
        if self.detectors.want(step, pending.exchange.role) {
            self.detectors.observe(&Observation::Exchange(step, &pending.view()), Timestamp(self.time));
        }
        self.fetch();
    }

    fn answer(&mut self, inode: u64, stream: Option<StreamId>, tid: u32, words: &[&str]) {
        let now = self.now();
        let connection = self.connections.all.get_mut(&inode).expect("it is open");
        let mut pending = connection.pending.values_mut();
        let pending = pending.find(|pending| pending.exchange.stream == stream).expect("its stream is open");
        pending.thread = tid;
        let id = pending.exchange.id;
        let outcome = match words[0] {
            "reset" => Outcome::Reset,
            "timeout" => Outcome::ClientTimeout,
            status => {
                let status = status.parse().expect("a status");
                let timing = &mut pending.exchange.timing;
                timing.response_start = timing.response_start.or(Some(now));
                timing.response_end = Some(now);
                let response = Response { status, ..fixture::exchange().response.expect("the fixture has one") };
                let is_new = pending.exchange.response.replace(response).is_none();
                let direction = if connection.role == Role::Client { direction::RECEIVE } else { direction::SEND };
                connection.moves(direction, 100, now, tid);
                if is_new {
                    self.step(inode, id, Step::ResponseHead);
                }
                Outcome::Complete
            }
        };
        self.connections.touch(inode);
        if words.get(1) != Some(&"part") {
            self.finish(inode, id, outcome);
        }
    }

    fn finish(&mut self, inode: u64, id: ExchangeId, outcome: Outcome) {
        let now = self.now();
        let connection = self.connections.all.get_mut(&inode).expect("it is open");
        let mut exchange = connection.pending.remove(&id).expect("it is pending").exchange;
        connection.carried += 1;
        exchange.outcome = outcome;
        exchange.timing.end = Some(now);
        self.detectors.observe(&Observation::Finished(&exchange), now);
        self.fetch();
    }

    fn end(&mut self, name: &str, inode: u64, how: &str) {
        let (outcome, ending) = match how {
            "lost" => (Outcome::Reset, Ending::Reset),
            _ => (Outcome::Closed, Ending::ByPeer),
        };
        let pending: Vec<ExchangeId> = self.connections.all[&inode].pending.keys().copied().collect();
        for id in pending {
            self.finish(inode, id, outcome);
        }
        self.connections.all.get_mut(&inode).expect("it is open").ending = Some(ending);
        self.observe(inode, |connection| Observation::Closed(connection));
        self.connections.all.remove(&inode);
        self.inodes.remove(name);
    }

    /// The kernel answers: all that was sent is acknowledged.
    fn probe(&mut self, inode: u64) {
        let Some(connection) = self.connections.all.get(&inode) else { return };
        let ago = |last: Option<Timestamp>| last.map_or(u32::MAX, |last| ((self.time - last.0) / MS) as u32);
        let [sent, received] = [direction::SEND, direction::RECEIVE].map(|way| connection.traffic[usize::from(way)]);
        let event = ProbeEvent {
            header: EventHeader { time_ns: self.time, kind: 0, flags: 0, length: 0, tgid: PID, tid: 0 },
            connection: inode,
            bytes_acked: sent.bytes,
            bytes_received: received.bytes + u64::from(connection.unread),
            receive_queue: connection.unread,
            last_sent_ms: ago(sent.last),
            last_received_ms: ago(received.last),
            state: tcp_state::ESTABLISHED,
            peer_window: peer_window::OPEN,
            ..ProbeEvent::new_zeroed()
        };
        self.detectors.observe(&Observation::Probe(&event, &connection.view()), self.now());
    }
}

/// The value of `NAME=VALUE`.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The states that were reported of the incidents of one kind, without repetitions.
pub(crate) fn states(kind: Kind, text: &str) -> Vec<State> {
    let mut states: Vec<State> = Streams::found(kind, text).into_iter().map(|incident| incident.state).collect();
    states.dedup();
    states
}
