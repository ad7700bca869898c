//! Requests and their responses, brought together.
//!
//! HTTP/1 answers in order (RFC 9112 section 9.3.2), so pairing is a queue, as long as every byte is seen. Where bytes
//! are missing, a queue alone shifts: every later response would go to the wrong request. Two positions in each event
//! prevent that. A response was read when the opposite direction stood at W: a request that starts at or after W had
//! not been sent then, so it is not answered by it. A request was sent when the responses' direction stood at C: after
//! a gap, a response at or after C belongs to this request or a later one, and what came before it was answered in
//! the gap. Where a connection pipelines *and* loses framing, even that is not enough; then nothing more is paired on
//! it, rather than something wrongly. (One case remains that no position tells: a connection that pipelines for the
//! first time just where its requests *and* the responses to them are lost.)

use std::{collections::VecDeque, sync::Arc};

use super::{
    draft::{Draft, append, append_gap},
    framing::{self, Framing},
    head::{Head, MessageKind, StartLine},
    parser::{Input, Item, MessageParser},
};
use crate::{
    connection::{ConnectionInfo, Role},
    event::Timestamp,
    exchange::{Body, Exchange, ExchangeId, Fields, InterimResponse, Outcome, ProcessRef, Quality, Request, Response},
    reassembly::{Mark, Piece},
};

/// Requests that wait for an answer on one connection, at most. Pipelining clients stop far earlier; beyond it the
/// oldest are given up.
const MAX_WAITING: usize = 1024;

/// Bytes after a request that are no other request: an empty line that old clients add, and a FIN, which takes one
/// position.
const PIPELINING_SLACK: u64 = 3;

/// What pairing needs of its surroundings for one step.
pub struct Context<'a> {
    /// Number of the last exchange begun.
    pub last_exchange: &'a mut u64,
    /// Bytes of each body that are kept.
    pub body_limit: usize,
    /// Bytes of bodies that the open exchanges of all connections hold.
    pub open_bytes: &'a mut usize,
    /// Name of a process.
    pub process_name: &'a dyn Fn(u32) -> Arc<str>,
    /// The connection, as it is known now.
    pub connection: &'a Arc<ConnectionInfo>,
    /// Where the requests' direction stands.
    pub request_next: Option<u64>,
    /// Where the responses' direction stands.
    pub response_next: Option<u64>,
    /// Where finished exchanges go.
    pub finished: &'a mut dyn FnMut(Exchange),
}

/// Bytes of bodies that open exchanges may hold, all connections together. Beyond it bodies are counted but not kept:
/// many thousand slow uploads must not take the memory of the machine that is being looked at.
pub const MAX_OPEN_BYTES: usize = 64 << 20;

impl Context<'_> {
    /// Bytes of a body that may be kept now.
    fn body_room(&self) -> usize {
        if *self.open_bytes < MAX_OPEN_BYTES { self.body_limit } else { 0 }
    }

    fn finish(&mut self, draft: Draft, role: Role) {
        let exchange = draft.into_exchange(role, Arc::clone(self.connection));
        let request = exchange.request.as_ref().map_or(0, |request| request.body.captured.len());
        let response = exchange.response.as_ref().map_or(0, |response| response.body.captured.len());
        *self.open_bytes = self.open_bytes.saturating_sub(request + response);
        (self.finished)(exchange);
    }
}

/// Something that the connection must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The bytes are no HTTP/1: the first of them.
    NotHttp(Vec<u8>),
    /// 101 or CONNECT: the protocol named.
    Switched(Box<str>),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed (FIN).
    ByPeer,
    /// The target closed.
    ByTarget,
    /// RST, or an error that says so.
    Reset,
    /// Tracing ended first.
    Unfinished,
}

/// What the response that is being read belongs to.
#[derive(Debug)]
enum Answering {
    Nothing,
    /// The draft with this number, in `waiting`.
    Exchange(ExchangeId),
    /// A response without a request.
    Orphan(Box<Draft>),
}

/// One HTTP/1 connection.
#[derive(Debug)]
pub struct Http1 {
    role: Role,
    requests: MessageParser,
    responses: MessageParser,
    /// Exchanges in the order of their requests, from the oldest that is not over.
    waiting: VecDeque<Draft>,
    answering: Answering,
    response_mark: Mark,
    interim: bool,
    joined: bool,
    /// A head was seen: it is HTTP.
    proven: bool,
    request_seen: bool,
    /// The rest of a request that began before tracing is under way; see [`Self::join_unanswered`].
    request_unseen: bool,
    /// Requests are missing, and none was seen since.
    request_gap: bool,
    /// Framing was missing at some time, in any direction; in the requests' direction.
    lost: bool,
    request_lost: bool,
    /// Where the last response that was seen whole ended, or the first was to begin.
    last_response_end: u64,
    /// Bytes of the responses' direction are missing, and no response head was seen since.
    response_gap: bool,
    pipelined: bool,
    desynchronized: bool,
    signal: Option<Signal>,
    connect: Option<(Timestamp, Timestamp)>,
}

