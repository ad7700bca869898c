//! The direction of requests, where exchanges begin.

use super::{
    super::{
        draft::{Draft, append, append_gap},
        framing::{Delimiters, Framing},
        head::{Head, StartLine},
        parser::{Input, Item},
    },
    Answering, FEW_WAITING, MAX_WAITING, Pairing, SMALL_HEAD, report,
};
use crate::{
    model::exchange::{Fields, Quality, Request, Step},
    protocol::context::{Context, MAX_OPEN_BYTES, opposite},
    stream::{Mark, Piece},
};

impl Pairing {
    /// Takes a piece of the direction of requests.
    pub(in crate::protocol::http1) fn request_piece(&mut self, piece: Piece<'_>, context: &mut Context<'_>) {
        if self.request_unseen {
            return;
        }
        if self.last_response_end == 0 {
            self.last_response_end = context.next_in(opposite(self.direction_of_requests())).unwrap_or_default();
        }
        let mark = *piece.mark();
        let length = piece.length();
        self.requests_end = mark.position + length;
        if let Piece::Bytes(bytes, mark) = &piece
            && mark.boundary
        {
            self.cut_answered_request(bytes, mark, context);
        }
        match piece {
            Piece::Bytes(bytes, mark) => {
                let mut input = Input { bytes, mark };
                loop {
                    let item = self.requests.next(&mut input);
                    if item == Item::NeedMore {
                        break;
                    }
                    self.request_item(item, &input.mark, context);
                }
            }
            Piece::Gap(mut left, cause, mark) => {
                self.request_missed(context);
                loop {
                    let item = self.requests.gap(&mut left, cause);
                    if item == Item::NeedMore {
                        break;
                    }
                    self.request_item(item, &mark, context);
                }
            }
        }
        self.settle(context);
        if *context.open_bytes > MAX_OPEN_BYTES && self.requests.held() > SMALL_HEAD {
            let item = self.requests.give_up();
            self.request_item(item, &mark, context);
            self.settle(context);
        }
    }

