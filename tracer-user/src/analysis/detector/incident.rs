//! Incidents: findings of detectors, from their opening to their close.
//!
//! ```text
//! open -> update -> ... -> closed        an incident that is open when tracing ends keeps its last state
//! ```

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;
use strum::IntoStaticStr;

use super::{Evidence, Kind, endpoint};
use crate::{
    event::{SocketInode, Timestamp},
    model::{
        connection::ConnectionInfo,
        exchange::{Exchange, ExchangeId, IncidentId, ProcessRef},
    },
};

/// State of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// First report.
    Open,
    /// Report with new information.
    Update,
    /// The incident has ended. An incident that resumes is updated again.
    Closed,
}

impl State {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Confidence in a finding, with reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confidence {
    /// Facts that the traced programs or the kernel stated.
    pub explicit: Vec<&'static str>,
    /// Conclusions.
    pub inferred: Vec<&'static str>,
    /// Whether other explanations remain.
    pub doubtful: bool,
}

impl Confidence {
    /// `certain` for stated facts, `likely` for conclusions alone, `possible` in case of doubt.
    pub fn level(&self) -> &'static str {
        match (self.doubtful, self.explicit.is_empty()) {
            (true, _) => "possible",
            (false, true) => "likely",
            (false, false) => "certain",
        }
    }
}

/// Contents of an incident, supplied by its detector.
#[derive(Clone, Debug)]
pub struct Report {
    /// Exchanges that it is based on, oldest first. Bounded: the first and the latest matter.
    pub exchanges: Vec<ExchangeId>,
    /// The connection, if the incident concerns a single one.
    pub connection: Option<Arc<ConnectionInfo>>,
    /// Process that the incident concerns.
    pub process: ProcessRef,
    /// Confidence in the finding.
    pub confidence: Confidence,
    /// Evidence of the finding.
    pub evidence: Evidence,
}

/// An incident in its current state.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Sequence number in this trace.
    pub id: IncidentId,
    /// State of the incident.
    pub state: State,
    /// Time of the first report.
    pub opened: Timestamp,
    /// Time of this report.
    pub updated: Timestamp,
    /// Time at which the incident ended; `None` while it is open.
    pub closed: Option<Timestamp>,
    /// Contents.
    pub report: Report,
}

impl Incident {
    /// Kind of the incident.
    pub fn kind(&self) -> Kind {
        self.report.evidence.kind()
    }
}

/// Handle of an open incident, kept by its detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// ID of the incident.
    pub id: IncidentId,
    /// Time of the first report.
    pub since: Timestamp,
}

/// A query of a detector to the kernel. The result may come late or never: a recording contains only the results of the
/// queries made while it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Kernel state of this connection.
    Connection(SocketInode),
    /// State of the threads of this process.
    Threads {
        /// Process ID.
        pid: u32,
        /// Thread to prefer; 0 for none.
        tid: u32,
    },
}

/// Output of detectors until it is fetched.
#[derive(Debug, Default)]
pub struct Findings {
    opened: u64,
    incidents: VecDeque<Incident>,
    memberships: Vec<IncidentId>,
    asks: Vec<Ask>,
    /// For open incidents: time of the last report, and the value of `seen` in [`Self::keep`] at that time.
    said: FxHashMap<IncidentId, (Timestamp, Option<u64>)>,
    /// Exchange of the last [`Self::endpoint_key`], with the result.
    endpoint: Option<(ExchangeId, Option<u64>)>,
}

/// Minimum time in nanoseconds between two reports of an ongoing incident; bounds the age of the displayed data.
pub(super) const REFRESH_NS: u64 = 4_000_000_000;
/// Maximum number of open incidents that are kept up to date.
const MAX_SAID: usize = 4096;

impl Findings {
    /// Opens an incident.
    pub fn open(&mut self, now: Timestamp, report: Report) -> Opened {
        self.opened += 1;
        let opened = Opened { id: IncidentId(self.opened), since: now };
        self.say(State::Open, opened, now, None, report);
        opened
    }

    /// Reports new information on an incident.
    pub fn update(&mut self, opened: Opened, now: Timestamp, report: Report) {
        self.say(State::Update, opened, now, None, report);
    }

    /// Updates an ongoing incident if [`REFRESH_NS`] have passed since its last report and `seen` (a count of calls,
    /// failures or connections) has changed since then.
    pub fn keep(&mut self, opened: Opened, now: Timestamp, seen: u64, report: impl FnOnce() -> Report) {
        let Some((time, before)) = self.said.get(&opened.id).copied() else { return };
        if now.since(time) >= REFRESH_NS && before != Some(seen) {
            self.update(opened, now, report());
            self.said.insert(opened.id, (now, Some(seen)));
        }
    }

    /// Hash of the endpoint of an exchange, computed once for all detectors.
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

    /// Closes an incident. It ended at `closed`, which is known since `now`.
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

    /// Assigns the exchange of the current observation, which is [`super::Observation::Finished`], to an incident.
    pub fn belongs(&mut self, opened: Opened) {
        self.memberships.push(opened.id);
    }

    /// Queues a query to the kernel. Queries are only collected after a [`super::Observation::Tick`].
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
        // An empty vector takes no allocation.
        std::mem::take(&mut self.memberships)
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }
}

/// Value of a fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unknown or absent.
    Null,
    /// A boolean.
    Flag(bool),
    /// An integer.
    Count(u64),
    /// Another number; shown with up to three decimal places.
    Decimal(f64),
    /// Text with secrets hidden.
    Text(String),
    /// A point in time.
    Time(Timestamp),
    /// Several values.
    List(Vec<Value>),
    /// Named values.
    Object(Facts),
}

/// Facts with their names.
pub type Facts = Vec<(&'static str, Value)>;

impl Value {
    /// Rounds nanoseconds to whole milliseconds.
    pub fn milliseconds(nanoseconds: u64) -> Self {
        Self::Count(nanoseconds.saturating_add(500_000) / 1_000_000)
    }

    /// Creates a list with a value for each item.
    pub fn list<T>(items: impl IntoIterator<Item = T>, value: impl FnMut(T) -> Self) -> Self {
        Self::List(items.into_iter().map(value).collect())
    }

    /// Creates a list of addresses or authorities with their counts.
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
