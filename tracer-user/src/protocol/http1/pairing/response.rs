//! The direction of responses: the request that a response answers, and how exchanges end.

use super::{
    super::{
        draft::{Draft, append, append_gap},
        framing::{Delimiters, Framing},
        head::{Head, StartLine},
        parser::{Input, Item},
    },
    Answering, PIPELINING_SLACK, Pairing, SMALL_HEAD, Turn, finish, report,
};
use crate::{
    model::exchange::{Body, Fields, InterimResponse, Outcome, Quality, Response, Step},
    protocol::{
        context::{Context, MAX_OPEN_BYTES},
        decode::Handover,
    },
    stream::{Mark, Piece},
};

/// Interim responses kept of an exchange, and the bytes of their headers after which no more are kept. Servers send
/// one or two.
const MAX_INTERIM: usize = 16;
const MAX_INTERIM_BYTES: usize = 64 * 1024;

impl Pairing {
    /// Whether the response piece at `mark` must wait: it begins a response, and the event of the request that it
    /// answers has not arrived (a thread that returned later from its call).
    pub(in crate::protocol::http1) fn must_wait(&self, mark: &Mark, request_next: Option<u64>) -> bool {
        self.responses.at_start()
            && !self.desynchronized
            && request_next.is_some_and(|next| next < mark.opposite)
            && (self.response_gap
                || !self.waiting.iter().any(|draft| !draft.response_done && draft.request_start < mark.opposite))
    }

    /// Takes a piece of the direction of responses.
    pub(in crate::protocol::http1) fn response_piece(&mut self, piece: Piece<'_>, context: &mut Context<'_>) {
        let mark = *piece.mark();
        let length = piece.length();
        match piece {
            Piece::Bytes(bytes, mark) => {
                if mark.boundary {
                    self.cut_superseded_response(bytes, &mark, context);
                }
                let mut input = Input { bytes, mark };
                loop {
                    let item = self.responses.next(&mut input);
                    match item {
                        Item::NeedMore => break,
                        Item::End(_) => self.mark_stray_response(self.responses.stray(input.bytes)),
                        _ => {}
                    }
                    self.response_item(item, &input.mark, context);
                }
            }
            Piece::Gap(mut left, cause, mark) => loop {
                let item = self.responses.gap(&mut left, cause);
                if item == Item::NeedMore {
                    break;
                }
                self.response_item(item, &mark, context);
            },
        }
        self.turn = Some(Turn { responses: mark.position + length, requests: mark.opposite, time: mark.time });
        self.settle(context);
        if *context.open_bytes > MAX_OPEN_BYTES && self.responses.held() > SMALL_HEAD {
            let item = self.responses.give_up();
            self.response_item(item, &mark, context);
            self.settle(context);
        }
    }

    pub(super) fn response_item(&mut self, item: Item<'_>, mark: &Mark, context: &mut Context<'_>) {
        match item {
            Item::NeedMore => {}
            Item::Begin(start) => {
                self.proven = true;
                if self.is_content(&start) {
                    self.disbelieve_response(&start, context);
                    return;
                }
                self.response_seen = true;
                self.request_unseen = false;
                self.response_mark = start;
                self.match_response(&start, context);
            }
            Item::Head(head) => self.response_head(head, mark, context),
            Item::Body(bytes) => {
                let limit = context.body_room();
                if let Some(draft) = self.answered() {
                    draft.response_went_on(mark.time);
                    if let Some(response) = &mut draft.response {
                        *context.open_bytes += append(&mut response.body, bytes, limit);
                    }
                }
            }
            Item::BodyGap(length, cause) => {
                let limit = context.body_limit;
                if let Some(draft) = self.answered() {
                    draft.response_went_on(mark.time);
                    if let Some(response) = &mut draft.response
                        && append_gap(&mut response.body, length, cause, limit)
                    {
                        draft.degrade(Quality::BodyGap);
                    }
                }
            }
            Item::End(trailers) => self.end_response(trailers, mark, context),
            Item::Broken => self.break_response(mark, context),
            Item::Unframed { missing } => {
                if let Some(draft) = self.answered() {
                    draft.degrade(if missing { Quality::HeaderGap } else { Quality::Unframed });
                }
                self.lost = true;
                self.give_up_if_unsure();
                self.emit(context);
            }
            Item::Stray(length) => {
                if let Some(draft) = self.answered() {
                    draft.response_went_on(mark.time);
                    draft.response_misfit.stray += length;
                }
            }
            Item::Cut => {
                if let Some(draft) = self.answered() {
                    draft.cut_response(None);
                }
            }
            Item::Garbage(first, length, _) => self.stray_response(&first[..length], mark, context),
            Item::Skipped(_) => {
                // The rest of a response whose head preceded tracing, or is lost.
                if self.joined && !self.request_seen && self.waiting.is_empty() && !self.desynchronized {
                    self.begin_late(mark, context);
                }
                self.tail_seen |= self.joined && !self.request_seen;
                if let Some(draft) = self.waiting.front_mut().filter(|draft| draft.unanswered()) {
                    draft.timing.response_end = Some(mark.time);
                }
            }
        }
    }

