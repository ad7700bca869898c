//! The fields: one table for the parser, the help, the completion and the documentation.

/// What can be asked of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// What a line shows: a word without a field.
    Line,
    Method,
    Host,
    Path,
    Url,
    Status,
    Outcome,
    Error,
    Quality,
    Role,
    Protocol,
    Process,
    Pid,
    Tid,
    Connection,
    Local,
    Remote,
    /// By its name; of all, where that is empty.
    Header(Side, Box<str>),
    Body(Side),
    Size,
    Duration,
    Connect,
    Send,
    Wait,
    Receive,
    Id,
    Incident,
}

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Both,
    Request,
    Response,
}

/// What `is:` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Failed,
    Open,
    Slow,
    Client,
    Server,
    Incident,
    Partial,
}

/// What a field is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Text: `:` has it in it, `=` is it, `~` matches a regular expression.
    Text,
    /// One of the [values](FieldHelp::values), or a part of their names after `:`.
    Choice,
    /// A whole number.
    Number,
    /// A status, or a class of them: `503`, `5xx`.
    Status,
    /// A time with its unit: `200ms`, `1.5s`, `1m30s`.
    Duration,
    /// Bytes: `1500`, `10kB`, `1MiB`.
    Size,
    /// Text after `:` and `~`, bytes after the others.
    Body,
    /// `is:`: one of the [values](FieldHelp::values).
    Flag,
    /// `has:`: the name of another field.
    Field,
}

/// A field, as help and completion show it.
#[derive(Clone, Copy, Debug)]
pub struct FieldHelp {
    /// What is typed.
    pub name: &'static str,
    /// Another name for it.
    pub alias: Option<&'static str>,
    /// What it is compared with.
    pub takes: Takes,
    /// What it is, in a line.
    pub what: &'static str,
    /// A term with it.
    pub example: &'static str,
    /// All that can stand behind it, where that is known.
    pub values: &'static [&'static str],
}

const fn field(name: &'static str, takes: Takes, what: &'static str, example: &'static str) -> FieldHelp {
    FieldHelp { name, alias: None, takes, what, example, values: &[] }
}

impl FieldHelp {
    const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    const fn of(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }
}

const OUTCOME_NAMES: &[&str] = &[
    "complete",
    "reset",
    "closed",
    "refused",
    "connect_timeout",
    "no_local_port",
    "network_unreachable",
    "host_unreachable",
    "too_many_files",
    "connect_failed",
    "client_timeout",
    "closed_early",
    "unsolicited",
    "not_http",
    "in_flight",
    "upgraded",
];
const QUALITY_NAMES: &[&str] = &["whole", "cut", "unframed", "body_gap", "joined_late", "header_gap"];
const ROLE_NAMES: &[&str] = &["client", "server"];
const PROTOCOL_NAMES: &[&str] =
    &["unknown", "http/1.1", "http/0.9", "h2", "tls", "ssh", "icy", "websocket", "tunnel", "other"];
const FLAG_NAMES: &[&str] = &["failed", "open", "slow", "client", "server", "incident", "partial"];
/// All fields, those first that are typed most.
static FIELDS: [FieldHelp; 32] = [
    field("host", Takes::Text, "authority of the request, or the address of the server if it has none", "host:stripe")
        .or("authority"),
    field("path", Takes::Text, "path with query; `=` and `~` also match the path without the query", "path~^/v1/"),
    field("url", Takes::Text, "the complete URL", "url:example.org/v1"),
    field("method", Takes::Text, "method of the request", "method=POST"),
    field("status", Takes::Status, "status of the response, or a class of statuses", "status>=500"),
    field("outcome", Takes::Choice, "how the exchange ended", "outcome:timeout").of(OUTCOME_NAMES),
    field("error", Takes::Text, "name of the error number that ended the exchange", "error=ECONNRESET"),
    field(
        "duration",
        Takes::Duration,
        "time from the connect, or the first byte, to the end; the age of an open exchange",
        "duration>1s",
    )
    .or("total"),
    field(
        "connect",
        Takes::Duration,
        "time to establish the connection, if it was made for this exchange",
        "connect>100ms",
    ),
    field("send", Takes::Duration, "time from the first to the last byte of the request", "send>1s"),
    field(
        "wait",
        Takes::Duration,
        "time from the last byte of the request to the first byte of the response, or up \
                                    to now",
        "wait>200ms",
    ),
    field("receive", Takes::Duration, "time from the first to the last byte of the response", "receive>1s"),
    field("header.NAME", Takes::Text, "a header or trailer of either message", "header.x-request-id:abc"),
    field("request.header.NAME", Takes::Text, "a header or trailer of the request", "request.header.accept:json"),
    field("response.header.NAME", Takes::Text, "a header or trailer of the response", "response.header.server=nginx"),
    field(
        "body",
        Takes::Body,
        "decoded content of either message, as far as it was kept; with a size, its bytes on the wire",
        "body:declined",
    ),
    field("request.body", Takes::Body, "body of the request", "request.body>1MB"),
    field("response.body", Takes::Body, "body of the response", "response.body~\"err(or)?\""),
    field("size", Takes::Size, "bytes of both bodies together", "size>=10MiB"),
    field(
        "is",
        Takes::Flag,
        "`failed` and `slow` as in the line output; `partial` if bytes were not seen",
        "is:failed",
    )
    .of(FLAG_NAMES),
    field("has", Takes::Field, "whether the exchange has the field", "has:header.retry-after"),
    field("incident", Takes::Number, "number of an incident that the exchange belongs to", "incident=3"),
    field("role", Takes::Choice, "role of the traced process", "role=server").of(ROLE_NAMES),
    field("process", Takes::Text, "name of the process", "process:worker"),
    field("pid", Takes::Number, "process id", "pid=12843"),
    field("tid", Takes::Number, "thread id", "tid=12850"),
    field("connection", Takes::Number, "number of the connection", "connection=4").or("conn"),
    field("local", Takes::Text, "local address; `=` also matches the address without the port", "local=10.0.0.7"),
    field(
        "remote",
        Takes::Text,
        "remote address; `=` also matches the address without the port",
        "remote:10.0.0.9:443",
    ),
    field("protocol", Takes::Choice, "protocol of the connection", "protocol=websocket").of(PROTOCOL_NAMES),
    field("quality", Takes::Choice, "how much of the exchange was seen", "quality!=whole").of(QUALITY_NAMES),
    field("id", Takes::Number, "number of the exchange", "id=129"),
];

