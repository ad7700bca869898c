//! Statistics of upstreams: attempts per call, and usual gaps of their clients.

use rustc_hash::FxHashMap;

use super::call;

/// Maximum number of counted upstreams; further ones are not counted.
const MOST: usize = 1024;
/// Maximum number of calls with remembered gaps.
const USUAL: usize = 1024;
/// Maximum number of gaps remembered per call.
const GAPS: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Upstreams {
    counts: FxHashMap<u64, (u64, u64)>,
    /// Latest gap of each call, indexed by the number of attempts before it.
    usual: FxHashMap<u64, [u64; GAPS]>,
}

impl Upstreams {
    pub(super) fn key(authority: &str) -> u64 {
        call::hash(&[authority.as_bytes()])
    }

    /// Counts an attempt. `another` means that it may repeat an earlier call.
    pub(super) fn attempt(&mut self, upstream: u64, another: bool) {
        if self.counts.len() < MOST || self.counts.contains_key(&upstream) {
            let (calls, attempts) = self.counts.entry(upstream).or_default();
            *attempts += 1;
            *calls += u64::from(!another);
        }
    }

    /// Counts a call, as the last attempt turned out to be its first.
    pub(super) fn call(&mut self, upstream: u64) {
        if let Some((calls, _)) = self.counts.get_mut(&upstream) {
            *calls += 1;
        }
    }

    /// Number of calls and number of attempts.
    pub(super) fn counts(&self, upstream: u64) -> (u64, u64) {
        self.counts.get(&upstream).copied().unwrap_or_default()
    }

    /// Records a gap in nanoseconds that a chain of this call had after `attempts` attempts.
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
