//! The other kinds: a picture that fits each, to scale.

use std::sync::Arc;

use super::{
    members::Members,
    page::Rows,
    scale::{Scale, Track, bar},
    subject::Subject,
};
use crate::{
    analysis::detector::{
        Course, DuplicateEvidence, ErrorBurstEvidence, LeakEvidence, PoolEvidence, SlowEvidence, StaleEvidence, Trend,
        Value,
    },
    event::Timestamp,
    model::exchange::{Exchange, Outcome},
    text::{escape::Visible, units},
    tui::{spark, theme::Tone},
};

/// What is older than this is said to be.
const OLD_NS: u64 = 2_000_000_000;
/// Columns for names beside bars, and for numbers behind them.
const NAMES: u16 = 16;
const NUMBERS: u16 = 10;

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// Names with bars of one scale.
fn bars(rows: &mut Rows<'_>, all: &[(&'static str, u64, String, Tone)]) {
    let most = all.iter().map(|(_, number, ..)| *number).max().unwrap_or(0);
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    for (name, number, text, tone) in all {
        let (name, tone, text) = (*name, *tone, text.clone());
        let bar = bar(*number, most, width);
        rows.put(move |pen| {
            pen.skip(1).cell(NAMES - 2, Tone::Plain, name).put(tone, &bar).skip(1).put(tone, &text);
        });
    }
}

/// The axis below a picture: when it begins, and how long it is.
fn axis(rows: &mut Rows<'_>, subject: &Subject<'_>, start: Timestamp, end: Timestamp, name: &str) {
    let start_text = format!("{name}{}", subject.context.clock_time(start));
    let length = time(end.since(start));
    rows.put(move |pen| {
        pen.skip(1).put(Tone::Faint, &start_text).at_end(Tone::Faint, format_args!("+{length} "));
    });
}

/// Failures over time, and how they compare with before.
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
    // The first failure was at the onset: where nothing is known of that time, it was forgotten.
    let known = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let line = format!("{}{}", "·".repeat(known), spark::line(counts.into_iter().skip(known)));
    rows.put(move |pen| {
        pen.skip(1).put(Tone::Bad, &line);
    });
    let onset = if evidence.from_the_first { "first seen " } else { "onset " };
    let name = if known > 0 { format!("· forgotten; {onset}") } else { onset.to_owned() };
    axis(rows, subject, start, end, &name);
    let percent = |share: f64| (share * 1_000.0) as u64;
    let (before, late) = (evidence.share_before, evidence.share);
    // Of a whole, so that the bars say how much of it that is.
    let most = 1_000;
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    let before = before.map(|share| ("failing before", share, Tone::Plain));
    for (name, share, tone) in before.into_iter().chain([("failing of late", late, Tone::Bad)]) {
        let bar = bar(percent(share), most, width);
        let rest = "·".repeat(usize::from(width).saturating_sub(bar.chars().count()));
        rows.put(move |pen| {
            pen.skip(1).cell(NAMES - 1, Tone::Plain, name).put(tone, &bar).put(Tone::Faint, &rest);
            pen.skip(1).put(tone, format_args!("{:.0} %", share * 100.0));
        });
    }
    let kinds: Vec<String> = evidence.kinds.iter().map(|(kind, count)| format!("{} {count}x", Visible(kind))).collect();
    let trend = match (evidence.course, evidence.trend) {
        (Course::Recovered, _) => "over",
        (Course::Stopped, _) => "no more calls",
        (Course::Ongoing, Trend::Worse) => "getting worse",
        (Course::Ongoing, Trend::Steady) => "steady",
        (Course::Ongoing, Trend::Better) => "getting better",
    };
    let total = members.total();
    let since = if total > evidence.failures { format!("; {total} are known by now") } else { String::new() };
    rows.words(Tone::Plain, &format!("{} ({trend}){since}", kinds.join(", ")));
}

/// Usual against now.
pub(super) fn slow(rows: &mut Rows<'_>, evidence: &SlowEvidence) {
    rows.rule("Wait for the first byte, to scale", "");
    let (median, p95) = evidence.usual;
    let now = if evidence.over { "median now" } else { "median of late" };
    let tone = if evidence.over { Tone::Good } else { Tone::Bad };
    bars(
        rows,
        &[
            ("usual median", median, time(median), Tone::Plain),
            ("usual 95 %", p95, time(p95), Tone::Plain),
            (now, evidence.now, time(evidence.now), tone),
            ("longest", evidence.longest, time(evidence.longest), Tone::Warn),
        ],
    );
}

