//! Evidence of a call that hangs.

mod result;
mod socket;
mod thread;
mod verdict;

pub use result::HangResult;
pub use socket::Sockets;

pub use thread::{Doing, ThreadFact};
pub use verdict::{Phase, Reason, WaitingOn};

use crate::model::exchange::ExchangeId;

/// A call of the target that another of its calls waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// ID of its exchange, if there is one.
    pub exchange: Option<ExchangeId>,
    /// Remote address of the call.
    pub remote: Box<str>,
    /// Evidence of the link: `same socket`, `same thread`, `time`.
    pub by: &'static str,
}

/// Call to which the hang belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Method, if a request was seen.
    pub method: Option<Box<str>>,
    /// Authority of the request, or the peer's address.
    pub authority: Box<str>,
    /// Remote address if it differs from the authority; `None` for an inbound call.
    pub address: Option<Box<str>>,
    /// Path with query; empty without a request.
    pub path: Box<str>,
    /// Whether the target responds to the peer's request.
    pub inbound: bool,
}

/// A call that hangs or has hung.
#[derive(Clone, Debug)]
pub struct HangEvidence {
    /// The call.
    pub call: Call,
    /// Phase of the call.
    pub phase: Phase,
    /// Party that does not move.
    pub waiting_on: WaitingOn,
    /// Evidence for `waiting_on`.
    pub reason: Reason,
    /// Nanoseconds since the start, or total duration.
    pub age: u64,
    /// Whether the call started before tracing, so that its true age is higher.
    pub age_is_lower_bound: bool,
    /// Nanoseconds since the last progress.
    pub stalled: u64,
    /// Silence in nanoseconds after which the call counts as hanging.
    pub threshold: u64,
    /// Current state, or how the call ended.
    pub result: HangResult,
    /// Kernel state of the connection.
    pub socket: Option<Sockets>,
    /// States of the related threads of the target.
    pub threads: Vec<ThreadFact>,
    /// Activity of the thread that has to act, which is the first of `threads`.
    pub doing: Option<Doing>,
    /// Whether the choice of that thread, or of `outbound`, is uncertain.
    pub doing_is_likely: bool,
    /// Call of the target that this call waits for.
    pub outbound: Option<Outbound>,
    /// Timeout in nanoseconds that the target evidently uses, if it gave up.
    pub timeout: Option<u64>,
    /// Number of consecutive calls of this kind that were given up after this timeout.
    pub equal_timeouts: u32,
    /// Number of calls that hang now, including this one.
    pub hanging: u32,
    /// Possible intention behind the silence: `stream` or `long_poll`.
    pub perhaps_on_purpose: Option<&'static str>,
    /// Part that moved last: `request`, `interim_response`, `response_head_begun`, `response_head`, `response_content`.
    pub moved_last: Option<&'static str>,
    /// Status of the response, if the call ended with one.
    pub status: Option<u16>,
    /// Whether the client of the target has closed.
    pub client_gone: bool,
    /// Number of calls that the process has abandoned in the same way, including this one: it holds them, and nothing
    /// reads them.
    pub forgotten: u32,
    /// Whether the connection is a Unix socket, so that no other host is involved.
    pub unix: bool,
    /// Whether the process has given up similar calls before, so that it has a timeout.
    pub has_timeout: bool,
}
