//! A connection while it lives: its two streams, what they carry, and how it ends.
//!
//! ```text
//!  connect -> (SYN_SENT) -> up -> FIN or RST seen, or closed by the target -> ending -> over
//!                |                                                            |
//!                +-> failed                              a moment for events that come late
//! ```

use std::{cell::Cell, collections::VecDeque, sync::Arc};

use super::{Environment, Note, NoteKind, due::Appointment, live::Queued, preamble::Beginning};
use crate::{
    analysis::detector::{KernelView, Observation, OpenConnection, Traffic, Turn},
    event::{
        Timestamp,
        wire::{ProbeEvent, direction, tcp_state},
    },
    model::{
        connection::{ConnectionInfo, Protocol, Role},
        exchange::ProcessRef,
    },
    protocol::{
        detect::{self, Verdict},
        http1::pairing::{Ending, Http1, Signal},
    },
    stream::{GapCause, MAX_WAITING_BYTES, MAX_WAITING_SEGMENTS, Mark, Piece, REORDER_WAIT_NS, Stream},
};

/// Calls in each direction without a message of HTTP, on a connection joined late, after which it is said not to be
/// HTTP.
const UNPROVEN_CALLS: u32 = 8;
/// Content left at which telling the probes to leave it out is worth a system call.
const SKIP_FROM: u64 = 256 * 1024;
/// How far ahead the probes are told to skip at once: well below half the range of a sequence number.
const SKIP_AT_ONCE: u64 = 1 << 30;

/// What a connection carries.
#[derive(Debug)]
pub(super) enum Content {
    /// The role is not known: both are tried, and the first that finds a head is right.
    Undecided(Box<Http1>, Box<Http1>),
    Http1(Box<Http1>),
    /// Not HTTP/1, or no longer.
    Opaque,
}

impl Content {
    pub(super) fn new(role: Option<Role>, joined: bool) -> Self {
        match role {
            Some(role) => Self::Http1(Box::new(Http1::new(role, joined))),
            None => Self::Undecided(Box::new(Http1::new(Role::Client, true)), Box::new(Http1::new(Role::Server, true))),
        }
    }
}

#[derive(Debug)]
enum StalledPiece {
    Bytes(Vec<u8>, Mark),
    Gap(u64, GapCause, Mark),
}