impl Http1 {
    /// A connection on which the target has this role; `joined` where it was under way before tracing.
    pub fn new(role: Role, joined: bool) -> Self {
        Self {
            role,
            requests: MessageParser::new(MessageKind::Request, joined),
            responses: MessageParser::new(MessageKind::Response, joined),
            waiting: VecDeque::new(),
            answering: Answering::Nothing,
            response_mark: Mark::default(),
            interim: false,
            joined,
            proven: false,
            request_seen: false,
            request_unseen: false,
            request_gap: false,
            lost: false,
            request_lost: false,
            last_response_end: 0,
            response_gap: false,
            pipelined: false,
            desynchronized: false,
            signal: None,
            connect: None,
        }
    }

    /// When the connection was begun and made: goes to the first exchange.
    pub fn set_connect(&mut self, start: Timestamp, end: Timestamp) {
        self.connect = Some((start, end));
    }

    /// The target's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// A message head was seen, so it is HTTP.
    pub fn proven(&self) -> bool {
        self.proven
    }

    /// Exchanges that are not over.
    pub fn open(&self) -> usize {
        self.waiting.len() + usize::from(matches!(self.answering, Answering::Orphan(_)))
    }

    /// Takes the signal, if there is one.
    pub fn take_signal(&mut self) -> Option<Signal> {
        self.signal.take()
    }

    /// Bytes of content still to come in the direction of the requests or responses, where a length says so, and how
    /// many of it were seen already.
    pub fn content_left(&self, requests: bool) -> Option<(u64, u64)> {
        let (parser, body) = if requests {
            (&self.requests, self.waiting.back().and_then(|draft| draft.request.as_ref()).map(|request| &request.body))
        } else {
            let draft = match &self.answering {
                Answering::Exchange(id) => self.waiting.iter().find(|draft| draft.id == *id),
                Answering::Orphan(draft) => Some(&**draft),
                Answering::Nothing => None,
            };
            (&self.responses, draft.and_then(|draft| draft.response.as_ref()).map(|response| &response.body))
        };
        Some((parser.content_left()?, body?.bytes))
    }

    /// A request was sent before tracing began and is not answered yet: until a response comes, what moves in the
    /// requests' direction belongs to it.
    pub fn join_unanswered(&mut self, mark: &Mark, context: &mut Context<'_>) {
        if self.joined && !self.proven && self.waiting.is_empty() {
            self.begin_late(mark, context);
            self.request_unseen = true;
        }
    }

    fn begin_late(&mut self, mark: &Mark, context: &mut Context<'_>) {
        let mut draft = self.draft(mark, context);
        draft.late = true;
        draft.request_done = true;
        draft.quality = Quality::JoinedLate;
        self.waiting.push_back(draft);
    }

    /// Whether the response piece at `mark` must wait: it begins a response, and the request that it answers was sent
    /// but its event has not come yet (a thread that was slower to return from its call).
    pub fn must_wait(&self, mark: &Mark, request_next: Option<u64>) -> bool {
        self.responses.at_start()
            && !self.desynchronized
            && request_next.is_some_and(|next| next < mark.opposite)
            && (self.response_gap
                || !self.waiting.iter().any(|draft| !draft.response_done && draft.request_start < mark.opposite))
    }

    /// Takes a piece of the requests' direction.
    pub fn request_piece(&mut self, piece: Piece<'_>, context: &mut Context<'_>) {
        if self.request_unseen {
            return;
        }
        if self.last_response_end == 0 {
            self.last_response_end = context.response_next.unwrap_or_default();
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
            Piece::Gap(mut left, cause, mark) => loop {
                let item = self.requests.gap(&mut left, cause);
                if item == Item::NeedMore {
                    break;
                }
                self.request_item(item, &mark, context);
            },
        }
    }

