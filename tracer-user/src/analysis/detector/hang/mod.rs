//! Calls that hang: open for longer than such calls take, with nothing moving.
//!
//! ```text
//! silent for half the threshold -> queries of the kernel, repeatedly
//! silent for the threshold, and the kernel has answered or its time to answer is up -> open
//! another verdict, or twice the age -> update
//! a byte moves, or the call ends -> closed, with its total
//! ```
//!
//! The detector looks a few times within the threshold, and does nothing when bytes move. A look judges the calls with
//! activity since the previous look, and those that are due ([`look`]): a hundred thousand silent calls cost nothing.
//! Several calls may share a connection. Each is judged by itself.

mod call;
mod evidence;
mod given_up;
mod forgotten;
mod history;
mod kernel;
mod look;
mod outbound;
mod purpose;
#[cfg(test)]
mod tests;
mod threads;
mod timeout;
mod verdict;
mod words;

use std::{sync::Arc, time::Duration};

use call::{Candidate, Subject};
pub use evidence::{Call, Doing, HangEvidence, HangResult, Outbound, Phase, Reason, Sockets, ThreadFact, WaitingOn};
use forgotten::Forgotten;
use given_up::{AllGivenUp, GaveUp};
use history::{Endpoint, History};
use kernel::Kernels;
use look::Schedule;
use outbound::OutboundCalls;
use rustc_hash::FxHashMap;
use threads::Threads;
use timeout::Timeouts;
use verdict::{Court, Verdict};

use super::{
    About, Ask, Detect, Findings, Live, Observation, OpenConnection, Opened, Report, incident::REFRESH_NS,
    threshold::thresholds,
};
use crate::{
    event::{SocketInode, Timestamp},
    model::{
        connection::{Ending, Role},
        exchange::{Exchange, ExchangeId, Failure, Outcome, Step},
    },
};

thresholds! {
    /// Thresholds of the detector `hang`.
    pub struct HangThresholds {
        /// time without progress after which an open call hangs (also set by --hang-after)
        after: Duration = Duration::from_secs(5),
        /// multiple of the 99th percentile of the endpoint's durations that an open call must also exceed before it
        /// hangs
        factor: f64 = 4.0,
        /// time without progress after which a request that looks like a long poll hangs
        long_poll: Duration = Duration::from_secs(90),
        /// shortest duration of an abandoned call without an answer that is reported as a client timeout, even if it is
        /// below hang.after
        give_up: Duration = Duration::from_secs(1),
    }
}

/// Maximum number of open incidents. Further hanging calls are only counted.
const MAX_OPEN: usize = 1000;
/// Outbound calls, which an inbound call may wait for.
struct Made<'a> {
    all: &'a OutboundCalls,
    /// Set if the list is not of this moment, so that each call must be looked up.
    live: Option<&'a dyn Live>,
}

/// Maximum number of remembered incidents of one exchange that resumes again and again.
const MAX_PAST: usize = 64;
/// Number of looks within the threshold.
const LOOKS: u64 = 8;
/// Minimum and maximum interval between looks, in nanoseconds.
const EVERY: (u64, u64) = (50_000_000, 1_000_000_000);
/// Maximum interval between queries of the kernel about one call, in nanoseconds.
const ASK_AT_LEAST: u64 = 5_000_000_000;
/// Minimum interval between updates, in nanoseconds: a verdict that swings must not fill the screen.
const UPDATE_NS: u64 = 1_000_000_000;
/// Minimum and maximum time for the kernel to answer, beyond the threshold, in nanoseconds.
const GRACE: (u64, u64) = (300_000_000, 2_000_000_000);

/// A watched call.
#[derive(Debug)]
struct Watched {
    candidate: Candidate,
    /// When the detector first judged it.
    since: Timestamp,
    /// At the last look, it was silent for longer than its threshold.
    hangs: bool,
    /// Time of the next look without activity.
    next_look: Timestamp,
    next_ask: Timestamp,
    /// Time of the look that first found the peer closed, if an earlier look found it open.
    closed_since: Option<Timestamp>,
    /// Final status, once it ended.
    status: Option<u16>,
    told: Option<Told>,
    /// The group whose leader's incident counts this call.
    follows: Option<forgotten::Key>,
}

