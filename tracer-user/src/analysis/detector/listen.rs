//! Listen queue of the process: connections that wait for `accept`.
//!
//! ```text
//! the kernel completes a connection -> listen queue (its length, its limit) -> accept -> the process sees it
//! ```
//!
//! No call of the process reveals the queue, so a trace queries the kernel once a second. The length alone does not
//! prove that connections wait for long: a busy server has some in the queue at every query. The queue is first in,
//! first out, so the connections of one query have all been accepted once that many were taken.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint,
    threshold::thresholds,
};
use crate::{
    event::{Timestamp, wire::ListenerEvent},
    model::{connection::Endpoint as Address, exchange::ProcessRef},
    text::{redact::Redactor, units},
};

thresholds! {
    /// Thresholds of the detector `listen-queue`.
    pub struct ListenThresholds {
        /// time that connections stay in the listen queue before they are reported
        lasting: Duration = Duration::from_secs(2),
    }
}

/// Time after the exit of a process in which another holder of the socket may still be found. The kernel is queried
/// once a second.
const HEIR: Duration = Duration::from_secs(3);
/// Maximum number of watched listening sockets.
const MAX_LISTENERS: usize = 1024;

/// Evidence of a listen queue that is not emptied.
#[derive(Clone, Debug)]
pub struct ListenEvidence {
    /// Address on which the process listens.
    pub address: Box<str>,
    /// Number of connections that wait now.
    pub waiting: u32,
    /// Highest number of waiting connections.
    pub most: u32,
    /// Maximum length of the queue (backlog).
    pub limit: u32,
    /// Time since which connections wait.
    pub since: Timestamp,
    /// Time since then in nanoseconds.
    pub lasting: u64,
    /// Open descriptors of the process and their limit; 0 if unknown.
    pub descriptors: (u32, u32),
    /// Number of connections taken from the queue since then: observed `accept` calls, and further decreases of the
    /// length.
    pub accepted: u64,
    /// Whether the incident has ended.
    pub over: bool,
}

#[derive(Debug)]
struct Listener {
    evidence: ListenEvidence,
    process: ProcessRef,
    local: Address,
    /// Time at which the process exited.
    ended: Option<Timestamp>,
    /// Time of a query, and number of the connections waiting then that are not accepted yet.
    mark: (Timestamp, u64),
    /// Number of connections accepted since the last query.
    lately: u64,
    told: Option<Opened>,
}

/// Detects connections that are not accepted.
#[derive(Debug)]
pub struct Listen {
    thresholds: ListenThresholds,
    listeners: FxHashMap<u64, Listener>,
}

impl Detect for Listen {
    type Thresholds = ListenThresholds;
    type Evidence = ListenEvidence;
    const ABOUT: About = About {
        looks_for: "connections that stay in a listen queue because the process does not accept them in time",
        example: "4 connections have been waiting to be accepted at 127.0.0.1:8080 since 14:02:07 (limit 128): this \
                  process accepts none",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, listeners: FxHashMap::default() }
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Listener(event, process) => self.takes(event, process, now, findings),
            Observation::Accepted(connection) if !self.listeners.is_empty() => {
                for listener in
                    self.listeners.values_mut().filter(|listener| listener.takes_for(&connection.info.local))
                {
                    listener.lately += 1;
                    listener.taken(1);
                }
            }
            // Other processes may also hold the socket, such as the workers of a forking server.
            Observation::ProcessEnded(pid) => {
                for listener in self.listeners.values_mut().filter(|listener| listener.process.pid == *pid) {
                    listener.ended.get_or_insert(now);
                }
            }
            Observation::Tick(_) if !self.listeners.is_empty() => {
                self.bury(now, HEIR.as_nanos() as u64, findings);
            }
            Observation::End => self.bury(now, 0, findings),
            _ => {}
        }
    }
}

impl Listen {
    /// Removes listeners whose process exited `after` or more nanoseconds ago without another holder.
    fn bury(&mut self, now: Timestamp, after: u64, findings: &mut Findings) {
        self.listeners.retain(|_, listener| {
            let Some(ended) = listener.ended.filter(|ended| now.since(*ended) >= after) else { return true };
            if let Some(opened) = listener.told {
                findings.close(opened, now, ended, listener.report(ended, true));
            }
            false
        });
    }

