//! Late responses: callers of this process close their connections before the first byte of the response.
//!
//! ```text
//! request   FIN of the caller      response, which is never read
//! |<--- timeout of the caller --->|
//! |<------------- time to respond ---------------------->|
//! ```
//!
//! This is the server's view of a timeout. One caller may close for its own reasons, so several are needed for an
//! incident.

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;
use strum::IntoStaticStr;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint::Endpoint,
    threshold::thresholds,
};
use crate::{
    event::Timestamp,
    model::{
        connection::{ConnectionId, Role},
        exchange::{Exchange, ExchangeId, Outcome, ProcessRef},
    },
    text::{redact::Redactor, units},
};

thresholds! {
    /// Thresholds of the detector `late-answers`.
    pub struct LateThresholds {
        /// number of callers in the window that disconnected before their response
        callers: u32 = 3,
        /// minimum share of such callers among all callers in the window
        share: f64 = 0.2,
        /// length of the sliding window in which callers are counted
        window: Duration = Duration::from_mins(1),
        /// minimum wait of a caller that counts; a caller that closes sooner may have closed only its sending direction
        waited: Duration = Duration::from_millis(200),
    }
}

/// Maximum number of connections whose caller closed during a call; further ones are not counted.
const MAX_CONNECTIONS: usize = 65_536;
/// Maximum number of processes, and of recent calls kept of each.
const MAX_PROCESSES: usize = 256;
const MAX_CALLS: usize = 1024;
const SHOWN: usize = 8;
/// Number of calls answered in time after which the incident ends.
const RECOVERED: u64 = 3;

/// Whether late responses continue, and how they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum LateCourse {
    /// Responses come too late.
    Ongoing,
    /// Responses come in time again.
    Recovered,
    /// No more calls end, so it is unknown whether responses would come in time.
    Stopped,
    /// The process exited.
    Ended,
}

/// Counts and times of responses that came after their client had gone.
#[derive(Clone, Debug)]
pub struct LateEvidence {
    /// Endpoint of the latest late call, if its request was seen.
    pub endpoint: Option<Endpoint>,
    /// Time at which the first caller closed.
    pub since: Timestamp,
    /// Number of callers that closed early since then.
    pub gone: u64,
    /// Number of calls since then.
    pub total: u64,
    /// Shortest and longest waiting time of the latest such callers, in nanoseconds.
    pub waited: (u64, u64),
    /// Shortest and longest time of the responses that were still sent, in nanoseconds; `None` if there were none.
    pub took: Option<(u64, u64)>,
    /// Time at which the latest call ended.
    pub last_call: Timestamp,
    /// Course of the incident.
    pub course: LateCourse,
}

#[derive(Clone, Copy, Debug)]
struct Gone {
    time: Timestamp,
    waited: u64,
    took: Option<u64>,
    reset: bool,
}

#[derive(Debug)]
struct Process {
    who: ProcessRef,
    /// Recent calls: time of the end, and details if the caller closed early.
    calls: VecDeque<(Timestamp, Option<Gone>)>,
    endpoint: Option<Endpoint>,
    exchanges: Vec<ExchangeId>,
    since: Timestamp,
    gone: u64,
    total: u64,
    /// Number of calls answered in time since the last late one.
    well: u64,
    /// Times at which the latest late call and the latest call ended.
    last: Timestamp,
    last_call: Timestamp,
    /// Ranges over the late calls of the window, or of the last window that had some.
    ranges: Ranges,
    told: Option<(Opened, LateCourse)>,
}

/// Ranges over late calls.
#[derive(Clone, Copy, Debug, Default)]
struct Ranges {
    waited: (u64, u64),
    took: Option<(u64, u64)>,
    /// Whether the callers reset all of them.
    reset: bool,
}

/// The caller has shut down sending or reset the connection.
#[derive(Clone, Copy, Debug)]
struct Closing {
    time: Timestamp,
    reset: bool,
}

/// Detects responses that no caller waits for any more.
#[derive(Debug)]
pub struct Late {
    thresholds: LateThresholds,
    closed: FxHashMap<ConnectionId, Closing>,
    processes: FxHashMap<u32, Process>,
    told: u32,
}

impl Detect for Late {
    type Thresholds = LateThresholds;
    type Evidence = LateEvidence;
    const ABOUT: About = About {
        looks_for: "callers that disconnect before this process answers: the server's view of a client timeout",
        example: "responses are too late: 6 of 6 callers since 14:02:07 disconnected before their response, after 2.0 \
                  s; the responses took 5.0 s",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, closed: FxHashMap::default(), processes: FxHashMap::default(), told: 0 }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::PeerClosed(connection) if connection.open > 0 && self.closed.len() < MAX_CONNECTIONS => {
                self.closed.insert(connection.info.id, Closing { time: now, reset: false });
            }
            // After a FIN, the FIN still determines the time at which the caller closed.
            Observation::PeerReset(connection)
                if connection.open > 0
                    && (self.closed.len() < MAX_CONNECTIONS || self.closed.contains_key(&connection.info.id)) =>
            {
                self.closed.entry(connection.info.id).or_insert(Closing { time: now, reset: true }).reset = true;
            }
            Observation::Closed(connection) if !self.closed.is_empty() => {
                self.closed.remove(&connection.info.id);
            }
            Observation::Finished(exchange) if exchange.role == Role::Server => self.finished(exchange, now, findings),
            Observation::Tick(_) if self.told > 0 => self.look(now, findings),
            Observation::ProcessEnded(pid) => self.ended(*pid, now, findings),
            _ => {}
        }
    }
}

