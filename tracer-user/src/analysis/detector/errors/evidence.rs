//! Evidence of an error burst, and its wording.

use strum::IntoStaticStr;

use super::failure;
use crate::{
    analysis::detector::{
        Explain, Facts, Value,
        endpoint::{self, Endpoint},
    },
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, Outcome},
    },
    text::{redact::Redactor, units},
};

/// Development of the share of failures within the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Trend {
    /// The share is higher than in the first half of the window.
    Worse,
    /// The share is about the same, or the halves have too few calls to compare.
    Steady,
    /// The share is lower than in the first half of the window.
    Better,
}

/// Calls that a burst covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All calls to this authority; for a server, all inbound calls of the process (the name is empty).
    Upstream(Box<str>),
    /// The calls to this address.
    Address(Box<str>),
    /// The calls of this endpoint.
    Endpoint(Endpoint),
}

/// Course of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Course {
    /// Calls still fail.
    Ongoing,
    /// Calls succeed again.
    Recovered,
    /// No more calls are made, so it is unknown whether they would fail.
    Stopped,
}

/// Evidence of a burst of errors.
#[derive(Clone, Debug)]
pub struct ErrorBurstEvidence {
    /// Role of the target in the calls.
    pub role: Role,
    /// Calls that the burst covers.
    pub scope: Scope,
    /// Addresses of the failed calls, with counts; bounded.
    pub addresses: Vec<(Box<str>, u64)>,
    /// Authorities of the failed calls, with counts; bounded. A failed connect has none.
    pub authorities: Vec<(Box<str>, u64)>,
    /// Time of the first failure.
    pub onset: Timestamp,
    /// Whether no call succeeded before, so that the true start of the failures is unknown.
    pub from_the_first: bool,
    /// Whether the first failure was seen within one window after tracing began.
    pub from_the_beginning: bool,
    /// Number of failures since the onset.
    pub failures: u64,
    /// Number of calls since the onset.
    pub total: u64,
    /// Number of distinct calls that failed within the window.
    pub failing_calls: u64,
    /// Share of failures within the window, from 0 to 1.
    pub share: f64,
    /// Share before the window; `None` without earlier calls.
    pub share_before: Option<f64>,
    /// Development of the share.
    pub trend: Trend,
    /// Statuses and outcomes of the failures since the onset, with counts.
    pub kinds: Vec<(Box<str>, u64)>,
    /// Outcome of the connects, if a single one explains all failures.
    pub no_connection: Option<Outcome>,
    /// Time at which the last call ended.
    pub last_call: Timestamp,
    /// Number of failures since the last success.
    pub last_failed: u64,
    /// Course of the burst.
    pub course: Course,
}

impl ErrorBurstEvidence {
    /// Whether an ended exchange is one of the failures, including those that ended before the burst was detected.
    pub fn counts(&self, exchange: &Exchange) -> bool {
        let (role, end) = (exchange.role, exchange.timing.end);
        role == self.role
            && end.is_some_and(|end| end >= self.onset)
            && failure(exchange).is_some()
            && match &self.scope {
                Scope::Upstream(_) if role == Role::Server => true,
                Scope::Upstream(authority) => endpoint::cut_str(endpoint::authority(exchange)) == &**authority,
                Scope::Address(address) => endpoint::cut_str(&exchange.connection.remote_text) == &**address,
                Scope::Endpoint(endpoint) => Endpoint::of(exchange).as_ref() == Some(endpoint),
            }
    }

    /// Covered calls in words, with the addresses or authorities that differ.
    pub fn subject(&self, redactor: Redactor) -> String {
        let names = |list, told: &str| endpoint::others(endpoint::names(list), told, redactor);
        match (&self.scope, self.role) {
            (Scope::Endpoint(Endpoint { method, path, .. }), Role::Server) => {
                format!("{method} {}", redactor.url(path))
            }
            (Scope::Endpoint(endpoint), Role::Client) => endpoint.named(endpoint::names(&self.addresses), redactor),
            (_, Role::Server) => "inbound calls to this process".to_owned(),
            (Scope::Upstream(authority), _) => {
                format!("calls to {}{}", redactor.authority(authority), names(&self.addresses, authority))
            }
            (Scope::Address(address), _) => {
                format!("calls to {address}{}", names(&self.authorities, address))
            }
        }
    }

