//! Parser of the messages of one direction.
//!
//! ```text
//!          first line seen           head complete          body ended
//! Start ---------------------> Head ------------> Body -----------------> Start
//!   |  not a message             |  gap             | gap in framing, of unknown extent
//!   v                            v                  v
//! Resync <-----------------------+------------------+      Resync -> Head: a message that begins a call
//! ```
//!
//! A gap that fits the framing in exactly one way is interpreted that way; `Doubt` waits for the bytes after it to
//! confirm this. A call that moved more bytes than were captured, and invalid framing, lose the framing of the current
//! message alone (`Unframed`). The caller, which pairs the messages, then determines the end of the message
//! ([`MessageParser::cut_short`]).
//!
//! After a gap, or when tracing joins a connection late, the parser looks for a new message only at the first byte of a
//! system call, as a body may contain HTTP text.

use super::{
    chunked::{Chunked, Skip, Step},
    framing::Framing,
    head::{self, Head, MAX_HEAD, MessageKind, ParseResult},
    start_line::{RequestLine, Verdict, status_line},
};
use crate::{
    model::exchange::Fields,
    stream::{GapCause, Mark},
};

/// Output of the parser.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The input is used up.
    NeedMore,
    /// A message certainly begins at this mark.
    Begin(Mark),
    /// The head is complete. The caller must call [`MessageParser::begin_body`] next.
    Head(Head),
    /// Content bytes.
    Body(&'a [u8]),
    /// Missing content: number of bytes and cause.
    BodyGap(u64, GapCause),
    /// The message ended; the fields are its trailer section.
    End(Fields),
    /// The current message, or the search for one, ends in bytes that are no message: the first bytes, how many of them
    /// are set, and the total number.
    Garbage([u8; 16], usize, u64),
    /// The end of the current message is unknown, as bytes are missing or its framing is invalid. No other message is
    /// missing.
    Unframed {
        /// Whether bytes are missing; otherwise the framing is invalid.
        missing: bool,
    },
    /// Number of bytes that no valid framing covers.
    Stray(u64),
    /// The message ends here, before its framing says so.
    Cut,
    /// Framing is missing, so the end of the current message is unknown. Later messages may be missing as well.
    Broken,
    /// Number of bytes skipped during the search for a message.
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
    /// A gap was as long as the rest of the message. The next bytes decide whether the message ended.
    Doubt(GapCause),
    Unframed(Unframed),
    Resync,
    /// The connection has left HTTP.
    Switched,
}

/// Reason why the framing of a message is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unframed {
    /// Chunks are missing. The input is content mixed with chunk framing.
    Adrift,
    /// The framing is invalid.
    Invalid,
}

/// Parser of the messages of one direction.
#[derive(Debug)]
pub struct MessageParser {
    kind: MessageKind,
    state: State,
    /// Start of a head that arrived in several pieces.
    head: Vec<u8>,
    /// Mark of the first byte of `head`.
    head_mark: Mark,
    /// Whether `head` began at the first byte of a call while the parser was in `Resync`, so it may be no message.
    tentative: bool,
    /// Position of the opposite direction when invalid bytes began in place of a request. Until that direction
    /// advances, further bytes belong to them, in whatever calls they arrive.
    garbage_at: Option<u64>,
    searched: usize,
    /// Progress within the request line of `head`.
    line: RequestLine,
}

