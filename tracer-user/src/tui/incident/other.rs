//! The other kinds of incidents: a picture of each, to scale.

use std::sync::Arc;

use super::{
    page::Rows,
    scale::{Scale, Track, bar},
};
use crate::{
    analysis::detector::{
        DuplicateEvidence, ErrorBurstEvidence, LeakEvidence, PoolEvidence, SlowEvidence, StaleEvidence,
    },
    event::Timestamp,
    model::exchange::{Exchange, Outcome},
    text::units,
    tui::{spark, theme::Tone},
    view::{
        bars::{self, Bar, Weight},
        fact,
        members::Members,
        subject::Subject,
    },
};

/// Columns for names beside bars, and for numbers behind them.
const NAMES: u16 = 16;
const NUMBERS: u16 = 10;

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// Draws bars of one scale, with their names and numbers.
fn draw_bars(rows: &mut Rows<'_>, bars: Vec<Bar>) {
    let most = bars.iter().map(|bar| bar.number).max().unwrap_or(0);
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    for Bar { name, number, text, weight } in bars {
        let tone = match weight {
            Weight::Plain => Tone::Plain,
            Weight::Good => Tone::Good,
            Weight::Warn => Tone::Warn,
            Weight::Bad => Tone::Bad,
        };
        let bar = bar(number, most, width);
        rows.put(move |pen| {
            pen.skip(1).cell(NAMES - 2, Tone::Plain, name).put(tone, &bar).skip(1).put(tone, &text);
        });
    }
}

/// The axis below a picture: its beginning and its length.
fn axis(rows: &mut Rows<'_>, subject: &Subject<'_>, start: Timestamp, end: Timestamp, name: &str) {
    let start_text = format!("{name}{}", subject.viewpoint.clock_time(start));
    let length = time(end.since(start));
    rows.put(move |pen| {
        pen.skip(1).put(Tone::Faint, &start_text).at_end(Tone::Faint, format_args!("+{length} "));
    });
}

/// Failures over time, and their share before and now.
pub(super) fn errors(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &ErrorBurstEvidence, members: &Members) {
    rows.rule("Failures, to scale", "");
    let (start, end) = (evidence.onset, subject.until());
    let width = rows.width().saturating_sub(2);
    let scale = Scale::new(start, end, width);
    let mut counts = vec![0; width.into()];
    for (time, count) in members.over_time().iter() {
        if let Some(sum) = counts.get_mut(usize::from(scale.column(time))) {
            *sum += count;
        }
    }
    // The first failure was at the onset. Columns without failures before the first known one are forgotten.
    let known = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let line = format!("{}{}", "·".repeat(known), spark::line(counts.into_iter().skip(known)));
    rows.put(move |pen| {
        pen.skip(1).put(Tone::Bad, &line);
    });
    let onset = if evidence.from_the_first { "first seen " } else { "onset " };
    let name = if known > 0 { format!("· not in memory; {onset}") } else { onset.to_owned() };
    axis(rows, subject, start, end, &name);
    let percent = |share: f64| (share * 1_000.0) as u64;
    let (before, late) = (evidence.share_before, evidence.share);
    // The whole is the scale, so that a bar shows a share.
    let most = 1_000;
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    let before = before.map(|share| ("failing before", share, Tone::Plain));
    for (name, share, tone) in before.into_iter().chain([("failing recently", late, Tone::Bad)]) {
        let bar = bar(percent(share), most, width);
        let rest = "·".repeat(usize::from(width).saturating_sub(bar.chars().count()));
        rows.put(move |pen| {
            pen.skip(1).cell(NAMES - 1, Tone::Plain, name).put(tone, &bar).put(Tone::Faint, &rest);
            pen.skip(1).put(tone, format_args!("{:.0} %", share * 100.0));
        });
    }
    rows.words(Tone::Plain, &fact::failures(evidence, members.total()));
}

/// Usual durations and the current ones.
pub(super) fn slow(rows: &mut Rows<'_>, evidence: &SlowEvidence) {
    rows.rule("Wait for the first byte, to scale", "");
    draw_bars(rows, bars::slow(evidence));
}

