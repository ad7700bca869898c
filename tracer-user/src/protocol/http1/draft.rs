//! An exchange while it is being put together.

use std::sync::Arc;

use crate::{
    connection::{ConnectionInfo, Role},
    event::Timestamp,
    exchange::{
        Body, Exchange, ExchangeId, InterimResponse, OpenExchange, Outcome, ProcessRef, Quality, Request, Response,
        Timing,
    },
    reassembly::GapCause,
};

/// An exchange while it is being put together.
///
/// Two things end independently: the request (`request_done`) and the final response (`response_done`); a response may
/// be over before its request is (RFC 9112 section 9.5, an early error).
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: ExchangeId,
    pub(super) process: ProcessRef,
    /// Of the response, once its head was seen.
    pub(super) thread: u32,
    pub(super) started: Timestamp,
    /// Position of the request's first byte in its direction.
    pub(super) request_start: u64,
    /// Position after the request's last byte, once that was seen.
    pub(super) request_stop: Option<u64>,
    /// Where the responses' direction stood when that byte was seen.
    pub(super) response_position: u64,
    /// Requests that followed this one are missing, from this position of their direction on.
    pub(super) lost_after: Option<u64>,
    /// It was under way when tracing began, and stands for whatever was not seen.
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
}

impl Draft {
    pub(super) fn new(id: ExchangeId, process: ProcessRef, started: Timestamp) -> Self {
        Self {
            id,
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
        }
    }

    /// Lowers the quality to `quality`, unless it is worse already.
    pub(super) fn degrade(&mut self, quality: Quality) {
        self.quality = self.quality.max(quality);
    }

    pub(super) fn is_over(&self) -> bool {
        self.request_done && self.response_done
    }

    /// Nothing was seen of the final response.
    pub(super) fn unanswered(&self) -> bool {
        !self.response_done && self.response.is_none()
    }

    pub(super) fn into_exchange(self, role: Role, connection: Arc<ConnectionInfo>) -> Exchange {
        Exchange {
            id: self.id,
            role,
            outcome: self.outcome.unwrap_or(Outcome::Complete),
            quality: self.quality,
            started: self.started,
            process: self.process,
            connection,
            request: self.request,
            interim: self.interim,
            response: self.response,
            timing: self.timing,
            error: self.error,
            incidents: Vec::new(),
        }
    }

    /// What is known of it now.
    pub(super) fn view<'a>(&'a self, role: Role, connection: &'a Arc<ConnectionInfo>) -> OpenExchange<'a> {
        OpenExchange {
            id: self.id,
            role,
            started: self.started,
            process: &self.process,
            thread: self.thread,
            connection,
            request: self.request.as_ref(),
            request_done: self.request_done,
            interim: &self.interim,
            response: self.response.as_ref(),
            response_done: self.response_done,
            timing: &self.timing,
            quality: self.quality,
            late: self.late,
        }
    }
}

/// Adds content to a body; the first `limit` bytes are kept, up to the first missing one. Gives the number kept.
pub(super) fn append(body: &mut Body, bytes: &[u8], limit: usize) -> usize {
    let before = body.captured.len();
    if body.captured.len() as u64 == body.bytes && body.captured.len() < limit {
        let keep = bytes.len().min(limit - body.captured.len());
        body.captured.extend_from_slice(&bytes[..keep]);
    }
    body.bytes += bytes.len() as u64;
    body.captured.len() - before
}

/// Adds missing content to a body. Tells whether anything that matters is missing: bytes that would have been kept, or
/// bytes that should have come.
pub(super) fn append_gap(body: &mut Body, length: u64, cause: GapCause, limit: usize) -> bool {
    let wanted = length.min((limit as u64).saturating_sub(body.bytes));
    body.missing += wanted;
    body.bytes += length;
    wanted > 0 || matches!(cause, GapCause::Lost | GapCause::Fault)
}
