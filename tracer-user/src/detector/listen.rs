//! Connections that wait to be accepted: the listen queue of this process.
//!
//! ```text
//! a connection is made by the kernel -> listen queue (its length, its limit) -> accept -> the process knows of it
//! ```
//!
//! What waits there is seen by no call of the process. The kernel is asked for it once a second while a trace runs.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::{
    About, Confidence, Detect, Explain, Facts, Findings, Observation, Opened, Report, Value, endpoint,
    threshold::thresholds,
};
use crate::{
    connection::{Endpoint as Address, Role},
    event::{Timestamp, wire::ListenerEvent},
    exchange::{ProcessRef, Step},
    redact::Redactor,
};

thresholds! {
    /// What the listen-queue detector goes by.
    pub struct ListenThresholds {
        /// Connections wait for so long without a moment when none did
        lasting: Duration = Duration::from_secs(2),
    }
}

/// Listening sockets that are watched, at most.
const MAX_LISTENERS: usize = 1024;

/// What a listen queue that fills rests on.
#[derive(Clone, Debug)]
pub struct ListenEvidence {
    /// Where the process listens.
    pub address: Box<str>,
    /// Connections that wait, the most there were, and how many may.
    pub waiting: u32,
    /// The most that waited.
    pub most: u32,
    /// How many may.
    pub limit: u32,
    /// Since when some wait.
    pub since: Timestamp,
    /// How long that is, nanoseconds.
    pub lasting: u64,
    /// Descriptors of the process, and how many it may have; 0 where that is not known.
    pub descriptors: (u32, u32),
    /// All are accepted.
    pub over: bool,
}

#[derive(Debug)]
struct Listener {
    evidence: ListenEvidence,
    process: ProcessRef,
    told: Option<Opened>,
}

/// Finds connections that are not accepted.
#[derive(Debug)]
pub struct Listen {
    thresholds: ListenThresholds,
    listeners: FxHashMap<u64, Listener>,
}

impl Detect for Listen {
    type Thresholds = ListenThresholds;
    type Evidence = ListenEvidence;
    const ABOUT: About = About {
        looks_for: "connections that wait in the listen queue of this process, because nobody accepts them",
        example: "4 connections wait to be accepted at 127.0.0.1:8080 since 14:02:07, 128 may: this process accepts none",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self { thresholds, listeners: FxHashMap::default() }
    }

    fn wants(&self, _step: Step, _role: Role) -> bool {
        false
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        match observation {
            Observation::Listener(event, process) => self.takes(event, process, now, findings),
            Observation::ProcessEnded(pid) if !self.listeners.is_empty() => {
                self.listeners.retain(|_, listener| {
                    let ends = listener.process.pid == *pid;
                    if ends && let Some(opened) = listener.told {
                        findings.close(opened, now, now, listener.report(now, true));
                    }
                    !ends
                });
            }
            _ => {}
        }
    }
}

impl Listen {
    fn takes(&mut self, event: &ListenerEvent, process: &ProcessRef, now: Timestamp, findings: &mut Findings) {
        if event.waiting == 0 {
            if let Some(listener) = self.listeners.remove(&event.connection)
                && let Some(opened) = listener.told
            {
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
                over: false,
            },
            process: process.clone(),
            told: None,
        });
        let evidence = &mut listener.evidence;
        let was_full = evidence.waiting > evidence.limit;
        (evidence.waiting, evidence.limit) = (event.waiting, event.limit);
        evidence.most = evidence.most.max(event.waiting);
        evidence.descriptors = (event.descriptors, event.descriptor_limit);
        match listener.told {
            None if now.since(listener.evidence.since) >= self.thresholds.lasting.as_nanos() as u64 => {
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
    fn report(&self, now: Timestamp, over: bool) -> Report {
        let evidence = ListenEvidence { lasting: now.since(self.evidence.since), over, ..self.evidence.clone() };
        Report {
            exchanges: Vec::new(),
            connection: None,
            process: self.process.clone(),
            confidence: Confidence {
                explicit: vec!["the kernel's count of connections that wait to be accepted"],
                inferred: vec![],
                doubtful: false,
            },
            evidence: evidence.into(),
        }
    }
}

impl ListenEvidence {
    /// The kernel takes one more than the limit (`sk_acceptq_is_full`, `include/net/sock.h`).
    pub fn is_full(&self) -> bool {
        self.waiting > self.limit
    }

    /// The process can open no more descriptors, so that `accept` fails with EMFILE.
    pub fn no_descriptors(&self) -> bool {
        self.descriptors.1 > 0 && self.descriptors.0 >= self.descriptors.1
    }
}

impl Explain for ListenEvidence {
    fn title(&self, redactor: Redactor) -> String {
        self.timed_title(redactor, &|time| format!("{:.1} s", time.0 as f64 / 1e9))
    }

    fn timed_title(&self, _redactor: Redactor, clock: &dyn Fn(Timestamp) -> String) -> String {
        let Self { address, waiting, most, limit, .. } = self;
        if self.over {
            let seconds = self.lasting as f64 / 1e9;
            return format!(
                "no connection waits any more to be accepted at {address}: up to {most} had, for {seconds:.1} s"
            );
        }
        let since = clock(self.since);
        let (verb, s) = if *waiting == 1 { ("waits", "") } else { ("wait", "s") };
        let why = match (self.no_descriptors(), self.is_full()) {
            (true, _) => {
                let (open, limit) = self.descriptors;
                format!("no file descriptor is left ({open} of {limit}), so accept fails (EMFILE)")
            }
            (false, true) => "the queue is full, and further connections are not answered".to_owned(),
            (false, false) => "this process accepts none".to_owned(),
        };
        format!("{waiting} connection{s} {verb} to be accepted at {address} since {since}, {limit} may: {why}")
    }

    fn advice(&self) -> String {
        if self.no_descriptors() {
            "Look for descriptors that are never closed (/proc/PID/fd); a higher limit (ulimit -n) puts it off."
        } else {
            "Whoever accepts there is busy or blocked: look at what its threads do, and at calls that hang. A longer queue (the \
             backlog of listen, net.core.somaxconn) lets callers wait for longer, and does not serve them sooner."
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
        detector::{Evidence, Explain as _, Kind, State},
        engine::tests::scenario::Scenario,
        redact::Redactor,
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
            "4 connections wait to be accepted at 127.0.0.1:80 since 14:02:07, 128 may: this process accepts none"
        );
        assert_eq!((said[2].1.most, said[2].1.lasting), (4, 10_000_000_000));
    }

    #[test]
    fn a_full_queue_and_no_descriptors_are_told_as_such() {
        let said = found("*4 +1000 t1 queue=5/4");
        assert!(title(&said[0].1).contains("the queue is full"), "{said:?}");
        let said = found("*4 +1000 t1 queue=5/128 files=1024/1024");
        assert!(title(&said[0].1).ends_with("no file descriptor is left (1024 of 1024), so accept fails (EMFILE)"));
        assert!(said[0].1.advice().starts_with("Look for descriptors"));
    }

    #[test]
    fn a_moment_is_nothing() {
        assert!(found("+0 t1 queue=9/128\n+1000 t1 queue=2/128\n+500 t1 queue=0/128\n+900 t1 queue=3/128").is_empty());
    }
}
