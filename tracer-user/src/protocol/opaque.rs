//! The decoder of a channel whose bytes are not decoded: an unknown protocol, or no further bytes.

use std::ops::Range;

use super::{
    context::Context,
    decode::{Closing, ConnectionInfoRef, Decode, Handover, Memory, Progress},
};
use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Connect, OpenExchange},
    },
    stream::{Mark, Piece},
};

/// Drops every piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opaque;

impl Decode for Opaque {
    fn piece(&mut self, _: u8, _: Piece<'_>, _: &mut Context<'_>) {}

    fn caught_up(&mut self, _: &mut Context<'_>) {}

    fn is_behind(&self) -> bool {
        false
    }

    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn handle_timeout(&mut self, _: Timestamp, _: &mut Context<'_>) {}

    fn give_up_waiting(&mut self, _: &mut Context<'_>) {}

    fn waiting_bytes(&self) -> usize {
        0
    }

    fn peer_ended(&mut self, _: Timestamp, _: &mut Context<'_>) {}

    fn streams_ended(&mut self, _: &mut Context<'_>) {}

    fn close(&mut self, _: Closing, _: &mut Context<'_>) {}

    fn hand_over(&mut self, _: &Handover, _: Timestamp, _: &mut Context<'_>) {}

    fn take_handover(&mut self) -> Option<(Handover, Timestamp)> {
        None
    }

    fn unwanted(&self, _: u8, _: usize) -> Option<Range<u64>> {
        None
    }

    fn role(&self) -> Option<Role> {
        None
    }

    fn open(&self) -> usize {
        0
    }

    fn open_since(&self) -> Option<Timestamp> {
        None
    }

    fn finished(&self) -> u64 {
        0
    }

    fn visit_open(&self, _: &ConnectionInfoRef, _: &mut dyn FnMut(&OpenExchange<'_>)) {}

    fn first_open<'a>(&'a self, _: &'a ConnectionInfoRef) -> Option<OpenExchange<'a>> {
        None
    }

    fn connected(&mut self, _: Connect) {}

    fn joined(&mut self, _: Progress, _: &Mark, _: &mut Context<'_>) {}

    fn memory(&self) -> Memory {
        Memory::default()
    }
}
