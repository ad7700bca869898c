//! Exchanges: one request and its responses, as RFC 9110 section 3.4 has it, with what was seen of them.

use std::sync::Arc;

use crate::{
    event::Timestamp,
    model::connection::{ConnectionInfo, Role},
};

/// Number of an exchange in this trace: 1, 2, 3 in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Number of an incident in this trace: 1, 2, 3 in the order in which they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub u64);

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Request and final response are over.
    Complete,
    /// RST: by the peer, or reported to the target as `ECONNRESET` or `EPIPE`.
    Reset,
    /// The connection was closed before the response was whole: by the peer, or, where the target is the server, by it.
    Closed,
    /// `ECONNREFUSED`.
    Refused,
    /// The connection could not be made in time (`ETIMEDOUT`).
    ConnectTimeout,
    /// No local port or address was left to connect from (`EADDRNOTAVAIL`).
    NoLocalPort,
    /// There is no route to the network (`ENETUNREACH`, `ENETDOWN`).
    NetworkUnreachable,
    /// The host does not answer on its link, or a router said that there is no way to it (`EHOSTUNREACH`, `EHOSTDOWN`).
    HostUnreachable,
    /// The process, or the machine, has no descriptor left (`EMFILE`, `ENFILE`).
    TooManyFiles,
    /// The connection could not be made for another reason, which the error number tells.
    ConnectFailed,
    /// The target gave up: it closed before the response was whole.
    ClientTimeout,
    /// The client closed a response that flowed before it was whole: it had what it wanted.
    ClosedEarly,
    /// A response that no request asked for: a 408 or 400 on an idle connection.
    Unsolicited,
    /// The request was answered with bytes that are no HTTP.
    NotHttp,
    /// Still open when tracing ended.
    InFlight,
    /// Answered by 101, or by 2xx to CONNECT: the connection carries something else from here on.
    Upgraded,
}

impl Outcome {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoLocalPort => "no_local_port",
            Self::NetworkUnreachable => "network_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::TooManyFiles => "too_many_files",
            Self::ConnectFailed => "connect_failed",
            Self::ClientTimeout => "client_timeout",
            Self::ClosedEarly => "closed_early",
            Self::Unsolicited => "unsolicited",
            Self::NotHttp => "not_http",
            Self::InFlight => "in_flight",
            Self::Upgraded => "upgraded",
        }
    }

    /// A remark for a person on an exchange whose status is shown, where there is one.
    pub fn remark(self) -> Option<&'static str> {
        match self {
            Self::Upgraded => Some("upgraded"),
            Self::ClosedEarly => Some("closed early"),
            Self::Unsolicited => Some("unasked"),
            _ => None,
        }
    }

    /// What stands for a person where a status does not say it all; at most seven columns.
    pub fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Complete | Self::Upgraded | Self::ClosedEarly | Self::Unsolicited => return None,
            Self::Reset => "RESET",
            Self::Closed => "CLOSED",
            Self::Refused => "REFUSED",
            Self::ConnectTimeout | Self::ConnectFailed => "NO CONN",
            Self::NoLocalPort => "NO PORT",
            Self::NetworkUnreachable => "NO NET",
            Self::HostUnreachable => "NO HOST",
            Self::TooManyFiles => "NO FDS",
            Self::ClientTimeout => "GAVE UP",
            Self::NotHttp => "NO HTTP",
            Self::InFlight => "OPEN",
        })
    }

    /// Why there was no connection, for a person; `None` for the other outcomes.
    pub fn no_connection(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused => "nobody listens there",
            Self::ConnectTimeout => "the connection could not be made in time",
            Self::NoLocalPort => "no local port is left to connect from",
            Self::NetworkUnreachable => "there is no route to that network",
            Self::HostUnreachable => "that host cannot be reached",
            Self::TooManyFiles => "no file descriptor is left",
            Self::ConnectFailed => "the connection could not be made",
            _ => return None,
        })
    }

    /// How a connect ended that returned this error number.
    pub fn of_connect(error: i32) -> Self {
        match error {
            23 | 24 => Self::TooManyFiles,
            99 => Self::NoLocalPort,
            100 | 101 => Self::NetworkUnreachable,
            104 => Self::Reset,
            110 => Self::ConnectTimeout,
            111 => Self::Refused,
            112 | 113 => Self::HostUnreachable,
            _ => Self::ConnectFailed,
        }
    }
}