    /// The exchange whose response is being read.
    pub(super) fn answered(&mut self) -> Option<&mut Draft> {
        match &mut self.answering {
            Answering::Nothing => None,
            Answering::Exchange(key) => self.waiting.iter_mut().find(|draft| draft.key == *key),
            Answering::Orphan(draft) => Some(draft),
        }
    }

    /// Finds the request that the response at `mark` answers; see the module's text.
    pub(super) fn match_response(&mut self, mark: &Mark, context: &mut Context<'_>) {
        if let Answering::Orphan(_) = self.answering {
            self.finish_orphan(context);
        }
        self.settle_request(mark, context);
        let sent_before = |draft: &Draft| draft.request_start < mark.opposite || draft.late;
        let open = |draft: &Draft| !draft.response_done && sent_before(draft);
        let index = if self.desynchronized {
            None
        } else if self.response_gap {
            // The response may answer a request that was lost, or has not arrived.
            let all_seen = context.next_in(self.direction_of_requests()).is_none_or(|next| next >= mark.opposite);
            let index = self.waiting.iter().rposition(|draft| open(draft) && draft.response_position <= mark.position);
            index.filter(|index| {
                all_seen && self.waiting[*index].lost_after.is_none_or(|position| position >= mark.opposite)
            })
        } else {
            self.waiting.iter().position(|draft| !draft.response_done).filter(|index| open(&self.waiting[*index]))
        };
        if let Some(stop) = index.and_then(|index| self.waiting[index].request_stop)
            && mark.opposite > stop + PIPELINING_SLACK
        {
            // More than this request had been sent when its answer came.
            self.pipelined = true;
            self.seen_pipelined |= self
                .waiting
                .back()
                .is_some_and(|last| last.request_start >= stop && last.request_start < mark.opposite && !last.late);
            self.give_up_if_unsure();
        }
        if let Some(index) = index.filter(|_| !self.desynchronized) {
            self.finish_waiting(index, Some(Quality::HeaderGap));
            self.response_gap = false;
            self.answering = Answering::Exchange(self.waiting[index].key);
            self.emit(context);
            return;
        }
        let answers_stray = self.stray > 0 && (!self.joined || self.request_seen);
        let begins = if answers_stray { self.stray_mark } else { *mark };
        let mut draft = self.draft(&begins, context);
        if answers_stray {
            draft.timing.request_start = Some(begins.time);
            draft.timing.request_end = Some(begins.time);
            draft.request_misfit.stray = self.stray;
        }
        let all_requests_seen = context.next_in(self.direction_of_requests()).is_none_or(|next| next >= mark.opposite);
        draft.quality = if self.joined && !self.request_seen {
            Quality::JoinedLate
        } else if answers_stray {
            // The request is not HTTP, but was answered.
            Quality::Unframed
        } else if all_requests_seen && !self.request_lost && !self.desynchronized && !self.response_gap {
            // No request asked for it: a 408 on an idle connection (RFC 9110 section 15.5.9).
            draft.outcome = Some(Outcome::Unsolicited);
            Quality::Whole
        } else {
            Quality::HeaderGap
        };
        draft.request_done = true;
        self.stray = 0;
        self.answering = Answering::Orphan(Box::new(draft));
        self.keep(Draft::WEIGHT, context);
    }