    fn takes(&mut self, event: &ListenerEvent, process: &ProcessRef, now: Timestamp, findings: &mut Findings) {
        if event.waiting == 0 {
            if let Some(mut listener) = self.listeners.remove(&event.connection)
                && let Some(opened) = listener.told
            {
                listener.evidence.waiting = 0;
                findings.close(opened, now, now, listener.report(now, true));
            }
            return;
        }
        if self.listeners.len() >= MAX_LISTENERS && !self.listeners.contains_key(&event.connection) {
            return;
        }
        let listener = self.listeners.entry(event.connection).or_insert_with(|| Listener {
            evidence: ListenEvidence {
                address: endpoint::cut(&Address::from_wire(event.family, event.local, event.local_port).to_string()),
                waiting: 0,
                most: 0,
                limit: event.limit,
                since: now,
                lasting: 0,
                descriptors: (0, 0),
                accepted: 0,
                over: false,
            },
            process: process.clone(),
            local: Address::from_wire(event.family, event.local, event.local_port),
            ended: None,
            mark: (now, event.waiting.into()),
            lately: 0,
            told: None,
        });
        if listener.process.pid != process.pid {
            (listener.process, listener.ended) = (process.clone(), None);
        }
        // Connections taken by unseen calls (io_uring, or a process that is not traced).
        let shrunk = u64::from(listener.evidence.waiting.saturating_sub(event.waiting));
        let unseen = shrunk.saturating_sub(std::mem::take(&mut listener.lately));
        listener.taken(unseen);
        let lasting = self.thresholds.lasting.as_nanos() as u64;
        if listener.mark.1 == 0 {
            // The connections that wait now arrived after the last mark.
            let brief = now.since(listener.mark.0) < lasting;
            listener.mark = (now, event.waiting.into());
            match listener.told {
                Some(opened) if brief => {
                    (listener.evidence.waiting, listener.evidence.limit) = (event.waiting, event.limit);
                    findings.close(opened, now, now, listener.report(now, true));
                    self.listeners.remove(&event.connection);
                    return;
                }
                None => {
                    let evidence = &mut listener.evidence;
                    (evidence.since, evidence.accepted, evidence.most) = (now, 0, 0);
                }
                Some(_) => {}
            }
        }
        let evidence = &mut listener.evidence;
        let was_full = evidence.waiting > evidence.limit;
        (evidence.waiting, evidence.limit) = (event.waiting, event.limit);
        evidence.most = evidence.most.max(event.waiting);
        evidence.descriptors = (event.descriptors, event.descriptor_limit);
        match listener.told {
            None if now.since(listener.mark.0) >= lasting => {
                listener.told = Some(findings.open(now, listener.report(now, false)));
            }
            None => {}
            Some(opened) if was_full != listener.evidence.is_full() => {
                findings.update(opened, now, listener.report(now, false));
            }
            Some(opened) => findings.keep(opened, now, now.0, || listener.report(now, false)),
        }
    }
}

impl Listener {
    /// Records that `number` connections were taken from the queue.
    fn taken(&mut self, number: u64) {
        self.evidence.accepted += number;
        self.mark.1 = self.mark.1.saturating_sub(number);
    }

    /// Whether a connection accepted at `local` may come from this queue.
    fn takes_for(&self, local: &Address) -> bool {
        match (&self.local, local) {
            (Address::Inet(queue), Address::Inet(local)) => {
                queue.port() == local.port() && (queue.ip().is_unspecified() || queue.ip() == local.ip())
            }
            _ => false,
        }
    }

