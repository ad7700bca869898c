//! A retry chain: attempts and gaps to scale, and when the next is due.

use std::fmt::Write as _;

use super::{
    members::Members,
    page::{Part, Rows, Target},
    scale::{Scale, Track},
    subject::Subject,
};
use crate::{
    analysis::detector::{Attempt, Caller, Failure, Pattern, RetryEvidence, RetryResult},
    event::Timestamp,
    model::exchange::Outcome,
    text::{escape::Visible, units},
    tui::{overview::due, pen::Pen, theme::Tone},
};

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// `✗`: how an attempt stands.
fn mark(attempt: &Attempt) -> (char, Tone) {
    match (attempt.failure, attempt.ended) {
        (Some(_), _) => ('✗', Tone::Bad),
        (None, Some(_)) => ('✓', Tone::Good),
        (None, None) => ('◌', Tone::Open),
    }
}

/// The latest attempts of those that are listed, as far as none between them is left out.
fn shown(evidence: &RetryEvidence) -> &[Attempt] {
    let listed = &evidence.listed;
    let gap = (1..listed.len()).rev().find(|index| listed[*index].number != listed[index - 1].number + 1);
    &listed[gap.unwrap_or(0)..]
}

/// The picture, and what it cannot show.
pub(super) fn timeline(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) {
    let attempts = shown(evidence);
    let asked = attempts.iter().any(|attempt| attempt.retry_after.is_some());
    let signs = if asked { "  R asked for" } else { "" };
    rows.rule("Attempts, to scale", format!("✗ failed  ✓ answered  ◌ open  ◇ due{signs}"));
    let Some(first) = attempts.first() else { return };
    let ongoing = evidence.result == RetryResult::Ongoing;
    let due = next(subject, evidence, members);
    let now = subject.until();
    let last_end = attempts.iter().filter_map(|attempt| attempt.ended).max().unwrap_or(first.started);
    let until = if ongoing { now.max(due.unwrap_or_default()) } else { last_end };
    let width = rows.width().saturating_sub(2);
    let scale = Scale::new(first.started, until, width);
    let mut lines = [0; 3].map(|_| Track::new(width));
    let [above, bars, below] = &mut lines;

    for pair in attempts.windows(2) {
        let end = pair[0].ended.unwrap_or(pair[0].started);
        bars.fill(scale.column(end), scale.column(pair[1].started), '─', Tone::Faint);
    }
    if ongoing {
        let last = attempts.last().and_then(|last| last.ended);
        if let Some(last) = last {
            bars.fill(scale.column(last), scale.column(now), '─', Tone::Plain);
        }
        if let Some(due) = due {
            bars.fill(scale.column(now) + 1, scale.column(due), '┄', Tone::Faint);
        }
        for end in members.ends().filter(|end| *end > subject.incident.updated) {
            bars.set(scale.column(end), '·', Tone::Bad);
        }
        bars.set(scale.column(now), '│', Tone::Open);
    }
    for attempt in attempts {
        let end = attempt.ended.unwrap_or(until.min(now));
        bars.fill(scale.column(attempt.started), scale.column(end), '═', Tone::Open);
    }
    for attempt in attempts {
        if let (Some(ended), Some(asked)) = (attempt.ended, attempt.retry_after) {
            let asked = Timestamp(ended.0.saturating_add(asked));
            if asked <= until && evidence.listed.last() != Some(attempt) {
                bars.set(scale.column(asked), 'R', Tone::Warn);
            }
        }
    }
    if let Some(due) = due {
        bars.set(scale.column(due), '◇', Tone::Strong);
    }
    for attempt in attempts {
        let (sign, tone) = mark(attempt);
        bars.set(scale.column(attempt.ended.unwrap_or(until.min(now))), sign, tone);
    }

    // Labels: of what is newest first, for that matters most.
    if let Some(next) = due {
        let text = next_words(subject, next);
        let column = scale.column(next).saturating_sub(text.len() as u16 / 2);
        below.label(column, Tone::Strong, &text);
    }
    numbers(above, attempts, scale, until.min(now));
    for pair in attempts.windows(2).rev() {
        let Some(gap) = pair[1].gap else { continue };
        let end = pair[0].ended.unwrap_or(pair[0].started);
        below.middle(scale.column(end) + 1, scale.column(pair[1].started).saturating_sub(1), Tone::Plain, &time(gap));
    }
    if ongoing {
        below.label(scale.column(now), Tone::Open, "now");
    }
    for line in lines {
        rows.put(move |pen| line.draw(pen.skip(1)));
    }
    let start = subject.context.clock_time(first.started);
    let length = time(until.since(first.started));
    let left_out = evidence.attempts.saturating_sub(attempts.len() as u32);
    let before = match left_out {
        0 => String::new(),
        1 => "; the attempt before is left out".to_owned(),
        more => format!("; {more} attempts before are left out"),
    };
    rows.put(move |pen| {
        pen.skip(1).put(Tone::Faint, format_args!("{start}{before}")).at_end(Tone::Faint, format_args!("+{length} "));
    });
}

