//! Fit of gaps to backoff patterns.
//!
//! A gap runs from the end of an attempt to the start of the next. The time from start to start would include the
//! timeouts of the attempts.

use super::{Pattern, RetryThresholds};

/// A gap and its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Length in nanoseconds.
    pub(super) length: u64,
    /// Delay in nanoseconds that the `Retry-After` field of the previous response requests.
    pub(super) retry_after: Option<u64>,
    /// Whether the transport resent the request by itself, without a backoff.
    pub(super) resent: bool,
}

/// Result of [`fit`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fit {
    pub(super) pattern: Option<Pattern>,
    /// Whether more gaps agree than the pattern has parameters.
    pub(super) settled: bool,
    /// First gap in nanoseconds.
    pub(super) base: Option<u64>,
    /// Growth factor.
    pub(super) factor: Option<f64>,
    /// Growth step in nanoseconds.
    pub(super) step: Option<u64>,
    pub(super) cap: Option<u64>,
    pub(super) first_immediate: bool,
    /// Predicted next gap in nanoseconds.
    pub(super) next: Option<u64>,
}

/// Range of factors accepted as exponential backoff.
const FACTORS: std::ops::RangeInclusive<f64> = 1.15..=12.0;
/// Maximum distance of the logarithms from a line that a small jitter causes.
const SMALL_JITTER: f64 = 0.3;
/// Minimum slope of the logarithms per gap that chance alone seldom causes.
const RISE: f64 = 0.2;

/// Finds the pattern of gaps.
pub(super) fn fit(gaps: &[Gap], thresholds: &RetryThresholds) -> Fit {
    let asked: Vec<&Gap> = gaps.iter().filter(|gap| !gap.resent).collect();
    // A client that counts its attempts also counts those that follow `Retry-After`.
    let own: Vec<Numbered> = asked
        .iter()
        .enumerate()
        .filter(|(_, gap)| !obeys(gap))
        .map(|(number, gap)| (number as f64, gap.length as f64))
        .collect();
    if own.is_empty() {
        return match asked.last() {
            Some(last) => Fit {
                pattern: Some(Pattern::RetryAfter),
                settled: true,
                base: last.retry_after,
                next: last.retry_after,
                ..Fit::default()
            },
            None => Fit::default(),
        };
    }
    let immediate = thresholds.immediate.as_nanos() as f64;
    if own.iter().all(|(_, gap)| *gap <= immediate) {
        let base = Some(mean(&own) as u64);
        return Fit {
            pattern: Some(Pattern::Immediate),
            settled: own.len() >= 2,
            base,
            next: base.filter(|_| own.len() >= 2),
            ..Fit::default()
        };
    }
    let first_immediate = own.len() >= 2 && own[0].1 <= immediate && own[1].1 > 2.0 * own[0].1.max(immediate / 2.0);
    let values = if first_immediate { &own[1..] } else { &own[..] };
    Fit { first_immediate, ..fit_values(values, asked.len() as f64) }
}

/// Index of a gap among all gaps, and its length.
type Numbered = (f64, f64);

/// Whether the gap matches `Retry-After`, with the margin that clients add.
pub(super) fn obeys(gap: &Gap) -> bool {
    gap.retry_after
        .is_some_and(|asked| asked > 0 && gap.length >= asked / 10 * 9 && gap.length <= asked / 4 * 5 + 500_000_000)
}

/// Deviation caused by clocks, schedulers and connection setup.
fn tolerance(gap: f64) -> f64 {
    0.08 * gap + 5e6
}

fn near(gap: f64, expected: f64) -> bool {
    (gap - expected).abs() <= tolerance(expected)
}

fn mean(values: &[Numbered]) -> f64 {
    values.iter().map(|(_, gap)| gap).sum::<f64>() / values.len().max(1) as f64
}

/// Whether a gap matches as closely as timers do on an idle machine.
fn exact(gap: f64, expected: f64) -> bool {
    (gap - expected).abs() <= 0.025 * expected + 3e6
}

/// Finds the pattern of gaps; `next` is the index of the predicted one.
fn fit_values(values: &[Numbered], next: f64) -> Fit {
    let count = values.len();
    if count < 2 {
        return Fit { base: values.first().map(|(_, gap)| *gap as u64), ..Fit::default() };
    }
    let mut sorted: Vec<f64> = values.iter().map(|(_, gap)| *gap).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[count / 2];
    if values.iter().all(|(_, gap)| near(*gap, median)) {
        let base = Some(mean(values) as u64);
        let settled = values.iter().all(|(_, gap)| exact(*gap, median));
        return Fit { pattern: Some(Pattern::Constant), settled, base, next: base, ..Fit::default() };
    }
    let growths = [growth(values, next, Pattern::Exponential), growth(values, next, Pattern::Linear)];
    let best = growths.into_iter().flatten().min_by(|one, other| one.0.total_cmp(&other.0));
    if let Some((_, fit)) = best {
        return fit;
    }
    let (slope, scatter) = line(values);
    let rising = values.windows(2).all(|pair| pair[1].1 > pair[0].1);
    let little = count >= 3 && rising && slope >= RISE && scatter <= SMALL_JITTER;
    if little || (count >= 5 && slope >= RISE) {
        return Fit {
            pattern: Some(Pattern::ExponentialJitter),
            settled: count >= 5,
            base: Some(values[0].1 as u64),
            factor: Some(slope.exp()),
            ..Fit::default()
        };
    }
    Fit { pattern: (count >= 3).then_some(Pattern::Irregular), settled: count >= 5, ..Fit::default() }
}

