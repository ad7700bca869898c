//! What is said of a burst of errors.

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

/// How the share of failures develops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// More than in the first half of the window.
    Worse,
    /// About as in the first half, or the halves cannot be compared.
    Steady,
    /// Less.
    Better,
}

/// Which calls a burst is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All to this authority; of a server, all inbound calls of the process (the name is empty).
    Upstream(Box<str>),
    /// Those to this address alone.
    Address(Box<str>),
    /// Those of this endpoint alone.
    Endpoint(Endpoint),
}

/// Whether a burst goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Calls fail.
    Ongoing,
    /// Calls succeed again.
    Recovered,
    /// No more calls are made: whether they would fail is not known.
    Stopped,
}

/// What a burst of errors rests on.
#[derive(Clone, Debug)]
pub struct ErrorBurstEvidence {
    /// What the target is in the calls.
    pub role: Role,
    /// Which calls.
    pub scope: Scope,
    /// Addresses of the calls that failed, as far as they are kept, with how many failed there.
    pub addresses: Vec<(Box<str>, u64)>,
    /// Authorities of the calls that failed, likewise; a connect that failed has none.
    pub authorities: Vec<(Box<str>, u64)>,
    /// When the first of the failures happened.
    pub onset: Timestamp,
    /// No call had succeeded before: since when they fail is not known.
    pub from_the_first: bool,
    /// ... and that was when tracing began.
    pub from_the_beginning: bool,
    /// Failures since then.
    pub failures: u64,
    /// All calls since then.
    pub total: u64,
    /// Different calls that failed within the window.
    pub failing_calls: u64,
    /// Share of failures within the window.
    pub share: f64,
    /// Share before; `None` where there was no call before.
    pub share_before: Option<f64>,
    /// Whether it gets worse.
    pub trend: Trend,
    /// What failed how often since the onset: statuses and outcomes.
    pub kinds: Vec<(Box<str>, u64)>,
    /// How the connections failed, where that is why all of them failed.
    pub no_connection: Option<Outcome>,
    /// When the last call ended.
    pub last_call: Timestamp,
    /// So many failed last, without a success between.
    pub last_failed: u64,
    /// Whether it goes on.
    pub course: Course,
}

impl ErrorBurstEvidence {
    /// Whether an exchange that is over is one of the failures, also one that ended before the burst was found.
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

    /// Which calls, in words; authority and address where they differ.
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

    /// Since when, in words.
    fn since(&self, clock: &dyn Fn(Timestamp) -> String) -> String {
        match (self.from_the_first, self.from_the_beginning) {
            (true, true) => "since tracing began, or longer".to_owned(),
            (true, false) => format!("since the first that was seen, at {}", clock(self.onset)),
            (false, _) => format!("since {}", clock(self.onset)),
        }
    }

    /// What failed most, in words.
    fn mostly(&self) -> String {
        match &self.kinds[..] {
            [] => String::new(),
            [(kind, _)] => format!("; all {}", kind.replace('_', " ")),
            [(kind, _), ..] => format!("; mostly {}", kind.replace('_', " ")),
        }
    }

    /// Other calls succeed meanwhile: a connection can be made, or there is one.
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