/// The reported incident of a call.
#[derive(Debug)]
struct Told {
    opened: Opened,
    verdict: Verdict,
    /// Time of the latest report, and latest time of the next one.
    updated: Timestamp,
    next: Timestamp,
    /// Number of calls that the incident stands for, and the greatest such number.
    forgotten: u32,
    most: u32,
}

/// The incident of a call that ended.
#[derive(Clone, Copy, Debug, Default)]
struct Was {
    /// The incident that the call belonged to.
    opened: Option<Opened>,
    /// The call was one of several forgotten ones: the process did not wait for it.
    forgotten: bool,
}

/// Detects calls that hang.
#[derive(Debug)]
pub struct Hang {
    thresholds: HangThresholds,
    watched: FxHashMap<Subject, Watched>,
    /// Closed incidents of pending exchanges.
    past: FxHashMap<ExchangeId, Vec<Opened>>,
    kernels: Kernels,
    threads: Threads,
    history: History,
    timeouts: Timeouts,
    given_up: AllGivenUp,
    forgotten: Forgotten,
    schedule: Schedule,
    next_look: Timestamp,
    /// Time of the next query of threads that may wait on connections from before tracing.
    next_threads: Timestamp,
    open: usize,
    hanging: u32,
}

impl Detect for Hang {
    type Thresholds = HangThresholds;
    type Evidence = HangEvidence;
    const ABOUT: About = About {
        looks_for: "an open call that makes no progress: since when, in which phase, and which side is stalled",
        example: "GET stock:8080/v1/items has been hanging for 5.2s: the peer's host acknowledged all data, but the \
                  peer's application does not respond",
    };

    fn new(thresholds: Self::Thresholds) -> Self {
        Self {
            thresholds,
            watched: FxHashMap::default(),
            past: FxHashMap::default(),
            kernels: Kernels::default(),
            threads: Threads::default(),
            history: History::default(),
            timeouts: Timeouts::default(),
            given_up: AllGivenUp::default(),
            forgotten: Forgotten::default(),
            schedule: Schedule::default(),
            next_look: Timestamp(0),
            next_threads: Timestamp(0),
            open: 0,
            hanging: 0,
        }
    }

    fn wants(&self, step: Step, role: Role) -> bool {
        // The next call after one that was given up shows whether a retry followed.
        step == Step::RequestDone && role == Role::Client && !self.given_up.is_empty()
    }

    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings) {
        if !self.given_up.is_empty() {
            match observation {
                Observation::Exchange(Step::RequestDone, exchange) if exchange.role == Role::Client => {
                    self.given_up.another(exchange.process.pid, &exchange.connection.remote, exchange.started);
                }
                Observation::Connecting(connection) | Observation::Connected(connection) => {
                    let started = connection.connect_start.unwrap_or(now);
                    self.given_up.another(connection.process.pid, &connection.info.remote, started);
                }
                _ => {}
            }
            self.tell_all_given_up(matches!(observation, Observation::End), now, findings);
        }
        match observation {
            Observation::Tick(live) if now >= self.next_look => self.look(*live, now, findings),
            Observation::Finished(exchange) => self.finished(exchange, now, findings),
            Observation::Connected(connection) => {
                let subject = Subject::Connection(connection.info.id);
                self.close(subject, HangResult::Connected, now, now, findings);
                self.kernels.forget(connection.info.inode.0);
            }
            Observation::Closed(connection) => self.closed(connection, now, findings),
            Observation::Probe(event, _) => self.kernels.take(event),
            Observation::Thread(event) => self.threads.take(event),
            Observation::ProcessEnded(pid) => self.threads.forget(*pid),
            Observation::ProcessForked { .. }
            | Observation::Exchange(..)
            | Observation::Connecting(_)
            | Observation::Tick(_)
            | Observation::Listener(..)
            | Observation::PeerClosed(_)
            | Observation::PeerReset(_)
            | Observation::Accepted(_)
            | Observation::End => {}
        }
    }
}

