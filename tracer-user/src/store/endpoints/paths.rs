//! The paths that a folded one stands for, those that matter most.

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

/// Paths of one endpoint that are told apart.
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
    /// Names it.
    pub key: u64,
    /// As on the wire, without query; long ones are cut.
    pub path: &'a str,
    /// Calls that are over, since it is remembered.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Median, 95th and 99th percentile, nanoseconds.
    pub spread: [u64; 3],
    /// The longest, nanoseconds.
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

    /// Where every call has a path of its own, this happens for each: its room is used again.
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

/// See the module. Beyond the bound, that which has no failures, few calls, and none of late makes room.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    keys: Vec<u64>,
    items: Vec<Path>,
}

impl Paths {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes an exchange that is over; gives whether one more is remembered.
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
