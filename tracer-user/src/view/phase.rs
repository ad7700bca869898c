//! The phases of an exchange: connecting, sending, waiting, receiving.

use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, Outcome, Quality, Request, Timing},
    },
    text::units,
};

/// State of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseState {
    /// It is over, and the next one followed.
    Over,
    /// It goes on.
    Open,
    /// The exchange ended in it.
    Broken(Outcome),
}

impl PhaseState {
    /// Words behind the duration; empty for a phase that is over.
    pub fn words(self) -> String {
        match self {
            Self::Over => String::new(),
            Self::Open => "so far".to_owned(),
            Self::Broken(outcome) => format!("then {}", outcome.word().unwrap_or("over")),
        }
    }
}

impl Phase {
    /// Its duration in words; `>` where it is a lower bound.
    pub fn duration(&self) -> String {
        let least = if self.at_least { ">" } else { "" };
        format!("{least}{}", units::duration(Some(self.to.since(self.from))))
    }
}

/// A part of the time that an exchange took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Name: `connect`, `send`, `wait`, `receive`; at a server `request`, `serve`, `answer`.
    pub name: &'static str,
    /// Its beginning, as far as it was seen.
    pub from: Timestamp,
    /// Its end; while it is open, the time of the view.
    pub to: Timestamp,
    /// Its state.
    pub state: PhaseState,
    /// It began earlier than was seen: the exchange was under way when tracing began.
    pub at_least: bool,
}

/// The phases that were seen to begin, in order. An open one lasts until `now`.
pub fn phases(exchange: &Exchange, now: Timestamp) -> Vec<Phase> {
    let timing = &exchange.timing;
    let mut end = exchange.end().unwrap_or(now);
    if exchange.end().is_none() && exchange.outcome != Outcome::InFlight {
        end = timing.end.unwrap_or(now);
    }
    let ended_here = match exchange.outcome {
        Outcome::InFlight => PhaseState::Open,
        Outcome::Complete | Outcome::Upgraded | Outcome::ClosedEarly | Outcome::Unsolicited => PhaseState::Over,
        outcome => PhaseState::Broken(outcome),
    };
    let [sending, waiting, receiving] = match exchange.role {
        Role::Client => ["send", "wait", "receive"],
        Role::Server => ["request", "serve", "answer"],
    };
    let late = exchange.quality == Quality::JoinedLate;
    let mut phases = Vec::new();
    let mut add = |name, from: Timestamp, to: Option<Timestamp>, state| {
        let state = if to.is_some() { PhaseState::Over } else { state };
        let at_least = late && phases.is_empty();
        phases.push(Phase { name, from, to: to.unwrap_or(end).max(from), state, at_least });
    };
    if let Some(from) = timing.connect_start {
        add("connect", from, timing.connect_end, ended_here);
    }
    let sent = request_end(exchange.request.as_ref(), timing, exchange.outcome);
    if let Some(from) = timing.request_start {
        add(sending, from, sent, ended_here);
    }
    if let Some(from) = sent {
        // Some servers answer before the request has ended.
        let to = timing.response_start.map(|start| start.max(from));
        if to.is_some() || ended_here != PhaseState::Over {
            add(waiting, from, to, ended_here);
        }
    }
    if let Some(from) = timing.response_start {
        let over = timing.response_end.filter(|_| ended_here == PhaseState::Over);
        add(receiving, from, over, ended_here);
    }
    phases
}

/// End of the request. While it goes on, the timing has the time of its last bytes; its length says that more will follow.
fn request_end(request: Option<&Request>, timing: &Timing, outcome: Outcome) -> Option<Timestamp> {
    let end = timing.request_end?;
    if matches!(outcome, Outcome::Complete | Outcome::Upgraded) || timing.response_start.is_some() {
        return Some(end);
    }
    let length = request.and_then(|request| request.headers.get("content-length"));
    let length: Option<u64> = length.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    let more = request.zip(length).is_some_and(|(request, length)| request.body.bytes < length);
    (!more).then_some(end)
}

/// Beginning and length, in nanoseconds and at least 1, of all phases together.
pub fn scale(phases: &[Phase]) -> (Timestamp, u64) {
    let start = phases.iter().map(|phase| phase.from).min().unwrap_or_default();
    let end = phases.iter().map(|phase| phase.to).max().unwrap_or_default();
    (start, end.since(start).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, START};

    fn at(micros: u64) -> Timestamp {
        Timestamp(START.0 + micros * 1_000)
    }

    fn said(exchange: &Exchange) -> Vec<(&'static str, u64, PhaseState)> {
        let phases = phases(exchange, at(1_000));
        phases.iter().map(|phase| (phase.name, phase.to.micros_since(phase.from), phase.state)).collect()
    }

    #[test]
    fn of_one_that_is_over() {
        let mut exchange = fixture::exchange();
        exchange.timing.connect_start = Some(START);
        exchange.timing.connect_end = Some(START);
        let over = [("connect", 0), ("send", 1), ("wait", 1), ("receive", 1)];
        assert_eq!(said(&exchange), over.map(|(name, micros)| (name, micros, PhaseState::Over)));
        exchange.role = Role::Server;
        assert_eq!(said(&exchange)[1].0, "request");
    }

    #[test]
    fn of_one_that_is_open() {
        let mut exchange = fixture::exchange();
        exchange.outcome = Outcome::InFlight;
        exchange.timing.response_end = None;
        assert_eq!(said(&exchange)[2], ("receive", 998, PhaseState::Open));
        exchange.timing.response_start = None;
        exchange.response = None;
        assert_eq!(said(&exchange)[1..], [("wait", 999, PhaseState::Open)]);
        let request = exchange.request.as_mut().expect("the fixture has one");
        request.headers.push(b"Content-Length", b"100");
        assert_eq!(said(&exchange), [("send", 1_000, PhaseState::Open)]);
    }

    #[test]
    fn of_one_that_broke() {
        let mut exchange = fixture::exchange();
        exchange.outcome = Outcome::Reset;
        exchange.timing.response_start = None;
        exchange.timing.response_end = None;
        assert_eq!(said(&exchange)[1], ("wait", 2, PhaseState::Broken(Outcome::Reset)));
        exchange.request = None;
        exchange.timing = Timing { connect_start: Some(START), end: Some(at(7)), ..Timing::default() };
        assert_eq!(said(&exchange), [("connect", 7, PhaseState::Broken(Outcome::Reset))]);
    }
}