/// Fits growth by a factor or by a step, up to a cap. Returns the mean error with the fit.
fn growth(values: &[Numbered], next: f64, pattern: Pattern) -> Option<(f64, Fit)> {
    let fits = (2..=values.len()).rev().filter_map(|grown| {
        let ((begin, first), (end, last)) = (values[0], values[grown - 1]);
        let steps = end - begin;
        let (factor, step) = match pattern {
            Pattern::Linear => (1.0, (last - first) / steps),
            _ => ((last / first).powf(1.0 / steps), 0.0),
        };
        let at = |number: f64| first * factor.powf(number - begin) + step * (number - begin);
        let grows = match pattern {
            // Two gaps fit any kind of growth, and most clients multiply.
            Pattern::Linear => step > tolerance(first) && grown >= 3,
            _ => FACTORS.contains(&factor) && last - first > tolerance(first),
        };
        let (rising, tail) = values.split_at(grown);
        let cap = mean(tail);
        let capped = !tail.is_empty();
        let fit = grows
            && rising.iter().all(|(number, gap)| near(*gap, at(*number)))
            && tail.iter().all(|(_, gap)| near(*gap, cap))
            && tail.first().is_none_or(|(number, _)| {
                cap > last - tolerance(last) && cap < at(*number) + tolerance(at(*number))
            })
            // A single gap that is too short is no cap.
            && (!capped || tail.len() >= 2 || grown >= 3);
        if !fit {
            return None;
        }
        let precise = rising.iter().all(|(number, gap)| exact(*gap, at(*number)));
        let error = rising.iter().map(|(number, gap)| (gap / at(*number) - 1.0).abs()).sum::<f64>() / grown as f64;
        // A cap explains deviations, so a fit without one is preferred.
        let error = error + 0.02 * tail.len() as f64;
        let fit = Fit {
            pattern: Some(pattern),
            settled: precise && (grown >= 3 || tail.len() >= 2),
            base: Some(first as u64),
            factor: (pattern == Pattern::Exponential).then_some(factor),
            step: (pattern == Pattern::Linear).then_some(step as u64),
            cap: capped.then_some(cap as u64),
            first_immediate: false,
            next: Some(if capped { cap } else { at(next) } as u64),
        };
        Some((error, fit))
    });
    fits.min_by(|one, other| one.0.total_cmp(&other.0))
}

