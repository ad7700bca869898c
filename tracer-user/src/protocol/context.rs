//! Environment of a decoder for one step: exchange numbers, limits, positions, and the listener.

use std::sync::Arc;

use crate::{
    event::wire::direction,
    model::{
        connection::{ConnectionInfo, Protocol, Role},
        exchange::{Exchange, ExchangeId, OpenExchange, Step},
    },
};

/// Bytes that the bodies and incomplete heads of pending exchanges may hold, over all connections. Beyond this limit
/// bodies are counted and not kept, and heads that arrive in parts are given up: thousands of slow uploads, or clients
/// that never end their heads, must not take the memory of the observed machine.
pub const MAX_OPEN_BYTES: usize = 64 << 20;

/// Bytes that pending exchanges and their heads may hold, over all connections. Beyond this limit decoders drop header
/// lines and bound the requests of each connection. 90,000 ordinary calls fit.
pub const MAX_OPEN_HEADS: usize = 128 << 20;

/// Environment of a decoder for one step.
pub struct Context<'a> {
    /// Number of the latest exchange.
    pub last_exchange: &'a mut u64,
    /// Maximum bytes kept of each body.
    pub body_limit: usize,
    /// Bytes counted against [`MAX_OPEN_BYTES`].
    pub open_bytes: &'a mut usize,
    /// Bytes counted against [`MAX_OPEN_HEADS`].
    pub open_heads: &'a mut usize,
    /// Name of a process.
    pub process_name: &'a dyn Fn(u32) -> Arc<str>,
    /// The connection, as known now.
    pub connection: &'a mut Arc<ConnectionInfo>,
    /// Position of the next byte of each direction of the channel, sent first; `None` while unknown.
    pub next: [Option<u64>; 2],
    /// Receiver of steps and exchanges.
    pub listener: &'a mut dyn Listener,
}

/// Receives the steps and the ends of exchanges.
pub trait Listener {
    /// Whether this step is needed. Decoders build an [`OpenExchange`] only then.
    fn wants(&self, step: Step, role: Role) -> bool;

    /// Handles a step of a pending exchange.
    fn step(&mut self, step: Step, exchange: &OpenExchange<'_>);

    /// Handles the end of an exchange.
    fn finished(&mut self, exchange: Arc<Exchange>);
}

impl Context<'_> {
    /// Whether the heads of pending exchanges have reached [`MAX_OPEN_HEADS`].
    pub fn is_full(&self) -> bool {
        *self.open_heads > MAX_OPEN_HEADS
    }

    /// Maximum bytes of a body that may be kept now.
    pub fn body_room(&self) -> usize {
        if *self.open_bytes < MAX_OPEN_BYTES { self.body_limit } else { 0 }
    }

    /// Reports an exchange that ended, and releases the bytes of its bodies.
    pub fn finish(&mut self, exchange: Exchange) {
        let request = exchange.request.as_ref().map_or(0, |request| request.body.captured.len());
        let response = exchange.response.as_ref().map_or(0, |response| response.body.captured.len());
        *self.open_bytes = self.open_bytes.saturating_sub(request + response);
        self.listener.finished(Arc::new(exchange));
    }

    /// Returns a number for a new exchange.
    pub fn next_number(&mut self) -> ExchangeId {
        *self.last_exchange += 1;
        ExchangeId(*self.last_exchange)
    }

    /// Takes back a number that turned out to belong to no exchange, if it is the latest.
    pub fn give_back(&mut self, number: Option<ExchangeId>) {
        if number == Some(ExchangeId(*self.last_exchange)) {
            *self.last_exchange -= 1;
        }
    }

    /// Sets the protocol of the connection.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        ConnectionInfo::set_protocol(self.connection, protocol);
    }

    /// Position of the next byte in `direction`, if known.
    pub fn next_in(&self, direction: u8) -> Option<u64> {
        self.next[usize::from(direction)]
    }

    /// Marks both positions unknown for a step without a piece.
    pub fn forget_positions(&mut self) {
        self.next = [None; 2];
    }
}

/// The direction opposite to `direction`.
pub fn opposite(direction: u8) -> u8 {
    if direction == direction::SEND { direction::RECEIVE } else { direction::SEND }
}