    /// Takes a piece of the responses' direction.
    pub fn response_piece(&mut self, piece: Piece<'_>, context: &mut Context<'_>) {
        match piece {
            Piece::Bytes(bytes, mark) => {
                let mut input = Input { bytes, mark };
                loop {
                    let item = self.responses.next(&mut input);
                    if item == Item::NeedMore {
                        break;
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
    }

    fn draft(&mut self, mark: &Mark, context: &mut Context<'_>) -> Draft {
        *context.last_exchange += 1;
        let process = ProcessRef { pid: mark.pid, tid: mark.tid, name: (context.process_name)(mark.pid) };
        let mut draft = Draft::new(ExchangeId(*context.last_exchange), process, mark.time);
        draft.request_start = mark.position;
        draft.response_position = mark.opposite;
        if let Some((start, end)) = self.connect.take() {
            (draft.timing.connect_start, draft.timing.connect_end) = (Some(start), Some(end));
        }
        draft
    }

    fn request_item(&mut self, item: Item<'_>, mark: &Mark, context: &mut Context<'_>) {
        match item {
            Item::NeedMore => {}
            Item::Begin(start) => self.begin_request(&start, context),
            Item::Head(head) => {
                self.requests.begin_body(framing::of_request(&head));
                self.proven = true;
                if let Some(draft) = self.sending() {
                    draft.timing.request_end = Some(mark.time);
                    draft.request = request_of(head);
                }
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
                if let Some(draft) = self.sending() {
                    if let Some(request) = &mut draft.request {
                        request.trailers = trailers;
                    }
                    draft.request_done = true;
                    draft.request_stop = Some(mark.position);
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
            Item::Garbage(first, length) => {
                if !self.proven && !self.joined {
                    self.signal = Some(Signal::NotHttp(first[..length].to_vec()));
                }
                if let Some(draft) = self.sending() {
                    draft.degrade(Quality::HeaderGap);
                    draft.request_done = true;
                }
                self.emit(context);
            }
            Item::Skipped(_) => {
                if self.joined && !self.request_seen && self.waiting.is_empty() {
                    self.begin_late(mark, context);
                }
            }
        }
    }

    /// The exchange whose request is being read: the newest.
    fn sending(&mut self) -> Option<&mut Draft> {
        self.waiting.back_mut().filter(|draft| !draft.request_done)
    }

    fn begin_request(&mut self, mark: &Mark, context: &mut Context<'_>) {
        self.request_seen = true;
        self.proven = true;
        let after_gap = std::mem::take(&mut self.request_gap);
        // A message that ended only by loss or by being early leaves its request open.
        if let Some(draft) = self.sending() {
            draft.request_done = true;
        }
        // Nothing was read between the request before and this one.
        let behind = self
            .waiting
            .back()
            .is_some_and(|draft| !draft.late && !draft.response_done && draft.response_position == mark.opposite);
        if self.waiting.iter().any(|draft| !draft.response_done) && !self.desynchronized {
            if self.waiting.iter().all(|draft| draft.late || draft.response_done) && !self.pipelined {
                // Whatever was under way when tracing began is over: the next request is being sent.
                let without_content = |draft: &Draft| draft.response.as_ref().is_some_and(|r| r.body.bytes == 0);
                if self.answered().is_some_and(|draft| without_content(draft)) {
                    self.responses.cut_short();
                }
                self.finish_waiting(self.waiting.len(), None);
                self.answering = Answering::Nothing;
            } else if behind {
                self.pipelined = true;
                self.give_up_if_unsure();
            }
            // Otherwise bytes of the responses' direction were moved in between: they will show which request they
            // answer, or that they are lost.
        }
        if after_gap && mark.opposite <= self.last_response_end {
            // Nothing was answered between the lost requests and this one: it was pipelined behind them.
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
        if self.waiting.len() > MAX_WAITING {
            self.finish_waiting(1, Some(Quality::HeaderGap));
            self.desynchronize();
        }
        self.emit(context);
    }

    /// A response whose request was not seen is over when the next request is sent: where none of its content has come
    /// by then, there is none, for it answered a HEAD (RFC 9110 section 9.3.2).
    fn end_unasked_response(&mut self, context: &mut Context<'_>) {
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

    /// Ends the oldest `count` exchanges whose response will not be seen.
    fn finish_waiting(&mut self, count: usize, quality: Option<Quality>) {
        for draft in self.waiting.iter_mut().take(count) {
            if !draft.response_done {
                draft.response_done = true;
                draft.request_done = true;
                if let Some(quality) = quality {
                    draft.degrade(quality);
                }
            }
        }
    }

    /// Pipelining and missing framing together leave no way to tell which response belongs to which request.
    fn give_up_if_unsure(&mut self) {
        if self.pipelined && self.lost && !self.desynchronized {
            self.desynchronize();
        }
    }

    /// Gives up pairing on this connection.
    fn desynchronize(&mut self) {
        self.desynchronized = true;
        self.answering = Answering::Nothing;
        for draft in &mut self.waiting {
            if !draft.response_done {
                draft.response_done = true;
                draft.degrade(Quality::HeaderGap);
            }
        }
    }

    fn response_item(&mut self, item: Item<'_>, mark: &Mark, context: &mut Context<'_>) {
        match item {
            Item::NeedMore => {}
            Item::Begin(start) => {
                self.proven = true;
                self.request_unseen = false;
                self.response_mark = start;
                self.match_response(&start, context);
            }
            Item::Head(head) => self.response_head(head, mark, context),
            Item::Body(bytes) => {
                let limit = context.body_room();
                if let Some(draft) = self.answered() {
                    draft.timing.response_end = Some(mark.time);
                    if let Some(response) = &mut draft.response {
                        *context.open_bytes += append(&mut response.body, bytes, limit);
                    }
                }
            }
            Item::BodyGap(length, cause) => {
                let limit = context.body_limit;
                if let Some(draft) = self.answered() {
                    draft.timing.response_end = Some(mark.time);
                    if let Some(response) = &mut draft.response
                        && append_gap(&mut response.body, length, cause, limit)
                    {
                        draft.degrade(Quality::BodyGap);
                    }
                }
            }
            Item::End(trailers) => self.end_response(trailers, mark, context),
            Item::Broken => self.break_response(context),
            Item::Garbage(first, length) => {
                if self.proven {
                    self.break_response(context);
                } else if !self.joined {
                    self.signal = Some(Signal::NotHttp(first[..length].to_vec()));
                }
            }
            Item::Skipped(_) => {
                // The tail of a response whose head went by before tracing, or is lost.
                if self.joined && !self.request_seen && self.waiting.is_empty() && !self.desynchronized {
                    self.begin_late(mark, context);
                }
                if let Some(draft) = self.waiting.front_mut().filter(|draft| draft.unanswered()) {
                    draft.timing.response_end = Some(mark.time);
                }
            }
        }
    }

    /// The exchange whose response is being read.
    fn answered(&mut self) -> Option<&mut Draft> {
        match &mut self.answering {
            Answering::Nothing => None,
            Answering::Exchange(id) => self.waiting.iter_mut().find(|draft| draft.id == *id),
            Answering::Orphan(draft) => Some(draft),
        }
    }

    /// Finds the request that the response at `mark` answers: see the module's text.
    fn match_response(&mut self, mark: &Mark, context: &mut Context<'_>) {
        if let Answering::Orphan(_) = self.answering {
            self.finish_orphan(context);
        }
        let sent_before = |draft: &Draft| draft.request_start < mark.opposite || draft.late;
        let open = |draft: &Draft| !draft.response_done && sent_before(draft);
        let index = if self.desynchronized {
            None
        } else if self.response_gap {
            // Requests that were lost, or have not come yet, may be the ones that it answers.
            let all_seen = context.request_next.is_none_or(|next| next >= mark.opposite);
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
            self.give_up_if_unsure();
        }
        if let Some(index) = index.filter(|_| !self.desynchronized) {
            self.finish_waiting(index, Some(Quality::HeaderGap));
            self.response_gap = false;
            self.answering = Answering::Exchange(self.waiting[index].id);
            self.emit(context);
            return;
        }
        let mut draft = self.draft(mark, context);
        let all_requests_seen = context.request_next.is_none_or(|next| next >= mark.opposite);
        draft.quality = if self.joined && !self.request_seen {
            Quality::JoinedLate
        } else if all_requests_seen && !self.request_lost && !self.desynchronized && !self.response_gap {
            // Sent without being asked: a 408 on an idle connection (RFC 9110 section 15.5.9).
            Quality::Whole
        } else {
            Quality::HeaderGap
        };
        draft.request_done = true;
        self.answering = Answering::Orphan(Box::new(draft));
    }

    fn response_head(&mut self, head: Head, mark: &Mark, context: &mut Context<'_>) {
        self.proven = true;
        let response_mark = self.response_mark;
        let Some(draft) = self.answered() else {
            self.responses.begin_body(framing::of_response(&head, None));
            return;
        };
        let method = draft.request.as_ref().map(|request| &*request.method);
        let framing = framing::of_response(&head, method);
        let (status, upgrade) = match (&head.start, head.headers.get("upgrade")) {
            (StartLine::Status { status, .. }, upgrade) => (*status, upgrade.map(String::from_utf8_lossy)),
            (StartLine::Request { .. }, _) => return,
        };
        if (100..=199).contains(&status) && framing != Framing::Switch {
            draft.interim.push(InterimResponse { status, headers: head.headers, time: mark.time });
            self.responses.begin_body(framing);
            self.interim = true;
            return;
        }
        let protocol: Option<Box<str>> =
            (framing == Framing::Switch).then(|| upgrade.map_or_else(|| "CONNECT".into(), Into::into));
        draft.timing.response_start = Some(response_mark.time);
        draft.timing.response_end = Some(mark.time);
        draft.response = response_of(head);
        if protocol.is_some() {
            draft.outcome = Some(Outcome::Upgraded);
            draft.request_done = true;
        }
        self.responses.begin_body(framing);
        if let Some(protocol) = protocol {
            self.requests.switch();
            self.signal = Some(Signal::Switched(protocol));
            self.end_response(Fields::default(), mark, context);
        }
    }

    fn end_response(&mut self, trailers: Fields, mark: &Mark, context: &mut Context<'_>) {
        if std::mem::take(&mut self.interim) {
            self.answering = match std::mem::replace(&mut self.answering, Answering::Nothing) {
                // The final response to the same unseen request is still to come.
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
        if let Some(draft) = self.answered() {
            if let Some(response) = &mut draft.response {
                response.trailers = trailers;
            }
            draft.response_done = true;
            draft.timing.response_end = draft.timing.response_end.or(Some(time));
            draft.timing.end = draft.timing.response_end;
        }
        self.finish_orphan(context);
        self.answering = Answering::Nothing;
        self.emit(context);
    }

    fn finish_orphan(&mut self, context: &mut Context<'_>) {
        if let Answering::Orphan(draft) = std::mem::replace(&mut self.answering, Answering::Nothing) {
            context.finish(*draft, self.role);
        } else {
            self.answering = Answering::Nothing;
        }
    }

    /// Framing of the responses is missing.
    fn break_response(&mut self, context: &mut Context<'_>) {
        self.interim = false;
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

    /// Gives out what is over, oldest first.
    fn emit(&mut self, context: &mut Context<'_>) {
        while self.waiting.front().is_some_and(Draft::is_over) {
            if let Some(mut draft) = self.waiting.pop_front() {
                if matches!(self.answering, Answering::Exchange(id) if id == draft.id) {
                    self.answering = Answering::Nothing;
                }
                if draft.late && !self.proven {
                    continue;
                }
                draft.timing.end = draft.timing.end.or(draft.timing.response_end).or(draft.timing.request_end);
                context.finish(draft, self.role);
            }
        }
    }

    /// The requests' direction is over; the responses' may go on (a half-closed connection).
    pub fn requests_ended(&mut self, context: &mut Context<'_>) {
        let item = self.requests.close();
        let mark = Mark::default();
        if let Item::End(_) = item {
            self.request_item(item, &mark, context);
        } else if let Some(draft) = self.sending() {
            draft.request_done = true;
        }
        self.emit(context);
    }

    /// The connection is over: every open exchange ends as `ending` says.
    pub fn close(&mut self, ending: Ending, error: Option<i32>, time: Timestamp, context: &mut Context<'_>) {
        let whole = matches!((self.role, ending), (Role::Client, Ending::ByPeer) | (Role::Server, Ending::ByTarget));
        if whole {
            let item = self.responses.close();
            if let Item::End(trailers) = item {
                let mark = Mark { time, ..Mark::default() };
                self.end_response(trailers, &mark, context);
            }
        }
        let outcome = match (ending, self.role) {
            (Ending::Unfinished, _) => Outcome::InFlight,
            (Ending::Reset, _) => Outcome::Reset,
            (Ending::ByTarget, Role::Client) => Outcome::ClientTimeout,
            (Ending::ByPeer, _) | (Ending::ByTarget, Role::Server) => Outcome::Closed,
        };
        if let Answering::Orphan(draft) = &mut self.answering {
            draft.outcome = Some(outcome);
            draft.error = error;
            draft.timing.end = Some(time);
            self.finish_orphan(context);
        }
        for draft in &mut self.waiting {
            if !draft.response_done {
                // What was under way when tracing began and of which no response was seen may have been answered.
                draft.outcome = Some(outcome);
                draft.error = error;
                draft.timing.end = Some(time);
                draft.response_done = true;
            }
            draft.request_done = true;
        }
        self.emit(context);
    }
}

fn request_of(head: Head) -> Option<Request> {
    let StartLine::Request { method, target } = head.start else {
        return None;
    };
    Some(Request {
        method,
        target,
        version: head.version,
        headers: head.headers,
        body: Body::default(),
        trailers: Fields::default(),
    })
}

fn response_of(head: Head) -> Option<Response> {
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
