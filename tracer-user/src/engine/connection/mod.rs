//! A connection while it is known: its life, its transport, and the channel on it.
//!
//! ```text
//! event -> Transport (streams: order, gaps) -> pieces -> Channel (preamble, decoder) -> exchanges
//!       -> Life (how it opens and ends)
//! ```

mod channel;
mod life;
mod opening;
mod preamble;
mod transport;

use std::{cell::Cell, sync::Arc};

use channel::Channel;
pub(super) use life::{End, Life};
pub(super) use opening::{connect_failed, connect_returned, connected, connecting_found, failed_call, report_up};
pub(super) use transport::Accounting;
use transport::Transport;

use super::{Control, Note, NoteKind, environment::Environment, waiting::Share};
use crate::{
    analysis::detector::{Observation, OpenConnection, Traffic, Turn},
    event::{
        SocketInode, Timestamp,
        wire::{EventHeader, ProbeEvent, direction, tcp_state},
    },
    model::{
        connection::{ConnectionId, ConnectionInfo, Ending, Protocol, Role},
        exchange::ProcessRef,
    },
    protocol::{
        context::Context,
        decode::{Closing, Decode, Handover, Progress},
        decoder::Decoder,
        detect,
    },
    stream::{Mark, Piece, REORDER_WAIT_NS, Stream},
};

/// How long a connection that is over is kept, for events of it that arrive late.
pub(super) const REMEMBER_NS: u64 = 1_000_000_000;

/// When a connection is due, and its place among those that are due together: they come in the order in which they first
/// became due.
pub(super) type Appointment = (Timestamp, u64);

/// Whether a connection is queued for the detectors that look at silent calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// Nothing has happened since the latest look.
    No,
    /// For a time that a detector named.
    Later,
    /// For the next look.
    Next,
}

/// A connection while it is known.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) process: ProcessRef,
    pub(super) life: Life,
    pub(super) transport: Transport,
    pub(super) channel: Channel,
    /// Latest process and descriptor that used it: saves a look-up for each event.
    pub(super) holder: (u32, i32),
    /// The direction in which bytes move now.
    pub(super) turn: Option<Turn>,
    /// The role of the target, where something else than the decoder tells.
    pub(super) role: Option<Role>,
    /// Its place in [`super::due::Due`].
    pub(super) appointment: Option<Appointment>,
    pub(super) queued: Cell<Queued>,
    /// Its share of what waits on all connections.
    share: Share,
}

impl Connection {
    /// A connection that an event of `header` made known.
    pub(super) fn new(
        last_connection: &mut u64,
        environment: &Environment,
        inode: u64,
        header: &EventHeader,
        decoder: Decoder,
    ) -> Self {
        *last_connection += 1;
        let info = ConnectionInfo::new(ConnectionId(*last_connection), SocketInode(inode));
        let process = ProcessRef { pid: header.tgid, tid: header.tid, name: environment.processes.name(header.tgid) };
        Self {
            info: Arc::new(info),
            process,
            life: Life::default(),
            transport: Transport::default(),
            channel: Channel::new(decoder),
            holder: (0, -1),
            turn: None,
            role: None,
            appointment: None,
            queued: Cell::new(Queued::No),
            share: Share::default(),
        }
    }