/// How much of an exchange was seen. Ordered: a later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// Every byte.
    Whole,
    /// Every byte, but a message ended before its framing said so.
    Cut,
    /// Every byte, but the framing of a message is invalid or does not cover all bytes.
    Unframed,
    /// Bytes of a body are missing; sizes are exact.
    BodyGap,
    /// It was under way when tracing began.
    JoinedLate,
    /// Bytes of a head or of the framing are missing; what could not be known is absent.
    HeaderGap,
}

impl Quality {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Cut => "cut",
            Self::Unframed => "unframed",
            Self::BodyGap => "body_gap",
            Self::JoinedLate => "joined_late",
            Self::HeaderGap => "header_gap",
        }
    }
}

/// HTTP version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// The number alone: `1.0`, `1.1`.
    pub fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// Part of [`Fields::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// Field lines (headers or trailers) in wire order, names and values as on the wire, whitespace around values removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The bytes that the spans point into.
    pub bytes: Vec<u8>,
    /// Name and value of each line.
    pub lines: Vec<(Span, Span)>,
}

impl Fields {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|(name, value)| (self.slice(*name), self.slice(*value)))
    }

    /// Value of the first line with this name (ASCII case ignored).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Values of all lines with this name (ASCII case ignored), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The bytes of a span.
    pub fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Bytes that they take.
    pub fn weight(&self) -> usize {
        self.bytes.capacity() + self.lines.capacity() * size_of::<(Span, Span)>()
    }

    /// Appends a line.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append(name);
        let value = self.append(value);
        self.lines.push((name, value));
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span { start, end: self.bytes.len() as u32 }
    }
}

/// Content of a message (RFC 9110 section 6.4): what is left after the transfer coding is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes that went over the wire as content, before content decoding and without chunk framing.
    pub bytes: u64,
    /// The first of them, up to the limit; a missing piece ends it.
    pub captured: Vec<u8>,
    /// Bytes of the content that could not be captured (loss, `sendfile`); what exceeds the limit is not counted here.
    pub missing: u64,
}

/// A request, as far as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, as on the wire.
    pub method: Box<str>,
    /// Request target as on the wire: origin, absolute, authority or asterisk form (RFC 9112 section 3.2).
    pub target: Box<str>,
    /// Version of the message.
    pub version: Version,
    /// Header section.
    pub headers: Fields,
    /// Content.
    pub body: Body,
    /// Trailer section.
    pub trailers: Fields,
}

impl Request {
    /// Authority of the request (RFC 9110 section 7.2): from an absolute or authority form target, else `Host`.
    pub fn authority(&self) -> Option<&str> {
        if let Some(rest) = self.absolute_rest() {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            return Some(&rest[..end]);
        }
        if &*self.method == "CONNECT" {
            return Some(&self.target);
        }
        self.headers.get("host").and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Bytes that its head takes.
    pub fn weight(&self) -> usize {
        self.method.len() + self.target.len() + self.headers.weight() + self.trailers.weight()
    }

    /// Path with query: the target in origin form. `*` for asterisk form, empty for CONNECT.
    pub fn path(&self) -> &str {
        if let Some(rest) = self.absolute_rest() {
            return rest.find(['/', '?']).map_or("/", |start| &rest[start..]);
        }
        if &*self.method == "CONNECT" { "" } else { &self.target }
    }

    fn absolute_rest(&self) -> Option<&str> {
        // Origin form, as nearly all are; outputs ask several times.
        if self.target.starts_with('/') {
            return None;
        }
        let (scheme, rest) = self.target.split_once("://")?;
        let scheme_ok =
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        scheme_ok.then_some(rest)
    }
}

/// A response, as far as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Reason phrase, as on the wire.
    pub reason: Box<str>,
    /// Version of the message.
    pub version: Version,
    /// Header section.
    pub headers: Fields,
    /// Content.
    pub body: Body,
    /// Trailer section.
    pub trailers: Fields,
}

