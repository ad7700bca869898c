//! Pairing of requests and responses.
//!
//! HTTP/1 answers in order (RFC 9112 section 9.3.2), so pairing is a queue as long as no byte is missing. With
//! missing bytes a queue alone shifts: every later response would go to the wrong request. Two positions in each
//! event prevent that. A response was read when the opposite direction stood at W: a request that starts at or after
//! W was not sent then, so the response does not answer it. A request was sent when the direction of responses stood
//! at C: after a gap, a response at or after C answers this request or a later one, and earlier responses are in the
//! gap. Where a connection pipelines *and* loses framing, even both positions are not enough, and pairing stops
//! rather than guess. (No position tells one case: a connection that pipelines for the first time just where its
//! requests *and* the responses to them are lost.)

mod joined;
mod request;
mod response;

use std::{collections::VecDeque, sync::Arc};

use super::{
    draft::Draft,
    head::MessageKind,
    parser::{Item, MessageParser},
};
use crate::{
    event::{Timestamp, wire::direction},
    model::{
        connection::{ConnectionInfo, Ending, Role},
        exchange::{Connect, Fields, OpenExchange, Outcome, ProcessRef, Quality, Step},
    },
    protocol::{context::Context, decode::Handover},
    stream::{Mark, Piece, REORDER_WAIT_NS},
};

/// Requests that may wait for a response on one connection. Pipelining clients stop far earlier; beyond this number
/// the oldest are given up.
const MAX_WAITING: usize = 1024;

/// Bytes after a request that may be something else than a request: an empty line that old clients add, and a FIN,
/// which takes one position.
const PIPELINING_SLACK: u64 = 3;

/// Length up to which the beginning of a head is kept while pending exchanges hold too much. Complete heads are kept too.
const SMALL_HEAD: usize = 1024;

/// Requests that may wait for a response on one connection while pending exchanges hold too much.
const FEW_WAITING: usize = 4;

/// Reports the end of an exchange.
fn finish(draft: Draft, role: Role, context: &mut Context<'_>) {
    let number = draft.number.unwrap_or_else(|| context.next_number());
    context.finish(draft.into_exchange(number, role, Arc::clone(context.connection)));
}

/// Reports a step of a pending exchange, if anyone needs it.
fn report(step: Step, draft: &Draft, role: Role, context: &mut Context<'_>) {
    if context.listener.wants(step, role) {
        context.listener.step(step, &draft.view(role, context.connection));
    }
}

/// The owner of the response that is being read.
#[derive(Debug)]
enum Answering {
    Nothing,
    /// The draft in `waiting` with this key.
    Exchange(u64),
    /// A response without a request.
    Orphan(Box<Draft>),
}

/// Positions of both directions after the latest bytes of the responses.
#[derive(Clone, Copy, Debug)]
struct Turn {
    responses: u64,
    requests: u64,
    time: Timestamp,
}

/// Silence of both directions after which a connection that pipelines is at rest. Without pipelining, a connection is
/// at rest whenever a request follows a response.
const REST_NS: u64 = 1_000_000_000;

/// Bytes in one direction that are not HTTP, without a byte in the other, after which the connection counts as
/// another protocol. A server that refuses such bytes in HTTP does so earlier.
const SUSPECT_BYTES: u64 = 64 * 1024;

/// Bytes that are not HTTP, until the answer to them tells whether the connection is HTTP.
#[derive(Debug)]
struct Suspect {
    first: Vec<u8>,
    /// Number of these bytes.
    bytes: u64,
}

