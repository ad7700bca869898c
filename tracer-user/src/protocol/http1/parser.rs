//! Messages of one direction, out of pieces.
//!
//! ```text
//!          first line seen           head whole            content over
//! Start ---------------------> Head ------------> Body -----------------> Start
//!   |  not a message             |  gap             | gap in framing
//!   v                            v                  v
//! Resync <-----------------------+------------------+      Resync -> Head: a message that begins a call
//! ```
//!
//! After a gap, or on joining late, a new message is looked for only at the first byte of a system call: HTTP text in
//! the middle of a body is not a message.

use super::{
    chunked::{Chunked, Step},
    framing::Framing,
    head::{self, Head, MAX_HEAD, MessageKind, ParseResult},
};
use crate::{
    exchange::Fields,
    protocol::detect::{Verdict, request_line, status_line},
    reassembly::{GapCause, Mark},
};

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// All input is used up.
    NeedMore,
    /// A message begins here for certain.
    Begin(Mark),
    /// Its head is whole. [`MessageParser::begin_body`] must be called next.
    Head(Head),
    /// Content.
    Body(&'a [u8]),
    /// Content that is missing.
    BodyGap(u64, GapCause),
    /// The message is over.
    End(Fields),
    /// The current message, or the search for one, ends in bytes that are none: the first of them.
    Garbage([u8; 16], usize),
    /// Framing is missing: the rest of the current message can't be known. Messages may be missing as well.
    Broken,
    /// Bytes passed over while looking for the start of a message.
    Skipped(u64),
}

#[derive(Debug)]
enum State {
    Start,
    Head {
        begun: bool,
    },
    AwaitFraming,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Resync,
    /// Not HTTP any more.
    Switched,
}

/// Parses the messages of one direction.
#[derive(Debug)]
pub struct MessageParser {
    kind: MessageKind,
    state: State,
    /// The beginning of a head that came in parts.
    head: Vec<u8>,
    /// Where it began.
    head_mark: Mark,
    /// Whether that was the first byte of a call, and nothing before it is known.
    tentative: bool,
    searched: usize,
}

/// Bytes to parse, used up from the front.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is left.
    pub bytes: &'a [u8],
    /// Where `bytes` stands; moves with it.
    pub mark: Mark,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        self.mark.position += taken.len() as u64;
        if !taken.is_empty() {
            self.mark.boundary = false;
        }
        taken
    }
}

impl MessageParser {
    /// A parser; `joined` where the stream was under way before its first piece.
    pub fn new(kind: MessageKind, joined: bool) -> Self {
        Self {
            kind,
            state: if joined { State::Resync } else { State::Start },
            head: Vec::new(),
            head_mark: Mark::default(),
            tentative: false,
            searched: 0,
        }
    }

    /// Whether it stands between two messages, with none begun.
    pub fn at_start(&self) -> bool {
        matches!(self.state, State::Start | State::Resync)
    }

    /// Whether it looks for the start of a message.
    pub fn in_resync(&self) -> bool {
        matches!(self.state, State::Resync)
    }

    /// Bytes of content that are still to come, where a length says so.
    pub fn content_left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Bytes kept of a head or trailer section that is not whole.
    pub fn held(&self) -> usize {
        self.head.len()
            + match &self.state {
                State::Chunked(chunked) => chunked.held(),
                _ => 0,
            }
    }

