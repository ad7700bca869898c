//! The HTTP/1 decoder: passes the pieces of both directions to the pairing of requests and responses in order.
//!
//! While the role of the target is unknown, both roles are tried. Responses that arrive before their
//! requests are held back, as events of two processors may arrive out of order.

use std::{collections::VecDeque, ops::Range};

use super::{
    pairing::Pairing,
    start_line::{self, Verdict},
};
use crate::{
    event::Timestamp,
    model::{
        connection::{Ending, Protocol, Role},
        exchange::{Connect, OpenExchange},
    },
    protocol::{
        context::{Context, opposite},
        decode::{Closing, ConnectionInfoRef, Decode, Handover, Memory, Progress},
        detect,
    },
    stream::{GapCause, MAX_WAITING_BYTES, MAX_WAITING_SEGMENTS, Mark, Piece, REORDER_WAIT_NS},
};

/// Maximum number of calls in each direction without an HTTP message on a connection that tracing joined. Beyond it,
/// the connection counts as another protocol.
const UNPROVEN_CALLS: u32 = 8;

/// HTTP/1 on one channel.
#[derive(Debug)]
pub struct Http1 {
    pairing: Pairing,
    /// The pairing for the role of a server, beside `pairing` for a client, while the role is unknown.
    as_server: Option<Box<Pairing>>,
    held_back: HeldBack,
    /// Calls without an HTTP message, by direction.
    unproven: [u32; 2],
    /// Position after the latest decoded piece of each direction.
    decoded: [u64; 2],
    handover: Option<(Handover, Timestamp)>,
}

/// Responses that wait for their requests.
#[derive(Debug, Default)]
struct HeldBack {
    pieces: VecDeque<HeldPiece>,
    /// Bytes of content in `pieces`.
    bytes: usize,
    /// Time of the oldest piece.
    since: Option<Timestamp>,
}

#[derive(Debug)]
enum HeldPiece {
    Bytes(Vec<u8>, Mark),
    Gap(u64, GapCause, Mark),
}

impl HeldPiece {
    fn mark(&self) -> &Mark {
        let (Self::Bytes(_, mark) | Self::Gap(_, _, mark)) = self;
        mark
    }

    fn size(&self) -> usize {
        if let Self::Bytes(bytes, _) = self { bytes.len() } else { 0 }
    }

    fn as_piece(&self) -> Piece<'_> {
        match self {
            Self::Bytes(bytes, mark) => Piece::Bytes(bytes, *mark),
            Self::Gap(length, cause, mark) => Piece::Gap(*length, *cause, *mark),
        }
    }
}

impl HeldBack {
    fn push(&mut self, piece: Piece<'_>) {
        let piece = match piece {
            Piece::Bytes(bytes, mark) => HeldPiece::Bytes(bytes.to_vec(), mark),
            Piece::Gap(length, cause, mark) => HeldPiece::Gap(length, cause, mark),
        };
        self.since.get_or_insert(piece.mark().time);
        self.bytes += piece.size();
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<HeldPiece> {
        let piece = self.pieces.pop_front()?;
        self.bytes = self.bytes.saturating_sub(piece.size());
        Some(piece)
    }

    fn is_full(&self) -> bool {
        self.pieces.len() > MAX_WAITING_SEGMENTS || self.bytes > MAX_WAITING_BYTES
    }

    /// Position of the first response that is not decoded yet.
    fn position(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.mark().position)
    }
}

impl Http1 {
    /// A connection on which the target has `role`, if that is known. `joined` is set if it existed before tracing.
    pub fn new(role: Option<Role>, joined: bool) -> Self {
        let as_server = role.is_none().then(|| Box::new(Pairing::attempt(Role::Server)));
        let pairing = match role {
            Some(role) => Pairing::new(role, joined),
            None => Pairing::attempt(Role::Client),
        };
        Self { pairing, as_server, held_back: HeldBack::default(), unproven: [0; 2], decoded: [0; 2], handover: None }
    }

    /// The pairing, once the role is known.
    fn paired(&self) -> Option<&Pairing> {
        self.as_server.is_none().then_some(&self.pairing)
    }

    /// The pairing to change, once the role is known.
    fn paired_mut(&mut self) -> Option<&mut Pairing> {
        self.as_server.is_none().then_some(&mut self.pairing)
    }