impl Late {
    /// Details of a caller that closed before the first byte of its response, if it did.
    fn gone(&self, exchange: &Exchange) -> Option<Gone> {
        let timing = &exchange.timing;
        let Closing { time, reset } = *self.closed.get(&exchange.connection.id)?;
        let asked = timing.request_start?;
        if timing.response_start.is_some_and(|start| start <= time)
            || time.since(timing.request_end?) < self.thresholds.waited.as_nanos() as u64
        {
            return None;
        }
        let took = timing.response_start.map(|start| start.since(asked));
        Some(Gone { time, waited: time.since(asked), took, reset })
    }

    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let gone = if exchange.outcome == Outcome::InFlight { return } else { self.gone(exchange) };
        let pid = exchange.process.pid;
        let Some(process) = self.processes.get_mut(&pid) else {
            // Counting begins with the first caller that closes early.
            if let Some(gone) = gone {
                self.make_room(now);
                if self.processes.len() < MAX_PROCESSES {
                    self.processes.insert(pid, Process::new(exchange, gone));
                }
            }
            return;
        };
        let window = self.thresholds.window.as_nanos() as u64;
        while process.calls.len() >= MAX_CALLS
            || process.calls.front().is_some_and(|(time, _)| now.since(*time) >= window)
        {
            process.calls.pop_front();
        }
        process.calls.push_back((now, gone));
        process.total += 1;
        process.last_call = now;
        let Some(gone) = gone else {
            process.well += 1;
            return;
        };
        if process.told.is_none() && now.since(process.last) >= window {
            (process.since, process.gone, process.total) = (gone.time, 0, 1);
            process.exchanges.clear();
        }
        process.goes(exchange, now);
        if let Some((opened, _)) = process.told {
            findings.belongs(opened);
            return;
        }
        let late = process.calls.iter().filter(|(_, gone)| gone.is_some()).count();
        if late >= self.thresholds.callers as usize && late as f64 >= self.thresholds.share * process.calls.len() as f64
        {
            let opened = findings.open(now, process.report(LateCourse::Ongoing));
            findings.belongs(opened);
            process.told = Some((opened, LateCourse::Ongoing));
            self.told += 1;
        }
    }

    fn look(&mut self, now: Timestamp, findings: &mut Findings) {
        let window = self.thresholds.window.as_nanos() as u64;
        for process in self.processes.values_mut() {
            let Some((opened, told)) = process.told else { continue };
            let course = if now.since(process.last) < window {
                LateCourse::Ongoing
            } else if process.well >= RECOVERED {
                LateCourse::Recovered
            } else if now.since(process.last_call) >= window {
                LateCourse::Stopped
            } else {
                LateCourse::Ongoing
            };
            if course == LateCourse::Recovered {
                findings.close(opened, now, process.last, process.report(course));
                process.told = None;
                self.told -= 1;
            } else if course == told {
                findings.keep(opened, now, process.total, || process.report(course));
            } else {
                process.told = Some((opened, course));
                findings.update(opened, now, process.report(course));
            }
        }
    }

    /// Removes a process that exited, as its PID may be reused.
    fn ended(&mut self, pid: u32, now: Timestamp, findings: &mut Findings) {
        let Some(mut process) = self.processes.remove(&pid) else { return };
        if let Some((opened, _)) = process.told.take() {
            findings.close(opened, now, process.last, process.report(LateCourse::Ended));
            self.told -= 1;
        }
    }

    /// At the limit, removes processes without an incident and without late calls in the window.
    fn make_room(&mut self, now: Timestamp) {
        if self.processes.len() >= MAX_PROCESSES {
            let window = self.thresholds.window.as_nanos() as u64;
            self.processes.retain(|_, process| process.told.is_some() || now.since(process.last) < window);
        }
    }
}

impl Process {
    fn new(exchange: &Exchange, gone: Gone) -> Self {
        let now = exchange.timing.end.unwrap_or(gone.time);
        let mut process = Self {
            who: exchange.process.clone(),
            calls: VecDeque::from([(now, Some(gone))]),
            endpoint: None,
            exchanges: Vec::new(),
            since: gone.time,
            gone: 0,
            total: 1,
            well: 0,
            last: now,
            last_call: now,
            ranges: Ranges::default(),
            told: None,
        };
        process.goes(exchange, now);
        process
    }

