//! Paths behind a folded path: those that matter most.

use std::hash::Hasher as _;

use rustc_hash::FxHasher;

use super::durations::SCALE;
use crate::{
    analysis::{
        detector::endpoint,
        histogram::{Histogram, quantiles},
    },
    model::exchange::{Exchange, ExchangeId},
};

/// Maximum number of paths of one endpoint.
const MAX: usize = 32;

#[derive(Clone, Debug)]
struct Path {
    text: String,
    calls: u64,
    failed: u64,
    longest: u64,
    durations: Histogram,
    last: ExchangeId,
}

/// A path of an endpoint whose path is folded.
#[derive(Clone, Copy, Debug)]
pub struct PathRow<'a> {
    /// Hash of the path.
    pub key: u64,
    /// The path as on the wire, without query. A long path is cut.
    pub path: &'a str,
    /// Number of ended calls since the path is remembered.
    pub calls: u64,
    /// Number of those that failed.
    pub failed: u64,
    /// Median, 95th and 99th percentile in nanoseconds.
    pub spread: [u64; 3],
    /// Longest duration in nanoseconds.
    pub longest: u64,
    /// The call that ended last.
    pub last: ExchangeId,
}

impl Path {
    fn new(text: &str) -> Self {
        Self {
            text: endpoint::cut(text).into(),
            calls: 0,
            failed: 0,
            longest: 0,
            durations: Histogram::new(&SCALE),
            last: ExchangeId(0),
        }
    }

    /// This runs for each call where every call has a path of its own. So the memory is reused.
    fn become_another(&mut self, text: &str) {
        self.text.clear();
        self.text.push_str(endpoint::cut_str(text));
        (self.calls, self.failed, self.longest) = (0, 0, 0);
        self.durations.clear();
    }

    fn row(&self, key: u64) -> PathRow<'_> {
        let Self { text, calls, failed, longest, durations, last } = self;
        let spread = quantiles(&[durations], [0.5, 0.95, 0.99]).map(|value| value.min(*longest));
        PathRow { key, path: text, calls: *calls, failed: *failed, spread, longest: *longest, last: *last }
    }
}

/// Paths behind a folded path. Beyond the bound, paths without failures, with few calls and none recently give way.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    keys: Vec<u64>,
    items: Vec<Path>,
}

impl Paths {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Counts an ended exchange. Returns whether the number of paths grew by one.
    pub(super) fn see(&mut self, path: &str, exchange: &Exchange, duration: u64, failed: bool, room: bool) -> bool {
        let mut hasher = FxHasher::default();
        hasher.write(path.as_bytes());
        let key = hasher.finish();
        let known = self.keys.iter().position(|own| *own == key);
        let grows = known.is_none() && self.items.len() < MAX && room;
        let index = match known {
            Some(index) => index,
            None if grows => {
                self.keys.push(key);
                self.items.push(Path::new(path));
                self.items.len() - 1
            }
            None => {
                let weight = |index: &usize| {
                    let path = &self.items[*index];
                    (path.failed, path.calls, path.last)
                };
                let Some(least) = (0..self.items.len()).min_by_key(weight) else { return false };
                self.keys[least] = key;
                self.items[least].become_another(path);
                least
            }
        };
        let path = &mut self.items[index];
        path.calls += 1;
        path.failed += u64::from(failed);
        path.longest = path.longest.max(duration);
        path.durations.add(duration);
        path.last = exchange.id;
        grows
    }

    pub(super) fn rows(&self) -> Vec<PathRow<'_>> {
        let mut rows: Vec<PathRow<'_>> = self.keys.iter().zip(&self.items).map(|(key, path)| path.row(*key)).collect();
        rows.sort_by(|one, other| other.calls.cmp(&one.calls).then_with(|| one.path.cmp(other.path)));
        rows
    }
}