/// Numbers of attempts and how they failed; those that share a column are put together.
fn numbers(above: &mut Track, attempts: &[Attempt], scale: Scale, now: Timestamp) {
    let column = |attempt: &Attempt| scale.column(attempt.ended.unwrap_or(now));
    let groups: Vec<&[Attempt]> = attempts.chunk_by(|one, other| column(one) == column(other)).collect();
    for group in groups.into_iter().rev() {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let number =
            if group.len() > 1 { format!("{}-{}", first.number, last.number) } else { first.number.to_string() };
        let same = group.iter().all(|attempt| attempt.failure == first.failure);
        let (_, tone) = mark(last);
        let failure = first.failure.filter(|_| same).map(|failure| format!("{number}: {}", failure.words()));
        let column = column(last);
        if !failure.is_some_and(|text| above.label(column, tone, &text)) {
            above.label(column, tone, &number);
        }
    }
}

/// When the next is due, where that is known now.
fn next(subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) -> Option<Timestamp> {
    let up_to_date = members.since(subject.incident.updated) == 0;
    evidence.next_due.filter(|_| evidence.result == RetryResult::Ongoing && up_to_date)
}

fn next_words(subject: &Subject<'_>, next: Timestamp) -> String {
    if subject.runs() {
        return due(next, subject.now());
    }
    format!("was due at {}", subject.context.clock_time(next))
}

/// What happens, in a few sentences, and who waits for it.
pub(super) fn words(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) {
    let last = evidence.last_failure().map(Failure::words);
    let open = evidence.listed.last().is_some_and(|attempt| attempt.ended.is_none());
    let attempts = evidence.attempts;
    let mut text = match (evidence.result, last) {
        (RetryResult::Ongoing, Some(last)) if open => format!("Attempt {attempts} is open; before: {last}."),
        (RetryResult::Ongoing, Some(last)) => format!("Attempt {attempts} failed: {last}."),
        (RetryResult::Ongoing, None) => format!("Attempt {attempts} is open."),
        (RetryResult::Recovered, _) => match evidence.answer {
            Some(status) => format!("Attempt {attempts} was answered with {status}."),
            None => format!("Attempt {attempts} succeeded."),
        },
        (RetryResult::Bypassed, _) => format!("{attempts} attempts failed; the caller was answered without them."),
        (RetryResult::GaveUp, Some(last)) => format!("Given up after {attempts} attempts; the last: {last}."),
        (RetryResult::GaveUp, None) => format!("Given up after {attempts} attempts."),
    };
    text.push(' ');
    text.push_str(&waits(evidence));
    let newer = members.since(subject.incident.updated);
    if newer > 0 {
        let _ = write!(text, " {newer} more since (·), not counted above yet.");
    }
    if let Some(next) = next(subject, evidence, members) {
        if subject.runs() {
            let now = subject.now();
            let _ = if next > now {
                write!(text, " The next is due in {}.", time(next.since(now)))
            } else {
                write!(text, " The next was due {} ago.", time(now.since(next)))
            };
        } else {
            let _ = write!(text, " The next was due at {}.", subject.context.clock_time(next));
        }
    }
    rows.words(Tone::Plain, &text);
    if !evidence.pathologies.is_empty() {
        let named: Vec<&str> = evidence.pathologies.iter().map(|name| pathology(name)).collect();
        rows.words(Tone::Warn, &format!("Wrong with it: {}.", named.join("; ")));
    }
    if let Some(caller) = &evidence.caller {
        caller_row(rows, subject, caller);
    }
}

fn waits(evidence: &RetryEvidence) -> String {
    let Some(pattern) = evidence.pattern else { return "How it waits cannot be told yet.".to_owned() };
    let base = evidence.base.map_or_else(|| "some time".to_owned(), time);
    let step = evidence.step.map_or_else(|| "the same".to_owned(), time);
    let cap = evidence.cap.map_or_else(String::new, |cap| format!(", up to {}", time(cap)));
    let factor = evidence.factor.unwrap_or_default();
    let ongoing = evidence.result == RetryResult::Ongoing;
    let how = match pattern {
        Pattern::Immediate if ongoing => return "It does not wait between attempts.".to_owned(),
        Pattern::Immediate => return "It did not wait between attempts.".to_owned(),
        Pattern::Constant => format!("always {base}"),
        Pattern::Linear => format!("{base} at first, {step} more each time{cap}"),
        Pattern::Exponential => format!("{base} at first, x{factor:.1} each time{cap}"),
        Pattern::ExponentialJitter => format!("longer each time, with jitter{cap}"),
        Pattern::RetryAfter => "as the server asks (Retry-After)".to_owned(),
        Pattern::Irregular => "without a regular pattern".to_owned(),
    };
    let verb = if ongoing { "waits" } else { "waited" };
    let first = if evidence.first_immediate { " (but the first retry came at once)" } else { "" };
    let so_far = if evidence.settled { "" } else { ", as far as can be told" };
    format!("It {verb} {how}{first}{so_far}.")
}