/// The requests and responses of one connection.
#[derive(Debug)]
pub(super) struct Pairing {
    role: Role,
    /// The role is an attempt: exchanges get no numbers.
    undecided: bool,
    requests: MessageParser,
    responses: MessageParser,
    /// Pending exchanges, in the order of their requests.
    waiting: VecDeque<Draft>,
    answering: Answering,
    response_mark: Mark,
    interim: bool,
    joined: bool,
    /// A head was read, which proves HTTP.
    proven: bool,
    request_seen: bool,
    /// A status line was read.
    response_seen: bool,
    /// Number of drafts begun.
    drafts: u64,
    suspect: Option<Suspect>,
    /// Bytes in the direction of requests, since the latest request, that are not a request.
    stray: u64,
    /// The first of these bytes.
    stray_mark: Mark,
    turn: Option<Turn>,
    /// Position of the next byte in the direction of requests.
    requests_end: u64,
    /// The latest response announced the end of the connection.
    closes: bool,
    /// The rest of a request that began before tracing is under way; see [`Self::join_unanswered`].
    request_unseen: bool,
    /// The rest of a response, whose head preceded tracing, was read before any request.
    tail_seen: bool,
    /// Since this time a response that was complete before any request is held back; see [`joined`].
    held_back: Option<Timestamp>,
    /// Requests are missing, and none was read since.
    request_gap: bool,
    /// Framing was missing at some time, in any direction; in the direction of requests.
    lost: bool,
    request_lost: bool,
    /// Position after the latest complete response, or of the first one.
    last_response_end: u64,
    /// Bytes in the direction of responses are missing, and no response head was read since.
    response_gap: bool,
    /// Position of the first of these bytes.
    gap_position: u64,
    /// More requests were sent than were answered, by positions; by request heads.
    pipelined: bool,
    seen_pipelined: bool,
    desynchronized: bool,
    handover: Option<Handover>,
    connect: Option<Connect>,
    /// Number of exchanges that ended.
    finished: u64,
    /// Share of this connection in [`Context::open_bytes`]: incomplete heads.
    held: usize,
    /// Share of this connection in [`Context::open_heads`]: pending exchanges.
    heads: usize,
}

impl Pairing {
    /// An attempt to read a connection, of which the role of the target is unknown, with this role. Exchanges get no
    /// number before a message head proves that the role is right.
    pub(in crate::protocol::http1) fn attempt(role: Role) -> Self {
        Self { undecided: true, ..Self::new(role, true) }
    }

    /// A connection on which the target has `role`. `joined` tells that it existed before tracing.
    pub(in crate::protocol::http1) fn new(role: Role, joined: bool) -> Self {
        Self {
            undecided: false,
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
            response_seen: false,
            drafts: 0,
            suspect: None,
            stray: 0,
            stray_mark: Mark::default(),
            turn: None,
            requests_end: 0,
            closes: false,
            request_unseen: false,
            tail_seen: false,
            held_back: None,
            request_gap: false,
            lost: false,
            request_lost: false,
            last_response_end: 0,
            response_gap: false,
            gap_position: 0,
            pipelined: false,
            seen_pipelined: false,
            desynchronized: false,
            handover: None,
            connect: None,
            finished: 0,
            held: 0,
            heads: 0,
        }
    }

    /// Takes a piece while the role is an attempt.
    pub(in crate::protocol::http1) fn attempt_piece(
        &mut self,
        direction: u8,
        piece: Piece<'_>,
        context: &mut Context<'_>,
    ) {
        if direction == self.direction_of_requests() {
            self.request_piece(piece, context);
        } else {
            self.response_piece(piece, context);
        }
        if self.proven {
            self.decided(context);
        }
    }

    /// The direction in which requests go.
    pub(in crate::protocol::http1) fn direction_of_requests(&self) -> u8 {
        if self.role == Role::Client { direction::SEND } else { direction::RECEIVE }
    }

    /// Sets the connect that made the connection. It belongs to the first exchange, if it was made for that one.
    pub(in crate::protocol::http1) fn set_connect(&mut self, connect: Connect) {
        self.connect = Some(connect);
    }

    /// Role of the target.
    pub(in crate::protocol::http1) fn role(&self) -> Role {
        self.role
    }

    /// Whether a head was read, which proves HTTP.
    pub(in crate::protocol::http1) fn proven(&self) -> bool {
        self.proven
    }

