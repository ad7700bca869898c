//! Bars of one scale: numbers that an incident compares.

use crate::{
    analysis::detector::{LeakEvidence, PoolEvidence, SlowEvidence},
    text::units,
};

/// Meaning of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// For comparison.
    Plain,
    /// As it should be.
    Good,
    /// Notable.
    Warn,
    /// The fault itself.
    Bad,
}

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Name of the number.
    pub name: &'static str,
    /// The number, in the unit of the picture.
    pub number: u64,
    /// The number in words.
    pub text: String,
    /// Its meaning.
    pub weight: Weight,
}

fn bar(name: &'static str, number: u64, text: String, weight: Weight) -> Bar {
    Bar { name, number, text, weight }
}

fn duration(name: &'static str, nanoseconds: u64, weight: Weight) -> Bar {
    bar(name, nanoseconds, units::duration(Some(nanoseconds)), weight)
}

/// Usual waits for the first byte and current ones, in nanoseconds.
pub fn slow(evidence: &SlowEvidence) -> Vec<Bar> {
    let (median, p95) = evidence.usual;
    let now = if evidence.over { "median now" } else { "recent median" };
    vec![
        duration("usual median", median, Weight::Plain),
        duration("usual 95 %", p95, Weight::Plain),
        duration(now, evidence.now, if evidence.over { Weight::Good } else { Weight::Bad }),
        duration("longest", evidence.longest, Weight::Warn),
    ]
}

/// Numbers of open connections, and of those that were used once or again.
pub fn leak(evidence: &LeakEvidence) -> Vec<Bar> {
    let (open, once) = (evidence.open, evidence.used_once);
    let reused = open.saturating_sub(once);
    vec![
        bar("open", open, open.to_string(), Weight::Bad),
        bar("used once", once, once.to_string(), Weight::Warn),
        bar("reused", reused, reused.to_string(), Weight::Plain),
    ]
}

/// Numbers of busy connections, of callers, and of callers that wait.
pub fn pool(evidence: &PoolEvidence) -> Vec<Bar> {
    let waiting = evidence.inbound.saturating_sub(evidence.busy);
    vec![
        bar("busy", evidence.busy, format!("{} connections", evidence.busy), Weight::Plain),
        bar("callers", evidence.inbound, evidence.inbound.to_string(), Weight::Warn),
        bar("waiting", waiting, format!("about {waiting}"), Weight::Bad),
    ]
}