/// Slope of the logarithms, and their maximum distance from the line.
fn line(values: &[Numbered]) -> (f64, f64) {
    let logarithms: Vec<Numbered> = values.iter().map(|(number, gap)| (*number, gap.max(1e6).ln())).collect();
    let middle = values.iter().map(|(number, _)| number).sum::<f64>() / values.len() as f64;
    let average = mean(&logarithms);
    let (mut products, mut squares) = (0.0, 0.0);
    for (number, logarithm) in &logarithms {
        products += (number - middle) * (logarithm - average);
        squares += (number - middle) * (number - middle);
    }
    let slope = products / squares;
    let distance = |(number, logarithm): &Numbered| (logarithm - average - slope * (number - middle)).abs();
    (slope, logarithms.iter().map(distance).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gaps(milliseconds: &[f64]) -> Vec<Gap> {
        let gap = |ms: &f64| Gap { length: (ms * 1e6) as u64, retry_after: None, resent: false };
        milliseconds.iter().map(gap).collect()
    }

    fn fitted(milliseconds: &[f64]) -> Fit {
        fit(&gaps(milliseconds), &RetryThresholds::default())
    }

    #[track_caller]
    fn check(milliseconds: &[f64], pattern: Pattern, next_ms: Option<f64>) {
        let fit = fitted(milliseconds);
        assert_eq!(fit.pattern, Some(pattern), "{milliseconds:?}: {fit:?}");
        match (fit.next.map(|next| next as f64 / 1e6), next_ms) {
            (Some(next), Some(expected)) => assert!((next / expected - 1.0).abs() < 0.1, "{next} is not {expected}"),
            (next, expected) => assert_eq!(next, expected, "{milliseconds:?}: {fit:?}"),
        }
    }

    #[test]
    fn each_pattern_is_known_by_the_third_gap() {
        check(&[1000.4, 1001.0], Pattern::Constant, Some(1000.0));
        check(&[1001.0, 2000.7], Pattern::Exponential, Some(4000.0));
        check(&[1001.0, 2000.7, 4003.0], Pattern::Exponential, Some(8000.0));
        check(&[100.4, 151.0, 226.0, 339.0], Pattern::Exponential, Some(507.0));
        check(&[1001.0, 2000.7, 3002.0], Pattern::Linear, Some(4000.0));
        check(&[0.2, 0.4, 0.3], Pattern::Immediate, Some(0.3));
        check(&[500.0, 200.0, 700.0], Pattern::Irregular, None);
        assert_eq!(fitted(&[1000.0]).pattern, None);
        assert!(!fitted(&[1001.0, 2000.7]).settled && fitted(&[1001.0, 2000.7, 4003.0]).settled);
    }

    #[test]
    fn the_first_retry_may_come_at_once() {
        let fit = fitted(&[0.3, 200.5, 401.0, 799.0]);
        assert_eq!((fit.pattern, fit.first_immediate), (Some(Pattern::Exponential), true));
        check(&[0.3, 200.5, 401.0, 799.0], Pattern::Exponential, Some(1600.0));
        check(&[0.3, 200.5, 201.0], Pattern::Constant, Some(200.0));
    }

    #[test]
    fn a_cap_makes_the_tail_constant() {
        let fit = fitted(&[100.0, 200.0, 400.0, 500.0, 501.0]);
        assert_eq!(fit.pattern, Some(Pattern::Exponential));
        assert!(fit.cap.is_some_and(|cap| cap.abs_diff(500_500_000) < 1_000_000), "{fit:?}");
        check(&[100.0, 200.0, 400.0, 500.0, 501.0], Pattern::Exponential, Some(500.0));
        check(&[1000.0, 2000.0, 3000.0, 3001.0, 3000.0], Pattern::Linear, Some(3000.0));
        check(&[60.3, 120.2, 200.4, 200.1, 200.3], Pattern::Exponential, Some(200.0));
        assert!(!fitted(&[60.3, 120.2, 200.4]).settled, "of a cap nothing is known yet");
    }

    #[test]
    fn full_jitter_needs_five_gaps() {
        let gaps = [83.0, 40.0, 310.0, 255.0, 1400.0, 900.0];
        for count in 3..5 {
            assert_eq!(fitted(&gaps[..count]).pattern, Some(Pattern::Irregular), "{count}");
        }
        check(&gaps, Pattern::ExponentialJitter, None);
        check(&[100.0, 230.0, 390.0, 850.0], Pattern::ExponentialJitter, None);
    }

    #[test]
    fn retry_after_explains_what_it_asked_for() {
        let asked = |ms: f64, asked: u64| Gap {
            length: (ms * 1e6) as u64,
            retry_after: Some(asked * 1_000_000_000),
            resent: false,
        };
        let thresholds = RetryThresholds::default();
        let fit = fit(&[asked(1001.0, 1), asked(1003.0, 1), asked(2001.0, 2)], &thresholds);
        assert_eq!((fit.pattern, fit.next), (Some(Pattern::RetryAfter), Some(2_000_000_000)));
        let own = |ms: f64| Gap { length: (ms * 1e6) as u64, retry_after: None, resent: false };
        let fit = super::fit(&[own(200.4), asked(1001.0, 1), own(800.9)], &thresholds);
        assert_eq!((fit.pattern, fit.next.map(|next| next / 10_000_000)), (Some(Pattern::Exponential), Some(160)));
        let ignored = super::fit(&[asked(100.0, 5), asked(200.0, 5), asked(400.0, 5)], &thresholds);
        assert_eq!(ignored.pattern, Some(Pattern::Exponential));
    }

    proptest! {
        #[test]
        fn whatever_the_gaps_are_it_says_something(gaps in prop::collection::vec(0_u64..u64::MAX / 4, 0..30)) {
            let gaps: Vec<Gap> =
                gaps.iter().map(|length| Gap { length: *length, retry_after: None, resent: false }).collect();
            let fit = fit(&gaps, &RetryThresholds::default());
            prop_assert!(fit.factor.is_none_or(f64::is_finite));
            prop_assert_eq!(fit.pattern.is_none(), gaps.len() < 2 && fit.pattern != Some(Pattern::Immediate)
                || fit.pattern.is_none());
        }

        #[test]
        fn exponential_is_exponential(base in 50.0_f64..2000.0, factor in 1.5_f64..4.0, noise in 0.0_f64..0.02) {
            let gaps: Vec<f64> = (0..5).map(|n| base * factor.powi(n) * (1.0 + noise) + 0.5).collect();
            let fit = fitted(&gaps);
            prop_assert_eq!(fit.pattern, Some(Pattern::Exponential));
            prop_assert!((fit.factor.unwrap() / factor - 1.0).abs() < 0.03);
        }
    }
}
