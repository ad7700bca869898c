//! Client timeout that several calls have in common.
//!
//! ```text
//! request                 timeout          close, next request
//!    |------- waits ---------|---- backoff ----|
//! ```
//!
//! A call that times out has failed when its client stops waiting. Some clients keep the socket open during their
//! backoff and close it just before the next attempt, so the time from start to close includes the backoff. The timeout
//! is the common part of these times. If all times are equal, it cannot be separated from the backoff.

/// A client that makes the next call within this time (nanoseconds) after the close kept the socket open until then.
pub(super) const FOLLOWS_AT_ONCE_NS: u64 = 20_000_000;
/// Two timeouts are equal if they differ by at most a twentieth, or by this many nanoseconds.
const SAME_NS: u64 = 20_000_000;
/// Shortest plausible timeout in nanoseconds.
const SHORTEST_NS: u64 = 50_000_000;
/// Usual factors of exponential backoff.
const FACTORS: [f64; 4] = [1.5, 2.0, 3.0, 4.0];

/// A call that its client abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// Nanoseconds from its start, or from the last moved byte, to the close.
    pub(super) lasted: u64,
    /// Whether the next call followed at once.
    pub(super) followed: bool,
}

/// Result of [`common`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommonTimeout {
    /// Timeout in nanoseconds.
    pub(super) timeout: u64,
    /// Whether several calls agree, or one that no call followed at once.
    pub(super) sure: bool,
}

/// Whether two times belong to the same timeout.
pub(super) fn same(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= SAME_NS.max(one.max(other) / 20)
}

/// Finds the common timeout of calls, given oldest first. `None` if there is none.
pub(super) fn common(calls: &[GivenUp]) -> Option<CommonTimeout> {
    let least = calls.iter().map(|call| call.lasted).min()?;
    // A call that no other follows at once contains no backoff.
    let clean = calls.iter().filter(|call| !call.followed).map(|call| call.lasted).min();
    if let Some(clean) = clean {
        let shortest = same(clean, least) || clean < least;
        return shortest.then_some(CommonTimeout { timeout: clean, sure: true });
    }
    if calls.iter().all(|call| same(call.lasted, least)) {
        return Some(CommonTimeout { timeout: least, sure: calls.len() >= 2 });
    }
    // If the first retry comes at once, the shortest time contains no backoff.
    let by_least = backoff(calls, least);
    let by_growth =
        calls.windows(3).filter_map(growth).find(|timeout| *timeout <= least && backoff(calls, *timeout).is_some());
    let grown_by = |timeout| backoff(calls, timeout).is_some_and(is_round);
    match by_growth {
        // Each time is longer by the same factor, so the timeout itself grows.
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

/// Computes the timeout of three times if the parts above it grow by one factor.
fn growth(calls: &[GivenUp]) -> Option<u64> {
    let [first, second, third] = [calls[0], calls[1], calls[2]].map(|call| call.lasted as f64);
    let factor = (third - second) / (second - first);
    let base = (second - first) / (factor - 1.0);
    (second > first && factor > 1.15 && factor.is_finite()).then(|| (first - base).max(0.0) as u64)
}

/// Factor by which the times above the timeout grow, up to a cap; 1 if they are constant or grow by a constant step.
fn backoff(calls: &[GivenUp], timeout: u64) -> Option<f64> {
    let near = |one: f64, other: f64| (one - other).abs() <= 0.1 * one.max(other) + 5e6;
    let mut gaps: Vec<f64> = calls.iter().map(|call| call.lasted.saturating_sub(timeout) as f64).collect();
    if gaps.first().is_some_and(|gap| *gap <= FOLLOWS_AT_ONCE_NS as f64) {
        gaps.remove(0);
    }
    let [first, second, ..] = gaps[..] else { return None };
    let (factor, step) = (second / first, second - first);
    let last = gaps.last().copied().unwrap_or_default();
    // The last two have reached the cap.
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
        // The first retry comes after a backoff.
        assert_eq!(of(&[900, 1300, 2100], None), Some((500, false)));
        assert_eq!(of(&[900, 1300, 2100, 3700], None), Some((500, true)));
        // The backoff reaches a cap.
        assert_eq!(of(&[900, 1300, 2100, 2500, 2500], None), Some((500, true)));
        // The last call is closed at once.
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