/// The two calls side by side.
pub(super) fn duplicate(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &DuplicateEvidence) {
    rows.rule("The two calls, to scale", "═ open  ✓ answered  ✗ failed  ◌ still open");
    let store = subject.context.store;
    let ids = &subject.incident.report.exchanges;
    let calls: Vec<Arc<Exchange>> = ids.iter().filter_map(|id| store.exchange_by_id(*id).cloned()).collect();
    let Some(start) = calls.iter().map(|call| call.started).min() else {
        rows.words(Tone::Faint, "Both calls are forgotten.");
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

/// How long the connections had idled before they failed.
pub(super) fn stale(rows: &mut Rows<'_>, evidence: &StaleEvidence) {
    rows.rule("Idle, then asked, to scale", "✓ last answer  ┄ idle  ✗ failed");
    let most = evidence.idle.iter().copied().max().unwrap_or(0);
    let width = rows.width().saturating_sub(NAMES + NUMBERS + 2);
    let left_out = evidence.failures.saturating_sub(evidence.idle.len() as u64);
    for (index, idle) in evidence.idle.iter().copied().enumerate() {
        if index == 1 && left_out > 0 {
            rows.words(Tone::Faint, &format!("… {left_out} left out"));
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
    let outcome = evidence.outcome.replace('_', " ");
    rows.words(
        Tone::Plain,
        &format!("The latest ended: {outcome}. The shortest was idle for {}.", time(evidence.shortest)),
    );
}

/// How many there are.
pub(super) fn leak(rows: &mut Rows<'_>, subject: &Subject<'_>, evidence: &LeakEvidence) {
    rows.rule("Connections, to scale", "");
    let (open, once) = (evidence.open, evidence.used_once);
    bars(
        rows,
        &[
            ("open", open, open.to_string(), Tone::Bad),
            ("used once", once, once.to_string(), Tone::Warn),
            ("used again", open.saturating_sub(once), open.saturating_sub(once).to_string(), Tone::Plain),
        ],
    );
    let a_minute = open as f64 * 60e9 / evidence.growing.max(1) as f64;
    let since = subject.context.clock_time(evidence.since);
    let growing = time(evidence.growing);
    rows.words(
        Tone::Plain,
        &if evidence.over {
            format!("There are closes again, after {growing}.")
        } else {
            format!("None closed in {growing} from {since} on: about {a_minute:.0} more a minute.")
        },
    );
}

/// Busy connections against callers.
pub(super) fn pool(rows: &mut Rows<'_>, evidence: &PoolEvidence) {
    rows.rule("Callers and connections, to scale", "");
    let waiting = evidence.inbound.saturating_sub(evidence.busy);
    bars(
        rows,
        &[
            ("busy", evidence.busy, format!("{} connections", evidence.busy), Tone::Plain),
            ("callers", evidence.inbound, evidence.inbound.to_string(), Tone::Warn),
            ("waiting", waiting, format!("{waiting} or so"), Tone::Bad),
        ],
    );
    let share = evidence.share * 100.0;
    rows.words(Tone::Plain, &format!("{share:.0} % of the last calls began as another ended on their connection."));
}

/// What else is known, as names and values.
pub(super) fn facts(rows: &mut Rows<'_>, subject: &Subject<'_>) {
    // These kinds are told of anew only when they become twice as bad, or better.
    let age = subject.until().since(subject.incident.updated);
    if age >= OLD_NS {
        let clock = subject.context.clock_time(subject.incident.updated);
        rows.fact("as of", &format!("{clock}, {} before this", time(age)));
    }
    for (name, value) in subject.incident.report.evidence.facts(subject.context.redactor) {
        let text = words(name, &value, subject);
        if text.is_empty() {
            continue;
        }
        rows.fact(named(name), &text);
    }
}

fn named(name: &'static str) -> &'static str {
    match name {
        "role" => "this process",
        "authority" | "remote" => "upstream",
        "total" => "calls since",
        "failures" => "failed since",
        "failing_calls" => "kinds of calls",
        "share" => "failing",
        "share_before" => "failing before",
        "share_at_once" => "taken at once",
        "kinds" => "failed with",
        "from_the_first" => "from the first",
        "last_call" => "last call",
        "last_failed" => "failed last",
        "wait_ms" => "median wait",
        "usual_ms" => "usual median",
        "usual_p95_ms" => "usual 95 %",
        "history" => "usual rests on",
        "longest_ms" => "longest wait",
        "key" => "same key in",
        "apart_ms" => "apart",
        "idle_ms" => "idle for",
        "shortest_idle_ms" => "shortest idle",
        "used_once" => "used once",
        "growing_ms" => "growing for",
        "lasting_ms" => "found after",
        "inbound" => "callers",
        "gone" => "callers gone",
        "shortest_wait_ms" => "shortest wait",
        "shortest_answer_ms" => "fastest answer",
        "longest_answer_ms" => "slowest answer",
        "most" => "most waited",
        "descriptors" => "open files",
        "descriptor_limit" => "files allowed",
        other => other,
    }
}

fn words(name: &str, value: &Value, subject: &Subject<'_>) -> String {
    let is_time = name.ends_with("_ms");
    match value {
        Value::Null => String::new(),
        Value::Flag(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Count(0) if name == "lasting_ms" => String::new(),
        Value::Count(milliseconds) if is_time => time(milliseconds.saturating_mul(1_000_000)),
        Value::Count(count) if name == "history" => format!("{count} calls"),
        Value::Count(count) => count.to_string(),
        Value::Decimal(milliseconds) if is_time => time((milliseconds * 1e6) as u64),
        Value::Decimal(share) if name.starts_with("share") => format!("{:.0} %", share * 100.0),
        Value::Decimal(number) => format!("{number:.2}"),
        Value::Text(text) if name == "role" => match text.as_str() {
            "client" => "asks (it is the client)".to_owned(),
            _ => "answers (it is the server)".to_owned(),
        },
        Value::Text(text) => Visible(&text.replace('_', " ")).to_string(),
        Value::Time(time) => subject.context.clock_time(*time),
        Value::List(values) => {
            let all: Vec<String> = values.iter().map(|value| words(name, value, subject)).collect();
            all.join(", ")
        }
        Value::Object(facts) => {
            let all: Vec<String> = facts.iter().map(|(name, value)| words(name, value, subject)).collect();
            all.join(": ")
        }
    }
}