impl Hang {
    fn after(&self) -> u64 {
        self.thresholds.after.as_nanos() as u64
    }

    /// Time for the kernel to answer, in nanoseconds.
    fn grace(&self) -> u64 {
        self.after().clamp(GRACE.0, GRACE.1)
    }

    fn every(&self) -> u64 {
        (self.after() / LOOKS).clamp(EVERY.0, EVERY.1)
    }

    fn watch(&mut self, candidate: Candidate, made: &Made<'_>, now: Timestamp, findings: &mut Findings) {
        let (subject, stall) = (candidate.subject, now.since(candidate.progress));
        let inode = candidate.connection.inode.0;
        let kernel = self.kernels.get(inode);
        let needs_threads = verdict::needs_threads(&candidate, kernel);
        let every = self.every();
        let many = self.schedule.are_many();
        let court = Court { now, kernel, threads: &self.threads, made: made.all, live: made.live };
        let verdict = verdict::judge(&candidate, court);
        let watched = self.watched.entry(subject).or_insert_with(|| Watched {
            candidate: candidate.clone(),
            since: now,
            hangs: false,
            next_look: Timestamp(0),
            next_ask: now,
            closed_since: None,
            status: None,
            follows: None,
            told: None,
        });
        if candidate.peer_closed && !watched.candidate.peer_closed {
            watched.closed_since = Some(now);
        }
        if now >= watched.next_ask {
            // With many silent calls, the interval grows with the silence.
            let wait = if many { stall.max(every) } else { (stall / 4).clamp(every, ASK_AT_LEAST) };
            watched.next_ask = Timestamp(now.0.saturating_add(wait));
            if inode != 0 {
                findings.ask(Ask::Connection(SocketInode(inode)));
            }
            if needs_threads {
                findings.ask(Ask::Threads { pid: candidate.process.pid, tid: candidate.tid });
            }
        }
        let age = now.since(candidate.started);
        let after = self.thresholds.after.as_nanos() as u64;
        let grace = after.clamp(GRACE.0, GRACE.1);
        let threshold = candidate.threshold;
        let before = std::mem::replace(&mut watched.candidate, candidate).threshold;
        // A call that is silent on purpose hangs only if it is stuck. A call that was reported before keeps its
        // threshold.
        if threshold == u64::MAX {
            watched.candidate.threshold = if before == u64::MAX { after } else { before };
        }
        let due = stall >= threshold || (verdict.stuck && stall >= after);
        let Some(told) = &mut watched.told else {
            let ready = verdict.settled || now.since(watched.since) >= after / 2 + grace;
            let key = forgotten::key(&watched.candidate, &verdict);
            if let Some(key) = key.filter(|_| due && ready && watched.follows.is_none())
                && !self.forgotten.join(&key, subject)
            {
                watched.follows = Some(key);
                return;
            }
            if due && ready && watched.follows.is_none() && self.open >= MAX_OPEN {
                self.schedule.wait_for_room(&watched.candidate);
            } else if due && ready && watched.follows.is_none() {
                let mut report = report(&watched.candidate, &verdict, HangResult::Ongoing, now, now, self.hanging);
                if let super::Evidence::Hang(evidence) = &mut report.evidence {
                    evidence.has_timeout = self.timeouts.knows(timeout::endpoint_of(&watched.candidate));
                }
                let opened = findings.open(now, report);
                self.open += 1;
                watched.told =
                    Some(Told { opened, verdict, updated: now, forgotten: 1, most: 1, next: next_update(now, age) });
            }
            return;
        };
        let alike = self.forgotten.count(subject);
        told.most = told.most.max(alike);
        let more = alike > told.forgotten && now.since(told.updated) >= forgotten::UPDATE_NS;
        let changed = more
            || verdict.settled
                && verdict.key() != told.verdict.key()
                && now.since(told.updated) >= UPDATE_NS.min(after);
        if changed || now >= told.next {
            let mut report = report(&watched.candidate, &verdict, HangResult::Ongoing, now, now, self.hanging);
            forgotten::count_in(&mut report, alike);
            findings.update(told.opened, now, report);
            told.updated = now;
            told.forgotten = alike;
            told.next = next_update(now, age);
            told.verdict = verdict;
        }
    }