    fn goes(&mut self, exchange: &Exchange, now: Timestamp) {
        self.gone += 1;
        self.well = 0;
        self.last = now;
        self.endpoint = Endpoint::of(exchange).or_else(|| self.endpoint.take());
        if self.exchanges.len() >= SHOWN {
            self.exchanges.remove(1);
        }
        self.exchanges.push(exchange.id);
    }

    /// Updates the ranges. Without late calls in the window, the previous ranges stay.
    fn look_at_ranges(&mut self) {
        let all = || self.calls.iter().filter_map(|(_, gone)| *gone);
        let range = |numbers: &mut dyn Iterator<Item = u64>| {
            numbers.fold(None, |range: Option<(u64, u64)>, number| {
                Some(range.map_or((number, number), |(least, most)| (least.min(number), most.max(number))))
            })
        };
        if all().next().is_some() {
            self.ranges = Ranges {
                waited: range(&mut all().map(|gone| gone.waited)).unwrap_or_default(),
                took: range(&mut all().filter_map(|gone| gone.took)),
                reset: all().all(|gone| gone.reset),
            };
        }
    }

    fn report(&mut self, course: LateCourse) -> Report {
        self.look_at_ranges();
        let Ranges { waited, took, reset } = self.ranges;
        let evidence = LateEvidence {
            endpoint: self.endpoint.clone(),
            since: self.since,
            gone: self.gone,
            total: self.total.max(self.gone),
            waited,
            took,
            last_call: self.last_call,
            course,
        };
        Report {
            exchanges: self.exchanges.clone(),
            connection: None,
            process: self.who.clone(),
            confidence: Confidence {
                explicit: vec!["each of these callers closed its connection before the first byte of its response"],
                inferred: vec!["the callers stopped waiting; a caller that closes only one direction may still read"],
                doubtful: !reset,
            },
            evidence: evidence.into(),
        }
    }
}

impl LateCourse {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// Formats a range of times.
fn seconds((least, most): (u64, u64)) -> String {
    // Scheduling spreads a single timeout by up to a tenth.
    if most - least <= most / 10 {
        units::seconds(most)
    } else {
        format!("{:.1} to {}", least as f64 / 1e9, units::seconds(most))
    }
}

impl Explain for LateEvidence {
    fn title(&self, redactor: Redactor) -> String {
        self.timed_title(redactor, &|time| units::seconds(time.0))
    }

    fn timed_title(&self, redactor: Redactor, clock: &dyn Fn(Timestamp) -> String) -> String {
        let (gone, total, waited) = (self.gone, self.total, seconds(self.waited));
        match self.course {
            LateCourse::Recovered => {
                return format!(
                    "responses are in time again: {gone} of {total} callers disconnected before their response"
                );
            }
            LateCourse::Ended => {
                return format!(
                    "responses were too late until the process exited: {gone} of {total} callers disconnected before \
                     their response, after {waited}"
                );
            }
            LateCourse::Stopped => {
                let since = clock(self.last_call);
                return format!(
                    "no call has completed since {since}; {gone} of {total} callers disconnected before their \
                     response, after {waited}"
                );
            }
            LateCourse::Ongoing => {}
        }
        let endpoint = self.endpoint.as_ref().map_or_else(String::new, |endpoint| {
            format!("; the latest: {} {}", endpoint.method, redactor.url(&endpoint.path))
        });
        let took = self.took.map_or_else(
            || "; no response was sent".to_owned(),
            |took| format!("; the responses took {}", seconds(took)),
        );
        let since = clock(self.since);
        format!(
            "responses are too late: {gone} of {total} callers since {since} disconnected before their response, \
             after {waited}{took}{endpoint}"
        )
    }

    fn advice(&self) -> String {
        "The callers' timeout is shorter than the time that these responses take: find out what this process waits \
         for (its own calls, locks, a request queue), or increase the callers' timeout. Work for a disconnected \
         caller is wasted: cancel it when the connection closes."
            .to_owned()
    }

    fn facts(&self, redactor: Redactor) -> Facts {
        let endpoint = self.endpoint.as_ref();
        vec![
            ("method", endpoint.map_or(Value::Null, |endpoint| Value::Text(endpoint.method.to_string()))),
            ("path", endpoint.map_or(Value::Null, |endpoint| Value::Text(redactor.url(&endpoint.path).into_owned()))),
            ("since", self.since.into()),
            ("gone", Value::Count(self.gone)),
            ("total", Value::Count(self.total)),
            ("shortest_wait_ms", Value::milliseconds(self.waited.0)),
            ("longest_wait_ms", Value::milliseconds(self.waited.1)),
            ("shortest_answer_ms", self.took.map_or(Value::Null, |took| Value::milliseconds(took.0))),
            ("longest_answer_ms", self.took.map_or(Value::Null, |took| Value::milliseconds(took.1))),
            ("result", self.course.name().into()),
        ]
    }
}

#[cfg(test)]
mod tests;
