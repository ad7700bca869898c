//! Exchanges: one request and its responses (RFC 9110 section 3.4), as far as they were observed.

mod failure;
mod inner;
mod message;
mod outcome;
mod timing;

use std::sync::Arc;

pub use failure::{Answer, Failure};
pub use inner::{InnerMessage, InnerMessages, Sent};
pub use message::{Body, Fields, InterimResponse, Request, Response, Scheme, Span, Version};
pub use outcome::{Outcome, Quality};
pub use timing::{Connect, FOLLOWS_CONNECT_NS, Timing};

use crate::{
    event::Timestamp,
    model::connection::{ConnectionInfo, Role},
};

/// Number of an exchange in this trace: 1, 2, 3 in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Number of an incident in this trace: 1, 2, 3 in the order in which they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub u64);

/// Number of a stream on its connection, as the protocol numbers streams (RFC 9113 section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// The process and thread that moved the first byte of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Process name (`comm`).
    pub name: Arc<str>,
}

/// Bytes of a message that do not fit its framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Bytes that the message's length announced, and that did not come before the next message or the end.
    pub cut: u64,
    /// Bytes that came with the message or after it, and that no framing covers.
    pub stray: u64,
}

/// One request and its responses, whatever the protocol.
///
/// Several exchanges may be open on one connection. Where the protocol multiplexes, `stream` tells them apart, and they end
/// in any order. Without a stream they are pipelined: each waits for the one before it (RFC 9112 section 9.3.2).
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Number in this trace.
    pub id: ExchangeId,
    /// Role of the target.
    pub role: Role,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// How much was observed.
    pub quality: Quality,
    /// Start of the connect that was made for the exchange, else time of its first byte.
    pub started: Timestamp,
    /// The process and thread that began it.
    pub process: ProcessRef,
    /// The connection that carries it.
    pub connection: Arc<ConnectionInfo>,
    /// The stream on that connection; `None` where the protocol has no streams.
    pub stream: Option<StreamId>,
    /// Scheme of the request's URI.
    pub scheme: Scheme,
    /// The request; `None` where its head was not observed.
    pub request: Option<Request>,
    /// Interim responses before the final one.
    pub interim: Vec<InterimResponse>,
    /// The final response; `None` where its head was not observed, or none came.
    pub response: Option<Response>,
    /// Messages inside the exchange; `None` where its protocol has none.
    pub messages: Option<Box<InnerMessages>>,
    /// Bytes of the request that do not fit its framing.
    pub request_misfit: Misfit,
    /// Bytes of the response that do not fit its framing.
    pub response_misfit: Misfit,
    /// Times of its phases.
    pub timing: Timing,
    /// Error number with which a call ended the exchange, positive.
    pub error: Option<i32>,
    /// Incidents that the exchange belonged to when it ended.
    pub incidents: Vec<IncidentId>,
}

/// Duration in nanoseconds above which an exchange is called slow: a person who waits notices a second.
pub const SLOW_NS: u64 = 1_000_000_000;

impl Exchange {
    /// Whether the exchange is over and took longer than [`SLOW_NS`].
    pub fn is_slow(&self) -> bool {
        self.end().is_some_and(|end| end.since(self.started) > SLOW_NS)
    }

    /// When the exchange ended; `None` while it is pending, whatever was observed of it.
    pub fn end(&self) -> Option<Timestamp> {
        self.timing.end.filter(|_| self.outcome != Outcome::InFlight)
    }

    /// Whether the exchange is a connect that failed, so that no request could be sent.
    pub fn never_connected(&self) -> bool {
        self.request.is_none() && self.timing.connect_start.is_some() && self.timing.connect_end.is_none()
    }

    /// Bytes of memory, approximately.
    pub fn weight(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |request| request.weight() + request.body.captured.capacity());
        let response =
            self.response.as_ref().map_or(0, |response| response.weight() + response.body.captured.capacity());
        let interim: usize = self.interim.iter().map(InterimResponse::weight).sum();
        let messages = self.messages.as_ref().map_or(0, |messages| messages.weight());
        size_of::<Self>() + request + response + interim + messages
    }
}

/// A pending exchange, as far as it was observed. Borrowed from the decoder.
#[derive(Clone, Copy, Debug)]
pub struct OpenExchange<'a> {
    /// Number in this trace.
    pub id: ExchangeId,
    /// Role of the target.
    pub role: Role,
    /// Start of the connect that was made for the exchange, else time of its first byte.
    pub started: Timestamp,
    /// The process and thread that began it.
    pub process: &'a ProcessRef,
    /// The thread that moved the latest bytes: first those of the request, then those of the response.
    pub thread: u32,
    /// The connection that carries it.
    pub connection: &'a Arc<ConnectionInfo>,
    /// The stream on that connection; `None` where the protocol has no streams.
    pub stream: Option<StreamId>,
    /// Scheme of the request's URI.
    pub scheme: Scheme,
    /// The request, once its head was observed; its body up to now.
    pub request: Option<&'a Request>,
    /// The request was observed to its end, or no more of it will come.
    pub request_done: bool,
    /// Interim responses up to now.
    pub interim: &'a [InterimResponse],
    /// The final response, once its head was observed; its body up to now.
    pub response: Option<&'a Response>,
    /// The response was observed to its end (and the request was not), or no more of it will come.
    pub response_done: bool,
    /// Messages inside the exchange up to now.
    pub messages: Option<&'a InnerMessages>,
    /// Times of its phases up to now; an end is the time of the latest bytes.
    pub timing: &'a Timing,
    /// How much was observed.
    pub quality: Quality,
    /// The exchange began before tracing, earlier than `started`.
    pub late: bool,
}

impl OpenExchange<'_> {
    /// Copies the exchange: in flight, and up to `now`.
    pub fn to_exchange(&self, now: Timestamp) -> Exchange {
        Exchange {
            id: self.id,
            role: self.role,
            outcome: Outcome::InFlight,
            quality: self.quality,
            started: self.started,
            process: self.process.clone(),
            connection: Arc::clone(self.connection),
            stream: self.stream,
            scheme: self.scheme,
            request: self.request.cloned(),
            interim: self.interim.to_vec(),
            response: self.response.cloned(),
            messages: self.messages.cloned().map(Box::new),
            request_misfit: Misfit::default(),
            response_misfit: Misfit::default(),
            timing: Timing { end: Some(now), ..*self.timing },
            error: None,
            incidents: Vec::new(),
        }
    }

    /// Whether the copy, made earlier, differs from the exchange by its end alone.
    pub fn is_as_in(&self, copy: &Exchange) -> bool {
        let size = |request: Option<&Request>, response: Option<&Response>, messages: Option<&InnerMessages>| {
            let bodies = (request.map(|request| request.body.bytes), response.map(|response| response.body.bytes));
            (bodies, messages.map(|messages| (messages.client, messages.server)))
        };
        copy.id == self.id
            && size(copy.request.as_ref(), copy.response.as_ref(), copy.messages.as_deref())
                == size(self.request, self.response, self.messages)
            && copy.connection.protocol == self.connection.protocol
            && Timing { end: None, ..copy.timing } == Timing { end: None, ..*self.timing }
    }
}

/// A step of a pending exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The head of the request was observed.
    RequestHead,
    /// The request is over.
    RequestDone,
    /// The head of the final response was observed.
    ResponseHead,
}
