//! Thresholds: named numbers with defaults that can be set from text.

use std::{fmt, time::Duration};

use crate::text::units;

/// Description of a threshold for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Name, such as `give-up-after`.
    pub name: String,
    /// Value in the form that can be typed.
    pub value: String,
    /// Effect of the threshold.
    pub what: &'static str,
}

/// The thresholds of one detector.
pub trait Thresholds: fmt::Debug {
    /// Sets a threshold. Returns `Ok(false)` if the name is unknown.
    ///
    /// # Errors
    ///
    /// A description of the expected value if `value` is invalid.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String>;

    /// All thresholds with their current values.
    fn list(&self) -> Vec<Threshold>;
}

/// Type of a threshold.
pub trait Setting: Sized {
    /// Parses a typed value.
    ///
    /// # Errors
    ///
    /// A description of the expected value.
    fn parse(text: &str) -> Result<Self, String>;

    /// Formats the value so that [`Self::parse`] accepts it.
    fn show(&self) -> String;
}

/// Maximum duration; longer than any trace.
const LONGEST: Duration = Duration::from_hours(366 * 24);

impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let duration = units::parse_duration_or_seconds(text).ok_or(units::DURATION_NEEDED)?;
        if duration > LONGEST { Err("the maximum is one year".to_owned()) } else { Ok(duration) }
    }

    fn show(&self) -> String {
        units::exact_duration(*self)
    }
}

impl Setting for u32 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "expected a whole number, for example 5".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number: &Self| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| "expected a number, for example 0.25".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Name of a field on the command line.
pub(super) fn kebab(field: &str) -> String {
    field.replace('_', "-")
}

/// Declares a struct of thresholds, each with its description, type and default.
macro_rules! thresholds {
    (
        $(#[$meta:meta])*
        pub struct $Name:ident {
            $($(#[doc = $what:literal])+ $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $($(#[doc = $what])+ pub $field: $type,)*
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::analysis::detector::Thresholds for $Name {
            fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
                $(
                    if name == $crate::analysis::detector::threshold::kebab(stringify!($field)) {
                        self.$field = $crate::analysis::detector::Setting::parse(value)?;
                        return Ok(true);
                    }
                )*
                Ok(false)
            }

            fn list(&self) -> Vec<$crate::analysis::detector::Threshold> {
                vec![$($crate::analysis::detector::Threshold {
                    name: $crate::analysis::detector::threshold::kebab(stringify!($field)),
                    value: $crate::analysis::detector::Setting::show(&self.$field),
                    what: concat!($($what),+).trim_ascii(),
                },)*]
            }
        }
    };
}

pub(super) use thresholds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_shown() {
        for milliseconds in [0, 1, 999, 1_000, 2_500, 60_000, 90_000, 3_600_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(Duration::parse(&duration.show()), Ok(duration));
        }
        for text in ["", "s", "-1s", "1e9s", "nans", "9999999h", "1..2s"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert_eq!(f64::parse("0.25"), Ok(0.25));
        for text in ["", "-1", "inf", "NaN", "x"] {
            assert!(f64::parse(text).is_err() && u32::parse(text).is_err(), "{text}");
        }
    }
}