/// A request for the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nothing on this connection is worth copying any more.
    Mute {
        /// The connection.
        inode: u64,
    },
    /// Nothing before `until` in this direction is worth copying.
    Skip {
        /// The connection.
        inode: u64,
        /// `direction::SEND` or `RECEIVE`.
        direction: u8,
        /// Position, as events have it (32 bits where they are sequence numbers).
        until: u64,
    },
    /// What does the kernel say of this connection now? The answer is a PROBE event.
    AskConnection {
        /// The connection.
        inode: u64,
    },
    /// What do the threads of this process do? The answers are THREAD events.
    AskThreads {
        /// The process.
        pid: u32,
        /// A thread that matters most; 0 for none.
        tid: u32,
    },
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) process: ProcessRef,
    /// Positions are sequence numbers.
    pub(super) sequence: bool,
    /// An MPTCP connection, or another whose bytes the probes count although it has addresses and states.
    pub(super) counted: bool,
    /// TCP state, as far as it was told; 0 where it was not.
    pub(super) state: u8,
    pub(super) send: Stream,
    pub(super) receive: Stream,
    pub(super) content: Content,
    /// Whether its first bytes may still be something else than content.
    pub(super) beginning: Beginning,
    /// Last process and descriptor that used it: spares a table look-up for each event.
    pub(super) holder: (u32, i32),
    pub(super) connect_start: Option<Timestamp>,
    pub(super) connected: bool,
    pub(super) failed: bool,
    /// The connect failed, but the call that says where to has not returned yet.
    pub(super) connect_error: Option<(Option<i32>, Timestamp)>,
    pub(super) reset: bool,
    pub(super) peer_closed: bool,
    pub(super) error: Option<i32>,
    /// How it seems to end.
    pub(super) ending: Option<End>,
    pub(super) over: Option<Timestamp>,
    /// When it is to be looked at.
    pub(super) appointment: Option<Appointment>,
    /// Whether those who look at calls that are silent will look at it.
    pub(super) queued: Cell<Queued>,
    /// What it is counted with among those that wait, and its number there.
    pub(super) held: usize,
    pub(super) holder_number: u64,
    pub(super) probe: Option<ProbeMemory>,
    /// What the kernel said last.
    pub(super) kernel: Option<KernelView>,
    /// Bytes sent and received that the kernel counted at the last answer and no call that returned accounts for.
    pub(super) under_way: [u64; 2],
    /// The same, where no call is under way: bytes that went past the traced calls.
    pub(super) unseen: [u64; 2],
    /// When a thread was last seen in a call that moves bytes on it, by direction.
    pub(super) in_call: [Option<Timestamp>; 2],
    /// Exchanges that are over, before the content that it carries now.
    carried: u64,
    /// When bytes last moved, by direction.
    pub(super) last_moved: [Option<Timestamp>; 2],
    /// That the target connects was told.
    pub(super) connecting_said: bool,
    /// The connection is up, but the call that says where to has not returned yet.
    pub(super) connected_unsaid: bool,
    /// Who moves bytes now.
    pub(super) turn: Option<Turn>,
    /// What the target is on it, where that is known apart from its bytes.
    pub(super) role: Option<Role>,
    /// It was there before it was seen.
    pub(super) found: bool,
    /// How it ended.
    pub(super) ended: Option<Ending>,
    stalled: VecDeque<StalledPiece>,
    stalled_bytes: usize,
    stalled_since: Option<Timestamp>,
    unproven: [u32; 2],
    skip_until: [u64; 2],
}

/// How a connection seems to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Since when.
    pub(super) since: Timestamp,
    pub(super) how: Ending,
    /// Where both directions then stood: sent, received.
    pub(super) positions: Option<(u64, u64)>,
}

/// What the last probe said, to compare the next one with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeMemory {
    /// Bytes moved by the kernel that were not seen as events when first asked: before tracing, or before us.
    pub(super) baseline: (i64, i64),
    /// The last difference, to be confirmed by the next probe.
    pub(super) difference: (i64, i64),
    /// Bytes already said to be unseen.
    pub(super) said: (i64, i64),
}

impl Link {
    pub(super) fn new(info: Arc<ConnectionInfo>, process: ProcessRef, content: Content) -> Self {
        Self {
            info,
            process,
            sequence: false,
            counted: false,
            state: 0,
            send: Stream::default(),
            receive: Stream::default(),
            content,
            beginning: Beginning::Ahead,
            holder: (0, -1),
            connect_start: None,
            connected: false,
            failed: false,
            connect_error: None,
            reset: false,
            peer_closed: false,
            error: None,
            ending: None,
            over: None,
            appointment: None,
            queued: Cell::new(Queued::No),
            held: 0,
            holder_number: 0,
            probe: None,
            kernel: None,
            under_way: [0; 2],
            unseen: [0; 2],
            in_call: [None; 2],
            carried: 0,
            last_moved: [None; 2],
            connecting_said: false,
            connected_unsaid: false,
            turn: None,
            role: None,
            found: false,
            ended: None,
            stalled: VecDeque::new(),
            stalled_bytes: 0,
            stalled_since: None,
            unproven: [0; 2],
            skip_until: [0; 2],
        }
    }

    /// The peer sends no more.
    pub(super) fn peer_closes(&mut self, environment: &mut Environment) {
        if !std::mem::replace(&mut self.peer_closed, true) && self.role == Some(Role::Server) {
            self.observe(environment, |connection| Observation::PeerClosed(connection));
        }
    }

