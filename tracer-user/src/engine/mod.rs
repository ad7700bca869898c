//! The engine: takes events, gives updates. No clock, no I/O, no threads.

mod due;
mod link;
mod live;
mod not_seen;
mod name;
mod opening;
mod preamble;
mod process_table;
#[cfg(test)]
pub(crate) mod tests;
mod unseen;
mod update;
mod waiting;

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use due::Due;
pub use link::Control;
use link::{Content, End, Link};
use live::Queue;
use name::{Name, Names};
pub use not_seen::Unseen;
use opening::{connect_failed, connect_returned, connected, connecting_found, errno, failed_call, new_link};
use process_table::ProcessTable;
use rustc_hash::FxHashMap;
pub use update::{Attached, EngineOptions, Loss, Note, NoteKind, Summary, Target, Update};
use waiting::Waiting;

use crate::{
    analysis::detector::{Ask, Detectors, Live, Observation, State},
    event::{Event, Timestamp, wire},
    model::{
        connection::{AF_UNIX, ConnectionId, ConnectionInfo, Endpoint, Role},
        exchange::{Exchange, OpenExchange, ProcessRef, Step},
    },
    protocol::http1::pairing::{Context, Ending, Listener},
    stream::{GapCause, Mark, Segment},
};

/// Connections that are remembered at once; beyond it those that were known first are given up.
pub const MAX_CONNECTIONS: usize = 100_000;
/// Processes that are said to be the targets.
const MAX_TARGETS: usize = 4_096;
/// Events after which it is seen to what ticks look after, where none come.
const TIDY_AFTER: u64 = 65_536;
/// Notes that wait for a tick, which says whether events were lost.
const MAX_UNSEEN: usize = 4_096;
/// How many are given up at a time: to find the oldest is to look at all, which not every new connection can cost.
const GIVEN_UP_AT_ONCE: usize = MAX_CONNECTIONS / 64;
/// How long a connection that is over is remembered, for events of it that come late.
const REMEMBER_NS: u64 = 1_000_000_000;
/// `IPPROTO_MPTCP`.
const PROTOCOL_MPTCP: u16 = 262;
/// How often loss is said while it goes on.
const SAY_LOSS_EVERY_NS: u64 = 1_000_000_000;

/// What every connection shares while an event is handled.
#[derive(Debug, Default)]
struct Environment {
    options: EngineOptions,
    processes: ProcessTable,
    last_exchange: u64,
    /// See [`Context::open_bytes`].
    open_bytes: usize,
    /// See [`Context::open_heads`].
    open_heads: usize,
    waiting: Waiting,
    told: Told,
    controls: VecDeque<Control>,
    /// Connections at whose end bytes were missing: unseen, unless the loss counters explain it.
    unseen: Vec<Note>,
}

impl Environment {
    fn with_context(
        &mut self,
        connection: &Arc<ConnectionInfo>,
        request_next: Option<u64>,
        response_next: Option<u64>,
        step: impl FnOnce(&mut Context<'_>),
    ) {
        let Self { options, processes, last_exchange, open_bytes, open_heads, told, .. } = self;
        step(&mut Context {
            last_exchange,
            undecided: false,
            body_limit: options.body_limit,
            open_bytes,
            open_heads,
            process_name: &|pid| processes.name(pid),
            connection,
            request_next,
            response_next,
            listener: told,
        });
    }

    fn note(&mut self, link: &Link, time: Timestamp, kind: NoteKind) {
        let (connection, process) = (Arc::clone(&link.info), link.process.clone());
        self.told.note(Note { time, connection, role: link.known_role(), process, kind });
    }
}

/// What was found out: where updates collect, past the detectors.
#[derive(Debug, Default)]
struct Told {
    /// Time of the latest event.
    now: Timestamp,
    detectors: Detectors,
    reported: u64,
    unseen: Unseen,
    updates: VecDeque<Update>,
    /// Empty between events.
    before: Vec<Update>,
}

impl Told {
    fn note(&mut self, note: Note) {
        self.unseen.see(&note);
        self.updates.push_back(Update::Note(note));
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        self.detectors.observe(observation, self.now);
        while let Some(incident) = self.detectors.poll() {
            self.updates.push_back(Update::Incident(Arc::new(incident)));
        }
    }
}

impl Listener for Told {
    fn wants(&self, step: Step, role: Role) -> bool {
        self.detectors.want(step, role)
    }