    /// Time at which something must be done although no event comes, if any.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let after = |time: Timestamp, wait: u64| Timestamp(time.0.saturating_add(wait));
        if self.life.awaits_report() {
            // At the next tick.
            return Some(Timestamp(0));
        }
        let waits = self.transport.waiting_since().map(|since| after(since, REORDER_WAIT_NS));
        let ends = self.life.ending().map(|end| after(end.since, REORDER_WAIT_NS));
        let over = self.life.over().map(|over| after(over, REMEMBER_NS));
        [waits, ends, over, self.channel.decoder.due()].into_iter().flatten().min()
    }

    /// The peer sends no more.
    pub(super) fn peer_closes(&mut self, environment: &mut Environment) {
        if self.life.close_by_peer() && self.role == Some(Role::Server) {
            self.observe(environment, |connection| Observation::PeerClosed(connection));
        }
    }

    /// The view that detectors get.
    pub(super) fn view(&self) -> OpenConnection<'_> {
        let Self { life, transport, channel, .. } = self;
        let traffic = |stream: &Stream, direction: u8| Traffic {
            bytes: stream.accounted(),
            last: transport.last_moved[usize::from(direction)],
        };
        OpenConnection {
            info: &self.info,
            process: &self.process,
            connect_start: life.connect_start(),
            connected: life.is_up(),
            sent: traffic(&transport.send, direction::SEND),
            received: traffic(&transport.receive, direction::RECEIVE),
            peer_closed: life.peer_closed(),
            under_way: transport.under_way,
            unseen: transport.unseen,
            role: self.known_role(),
            turn: self.turn,
            found: life.is_found(),
            ending: life.ended(),
            carried: channel.finished(),
            open: channel.decoder.open() as u32,
            open_since: channel.decoder.open_since(),
            kernel: transport.kernel,
            over: life.over(),
            failed: life.has_failed(),
        }
    }

    /// The role of the target, if known.
    pub(super) fn known_role(&self) -> Option<Role> {
        self.channel.decoder.role().or(self.role)
    }

    /// Bytes moved.
    pub(super) fn moved(&mut self, direction: u8, time: Timestamp, tid: u32) {
        self.transport.last_moved[usize::from(direction)] = Some(time);
        // The call has returned. The kernel's next answer tells what another call moves.
        self.transport.under_way[usize::from(direction)] = 0;
        match &mut self.turn {
            Some(turn) if turn.direction == direction => turn.tid = tid,
            turn => {
                let number = turn.map_or(0, |turn| turn.number).saturating_add(1);
                *turn = Some(Turn { direction, since: time, tid, number });
            }
        }
    }

    /// Shows the connection to the detectors.
    pub(super) fn observe(
        &self,
        environment: &mut Environment,
        observation: impl for<'a> FnOnce(&'a OpenConnection<'a>) -> Observation<'a>,
    ) {
        environment.reports.observe(&observation(&self.view()));
    }

    /// Bytes of memory, approximately, that wait: for missing bytes, for a request, for a decision.
    fn holds(&self) -> usize {
        self.transport.send.held() + self.transport.receive.held() + self.channel.waiting_bytes()
    }

    /// Replaces the decoder of the channel.
    pub(super) fn replace_decoder(&mut self, decoder: Decoder, environment: &mut Environment) {
        let memory = self.channel.replace_decoder(decoder);
        environment.open_bytes = environment.open_bytes.saturating_sub(memory.bytes);
        environment.open_heads = environment.open_heads.saturating_sub(memory.heads);
    }

    /// Runs `step` on the stream of one direction, and gives the pieces that come out of it to the channel.
    pub(super) fn with_stream(
        &mut self,
        direction: u8,
        environment: &mut Environment,
        step: impl FnOnce(&mut Stream, &mut dyn FnMut(Piece<'_>)),
    ) {
        // The stream is taken out so that the rest of the connection can be used while it gives pieces.
        let mut stream = std::mem::take(self.transport.stream(direction));
        step(&mut stream, &mut |piece| self.piece(direction, piece, environment));
        *self.transport.stream(direction) = stream;
        if self.channel.decoder.is_behind() {
            self.decode(environment, Decode::caught_up);
        }
    }

    /// A piece in order, whose bytes may still be a preamble.
    fn piece(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        if self.channel.beginning.is_over() {
            self.content_piece(direction, piece, environment);
        } else {
            self.beginning_piece(direction, piece, environment);
        }
    }

    /// A piece for the decoder.
    fn content_piece(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        if self.channel.decoder.is_opaque() {
            return;
        }
        let mut next = self.transport.next();
        next[usize::from(direction)] = Some(piece.end());
        let decoder = &mut self.channel.decoder;
        environment.with_context(&mut self.info, next, |context| decoder.piece(direction, piece, context));
        match decoder.take_handover() {
            Some((handover, time)) => self.hand_over(&handover, time, environment),
            None => self.skip_unwanted(direction, environment),
        }
    }

    /// Runs a step of the decoder that has no piece.
    fn decode(&mut self, environment: &mut Environment, step: impl FnOnce(&mut Decoder, &mut Context<'_>)) {
        let next = self.transport.next();
        let decoder = &mut self.channel.decoder;
        environment.with_context(&mut self.info, next, |context| step(decoder, context));
        if let Some((handover, time)) = decoder.take_handover() {
            self.hand_over(&handover, time, environment);
        } else {
            for direction in [direction::SEND, direction::RECEIVE] {
                self.skip_unwanted(direction, environment);
            }
        }
    }

    /// Asks the probes to leave out content beyond what is kept.
    fn skip_unwanted(&mut self, direction: u8, environment: &mut Environment) {
        if let Some(unwanted) = self.channel.decoder.unwanted(direction, environment.options.body_limit)
            && let Some(until) = self.transport.skip(direction, &unwanted)
        {
            environment.controls.push_back(Control::Skip { inode: self.info.inode.0, direction, until });
        }
    }

    /// Another protocol takes over the channel. No decoder knows it, so nothing more is copied.
    fn hand_over(&mut self, handover: &Handover, time: Timestamp, environment: &mut Environment) {
        let note = match handover {
            Handover::NotThis(first) => {
                ConnectionInfo::set_protocol(&mut self.info, detect::name(first));
                NoteKind::NotHttp
            }
            Handover::Switched(protocol) => {
                let websocket = protocol.eq_ignore_ascii_case("websocket");
                ConnectionInfo::set_protocol(
                    &mut self.info,
                    if websocket { Protocol::WebSocket } else { Protocol::Tunnel },
                );
                NoteKind::Opaque { protocol: protocol.clone() }
            }
        };
        self.note(time, note, environment);
        let decoder = &mut self.channel.decoder;
        environment.with_context(&mut self.info, [None; 2], |context| decoder.hand_over(handover, time, context));
        self.replace_decoder(Decoder::opaque(), environment);
        environment.controls.push_back(Control::Mute { inode: self.info.inode.0 });
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Timestamp, environment: &mut Environment) {
        for direction in [direction::SEND, direction::RECEIVE] {
            if self.transport.stream(direction).waits() {
                self.with_stream(direction, environment, |stream, mut sink| stream.handle_timeout(now, &mut sink));
            }
        }
        if self.channel.decoder.due().is_some_and(|due| due <= now) {
            self.decode(environment, |decoder, context| decoder.handle_timeout(now, context));
        }
        if let Some(End { since, how, .. }) = self.life.ending()
            && now.since(since) >= REORDER_WAIT_NS
        {
            self.close(how, since, environment);
        }
    }

    /// Tells the decoder of a connection of which nothing was seen what the kernel says of its past.
    pub(super) fn joined(&mut self, event: &ProbeEvent, environment: &mut Environment) {
        if self.transport.has_position() || self.info.opened.is_some() || event.state == tcp_state::SYN_SENT {
            return;
        }
        let progress = Progress {
            bytes: [event.bytes_acked.saturating_add(u64::from(event.send_queue)), event.bytes_received],
            quiet_ms: [event.last_sent_ms, event.last_received_ms],
        };
        let mark = self.own_mark(Timestamp(event.header.time_ns));
        self.decode(environment, |decoder, context| decoder.joined(progress, &mark, context));
    }

    /// The kernel's answer for a Unix socket, completed with counts and times from events: the kernel counts neither. The
    /// latest byte before tracing has an unknown time; bytes in the receive queue arrived at an unknown time before now.
    pub(super) fn with_own_counts(&self, event: &ProbeEvent) -> ProbeEvent {
        let time = Timestamp(event.header.time_ns);
        let Transport { send, receive, last_moved, .. } = &self.transport;
        let ago = |direction: u8, unknown: u32| {
            let last = last_moved[usize::from(direction)];
            last.map_or(unknown, |last| u32::try_from(time.since(last) / 1_000_000).unwrap_or(u32::MAX))
        };
        ProbeEvent {
            bytes_sent: send.accounted(),
            bytes_acked: send.accounted().saturating_sub(event.send_queue.into()),
            bytes_received: receive.accounted().saturating_add(event.receive_queue.into()),
            last_sent_ms: ago(direction::SEND, u32::MAX),
            last_received_ms: if event.receive_queue > 0 { 0 } else { ago(direction::RECEIVE, u32::MAX) },
            ..*event
        }
    }

    /// The target read the end of the peer's stream.
    pub(super) fn end_of_stream(&mut self, time: Timestamp, environment: &mut Environment) {
        self.peer_closes(environment);
        let mark = Mark { time, ..Mark::default() };
        self.with_stream(direction::RECEIVE, environment, |stream, mut sink| stream.flush(None, mark, &mut sink));
        self.end_beginning(environment);
        self.decode(environment, |decoder, context| decoder.peer_ended(time, context));
    }

    /// Gives up missing bytes, and decodes what waits for them.
    pub(super) fn give_up_waiting(&mut self, time: Timestamp, environment: &mut Environment) {
        let mark = self.own_mark(time);
        for direction in [direction::SEND, direction::RECEIVE] {
            self.with_stream(direction, environment, |stream, mut sink| stream.flush(None, mark, &mut sink));
        }
        self.end_beginning(environment);
        self.decode(environment, Decode::give_up_waiting);
        environment.waiting.give_up(&mut self.share);
    }

    /// The connection is over, or tracing is.
    pub(super) fn close(&mut self, ending: Ending, time: Timestamp, environment: &mut Environment) {
        if self.life.is_over() {
            return;
        }
        let mark = self.own_mark(time);
        let ends = self.life.ending().and_then(|end| end.positions);
        let before = self.transport.lost();
        for (direction, end) in
            [(direction::SEND, ends.map(|ends| ends.0)), (direction::RECEIVE, ends.map(|ends| ends.1))]
        {
            // A FIN takes one position, and whether the number includes it depends on the moment.
            let next = self.transport.stream(direction).next();
            let end = end.filter(|end| next.is_some_and(|next| *end > next + 1));
            self.with_stream(direction, environment, |stream, mut sink| stream.flush(end, mark, &mut sink));
        }
        self.end_beginning(environment);
        self.decode(environment, Decode::streams_ended);
        if ending != Ending::Unfinished && self.transport.lost() > before {
            environment.unseen.push(Note {
                time,
                connection: Arc::clone(&self.info),
                role: self.known_role(),
                process: self.process.clone(),
                kind: NoteKind::UnseenBytes {
                    sent: self.transport.send.lost(),
                    received: self.transport.receive.lost(),
                },
            });
        }
        if ending == Ending::Reset && self.role == Some(Role::Server) {
            self.observe(environment, |connection| Observation::PeerReset(connection));
        }
        let closing = Closing { ending, error: self.life.error(), time };
        let decoder = &mut self.channel.decoder;
        environment.with_context(&mut self.info, [None; 2], |context| decoder.close(closing, context));
        if let Some((handover, time)) = decoder.take_handover() {
            self.hand_over(&handover, time, environment);
        }
        self.life.finish(ending, time);
        self.observe(environment, |connection| Observation::Closed(connection));
        self.replace_decoder(Decoder::opaque(), environment);
        self.settle(environment);
    }

    /// Counts the bytes that wait on this connection. Tells whether too many wait on all of them.
    pub(super) fn settle(&mut self, environment: &mut Environment) -> bool {
        let bytes = self.holds();
        environment.waiting.settle(&mut self.share, bytes, self.info.inode.0)
    }

    /// Reports a note on the connection.
    pub(super) fn note(&self, time: Timestamp, kind: NoteKind, environment: &mut Environment) {
        let (connection, process) = (Arc::clone(&self.info), self.process.clone());
        environment.reports.note(Note { time, connection, role: self.known_role(), process, kind });
    }

    fn own_mark(&self, time: Timestamp) -> Mark {
        Mark { time, pid: self.process.pid, tid: self.process.tid, ..Mark::default() }
    }
}