    /// Onset in words.
    fn since(&self, clock: &dyn Fn(Timestamp) -> String) -> String {
        match (self.from_the_first, self.from_the_beginning) {
            (true, true) => "since tracing began or earlier".to_owned(),
            (true, false) => format!("since the first observed call at {}", clock(self.onset)),
            (false, _) => format!("since {}", clock(self.onset)),
        }
    }

    /// Most frequent kind of failure in words.
    fn mostly(&self) -> String {
        match &self.kinds[..] {
            [] => String::new(),
            [(kind, _)] => format!("; all {}", kind.replace('_', " ")),
            [(kind, _), ..] => format!("; mostly {}", kind.replace('_', " ")),
        }
    }

    /// Whether other calls succeed, so that connections can be made or exist.
    fn some_connect(&self) -> bool {
        self.failures < self.total
    }

    fn connections(&self, outcome: Outcome, since: &str, redactor: Redactor) -> Option<String> {
        let to = match &self.scope {
            Scope::Address(address) | Scope::Upstream(address) => redactor.authority(address).into_owned(),
            Scope::Endpoint(_) => return None,
        };
        let (failures, total) = (self.failures, self.total);
        let numbers = format!("{failures} of {total} {since}");
        let some = self.some_connect();
        Some(match outcome {
            Outcome::Refused if some => format!("{to} refuses some connections: {numbers}"),
            Outcome::Refused => format!("{to} refuses all connections: {numbers}"),
            Outcome::NoLocalPort if some => {
                format!("connections to {to} sometimes find no free local port: {numbers} failed")
            }
            Outcome::NoLocalPort => format!("no local port is free for connections to {to}: {numbers} failed"),
            Outcome::NetworkUnreachable if some => format!("there is sometimes no route to {to}: {numbers} failed"),
            Outcome::NetworkUnreachable => format!("there is no route to {to}: {numbers} failed"),
            Outcome::HostUnreachable if some => {
                format!("the host of {to} is sometimes unreachable: {numbers} failed")
            }
            Outcome::HostUnreachable => format!("the host of {to} is unreachable: {numbers} failed"),
            Outcome::TooManyFiles if some => {
                format!("connections to {to} sometimes find no free file descriptor: {numbers} failed")
            }
            Outcome::TooManyFiles => format!("no file descriptor is free for connections to {to}: {numbers} failed"),
            _ if some => format!("some connections to {to} cannot be established: {numbers} failed"),
            _ => format!("no connection to {to} can be established: {numbers} failed"),
        })
    }
}

impl Explain for ErrorBurstEvidence {
    fn title(&self, redactor: Redactor) -> String {
        self.timed_title(redactor, &|time| units::seconds(time.0))
    }

    fn timed_title(&self, redactor: Redactor, clock: &dyn Fn(Timestamp) -> String) -> String {
        let (what, mostly) = (self.subject(redactor), self.mostly());
        let (failures, total, last) = (self.failures, self.total, self.last_failed);
        let are = if matches!(self.scope, Scope::Endpoint(_)) { "is" } else { "are" };
        match self.course {
            Course::Recovered => {
                return format!("{what} {are} no longer failing: {failures} of {total} failed{mostly}");
            }
            Course::Stopped if last > 1 => {
                let since = clock(self.last_call);
                return format!("{what}: no more calls since {since}; the last {last} all failed{mostly}");
            }
            Course::Stopped => {
                let since = clock(self.last_call);
                return format!("{what}: no more calls since {since}; {failures} of {total} failed{mostly}");
            }
            Course::Ongoing => {}
        }
        let since = self.since(clock);
        if let Some(title) = self.no_connection.and_then(|outcome| self.connections(outcome, &since, redactor)) {
            return title;
        }
        let trend = match self.trend {
            Trend::Worse => ", getting worse",
            Trend::Steady => "",
            Trend::Better => ", getting better",
        };
        let before = self.share_before.map_or_else(String::new, |share| format!(" ({:.0} % before)", share * 100.0));
        let share = self.share * 100.0;
        format!("{what} {are} failing: {failures} of {total} {since}, {share:.0} % recently{before}{trend}{mostly}")
    }

