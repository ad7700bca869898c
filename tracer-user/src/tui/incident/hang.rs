//! A call that hangs: the last acts of each side, to scale.

use super::{
    page::{Part, Rows, Target},
    scale::{Scale, Track},
};
use crate::{
    analysis::detector::{HangEvidence, HangResult, WaitingOn},
    event::Timestamp,
    text::units,
    tui::{theme::Tone, view::Context, widget::draw_incident},
    view::{
        hang::{self, Lead},
        subject::{Subject, hang_age},
    },
};

/// Columns for the names of the two sides.
const SIDES: u16 = 17;

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// Both sides over time.
pub(super) fn timeline(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &HangEvidence) {
    rows.rule("Last activity of each side, to scale", "█ bytes  ┄ silence  ▲ must act");
    let sides = hang::sides(subject, evidence);
    let (start, until) = (subject.since(), subject.until());
    let width = rows.width().saturating_sub(SIDES + 2);
    let scale = Scale::new(start, until, width);
    let own_turn = evidence.waiting_on == WaitingOn::ThisProcess;
    let good = evidence.result.is_good();
    for (asks, side) in [true, false].into_iter().zip(sides) {
        let is_own = asks != evidence.call.inbound;
        let name = if is_own { "this process" } else { "the peer" };
        let turn = evidence.waiting_on != WaitingOn::Unknown && is_own == own_turn;
        let mut track = Track::new(width);
        let last = side.sent.iter().map(|(_, end)| *end).max();
        let from = last.map_or(0, |last| scale.column(last));
        track.fill(from, width, '┄', Tone::Faint);
        for (start, end) in side.sent {
            track.fill(scale.column(start), scale.column(end), '█', Tone::Plain);
        }
        // Behind the bytes where there is room, else before them.
        let text = format!(" {} ", side.what);
        let length = text.chars().count() as u16;
        if from + length + 2 < width {
            track.write(from + 1, Tone::Plain, &text);
        } else if let Some(before) = from.checked_sub(length) {
            track.write(before, Tone::Plain, &text);
        }
        match (evidence.result, asks) {
            (HangResult::Ongoing, _) => track.set(width.saturating_sub(1), '│', Tone::Open),
            (_, false) if good => track.set(width.saturating_sub(1), '✓', Tone::Good),
            (HangResult::Over, _) => track.set(width.saturating_sub(1), '│', Tone::Faint),
            (_, true) | (HangResult::Closed | HangResult::Reset | HangResult::Refused, false) => {
                track.set(width.saturating_sub(1), if good { '│' } else { '✗' }, Tone::Bad);
            }
            _ => track.set(width.saturating_sub(1), '│', Tone::Faint),
        }
        rows.put(move |pen| {
            let tone = if turn { Tone::Bad } else { Tone::Plain };
            pen.skip(1).cell(1, tone, if turn { "▲" } else { "" }).cell(SIDES - 4, tone, name);
            track.draw(pen);
        });
    }
    axis(rows, subject, evidence, scale, start);
}

/// The time below the picture.
fn axis(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &HangEvidence, scale: Scale, start: Timestamp) {
    let width = rows.width().saturating_sub(SIDES + 2);
    let mut track = Track::new(width);
    let age = hang_age(&subject.incident, evidence, &subject.viewpoint);
    track.label(width, Tone::Strong, &if subject.runs() { format!("now, +{age}") } else { format!("+{age}") });
    let hangs = Timestamp(start.0.saturating_add(evidence.threshold));
    let text = format!("╵{}: hangs", time(evidence.threshold));
    if hangs < subject.until() {
        let column = scale.column(hangs);
        let _ = track.label(column, Tone::Faint, &text) || track.label(column, Tone::Faint, "╵");
    }
    let clock = subject.viewpoint.clock_time(start);
    let before = if evidence.age_is_lower_bound { "before " } else { "" };
    track.label(0, Tone::Faint, &format!("{before}{clock}"));
    rows.put(move |pen| track.draw(pen.skip(SIDES - 1)));
}

/// The verdict in words, the call that this one waits for, and related incidents.
pub(super) fn words<'a>(rows: &mut Rows<'a>, subject: &Subject<'a>, evidence: &HangEvidence, context: &'a Context<'a>) {
    rows.words(Tone::Plain, &hang::words(subject, evidence));
    if let Some(threads) = hang::threads(subject, evidence) {
        rows.words(Tone::Plain, &threads);
    }
    if let Some(Lead { exchange, call, by }) = hang::lead(subject, evidence) {
        rows.item(Part::Lead, Target::Exchange(exchange), move |pen| {
            let lead = if pen.is_selected() { '>' } else { ' ' };
            pen.put(Tone::Plain, lead).put(Tone::Strong, "It waits for: ");
            pen.put(Tone::Plain, &call).put(Tone::Faint, format_args!(" (known by: {by})"));
        });
    }
    for other in hang::related(subject, evidence) {
        rows.item(Part::Words, Target::Incident(other.id), move |pen| draw_incident(pen, other, context));
    }
}

/// State of the connection, the kernel's queues and the threads.
pub(super) fn evidence(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &HangEvidence) {
    for (name, text) in hang::facts(subject, evidence) {
        rows.fact(name, &text);
    }
}