    /// Gives up the current message because too much is held.
    pub fn give_up(&mut self) -> Item<'static> {
        self.broken()
    }

    /// Nothing more will come: frees what is held.
    pub fn forget(&mut self) {
        if self.held() > 0 {
            self.broken();
        }
    }

    /// From here on nothing is a message.
    pub fn switch(&mut self) {
        self.state = State::Switched;
        self.head = Vec::new();
    }

    /// The current message is over, whatever its framing said: the next one begins here.
    pub fn cut_short(&mut self) {
        self.state = State::Start;
    }

    /// Says how the content after the head just given is framed.
    pub fn begin_body(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilClose => State::UntilClose,
            Framing::Switch => State::Switched,
        };
    }

    /// The next item of `input`.
    pub fn next<'a>(&mut self, input: &mut Input<'a>) -> Item<'a> {
        match &mut self.state {
            State::Start => self.start(input),
            State::Resync => {
                if !input.bytes.is_empty() && input.mark.boundary && self.classify(input.bytes) != Verdict::No {
                    self.tentative = true;
                    return self.open(input);
                }
                let skipped = input.take(usize::MAX).len() as u64;
                if skipped == 0 { Item::NeedMore } else { Item::Skipped(skipped) }
            }
            State::Head { begun } => {
                let begun = *begun;
                self.continue_head(input, begun)
            }
            State::Length(0) => self.end(Fields::default()),
            _ if input.bytes.is_empty() => Item::NeedMore,
            State::Length(left) => {
                let data = input.take(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                Item::Body(data)
            }
            State::Chunked(chunked) => {
                let mut rest = input.bytes;
                let step = chunked.step(&mut rest);
                let used = input.bytes.len() - rest.len();
                input.take(used);
                match step {
                    Step::Data(data) => Item::Body(data),
                    Step::NeedMore => Item::NeedMore,
                    Step::End(trailers) => self.end(trailers),
                    Step::Invalid => self.broken(),
                }
            }
            State::UntilClose => Item::Body(input.take(usize::MAX)),
            State::AwaitFraming | State::Switched => {
                let skipped = input.take(usize::MAX).len() as u64;
                Item::Skipped(skipped)
            }
        }
    }

    /// The next item of a gap, of which `left` bytes remain; it is advanced by what was used.
    pub fn gap(&mut self, left: &mut u64, cause: GapCause) -> Item<'static> {
        if let State::Length(0) = self.state {
            return self.end(Fields::default());
        }
        if *left == 0 {
            return Item::NeedMore;
        }
        match &mut self.state {
            State::Length(content) => {
                let used = (*content).min(*left);
                *content -= used;
                *left -= used;
                Item::BodyGap(used, cause)
            }
            State::Chunked(chunked) => {
                if chunked.skip(*left) {
                    Item::BodyGap(std::mem::take(left), cause)
                } else {
                    *left = 0;
                    self.broken()
                }
            }
            State::UntilClose => Item::BodyGap(std::mem::take(left), cause),
            State::Resync | State::Switched => Item::Skipped(std::mem::take(left)),
            State::Start | State::Head { .. } | State::AwaitFraming => {
                *left = 0;
                self.broken()
            }
        }
    }

    /// The direction is over. Content that runs until the close is whole now.
    pub fn close(&mut self) -> Item<'static> {
        match self.state {
            State::UntilClose | State::Length(0) => self.end(Fields::default()),
            _ => Item::NeedMore,
        }
    }

    fn start<'a>(&mut self, input: &mut Input<'a>) -> Item<'a> {
        // RFC 9112 section 2.2: empty lines before a request line are to be ignored; old clients send them after a
        // body.
        let blank = input.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        input.take(blank);
        if input.bytes.is_empty() {
            return Item::NeedMore;
        }
        self.tentative = false;
        self.open(input)
    }

    /// A message may begin at the start of `input`.
    fn open<'a>(&mut self, input: &mut Input<'a>) -> Item<'a> {
        self.head.clear();
        self.searched = 0;
        self.head_mark = input.mark;
        match self.classify(input.bytes) {
            Verdict::Yes => {
                self.state = State::Head { begun: true };
                Item::Begin(self.head_mark)
            }
            Verdict::NeedMore => {
                self.state = State::Head { begun: false };
                self.head.extend_from_slice(input.take(usize::MAX));
                Item::NeedMore
            }
            Verdict::No => {
                let bytes = input.bytes;
                input.take(usize::MAX);
                self.garbage(bytes)
            }
        }
    }

    fn continue_head<'a>(&mut self, input: &mut Input<'a>, begun: bool) -> Item<'a> {
        if self.head.is_empty() {
            // Usual case: the whole head is in one piece and needs no copy.
            return match head::parse(self.kind, input.bytes) {
                ParseResult::Complete(head, length) => {
                    input.take(length);
                    self.state = State::AwaitFraming;
                    Item::Head(head)
                }
                ParseResult::Partial => {
                    self.searched = 0;
                    self.head.extend_from_slice(input.take(usize::MAX));
                    self.check_head_size()
                }
                ParseResult::Invalid => {
                    let bytes = input.take(usize::MAX);
                    self.garbage(bytes)
                }
            };
        }
        if input.bytes.is_empty() {
            return Item::NeedMore;
        }
        let answered = self.kind == MessageKind::Request && input.mark.opposite != self.head_mark.opposite;
        if !begun && self.tentative && answered {
            // What was held ("body", which may begin a method) was the end of a message, for an answer came after it.
            // That has been told by the answer.
            self.state = State::Resync;
            self.head = Vec::new();
            return self.next(input);
        }
        let before = self.head.len();
        self.head.extend_from_slice(input.bytes);
        if !begun {
            match self.classify(&self.head) {
                Verdict::Yes => {
                    self.state = State::Head { begun: true };
                    self.head.truncate(before);
                    return Item::Begin(self.head_mark);
                }
                Verdict::NeedMore => {
                    input.take(usize::MAX);
                    return self.check_head_size();
                }
                Verdict::No => {
                    input.take(usize::MAX);
                    let bytes = std::mem::take(&mut self.head);
                    return self.garbage(&bytes);
                }
            }
        }
        let Some(end) = head::find_end(&self.head, self.searched) else {
            self.searched = self.head.len();
            input.take(usize::MAX);
            return self.check_head_size();
        };
        input.take(end.saturating_sub(before));
        let bytes = std::mem::take(&mut self.head);
        match head::parse(self.kind, &bytes[..end]) {
            ParseResult::Complete(head, _) => {
                self.state = State::AwaitFraming;
                Item::Head(head)
            }
            ParseResult::Partial | ParseResult::Invalid => {
                input.take(usize::MAX);
                self.garbage(&bytes)
            }
        }
    }

    fn check_head_size(&mut self) -> Item<'static> {
        if self.head.len() > MAX_HEAD { self.broken() } else { Item::NeedMore }
    }

    fn classify(&self, bytes: &[u8]) -> Verdict {
        match self.kind {
            MessageKind::Request => request_line(bytes),
            MessageKind::Response => status_line(bytes),
        }
    }

    fn end(&mut self, trailers: Fields) -> Item<'static> {
        self.state = State::Start;
        Item::End(trailers)
    }

    fn broken(&mut self) -> Item<'static> {
        self.state = State::Resync;
        self.head = Vec::new();
        Item::Broken
    }

    /// Bytes that are no message. Where they only might have been one (joined late), they are passed over.
    fn garbage(&mut self, bytes: &[u8]) -> Item<'static> {
        self.state = State::Resync;
        self.head = Vec::new();
        if self.tentative {
            return Item::Skipped(bytes.len() as u64);
        }
        let mut first = [0; 16];
        let length = bytes.len().min(first.len());
        first[..length].copy_from_slice(&bytes[..length]);
        Item::Garbage(first, length)
    }
}
