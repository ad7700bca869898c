//! Fields of the filter language: one table for the parser, help, completion and documentation.

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::model::{
    connection::{Protocol, Role},
    exchange::{Outcome, Quality},
};

/// Field of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub(super) enum Field {
    /// The text of the line: a word without a field. It has no name.
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
    /// Header or trailer by name; all of them if the name is empty.
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

/// Message that a field belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    #[default]
    Both,
    Request,
    Response,
}

/// Property that `is:` tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub(super) enum Flag {
    Failed,
    Open,
    Slow,
    Client,
    Server,
    Incident,
    Partial,
}

/// Kind of value that a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Text: `:` tests for a part, `=` for equality, `~` matches a regular expression.
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

/// Description of a field for help and completion.
#[derive(Clone, Copy, Debug)]
pub struct FieldHelp {
    /// Name.
    pub name: &'static str,
    /// Alternative name.
    pub alias: Option<&'static str>,
    /// Kind of value.
    pub takes: Takes,
    /// One-line description.
    pub what: &'static str,
    /// Example term.
    pub example: &'static str,
    /// Complete list of values; empty if any value is possible.
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

/// All fields, the most useful first.
static FIELDS: [FieldHelp; 32] = [
    field("host", Takes::Text, "authority of the request, or the address of the server if it has none", "host:stripe")
        .or("authority"),
    field("path", Takes::Text, "path with query; `=` and `~` also match the path without the query", "path~^/v1/"),
    field("url", Takes::Text, "the complete URL", "url:example.org/v1"),
    field("method", Takes::Text, "method of the request", "method=POST"),
    field("status", Takes::Status, "status of the response, or a class of statuses", "status>=500"),
    field("outcome", Takes::Choice, "how the exchange ended", "outcome:timeout").of(Outcome::VARIANTS),
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
        "time from the last byte of the request to the first byte of the response, or up to now",
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
    .of(Flag::VARIANTS),
    field("has", Takes::Field, "whether the exchange has the field", "has:header.retry-after"),
    field("incident", Takes::Number, "number of an incident that the exchange belongs to", "incident=3"),
    field("role", Takes::Choice, "role of the traced process", "role=server").of(Role::VARIANTS),
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
    field("protocol", Takes::Choice, "protocol of the connection", "protocol=websocket").of(Protocol::VARIANTS),
    field("quality", Takes::Choice, "how much of the exchange was seen", "quality!=whole").of(Quality::VARIANTS),
    field("id", Takes::Number, "number of the exchange", "id=129"),
];

/// All fields, for help and completion; the most useful first.
pub fn fields() -> &'static [FieldHelp] {
    &FIELDS
}

/// Placeholder for the name of a header.
const ANY_NAME: &str = "NAME";

/// Length of the longest name that gets a suggestion.
const MAX_MISTYPED: usize = 32;

/// Meaning of a name before an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Field(Field),
    Is,
    Has,
}

impl Name {
    /// Finds a name, ignoring case, with its description.
    pub(super) fn find(name: &str) -> Option<(Self, &'static FieldHelp)> {
        let help = FIELDS.iter().find(|help| help.has_name(name))?;
        let (side, rest) = Side::of(help.name);
        let field = match help.name {
            "is" => return Some((Self::Is, help)),
            "has" => return Some((Self::Has, help)),
            _ if help.header_prefix().is_some() => {
                let prefix = help.name.len() - ANY_NAME.len();
                Field::Header(side, name.get(prefix..).unwrap_or_default().to_ascii_lowercase().into())
            }
            _ => match rest.parse().ok()? {
                Field::Body(_) => Field::Body(side),
                field => field,
            },
        };
        Some((Self::Field(field), help))
    }

    /// Suggests the closest known name for an unknown one; `None` if no name is close.
    pub(super) fn closest(name: &str) -> Option<&'static str> {
        // Longer than any known name, so close to none.
        if name.len() > MAX_MISTYPED {
            return None;
        }
        let name = name.to_ascii_lowercase();
        FIELDS
            .iter()
            .flat_map(|help| [Some(help.name), help.alias])
            .flatten()
            .map(|known| (strsim::levenshtein(&name, known), known))
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
        // `header.NAME` matches one header, `header` alone any header.
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

impl Field {
    /// Name in a filter.
    pub(super) fn name(&self) -> String {
        let own: &str = self.into();
        match self {
            // A word has no field name.
            Self::Line => String::new(),
            Self::Header(side, name) if name.is_empty() => format!("{}{own}", side.prefix()),
            Self::Header(side, name) => format!("{}{own}.{name}", side.prefix()),
            Self::Body(side) => format!("{}{own}", side.prefix()),
            _ => own.to_owned(),
        }
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

    /// Splits the prefix of a message off the name of a field.
    fn of(name: &str) -> (Self, &str) {
        [Self::Request, Self::Response]
            .into_iter()
            .find_map(|side| Some((side, name.strip_prefix(side.prefix())?)))
            .unwrap_or((Self::Both, name))
    }
}

impl Flag {
    pub(super) fn name(self) -> &'static str {
        self.into()
    }
}