    pub(super) fn response_head(&mut self, head: Head, mark: &Mark, context: &mut Context<'_>) {
        self.proven = true;
        let (response_mark, role) = (self.response_mark, self.role);
        let delimiters = Delimiters::of(&head.headers);
        self.closes = delimiters.closes;
        let Some(draft) = self.answered() else {
            self.responses.begin_body(delimiters.response(&head.start, None));
            return;
        };
        let method = draft.request.as_ref().map(|request| &*request.method);
        let framing = delimiters.response(&head.start, method);
        let StartLine::Status { status, .. } = head.start else { return };
        if (100..=199).contains(&status) && framing != Framing::Switch {
            // A peer can send any number of interim responses.
            let bytes: usize = draft.interim.iter().map(|interim| interim.headers.bytes.len()).sum();
            let fits = draft.interim.is_empty() || draft.interim.len() < MAX_INTERIM && bytes < MAX_INTERIM_BYTES;
            let mut kept = 0;
            if fits && !context.is_full() {
                let interim = InterimResponse { status, headers: head.headers, time: mark.time };
                kept = interim.weight();
                draft.interim.push(interim);
            }
            self.responses.begin_body(framing);
            self.interim = true;
            self.keep(kept, context);
            return;
        }
        let protocol: Option<Box<str>> = (framing == Framing::Switch).then(|| {
            let upgrade = head.headers.get("upgrade").map(String::from_utf8_lossy);
            upgrade.map_or_else(|| "CONNECT".into(), Into::into)
        });
        draft.timing.response_start = Some(response_mark.time);
        draft.timing.response_end = Some(mark.time);
        draft.response = response_of(head);
        draft.thread = response_mark.tid;
        let mut kept = 0;
        if let Some(response) = &mut draft.response {
            if context.is_full() && response.headers.weight() > SMALL_HEAD {
                response.headers = Fields::default();
                draft.quality = draft.quality.max(Quality::HeaderGap);
            }
            kept = response.weight();
        }
        if delimiters.contradict() {
            draft.degrade(Quality::Unframed);
        }
        report(Step::ResponseHead, draft, role, context);
        if protocol.is_some() {
            draft.outcome = Some(Outcome::Upgraded);
            draft.request_done = true;
        }
        self.keep(kept, context);
        self.responses.begin_body(framing);
        if let Some(protocol) = protocol {
            self.requests.switch();
            self.request_seen = true;
            self.handover = Some(Handover::Switched(protocol));
            self.end_response(Fields::default(), mark, context);
        }
    }

    pub(super) fn end_response(&mut self, trailers: Fields, mark: &Mark, context: &mut Context<'_>) {
        if std::mem::take(&mut self.interim) {
            self.answering = match std::mem::replace(&mut self.answering, Answering::Nothing) {
                // The final response to the same unknown request is still to come.
                Answering::Orphan(mut draft) => {
                    draft.late |= self.joined && !self.request_seen;
                    draft.request_start = 0;
                    self.waiting.push_front(*draft);
                    Answering::Nothing
                }
                Answering::Exchange(_) | Answering::Nothing => Answering::Nothing,
            };
            return;
        }
        let time = mark.time;
        self.last_response_end = mark.position;
        let unsure = self.joined && !self.request_seen && !matches!(self.answering, Answering::Nothing);
        if let Some(draft) = self.answered() {
            if let Some(response) = &mut draft.response {
                response.trailers = trailers;
            }
            draft.response_done = !unsure;
            draft.timing.response_end = draft.timing.response_end.or(Some(time));
            draft.timing.end = draft.timing.response_end;
        }
        if unsure {
            self.held_back = Some(time);
            return;
        }
        self.finish_orphan(context);
        self.answering = Answering::Nothing;
        self.emit(context);
    }

