//! Exchanges in progress.

use std::sync::Arc;

use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Role},
        exchange::{
            Body, Exchange, ExchangeId, InterimResponse, Misfit, OpenExchange, Outcome, ProcessRef, Quality, Request,
            Response, Scheme, Timing,
        },
    },
    stream::GapCause,
};

/// An exchange in progress.
///
/// The request (`request_done`) and the final response (`response_done`) end independently. A response may end before
/// its request does (RFC 9112 section 9.5, an early error).
#[derive(Debug)]
pub(super) struct Draft {
    /// Sequence number among the drafts of the connection.
    pub(super) key: u64,
    /// ID in the trace; assigned once the draft is certain to be an exchange.
    pub(super) number: Option<ExchangeId>,
    pub(super) process: ProcessRef,
    /// Thread of the request; once the response head was seen, thread of the response.
    pub(super) thread: u32,
    pub(super) started: Timestamp,
    /// Stream position of the first byte of the request.
    pub(super) request_start: u64,
    /// Stream position after the last byte of the request, once that byte was seen.
    pub(super) request_stop: Option<u64>,
    /// Stream position of the response direction when the last byte of the request was seen.
    pub(super) response_position: u64,
    /// Stream position from which later requests are missing.
    pub(super) lost_after: Option<u64>,
    /// The exchange was in flight when tracing began; its request was not seen in full.
    pub(super) late: bool,
    pub(super) request: Option<Request>,
    pub(super) request_done: bool,
    pub(super) interim: Vec<InterimResponse>,
    pub(super) response: Option<Response>,
    pub(super) response_done: bool,
    pub(super) timing: Timing,
    pub(super) quality: Quality,
    pub(super) outcome: Option<Outcome>,
    pub(super) error: Option<i32>,
    pub(super) request_misfit: Misfit,
    pub(super) response_misfit: Misfit,
    /// Longest time between two parts of the response, in nanoseconds.
    pub(super) longest_pause: u64,
}

impl Draft {
    pub(super) fn new(key: u64, process: ProcessRef, started: Timestamp) -> Self {
        Self {
            key,
            number: None,
            thread: process.tid,
            process,
            started,
            request_start: 0,
            request_stop: None,
            response_position: 0,
            lost_after: None,
            late: false,
            request: None,
            request_done: false,
            interim: Vec::new(),
            response: None,
            response_done: false,
            timing: Timing::default(),
            quality: Quality::Whole,
            outcome: None,
            error: None,
            request_misfit: Misfit::default(),
            response_misfit: Misfit::default(),
            longest_pause: 0,
        }
    }

    /// Bytes of memory that a draft takes without its messages.
    pub(super) const WEIGHT: usize = size_of::<Self>();

    /// Bytes of memory that the draft takes without the content of its messages.
    pub(super) fn weight(&self) -> usize {
        let request = self.request.as_ref().map_or(0, Request::weight);
        let response = self.response.as_ref().map_or(0, Response::weight);
        let interim: usize = self.interim.iter().map(InterimResponse::weight).sum();
        Self::WEIGHT + request + response + interim
    }

    /// Lowers the quality to `quality`, unless it is already worse.
    pub(super) fn degrade(&mut self, quality: Quality) {
        self.quality = self.quality.max(quality);
    }

    pub(super) fn is_over(&self) -> bool {
        self.request_done && self.response_done
    }

    /// Whether no part of the final response was seen.
    pub(super) fn unanswered(&self) -> bool {
        !self.response_done && self.response.is_none()
    }

    /// Records that another part of the response arrived at `time`.
    pub(super) fn response_went_on(&mut self, time: Timestamp) {
        if let Some(last) = self.timing.response_end {
            self.longest_pause = self.longest_pause.max(time.since(last));
        }
        self.timing.response_end = Some(time);
    }