    fn report(&self, now: Timestamp, over: bool) -> Report {
        let evidence = ListenEvidence { lasting: now.since(self.evidence.since), over, ..self.evidence.clone() };
        Report {
            exchanges: Vec::new(),
            connection: None,
            process: self.process.clone(),
            confidence: Confidence {
                explicit: vec!["the kernel's count of connections that wait to be accepted"],
                inferred: if evidence.accepted == 0 {
                    vec!["no accept was observed, and the queue has not shrunk"]
                } else {
                    vec!["the queue is first in, first out, and fewer connections were accepted than waited"]
                },
                doubtful: false,
            },
            evidence: evidence.into(),
        }
    }
}

impl ListenEvidence {
    /// Whether the queue is full. The kernel admits one connection more than the limit (`sk_acceptq_is_full` in
    /// `include/net/sock.h`).
    pub fn is_full(&self) -> bool {
        self.waiting > self.limit
    }

    /// Whether the process has no free descriptor, so that `accept` fails with EMFILE.
    pub fn no_descriptors(&self) -> bool {
        self.descriptors.1 > 0 && self.descriptors.0 >= self.descriptors.1
    }
}

impl Explain for ListenEvidence {
    fn title(&self, redactor: Redactor) -> String {
        self.timed_title(redactor, &|time| units::seconds(time.0))
    }

    fn timed_title(&self, _redactor: Redactor, clock: &dyn Fn(Timestamp) -> String) -> String {
        let Self { address, waiting, most, limit, .. } = self;
        if self.over {
            let lasting = units::seconds(self.lasting);
            let what = if *waiting == 0 {
                "connections no longer wait to be accepted"
            } else {
                "connections no longer wait long to be accepted"
            };
            return format!("{what} at {address}: up to {most} waited, for {lasting}");
        }
        let since = clock(self.since);
        let (verb, s) = if *waiting == 1 { ("has been waiting", "") } else { ("have been waiting", "s") };
        let why = match (self.no_descriptors(), self.is_full()) {
            (true, _) => {
                let (open, limit) = self.descriptors;
                format!("no file descriptor is free ({open} of {limit} in use), so accept fails (EMFILE)")
            }
            (false, true) => "the queue is full, so further connections get no response".to_owned(),
            (false, false) if self.accepted > 0 => {
                format!("they are accepted more slowly than they arrive ({} accepted since then)", self.accepted)
            }
            (false, false) => "this process accepts none".to_owned(),
        };
        format!("{waiting} connection{s} {verb} to be accepted at {address} since {since} (limit {limit}): {why}")
    }

    fn advice(&self) -> String {
        if self.no_descriptors() {
            "Look for file descriptors that are never closed (/proc/PID/fd); a higher limit (ulimit -n) only delays \
             the problem."
        } else {
            "The accepting thread is busy or blocked: examine the threads of the process and its hanging calls. A \
             longer queue (the backlog of listen, net.core.somaxconn) lets callers wait longer but does not serve \
             them sooner."
        }
        .to_owned()
    }

