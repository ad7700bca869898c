//! The decoder of a channel: one of the known protocols, with static dispatch.

use std::ops::Range;

use super::{
    context::Context,
    decode::{Closing, ConnectionInfoRef, Decode, Handover, Memory, Progress},
    http1::Http1,
    opaque::Opaque,
};
use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Connect, OpenExchange},
    },
    stream::{Mark, Piece},
};

/// The decoder of a channel.
#[derive(Debug)]
pub enum Decoder {
    /// HTTP/1.
    Http1(Box<Http1>),
    /// Bytes that are not decoded.
    Opaque(Opaque),
}

impl Decoder {
    /// The decoder for the first bytes of a channel on which the target has `role`, if that is known. `joined` is set if the
    /// connection existed before tracing.
    pub fn new(role: Option<Role>, joined: bool) -> Self {
        Self::Http1(Box::new(Http1::new(role, joined)))
    }

    /// The decoder for bytes that are not decoded.
    pub fn opaque() -> Self {
        Self::Opaque(Opaque)
    }

    /// Whether bytes are dropped undecoded.
    pub fn is_opaque(&self) -> bool {
        matches!(self, Self::Opaque(_))
    }
}

/// Forwards a call to the protocol.
macro_rules! each {
    ($decoder:expr, $protocol:ident => $call:expr) => {
        match $decoder {
            Decoder::Http1($protocol) => $call,
            Decoder::Opaque($protocol) => $call,
        }
    };
}

impl Decode for Decoder {
    fn piece(&mut self, direction: u8, piece: Piece<'_>, context: &mut Context<'_>) {
        each!(self, protocol => protocol.piece(direction, piece, context));
    }

    fn caught_up(&mut self, context: &mut Context<'_>) {
        each!(self, protocol => protocol.caught_up(context));
    }

    fn is_behind(&self) -> bool {
        each!(self, protocol => protocol.is_behind())
    }

    fn due(&self) -> Option<Timestamp> {
        each!(self, protocol => protocol.due())
    }

    fn handle_timeout(&mut self, now: Timestamp, context: &mut Context<'_>) {
        each!(self, protocol => protocol.handle_timeout(now, context));
    }

    fn give_up_waiting(&mut self, context: &mut Context<'_>) {
        each!(self, protocol => protocol.give_up_waiting(context));
    }

    fn waiting_bytes(&self) -> usize {
        each!(self, protocol => protocol.waiting_bytes())
    }

    fn peer_ended(&mut self, time: Timestamp, context: &mut Context<'_>) {
        each!(self, protocol => protocol.peer_ended(time, context));
    }

    fn streams_ended(&mut self, context: &mut Context<'_>) {
        each!(self, protocol => protocol.streams_ended(context));
    }

    fn close(&mut self, closing: Closing, context: &mut Context<'_>) {
        each!(self, protocol => protocol.close(closing, context));
    }

    fn hand_over(&mut self, handover: &Handover, time: Timestamp, context: &mut Context<'_>) {
        each!(self, protocol => protocol.hand_over(handover, time, context));
    }

    fn take_handover(&mut self) -> Option<(Handover, Timestamp)> {
        each!(self, protocol => protocol.take_handover())
    }

    fn unwanted(&self, direction: u8, body_limit: usize) -> Option<Range<u64>> {
        each!(self, protocol => protocol.unwanted(direction, body_limit))
    }

    fn role(&self) -> Option<Role> {
        each!(self, protocol => protocol.role())
    }

    fn open(&self) -> usize {
        each!(self, protocol => protocol.open())
    }

    fn open_since(&self) -> Option<Timestamp> {
        each!(self, protocol => protocol.open_since())
    }

    fn finished(&self) -> u64 {
        each!(self, protocol => protocol.finished())
    }

    fn visit_open(&self, connection: &ConnectionInfoRef, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        each!(self, protocol => protocol.visit_open(connection, visit));
    }

    fn first_open<'a>(&'a self, connection: &'a ConnectionInfoRef) -> Option<OpenExchange<'a>> {
        each!(self, protocol => protocol.first_open(connection))
    }

    fn connected(&mut self, connect: Connect) {
        each!(self, protocol => protocol.connected(connect));
    }

    fn joined(&mut self, progress: Progress, mark: &Mark, context: &mut Context<'_>) {
        each!(self, protocol => protocol.joined(progress, mark, context));
    }

    fn memory(&self) -> Memory {
        each!(self, protocol => protocol.memory())
    }
}
