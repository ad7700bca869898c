//! How many attempts an upstream gets for how many calls, and how clients of it usually wait.

use rustc_hash::FxHashMap;

use super::call;

/// Upstreams that are counted; of more, nothing is said.
const MOST: usize = 1024;
/// Calls of which the usual gaps are remembered.
const USUAL: usize = 1024;
/// Gaps of each.
const GAPS: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Upstreams {
    counts: FxHashMap<u64, (u64, u64)>,
    /// The latest gap after so many attempts.
    usual: FxHashMap<u64, [u64; GAPS]>,
}

impl Upstreams {
    pub(super) fn key(authority: &str) -> u64 {
        call::hash(&[authority.as_bytes()])
    }

    /// An attempt: another of a call, or the first.
    pub(super) fn attempt(&mut self, upstream: u64, another: bool) {
        if self.counts.len() < MOST || self.counts.contains_key(&upstream) {
            let (calls, attempts) = self.counts.entry(upstream).or_default();
            *attempts += 1;
            *calls += u64::from(!another);
        }
    }

    /// The last attempt was the first of its call after all.
    pub(super) fn call(&mut self, upstream: u64) {
        if let Some((calls, _)) = self.counts.get_mut(&upstream) {
            *calls += 1;
        }
    }

    /// Calls and attempts.
    pub(super) fn counts(&self, upstream: u64) -> (u64, u64) {
        self.counts.get(&upstream).copied().unwrap_or_default()
    }

    /// A chain of this call waited so long after so many attempts.
    pub(super) fn learn_gap(&mut self, key: u64, attempts: u32, gap: u64) {
        if self.usual.len() >= USUAL && !self.usual.contains_key(&key) {
            self.usual.clear();
        }
        if let Some(usual) = self.usual.entry(key).or_default().get_mut(attempts as usize) {
            *usual = gap;
        }
    }

    pub(super) fn usual_gap(&self, key: u64, attempts: u32) -> Option<u64> {
        self.usual.get(&key)?.get(attempts as usize).copied().filter(|gap| *gap > 0)
    }
}