    /// Tries both roles; the first that finds a message head is right.
    fn try_both(&mut self, direction: u8, piece: Piece<'_>, context: &mut Context<'_>) {
        if self.is_not_http(direction, piece, context) {
            return;
        }
        let next = context.next;
        context.forget_positions();
        self.pairing.attempt_piece(direction, piece, context);
        if self.pairing.proven() {
            self.as_server = None;
        } else if let Some(as_server) = &mut self.as_server {
            as_server.attempt_piece(direction, piece, context);
            if as_server.proven()
                && let Some(as_server) = self.as_server.take()
            {
                self.pairing = *as_server;
            }
        }
        context.next = next;
        if self.as_server.is_none() {
            context.set_protocol(Protocol::Http1);
            let mark = *piece.mark();
            self.handover = self.pairing.take_handover().map(|handover| (handover, mark.time));
        }
    }

    /// Whether the bytes of a connection without a message so far rule out HTTP.
    fn is_not_http(&mut self, direction: u8, piece: Piece<'_>, context: &Context<'_>) -> bool {
        let Piece::Bytes(bytes, mark) = piece else { return false };
        if !mark.boundary || context.connection.opened.is_some() {
            return false;
        }
        if bytes.len() >= 5 && detect::is_tls_record(bytes) {
            self.handover = Some((Handover::NotThis(bytes[..5].to_vec()), mark.time));
            return true;
        }
        // Calls of a few bytes prove nothing: they may still become a start line.
        if start_line::request_line(bytes) != Verdict::No || start_line::status_line(bytes) != Verdict::No {
            return false;
        }
        self.unproven[usize::from(direction)] += 1;
        if self.unproven.iter().all(|calls| *calls > UNPROVEN_CALLS) {
            self.handover = Some((Handover::NotThis(bytes.iter().copied().take(16).collect()), mark.time));
            return true;
        }
        false
    }

    fn decode(&mut self, direction: u8, is_response: bool, piece: Piece<'_>, context: &mut Context<'_>) {
        let (mark, end) = (*piece.mark(), piece.end());
        let next = context.next;
        context.next[usize::from(direction)] = Some(end);
        if !is_response && let Some(position) = self.held_back.position() {
            context.next[usize::from(opposite(direction))] = Some(position);
        }
        // Exchanges carry the protocol of their connection, so a start line sets it first.
        if context.connection.protocol != Protocol::Http1
            && let Piece::Bytes(bytes, _) = piece
        {
            let verdict = if is_response { start_line::status_line(bytes) } else { start_line::request_line(bytes) };
            if verdict == Verdict::Yes {
                context.set_protocol(Protocol::Http1);
            }
        }
        if is_response {
            self.pairing.response_piece(piece, context);
        } else {
            self.pairing.request_piece(piece, context);
        }
        context.next = next;
        self.handover = self.pairing.take_handover().map(|handover| (handover, mark.time));
        if self.handover.is_some() {
            return;
        }
        if self.pairing.proven() {
            context.set_protocol(Protocol::Http1);
        } else if let Some(first) = self.pairing.suspect() {
            context.set_protocol(detect::name(first));
        }
        self.decoded[usize::from(direction)] = end;
    }

    /// Decodes held-back responses whose request has arrived; the first one regardless if `forced`.
    fn release(&mut self, context: &mut Context<'_>, mut forced: bool) {
        let requests = self.pairing.direction_of_requests();
        while let Some(piece) = self.held_back.pieces.front() {
            if !std::mem::take(&mut forced) && self.pairing.must_wait(piece.mark(), context.next_in(requests)) {
                return;
            }
            if let Some(piece) = self.held_back.pop() {
                self.decode(opposite(requests), true, piece.as_piece(), context);
            }
            if self.handover.is_some() {
                break;
            }
        }
        self.held_back.since = None;
    }
}

impl Decode for Http1 {
    fn piece(&mut self, direction: u8, piece: Piece<'_>, context: &mut Context<'_>) {
        if self.as_server.is_some() {
            self.try_both(direction, piece, context);
            return;
        }
        if !self.pairing.proven() && self.is_not_http(direction, piece, context) {
            return;
        }
        let is_response = direction != self.pairing.direction_of_requests();
        if is_response {
            let mark = *piece.mark();
            if !self.held_back.pieces.is_empty() || self.pairing.must_wait(&mark, context.next_in(opposite(direction)))
            {
                self.held_back.push(piece);
                if self.held_back.is_full() {
                    self.release(context, true);
                }
                return;
            }
        }
        self.decode(direction, is_response, piece, context);
    }

    fn caught_up(&mut self, context: &mut Context<'_>) {
        self.release(context, false);
    }

    fn is_behind(&self) -> bool {
        self.held_back.since.is_some()
    }