    /// Bytes of incomplete heads in [`Context::open_bytes`]. Whoever drops the pairing subtracts them.
    pub(in crate::protocol::http1) fn held(&self) -> usize {
        self.held
    }

    /// Bytes of pending exchanges in [`Context::open_heads`]. Whoever drops the pairing subtracts them.
    pub(in crate::protocol::http1) fn heads(&self) -> usize {
        self.heads
    }

    /// Counts bytes that a pending exchange holds from now on.
    fn keep(&mut self, bytes: usize, context: &mut Context<'_>) {
        self.heads += bytes;
        *context.open_heads += bytes;
    }

    /// Counts bytes that an exchange released. Without pending exchanges nothing is held.
    fn let_go(&mut self, bytes: usize, context: &mut Context<'_>) {
        let none = self.waiting.is_empty() && !matches!(self.answering, Answering::Orphan(_));
        let bytes = if none { self.heads } else { bytes.min(self.heads) };
        self.heads -= bytes;
        *context.open_heads = context.open_heads.saturating_sub(bytes);
    }

    /// Counts the bytes that the parsers hold now.
    fn settle(&mut self, context: &mut Context<'_>) {
        let held = self.requests.held() + self.responses.held();
        if held != self.held {
            *context.open_bytes = (*context.open_bytes + held).saturating_sub(self.held);
            self.held = held;
        }
    }

    /// Number of pending exchanges.
    pub(in crate::protocol::http1) fn open(&self) -> usize {
        self.waiting.len() + usize::from(matches!(self.answering, Answering::Orphan(_)))
    }

    /// Number of exchanges that ended.
    pub(in crate::protocol::http1) fn finished(&self) -> u64 {
        self.finished
    }

    /// Time at which the oldest pending exchange began.
    pub(in crate::protocol::http1) fn open_since(&self) -> Option<Timestamp> {
        let orphan = if let Answering::Orphan(draft) = &self.answering { Some(draft.started) } else { None };
        self.waiting.front().map(|draft| draft.started).or(orphan)
    }

