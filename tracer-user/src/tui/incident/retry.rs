//! A retry chain: attempts and gaps to scale, and the time of the next one.

use super::{
    page::{Part, Rows, Target},
    scale::{Scale, Track},
};
use crate::{
    analysis::detector::{Attempt, RetryEvidence},
    text::units,
    tui::{pen::Pen, theme::Tone},
    view::{
        members::Members,
        retry::{self, CallerWords, Row, Timeline},
        subject::Subject,
    },
};

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// A sign for the result of an attempt.
fn mark(attempt: &Attempt) -> (char, Tone) {
    match (attempt.failure, attempt.ended) {
        (Some(_), _) => ('✗', Tone::Bad),
        (None, Some(_)) => ('✓', Tone::Good),
        (None, None) => ('◌', Tone::Open),
    }
}

/// The picture, and what it cannot show.
pub(super) fn timeline(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) {
    let timeline = retry::timeline(subject, evidence, members);
    let asked = timeline.iter().flat_map(|timeline| &timeline.attempts).any(|attempt| attempt.retry_after.is_some());
    let signs = if asked { "  R Retry-After" } else { "" };
    rows.rule("Attempts, to scale", format!("✗ failed  ✓ answered  ◌ open  ◇ due{signs}"));
    let Some(timeline) = timeline else { return };
    let width = rows.width().saturating_sub(2);
    let scale = Scale::new(timeline.start, timeline.end, width);
    let mut above = Track::new(width);
    let mut below = Track::new(width);
    let bars = bars(&timeline, scale, width);
    // Labels of the newest first: they matter most, and a label needs room.
    if let Some((next, text)) = &timeline.due {
        let column = scale.column(*next).saturating_sub(text.len() as u16 / 2);
        below.label(column, Tone::Strong, text);
    }
    numbers(&mut above, &timeline, scale);
    for (from, to, gap) in timeline.gaps().rev() {
        let Some(gap) = gap else { continue };
        below.middle(scale.column(from) + 1, scale.column(to).saturating_sub(1), Tone::Plain, &time(gap));
    }
    if timeline.is_open {
        below.label(scale.column(timeline.now), Tone::Open, "now");
    }
    for line in [above, bars, below] {
        rows.put(move |pen| line.draw(pen.skip(1)));
    }
    let start = subject.viewpoint.clock_time(timeline.start);
    let length = time(timeline.end.since(timeline.start));
    let before = match timeline.left_out {
        0 => String::new(),
        1 => "; the attempt before is omitted".to_owned(),
        more => format!("; {more} earlier attempts are omitted"),
    };
    rows.put(move |pen| {
        pen.skip(1).put(Tone::Faint, format_args!("{start}{before}")).at_end(Tone::Faint, format_args!("+{length} "));
    });
}

/// Attempts and gaps as bars, with the signs of results and of the next attempt.
fn bars(timeline: &Timeline, scale: Scale, width: u16) -> Track {
    let mut bars = Track::new(width);
    for (from, to, _) in timeline.gaps() {
        bars.fill(scale.column(from), scale.column(to), '─', Tone::Faint);
    }
    if timeline.is_open {
        let now = scale.column(timeline.now);
        if let Some(last) = timeline.attempts.last().and_then(|last| last.ended) {
            bars.fill(scale.column(last), now, '─', Tone::Plain);
        }
        if let Some((due, _)) = &timeline.due {
            bars.fill(now + 1, scale.column(*due), '┄', Tone::Faint);
        }
        for end in &timeline.newer {
            bars.set(scale.column(*end), '·', Tone::Bad);
        }
        bars.set(now, '│', Tone::Open);
    }
    for attempt in &timeline.attempts {
        bars.fill(scale.column(attempt.started), scale.column(timeline.end_of(attempt)), '═', Tone::Open);
    }
    for asked in &timeline.asked {
        bars.set(scale.column(*asked), 'R', Tone::Warn);
    }
    if let Some((due, _)) = &timeline.due {
        bars.set(scale.column(*due), '◇', Tone::Strong);
    }
    for attempt in &timeline.attempts {
        let (sign, tone) = mark(attempt);
        bars.set(scale.column(timeline.end_of(attempt)), sign, tone);
    }
    bars
}

/// Numbers of attempts and their failures. Attempts that share a column share a label.
fn numbers(above: &mut Track, timeline: &Timeline, scale: Scale) {
    let column = |attempt: &Attempt| scale.column(timeline.end_of(attempt));
    let groups: Vec<&[Attempt]> = timeline.attempts.chunk_by(|one, other| column(one) == column(other)).collect();
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

/// The course of the chain, in a few sentences, and the call that waits for it.
pub(super) fn words(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &RetryEvidence, members: &Members) {
    rows.words(Tone::Plain, &retry::words(subject, evidence, members));
    if let Some(pathologies) = retry::pathologies(evidence) {
        rows.words(Tone::Warn, &pathologies);
    }
    if let Some(caller) = &evidence.caller {
        let CallerWords { got, call, by, exchange } = retry::caller(subject, caller);
        rows.item(Part::Words, Target::Exchange(exchange), move |pen| {
            let sign = if pen.is_selected() { '>' } else { ' ' };
            pen.put(Tone::Plain, sign).put(Tone::Strong, format_args!("{got}: "));
            pen.put(Tone::Plain, &call).put(Tone::Faint, format_args!(" (known by: {by})"));
        });
    }
}

/// The attempts one by one, and their pattern.
pub(super) fn evidence(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &RetryEvidence) {
    rows.rule("Attempts", "");
    rows.put(|pen| {
        pen.skip(1).right(3, Tone::Faint, "#").cell(12, Tone::Faint, "started").right(7, Tone::Faint, "took");
        pen.cell(21, Tone::Faint, "failed with").right(7, Tone::Faint, "gap").right(6, Tone::Faint, "factor");
        pen.put(Tone::Faint, "Retry-After");
    });
    for row in retry::rows(evidence) {
        match row {
            Row::LeftOut(missing) => rows.put(move |pen| {
                pen.put(Tone::Faint, format_args!("   … {missing} omitted"));
            }),
            Row::Attempt(attempt, factor) => attempt_row(rows, subject, &attempt, factor),
        }
    }
    for (name, text) in retry::facts(evidence) {
        rows.fact(name, &text);
    }
}

fn attempt_row(rows: &mut Rows<'_>, subject: &Subject<'_>, attempt: &Attempt, factor: Option<f64>) {
    let Attempt { number, started, ended, gap, retry_after, resent, exchange, .. } = *attempt;
    let clock = subject.viewpoint.clock_time(started);
    let took = ended.map_or_else(|| "open".to_owned(), |ended| time(ended.since(started)));
    let (sign, tone) = mark(attempt);
    let result = retry::result(attempt);
    let factor = factor.map_or_else(String::new, |factor| format!("x{factor:.1}"));
    let draw = move |pen: &mut Pen<'_>| {
        let lead = if pen.is_selected() { '>' } else { ' ' };
        pen.put(Tone::Plain, lead).right(3, Tone::Plain, number).cell(12, Tone::Faint, &clock);
        pen.right(7, Tone::Plain, &took).cell(1, tone, sign).cell(19, tone, &result);
        pen.right(7, Tone::Plain, gap.map_or_else(String::new, time)).right(6, Tone::Plain, &factor);
        pen.put(Tone::Warn, retry_after.map_or_else(String::new, time));
        if resent {
            pen.put(Tone::Faint, "resent immediately");
        }
    };
    match exchange {
        Some(exchange) => rows.item(Part::Evidence, Target::Exchange(exchange), draw),
        None => rows.put(draw),
    }
}
