//! The phases of an exchange, to scale.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, Outcome, Request, Timing},
    },
    text::units,
    tui::{
        pen::Pen,
        theme::{Theme, Tone},
    },
};

/// Columns of names, of durations, and of what is to be said of a phase.
const NAME: u16 = 8;
const DURATION: u16 = 7;
const REMARK: u16 = 20;

/// How a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is over, and the next one came.
    Over,
    /// It goes on.
    Open,
    /// The exchange ended in it.
    Broken(Outcome),
}

/// A part of the time that an exchange took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) state: State,
    /// The connection was up before tracing began, or something else hides when it really began.
    pub(super) at_least: bool,
}

/// All that were seen to begin, in order. `now` is when what is open is looked at.
pub(super) fn phases(exchange: &Exchange, now: Timestamp) -> Vec<Phase> {
    let timing = &exchange.timing;
    let mut end = exchange.end().unwrap_or(now);
    if exchange.end().is_none() && exchange.outcome != Outcome::InFlight {
        end = timing.end.unwrap_or(now);
    }
    let ended_here = match exchange.outcome {
        Outcome::InFlight => State::Open,
        Outcome::Complete | Outcome::Upgraded | Outcome::ClosedEarly | Outcome::Unsolicited => State::Over,
        outcome => State::Broken(outcome),
    };
    let [sending, waiting, receiving] = match exchange.role {
        Role::Client => ["send", "wait", "receive"],
        Role::Server => ["request", "serve", "answer"],
    };
    let late = exchange.quality == crate::model::exchange::Quality::JoinedLate;
    let mut phases = Vec::new();
    let mut add = |name, from: Timestamp, to: Option<Timestamp>, state| {
        let state = if to.is_some() { State::Over } else { state };
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
        // Some answer before they were asked to the end.
        let to = timing.response_start.map(|start| start.max(from));
        if to.is_some() || ended_here != State::Over {
            add(waiting, from, to, ended_here);
        }
    }
    if let Some(from) = timing.response_start {
        let over = timing.response_end.filter(|_| ended_here == State::Over);
        add(receiving, from, over, ended_here);
    }
    phases
}

/// When the request was over. While it goes on, the timing has when its last bytes were seen; that there will be more is
/// known from its length.
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

/// From when to when a whole waterfall goes.
pub(super) fn scale(phases: &[Phase]) -> (Timestamp, u64) {
    let start = phases.iter().map(|phase| phase.from).min().unwrap_or_default();
    let end = phases.iter().map(|phase| phase.to).max().unwrap_or_default();
    (start, end.since(start).max(1))
}

/// Draws one phase in one line.
pub(super) fn draw(phase: &Phase, (start, total): (Timestamp, u64), line: Rect, buffer: &mut Buffer, theme: Theme) {
    let tone = match phase.state {
        State::Over => Tone::Plain,
        State::Open => Tone::Open,
        State::Broken(_) => Tone::Bad,
    };
    let mut pen = Pen::new(buffer, line, theme);
    pen.skip(2).cell(NAME, tone, phase.name);
    let width = pen.left().saturating_sub(DURATION + REMARK + 3).clamp(4, 100);
    pen.put(Tone::Faint, "│").put(tone, bar(phase, (start, total), width)).put(Tone::Faint, "│");
    let least = if phase.at_least { ">" } else { "" };
    pen.right(DURATION, tone, format!("{least}{}", units::duration(Some(phase.to.since(phase.from)))));
    match phase.state {
        State::Over => {}
        State::Open => drop(pen.put(Tone::Open, "so far")),
        State::Broken(outcome) => drop(pen.put(Tone::Bad, format_args!("then {}", outcome.word().unwrap_or("over")))),
    }
}

/// What is open is drawn otherwise; what is too short for its column still has one.
fn bar(phase: &Phase, (start, total): (Timestamp, u64), width: u16) -> String {
    let place = |time: Timestamp| (u128::from(time.since(start)) * u128::from(width) / u128::from(total)) as u16;
    let from = place(phase.from).min(width - 1);
    let to = place(phase.to).clamp(from + 1, width);
    let sign = if phase.state == State::Open { '▒' } else { '█' };
    (0..width).map(|column| if (from..to).contains(&column) { sign } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, START};

    fn at(micros: u64) -> Timestamp {
        Timestamp(START.0 + micros * 1_000)
    }

    fn said(exchange: &Exchange) -> Vec<(&'static str, u64, State)> {
        let phases = phases(exchange, at(1_000));
        phases.iter().map(|phase| (phase.name, phase.to.micros_since(phase.from), phase.state)).collect()
    }

    #[test]
    fn of_one_that_is_over() {
        let mut exchange = fixture::exchange();
        exchange.timing.connect_start = Some(START);
        exchange.timing.connect_end = Some(START);
        let over = [("connect", 0), ("send", 1), ("wait", 1), ("receive", 1)];
        assert_eq!(said(&exchange), over.map(|(name, micros)| (name, micros, State::Over)));
        exchange.role = Role::Server;
        assert_eq!(said(&exchange)[1].0, "request");
    }

    #[test]
    fn of_one_that_is_open() {
        let mut exchange = fixture::exchange();
        exchange.outcome = Outcome::InFlight;
        exchange.timing.response_end = None;
        assert_eq!(said(&exchange)[2], ("receive", 998, State::Open));
        exchange.timing.response_start = None;
        exchange.response = None;
        assert_eq!(said(&exchange)[1..], [("wait", 999, State::Open)]);
        let request = exchange.request.as_mut().expect("the fixture has one");
        request.headers.push(b"Content-Length", b"100");
        assert_eq!(said(&exchange), [("send", 1_000, State::Open)]);
    }

    #[test]
    fn of_one_that_broke() {
        let mut exchange = fixture::exchange();
        exchange.outcome = Outcome::Reset;
        exchange.timing.response_start = None;
        exchange.timing.response_end = None;
        assert_eq!(said(&exchange)[1], ("wait", 2, State::Broken(Outcome::Reset)));
        exchange.request = None;
        exchange.timing = Timing { connect_start: Some(START), end: Some(at(7)), ..Timing::default() };
        assert_eq!(said(&exchange), [("connect", 7, State::Broken(Outcome::Reset))]);
    }

    #[test]
    fn bars_are_to_scale_and_never_empty() {
        let phase = |from, to, state| Phase { name: "wait", from: at(from), to: at(to), state, at_least: false };
        let scale = (START, 100_000);
        assert_eq!(bar(&phase(0, 50, State::Over), scale, 10), "█████     ");
        assert_eq!(bar(&phase(50, 100, State::Open), scale, 10), "     ▒▒▒▒▒");
        assert_eq!(bar(&phase(100, 100, State::Over), scale, 10), "         █");
        assert_eq!(bar(&phase(33, 33, State::Over), scale, 10), "   █      ");
    }
}
