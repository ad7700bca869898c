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
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Role},
        exchange::{Connect, Exchange, ExchangeId, Fields, OpenExchange, Outcome, ProcessRef, Quality, Step},
    },
    stream::{Mark, REORDER_WAIT_NS},
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
    /// It is not decided yet that these bytes are of HTTP in this role: what seems to begin gets no number.
    pub undecided: bool,
    /// Bytes of each body that are kept.
    pub body_limit: usize,
    /// See [`MAX_OPEN_BYTES`].
    pub open_bytes: &'a mut usize,
    /// See [`MAX_OPEN_HEADS`].
    pub open_heads: &'a mut usize,
    /// Name of a process.
    pub process_name: &'a dyn Fn(u32) -> Arc<str>,
    /// The connection, as it is known now.
    pub connection: &'a Arc<ConnectionInfo>,
    /// Where the requests' direction stands.
    pub request_next: Option<u64>,
    /// Where the responses' direction stands.
    pub response_next: Option<u64>,
    /// Who is told of exchanges.
    pub listener: &'a mut dyn Listener,
}

/// Who is told what becomes known of exchanges.
pub trait Listener {
    /// Whether this step of an exchange is of use. Most exchanges are in order, and nobody wants to know.
    fn wants(&self, step: Step, role: Role) -> bool;

    /// An exchange went a step further.
    fn step(&mut self, step: Step, exchange: &OpenExchange<'_>);

    /// An exchange is over.
    fn finished(&mut self, exchange: Arc<Exchange>);
}

/// Bytes of bodies, and of heads that are not whole, that open exchanges may hold, all connections together. Beyond it
/// bodies are counted but not kept, and heads that come in parts are given up: many thousand slow uploads, or clients
/// that never end their heads, must not take the memory of the machine that is being looked at.
pub const MAX_OPEN_BYTES: usize = 64 << 20;

/// Beginnings of heads up to this length are kept nevertheless, and so are heads that are whole.
const SMALL_HEAD: usize = 1024;

/// Bytes that open exchanges and their heads may take, all connections together. Beyond it header lines are not kept, and
/// connections that pipeline may have [`FEW_WAITING`] requests open. Ninety thousand calls of the usual kind have room.
pub const MAX_OPEN_HEADS: usize = 128 << 20;

/// Requests that wait for an answer on one connection while open exchanges take too much.
const FEW_WAITING: usize = 4;

impl Context<'_> {
    /// There is no room for more header lines.
    fn is_full(&self) -> bool {
        *self.open_heads > MAX_OPEN_HEADS
    }

    /// Bytes of a body that may be kept now.
    fn body_room(&self) -> usize {
        if *self.open_bytes < MAX_OPEN_BYTES { self.body_limit } else { 0 }
    }

    fn finish(&mut self, draft: Draft, role: Role) {
        let number = draft.number.unwrap_or_else(|| self.next_number());
        let exchange = Arc::new(draft.into_exchange(number, role, Arc::clone(self.connection)));
        let request = exchange.request.as_ref().map_or(0, |request| request.body.captured.len());
        let response = exchange.response.as_ref().map_or(0, |response| response.body.captured.len());
        *self.open_bytes = self.open_bytes.saturating_sub(request + response);
        self.listener.finished(exchange);
    }

    fn next_number(&mut self) -> ExchangeId {
        *self.last_exchange += 1;
        ExchangeId(*self.last_exchange)
    }

    /// What had this number is no exchange.
    fn give_back(&mut self, number: Option<ExchangeId>) {
        if number == Some(ExchangeId(*self.last_exchange)) {
            *self.last_exchange -= 1;
        }
    }