/// All fields, for help and completion; those first that are typed most.
pub fn fields() -> &'static [FieldHelp] {
    &FIELDS
}

/// What stands in a name for any header's.
const ANY_NAME: &str = "NAME";

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Field(Field),
    Is,
    Has,
}

impl Name {
    /// With what is known of it. Case is ignored.
    pub(super) fn find(name: &str) -> Option<(Self, &'static FieldHelp)> {
        let help = FIELDS.iter().find(|help| help.has_name(name))?;
        let field = match help.name {
            "is" => return Some((Self::Is, help)),
            "has" => return Some((Self::Has, help)),
            "host" => Field::Host,
            "path" => Field::Path,
            "url" => Field::Url,
            "method" => Field::Method,
            "status" => Field::Status,
            "outcome" => Field::Outcome,
            "error" => Field::Error,
            "duration" => Field::Duration,
            "connect" => Field::Connect,
            "send" => Field::Send,
            "wait" => Field::Wait,
            "receive" => Field::Receive,
            "body" => Field::Body(Side::Both),
            "request.body" => Field::Body(Side::Request),
            "response.body" => Field::Body(Side::Response),
            "size" => Field::Size,
            "incident" => Field::Incident,
            "role" => Field::Role,
            "process" => Field::Process,
            "pid" => Field::Pid,
            "tid" => Field::Tid,
            "connection" => Field::Connection,
            "local" => Field::Local,
            "remote" => Field::Remote,
            "protocol" => Field::Protocol,
            "quality" => Field::Quality,
            "id" => Field::Id,
            header => {
                let side = match header.split('.').next() {
                    Some("request") => Side::Request,
                    Some("response") => Side::Response,
                    _ => Side::Both,
                };
                let prefix = header.len() - ANY_NAME.len();
                Field::Header(side, name.get(prefix..).unwrap_or_default().to_ascii_lowercase().into())
            }
        };
        Some((Self::Field(field), help))
    }

    /// The name that is closest to one that is none, where one is close.
    pub(super) fn closest(name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase();
        FIELDS
            .iter()
            .flat_map(|help| [Some(help.name), help.alias])
            .flatten()
            .map(|known| (distance(&name, known), known))
            .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
            .min()
            .map(|(_, known)| known)
    }
}

impl FieldHelp {
    fn has_name(&self, name: &str) -> bool {
        if name.eq_ignore_ascii_case(self.name) || self.alias.is_some_and(|alias| name.eq_ignore_ascii_case(alias)) {
            return self.header_prefix().is_none() || name.len() > self.name.len() - ANY_NAME.len();
        }
        // `header.NAME` stands for all names, and `header` alone for any of them.
        self.header_prefix().is_some_and(|prefix| {
            let (start, dot) = prefix.split_at(prefix.len() - 1);
            name.eq_ignore_ascii_case(start)
                || name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start))
                    && name[start.len()..].starts_with(dot)
                    && name.len() > prefix.len()
        })
    }

    fn header_prefix(&self) -> Option<&'static str> {
        self.name.strip_suffix(ANY_NAME)
    }
}

/// Letters to insert, leave out or replace to get from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.bytes().take(MAX_MISTYPED).enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, known) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != known);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(row[place + 1] + 1);
        }
    }
    row[other.len()] + one.len().saturating_sub(MAX_MISTYPED)
}

/// Longer than any name that is known; what is longer still is close to none.
const MAX_MISTYPED: usize = 32;

impl Field {
    /// As it is typed.
    pub(super) fn name(&self) -> String {
        let name = match self {
            // Never shown: a word stands without it.
            Self::Line => "",
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Url => "url",
            Self::Status => "status",
            Self::Outcome => "outcome",
            Self::Error => "error",
            Self::Quality => "quality",
            Self::Role => "role",
            Self::Protocol => "protocol",
            Self::Process => "process",
            Self::Pid => "pid",
            Self::Tid => "tid",
            Self::Connection => "connection",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Header(side, name) => {
                return format!("{}header{}{name}", side.prefix(), if name.is_empty() { "" } else { "." });
            }
            Self::Body(side) => return format!("{}body", side.prefix()),
            Self::Size => "size",
            Self::Duration => "duration",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
            Self::Id => "id",
            Self::Incident => "incident",
        };
        name.to_owned()
    }
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Self::Both => "",
            Self::Request => "request.",
            Self::Response => "response.",
        }
    }
}

impl Flag {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "failed" => Self::Failed,
            "open" => Self::Open,
            "slow" => Self::Slow,
            "client" => Self::Client,
            "server" => Self::Server,
            "incident" => Self::Incident,
            "partial" => Self::Partial,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Open => "open",
            Self::Slow => "slow",
            Self::Client => "client",
            Self::Server => "server",
            Self::Incident => "incident",
            Self::Partial => "partial",
        }
    }
}