    fn due(&self) -> Option<Timestamp> {
        let released = self.held_back.since.map(|since| Timestamp(since.0.saturating_add(REORDER_WAIT_NS)));
        [released, self.paired().and_then(Pairing::doubt_until)].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Timestamp, context: &mut Context<'_>) {
        if self.held_back.since.is_some_and(|since| now.since(since) >= REORDER_WAIT_NS) {
            self.release(context, true);
        }
        if self.handover.is_none()
            && let Some(pairing) = self.paired_mut()
            && pairing.in_doubt()
        {
            context.forget_positions();
            pairing.settle_doubt(now, context);
        }
    }

    fn give_up_waiting(&mut self, context: &mut Context<'_>) {
        while !self.held_back.pieces.is_empty() && self.handover.is_none() {
            self.release(context, true);
        }
    }

    fn waiting_bytes(&self) -> usize {
        /// Bytes of memory of a piece besides its content, in a queue that may be half empty.
        const OVERHEAD: usize = 192;
        self.held_back.bytes + self.held_back.pieces.len() * OVERHEAD
    }

    fn peer_ended(&mut self, time: Timestamp, context: &mut Context<'_>) {
        self.release(context, true);
        if self.handover.is_some() {
            return;
        }
        let Some(pairing) = self.paired_mut() else { return };
        context.forget_positions();
        match pairing.role() {
            Role::Client => pairing.close(Ending::ByPeer, None, time, context),
            Role::Server => pairing.requests_ended(context),
        }
    }

    fn streams_ended(&mut self, context: &mut Context<'_>) {
        self.release(context, true);
    }

    fn close(&mut self, closing: Closing, context: &mut Context<'_>) {
        let Some(pairing) = self.paired_mut() else { return };
        context.forget_positions();
        pairing.close(closing.ending, closing.error, closing.time, context);
        self.handover = pairing.take_handover().map(|handover| (handover, closing.time));
    }

    fn hand_over(&mut self, handover: &Handover, time: Timestamp, context: &mut Context<'_>) {
        let Some(pairing) = self.paired_mut() else { return };
        context.forget_positions();
        match handover {
            // A response may have answered requests that were pipelined before the switch.
            Handover::Switched(_) => pairing.close(Ending::ByPeer, None, time, context),
            Handover::NotThis(_) => pairing.abandon(time, context),
        }
    }

    fn take_handover(&mut self) -> Option<(Handover, Timestamp)> {
        self.handover.take()
    }

    fn unwanted(&self, direction: u8, body_limit: usize) -> Option<Range<u64>> {
        let pairing = self.paired()?;
        let (left, seen) = pairing.content_left(direction == pairing.direction_of_requests())?;
        let from = self.decoded[usize::from(direction)];
        (seen >= body_limit as u64).then(|| from..from.saturating_add(left))
    }

    fn role(&self) -> Option<Role> {
        self.paired().map(Pairing::role)
    }

    fn open(&self) -> usize {
        self.paired().map_or(0, Pairing::open)
    }

    fn open_since(&self) -> Option<Timestamp> {
        self.paired()?.open_since()
    }

    fn finished(&self) -> u64 {
        self.paired().map_or(0, Pairing::finished)
    }

    fn visit_open(&self, connection: &ConnectionInfoRef, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        if let Some(pairing) = self.paired() {
            pairing.visit_open(connection, visit);
        }
    }

    fn first_open<'a>(&'a self, connection: &'a ConnectionInfoRef) -> Option<OpenExchange<'a>> {
        self.paired()?.first_open(connection)
    }

    fn connected(&mut self, connect: Connect) {
        if let Some(pairing) = self.paired_mut() {
            pairing.set_connect(connect);
        }
    }

    fn joined(&mut self, progress: Progress, mark: &Mark, context: &mut Context<'_>) {
        let Some(pairing) = self.paired_mut() else { return };
        let requests = usize::from(pairing.direction_of_requests());
        let responses = 1 - requests;
        // The ages are imprecise; that the peer never answered is exact. (One byte is the SYN.)
        let unanswered = progress.bytes[requests] > 1 && progress.bytes[responses] <= 1;
        if progress.quiet_ms[requests] < progress.quiet_ms[responses] || unanswered {
            context.forget_positions();
            pairing.join_unanswered(mark, context);
        }
    }

    fn memory(&self) -> Memory {
        let sum = |pairing: &Pairing, memory: Memory| Memory {
            bytes: memory.bytes + pairing.held(),
            heads: memory.heads + pairing.heads(),
        };
        let memory = sum(&self.pairing, Memory::default());
        self.as_server.as_ref().map_or(memory, |pairing| sum(pairing, memory))
    }
}