fn pathology(name: &str) -> &'static str {
    match name {
        "hot_loop" => "it does not pause (hot loop)",
        "non_idempotent" => "the method is not idempotent",
        "retry_after_ignored" => "Retry-After is ignored",
        "client_error_retried" => "a 4xx is retried",
        "in_step" => "several chains retry in step",
        "layered" => "the caller retries too (retries multiply)",
        _ => "more than pidtap has words for",
    }
}

fn caller_row(rows: &mut Rows<'_>, subject: &Subject<'_>, caller: &Caller) {
    let path = subject.context.redactor.url(&caller.path);
    let call = format!("{} {}", Visible(&caller.method), Visible(&path));
    // What it got may have come after the chain was over.
    let exchange = subject.context.store.exchange_by_id(caller.exchange);
    let got = match (&caller.got, exchange) {
        (Some(got), _) => format!("The caller got {}", Visible(got)),
        (None, Some(exchange)) if exchange.outcome == Outcome::InFlight => "The caller still waits".to_owned(),
        (None, Some(exchange)) => match &exchange.response {
            Some(response) => format!("The caller got {}", response.status),
            None => format!("The caller got no answer ({})", exchange.outcome.name().replace('_', " ")),
        },
        (None, None) => "The caller".to_owned(),
    };
    let by = caller.by;
    rows.item(Part::Words, Target::Exchange(caller.exchange), move |pen| {
        let sign = if pen.is_selected() { '>' } else { ' ' };
        pen.put(Tone::Plain, sign).put(Tone::Strong, format_args!("{got}: "));
        pen.put(Tone::Plain, &call).put(Tone::Faint, format_args!(" (known by: {by})"));
    });
}

/// The attempts one by one, and what they come to.
pub(super) fn evidence(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &RetryEvidence) {
    rows.rule("Attempts", "");
    rows.put(|pen| {
        pen.skip(1).right(3, Tone::Faint, "#").cell(12, Tone::Faint, "started").right(7, Tone::Faint, "took");
        pen.cell(21, Tone::Faint, "failed with").right(7, Tone::Faint, "gap").right(6, Tone::Faint, "factor");
        pen.put(Tone::Faint, "Retry-After");
    });
    let mut before: Option<&Attempt> = None;
    for attempt in &evidence.listed {
        if let Some(missing) = before.map(|before| attempt.number - before.number - 1).filter(|missing| *missing > 0) {
            rows.put(move |pen| {
                pen.put(Tone::Faint, format_args!("   … {missing} left out"));
            });
        }
        let factor = before.and_then(|before| Some(attempt.gap? as f64 / before.gap.filter(|gap| *gap > 0)? as f64));
        let factor = factor.filter(|_| before.is_some_and(|before| before.number + 1 == attempt.number));
        attempt_row(rows, subject, attempt, factor);
        before = Some(attempt);
    }
    let mut pattern = evidence.pattern.map_or("not known yet", Pattern::name).to_owned();
    let known = [("base", evidence.base), ("step", evidence.step), ("cap", evidence.cap)];
    for (name, length) in known {
        pattern.push_str(&length.map_or_else(String::new, |length| format!(", {name} {}", time(length))));
    }
    if let Some(factor) = evidence.factor {
        let _ = write!(pattern, ", factor {factor:.2}");
    }
    rows.fact("backoff", &pattern);
    let (calls, made) = (evidence.upstream_calls, evidence.upstream_attempts);
    let times = made as f64 / calls.max(1) as f64;
    rows.fact("this upstream", &format!("{made} attempts for {calls} calls so far (x{times:.1})"));
}

fn attempt_row(rows: &mut Rows<'_>, subject: &Subject<'_>, attempt: &Attempt, factor: Option<f64>) {
    let Attempt { number, started, ended, failure, gap, retry_after, resent, exchange, closed: _ } = *attempt;
    let clock = subject.context.clock_time(started);
    let took = ended.map_or_else(|| "open".to_owned(), |ended| time(ended.since(started)));
    let (sign, tone) = mark(attempt);
    let result = match (failure, ended) {
        (Some(failure), _) => failure.words(),
        (None, Some(_)) => "did not fail".to_owned(),
        (None, None) => "is open".to_owned(),
    };
    let factor = factor.map_or_else(String::new, |factor| format!("x{factor:.1}"));
    let draw = move |pen: &mut Pen<'_>| {
        let lead = if pen.is_selected() { '>' } else { ' ' };
        pen.put(Tone::Plain, lead).right(3, Tone::Plain, number).cell(12, Tone::Faint, &clock);
        pen.right(7, Tone::Plain, &took).cell(1, tone, sign).cell(19, tone, &result);
        pen.right(7, Tone::Plain, gap.map_or_else(String::new, time)).right(6, Tone::Plain, &factor);
        pen.put(Tone::Warn, retry_after.map_or_else(String::new, time));
        if resent {
            pen.put(Tone::Faint, "sent again at once");
        }
    };
    match exchange {
        Some(exchange) => rows.item(Part::Evidence, Target::Exchange(exchange), draw),
        None => rows.put(draw),
    }
}
