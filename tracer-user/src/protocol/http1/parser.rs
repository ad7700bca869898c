//! Messages of one direction, out of pieces.
//!
//! ```text
//!          first line seen           head whole            content over
//! Start ---------------------> Head ------------> Body -----------------> Start
//!   |  not a message             |  gap             | gap in framing, of unknown extent
//!   v                            v                  v
//! Resync <-----------------------+------------------+      Resync -> Head: a message that begins a call
//! ```
//!
//! A gap whose length leaves one reading is read so (`Doubt`: what follows confirms it). One call that moved more than
//! is captured of it, and framing that is invalid, lose this message's framing alone (`Unframed`); who pairs the
//! messages tells where it ends ([`MessageParser::cut_short`]).
//!
//! After a gap, or on joining late, a new message is looked for only at the first byte of a system call: HTTP text in
//! the middle of a body is not a message.

use super::{
    chunked::{Chunked, Skip, Step},
    framing::Framing,
    head::{self, Head, MAX_HEAD, MessageKind, ParseResult},
};
use crate::{
    model::exchange::Fields,
    protocol::detect::{RequestLine, Verdict, status_line},
    stream::{GapCause, Mark},
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
    /// The current message, or the search for one, ends in bytes that are none: the first of them, and how many there
    /// are.
    Garbage([u8; 16], usize, u64),
    /// The rest of the current message can't be told from what follows it, as bytes of it are missing or as its framing is
    /// invalid. No other message is missing.
    Unframed {
        /// Bytes are missing.
        missing: bool,
    },
    /// Bytes that no valid framing covers.
    Stray(u64),
    /// The message ends here, before its framing says so.
    Cut,
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
    /// A gap was as long as the rest of the message: what follows tells.
    Doubt(GapCause),
    Unframed(Unframed),
    Resync,
    /// Not HTTP any more.
    Switched,
}

