//! The seam between a connection and the protocol on it: the trait of decoders.

use std::ops::Range;

use super::context::Context;
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Ending, Role},
        exchange::{Connect, OpenExchange},
    },
    stream::{Mark, Piece},
};

/// Decodes one protocol on one channel: takes pieces of either direction, and reports exchanges to the listener of the
/// [`Context`].
///
/// A decoder holds no clock. Its memory is bounded per connection, and counted against the limits of the context where
/// an attacker decides how much of it there is.
pub trait Decode {
    /// Takes the next piece of one direction. [`Context::next`] holds the positions of both directions after the piece.
    fn piece(&mut self, direction: u8, piece: Piece<'_>, context: &mut Context<'_>);

    /// Ends the pieces of an event. [`Context::next`] holds the positions of both directions.
    fn caught_up(&mut self, context: &mut Context<'_>);

    /// Whether [`Self::caught_up`] has anything to do.
    fn is_behind(&self) -> bool;

    /// Time of the next [`Self::handle_timeout`], if one is needed.
    fn due(&self) -> Option<Timestamp>;

    /// Applies decisions that depend only on time.
    fn handle_timeout(&mut self, now: Timestamp, context: &mut Context<'_>);

    /// Decodes pieces that are held back: the bytes that they wait for are lost.
    fn give_up_waiting(&mut self, context: &mut Context<'_>);

    /// Approximate memory of pieces that are held back, in bytes.
    fn waiting_bytes(&self) -> usize;

    /// Handles the end of the peer's stream (a FIN), which the target has read.
    fn peer_ended(&mut self, time: Timestamp, context: &mut Context<'_>);

    /// Decodes what the end of both streams releases. [`Self::close`] follows.
    fn streams_ended(&mut self, context: &mut Context<'_>);

    /// Ends every pending exchange, because the connection or tracing has ended.
    fn close(&mut self, closing: Closing, context: &mut Context<'_>);

    /// Ends every pending exchange, because another protocol takes over the channel.
    fn hand_over(&mut self, handover: &Handover, time: Timestamp, context: &mut Context<'_>);

    /// Takes the handover that the latest step found, and its time. The channel then gets another decoder.
    fn take_handover(&mut self) -> Option<(Handover, Timestamp)>;

    /// Positions in `direction`, from the next one on, whose bytes are neither decoded nor kept. The probes need not copy
    /// these bytes.
    fn unwanted(&self, direction: u8, body_limit: usize) -> Option<Range<u64>>;

    /// Role of the target; `None` while unknown.
    fn role(&self) -> Option<Role>;

    /// Number of pending exchanges.
    fn open(&self) -> usize;

    /// Time at which the oldest pending exchange began.
    fn open_since(&self) -> Option<Timestamp>;

    /// Number of exchanges that ended.
    fn finished(&self) -> u64;

    /// Visits the pending exchanges, oldest first.
    fn visit_open(&self, connection: &ConnectionInfoRef, visit: &mut dyn FnMut(&OpenExchange<'_>));

    /// The oldest pending exchange of which anything was observed.
    fn first_open<'a>(&'a self, connection: &'a ConnectionInfoRef) -> Option<OpenExchange<'a>>;

    /// Sets the observed connect that opened the connection.
    fn connected(&mut self, connect: Connect);

    /// Sets the progress of a connection that existed before tracing.
    fn joined(&mut self, progress: Progress, mark: &Mark, context: &mut Context<'_>);

    /// Memory counted against the limits of the context. The owner subtracts it when it drops the decoder.
    fn memory(&self) -> Memory;
}

/// A shared connection.
pub type ConnectionInfoRef = std::sync::Arc<ConnectionInfo>;

/// End of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// Side that ended it, and the manner.
    pub ending: Ending,
    /// Error number that a call returned, if any.
    pub error: Option<i32>,
    /// Time of the end.
    pub time: Timestamp,
}

/// A change of the protocol on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The bytes belong to another protocol than the decoder's. Holds the first bytes.
    NotThis(Vec<u8>),
    /// Both sides agreed on another protocol. Holds its name in `Upgrade`, or `CONNECT`.
    Switched(Box<str>),
}

/// Progress of a connection that tracing joined, as the kernel counts it.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes sent and received since the connection was made. The SYN may count as one.
    pub bytes: [u64; 2],
    /// Milliseconds since the latest byte in each direction. The kernel's timer limits the precision.
    pub quiet_ms: [u32; 2],
}

/// Memory of a decoder that counts against limits over all connections, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Against [`super::context::MAX_OPEN_BYTES`]: incomplete heads.
    pub bytes: usize,
    /// Against [`super::context::MAX_OPEN_HEADS`]: pending exchanges.
    pub heads: usize,
}