    fn step(&mut self, step: Step, exchange: &OpenExchange<'_>) {
        self.observe(&Observation::Exchange(step, exchange));
    }

    fn finished(&mut self, mut exchange: Arc<Exchange>) {
        self.reported += 1;
        // What was said at other occasions was of other exchanges.
        drop(self.detectors.take_memberships());
        self.detectors.observe(&Observation::Finished(&exchange), self.now);
        let memberships = self.detectors.take_memberships();
        if !memberships.is_empty()
            && let Some(exchange) = Arc::get_mut(&mut exchange)
        {
            exchange.incidents = memberships;
        }
        if self.detectors.is_silent() {
            self.updates.push_back(Update::Exchange(exchange));
            return;
        }
        // What it means is said before it is shown, so that what shows it can say so; what ended with it, after it.
        let mut ended = Vec::new();
        while let Some(incident) = self.detectors.poll() {
            let list = if incident.state == State::Closed { &mut ended } else { &mut self.before };
            list.push(Update::Incident(Arc::new(incident)));
        }
        self.updates.extend(self.before.drain(..));
        self.updates.push_back(Update::Exchange(exchange));
        self.updates.extend(ended);
    }
}

/// Turns events into updates.
#[derive(Debug, Default)]
pub struct Engine {
    environment: Environment,
    links: FxHashMap<u64, Box<Link>>,
    /// Connections that something must be done about when time passes.
    due: Due,
    /// Connections that detectors look at when time passes.
    queue: RefCell<Queue>,
    events: u64,
    targets: Vec<Target>,
    last_connection: u64,
    realtime_offset_ns: i64,
    attached: Option<Timestamp>,
    last: Timestamp,
    names: Names,
    loss: Loss,
    /// What was said of it last.
    said_loss: Loss,
    finished: bool,
}

impl Engine {
    /// A new engine.
    pub fn new(options: EngineOptions) -> Self {
        let told = Told { detectors: Detectors::new(&options.detectors), ..Told::default() };
        Self { environment: Environment { options, told, ..Environment::default() }, ..Self::default() }
    }

    /// The next update, if any.
    pub fn poll(&mut self) -> Option<Update> {
        self.environment.told.updates.pop_front()
    }

    /// The next wish to the probes, if any. A feeder that replays has none to fulfil.
    pub fn poll_control(&mut self) -> Option<Control> {
        self.environment.controls.pop_front()
    }

    /// Nanoseconds to add to a [`Timestamp`] to get Unix time.
    pub fn realtime_offset_ns(&self) -> i64 {
        self.realtime_offset_ns
    }

    /// What is open now, for outputs that show it.
    pub fn live(&self) -> impl Live + '_ {
        self.links()
    }