impl Response {
    /// Bytes that its head takes.
    pub fn weight(&self) -> usize {
        self.reason.len() + self.headers.weight() + self.trailers.weight()
    }
}

/// An interim response (RFC 9110 section 15.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterimResponse {
    /// 100, 102, 103.
    pub status: u16,
    /// Header section.
    pub headers: Fields,
    /// When it was seen.
    pub time: Timestamp,
}

impl InterimResponse {
    /// Bytes that it takes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.headers.weight()
    }
}

/// A connect that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// When it began.
    pub start: Timestamp,
    /// The connection was up.
    pub end: Timestamp,
    /// The process that connected.
    pub pid: u32,
}

/// A request that begins within this time after a connect is the one that the connect was made for: to wake a thread
/// takes less, also on a busy machine, and a pool that opens a connection ahead has a reason to wait longer.
pub const FOLLOWS_CONNECT_NS: u64 = 20_000_000;
/// After a connect that took long the request may come later, by this part of it: where the connect was slow, threads
/// that are slow to wake are likely too, and the error stays small beside the connect.
const FOLLOWS_CONNECT_SHARE: u64 = 8;

impl Connect {
    /// Whether it was made for the request that began at `request`, by process `pid`. A connection that was opened ahead
    /// and is used later was not.
    pub fn is_made_for(&self, request: Timestamp, pid: u32) -> bool {
        let after = (self.end.since(self.start) / FOLLOWS_CONNECT_SHARE).max(FOLLOWS_CONNECT_NS);
        self.pid == pid && request.since(self.end) <= after
    }
}

/// When things happened; all times are those at which system calls returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Start of the connect that was made for this exchange (see [`Connect::is_made_for`]), or of one that failed.
    pub connect_start: Option<Timestamp>,
    /// The connection was up.
    pub connect_end: Option<Timestamp>,
    /// First byte of the request.
    pub request_start: Option<Timestamp>,
    /// Last byte of the request.
    pub request_end: Option<Timestamp>,
    /// First byte of the final response.
    pub response_start: Option<Timestamp>,
    /// Last byte of the final response.
    pub response_end: Option<Timestamp>,
    /// The exchange was over (its last byte, or the close, reset or error that ended it). For one that is still open:
    /// when tracing ended.
    pub end: Option<Timestamp>,
}

/// The process and thread that moved the first byte of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Process name (`comm`).
    pub name: Arc<str>,
}

/// Bytes of a message that do not fit its framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Announced by its length, and did not come before the next message or the end.
    pub cut: u64,
    /// Came with or after it, and no framing covers them.
    pub stray: u64,
}

/// One request and its responses.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Number in this trace.
    pub id: ExchangeId,
    /// What the target is in it.
    pub role: Role,
    /// How it ended.
    pub outcome: Outcome,
    /// How much was seen.
    pub quality: Quality,
    /// When it began: with the connect that was made for it, else with its first byte.
    pub started: Timestamp,
    /// Who.
    pub process: ProcessRef,
    /// Where.
    pub connection: Arc<ConnectionInfo>,
    /// The request; `None` where its head was not seen.
    pub request: Option<Request>,
    /// Interim responses before the final one.
    pub interim: Vec<InterimResponse>,
    /// The final response; `None` where its head was not seen or there was none.
    pub response: Option<Response>,
    /// Bytes of the request that do not fit its framing.
    pub request_misfit: Misfit,
    /// Bytes of the response that do not fit its framing.
    pub response_misfit: Misfit,
    /// When.
    pub timing: Timing,
    /// Error number with which a call ended the exchange, positive.
    pub error: Option<i32>,
    /// Incidents that it was known to belong to when it ended.
    pub incidents: Vec<IncidentId>,
}