/// Why the framing of a message is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unframed {
    /// Chunks are missing: what comes is content and chunk framing.
    Adrift,
    /// It is invalid.
    Invalid,
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
    /// Where the opposite direction stood when a request began that is none: what follows before that direction moves
    /// is more of the same, however the calls cut it.
    garbage_at: Option<u64>,
    searched: usize,
    /// How far its request line was read.
    line: RequestLine,
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
            garbage_at: None,
            searched: 0,
            line: RequestLine::default(),
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
        self.head = Vec::new();
    }

    /// What seems to begin, or to have ended, is no message, nor is what comes while the opposite direction stands at
    /// `opposite`.
    pub fn pass_over(&mut self, opposite: u64) {
        self.garbage_at = Some(opposite);
        self.state = State::Resync;
        self.head = Vec::new();
    }

    /// Whether `bytes` begin a message for certain.
    pub fn is_start(&self, bytes: &[u8]) -> bool {
        self.classify(bytes) == Verdict::Yes
    }

    /// How many of `bytes`, which follow a message, are no other message and no empty line.
    pub fn stray(&self, bytes: &[u8]) -> u64 {
        let blank = blank(bytes);
        let rest = &bytes[blank..];
        if rest.is_empty() || self.classify(rest) != Verdict::No { 0 } else { rest.len() as u64 }
    }

    /// Whether it is within the content of a message, and no close ends that.
    pub fn in_content(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_) | State::Doubt(_) | State::Unframed(_))
    }

    /// Whether it is within a message whose framing is not known any more.
    pub fn is_unframed(&self) -> bool {
        matches!(self.state, State::Unframed(_))
    }

    /// Whether the content ends where the connection does.
    pub fn until_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Whether the message is perhaps over: see [`Self::settle`].
    pub fn in_doubt(&self) -> bool {
        matches!(self.state, State::Doubt(_))
    }

    /// What was in doubt is decided: the message is over.
    pub fn settle(&mut self) -> Item<'static> {
        if self.in_doubt() { self.end(Fields::default()) } else { Item::NeedMore }
    }

    /// Whether the beginning of a head is held: where it began.
    pub fn head_begun(&self) -> Option<Mark> {
        matches!(self.state, State::Head { .. }).then_some(self.head_mark)
    }

    /// The beginning of a start line that is held is one, for its message was answered. Gives where it began.
    pub fn begin_held(&mut self) -> Option<Mark> {
        let State::Head { begun: false } = self.state else { return None };
        if self.tentative || !self.head.contains(&b' ') {
            return None;
        }
        self.state = State::Head { begun: true };
        Some(self.head_mark)
    }

    /// What a head that will not end says.
    pub fn partial_head(&self) -> Option<Head> {
        if let State::Head { begun: true } = self.state { head::partial(self.kind, &self.head) } else { None }
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
                let may_begin = input.mark.boundary && self.garbage_at != Some(input.mark.opposite);
                if !input.bytes.is_empty() && may_begin && self.classify(input.bytes) != Verdict::No {
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
                if input.mark.boundary && chunked.lacks_empty_line() && classify(self.kind, rest) == Verdict::Yes {
                    self.state = State::Length(0);
                    return Item::Cut;
                }
                let step = chunked.step(&mut rest);
                let used = input.bytes.len() - rest.len();
                input.take(used);
                match step {
                    Step::Data(data) => Item::Body(data),
                    Step::NeedMore => Item::NeedMore,
                    Step::End(trailers) => self.end(trailers),
                    Step::Invalid => {
                        self.state = State::Unframed(Unframed::Invalid);
                        Item::Unframed { missing: false }
                    }
                }
            }
            State::Doubt(cause) => {
                let cause = *cause;
                if self.stray(input.bytes) == 0 {
                    return self.end(Fields::default());
                }
                self.lose_framing(cause)
            }
            State::Unframed(Unframed::Adrift) => self.drift(input),
            State::Unframed(Unframed::Invalid) => Item::Stray(input.take(usize::MAX).len() as u64),
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
                let (content, doubt) = match chunked.skip(*left) {
                    Skip::Exact(content) => (content, false),
                    Skip::PerhapsEnd(content) => (content, true),
                    Skip::Unknown => return self.lose_framing_in(left, cause),
                };
                *left = 0;
                if doubt {
                    self.state = State::Doubt(cause);
                }
                Item::BodyGap(content, cause)
            }
            State::Doubt(_) => self.lose_framing_in(left, cause),
            State::Unframed(how) => match (cause, how) {
                (GapCause::Lost, _) => {
                    *left = 0;
                    self.broken()
                }
                (_, Unframed::Adrift) => Item::BodyGap(std::mem::take(left), cause),
                (_, Unframed::Invalid) => Item::Stray(std::mem::take(left)),
            },
            State::UntilClose => Item::BodyGap(std::mem::take(left), cause),
            State::Resync | State::Switched => {
                self.garbage_at = None;
                Item::Skipped(std::mem::take(left))
            }
            State::Start | State::Head { .. } | State::AwaitFraming => {
                *left = 0;
                self.broken()
            }
        }
    }

    /// The direction is over. Content that runs until the close is whole now.
    pub fn close(&mut self) -> Item<'static> {
        match self.state {
            State::UntilClose | State::Length(0) | State::Doubt(_) => self.end(Fields::default()),
            _ => Item::NeedMore,
        }
    }

    /// What is missing holds framing. Lost events may hold more than the rest of this message; what one call moved
    /// beyond what is captured of it does not.
    fn lose_framing(&mut self, cause: GapCause) -> Item<'static> {
        if cause == GapCause::Lost {
            return self.broken();
        }
        self.state = State::Unframed(Unframed::Adrift);
        Item::Unframed { missing: true }
    }

    fn lose_framing_in(&mut self, left: &mut u64, cause: GapCause) -> Item<'static> {
        if cause == GapCause::Lost {
            *left = 0;
        }
        self.lose_framing(cause)
    }

    /// Chunks of which some framing is missing: a call that begins with a chunk, or ends with the last one, shows where
    /// they stand.
    fn drift<'a>(&mut self, input: &mut Input<'a>) -> Item<'a> {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        if input.mark.boundary && begins_chunk(input.bytes) {
            self.state = State::Chunked(Chunked::default());
            return self.next(input);
        }
        let bytes = input.take(usize::MAX);
        if bytes.ends_with(LAST) {
            self.state = State::Length(0);
            return Item::Body(&bytes[..bytes.len() - LAST.len()]);
        }
        Item::Body(bytes)
    }

    fn start<'a>(&mut self, input: &mut Input<'a>) -> Item<'a> {
        // RFC 9112 section 2.2: empty lines before a request line are to be ignored; old clients send them after a
        // body.
        input.take(blank(input.bytes));
        if input.bytes.is_empty() {
            return Item::NeedMore;
        }
        self.tentative = false;
        self.open(input)
    }

    /// A message may begin at the start of `input`.
    fn open<'a>(&mut self, input: &mut Input<'a>) -> Item<'a> {
        self.garbage_at = None;
        self.head.clear();
        self.searched = 0;
        self.head_mark = input.mark;
        self.line = RequestLine::default();
        match start_line(self.kind, input.bytes, &mut self.line) {
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
                    self.check_head_size(true)
                }
                ParseResult::Invalid => {
                    let bytes = input.take(usize::MAX);
                    self.garbage(bytes)
                }
            };
        }
        if begun && self.head.len() > MAX_HEAD {
            return self.broken();
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
            match start_line(self.kind, &self.head, &mut self.line) {
                Verdict::Yes => {
                    self.state = State::Head { begun: true };
                    self.head.truncate(before);
                    return Item::Begin(self.head_mark);
                }
                Verdict::NeedMore => {
                    input.take(usize::MAX);
                    return self.check_head_size(false);
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
            return self.check_head_size(true);
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

    /// A head that is too long breaks. Where it has not begun for certain, it begins first: so it is said that a message
    /// is lost.
    fn check_head_size(&mut self, begun: bool) -> Item<'static> {
        if self.head.len() <= MAX_HEAD {
            return Item::NeedMore;
        }
        if begun || self.tentative {
            return self.broken();
        }
        self.state = State::Head { begun: true };
        Item::Begin(self.head_mark)
    }

    fn classify(&self, bytes: &[u8]) -> Verdict {
        classify(self.kind, bytes)
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
        if self.kind == MessageKind::Request {
            self.garbage_at = Some(self.head_mark.opposite);
        }
        let mut first = [0; 16];
        let length = bytes.len().min(first.len());
        first[..length].copy_from_slice(&bytes[..length]);
        Item::Garbage(first, length, bytes.len() as u64)
    }
}

fn classify(kind: MessageKind, bytes: &[u8]) -> Verdict {
    start_line(kind, bytes, &mut RequestLine::default())
}

/// The same where the bytes come in parts; what is at the beginning of a status line is short.
fn start_line(kind: MessageKind, bytes: &[u8], line: &mut RequestLine) -> Verdict {
    match kind {
        MessageKind::Request => line.read(bytes),
        MessageKind::Response => status_line(bytes),
    }
}

/// Length of the empty lines that `bytes` begin with.
fn blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Whether `bytes` begin with the size line of a chunk, as all senders write it: digits and a line end.
fn begins_chunk(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take(9).take_while(|byte| byte.is_ascii_hexdigit()).count();
    (1..=8).contains(&digits) && bytes[digits..].starts_with(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_with_spaces_that_comes_in_small_parts_is_not_read_anew_for_each() {
        for part in [&b" a"[..], b"  ", b"aa"] {
            let mut parser = MessageParser::new(MessageKind::Request, false);
            let mut next = |bytes: &[u8]| {
                let item = parser.next(&mut Input { bytes, mark: Mark::default() });
                let unread = parser.head.len().saturating_sub(parser.line.at());
                (matches!(item, Item::NeedMore), unread)
            };
            assert_eq!(next(b"GET /"), (true, 0));
            for _ in 0..(MAX_HEAD - 5) / 2 {
                let (more, unread) = next(part);
                assert!(more && unread < 10, "{unread}");
            }
            assert!(!next(b"aa").0, "a head has an end");
        }
    }
}