    pub(super) fn request_item(&mut self, item: Item<'_>, mark: &Mark, context: &mut Context<'_>) {
        match item {
            Item::NeedMore => {}
            Item::Begin(start) => self.begin_request(&start, context),
            Item::Head(head) => {
                let framing = Delimiters::of(&head.headers).request();
                self.requests.begin_body(framing);
                self.proven = true;
                let role = self.role;
                let full = context.is_full();
                let mut kept = 0;
                if let Some(draft) = self.sending() {
                    draft.timing.request_end = Some(mark.time);
                    draft.request = request_of(head);
                    if let Some(request) = &mut draft.request {
                        if full && request.headers.weight() > SMALL_HEAD {
                            request.headers = Fields::default();
                            request.authority.take_if(|authority| authority.len() > SMALL_HEAD);
                            draft.quality = draft.quality.max(Quality::HeaderGap);
                        }
                        kept = request.weight();
                    }
                    if framing == Framing::UntilClose {
                        // Only framing ends a request, so this framing is invalid (RFC 9112 section 6.3).
                        draft.degrade(Quality::Unframed);
                    }
                    report(Step::RequestHead, draft, role, context);
                }
                self.keep(kept, context);
            }
            Item::Body(bytes) => {
                let limit = context.body_room();
                if let Some(draft) = self.sending() {
                    draft.timing.request_end = Some(mark.time);
                    if let Some(request) = &mut draft.request {
                        *context.open_bytes += append(&mut request.body, bytes, limit);
                    }
                }
            }
            Item::BodyGap(length, cause) => {
                let limit = context.body_limit;
                if let Some(draft) = self.sending() {
                    draft.timing.request_end = Some(mark.time);
                    if let Some(request) = &mut draft.request
                        && append_gap(&mut request.body, length, cause, limit)
                    {
                        draft.degrade(Quality::BodyGap);
                    }
                }
            }
            Item::End(trailers) => {
                let role = self.role;
                self.keep(trailers.weight(), context);
                if let Some(draft) = self.sending() {
                    if let Some(request) = &mut draft.request {
                        request.trailers = trailers;
                    }
                    draft.request_done = true;
                    draft.request_stop = Some(mark.position);
                    report(Step::RequestDone, draft, role, context);
                }
                self.emit(context);
            }
            Item::Broken => {
                if let Some(draft) = self.sending() {
                    draft.degrade(Quality::HeaderGap);
                    draft.request_done = true;
                }
                self.request_gap = true;
                self.request_lost = true;
                if let Some(draft) = self.waiting.back_mut() {
                    draft.lost_after.get_or_insert(mark.position);
                }
                self.lost = true;
                self.give_up_if_unsure();
                self.emit(context);
            }
            Item::Unframed { missing } => {
                if let Some(draft) = self.sending() {
                    draft.degrade(if missing { Quality::HeaderGap } else { Quality::Unframed });
                    draft.lost_after.get_or_insert(mark.position);
                }
                self.lost = true;
                self.give_up_if_unsure();
                self.emit(context);
            }
            Item::Stray(length) => {
                if let Some(draft) = self.sending() {
                    draft.timing.request_end = Some(mark.time);
                    draft.request_misfit.stray += length;
                }
            }
            Item::Cut => {
                if let Some(draft) = self.sending() {
                    draft.cut_request(None);
                }
            }
            Item::Garbage(first, length, total) => {
                if self.sending().is_some() && self.requests.in_resync() {
                    // The bytes that seemed to begin a head are none.
                    if let Some(draft) = self.sending() {
                        draft.degrade(Quality::Unframed);
                        draft.request_done = true;
                    }
                } else {
                    self.stray_request(total, mark);
                }
                if !self.proven && !self.joined {
                    self.suspected(&first[..length], total);
                }
                self.emit(context);
            }
            Item::Skipped(length) => {
                if !self.proven && self.suspect.is_some() {
                    self.suspected(&[], length);
                }
                if self.stray > 0 {
                    self.stray_request(length, mark);
                }
                if self.joined && !self.request_seen && self.waiting.is_empty() {
                    self.begin_late(mark, context);
                }
            }
        }
    }

    /// Counts bytes that are not a request. They belong to the previous request, unless that was answered.
    fn stray_request(&mut self, length: u64, mark: &Mark) {
        if self.stray == 0 {
            self.stray_mark = Mark { position: mark.position.saturating_sub(length), ..*mark };
        }
        self.stray += length;
        if let Some(draft) = self.waiting.back_mut().filter(|draft| draft.request_done && draft.unanswered())
            && draft.request_stop.is_some()
        {
            draft.request_misfit.stray += length;
            draft.request_stop = Some(mark.position);
            draft.degrade(Quality::Unframed);
        }
    }

    /// Ends a request that was answered before it was complete and never continues: after a refusal its client keeps
    /// the content that it announced with `Expect` (RFC 9110 section 10.1.1), or invalid framing hides its end. If
    /// the client has read the whole answer and then begins a call with a request line, that is the next request.
    fn cut_answered_request(&mut self, bytes: &[u8], mark: &Mark, context: &mut Context<'_>) {
        if !(self.requests.in_content() || self.requests.until_close())
            || self.closes
            || self.at_rest(mark).is_none()
            || !self.requests.is_start(bytes)
        {
            return;
        }
        let (left, until_close) = (self.requests.content_left(), self.requests.until_close());
        // With its framing lost, any response since then may answer it.
        let answered = if self.requests.is_unframed() { mark.opposite } else { 0 };
        match self.sending() {
            Some(draft) if !draft.response_done && answered <= draft.response_position => return,
            Some(draft) if until_close => draft.request_done = true,
            Some(draft) => draft.cut_request(left),
            None => {}
        }
        self.requests.cut_short();
        self.emit(context);
    }

