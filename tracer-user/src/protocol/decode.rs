//! The seam between a connection and the protocol on it: what a decoder does.

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

    /// All pieces of an event were given: both directions stand where [`Context::next`] says.
    fn caught_up(&mut self, context: &mut Context<'_>);

    /// Whether [`Self::caught_up`] has anything to do.
    fn is_behind(&self) -> bool;

    /// Time of the next [`Self::handle_timeout`], if one is needed.
    fn due(&self) -> Option<Timestamp>;

    /// Decides what only the passage of time decides.
    fn handle_timeout(&mut self, now: Timestamp, context: &mut Context<'_>);

    /// Decodes whatever it holds back, as the bytes that it waits for are lost.
    fn give_up_waiting(&mut self, context: &mut Context<'_>);

    /// Bytes of memory, approximately, that pieces held back take.
    fn waiting_bytes(&self) -> usize;

    /// The target read the end of the peer's stream (a FIN).
    fn peer_ended(&mut self, time: Timestamp, context: &mut Context<'_>);

    /// Decodes what the end of both streams releases. [`Self::close`] follows.
    fn streams_ended(&mut self, context: &mut Context<'_>);

    /// The connection is over, or tracing is: every pending exchange ends.
    fn close(&mut self, closing: Closing, context: &mut Context<'_>);

    /// Another protocol takes over the channel: every pending exchange ends.
    fn hand_over(&mut self, handover: &Handover, time: Timestamp, context: &mut Context<'_>);

    /// Takes the handover that the latest step found, and its time. The channel then gets another decoder.
    fn take_handover(&mut self) -> Option<(Handover, Timestamp)>;

    /// Positions in `direction` that hold nothing to decode and nothing to keep, from the next one on. The probes need not
    /// copy these bytes.
    fn unwanted(&self, direction: u8, body_limit: usize) -> Option<Range<u64>>;

    /// The role of the target, once known.
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

    /// The connection was made by a connect that tracing observed.
    fn connected(&mut self, connect: Connect);

    /// The connection existed before tracing, and the kernel tells how far it is.
    fn joined(&mut self, progress: Progress, mark: &Mark, context: &mut Context<'_>);

    /// Memory counted against the limits of the context. Whoever drops the decoder subtracts it.
    fn memory(&self) -> Memory;
}

/// A connection, shared.
pub type ConnectionInfoRef = std::sync::Arc<ConnectionInfo>;

/// How and when a connection ended.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// By whom.
    pub ending: Ending,
    /// Error number that a call returned, if any.
    pub error: Option<i32>,
    /// When.
    pub time: Timestamp,
}

/// A change of the protocol on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The bytes belong to another protocol than the decoder's: the first of them.
    NotThis(Vec<u8>),
    /// Both sides agreed on another protocol: its name in `Upgrade`, or `CONNECT`.
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
