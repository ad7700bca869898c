//! Incidents: what detectors find, from when it shows to when it is over.
//!
//! ```text
//! open -> update -> ... -> closed        an incident that is not over when tracing ends stays as it was said last
//! ```

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Evidence, Kind, endpoint};
use crate::{
    event::{SocketInode, Timestamp},
    model::{
        connection::ConnectionInfo,
        exchange::{Exchange, ExchangeId, IncidentId, ProcessRef},
    },
};

/// Where in its life an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Said for the first time.
    Open,
    /// More is known.
    Update,
    /// It is over. (One that turns out to go on is updated again.)
    Closed,
}

impl State {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Closed => "closed",
        }
    }
}

/// How sure a finding is, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confidence {
    /// What the traced programs or the kernel said themselves.
    pub explicit: Vec<&'static str>,
    /// What was concluded.
    pub inferred: Vec<&'static str>,
    /// Other explanations of what was seen remain.
    pub doubtful: bool,
}

impl Confidence {
    /// `certain` where it was said, `likely` where it was concluded, `possible` where there is doubt.
    pub fn level(&self) -> &'static str {
        match (self.doubtful, self.explicit.is_empty()) {
            (true, _) => "possible",
            (false, true) => "likely",
            (false, false) => "certain",
        }
    }
}

/// What a detector says about an incident.
#[derive(Clone, Debug)]
pub struct Report {
    /// Exchanges that it rests on, oldest first. Bounded: what matters are the first and the latest.
    pub exchanges: Vec<ExchangeId>,
    /// The connection, where it is about one.
    pub connection: Option<Arc<ConnectionInfo>>,
    /// Whose it is.
    pub process: ProcessRef,
    /// How sure it is.
    pub confidence: Confidence,
    /// What was seen.
    pub evidence: Evidence,
}

/// An incident, as it stands.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Number in this trace.
    pub id: IncidentId,
    /// Where in its life it is.
    pub state: State,
    /// When it was first said.
    pub opened: Timestamp,
    /// When this was said.
    pub updated: Timestamp,
    /// When it was over.
    pub closed: Option<Timestamp>,
    /// What is said.
    pub report: Report,
}

impl Incident {
    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.report.evidence.kind()
    }
}

/// An incident that was opened, in the hands of its detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub id: IncidentId,
    /// Since when.
    pub since: Timestamp,
}

/// What a detector wants to know of the kernel. It may come late, or never: a recording holds only what was asked for
/// when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What of this connection?
    Connection(SocketInode),
    /// What do the threads of this process do?
    Threads {
        /// The process.
        pid: u32,
        /// A thread that matters most; 0 for none.
        tid: u32,
    },
}

/// What detectors say, until it is fetched.
#[derive(Debug, Default)]
pub struct Findings {
    opened: u64,
    incidents: VecDeque<Incident>,
    memberships: Vec<IncidentId>,
    asks: Vec<Ask>,
    /// When open incidents were said last, and how many calls they had then.
    said: FxHashMap<IncidentId, (Timestamp, Option<u64>)>,
    /// The endpoint of the exchange that was asked about last.
    endpoint: Option<(ExchangeId, Option<u64>)>,
}

/// What goes on is said again after so long, where something is new. A person who looks at it sees nothing older.
pub(super) const REFRESH_NS: u64 = 4_000_000_000;
/// Open incidents that are kept up to date.
const MAX_SAID: usize = 4096;

impl Findings {
    /// Something was found.
    pub fn open(&mut self, now: Timestamp, report: Report) -> Opened {
        self.opened += 1;
        let opened = Opened { id: IncidentId(self.opened), since: now };
        self.say(State::Open, opened, now, None, report);
        opened
    }

    /// More is known of it.
    pub fn update(&mut self, opened: Opened, now: Timestamp, report: Report) {
        self.say(State::Update, opened, now, None, report);
    }

    /// It goes on: says it again where [`REFRESH_NS`] have passed since it was said, and `seen` (calls, failures,
    /// connections: whatever grows) is not what it was then.
    pub fn keep(&mut self, opened: Opened, now: Timestamp, seen: u64, report: impl FnOnce() -> Report) {
        let Some((time, before)) = self.said.get(&opened.id).copied() else { return };
        if now.since(time) >= REFRESH_NS && before != Some(seen) {
            self.update(opened, now, report());
            self.said.insert(opened.id, (now, Some(seen)));
        }
    }

    /// The endpoint of an exchange as a number, made once for all detectors.
    pub fn endpoint_key(&mut self, exchange: &Exchange) -> Option<u64> {
        match self.endpoint {
            Some((id, key)) if id == exchange.id => key,
            _ => {
                let key = endpoint::key(exchange);
                self.endpoint = Some((exchange.id, key));
                key
            }
        }
    }

    /// It was over at `closed`, which is known `now`.
    pub fn close(&mut self, opened: Opened, now: Timestamp, closed: Timestamp, report: Report) {
        self.say(State::Closed, opened, now, Some(closed), report);
    }

    fn say(&mut self, state: State, opened: Opened, now: Timestamp, closed: Option<Timestamp>, report: Report) {
        let Opened { id, since } = opened;
        if state == State::Closed {
            self.said.remove(&id);
        } else if self.said.len() < MAX_SAID || self.said.contains_key(&id) {
            self.said.insert(id, (now, None));
        }
        self.incidents.push_back(Incident { id, state, opened: since, updated: now, closed, report });
    }

    /// The exchange of this observation, which is [`super::Observation::Finished`], belongs to an incident.
    pub fn belongs(&mut self, opened: Opened) {
        self.memberships.push(opened.id);
    }

    /// Something is to be asked of the kernel. Only heard when time has passed ([`super::Observation::Tick`]).
    pub fn ask(&mut self, ask: Ask) {
        self.asks.push(ask);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.incidents.is_empty()
    }

    pub(super) fn poll(&mut self) -> Option<Incident> {
        self.incidents.pop_front()
    }

    pub(super) fn take_asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    pub(super) fn take_memberships(&mut self) -> Vec<IncidentId> {
        // Nothing is allocated where there are none.
        std::mem::take(&mut self.memberships)
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }
}

/// A fact of the evidence.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not known, or not there.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Count(u64),
    /// Another number; shown with as many places as it needs, three at most.
    Decimal(f64),
    /// Text, secrets hidden.
    Text(String),
    /// A moment.
    Time(Timestamp),
    /// Several.
    List(Vec<Value>),
    /// Facts with names.
    Object(Facts),
}

/// Facts with their names.
pub type Facts = Vec<(&'static str, Value)>;

impl Value {
    /// Whole milliseconds of so many nanoseconds.
    pub fn milliseconds(nanoseconds: u64) -> Self {
        Self::Count(nanoseconds.saturating_add(500_000) / 1_000_000)
    }

    /// A list.
    pub fn list<T>(items: impl IntoIterator<Item = T>, value: impl FnMut(T) -> Self) -> Self {
        Self::List(items.into_iter().map(value).collect())
    }

    /// Addresses or authorities, with how often each.
    pub fn counted(list: &[(Box<str>, u64)], name: &'static str, redactor: crate::text::redact::Redactor) -> Self {
        Self::list(list, |(what, count)| {
            let what = redactor.authority(what).into_owned();
            Self::Object(vec![(name, Self::Text(what)), ("count", Self::Count(*count))])
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl From<ExchangeId> for Value {
    fn from(id: ExchangeId) -> Self {
        Self::Count(id.0)
    }
}