    /// The exchange whose request is being read: the newest.
    pub(super) fn sending(&mut self) -> Option<&mut Draft> {
        self.waiting.back_mut().filter(|draft| !draft.request_done)
    }

    pub(super) fn begin_request(&mut self, mark: &Mark, context: &mut Context<'_>) {
        self.proven = true;
        self.first_request(mark, context);
        self.request_seen = true;
        self.stray = 0;
        self.take_up(mark, context);
        let after_gap = std::mem::take(&mut self.request_gap);
        // A message that ended by loss, or early, leaves its request pending.
        if let Some(draft) = self.sending() {
            draft.request_done = true;
        }
        // Nothing was read between the previous request and this one.
        let behind = self
            .waiting
            .back()
            .is_some_and(|draft| !draft.late && !draft.response_done && draft.response_position == mark.opposite);
        if self.waiting.iter().any(|draft| !draft.response_done) && !self.desynchronized {
            if self.waiting.iter().all(|draft| draft.late || draft.response_done) && !self.pipelined {
                // Every exchange from before tracing is over: the next request is being sent.
                let without_content = |draft: &Draft| draft.response.as_ref().is_some_and(|r| r.body.bytes == 0);
                if self.answered().is_some_and(|draft| without_content(draft)) {
                    self.responses.cut_short();
                }
                self.finish_waiting(self.waiting.len(), None);
                self.answering = Answering::Nothing;
            } else if behind {
                self.pipelined = true;
                self.seen_pipelined |= !after_gap;
                self.give_up_if_unsure();
            }
            // Otherwise bytes of responses moved in between: they will tell which request they answer, or that they
            // are lost.
        }
        if after_gap && mark.opposite <= self.last_response_end {
            // No response came between the lost requests and this one: it was pipelined behind them.
            self.pipelined = true;
            self.give_up_if_unsure();
        }
        self.end_unasked_response(context);
        let mut draft = self.draft(mark, context);
        draft.timing.request_start = Some(mark.time);
        draft.timing.request_end = Some(mark.time);
        if self.desynchronized {
            draft.degrade(Quality::HeaderGap);
            draft.response_done = true;
        }
        self.waiting.push_back(draft);
        self.keep(Draft::WEIGHT, context);
        if self.waiting.len() > if context.is_full() { FEW_WAITING } else { MAX_WAITING } {
            self.finish_waiting(1, Some(Quality::HeaderGap));
            self.desynchronize();
        }
        self.emit(context);
    }

    /// A response without a known request is over when the next request is sent. If none of its content has come by
    /// then, it answered a HEAD, and has none (RFC 9110 section 9.3.2).
    pub(super) fn end_unasked_response(&mut self, context: &mut Context<'_>) {
        let Answering::Orphan(draft) = &self.answering else { return };
        let without_content = draft.response.as_ref().is_some_and(|response| response.body.bytes == 0);
        if self.pipelined || !(self.responses.in_resync() || without_content) {
            return;
        }
        if without_content {
            self.responses.cut_short();
        }
        self.finish_orphan(context);
    }

    /// The direction of requests is over; responses may continue (a half-closed connection).
    pub(in crate::protocol::http1) fn requests_ended(&mut self, context: &mut Context<'_>) {
        self.show_partial_heads();
        let (left, until_close) = (self.requests.content_left(), self.requests.until_close());
        let item = self.requests.close();
        let mark = Mark::default();
        if let Item::End(_) = item {
            self.request_item(item, &mark, context);
        } else if let Some(draft) = self.sending() {
            if until_close { draft.request_done = true } else { draft.cut_request(left) }
        }
        self.emit(context);
    }
}

pub(super) fn request_of(head: Head) -> Option<Request> {
    let StartLine::Request { method, target } = head.start else {
        return None;
    };
    Some(Request::new(method, target, head.version, head.headers))
}
