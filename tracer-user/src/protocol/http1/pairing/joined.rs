//! Responses on a connection that was joined in the middle, before a request was seen.
//!
//! What looks like a status line there is one, where tracing began between a request and its response; or it is content
//! of a response whose head went by, which may be HTTP text (a log, a capture) and be read line by line. The next bytes
//! tell: a client that does not pipeline sends a request before the next response comes (RFC 9112 section 9.3). So a
//! response is held back until a request begins, the connection ends, or nothing moves for a moment. Where more comes
//! without a request, all of it is content of the one exchange that was under way.

use super::{super::draft::Draft, Answering, Pairing};
use crate::{model::exchange::Quality, protocol::context::Context, stream::Mark};

impl Pairing {
    /// Whether the status line at `mark` continues what came before it: no request was seen in between.
    pub(super) fn is_content(&self, mark: &Mark) -> bool {
        if !self.joined || self.request_seen {
            return false;
        }
        // After the rest of a response, bytes of the requests' direction may be those of a request that is under way.
        let followed = self.turn.is_some_and(|turn| turn.requests == mark.opposite);
        self.held_back.is_some() || (self.tail_seen && followed)
    }

    /// The response that is held back, and what comes at `mark`, are content of the exchange that was under way.
    pub(super) fn disbelieve_response(&mut self, mark: &Mark, context: &mut Context<'_>) {
        self.held_back = None;
        self.tail_seen = true;
        self.responses.pass_over(mark.opposite);
        match std::mem::replace(&mut self.answering, Answering::Nothing) {
            Answering::Orphan(draft) => self.waiting.push_front(*draft),
            Answering::Exchange(_) | Answering::Nothing => {}
        }
        let Some(draft) = self.waiting.front_mut().filter(|draft| !draft.response_done) else { return };
        if let Some(response) = draft.response.take() {
            *context.open_bytes = context.open_bytes.saturating_sub(response.body.captured.len());
        }
        draft.late = true;
        draft.quality = Quality::JoinedLate;
        draft.outcome = None;
        draft.response_misfit = crate::model::exchange::Misfit::default();
        (draft.timing.response_start, draft.timing.end) = (None, None);
        draft.timing.response_end = Some(mark.time);
    }

    /// Nothing speaks against the response that is held back.
    pub(super) fn believe_response(&mut self, context: &mut Context<'_>) {
        if self.held_back.take().is_none() {
            return;
        }
        if let Some(draft) = self.answered() {
            draft.response_done = true;
        }
        self.finish_orphan(context);
        self.emit(context);
    }

    /// The first request begins at `mark`: what was held back is a response. One with content that only the end of the
    /// connection ends is none, for the connection goes on.
    pub(super) fn first_request(&mut self, mark: &Mark, context: &mut Context<'_>) {
        if !self.joined || self.request_seen {
            return;
        }
        let with_content = |draft: &Draft| draft.response.as_ref().is_some_and(|response| response.body.bytes > 0);
        if self.responses.until_close() && self.answered().is_some_and(|draft| with_content(draft)) {
            self.disbelieve_response(mark, context);
        }
        self.request_missed(context);
    }

    /// A request may be among bytes that are missing: what was held back is perhaps a response.
    pub(super) fn request_missed(&mut self, context: &mut Context<'_>) {
        self.tail_seen = false;
        self.believe_response(context);
    }
}