    fn advice(&self) -> String {
        match (self.no_connection, &self.scope, self.role) {
            (Some(Outcome::Refused), ..) if self.some_connect() => {
                "A server listens at this address, but not all the time: check whether the upstream restarts, and \
                 whether every instance behind the address is running."
            }
            (Some(Outcome::Refused), ..) => {
                "No server listens at this address: check whether the upstream is running, and on which port and \
                 address."
            }
            (Some(Outcome::NoLocalPort), ..) => {
                "This machine has used up its local ports for this address: reuse connections, and look for \
                 connections that are opened and closed for each call (TIME_WAIT) or never closed. More ports \
                 (net.ipv4.ip_local_port_range) only delay the problem."
            }
            (Some(Outcome::NetworkUnreachable), ..) => {
                "Check the routes and network interfaces of this machine or container."
            }
            (Some(Outcome::HostUnreachable), ..) => {
                "Check whether the host is up, and check the routes and firewalls to it."
            }
            (Some(Outcome::TooManyFiles), ..) => {
                "Look for file descriptors that are never closed (/proc/PID/fd); a higher limit (ulimit -n) only \
                 delays the problem."
            }
            (Some(_), ..) => "Check the host, and the routes and firewalls to it.",
            (None, Scope::Endpoint(_), Role::Client) => {
                "Other calls to this upstream fail less often: check the upstream's log and the dependencies of this \
                 endpoint."
            }
            (None, Scope::Address(_), Role::Client) if self.authorities.len() <= 1 => {
                "If the upstream has other addresses, compare them with this one: check the log of this instance, or \
                 remove the instance."
            }
            (None, _, Role::Client) if self.from_the_first => {
                "The calls have failed since the first observed call, so the time of the first failure is unknown. \
                 Check the upstream's log for these calls."
            }
            (None, _, Role::Client) => {
                "Find out what changed at the upstream at the onset: a deployment, its load, or a dependency."
            }
            (None, _, Role::Server) => {
                "Check the calls that this process makes: an upstream that fails at the same time is the likely cause."
            }
        }
        .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let (trend, course): (&str, &str) = (self.trend.into(), self.course.into());
        let (authority, endpoint) = match &self.scope {
            Scope::Upstream(authority) => (&**authority, None),
            Scope::Address(address) => (self.authorities.first().map_or(&**address, |(name, _)| name), None),
            Scope::Endpoint(endpoint) => (&*endpoint.authority, Some(endpoint)),
        };
        vec![
            ("role", self.role.name().into()),
            ("authority", Value::Text(redactor.authority(authority).into_owned())),
            ("method", endpoint.map_or(Value::Null, |endpoint| Value::Text(endpoint.method.to_string()))),
            ("path", endpoint.map_or(Value::Null, |endpoint| Value::Text(redactor.url(&endpoint.path).into_owned()))),
            ("addresses", Value::counted(&self.addresses, "address", redactor)),
            ("onset", self.onset.into()),
            ("from_the_first", Value::Flag(self.from_the_first)),
            ("failures", Value::Count(self.failures)),
            ("total", Value::Count(self.total)),
            ("failing_calls", Value::Count(self.failing_calls)),
            ("share", Value::Decimal(self.share)),
            ("share_before", self.share_before.map_or(Value::Null, Value::Decimal)),
            ("trend", trend.into()),
            (
                "kinds",
                Value::list(&self.kinds, |(kind, count)| {
                    Value::Object(vec![("kind", Value::Text(kind.to_string())), ("count", Value::Count(*count))])
                }),
            ),
            ("result", course.into()),
            ("last_call", self.last_call.into()),
            ("last_failed", Value::Count(self.last_failed)),
        ]
    }
}