    /// Closes calls that the look did not find silent: they moved or ended.
    fn sweep(&mut self, mut gone: Vec<Subject>, now: Timestamp, findings: &mut Findings) {
        gone.sort_unstable();
        for subject in gone {
            let result = match subject {
                Subject::Exchange(_) => HangResult::Resumed,
                Subject::Connection(_) if self.nobody_waits(subject) => HangResult::Over,
                Subject::Connection(_) | Subject::Query(..) => HangResult::Answered,
            };
            let was = self.close(subject, result, now, now, findings);
            if let (Subject::Exchange(id), Some(opened)) = (subject, was.opened)
                && self.past.len() < MAX_OPEN
            {
                let past = self.past.entry(id).or_default();
                if past.len() < MAX_PAST {
                    past.push(opened);
                }
            }
        }
    }

    /// Whether the thread that waited for the call has ended, or is no longer known.
    fn nobody_waits(&self, subject: Subject) -> bool {
        self.watched.get(&subject).is_some_and(|watched| {
            let Candidate { process, tid, .. } = &watched.candidate;
            let threads = watched.told.as_ref().map_or(&[][..], |told| &told.verdict.threads);
            threads.iter().any(|thread| thread.tid == *tid) && self.threads.get(process.pid, *tid).is_none()
        })
    }

    /// Removes a call that ended or moved. Returns its incident.
    fn close(
        &mut self,
        subject: Subject,
        result: HangResult,
        end: Timestamp,
        now: Timestamp,
        findings: &mut Findings,
    ) -> Was {
        let Some(watched) = self.watched.remove(&subject) else { return Was::default() };
        self.schedule.forget(&watched);
        if let Some(key) = &watched.follows {
            self.forgotten.leave(key, subject);
            let leader = self.forgotten.leader(key).and_then(|leader| self.watched.get(&leader)?.told.as_ref());
            return Was { opened: leader.map(|told| told.opened), forgotten: true };
        }
        let heir = self.forgotten.end(subject);
        if let Some(heir) = heir
            && let Some(next) = self.watched.get_mut(&heir)
        {
            // Other calls of the group are still forgotten: one of them leads it now.
            next.follows = None;
            next.told = watched.told;
            let opened = next.told.as_ref().map(|told| told.opened);
            return Was { opened, forgotten: true };
        }
        let Some(told) = watched.told else { return Was::default() };
        self.open -= 1;
        // The close of the last forgotten call is no time-out: the process did not wait for the call.
        let forgotten = told.most > 1;
        let result = if forgotten && result == HangResult::ClientTimeout { HangResult::Over } else { result };
        let mut report = report(&watched.candidate, &told.verdict, result, end, now, self.hanging);
        forgotten::count_in(&mut report, told.most);
        if let super::Evidence::Hang(evidence) = &mut report.evidence {
            evidence.status = watched.status;
        }
        if result == HangResult::ClientTimeout
            && let super::Evidence::Hang(evidence) = &mut report.evidence
        {
            let candidate = &watched.candidate;
            let endpoint = timeout::endpoint_of(candidate);
            // Whether the next call follows at once is unknown yet, so the calls before decide.
            let followed = self.timeouts.follow(endpoint);
            let known =
                self.timeouts.add(endpoint, end.since(candidate.started), end.since(candidate.progress), followed);
            if let Some((timeout, times)) = known {
                (evidence.timeout, evidence.equal_timeouts) = (Some(timeout), times);
            }
        }
        if matches!(result, HangResult::Answered | HangResult::Connected) && matches!(subject, Subject::Connection(_)) {
            let candidate = &watched.candidate;
            let endpoint = || Endpoint::of(candidate.role, &candidate.connection.remote_text, None);
            self.history.add(endpoint, end.since(candidate.started), 0);
        }
        findings.close(told.opened, now, end, report);
        Was { opened: Some(told.opened), forgotten }
    }