    pub(super) fn finish_orphan(&mut self, context: &mut Context<'_>) {
        if let Answering::Orphan(draft) = std::mem::replace(&mut self.answering, Answering::Nothing) {
            self.finished += 1;
            self.let_go(draft.weight(), context);
            finish(*draft, self.role, context);
        } else {
            self.answering = Answering::Nothing;
        }
    }

    /// The response ends its request, or begins it, where only that was in doubt.
    fn settle_request(&mut self, mark: &Mark, context: &mut Context<'_>) {
        let item = self.requests.settle();
        self.request_item(item, &Mark { position: self.requests_end, ..*mark }, context);
        if self.waiting.iter().any(|draft| !draft.response_done) {
            return;
        }
        let sent = self.requests.head_begun().is_some_and(|begun| begun.position < mark.opposite);
        if sent && let Some(begun) = self.requests.begin_held() {
            self.begin_request(&begun, context);
        }
    }

    /// Ends a response that its framing does not end, if a later request was sent and the next bytes begin another
    /// response.
    fn cut_superseded_response(&mut self, bytes: &[u8], mark: &Mark, context: &mut Context<'_>) {
        if !self.responses.in_content() || !self.responses.is_start(bytes) {
            return;
        }
        let current = if let Answering::Exchange(key) = self.answering { Some(key) } else { None };
        let due = self.waiting.iter().any(|draft| {
            Some(draft.key) != current
                && !draft.response_done
                && !draft.late
                && draft.request_start < mark.opposite
                && draft.response_position == mark.position
        });
        if !due {
            return;
        }
        let left = self.responses.content_left();
        if let Some(draft) = self.answered()
            && left != Some(0)
        {
            draft.cut_response(left);
        }
        self.responses.cut_short();
        self.end_response(Fields::default(), mark, context);
        // The response may have swallowed others: positions tell which request the next one answers.
        self.response_gap = true;
        self.gap_position = mark.position;
    }

    /// Counts bytes after the response that no framing covers.
    fn mark_stray_response(&mut self, length: u64) {
        if length > 0
            && let Some(draft) = self.answered()
        {
            draft.response_misfit.stray += length;
            draft.degrade(Quality::Unframed);
        }
    }

    /// Handles bytes that are not a response, where one had to begin.
    fn stray_response(&mut self, first: &[u8], mark: &Mark, context: &mut Context<'_>) {
        if self.held_back.is_some() {
            self.disbelieve_response(mark, context);
            return;
        }
        if !self.response_seen && !self.joined {
            self.say_not_http(first);
            return;
        }
        if let Some(draft) = self.answered() {
            // The bytes that seemed to begin a head are none.
            draft.degrade(Quality::Unframed);
            draft.response_done |= draft.response.is_some();
        } else if let Some(draft) = self.waiting.iter_mut().find(|draft| !draft.response_done) {
            draft.degrade(Quality::Unframed);
        }
        self.finish_orphan(context);
        self.lost |= self.proven;
        self.give_up_if_unsure();
        self.emit(context);
    }

    /// Handles missing framing of the responses.
    pub(super) fn break_response(&mut self, mark: &Mark, context: &mut Context<'_>) {
        self.believe_response(context);
        self.interim = false;
        if !self.response_gap {
            self.gap_position = mark.position;
        }
        self.response_gap = true;
        if let Some(draft) = self.answered() {
            draft.degrade(Quality::HeaderGap);
            draft.response_done |= draft.response.is_some();
        } else if let Some(draft) = self.waiting.iter_mut().find(|draft| !draft.response_done) {
            draft.degrade(Quality::HeaderGap);
        }
        self.finish_orphan(context);
        self.lost = true;
        self.give_up_if_unsure();
        self.emit(context);
    }
}

pub(super) fn response_of(head: Head) -> Option<Response> {
    let StartLine::Status { status, reason } = head.start else {
        return None;
    };
    Some(Response {
        status,
        reason,
        version: head.version,
        headers: head.headers,
        body: Body::default(),
        trailers: Fields::default(),
    })
}