    fn facts(&self, _redactor: Redactor) -> Facts {
        let known = |number: u32| if self.descriptors.1 > 0 { Value::Count(number.into()) } else { Value::Null };
        vec![
            ("address", Value::Text(self.address.to_string())),
            ("waiting", Value::Count(self.waiting.into())),
            ("most", Value::Count(self.most.into())),
            ("limit", Value::Count(self.limit.into())),
            ("full", Value::Flag(self.is_full())),
            ("since", self.since.into()),
            ("accepted", Value::Count(self.accepted)),
            ("lasting_ms", Value::milliseconds(self.lasting)),
            ("descriptors", known(self.descriptors.0)),
            ("descriptor_limit", known(self.descriptors.1)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::ListenEvidence;
    use crate::{
        analysis::detector::{Evidence, Explain as _, Kind, State},
        engine::tests::scenario::Scenario,
        text::redact::Redactor,
    };

    fn found(text: &str) -> Vec<(State, ListenEvidence)> {
        let told = Scenario::told(text);
        let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Listen).map(|incident| {
            let Evidence::Listen(evidence) = &incident.report.evidence else { unreachable!() };
            (incident.state, (**evidence).clone())
        });
        of.collect()
    }

    fn title(evidence: &ListenEvidence) -> String {
        evidence.timed_title(Redactor::new(false), &|_| "14:02:07".to_owned())
    }

    #[test]
    fn what_waits_is_told_until_it_is_accepted() {
        let said = found("+0 t1 queue=1/128\n+1000 t1 queue=3/128\n*8 +1000 t1 queue=4/128\n+1000 t1 queue=0/128");
        let states: Vec<State> = said.iter().map(|(state, _)| *state).collect();
        assert_eq!(states, [State::Open, State::Update, State::Closed], "{said:?}");
        assert_eq!(
            title(&said[0].1),
            "4 connections have been waiting to be accepted at 127.0.0.1:80 since 14:02:07 (limit 128): this process \
             accepts none"
        );
        assert_eq!((said[2].1.most, said[2].1.lasting), (4, 10_000_000_000));
    }

    #[test]
    fn a_full_queue_and_no_descriptors_are_told_as_such() {
        let said = found("*4 +1000 t1 queue=5/4");
        assert!(title(&said[0].1).contains("the queue is full"), "{said:?}");
        let said = found("*4 +1000 t1 queue=5/128 files=1024/1024");
        assert!(
            title(&said[0].1).ends_with("no file descriptor is free (1024 of 1024 in use), so accept fails (EMFILE)")
        );
        assert!(said[0].1.advice().starts_with("Look for file descriptors"));
    }

    #[test]
    fn a_busy_server_has_some_in_its_queue_at_every_look() {
        // The connections of each query are accepted before the next.
        assert!(found(&"+0 t1 queue=3/128\n*50 +20 t1 in accept\n".repeat(8)).is_empty());
        // The decrease of the length also counts, even if the `accept` calls are not seen.
        assert!(found("+1000 t1 queue=1/128\n+1000 t1 queue=9/128\n").is_empty());
    }

    #[test]
    fn who_accepts_slowly_does_not_accept_none() {
        let text = "+0 t1 queue=40/128\n".to_owned() + &"*2 +500 t1 in accept\n+0 t1 queue=44/128\n".repeat(4);
        let said = found(&text);
        assert_eq!(said[0].1.accepted, 4);
        assert!(
            title(&said[0].1)
                .ends_with("(limit 128): they are accepted more slowly than they arrive (4 accepted since then)")
        );
        // An accept at another address does not count; a shorter queue does.
        let said = found("+0 t1 queue=40/128\n+1000 t1 queue=35/128\n+1000 t1 queue=35/128");
        assert_eq!(said[0].1.accepted, 5);
        // The server keeps up again, with some connections in the queue at every query.
        let text =
            text + "*60 +10 t1 in accept\n+0 t1 queue=2/128\n" + &"*3 +200 t1 in accept\n+0 t1 queue=2/128\n".repeat(3);
        let said = found(&text);
        let (state, last) = said.last().expect("some");
        assert_eq!(*state, State::Closed, "{said:?}");
        assert!(title(last).starts_with("connections no longer wait long"), "{}", title(last));
    }

    #[test]
    fn workers_that_share_a_queue_end_one_after_the_other() {
        let waits = "+0 fork p11\n*4 +1000 p11 t1 queue=3/128\n+100 exit p11\n";
        let states = |text: &str| -> Vec<State> { found(text).iter().map(|(state, _)| *state).collect() };
        let said = states(&(waits.to_owned() + "+900 t9 queue=3/128\n*4 +1000 t9 queue=3/128"));
        assert!(!said.contains(&State::Closed), "{said:?}");
        assert_eq!(said.iter().filter(|state| **state == State::Open).count(), 1);
        // No other process holds the socket.
        for text in [waits.to_owned() + "+4000", waits.to_owned() + "+10"] {
            let said = found(&text);
            assert_eq!(said.last().map(|(state, _)| *state), Some(State::Closed), "{said:?}");
            assert_eq!(said.last().map(|(_, last)| last.lasting), Some(3_100_000_000));
        }
    }

    #[test]
    fn a_moment_is_nothing() {
        assert!(found("+0 t1 queue=9/128\n+1000 t1 queue=2/128\n+500 t1 queue=0/128\n+900 t1 queue=3/128").is_empty());
    }
}