    fn links(&self) -> live::Links<'_> {
        live::Links { all: &self.links, queue: &self.queue, events: self.events }
    }

    /// Connections that were looked at because time passed, until now: what ticks cost.
    pub fn visits(&self) -> u64 {
        self.due.visits + self.queue.borrow().visits()
    }

    /// Whether the trace is over: nothing is open any more, and all updates are there.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Time of the latest event.
    pub fn now(&self) -> Timestamp {
        self.last
    }

    /// Connections that are remembered now.
    pub fn connections(&self) -> usize {
        self.links.len()
    }

    /// Takes one event. Time enters only here.
    pub fn handle_event(&mut self, event: &Event<'_>) {
        if self.finished {
            return;
        }
        self.last = self.last.max(event.time());
        self.environment.told.now = self.last;
        self.events += 1;
        if self.events.is_multiple_of(TIDY_AFTER) {
            self.tidy();
        }
        match event {
            Event::Data(event, payload) => self.data(event, payload),
            Event::Socket(event) => self.socket(event),
            Event::Tcp(event) => self.tcp(event),
            Event::Descriptor(event) => self.descriptor(event),
            Event::Process(event) => self.process(event),
            Event::Attached(event) => {
                let time = Timestamp(event.header.time_ns);
                self.realtime_offset_ns = event.realtime_offset_ns;
                self.attached = Some(time);
                let targets = self.targets.clone();
                self.environment.told.updates.push_back(Update::Attached(Attached { time, targets }));
            }
            Event::Tick(event) => self.tick(event),
            Event::Probe(event) => self.probe(event),
            Event::SocketName(event, path) => self.socket_name(event, path),
            Event::Thread(event) => self.thread(event),
            Event::Listener(event) => {
                let pid = event.header.tgid;
                let process = ProcessRef { pid, tid: pid, name: self.environment.processes.name(pid) };
                self.environment.told.observe(&Observation::Listener(event, &process));
            }
            Event::Detached(event) => {
                self.tick(event);
                self.finish();
            }
        }
    }

    /// Ends the session at the time of the last event, where no DETACHED event came (a truncated recording): open
    /// exchanges are reported, then the summary. Does nothing after a DETACHED event.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let time = self.last;
        let mut open: Vec<(ConnectionId, u64)> =
            self.links.iter().map(|(inode, link)| (link.info.id, *inode)).collect();
        open.sort_unstable();
        for (_, inode) in open {
            if let Some(link) = self.links.get_mut(&inode) {
                let ending = link.ending.map_or(Ending::Unfinished, |end| end.how);
                link.close(ending, time, &mut self.environment);
            }
        }
        self.links.clear();
        self.report_unseen();
        self.environment.told.observe(&Observation::End);
        self.environment.told.updates.push_back(Update::Summary(Summary {
            exchanges: self.environment.told.reported,
            incidents: self.environment.told.detectors.opened(),
            unseen: self.environment.told.unseen.clone(),
            duration_ns: self.attached.map_or(0, |attached| time.since(attached)),
            waits_given_up: self.environment.waiting.given_up(),
            processes_forgotten: self.environment.processes.forgotten(),
            loss: Loss { time, ..self.loss.clone() },
        }));
    }

    fn data(&mut self, event: &wire::DataEvent, payload: &[u8]) {
        let flags = event.header.flags;
        if flags & (wire::flag::PEEK | wire::flag::OUT_OF_BAND) != 0 && event.result > 0 {
            return;
        }
        let sequence = flags & wire::flag::SEQUENCE != 0;
        let Self { links, environment, due, queue, last_connection, .. } = self;
        let link = links.entry(event.connection).or_insert_with(|| {
            // Its announcement was lost.
            Box::new(new_link(last_connection, environment, event.connection, &event.header, Content::new(None, true)))
        });
        if link.over.is_some() {
            return;
        }
        queue.get_mut().touch(link, true);
        link.sequence = sequence;
        let holder = (event.header.tgid, event.fd);
        if link.holder != holder && event.fd >= 0 {
            link.holder = holder;
            environment.processes.open(holder.0, holder.1, event.connection);
        }
        let time = Timestamp(event.header.time_ns);
        if event.result > 0 {
            link.moved(event.direction, time, event.header.tid);
        }
        let (own, opposite) = if event.direction == wire::direction::SEND {
            (&link.send, &mut link.receive)
        } else {
            (&link.receive, &mut link.send)
        };
        let position = own.extend(event.position, sequence);
        let opposite_position = opposite.extend(event.opposite_position, sequence);
        opposite.start_at(event.opposite_position, sequence);
        match event.result {
            1.. => {
                let segment = Segment::of(event, payload, position, opposite_position);
                let skipped = own.next().map_or(0, |next| segment.mark.position.saturating_sub(next.max(position)));
                // The probes give the records of a call in order and give up on the rest after a lost one: bytes of
                // this call before this record were left out because nobody wanted them.
                let before = (skipped > 0 && own.next().is_some_and(|next| next >= position)).then(|| Segment {
                    mark: Mark { position: segment.mark.position - skipped, boundary: false, ..segment.mark },
                    payload: &[],
                    missing: skipped,
                    cause: GapCause::LengthOnly,
                });
                if let Some(before) = before {
                    link.with_stream(event.direction, environment, |stream, mut sink| stream.push(before, &mut sink));
                }
                link.with_stream(event.direction, environment, |stream, mut sink| stream.push(segment, &mut sink));
            }
            0 if event.direction == wire::direction::RECEIVE => link.end_of_stream(time, environment),
            0 => {}
            _ => failed_call(link, event, time, environment),
        }
        due.attend(link);
        if environment.waiting.settle(link) {
            self.bound_waiting(time);
        }
        self.bound_connections(time);
    }

    /// Where all connections together hold too much that waits, those give up that have waited longest.
    fn bound_waiting(&mut self, time: Timestamp) {
        while let Some(inode) = self.environment.waiting.victim() {
            if let Some(link) = self.links.get_mut(&inode) {
                link.give_up_waiting(time, &mut self.environment);
                self.due.attend(link);
            }
        }
    }

    fn socket(&mut self, event: &wire::SocketEvent) {
        use wire::origin;
        let sequence = event.header.flags & wire::flag::SEQUENCE != 0;
        let time = Timestamp(event.header.time_ns);
        let begins = match event.origin {
            origin::ACCEPT | origin::PAIR => true,
            // A connect that failed at once, or is being tried again, begins anew as well.
            origin::CONNECT => {
                !self.links.get(&event.connection).is_some_and(|link| link.over.is_none() && !link.failed)
            }
            _ => false,
        };
        let role = match event.origin {
            origin::CONNECT => Some(Role::Client),
            origin::ACCEPT => Some(Role::Server),
            origin::FOUND if event.header.flags & wire::flag::LISTENING_PORT != 0 => Some(Role::Server),
            origin::FOUND if event.local_port != 0 => Some(Role::Client),
            _ => None,
        };
        let Self { links, environment, queue, last_connection, names, .. } = self;
        if begins && let Some(mut old) = links.remove(&event.connection) {
            old.close(Ending::ByTarget, time, environment);
        }
        let joined = !begins;
        let mut overtaken = None;
        let link = links.entry(event.connection).or_insert_with(|| {
            let content = Content::new(role, joined);
            Box::new(new_link(last_connection, environment, event.connection, &event.header, content))
        });
        if event.origin != origin::FOUND {
            link.sequence = sequence;
        }
        queue.get_mut().touch(link, false);
        let local = Endpoint::from_wire(event.family, event.local, event.local_port);
        let remote = Endpoint::from_wire(event.family, event.remote, event.remote_port);
        let opened = link.info.opened.or(begins.then_some(time));
        let better = |new: Endpoint, old: &Endpoint| match (&new, old) {
            (Endpoint::Unknown, _) | (Endpoint::Unix(_), Endpoint::Unix(_)) => old.clone(),
            (Endpoint::Inet(new), Endpoint::Inet(_)) if new.port() == 0 => old.clone(),
            _ => new,
        };
        let (local, remote) = (better(local, &link.info.local), better(remote, &link.info.remote));
        if local != link.info.local || remote != link.info.remote || opened != link.info.opened {
            link.info = Arc::new(ConnectionInfo {
                local_text: local.to_string().into(),
                remote_text: remote.to_string().into(),
                local,
                remote,
                opened,
                ..(*link.info).clone()
            });
        }
        if let (Some(role), Content::Undecided(..)) = (role, &link.content) {
            link.set_content(Content::new(Some(role), true), environment);
        }
        link.role = link.role.or(role);
        if event.family == AF_UNIX
            && let Some(name) = names.take(event.connection)
        {
            link.set_name(name);
        }
        link.counted |= event.protocol == PROTOCOL_MPTCP;
        if event.state != 0 {
            // A reset that arrives during `accept` takes the port from the socket before it stores the state
            // (`tcp_set_state` in net/ipv4/tcp.c), and may say so before the connection is known.
            let closing = event.origin == origin::ACCEPT && event.remote_port != 0 && event.local_port == 0;
            link.state = if closing { wire::tcp_state::CLOSE } else { event.state };
            link.peer_closed |= event.state == wire::tcp_state::CLOSE_WAIT;
        }
        let found = joined && link.info.opened.is_none() && event.origin == origin::FOUND;
        if found && !std::mem::replace(&mut link.found, true) {
            queue.get_mut().find(event.connection);
        }
        if event.fd >= 0 && event.header.tgid != 0 {
            link.holder = (event.header.tgid, event.fd);
            let old = environment.processes.open(event.header.tgid, event.fd, event.connection);
            // FOUND and SEEN observe a descriptor; with every other origin, a call has just returned it.
            overtaken = old.filter(|_| event.origin != origin::FOUND && event.origin != origin::SEEN);
        }
        match event.origin {
            origin::ACCEPT | origin::PAIR => {
                link.connected = true;
                link.send.start_at(event.send_position, sequence);
                link.receive.start_at(event.receive_position, sequence);
                if event.origin == origin::ACCEPT {
                    link.observe(environment, |connection| Observation::Accepted(connection));
                }
            }
            origin::CONNECT => connect_returned(link, event, time, environment),
            origin::FOUND if event.state == wire::tcp_state::SYN_SENT => connecting_found(link, time, environment),
            // The probes had forgotten it, and with it their count.
            origin::SEEN if !sequence && link.send.next().or(link.receive.next()).is_some() => {
                link.send.restart();
                link.receive.restart();
            }
            _ => {}
        }
        environment.waiting.settle(link);
        self.due.attend(link);
        if let Some(inode) = overtaken {
            self.let_go(inode, time);
        }
        self.bound_connections(time);
    }

    fn tcp(&mut self, event: &wire::TcpEvent) {
        use wire::{tcp, tcp_state};
        let time = Timestamp(event.header.time_ns);
        let counted = event.header.flags & wire::flag::COUNTED != 0;
        let Self { links, environment, due, queue, last_connection, .. } = self;
        if event.what == tcp::STATE && event.new_state == tcp_state::SYN_SENT {
            if let Some(old) = links.get_mut(&event.connection)
                && (old.over.is_some() || old.failed || old.connected || old.send.next().is_some())
            {
                // The same socket may be connected again, after a `connect` to no address (AF_UNSPEC).
                let ending = old.ending.map_or(Ending::ByTarget, |end| end.how);
                old.close(ending, time, environment);
                links.remove(&event.connection);
            }
            let link = links.entry(event.connection).or_insert_with(|| {
                let content = Content::new(Some(Role::Client), false);
                Box::new(new_link(last_connection, environment, event.connection, &event.header, content))
            });
            queue.get_mut().touch(link, false);
            link.counted |= counted;
            link.sequence = !link.counted;
            link.state = event.new_state;
            link.connect_start.get_or_insert(time);
            if link.info.opened.is_none() {
                link.info = Arc::new(ConnectionInfo { opened: Some(time), ..(*link.info).clone() });
            }
            return;
        }
        let Some(link) = links.get_mut(&event.connection).filter(|link| link.over.is_none()) else { return };
        queue.get_mut().touch(link, false);
        link.counted |= counted;
        if link.counted && !counted {
            // Of a subflow, which is not the connection.
            return;
        }
        link.sequence = !counted;
        if event.what == tcp::STATE {
            link.state = event.new_state;
        }
        let positions = (event.header.flags & wire::flag::SEQUENCE != 0)
            .then(|| (link.send.extend(event.send_position, true), link.receive.extend(event.receive_position, true)));
        match event.what {
            tcp::RESET_RECEIVED => link.reset = true,
            tcp::STATE => match (event.old_state, event.new_state) {
                (tcp_state::SYN_SENT, tcp_state::ESTABLISHED) => {
                    link.send.start_at(event.send_position, !counted);
                    link.receive.start_at(event.receive_position, !counted);
                    connected(link, time, environment);
                }
                (tcp_state::SYN_SENT, tcp_state::CLOSE) => {
                    let error = (event.error != 0).then_some(event.error);
                    if link.info.remote == Endpoint::Unknown {
                        link.connect_error = Some((error, time));
                    } else {
                        connect_failed(link, error, time, environment);
                    }
                }
                (_, tcp_state::CLOSE_WAIT) => link.peer_closes(environment),
                (_, tcp_state::FIN_WAIT1 | tcp_state::LAST_ACK) => {
                    let how = if link.peer_closed { Ending::ByPeer } else { Ending::ByTarget };
                    link.ending = Some(End { since: time, how, positions });
                }
                (_, tcp_state::CLOSE) => {
                    let reset = link.reset || event.error == errno::ECONNRESET || event.error == errno::EPIPE;
                    let how = match link.ending {
                        _ if reset => Ending::Reset,
                        Some(end) => end.how,
                        None if event.error != 0 => Ending::ByPeer,
                        None if link.resets(event.old_state) => Ending::ResetByTarget,
                        None if link.peer_closed => Ending::ByPeer,
                        None => Ending::ByTarget,
                    };
                    if event.error != 0 {
                        link.error.get_or_insert(event.error);
                    }
                    link.ending = Some(End { since: time, how, positions });
                }
                _ => {}
            },
            _ => {}
        }
        due.attend(link);
    }

    fn descriptor(&mut self, event: &wire::DescriptorEvent) {
        use wire::descriptor;
        let time = Timestamp(event.header.time_ns);
        let pid = event.header.tgid;
        match event.action {
            descriptor::CLOSE => {
                if let Some(inode) = self.environment.processes.close(pid, event.fd, event.connection) {
                    self.let_go(inode, time);
                }
            }
            descriptor::DUPLICATE => {
                let old = self.environment.processes.close(pid, event.new_fd, event.connection);
                if event.connection != 0 && self.links.contains_key(&event.connection) {
                    self.environment.processes.open(pid, event.new_fd, event.connection);
                }
                if let Some(inode) = old {
                    self.let_go(inode, time);
                }
            }
            descriptor::SHUTDOWN_WRITE => {
                // A half-close: the FIN that was seen does not end the connection.
                if let Some(link) = self.links.get_mut(&event.connection)
                    && link.state != wire::tcp_state::CLOSE
                    && link.ending.is_some_and(|end| end.how == Ending::ByTarget)
                {
                    link.ending = None;
                }
            }
            _ => {}
        }
    }

    /// A descriptor that named the connection is gone.
    fn let_go(&mut self, inode: u64, time: Timestamp) {
        let Self { links, environment, .. } = self;
        let Some(link) = links.get_mut(&inode).filter(|link| link.over.is_none()) else { return };
        link.holder = (0, -1);
        let how = if link.peer_closed { Ending::ByPeer } else { Ending::ByTarget };
        let (since, ending) = match link.ending {
            // The kernel has already said that it ends.
            Some(end) => (end.since, end.how),
            // Others than TCP end with the last descriptor that is known.
            None if environment.processes.holds(inode) => return,
            None if !link.sequence => (time, how),
            None => {
                // TCP says so itself when the last descriptor goes, unless it has sent its FIN before that (a half-close), or
                // was reset before it was known.
                if link.says_no_more() {
                    link.ending = Some(End { since: time, how, positions: None });
                    self.attend(inode);
                }
                return;
            }
        };
        link.close(ending, since, environment);
        self.attend(inode);
    }

    /// The kernel has no such connection any more, and its end was not seen: an event of it was lost, or came before the
    /// connection was known.
    fn gone(&mut self, event: &wire::ProbeEvent) {
        let time = Timestamp(event.header.time_ns);
        let Self { links, environment, .. } = self;
        let Some(link) = links.get_mut(&event.connection).filter(|link| link.over.is_none()) else { return };
        // What moves is there, whatever was said a moment ago.
        if link.last_moved.iter().flatten().any(|moved| *moved >= time) {
            return;
        }
        let how = match link.ending {
            Some(end) => end.how,
            None if link.reset => Ending::Reset,
            None if link.peer_closed => Ending::ByPeer,
            None => Ending::ByTarget,
        };
        link.close(how, time, environment);
        self.attend(event.connection);
    }

    fn attend(&mut self, inode: u64) {
        if let Some(link) = self.links.get_mut(&inode) {
            self.due.attend(link);
        }
    }

    fn process(&mut self, event: &wire::ProcessEvent) {
        use wire::process;
        let pid = event.header.tgid;
        match event.action {
            process::FORK => {
                let child = event.other_tgid;
                self.environment.processes.fork(pid, child);
                self.environment.told.observe(&Observation::ProcessForked { parent: pid, child });
            }
            process::EXEC | process::FOUND => {
                self.environment.processes.set_name(pid, &event.name);
                if event.header.flags & wire::flag::NAMED_TARGET != 0 {
                    let name = self.environment.processes.name(pid);
                    if self.targets.len() < MAX_TARGETS {
                        self.environment.processes.spare(pid);
                        self.targets.push(Target { pid, name });
                    }
                }
            }
            process::EXIT => {
                for inode in self.environment.processes.exit(pid) {
                    self.let_go(inode, Timestamp(event.header.time_ns));
                }
                self.environment.told.observe(&Observation::ProcessEnded(pid));
            }
            _ => {}
        }
    }

    fn tick(&mut self, event: &wire::TickEvent) {
        let now = Timestamp(event.header.time_ns);
        let at_least = event.header.flags & wire::flag::OUTDATED != 0;
        self.loss = Loss { time: now, events: event.lost_events, bytes: event.lost_bytes, at_least };
        for (number, inode) in self.due.take(now, &mut self.links) {
            let Some(link) = self.links.get_mut(&inode) else { continue };
            if let Some((error, time)) = link.connect_error.take() {
                connect_failed(link, error, time, &mut self.environment);
            }
            opening::say_connected(link, &mut self.environment);
            link.handle_timeout(now, &mut self.environment);
            if link.over.is_some_and(|over| now.since(over) >= REMEMBER_NS) {
                self.links.remove(&inode);
                continue;
            }
            self.environment.waiting.settle(link);
            self.due.attend_again(link, number, now);
        }
        self.queue.get_mut().tidy(&self.links);
        self.report_unseen();
        self.environment.told.observe(&Observation::Tick(&live::Links {
            all: &self.links,
            queue: &self.queue,
            events: self.events,
        }));
        for ask in self.environment.told.detectors.take_asks() {
            self.environment.controls.push_back(match ask {
                Ask::Connection(inode) => Control::AskConnection { inode: inode.0 },
                Ask::Threads { pid, tid } => Control::AskThreads { pid, tid },
            });
        }
        let counts = |loss: &Loss| (loss.events, loss.at_least);
        if counts(&self.loss) != counts(&self.said_loss) && now.since(self.said_loss.time) >= SAY_LOSS_EVERY_NS {
            self.said_loss = self.loss.clone();
            self.environment.told.updates.push_back(Update::Loss(self.loss.clone()));
        }
    }

    /// Says which connections moved bytes that no event accounts for, unless events are known to be lost.
    fn report_unseen(&mut self) {
        let explained = self.loss.is_possible();
        for note in std::mem::take(&mut self.environment.unseen) {
            if !explained {
                self.environment.told.note(note);
            }
        }
    }

    fn socket_name(&mut self, event: &wire::SocketNameEvent, path: &[u8]) {
        let Some(name) = Name::of(event, path) else { return };
        match self.links.get_mut(&event.connection).filter(|link| link.over.is_none()) {
            Some(link) => link.set_name(name),
            None => self.names.keep(event.connection, name),
        }
    }

    /// Forgets what was meant for connections that are gone. A recording may have no ticks.
    fn tidy(&mut self) {
        self.queue.get_mut().tidy(&self.links);
        self.due.tidy(&self.links);
        if self.environment.unseen.len() > MAX_UNSEEN {
            self.report_unseen();
        }
    }

    fn bound_connections(&mut self, time: Timestamp) {
        if self.links.len() <= MAX_CONNECTIONS {
            return;
        }
        let mut known: Vec<(ConnectionId, u64)> =
            self.links.iter().map(|(inode, link)| (link.info.id, *inode)).collect();
        let (oldest, ..) = known.select_nth_unstable(GIVEN_UP_AT_ONCE);
        oldest.sort_unstable();
        for (_, inode) in oldest {
            if let Some(mut link) = self.links.remove(inode) {
                link.close(Ending::Unfinished, time, &mut self.environment);
            }
        }
    }
}