/// The two calls side by side.
pub(super) fn duplicate(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &DuplicateEvidence) {
    rows.rule("The two calls, to scale", "═ open  ✓ answered  ✗ failed  ◌ still open");
    let store = subject.viewpoint.store;
    let ids = &subject.incident.report.exchanges;
    let calls: Vec<Arc<Exchange>> = ids.iter().filter_map(|id| store.exchange_by_id(*id).cloned()).collect();
    let Some(start) = calls.iter().map(|call| call.started).min() else {
        rows.words(Tone::Faint, "Both calls are no longer in memory.");
        return;
    };
    let end_of = |call: &Exchange| Timestamp(call.started.0 + store.duration(call));
    let end = calls.iter().map(|call| end_of(call)).max().unwrap_or(start);
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    let scale = Scale::new(start, end, width);
    for call in calls {
        let (from, to) = (scale.column(call.started), scale.column(end_of(&call)));
        let mut track = Track::new(width);
        track.fill(from, to, '═', Tone::Open);
        let (sign, tone) = match (call.outcome, call.is_failed()) {
            (Outcome::InFlight, _) => ('◌', Tone::Open),
            (_, true) => ('✗', Tone::Bad),
            (_, false) => ('✓', Tone::Good),
        };
        track.set(to, sign, tone);
        let result = match (call.outcome.word(), &call.response) {
            (Some(word), _) => word.to_owned(),
            (None, Some(response)) => response.status.to_string(),
            (None, None) => "?".to_owned(),
        };
        let name = format!("#{} thread {}", call.connection.id.0, call.process.tid);
        rows.put(move |pen| {
            pen.skip(1).cell(NAMES - 2, Tone::Plain, &name);
            track.draw(pen);
            pen.skip(1).put(tone, &result);
        });
    }
    let apart = time(evidence.apart);
    axis(rows, subject, start, end, &format!("second after {apart}; from "));
}

/// Idle times of the connections before they failed.
pub(super) fn stale(rows: &mut Rows<'_>, evidence: &StaleEvidence) {
    rows.rule("Idle, then used, to scale", "✓ last response  ┄ idle  ✗ failed");
    let most = evidence.idle.iter().copied().max().unwrap_or(0);
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    let left_out = evidence.failures.saturating_sub(evidence.idle.len() as u64);
    for (index, idle) in evidence.idle.iter().copied().enumerate() {
        if index == 1 && left_out > 0 {
            rows.words(Tone::Faint, &format!("… {left_out} omitted"));
        }
        let mut track = Track::new(width);
        let end = Scale::new(Timestamp(0), Timestamp(most), width).column(Timestamp(idle));
        track.fill(0, end, '┄', Tone::Faint);
        track.set(0, '✓', Tone::Good);
        track.set(end, '✗', Tone::Bad);
        let number = if index == 0 { 1 } else { index as u64 + 1 + left_out };
        rows.put(move |pen| {
            pen.skip(1).cell(NAMES - 2, Tone::Plain, format_args!("failure {number}"));
            track.draw(pen);
            pen.skip(1).put(Tone::Plain, time(idle));
        });
    }
    rows.words(Tone::Plain, &fact::stale(evidence));
}

/// Numbers of open connections.
pub(super) fn leak(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &LeakEvidence) {
    rows.rule("Connections, to scale", "");
    draw_bars(rows, bars::leak(evidence));
    rows.words(Tone::Plain, &fact::growth(subject, evidence));
}

/// Numbers of busy connections and of callers.
pub(super) fn pool(rows: &mut Rows<'_>, evidence: &PoolEvidence) {
    rows.rule("Callers and connections, to scale", "");
    draw_bars(rows, bars::pool(evidence));
    rows.words(Tone::Plain, &fact::waiting(evidence));
}

/// Everything that the evidence holds, as names and values.
pub(super) fn facts(rows: &mut Rows<'_>, subject: &Subject<'_>) {
    for (name, text) in fact::facts(subject) {
        rows.fact(name, &text);
    }
}