/// From here on an exchange is called slow: a person who waits notices a second.
pub const SLOW_NS: u64 = 1_000_000_000;

impl Exchange {
    /// Whether it failed: it has no whole response, or one that says that the server failed. (4xx is how a server answers
    /// a request that is wrong, and 429 is found by the retries that follow it.) One that is open has not failed.
    pub fn is_failed(&self) -> bool {
        match self.outcome {
            Outcome::InFlight | Outcome::Unsolicited => false,
            Outcome::Complete | Outcome::Upgraded | Outcome::ClosedEarly => {
                self.response.as_ref().is_some_and(|response| response.status >= 500)
            }
            _ => true,
        }
    }

    /// Whether it is over and took longer than [`SLOW_NS`].
    pub fn is_slow(&self) -> bool {
        self.end().is_some_and(|end| end.since(self.started) > SLOW_NS)
    }

    /// When it was over; `None` while it is open, whatever was seen of it.
    pub fn end(&self) -> Option<Timestamp> {
        self.timing.end.filter(|_| self.outcome != Outcome::InFlight)
    }

    /// The connection was not made, so there was no request to be seen.
    pub fn never_connected(&self) -> bool {
        self.request.is_none() && self.timing.connect_start.is_some() && self.timing.connect_end.is_none()
    }
}

/// An exchange that is not over, as far as it was seen. Borrowed from where it is put together.
#[derive(Clone, Copy, Debug)]
pub struct OpenExchange<'a> {
    /// Number in this trace.
    pub id: ExchangeId,
    /// What the target is in it.
    pub role: Role,
    /// When it began: with the connect that was made for it, else with its first byte.
    pub started: Timestamp,
    /// Who.
    pub process: &'a ProcessRef,
    /// The thread that moved what was seen last: that of the request, then that of the response.
    pub thread: u32,
    /// Where.
    pub connection: &'a Arc<ConnectionInfo>,
    /// The request, once its head was seen; its body up to now.
    pub request: Option<&'a Request>,
    /// The request was seen to its end, or will not be.
    pub request_done: bool,
    /// Interim responses until now.
    pub interim: &'a [InterimResponse],
    /// The final response, once its head was seen; its body up to now.
    pub response: Option<&'a Response>,
    /// The response was seen to its end (and the request was not), or will not be.
    pub response_done: bool,
    /// When, up to now: the ends are those of the last bytes seen.
    pub timing: &'a Timing,
    /// How much was seen.
    pub quality: Quality,
    /// It was under way when tracing began: what is known of it began earlier.
    pub late: bool,
}

impl OpenExchange<'_> {
    /// A copy that outlives this look: an exchange that is in flight, whose end is `now`.
    pub fn to_exchange(&self, now: Timestamp) -> Exchange {
        Exchange {
            id: self.id,
            role: self.role,
            outcome: Outcome::InFlight,
            quality: self.quality,
            started: self.started,
            process: self.process.clone(),
            connection: Arc::clone(self.connection),
            request: self.request.cloned(),
            interim: self.interim.to_vec(),
            response: self.response.cloned(),
            request_misfit: Misfit::default(),
            response_misfit: Misfit::default(),
            timing: Timing { end: Some(now), ..*self.timing },
            error: None,
            incidents: Vec::new(),
        }
    }

    /// Whether nothing but the time has changed since the copy was made.
    pub fn is_as_in(&self, copy: &Exchange) -> bool {
        let size = |request: Option<&Request>, response: Option<&Response>| {
            (request.map(|request| request.body.bytes), response.map(|response| response.body.bytes))
        };
        copy.id == self.id
            && size(copy.request.as_ref(), copy.response.as_ref()) == size(self.request, self.response)
            && copy.connection.protocol == self.connection.protocol
            && Timing { end: None, ..copy.timing } == Timing { end: None, ..*self.timing }
    }
}

/// What became known of an exchange that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request's head was seen.
    RequestHead,
    /// The request is over.
    RequestDone,
    /// The final response's head was seen.
    ResponseHead,
}
