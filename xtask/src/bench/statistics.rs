//! Median and quartiles.

use std::fmt;

/// The median of some values, and the quartiles as its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) lower: f64,
    pub(super) median: f64,
    pub(super) upper: f64,
}

impl Spread {
    /// Without values, every field is `NaN`.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self { lower: quantile(&values, 0.25), median: quantile(&values, 0.5), upper: quantile(&values, 0.75) }
    }
}

/// A quantile by linear interpolation between neighbours, as numpy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * share;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

impl fmt::Display for Spread {
    /// Writes `0.87 (0.85 to 0.90)`. The precision sets the number of digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.lower, self.upper)
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn quartiles_are_those_of_the_sorted_values() {
        let spread = Spread::of([5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(spread, Spread { lower: 2.0, median: 3.0, upper: 4.0 });
        assert_eq!(Spread::of([1.0, 2.0]).to_string(), "1.50 (1.25 to 1.75)");
        assert!(Spread::of([]).median.is_nan());
    }
}