/// Bytes to parse, consumed from the front.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Bytes that are left.
    pub bytes: &'a [u8],
    /// Mark of the first byte of `bytes`; advances with it.
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
    /// Creates a parser. `joined` means that the stream was in progress before its first piece.
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

    /// Whether the parser is between two messages.
    pub fn at_start(&self) -> bool {
        matches!(self.state, State::Start | State::Resync)
    }

    /// Whether the parser searches for the start of a message.
    pub fn in_resync(&self) -> bool {
        matches!(self.state, State::Resync)
    }

    /// Number of content bytes still expected, if a length states it.
    pub fn content_left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Number of buffered bytes of an incomplete head or trailer section.
    pub fn held(&self) -> usize {
        self.head.len()
            + match &self.state {
                State::Chunked(chunked) => chunked.held(),
                _ => 0,
            }
    }

    /// Abandons the current message because too many bytes are buffered.
    pub fn give_up(&mut self) -> Item<'static> {
        self.broken()
    }

    /// Frees the buffered bytes. The direction receives no more input.
    pub fn forget(&mut self) {
        if self.held() > 0 {
            self.broken();
        }
    }

    /// Leaves HTTP: the rest of the direction is skipped.
    pub fn switch(&mut self) {
        self.state = State::Switched;
        self.head = Vec::new();
    }

    /// Ends the current message regardless of its framing. The next message begins here.
    pub fn cut_short(&mut self) {
        self.state = State::Start;
        self.head = Vec::new();
    }

    /// Rejects the message that seems to begin or to have ended, and all bytes until the opposite direction advances
    /// beyond `opposite`.
    pub fn pass_over(&mut self, opposite: u64) {
        self.garbage_at = Some(opposite);
        self.state = State::Resync;
        self.head = Vec::new();
    }

    /// Whether `bytes` certainly begin a message.
    pub fn is_start(&self, bytes: &[u8]) -> bool {
        self.classify(bytes) == Verdict::Yes
    }

    /// Returns how many of `bytes`, which follow a message, belong neither to another message nor to empty lines.
    pub fn stray(&self, bytes: &[u8]) -> u64 {
        let blank = blank(bytes);
        let rest = &bytes[blank..];
        if rest.is_empty() || self.classify(rest) != Verdict::No { 0 } else { rest.len() as u64 }
    }

    /// Whether the parser is in content that does not end with the connection.
    pub fn in_content(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_) | State::Doubt(_) | State::Unframed(_))
    }

    /// Whether the parser is in a message of unknown framing.
    pub fn is_unframed(&self) -> bool {
        matches!(self.state, State::Unframed(_))
    }

    /// Whether the content ends with the connection.
    pub fn until_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Whether the message may have ended: see [`Self::settle`].
    pub fn in_doubt(&self) -> bool {
        matches!(self.state, State::Doubt(_))
    }

    /// Ends a message that may have ended.
    pub fn settle(&mut self) -> Item<'static> {
        if self.in_doubt() { self.end(Fields::default()) } else { Item::NeedMore }
    }

    /// Mark of the start of an incomplete head, if one is buffered.
    pub fn head_begun(&self) -> Option<Mark> {
        matches!(self.state, State::Head { .. }).then_some(self.head_mark)
    }

    /// Accepts a buffered incomplete start line as the start of a message, because its response arrived. Returns its
    /// mark.
    pub fn begin_held(&mut self) -> Option<Mark> {
        let State::Head { begun: false } = self.state else { return None };
        if self.tentative || !self.head.contains(&b' ') {
            return None;
        }
        self.state = State::Head { begun: true };
        Some(self.head_mark)
    }

    /// Parses the buffered part of a head that has ended incomplete.
    pub fn partial_head(&self) -> Option<Head> {
        if let State::Head { begun: true } = self.state { head::partial(self.kind, &self.head) } else { None }
    }

    /// Sets the framing of the content that follows the last head.
    pub fn begin_body(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilClose => State::UntilClose,
            Framing::Switch => State::Switched,
        };
    }

    /// Returns the next item of `input`.
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

    /// Returns the next item of a gap of `left` bytes, and reduces `left` by the bytes used.
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

    /// Ends the direction. Content that runs until close is complete now.
    pub fn close(&mut self) -> Item<'static> {
        match self.state {
            State::UntilClose | State::Length(0) | State::Doubt(_) => self.end(Fields::default()),
            _ => Item::NeedMore,
        }
    }

    /// Handles a gap that contains framing. Lost events may contain more than the rest of this message; the uncaptured
    /// part of one call does not.
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

    /// Handles chunked content with missing framing. A call that begins with a size line or ends with the last chunk
    /// restores the position.
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
        // RFC 9112 section 2.2: empty lines before a request line are ignored. Old clients send them after a body.
        input.take(blank(input.bytes));
        if input.bytes.is_empty() {
            return Item::NeedMore;
        }
        self.tentative = false;
        self.open(input)
    }

    /// Handles a possible start of a message at the start of `input`.
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
            // In the usual case the whole head is in one piece and is not copied.
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
            // The buffered bytes (such as "body", a possible start of a method) were the end of a message, as its
            // response has arrived since. The response has already reported that message.
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

    /// Abandons a head that is too long. An uncertain head begins first, so that the loss of a message is reported.
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

    /// Rejects bytes that are no message. Tentative bytes are skipped without an error.
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

/// Classifies the start line in `bytes`, which arrive in several pieces. `line` saves reading a request line again; a
/// status line is decided by its first bytes.
fn start_line(kind: MessageKind, bytes: &[u8], line: &mut RequestLine) -> Verdict {
    match kind {
        MessageKind::Request => line.read(bytes),
        MessageKind::Response => status_line(bytes),
    }
}

/// Returns the length of the empty lines at the start of `bytes`.
fn blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// Whether `bytes` begin with the size line of a chunk as senders write it: digits and a line end.
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