    fn finished(&mut self, exchange: &Exchange, now: Timestamp, findings: &mut Findings) {
        let result = match exchange.outcome {
            // Tracing ends, but the exchange does not.
            Outcome::InFlight => return,
            _ if matches!(exchange.failure(), Some(Failure::Status(_))) => HangResult::Failed,
            Outcome::Complete if exchange.role == Role::Server && self.client_had_gone(exchange) => {
                HangResult::ClientGone
            }
            Outcome::Complete | Outcome::Upgraded | Outcome::ClosedEarly | Outcome::Unsolicited | Outcome::NotHttp => {
                HangResult::Answered
            }
            Outcome::Reset => HangResult::Reset,
            Outcome::Closed => HangResult::Closed,
            Outcome::Refused => HangResult::Refused,
            Outcome::ClientTimeout => HangResult::ClientTimeout,
            outcome @ (Outcome::ConnectTimeout
            | Outcome::NoLocalPort
            | Outcome::NetworkUnreachable
            | Outcome::HostUnreachable
            | Outcome::TooManyFiles
            | Outcome::ConnectFailed) => HangResult::NoConnection(outcome),
        };
        let end = exchange.timing.end.unwrap_or(now);
        for opened in self.past.remove(&exchange.id).unwrap_or_default() {
            findings.belongs(opened);
        }
        if exchange.outcome == Outcome::Complete {
            let slow = (self.after() as f64 / self.thresholds.factor.max(1.0)) as u64;
            let endpoint = || Endpoint::of(exchange.role, &exchange.connection.remote_text, exchange.request.as_ref());
            self.history.add(endpoint, end.since(exchange.started), slow);
        }
        if self.watched.is_empty() && exchange.outcome != Outcome::ClientTimeout {
            return;
        }
        if result == HangResult::Failed
            && let Some(watched) = self.watched.get_mut(&Subject::Exchange(exchange.id))
        {
            watched.status = exchange.response.as_ref().map(|response| response.status);
        }
        let was = self.close(Subject::Exchange(exchange.id), result, end, now, findings);
        let also = self.close(Subject::Connection(exchange.connection.id), result, end, now, findings);
        let forgotten = was.forgotten || also.forgotten;
        if let Some(opened) = was.opened.or(also.opened) {
            findings.belongs(opened);
        } else if exchange.outcome == Outcome::ClientTimeout && exchange.role == Role::Client && !forgotten {
            self.gave_up(exchange, end, now, findings);
        }
        if exchange.request.is_none() && exchange.stream.is_none() {
            self.kernels.forget(exchange.connection.inode.0);
        }
    }

    /// Whether the client closed long after its request and before the answer, so that it did not wait for it. (A
    /// client that closes its side right after its request, as HTTP/1.0 clients do, waits.)
    fn client_had_gone(&self, exchange: &Exchange) -> bool {
        self.watched.get(&Subject::Exchange(exchange.id)).is_some_and(|watched| watched.closed_since.is_some())
    }

    fn closed(&mut self, connection: &OpenConnection<'_>, now: Timestamp, findings: &mut Findings) {
        self.kernels.forget(connection.info.inode.0);
        let result = match connection.ending {
            Some(Ending::Unfinished) => return,
            Some(Ending::ByTarget | Ending::ResetByTarget) if connection.role != Some(Role::Server) => {
                HangResult::ClientTimeout
            }
            Some(Ending::Reset | Ending::ResetByTarget) => HangResult::Reset,
            Some(_) => HangResult::Closed,
            None => HangResult::Over,
        };
        self.close(Subject::Connection(connection.info.id), result, now, now, findings);
    }