    fn step(&mut self, step: Step, draft: &Draft, role: Role) {
        if self.listener.wants(step, role) {
            self.listener.step(step, &draft.view(role, self.connection));
        }
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
    /// RST that the target sent.
    ResetByTarget,
    /// Tracing ended first.
    Unfinished,
}

/// What the response that is being read belongs to.
#[derive(Debug)]
enum Answering {
    Nothing,
    /// The draft with this key, in `waiting`.
    Exchange(u64),
    /// A response without a request.
    Orphan(Box<Draft>),
}

/// Where both directions stood after the last bytes of the responses' direction.
#[derive(Clone, Copy, Debug)]
struct Turn {
    responses: u64,
    requests: u64,
    time: Timestamp,
}

/// Silence of both directions after which a connection that pipelines is at rest. One that does not is at rest whenever
/// its request follows a response.
const REST_NS: u64 = 1_000_000_000;

/// Bytes in one direction that are no HTTP, without a byte in the other, after which the connection is said not to be
/// HTTP: a server that refuses them in HTTP does so before it has read this much.
const SUSPECT_BYTES: u64 = 64 * 1024;

/// Bytes that are not HTTP, while what answers them is still to tell whether the connection is.
#[derive(Debug)]
struct Suspect {
    first: Vec<u8>,
    /// How many of them there were.
    bytes: u64,
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
    /// A status line was seen.
    response_seen: bool,
    /// Drafts begun.
    drafts: u64,
    suspect: Option<Suspect>,
    /// Bytes of the requests' direction that are no request, since the last one.
    stray: u64,
    /// Where those began.
    stray_mark: Mark,
    turn: Option<Turn>,
    /// Where the requests' direction stands.
    requests_end: u64,
    /// The last response announced the end of the connection.
    closes: bool,
    /// The rest of a request that began before tracing is under way; see [`Self::join_unanswered`].
    request_unseen: bool,
    /// Before any request was seen, the rest of a response was, whose head was not.
    tail_seen: bool,
    /// A response that was whole before any request was seen is held back since then; see [`joined`].
    held_back: Option<Timestamp>,
    /// Requests are missing, and none was seen since.
    request_gap: bool,
    /// Framing was missing at some time, in any direction; in the requests' direction.
    lost: bool,
    request_lost: bool,
    /// Where the last response that was seen whole ended, or the first was to begin.
    last_response_end: u64,
    /// Bytes of the responses' direction are missing, and no response head was seen since.
    response_gap: bool,
    /// Where those bytes began.
    gap_position: u64,
    /// More requests were sent than the one that was answered, as far as it seems; as their heads show.
    pipelined: bool,
    seen_pipelined: bool,
    desynchronized: bool,
    signal: Option<Signal>,
    connect: Option<Connect>,
    /// Exchanges that are over.
    finished: u64,
    /// What of [`Context::open_bytes`] is heads that this connection holds.
    held: usize,
    /// What of [`Context::open_heads`] is exchanges of this connection.
    heads: usize,
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
            signal: None,
            connect: None,
            finished: 0,
            held: 0,
            heads: 0,
        }
    }

    /// How the connection was made: belongs to the first exchange, where it was made for it.
    pub fn set_connect(&mut self, connect: Connect) {
        self.connect = Some(connect);
    }

    /// The target's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// A message head was seen, so it is HTTP.
    pub fn proven(&self) -> bool {
        self.proven
    }

    /// Bytes of heads that are not whole, as counted in [`Context::open_bytes`]: who drops it takes them out there.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Bytes of its open exchanges, as counted in [`Context::open_heads`]: who drops it takes them out there.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// More is kept of an open exchange.
    fn keep(&mut self, bytes: usize, context: &mut Context<'_>) {
        self.heads += bytes;
        *context.open_heads += bytes;
    }

    /// An exchange is not open any more; where none is, nothing is kept.
    fn let_go(&mut self, bytes: usize, context: &mut Context<'_>) {
        let none = self.waiting.is_empty() && !matches!(self.answering, Answering::Orphan(_));
        let bytes = if none { self.heads } else { bytes.min(self.heads) };
        self.heads -= bytes;
        *context.open_heads = context.open_heads.saturating_sub(bytes);
    }

    /// Counts what the parsers hold now.
    fn settle(&mut self, context: &mut Context<'_>) {
        let held = self.requests.held() + self.responses.held();
        if held != self.held {
            *context.open_bytes = (*context.open_bytes + held).saturating_sub(self.held);
            self.held = held;
        }
    }

    /// Exchanges that are not over.
    pub fn open(&self) -> usize {
        self.waiting.len() + usize::from(matches!(self.answering, Answering::Orphan(_)))
    }

    /// Exchanges that are over.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// When the oldest exchange that is not over began.
    pub fn open_since(&self) -> Option<Timestamp> {
        let orphan = if let Answering::Orphan(draft) = &self.answering { Some(draft.started) } else { None };
        self.waiting.front().map(|draft| draft.started).or(orphan)
    }

    /// Shows the exchanges that are not over, oldest first. What stands for something that began before tracing
    /// (`late`, without a request) is shown even where nothing has proven yet that it is HTTP.
    pub fn visit_open(&self, connection: &Arc<ConnectionInfo>, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        let orphan = if let Answering::Orphan(draft) = &self.answering { Some(&**draft) } else { None };
        for draft in self.waiting.iter().chain(orphan) {
            visit(&draft.view(self.role, connection));
        }
    }

    /// The oldest exchange that is not over and of which something was seen.
    pub fn first_open<'a>(&'a self, connection: &'a Arc<ConnectionInfo>) -> Option<OpenExchange<'a>> {
        let orphan = if let Answering::Orphan(draft) = &self.answering { Some(&**draft) } else { None };
        let mut drafts = self.waiting.iter().chain(orphan);
        let first = drafts.find(|draft| !draft.late || draft.request.is_some() || draft.response.is_some())?;
        Some(first.view(self.role, connection))
    }

    /// When what is in doubt is over at the latest.
    pub fn doubt_until(&self) -> Option<Timestamp> {
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
                Answering::Exchange(key) => self.waiting.iter().find(|draft| draft.key == *key),
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
        self.keep(Draft::WEIGHT, context);
    }

    fn draft(&mut self, mark: &Mark, context: &mut Context<'_>) -> Draft {
        self.drafts += 1;
        let process = ProcessRef { pid: mark.pid, tid: mark.tid, name: (context.process_name)(mark.pid) };
        let mut draft = Draft::new(self.drafts, process, mark.time);
        if self.proven || !context.undecided {
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

    /// Gives out what is over, oldest first.
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
                context.finish(draft, self.role);
            }
        }
    }

    /// It is decided that this is HTTP in this role.
    pub fn decided(&mut self, context: &mut Context<'_>) {
        let orphan = if let Answering::Orphan(draft) = &mut self.answering { Some(&mut **draft) } else { None };
        for draft in self.waiting.iter_mut().chain(orphan) {
            draft.number.get_or_insert_with(|| context.next_number());
        }
    }

    /// A request that begins at `mark` follows the last response, and nothing was sent in between: both directions are
    /// at rest. What was not understood before is over.
    fn at_rest(&self, mark: &Mark) -> Option<Turn> {
        self.turn.filter(|turn| turn.responses == mark.opposite && turn.requests == mark.position)
    }

    /// Takes up pairing again, where it was lost, at a request that begins at rest. (Where the connection pipelines, an
    /// earlier request may still be unanswered; a pause tells that none is.)
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
        // Of a response whose request is not known, content that does not come was not to come: it answered a HEAD.
        if self.responses.in_resync() || without_content {
            self.responses.cut_short();
        }
        (self.lost, self.request_lost, self.request_gap, self.response_gap) = (false, false, false, false);
        (self.pipelined, self.desynchronized) = (false, false);
        self.emit(context);
    }

    /// Whether only what follows, or that nothing does, tells whether a message is over.
    pub fn in_doubt(&self) -> bool {
        self.requests.in_doubt() || self.responses.in_doubt() || self.held_back.is_some()
    }

    /// Nothing has followed for a moment: what was perhaps over is.
    pub fn settle_doubt(&mut self, now: Timestamp, context: &mut Context<'_>) {
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

    /// What was said in answer to bytes that are not HTTP is not HTTP either, or there are many of them.
    fn suspected(&mut self, first: &[u8], bytes: u64) {
        if self.suspect.as_ref().is_some_and(|suspect| suspect.bytes + bytes > SUSPECT_BYTES) {
            self.say_not_http(first);
        } else {
            let suspect = self.suspect.get_or_insert_with(|| Suspect { first: first.to_vec(), bytes: 0 });
            suspect.bytes += bytes;
        }
    }

    /// It is not HTTP: what it is, is told by the first bytes that were sent to it, else by `first`.
    fn say_not_http(&mut self, first: &[u8]) {
        let first = self.suspect.take().map_or_else(|| first.to_vec(), |suspect| suspect.first);
        self.signal = Some(Signal::NotHttp(first));
    }

    /// The first bytes, where they are not HTTP and what answers them is still to come.
    pub fn suspect(&self) -> Option<&[u8]> {
        self.suspect.as_ref().filter(|_| !self.proven).map(|suspect| &*suspect.first)
    }

    /// The connection is over and carried no HTTP.
    fn close_suspect(&mut self) {
        if !self.proven && self.suspect.is_some() {
            self.say_not_http(&[]);
        }
    }

    /// The connection carries something else from here on. Requests that wait are answered by that.
    pub fn abandon(&mut self, time: Timestamp, context: &mut Context<'_>) {
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

    /// How an exchange ends whose response is not whole.
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
            // Bytes that were not seen came after the request: the answer is among them.
            _ if missed => Outcome::Complete,
            (Ending::ByTarget | Ending::ResetByTarget, Role::Client) => Outcome::ClientTimeout,
            (Ending::ByPeer, _) | (Ending::ByTarget, Role::Server) => Outcome::Closed,
        }
    }

    /// What came of heads that did not end.
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

    /// The connection is over: every open exchange ends as `ending` says.
    pub fn close(&mut self, ending: Ending, error: Option<i32>, time: Timestamp, context: &mut Context<'_>) {
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
                // What was under way when tracing began and of which no response was seen may have been answered.
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
