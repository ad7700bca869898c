//! The time-out that calls have in common.
//!
//! ```text
//! request                 time-out         close, next request
//!    |------- waits ---------|---- backoff ----|
//! ```
//!
//! A call that times out has failed when its client stops waiting. Some clients hold the socket until their backoff is
//! over, and close it just before the next attempt. Then the time from start to close has the backoff in it: the time-out is
//! what these times have in common. Where they are all the same, nothing tells the two apart.

/// Who closes and makes the next call within this time held the socket until then.
pub(super) const FOLLOWS_AT_ONCE_NS: u64 = 20_000_000;
/// Time-outs are the same within a twentieth, or this.
const SAME_NS: u64 = 20_000_000;
/// No client waits for so short a time.
const SHORTEST_NS: u64 = 50_000_000;
/// Factors of backoffs, which programs are given as round numbers.
const FACTORS: [f64; 4] = [1.5, 2.0, 3.0, 4.0];

/// A call that its client gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// From its start, or what moved last, to the close, in nanoseconds.
    pub(super) lasted: u64,
    /// The next call followed at once.
    pub(super) followed: bool,
}

/// What the times have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommonTimeout {
    /// Nanoseconds.
    pub(super) timeout: u64,
    /// More than one call says so, or one that nothing followed at once.
    pub(super) sure: bool,
}

/// Whether two times are of the same time-out.
pub(super) fn same(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= SAME_NS.max(one.max(other) / 20)
}

/// Finds the time-out of calls, the oldest first. `None` where they have none in common.
pub(super) fn common(calls: &[GivenUp]) -> Option<CommonTimeout> {
    let least = calls.iter().map(|call| call.lasted).min()?;
    // Nothing came after it: no backoff is in it.
    let clean = calls.iter().filter(|call| !call.followed).map(|call| call.lasted).min();
    if let Some(clean) = clean {
        let shortest = same(clean, least) || clean < least;
        return shortest.then_some(CommonTimeout { timeout: clean, sure: true });
    }
    if calls.iter().all(|call| same(call.lasted, least)) {
        return Some(CommonTimeout { timeout: least, sure: calls.len() >= 2 });
    }
    // The first retry may come at once: then the shortest has no backoff in it.
    let by_least = backoff(calls, least);
    let by_growth =
        calls.windows(3).filter_map(growth).find(|timeout| *timeout <= least && backoff(calls, *timeout).is_some());
    let grown_by = |timeout| backoff(calls, timeout).is_some_and(is_round);
    match by_growth {
        // Each lasts longer by the same factor: the time-out itself grows.
        Some(timeout) if timeout < SHORTEST_NS.max(least / 10) => {
            (calls.len() < 3).then_some(CommonTimeout { timeout: least, sure: false })
        }
        Some(timeout) if grown_by(timeout) => Some(CommonTimeout { timeout, sure: calls.len() > 3 }),
        _ => {
            let repeated = calls.iter().filter(|call| same(call.lasted, least)).count() >= 2;
            Some(CommonTimeout { timeout: least, sure: repeated || (by_least.is_some() && calls.len() > 3) })
        }
    }
}

/// The time-out below three times, if what is above it grows by one factor.
fn growth(calls: &[GivenUp]) -> Option<u64> {
    let [first, second, third] = [calls[0], calls[1], calls[2]].map(|call| call.lasted as f64);
    let factor = (third - second) / (second - first);
    let base = (second - first) / (factor - 1.0);
    (second > first && factor > 1.15 && factor.is_finite()).then(|| (first - base).max(0.0) as u64)
}

/// The factor by which the times above the time-out grow, up to a cap; 1 where they are all the same, or grow by a step.
fn backoff(calls: &[GivenUp], timeout: u64) -> Option<f64> {
    let near = |one: f64, other: f64| (one - other).abs() <= 0.1 * one.max(other) + 5e6;
    let mut gaps: Vec<f64> = calls.iter().map(|call| call.lasted.saturating_sub(timeout) as f64).collect();
    if gaps.first().is_some_and(|gap| *gap <= FOLLOWS_AT_ONCE_NS as f64) {
        gaps.remove(0);
    }
    let [first, second, ..] = gaps[..] else { return None };
    let (factor, step) = (second / first, second - first);
    let last = gaps.last().copied().unwrap_or_default();
    // Up to a cap, which the last two have reached.
    let is_capped = gaps.len() > 2 && near(gaps[gaps.len() - 2], last);
    let capped = |pair: &[f64]| {
        is_capped && near(pair[1], last) && pair[1] >= 0.9 * pair[0] && pair[1] <= pair[0] * factor * 1.1
    };
    let by_factor = gaps.windows(2).all(|pair| near(pair[1], pair[0] * factor) || capped(pair));
    let by_step = gaps.windows(2).all(|pair| near(pair[1], pair[0] + step));
    match (by_factor && factor >= 1.15, by_step && step >= -5e6) {
        (true, _) => Some(factor),
        (false, true) => Some(1.0),
        (false, false) => None,
    }
}

fn is_round(factor: f64) -> bool {
    FACTORS.iter().any(|round| (factor - round).abs() <= 0.05 * round)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(followed: &[u64], clean: Option<u64>) -> Option<(u64, bool)> {
        let followed = followed.iter().map(|ms| GivenUp { lasted: ms * 1_000_000, followed: true });
        let clean = clean.map(|ms| GivenUp { lasted: ms * 1_000_000, followed: false });
        let calls: Vec<GivenUp> = followed.chain(clean).collect();
        common(&calls).map(|common| (common.timeout.saturating_add(500_000) / 1_000_000, common.sure))
    }

    #[test]
    fn the_backoff_lies_inside() {
        // The first retry comes at once.
        assert_eq!(of(&[500, 1300], None), Some((500, false)));
        assert_eq!(of(&[500, 1300, 2100], None), Some((500, false)));
        assert_eq!(of(&[500, 1300, 2100, 3700], None), Some((500, true)));
        // It does not.
        assert_eq!(of(&[900, 1300, 2100], None), Some((500, false)));
        assert_eq!(of(&[900, 1300, 2100, 3700], None), Some((500, true)));
        // Up to a cap.
        assert_eq!(of(&[900, 1300, 2100, 2500, 2500], None), Some((500, true)));
        // The last is closed at once.
        assert_eq!(of(&[900, 1300], Some(500)), Some((500, true)));
        assert_eq!(of(&[1500, 1500, 1500], Some(500)), Some((500, true)));
        assert_eq!(of(&[700, 2200, 1100], Some(500)), Some((500, true)), "jitter");
    }

    #[test]
    fn what_cannot_be_told_apart_is_the_time_out() {
        assert_eq!(of(&[], Some(2000)), Some((2000, true)));
        assert_eq!(of(&[2000], None), Some((2000, false)));
        assert_eq!(of(&[2000, 2010, 1995], None), Some((1995, true)));
        assert_eq!(of(&[], None), None);
    }

    #[test]
    fn time_outs_that_grow_have_nothing_in_common() {
        assert_eq!(of(&[500, 1000, 2000, 4000], None), None);
        assert_eq!(of(&[500, 1000, 2000], Some(4000)), None);
    }
}