    /// Handles a call that the process closed before it was reported to hang.
    fn gave_up(&mut self, exchange: &Exchange, end: Timestamp, now: Timestamp, findings: &mut Findings) {
        let response = exchange.response.as_ref();
        if purpose::of(exchange.request.as_ref(), response) != purpose::Purpose::None {
            return;
        }
        let candidate = timeout::candidate_of(exchange, self.after());
        let kernel = self.kernels.get(candidate.connection.inode.0);
        let made = OutboundCalls::default();
        let court = Court { now: end, kernel, threads: &self.threads, made: &made, live: None };
        let verdict = verdict::judge(&candidate, court);
        let call = GaveUp {
            endpoint: timeout::endpoint_of(&candidate),
            remote: candidate.connection.remote.clone(),
            pid: candidate.process.pid,
            whole: end.since(candidate.started),
            silent: end.since(candidate.progress),
            end,
            report: report(&candidate, &verdict, HangResult::ClientTimeout, end, now, self.hanging),
            followed: false,
        };
        if let Some(call) = self.given_up.add(call) {
            self.tell_given_up(call, now, findings);
        }
    }

    /// Reports calls that were given up, once it is known whether another call followed.
    fn tell_all_given_up(&mut self, all: bool, now: Timestamp, findings: &mut Findings) {
        if !self.given_up.is_empty() {
            for call in self.given_up.take(now, all) {
                self.tell_given_up(call, now, findings);
            }
        }
    }

    fn tell_given_up(&mut self, mut call: GaveUp, now: Timestamp, findings: &mut Findings) {
        let Some((timeout, times)) = self.timeouts.add(call.endpoint, call.whole, call.silent, call.followed) else {
            return;
        };
        // The silence beyond the time-out is the backoff.
        let backoff = if call.followed { call.silent.saturating_sub(timeout) } else { 0 };
        let stall = call.silent - backoff;
        let long = stall >= self.thresholds.give_up.as_nanos() as u64;
        // A client that retries forever also gives up forever.
        let news = times.is_power_of_two();
        if !news || (!long && (times < 2 || stall < timeout::SHORTEST_NS)) {
            return;
        }
        if let super::Evidence::Hang(evidence) = &mut call.report.evidence {
            (evidence.timeout, evidence.equal_timeouts) = (Some(timeout), times);
            evidence.age = evidence.age.saturating_sub(backoff);
            evidence.stalled = evidence.stalled.saturating_sub(backoff);
        }
        let opened = findings.open(now, call.report.clone());
        findings.close(opened, now, Timestamp(call.end.0 - backoff), call.report);
    }
}

/// Time of the next update of an open incident. The intervals grow: only the age is new, and a thousand calls that hang
/// for a day must not fill the disk.
fn next_update(now: Timestamp, age: u64) -> Timestamp {
    Timestamp(now.0.saturating_add(age.clamp(UPDATE_NS, REFRESH_NS.max(age / 8))))
}

fn report(
    candidate: &Candidate,
    verdict: &Verdict,
    result: HangResult,
    end: Timestamp,
    now: Timestamp,
    hanging: u32,
) -> Report {
    let evidence = HangEvidence {
        call: candidate.call.clone(),
        phase: verdict.phase,
        waiting_on: verdict.waiting_on,
        reason: verdict.reason,
        age: end.since(candidate.started),
        age_is_lower_bound: candidate.lower_bound,
        stalled: end.min(now).since(candidate.progress),
        threshold: candidate.threshold,
        result,
        socket: verdict.socket,
        threads: verdict.threads.clone(),
        doing: verdict.doing,
        doing_is_likely: verdict.doing_is_likely,
        outbound: verdict.outbound.clone(),
        timeout: None,
        equal_timeouts: 0,
        hanging,
        perhaps_on_purpose: verdict.perhaps_on_purpose,
        moved_last: candidate.moved.name(),
        status: None,
        client_gone: candidate.role == Role::Server && candidate.peer_closed,
        forgotten: 1,
        unix: candidate.connection.is_unix(),
        has_timeout: false,
    };
    let mut exchanges: Vec<ExchangeId> = candidate.exchange.into_iter().collect();
    exchanges.extend(verdict.outbound.as_ref().and_then(|outbound| outbound.exchange));
    Report {
        exchanges,
        connection: (candidate.connection.inode.0 != 0).then(|| Arc::clone(&candidate.connection)),
        process: candidate.process.clone(),
        confidence: verdict.confidence.clone(),
        evidence: evidence.into(),
    }
}
