//! Incidents of the other kinds: sentences, and everything that their evidence holds.

use super::subject::Subject;
use crate::{
    analysis::detector::{Course, ErrorBurstEvidence, LeakEvidence, PoolEvidence, StaleEvidence, Trend, Value},
    text::{escape::Visible, units},
};

/// A report that is older than this has its time beside it.
const OLD_NS: u64 = 2_000_000_000;

fn time(nanoseconds: u64) -> String {
    units::duration(Some(nanoseconds))
}

/// The kinds of failures of a burst, and its trend, in a sentence. `known` failures are known by now.
pub fn failures(evidence: &ErrorBurstEvidence, known: u64) -> String {
    let kinds: Vec<String> = evidence.kinds.iter().map(|(kind, count)| format!("{} {count}x", Visible(kind))).collect();
    let trend = match (evidence.course, evidence.trend) {
        (Course::Recovered, _) => "over",
        (Course::Stopped, _) => "no more calls",
        (Course::Ongoing, Trend::Worse) => "getting worse",
        (Course::Ongoing, Trend::Steady) => "steady",
        (Course::Ongoing, Trend::Better) => "getting better",
    };
    let since = if known > evidence.failures { format!("; {known} in total now") } else { String::new() };
    format!("{} ({trend}){since}", kinds.join(", "))
}

/// Failed connections that had been kept open, in sentences.
pub fn stale(evidence: &StaleEvidence) -> String {
    let outcome = evidence.outcome.replace('_', " ");
    format!("The latest ended with: {outcome}. The shortest idle time was {}.", time(evidence.shortest))
}

/// The growth of the number of connections, in a sentence.
pub fn growth(subject: &Subject<'_>, evidence: &LeakEvidence) -> String {
    let a_minute = evidence.open as f64 * 60e9 / evidence.growing.max(1) as f64;
    let since = subject.viewpoint.clock_time(evidence.since);
    let growing = time(evidence.growing);
    if evidence.over {
        format!("Connections are being closed again, after {growing}.")
    } else {
        format!("None closed for {growing} since {since}: about {a_minute:.0} more per minute.")
    }
}

/// The share of calls that waited for a connection, in a sentence.
pub fn waiting(evidence: &PoolEvidence) -> String {
    format!("{:.0} % of recent calls began as another call on their connection ended.", evidence.share * 100.0)
}

/// Everything that the evidence holds, as names and values.
pub fn facts(subject: &Subject<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    // A report of these kinds is updated only when they get twice as bad, or better.
    let age = subject.until().since(subject.incident.updated);
    if age >= OLD_NS {
        let clock = subject.viewpoint.clock_time(subject.incident.updated);
        facts.push(("as of", format!("{clock}, {} before this", time(age))));
    }
    for (name, value) in subject.incident.report.evidence.facts(subject.viewpoint.redactor) {
        let text = words(name, &value, subject);
        if text.is_empty() {
            continue;
        }
        facts.push((named(name), text));
    }
    facts
}

/// The name of a fact, for people.
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
        "history" => "usual based on",
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
        "shortest_answer_ms" => "fastest response",
        "longest_answer_ms" => "slowest response",
        "most" => "most waiting",
        "descriptors" => "open files",
        "descriptor_limit" => "file limit",
        other => other,
    }
}

/// The value of a fact, for people; empty where there is none.
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
            "client" => "client".to_owned(),
            _ => "server".to_owned(),
        },
        Value::Text(text) => Visible(&text.replace('_', " ")).to_string(),
        Value::Time(time) => subject.viewpoint.clock_time(*time),
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