    /// What detectors see of it.
    pub(super) fn view(&self) -> OpenConnection<'_> {
        let traffic = |stream: &Stream, direction: u8| Traffic {
            bytes: stream.accounted(),
            last: self.last_moved[usize::from(direction)],
        };
        let (carried, open, open_since) = match &self.content {
            Content::Http1(http) => (http.finished(), http.open() as u32, http.open_since()),
            _ => (0, 0, None),
        };
        OpenConnection {
            info: &self.info,
            process: &self.process,
            connect_start: self.connect_start,
            connected: self.connected,
            sent: traffic(&self.send, direction::SEND),
            received: traffic(&self.receive, direction::RECEIVE),
            peer_closed: self.peer_closed,
            under_way: self.under_way,
            unseen: self.unseen,
            role: self.known_role(),
            turn: self.turn,
            found: self.found,
            ending: self.ended,
            carried: self.carried + carried,
            open,
            open_since,
            kernel: self.kernel,
            over: self.over,
            failed: self.failed,
        }
    }

    /// What the target is on it, where that is known.
    pub(super) fn known_role(&self) -> Option<Role> {
        match &self.content {
            Content::Http1(http) => Some(http.role()),
            _ => self.role,
        }
    }

    /// Bytes moved.
    pub(super) fn moved(&mut self, direction: u8, time: Timestamp, tid: u32) {
        self.last_moved[usize::from(direction)] = Some(time);
        // The call has returned; what of it is still on its way is known with the next answer of the kernel.
        self.under_way[usize::from(direction)] = 0;
        match &mut self.turn {
            Some(turn) if turn.direction == direction => turn.tid = tid,
            turn => {
                let number = turn.map_or(0, |turn| turn.number).saturating_add(1);
                *turn = Some(Turn { direction, since: time, tid, number });
            }
        }
    }

    /// Shows it to the detectors.
    pub(super) fn observe(
        &self,
        environment: &mut Environment,
        observation: impl for<'a> FnOnce(&'a OpenConnection<'a>) -> Observation<'a>,
    ) {
        environment.told.observe(&observation(&self.view()));
    }

    /// Whether the target reset it, where it is closed in state `before` without an error, and without a FIN in either
    /// state in which one is due: `SO_LINGER` of 0, or bytes that the target has not read (`tcp_close` in the kernel's
    /// net/ipv4/tcp.c). A client that does so after the server's FIN has waited for nothing any more: the server ended
    /// it.
    pub(super) fn resets(&self, before: u8) -> bool {
        match before {
            tcp_state::ESTABLISHED => true,
            tcp_state::CLOSE_WAIT => self.known_role() == Some(Role::Server),
            _ => false,
        }
    }

    /// TCP has nothing to say of it any more: this side's FIN was sent, or the connection was over before it was known.
    pub(super) fn says_no_more(&self) -> bool {
        use tcp_state::{CLOSE, CLOSING, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT};
        matches!(self.state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK | TIME_WAIT | CLOSE)
    }

    /// Since when pieces wait for their request.
    pub(super) fn stalled_since(&self) -> Option<Timestamp> {
        self.stalled_since
    }

    /// Bytes of memory that what waits takes, about: for bytes that are missing, for the request, for a decision.
    pub(super) fn holds(&self) -> usize {
        /// What a piece takes beside its bytes, in a queue that may be half empty.
        const KEPT: usize = 192;
        let stalled = self.stalled_bytes + self.stalled.len() * KEPT;
        let beginning = match &self.beginning {
            Beginning::Reading(held) => held.holds(),
            _ => 0,
        };
        self.send.held() + self.receive.held() + stalled + beginning
    }

    /// It carries something else from here on.
    pub(super) fn set_content(&mut self, content: Content, environment: &mut Environment) {
        let (held, heads) = match std::mem::replace(&mut self.content, content) {
            Content::Undecided(client, server) => (client.held() + server.held(), client.heads() + server.heads()),
            Content::Http1(http) => {
                self.carried += http.finished();
                (http.held(), http.heads())
            }
            Content::Opaque => (0, 0),
        };
        environment.open_bytes = environment.open_bytes.saturating_sub(held);
        environment.open_heads = environment.open_heads.saturating_sub(heads);
    }

    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        if self.info.protocol != protocol {
            self.info = Arc::new(ConnectionInfo { protocol, ..(*self.info).clone() });
        }
    }

    /// Runs `step` on one direction's stream, and what comes out of it through the protocol.
    pub(super) fn with_stream(
        &mut self,
        direction: u8,
        environment: &mut Environment,
        step: impl FnOnce(&mut Stream, &mut dyn FnMut(Piece<'_>)),
    ) {
        // The stream is taken out so that the rest of the connection can be used while it gives pieces.
        let mut stream = std::mem::take(self.stream(direction));
        step(&mut stream, &mut |piece| self.piece(direction, piece, environment));
        *self.stream(direction) = stream;
        if self.stalled_since.is_some() {
            self.release_stalled(environment, false);
        }
    }

    fn stream(&mut self, direction: u8) -> &mut Stream {
        if direction == direction::SEND { &mut self.send } else { &mut self.receive }
    }

    pub(super) fn piece(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        match self.beginning {
            Beginning::Over => self.content_piece(direction, piece, environment),
            _ => self.beginning_piece(direction, piece, environment),
        }
    }

    pub(super) fn content_piece(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        if let Content::Opaque = self.content {
            return;
        }
        if let Content::Undecided(..) = self.content {
            self.decide(direction, piece, environment);
            return;
        }
        let Content::Http1(http) = &self.content else { return };
        if !http.proven() && self.not_http(direction, piece, environment) {
            return;
        }
        let Content::Http1(http) = &self.content else { return };
        let is_response = is_response(http.role(), direction);
        if is_response {
            let (Piece::Bytes(_, mark) | Piece::Gap(_, _, mark)) = piece;
            let request_next = if direction == direction::SEND { self.receive.next() } else { self.send.next() };
            if !self.stalled.is_empty() || http.must_wait(&mark, request_next) {
                self.stall(piece);
                if self.stalled.len() > MAX_WAITING_SEGMENTS || self.stalled_bytes > MAX_WAITING_BYTES {
                    self.release_stalled(environment, true);
                }
                return;
            }
        }
        self.feed(direction, is_response, piece, environment);
    }

    fn feed(&mut self, direction: u8, is_response: bool, piece: Piece<'_>, environment: &mut Environment) {
        let (Piece::Bytes(_, mark) | Piece::Gap(_, _, mark)) = piece;
        let length = match piece {
            Piece::Bytes(bytes, _) => bytes.len() as u64,
            Piece::Gap(length, ..) => length,
        };
        let other_next = match self.stalled.front() {
            // What waits to be passed on has not been seen yet.
            Some(StalledPiece::Bytes(_, mark) | StalledPiece::Gap(_, _, mark)) if !is_response => Some(mark.position),
            _ if direction == direction::SEND => self.receive.next(),
            _ => self.send.next(),
        };
        let own_next = Some(mark.position + length);
        // What was not seen is of no protocol.
        if self.info.protocol != Protocol::Http1
            && let Piece::Bytes(bytes, _) = piece
        {
            let verdict = if is_response { detect::status_line(bytes) } else { detect::request_line(bytes) };
            if verdict == Verdict::Yes {
                self.set_protocol(Protocol::Http1);
            }
        }
        let Content::Http1(http) = &mut self.content else { return };
        let (request_next, response_next) = if is_response { (other_next, own_next) } else { (own_next, other_next) };
        environment.with_context(&self.info, request_next, response_next, |context| {
            if is_response { http.response_piece(piece, context) } else { http.request_piece(piece, context) }
        });
        if let Some(signal) = http.take_signal() {
            self.signal(&signal, mark.time, environment);
            return;
        }
        if http.proven() {
            self.set_protocol(Protocol::Http1);
        } else if let Some(first) = http.suspect() {
            let protocol = detect::name(first);
            self.set_protocol(protocol);
        }
        self.skip_unwanted(direction, is_response, own_next, environment);
    }

    /// Tells the probes what need not be copied: content beyond what is kept.
    fn skip_unwanted(&mut self, direction: u8, is_response: bool, next: Option<u64>, environment: &mut Environment) {
        let Content::Http1(http) = &self.content else { return };
        let Some(next) = next.filter(|next| *next >= self.skip_until[usize::from(direction)]) else { return };
        if let Some((left, seen)) = http.content_left(!is_response)
            && seen >= environment.options.body_limit as u64
            && left >= SKIP_FROM
        {
            let until = next + left.min(SKIP_AT_ONCE);
            self.skip_until[usize::from(direction)] = until;
            let until = if self.sequence { until & 0xffff_ffff } else { Stream::as_count(until) };
            environment.controls.push_back(Control::Skip { inode: self.info.inode.0, direction, until });
        }
    }

    /// Tries both roles on a connection of which neither is known.
    fn decide(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        if self.not_http(direction, piece, environment) {
            return;
        }
        let (own_next, other_next) = (None, None);
        let Content::Undecided(client, server) = &mut self.content else { return };
        let mut winner = None;
        for http in [client, server] {
            let is_response = is_response(http.role(), direction);
            environment.with_context(&self.info, own_next, other_next, |context| {
                context.undecided = true;
                if is_response {
                    http.response_piece(piece, context);
                } else {
                    http.request_piece(piece, context);
                }
                if http.proven() {
                    http.decided(context);
                }
            });
            if http.proven() {
                winner = Some(std::mem::replace(http, Box::new(Http1::new(Role::Client, true))));
                break;
            }
        }
        if let Some(mut http) = winner {
            let signal = http.take_signal();
            self.set_content(Content::Http1(http), environment);
            self.set_protocol(Protocol::Http1);
            if let Some(signal) = signal {
                let (Piece::Bytes(_, mark) | Piece::Gap(_, _, mark)) = piece;
                self.signal(&signal, mark.time, environment);
            }
        }
    }

    /// On a connection that has not shown a message yet: whether it is clear by now that it will not.
    fn not_http(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) -> bool {
        let Piece::Bytes(bytes, mark) = piece else { return false };
        if !mark.boundary || self.info.opened.is_some() {
            return false;
        }
        if bytes.len() >= 5 && detect::is_tls_record(bytes) {
            self.signal(&Signal::NotHttp(bytes[..5].to_vec()), mark.time, environment);
            return true;
        }
        // What may still become a start line (calls of a few bytes) proves nothing.
        if detect::request_line(bytes) != Verdict::No || detect::status_line(bytes) != Verdict::No {
            return false;
        }
        self.unproven[usize::from(direction)] += 1;
        if self.unproven.iter().all(|calls| *calls > UNPROVEN_CALLS) {
            self.signal(&Signal::NotHttp(bytes.iter().copied().take(16).collect()), mark.time, environment);
            return true;
        }
        false
    }

    fn signal(&mut self, signal: &Signal, time: Timestamp, environment: &mut Environment) {
        match signal {
            Signal::NotHttp(first) => {
                self.set_protocol(detect::name(first));
                environment.note(self, time, super::NoteKind::NotHttp);
            }
            Signal::Switched(protocol) => {
                let websocket = protocol.eq_ignore_ascii_case("websocket");
                self.set_protocol(if websocket { Protocol::WebSocket } else { Protocol::Tunnel });
                environment.note(self, time, super::NoteKind::Opaque { protocol: protocol.clone() });
            }
        }
        if let Content::Http1(http) = &mut self.content {
            environment.with_context(&self.info, None, None, |context| match signal {
                // A response may have come to requests that were pipelined before the switch; they end here.
                Signal::Switched(_) => http.close(Ending::ByPeer, None, time, context),
                Signal::NotHttp(_) => http.abandon(time, context),
            });
        }
        self.set_content(Content::Opaque, environment);
        self.stalled.clear();
        self.stalled_since = None;
        environment.controls.push_back(Control::Mute { inode: self.info.inode.0 });
    }

    fn stall(&mut self, piece: Piece<'_>) {
        let (piece, mark, length) = match piece {
            Piece::Bytes(bytes, mark) => (StalledPiece::Bytes(bytes.to_vec(), mark), mark, bytes.len()),
            Piece::Gap(length, cause, mark) => (StalledPiece::Gap(length, cause, mark), mark, 0),
        };
        self.stalled_since.get_or_insert(mark.time);
        self.stalled_bytes += length;
        self.stalled.push_back(piece);
    }

    /// Passes on responses that waited for their request, where it has come; or, `forced`, in any case.
    pub(super) fn release_stalled(&mut self, environment: &mut Environment, forced: bool) {
        let mut forced = forced;
        while let Some(piece) = self.stalled.pop_front() {
            let (borrowed, mark) = match &piece {
                StalledPiece::Bytes(bytes, mark) => (Piece::Bytes(bytes, *mark), mark),
                StalledPiece::Gap(length, cause, mark) => (Piece::Gap(*length, *cause, *mark), mark),
            };
            let Content::Http1(http) = &self.content else { break };
            let direction = if http.role() == Role::Client { direction::RECEIVE } else { direction::SEND };
            let request_next = if direction == direction::SEND { self.receive.next() } else { self.send.next() };
            if !forced && http.must_wait(mark, request_next) {
                self.stalled.push_front(piece);
                return;
            }
            forced = false;
            self.stalled_bytes = self.stalled_bytes.saturating_sub(match &piece {
                StalledPiece::Bytes(bytes, _) => bytes.len(),
                StalledPiece::Gap(..) => 0,
            });
            self.feed(direction, true, borrowed, environment);
        }
        self.stalled_since = None;
        self.stalled_bytes = 0;
    }

    /// Passes on all responses that wait for their request.
    pub(super) fn release_all(&mut self, environment: &mut Environment) {
        while !self.stalled.is_empty() {
            self.release_stalled(environment, true);
        }
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Timestamp, environment: &mut Environment) {
        for direction in [direction::SEND, direction::RECEIVE] {
            if self.stream(direction).waits() {
                self.with_stream(direction, environment, |stream, mut sink| stream.handle_timeout(now, &mut sink));
            }
        }
        if self.stalled_since.is_some_and(|since| now.since(since) >= REORDER_WAIT_NS) {
            self.release_stalled(environment, true);
        }
        if let Content::Http1(http) = &mut self.content
            && http.in_doubt()
        {
            environment.with_context(&self.info, None, None, |context| http.settle_doubt(now, context));
        }
        if let Some(End { since, how, .. }) = self.ending
            && now.since(since) >= REORDER_WAIT_NS
        {
            self.close(how, since, environment);
        }
    }

    /// The kernel says, before anything was seen, when the target last sent and received. Where what moved last was a
    /// request, an exchange is under way, and what comes is its rest and its response, whatever it looks like.
    pub(super) fn joined_with_ages(&mut self, event: &ProbeEvent, environment: &mut Environment) {
        let seen = self.send.next().or(self.receive.next()).is_some();
        let Content::Http1(http) = &mut self.content else { return };
        if seen || self.info.opened.is_some() || event.state == tcp_state::SYN_SENT {
            return;
        }
        let sent = (event.bytes_acked.saturating_add(u64::from(event.send_queue)), event.last_sent_ms);
        let received = (event.bytes_received, event.last_received_ms);
        let ((requests, request_ms), (responses, response_ms)) = match http.role() {
            Role::Client => (sent, received),
            Role::Server => (received, sent),
        };
        // The ages are as coarse as the kernel's timer; that nothing was ever answered is exact. (One byte is the SYN.)
        if request_ms < response_ms || (requests > 1 && responses <= 1) {
            let mark = Mark {
                time: Timestamp(event.header.time_ns),
                pid: self.process.pid,
                tid: self.process.tid,
                ..Mark::default()
            };
            environment.with_context(&self.info, None, None, |context| http.join_unanswered(&mark, context));
        }
    }

    /// What the kernel says of a Unix socket, with what was seen in place of what it does not count: the bytes that moved,
    /// and when. What moved last before tracing began is not known; what waits to be read came at some time before now.
    pub(super) fn with_own_counts(&self, event: &ProbeEvent) -> ProbeEvent {
        let time = Timestamp(event.header.time_ns);
        let ago = |direction: u8, unknown: u32| {
            let last = self.last_moved[usize::from(direction)];
            last.map_or(unknown, |last| u32::try_from(time.since(last) / 1_000_000).unwrap_or(u32::MAX))
        };
        ProbeEvent {
            bytes_sent: self.send.accounted(),
            bytes_acked: self.send.accounted().saturating_sub(event.send_queue.into()),
            bytes_received: self.receive.accounted().saturating_add(event.receive_queue.into()),
            last_sent_ms: ago(direction::SEND, u32::MAX),
            last_received_ms: if event.receive_queue > 0 { 0 } else { ago(direction::RECEIVE, u32::MAX) },
            ..*event
        }
    }

    /// The peer has closed, as the target has read.
    pub(super) fn end_of_stream(&mut self, time: Timestamp, environment: &mut Environment) {
        self.peer_closes(environment);
        let mark = Mark { time, ..Mark::default() };
        self.with_stream(direction::RECEIVE, environment, |stream, mut sink| stream.flush(None, mark, &mut sink));
        self.end_beginning(environment);
        self.release_stalled(environment, true);
        let Content::Http1(http) = &mut self.content else { return };
        environment.with_context(&self.info, None, None, |context| match http.role() {
            Role::Client => http.close(Ending::ByPeer, None, time, context),
            Role::Server => http.requests_ended(context),
        });
    }

    /// The connection is over, or tracing is.
    pub(super) fn close(&mut self, ending: Ending, time: Timestamp, environment: &mut Environment) {
        if self.over.is_some() {
            return;
        }
        let mark = Mark { time, pid: self.process.pid, tid: self.process.tid, ..Mark::default() };
        let ends = self.ending.and_then(|end| end.positions);
        let before = self.send.lost() + self.receive.lost();
        for (direction, end) in
            [(direction::SEND, ends.map(|ends| ends.0)), (direction::RECEIVE, ends.map(|ends| ends.1))]
        {
            // A FIN takes one position, and whether it is in the number depends on the moment.
            let end = end.filter(|end| self.stream(direction).next().is_some_and(|next| *end > next + 1));
            self.with_stream(direction, environment, |stream, mut sink| stream.flush(end, mark, &mut sink));
        }
        self.end_beginning(environment);
        self.release_stalled(environment, true);
        if ending != Ending::Unfinished && self.send.lost() + self.receive.lost() > before {
            environment.unseen.push(Note {
                time,
                connection: Arc::clone(&self.info),
                role: self.known_role(),
                process: self.process.clone(),
                kind: NoteKind::UnseenBytes { sent: self.send.lost(), received: self.receive.lost() },
            });
        }
        if ending == Ending::Reset && self.role == Some(Role::Server) {
            self.observe(environment, |connection| Observation::PeerReset(connection));
        }
        if let Content::Http1(http) = &mut self.content {
            let error = self.error;
            environment.with_context(&self.info, None, None, |context| http.close(ending, error, time, context));
            if let Some(signal) = http.take_signal() {
                self.signal(&signal, time, environment);
            }
        }
        self.ended = Some(ending);
        self.observe(environment, |connection| Observation::Closed(connection));
        self.set_content(Content::Opaque, environment);
        self.ending = None;
        self.over = Some(time);
        self.stalled = VecDeque::new();
        (self.stalled_bytes, self.stalled_since) = (0, None);
        environment.waiting.settle(self);
    }
}

pub(super) fn is_response(role: Role, direction: u8) -> bool {
    (role == Role::Client) == (direction == direction::RECEIVE)
}
