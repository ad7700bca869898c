//! Evidence of an error burst, and its wording.

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
    text::redact::Redactor,
};

/// Development of the share of failures within the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            (_, Role::Server) => "calls of others to this process".to_owned(),
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
            (true, true) => "since tracing began, or longer".to_owned(),
            (true, false) => format!("since the first that was seen, at {}", clock(self.onset)),
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
            Outcome::Refused => format!("{to} refuses every connection: {numbers}"),
            Outcome::NoLocalPort if some => {
                format!("at times no local port is left for connections to {to}: {numbers} failed")
            }
            Outcome::NoLocalPort => format!("no local port is left for connections to {to}: {numbers} failed"),
            Outcome::NetworkUnreachable if some => format!("there is at times no route to {to}: {numbers} failed"),
            Outcome::NetworkUnreachable => format!("there is no route to {to}: {numbers} failed"),
            Outcome::HostUnreachable if some => {
                format!("the host of {to} cannot be reached at times: {numbers} failed")
            }
            Outcome::HostUnreachable => format!("the host of {to} cannot be reached: {numbers} failed"),
            Outcome::TooManyFiles if some => {
                format!("at times no file descriptor is left for connections to {to}: {numbers} failed")
            }
            Outcome::TooManyFiles => format!("no file descriptor is left for connections to {to}: {numbers} failed"),
            _ if some => format!("some connections to {to} cannot be made: {numbers} failed"),
            _ => format!("no connection to {to} can be made: {numbers} failed"),
        })
    }
}

impl Explain for ErrorBurstEvidence {
    fn title(&self, redactor: Redactor) -> String {
        self.timed_title(redactor, &|time| format!("{:.1} s", time.0 as f64 / 1e9))
    }

    fn timed_title(&self, redactor: Redactor, clock: &dyn Fn(Timestamp) -> String) -> String {
        let (what, mostly) = (self.subject(redactor), self.mostly());
        let (failures, total, last) = (self.failures, self.total, self.last_failed);
        let fail = if matches!(self.scope, Scope::Endpoint(_)) { "fails" } else { "fail" };
        match self.course {
            Course::Recovered => return format!("{what} {fail} no longer: {failures} of {total} had failed{mostly}"),
            Course::Stopped if last > 1 => {
                let since = clock(self.last_call);
                return format!("{what}: no more calls since {since}; the last {last} all failed{mostly}");
            }
            Course::Stopped => {
                let since = clock(self.last_call);
                return format!("{what}: no more calls since {since}; {failures} of {total} had failed{mostly}");
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
        format!("{what} {fail}: {failures} of {total} {since}, {share:.0} % of late{before}{trend}{mostly}")
    }

    fn advice(&self) -> String {
        match (self.no_connection, &self.scope, self.role) {
            (Some(Outcome::Refused), ..) if self.some_connect() => {
                "Something listens there, but not always: check whether the upstream restarts, and whether each instance \
                 behind that address runs."
            }
            (Some(Outcome::Refused), ..) => {
                "Nothing listens there: check whether the upstream runs, and on which port and address."
            }
            (Some(Outcome::NoLocalPort), ..) => {
                "This side has used up its ports for that address: keep connections and use them again, and look for those that \
                 are opened and closed for each call (TIME_WAIT) or never closed. More ports \
                 (net.ipv4.ip_local_port_range) put it off."
            }
            (Some(Outcome::NetworkUnreachable), ..) => "Check the routes and interfaces of this machine or container.",
            (Some(Outcome::HostUnreachable), ..) => "Check whether that host is up, and the routes and firewalls to it.",
            (Some(Outcome::TooManyFiles), ..) => {
                "Look for descriptors that are never closed (/proc/PID/fd); a higher limit (ulimit -n) puts it off."
            }
            (Some(_), ..) => "Check that host, and the routes and firewalls to it.",
            (None, Scope::Endpoint(_), Role::Client) => {
                "The other calls to that upstream go better: look at what is behind this one there, and at its log."
            }
            (None, Scope::Address(_), Role::Client) if self.authorities.len() <= 1 => {
                "If the upstream has other addresses, compare them with this one: look at the log of that instance, or take it \
                 out."
            }
            (None, _, Role::Client) if self.from_the_first => {
                "They have failed from the first call that was seen: when that began cannot be known from here. Look at that \
                 upstream's log for these calls."
            }
            (None, _, Role::Client) => {
                "Look at what changed at that upstream at the onset: a deployment, load, something behind it."
            }
            (None, _, Role::Server) => {
                "Look at what this process calls: a failing upstream at the same time is the likely cause."
            }
        }
        .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let trend = match self.trend {
            Trend::Worse => "worse",
            Trend::Steady => "steady",
            Trend::Better => "better",
        };
        let course = match self.course {
            Course::Ongoing => "ongoing",
            Course::Recovered => "recovered",
            Course::Stopped => "stopped",
        };
        let (authority, endpoint) = match &self.scope {
            Scope::Upstream(authority) => (&**authority, None),
            Scope::Address(address) => (self.authorities.first().map_or(&**address, |(name, _)| name), None),
            Scope::Endpoint(endpoint) => (&*endpoint.authority, Some(endpoint)),
        };
        vec![
            ("role", if self.role == Role::Client { "client" } else { "server" }.into()),
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