    /// Ends the request early; `left` is the number of content bytes that the framing still expects, if a length states
    /// it. A client that sent `Expect: 100-continue` and was refused keeps its content (RFC 9110 section 10.1.1): that
    /// request is not cut.
    pub(super) fn cut_request(&mut self, left: Option<u64>) {
        self.request_done = true;
        let withheld = |request: &Request| request.body.bytes == 0 && request.headers.get("expect").is_some();
        if !self.request.as_ref().is_some_and(withheld) {
            self.request_misfit.cut = left.unwrap_or(0);
            self.degrade(Quality::Cut);
        }
    }

    /// Marks the response as cut; `left` is the number of content bytes that the framing still expects.
    pub(super) fn cut_response(&mut self, left: Option<u64>) {
        self.response_misfit.cut = left.unwrap_or(0);
        self.degrade(Quality::Cut);
    }

    /// Whether the response was still flowing when the client closed the connection at `end`, as opposed to a client
    /// that waited in vain. A stream is silent between its parts, so the longest earlier pause sets the scale.
    pub(super) fn flowed_until(&self, end: Timestamp) -> bool {
        let (Some(response), Some(last)) = (&self.response, self.timing.response_end) else { return false };
        let silence = end.since(last);
        silence < SHORT_SILENCE_NS || silence <= self.longest_pause.saturating_mul(2) || is_stream(response)
    }

    pub(super) fn into_exchange(self, number: ExchangeId, role: Role, connection: Arc<ConnectionInfo>) -> Exchange {
        Exchange {
            id: number,
            role,
            outcome: self.outcome.unwrap_or(Outcome::Complete),
            quality: self.quality,
            started: self.started,
            process: self.process,
            stream: None,
            scheme: Scheme::of(&connection),
            connection,
            request: self.request,
            interim: self.interim,
            response: self.response,
            messages: None,
            request_misfit: self.request_misfit,
            response_misfit: self.response_misfit,
            timing: self.timing,
            error: self.error,
            incidents: Vec::new(),
        }
    }

    /// View of the current state.
    pub(super) fn view<'a>(&'a self, role: Role, connection: &'a Arc<ConnectionInfo>) -> OpenExchange<'a> {
        OpenExchange {
            id: self.number.unwrap_or(ExchangeId(0)),
            role,
            started: self.started,
            process: &self.process,
            thread: self.thread,
            connection,
            stream: None,
            scheme: Scheme::of(connection),
            request: self.request.as_ref(),
            request_done: self.request_done,
            interim: &self.interim,
            response: self.response.as_ref(),
            response_done: self.response_done,
            messages: None,
            timing: &self.timing,
            quality: self.quality,
            late: self.late,
        }
    }
}

/// Longest silence in nanoseconds after which a closing client counts as not having waited. Read timeouts are longer.
const SHORT_SILENCE_NS: u64 = 100_000_000;

/// Whether the content type is one of an endless stream, which ends when its client has seen enough.
fn is_stream(response: &Response) -> bool {
    const TYPES: [&[u8]; 6] = [
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/stream+json",
        b"application/json-seq",
        b"multipart/x-mixed-replace",
        b"application/json;stream=watch",
    ];
    let Some(value) = response.headers.get("content-type") else { return false };
    TYPES.iter().any(|name| value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

/// Appends content to a body. Keeps bytes up to `limit` and up to the first missing byte. Returns the number of bytes
/// kept.
pub(super) fn append(body: &mut Body, bytes: &[u8], limit: usize) -> usize {
    let before = body.captured.len();
    if body.captured.len() as u64 == body.bytes && body.captured.len() < limit {
        let keep = bytes.len().min(limit - body.captured.len());
        body.captured.extend_from_slice(&bytes[..keep]);
    }
    body.bytes += bytes.len() as u64;
    body.captured.len() - before
}

/// Appends missing content to a body. Returns whether the body lacks bytes that would have been kept, or bytes that
/// capture did not leave out on purpose.
pub(super) fn append_gap(body: &mut Body, length: u64, cause: GapCause, limit: usize) -> bool {
    let wanted = length.min((limit as u64).saturating_sub(body.bytes));
    body.missing += wanted;
    body.bytes += length;
    wanted > 0 || matches!(cause, GapCause::Lost | GapCause::Fault)
}