    /// Visits the pending exchanges, oldest first. An exchange that began before tracing (`late`, without a request)
    /// is visited even before anything proves HTTP.
    pub(in crate::protocol::http1) fn visit_open(
        &self,
        connection: &Arc<ConnectionInfo>,
        visit: &mut dyn FnMut(&OpenExchange<'_>),
    ) {
        let orphan = if let Answering::Orphan(draft) = &self.answering { Some(&**draft) } else { None };
        for draft in self.waiting.iter().chain(orphan) {
            visit(&draft.view(self.role, connection));
        }
    }

    /// The oldest pending exchange of which anything was read.
    pub(in crate::protocol::http1) fn first_open<'a>(
        &'a self,
        connection: &'a Arc<ConnectionInfo>,
    ) -> Option<OpenExchange<'a>> {
        let orphan = if let Answering::Orphan(draft) = &self.answering { Some(&**draft) } else { None };
        let mut drafts = self.waiting.iter().chain(orphan);
        let first = drafts.find(|draft| !draft.late || draft.request.is_some() || draft.response.is_some())?;
        Some(first.view(self.role, connection))
    }

    /// Latest time at which all doubts are settled.
    pub(in crate::protocol::http1) fn doubt_until(&self) -> Option<Timestamp> {
        let after = |time: Option<Timestamp>, wait: u64| Timestamp(time.map_or(0, |time| time.0.saturating_add(wait)));
        let sending = || self.waiting.back().filter(|draft| !draft.request_done)?.timing.request_end;
        let answered = || match &self.answering {
            Answering::Nothing => None,
            Answering::Exchange(key) => self.waiting.iter().find(|draft| draft.key == *key)?.timing.response_end,
            Answering::Orphan(draft) => draft.timing.response_end,
        };
        let requests = self.requests.in_doubt().then(|| after(sending(), REORDER_WAIT_NS));
        let responses = self.responses.in_doubt().then(|| after(answered(), REORDER_WAIT_NS));
        let held_back = self.held_back.map(|since| after(Some(since), REST_NS));
        [requests, responses, held_back].into_iter().flatten().min()
    }

    /// Takes the handover, if there is one.
    pub(in crate::protocol::http1) fn take_handover(&mut self) -> Option<Handover> {
        self.handover.take()
    }

    /// Bytes of content that the length announces and that are still to come, and bytes of that content read so far,
    /// of the requests or responses.
    pub(in crate::protocol::http1) fn content_left(&self, requests: bool) -> Option<(u64, u64)> {
        let (parser, body) = if requests {
            (&self.requests, self.waiting.back().and_then(|draft| draft.request.as_ref()).map(|request| &request.body))
        } else {
            let draft = match &self.answering {
                Answering::Exchange(key) => self.waiting.iter().find(|draft| draft.key == *key),
                Answering::Orphan(draft) => Some(&**draft),
                Answering::Nothing => None,
            };
            (&self.responses, draft.and_then(|draft| draft.response.as_ref()).map(|response| &response.body))
        };
        Some((parser.content_left()?, body?.bytes))
    }

    /// A request was sent before tracing and is not answered: until a response comes, bytes in the direction of
    /// requests belong to it.
    pub(in crate::protocol::http1) fn join_unanswered(&mut self, mark: &Mark, context: &mut Context<'_>) {
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
        self.keep(Draft::WEIGHT, context);
    }

    fn draft(&mut self, mark: &Mark, context: &mut Context<'_>) -> Draft {
        self.drafts += 1;
        let process = ProcessRef { pid: mark.pid, tid: mark.tid, name: (context.process_name)(mark.pid) };
        let mut draft = Draft::new(self.drafts, process, mark.time);
        if self.proven || !self.undecided {
            if self.waiting.front().is_some_and(|first| first.number.is_none()) {
                self.decided(context);
            }
            draft.number = Some(context.next_number());
        }
        draft.request_start = mark.position;
        draft.response_position = mark.opposite;
        if let Some(connect) = self.connect.take().filter(|connect| connect.is_made_for(mark.time, mark.pid)) {
            draft.started = connect.start;
            (draft.timing.connect_start, draft.timing.connect_end) = (Some(connect.start), Some(connect.end));
        }
        draft
    }

    /// Ends the oldest `count` exchanges, whose responses are missing.
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

    /// Pipelining and missing framing together leave no way to tell which response answers which request.
    fn give_up_if_unsure(&mut self) {
        if self.pipelined && self.lost && !self.desynchronized {
            self.desynchronize();
        }
    }

    /// Stops pairing on this connection.
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

    /// Reports exchanges that ended, oldest first.
    fn emit(&mut self, context: &mut Context<'_>) {
        while self.waiting.front().is_some_and(Draft::is_over) {
            if let Some(mut draft) = self.waiting.pop_front() {
                if matches!(self.answering, Answering::Exchange(key) if key == draft.key) {
                    self.answering = Answering::Nothing;
                }
                self.let_go(draft.weight(), context);
                if draft.late && !self.proven {
                    context.give_back(draft.number);
                    continue;
                }
                draft.timing.end = draft.timing.end.or(draft.timing.response_end).or(draft.timing.request_end);
                self.finished += 1;
                finish(draft, self.role, context);
            }
        }
    }

    /// Accepts the role: pending exchanges get numbers.
    fn decided(&mut self, context: &mut Context<'_>) {
        self.undecided = false;
        let orphan = if let Answering::Orphan(draft) = &mut self.answering { Some(&mut **draft) } else { None };
        for draft in self.waiting.iter_mut().chain(orphan) {
            draft.number.get_or_insert_with(|| context.next_number());
        }
    }

    /// The position of rest, if a request at `mark` follows the latest response and nothing was sent in between.
    /// Everything before it is over.
    fn at_rest(&self, mark: &Mark) -> Option<Turn> {
        self.turn.filter(|turn| turn.responses == mark.opposite && turn.requests == mark.position)
    }

    /// Resumes pairing at a request that begins at rest. (With pipelining an earlier request may still wait; a pause
    /// tells that none does.)
    fn take_up(&mut self, mark: &Mark, context: &mut Context<'_>) {
        let Some(turn) = self.at_rest(mark) else { return };
        let item = self.responses.settle();
        self.response_item(item, &Mark { time: turn.time, position: turn.responses, ..*mark }, context);
        let sure = !self.seen_pipelined || mark.time.since(turn.time) >= REST_NS;
        if !(self.lost || self.desynchronized) || !sure {
            return;
        }
        let within = self.responses.in_content() || self.responses.until_close();
        let without_content = matches!(&self.answering, Answering::Orphan(draft)
            if draft.response.as_ref().is_some_and(|response| response.body.bytes == 0));
        if !within || without_content {
            self.finish_waiting(self.waiting.len(), Some(Quality::HeaderGap));
            self.finish_orphan(context);
        }
        // Content that does not come was not to come: a response without a known request answered a HEAD.
        if self.responses.in_resync() || without_content {
            self.responses.cut_short();
        }
        (self.lost, self.request_lost, self.request_gap, self.response_gap) = (false, false, false, false);
        (self.pipelined, self.desynchronized) = (false, false);
        self.emit(context);
    }

    /// Whether only later bytes, or their absence, tell that a message is over.
    pub(in crate::protocol::http1) fn in_doubt(&self) -> bool {
        self.requests.in_doubt() || self.responses.in_doubt() || self.held_back.is_some()
    }

    /// Ends messages that were in doubt, once nothing followed for a moment.
    pub(in crate::protocol::http1) fn settle_doubt(&mut self, now: Timestamp, context: &mut Context<'_>) {
        let quiet = |time: Option<Timestamp>| time.is_none_or(|time| now.since(time) >= REORDER_WAIT_NS);
        let mark = Mark { time: now, position: self.turn.map_or(0, |turn| turn.responses), ..Mark::default() };
        if self.requests.in_doubt() && quiet(self.sending().and_then(|draft| draft.timing.request_end)) {
            let item = self.requests.settle();
            self.request_item(item, &Mark { position: self.requests_end, ..mark }, context);
        }
        if self.responses.in_doubt() && quiet(self.answered().and_then(|draft| draft.timing.response_end)) {
            let item = self.responses.settle();
            self.response_item(item, &mark, context);
        }
        if self.held_back.is_some_and(|since| now.since(since) >= REST_NS) {
            self.believe_response(context);
        }
    }

    /// The answer to bytes that are not HTTP is not HTTP either, or there are many such bytes.
    fn suspected(&mut self, first: &[u8], bytes: u64) {
        if self.suspect.as_ref().is_some_and(|suspect| suspect.bytes + bytes > SUSPECT_BYTES) {
            self.say_not_http(first);
        } else {
            let suspect = self.suspect.get_or_insert_with(|| Suspect { first: first.to_vec(), bytes: 0 });
            suspect.bytes += bytes;
        }
    }

    /// Hands over: the first bytes that were sent name the protocol, or else `first`.
    fn say_not_http(&mut self, first: &[u8]) {
        let first = self.suspect.take().map_or_else(|| first.to_vec(), |suspect| suspect.first);
        self.handover = Some(Handover::NotThis(first));
    }

    /// The first bytes, if they are not HTTP and the answer to them is still to come.
    pub(in crate::protocol::http1) fn suspect(&self) -> Option<&[u8]> {
        self.suspect.as_ref().filter(|_| !self.proven).map(|suspect| &*suspect.first)
    }

    /// Hands over if the connection ends without HTTP.
    fn close_suspect(&mut self) {
        if !self.proven && self.suspect.is_some() {
            self.say_not_http(&[]);
        }
    }

    /// Ends pending exchanges: another protocol answers their requests.
    pub(in crate::protocol::http1) fn abandon(&mut self, time: Timestamp, context: &mut Context<'_>) {
        for draft in &mut self.waiting {
            if !draft.response_done {
                draft.outcome = Some(Outcome::NotHttp);
                draft.timing.end = Some(time);
                draft.response_done = true;
            }
            draft.request_done = true;
        }
        self.finish_orphan(context);
        self.emit(context);
    }

    /// Outcome of an exchange whose response is incomplete.
    fn outcome(&self, draft: &Draft, ending: Ending, time: Timestamp) -> Outcome {
        let missed = draft.unanswered() && self.response_gap && draft.response_position <= self.gap_position;
        match (ending, self.role) {
            (Ending::Unfinished, _) => Outcome::InFlight,
            (Ending::ByTarget | Ending::ResetByTarget, Role::Client)
            | (Ending::ByPeer | Ending::Reset, Role::Server)
                if draft.flowed_until(time) =>
            {
                Outcome::ClosedEarly
            }
            (Ending::Reset, _) | (Ending::ResetByTarget, Role::Server) => Outcome::Reset,
            // Bytes that were not captured followed the request: they contain the answer.
            _ if missed => Outcome::Complete,
            (Ending::ByTarget | Ending::ResetByTarget, Role::Client) => Outcome::ClientTimeout,
            (Ending::ByPeer, _) | (Ending::ByTarget, Role::Server) => Outcome::Closed,
        }
    }

    /// Adds heads that never ended to their exchanges.
    fn show_partial_heads(&mut self) {
        if let Some(request) = self.requests.partial_head().and_then(request::request_of)
            && let Some(draft) = self.sending()
            && draft.request.is_none()
        {
            draft.request = Some(request);
        }
        let begins = self.response_mark.time;
        if let Some(response) = self.responses.partial_head().and_then(response::response_of)
            && let Some(draft) = self.answered()
            && draft.response.is_none()
            && response.status >= 200
        {
            draft.response = Some(response);
            draft.timing.response_start = Some(begins);
            draft.timing.response_end = Some(begins);
        }
    }

    /// Ends every pending exchange as `ending` tells.
    pub(in crate::protocol::http1) fn close(
        &mut self,
        ending: Ending,
        error: Option<i32>,
        time: Timestamp,
        context: &mut Context<'_>,
    ) {
        let mark = Mark { time, ..Mark::default() };
        let whole = matches!((self.role, ending), (Role::Client, Ending::ByPeer) | (Role::Server, Ending::ByTarget));
        if whole {
            if let Item::End(trailers) = self.responses.close() {
                self.end_response(trailers, &mark, context);
            }
        } else if self.responses.in_doubt() {
            self.end_response(Fields::default(), &mark, context);
        }
        self.believe_response(context);
        self.show_partial_heads();
        if let Answering::Orphan(draft) = &self.answering {
            let outcome = self.outcome(draft, ending, time);
            if let Answering::Orphan(draft) = &mut self.answering {
                draft.outcome = Some(outcome);
                draft.error = error;
                draft.timing.end = Some(time);
            }
            self.finish_orphan(context);
        }
        let left = self.requests.content_left();
        let mut waiting = std::mem::take(&mut self.waiting);
        for draft in &mut waiting {
            if draft.response_done {
                if !draft.request_done && ending != Ending::Unfinished && !self.requests.until_close() {
                    draft.cut_request(left);
                }
            } else {
                // A request that was pending when tracing began may have been answered unseen.
                draft.outcome = Some(self.outcome(draft, ending, time));
                draft.error = error;
                draft.timing.end = Some(time);
                draft.response_done = true;
            }
            draft.request_done = true;
        }
        self.waiting = waiting;
        self.emit(context);
        self.close_suspect();
        self.requests.forget();
        self.responses.forget();
        self.settle(context);
    }
}
