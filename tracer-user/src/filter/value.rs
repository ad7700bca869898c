//! Numbers, times and sizes: parsed from a filter, and written so that they parse again.

use std::{fmt, ops::RangeInclusive, time::Duration};

use crate::text::units;

/// Operand of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// A single number.
    One(u64),
    /// A class of statuses: 5 for `5xx`.
    Class(u8),
}

impl Number {
    /// The numbers that match.
    pub(super) fn range(self) -> RangeInclusive<u64> {
        match self {
            Self::One(number) => number..=number,
            Self::Class(class) => u64::from(class) * 100..=u64::from(class) * 100 + 99,
        }
    }
}

/// Unit of a numeric field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A plain number.
    None,
    /// A status, or a class of statuses.
    Status,
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
}

/// Largest number accepted; no counter reaches it.
const MAX: u128 = i64::MAX as u128;

/// Units of size, largest first: a size is written in the first unit that divides it.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl Unit {
    /// Error message for text that is not a value of this unit.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::None => "expected a whole number, for example 42",
            Self::Status => "expected a status or a class, for example 503 or 5xx",
            Self::Time => "expected a time with a unit, for example 200ms, 1.5s or 1m30s",
            Self::Bytes => "expected a size, for example 1500, 10kB or 1MiB",
        }
    }

    pub(super) fn parse(self, text: &str) -> Option<Number> {
        let number = match self {
            // Lines show connections as `#4`.
            Self::None => quantity(text.strip_prefix('#').unwrap_or(text), 1, false)?,
            Self::Status => {
                if let [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
                    return Some(Number::Class(class - b'0'));
                }
                quantity(text, 1, false).filter(|status| *status <= 999)?
            }
            Self::Time => time(text)?,
            Self::Bytes => size(text)?,
        };
        Some(Number::One(number))
    }

    /// Parses a value without a field. Its unit selects the field.
    pub(super) fn of_bare(text: &str) -> Option<(Self, Number)> {
        if let Some(time) = time(text) {
            return Some((Self::Time, Number::One(time)));
        }
        let unit_is_written = text.ends_with(['b', 'B']);
        size(text).filter(|_| unit_is_written).map(|size| (Self::Bytes, Number::One(size)))
    }

    /// Formats a number so that [`Self::parse`] reads it back.
    pub(super) fn show(self, number: Number) -> Shown {
        Shown(self, number)
    }
}

/// Displays a number with its unit.
pub(super) struct Shown(Unit, Number);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self.1 {
            Number::Class(class) => return write!(f, "{class}xx"),
            Number::One(number) => number,
        };
        match self.0 {
            Unit::None | Unit::Status => write!(f, "{number}"),
            Unit::Time => f.write_str(&units::exact_duration(Duration::from_nanos(number))),
            Unit::Bytes => {
                let fits = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
                let (name, factor) = SIZES.iter().find(fits).unwrap_or(&("B", 1));
                write!(f, "{}{name}", number / factor)
            }
        }
    }
}

/// Parses `1.5s` or `1m30s` to nanoseconds.
fn time(text: &str) -> Option<u64> {
    u64::try_from(units::parse_duration(text)?.as_nanos()).ok().filter(|time| u128::from(*time) <= MAX)
}

/// Parses `1500`, `10kB` or `1.5M` to bytes. A unit without `B` is a power of two, as in options.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let factor = if unit.is_empty() {
        1
    } else {
        let known = |unit: &str| SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let short = || known(&format!("{}iB", unit.trim_end_matches(['i', 'I'])));
        known(unit).or_else(short)?.1
    };
    quantity(number, factor, factor > 1)
}

/// Parses digits, with a decimal fraction if `fraction` allows it, and multiplies by `factor`.
fn quantity(text: &str, factor: u64, fraction: bool) -> Option<u64> {
    /// Digits of each part that fit into the calculation.
    const DIGITS: usize = 18;
    let digits = |text: &str| -> Option<u128> {
        let all = !text.is_empty() && text.len() <= DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if all { text.parse().ok() } else { None }
    };
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) if fraction => (whole, digits(part)? * u128::from(factor) / 10_u128.pow(part.len() as u32)),
        Some(_) => return None,
        None => (text, 0),
    };
    let total = digits(whole)? * u128::from(factor) + part;
    u64::try_from(total).ok().filter(|total| u128::from(*total) <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, nanoseconds) in [("1s", 1_000_000_000), ("1m30s", 90_000_000_000), ("0s", 0)] {
            assert_eq!(Unit::Time.parse(text), Some(Number::One(nanoseconds)), "{text}");
        }
        // A bare number has no unit, and three hundred years in nanoseconds are more than counters hold.
        for text in ["", "1", "1s2", "2600000h"] {
            assert_eq!(Unit::Time.parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("10kB", 10_000),
            ("10KB", 10_000),
            ("1.5MB", 1_500_000),
            ("1k", 1024),
            ("1Ki", 1024),
            ("1KiB", 1024),
            ("2MiB", 2 << 20),
            ("7B", 7),
        ] {
            assert_eq!(Unit::Bytes.parse(text), Some(Number::One(bytes)), "{text}");
        }
        for text in ["", "B", "1.5", "1x", "1iB", "1ii", "-1", "1 kB", "99999999999999999999", "999999999999999999TiB"]
        {
            assert_eq!(Unit::Bytes.parse(text), None, "{text}");
        }
    }

    #[test]
    fn statuses_and_numbers() {
        assert_eq!(Unit::Status.parse("5xx"), Some(Number::Class(5)));
        assert_eq!(Number::Class(5).range(), 500..=599);
        assert_eq!(Unit::Status.parse("503"), Some(Number::One(503)));
        for text in ["", "0xx", "5x", "xxx", "5xxx", "1000", "-1", "5.0"] {
            assert_eq!(Unit::Status.parse(text), None, "{text}");
        }
        assert_eq!(Unit::None.parse("#4"), Some(Number::One(4)));
        assert_eq!(Unit::None.parse("4.0"), None);
    }

    #[test]
    fn what_stands_alone_needs_its_unit() {
        assert_eq!(Unit::of_bare("1s"), Some((Unit::Time, Number::One(1_000_000_000))));
        assert_eq!(Unit::of_bare("1m"), Some((Unit::Time, Number::One(60_000_000_000))));
        assert_eq!(Unit::of_bare("1MB"), Some((Unit::Bytes, Number::One(1_000_000))));
        for text in ["", "500", "1M", "1k", "x", "s"] {
            assert_eq!(Unit::of_bare(text), None, "{text}");
        }
    }

    #[test]
    fn shown_numbers_read_back() {
        let numbers = [0, 1, 999, 1_000, 1_024, 1_500, 90_000_000_000, 86_400_000_000_000, 1 << 40, i64::MAX as u64];
        for unit in [Unit::None, Unit::Time, Unit::Bytes] {
            for number in numbers.map(Number::One) {
                let shown = unit.show(number).to_string();
                let read = unit.parse(&shown);
                // No number of 19 digits is typed.
                assert!(read == Some(number) || shown.len() > 18, "{shown}");
            }
        }
        assert_eq!(Unit::Time.show(Number::One(1_500_000_000)).to_string(), "1.5s");
        assert_eq!(Unit::Status.show(Number::Class(4)).to_string(), "4xx");
    }
}
