//! Parsers of sizes and times in options.

use std::time::Duration;

use super::{CallCapture, RingSize};
use crate::text::units;

/// Maximum body limit: several bodies are in memory at a time.
const MAX_SIZE: u64 = 1 << 30;
/// Maximum ring size; the kernel creates no larger ring.
const MAX_RING: u64 = 1 << 30;
/// Minimum ring size: one page on most machines, 64 KiB on some.
const MIN_RING: u64 = 4096;
/// Maximum duration of a trace.
const MAX_DURATION: Duration = Duration::from_hours(366 * 24);

/// Parses `64KiB`, `1M` or `1500` to bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bytes = bytes(text)?;
    if bytes > MAX_SIZE {
        return Err("the maximum is 1GiB".to_owned());
    }
    Ok(bytes as usize)
}

pub(super) fn ring_size(text: &str) -> Result<RingSize, String> {
    let bytes = bytes(text)?;
    if !bytes.is_power_of_two() || !(MIN_RING..=MAX_RING).contains(&bytes) {
        return Err("expected a power of two from 4KiB to 1GiB, for example 32MiB".to_owned());
    }
    Ok(RingSize(bytes as u32))
}

pub(super) fn call_capture(text: &str) -> Result<CallCapture, String> {
    let bytes = bytes(text)?;
    if bytes > MAX_SIZE {
        return Err("the maximum is 1GiB".to_owned());
    }
    Ok(CallCapture(bytes as u32))
}

fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(format!("unknown unit of size {unit:?}; use B, KiB, MiB or GiB, for example 64KiB")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a whole number, for example 64KiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "the size is too large".to_owned())
}

/// Parses `10s`, `500ms`, `1h30m`, or `2.5` (seconds).
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = units::parse_duration_or_seconds(text).ok_or(units::DURATION_NEEDED)?;
    if duration > MAX_DURATION {
        return Err("the maximum is one year; omit the option to trace until Ctrl-C".to_owned());
    }
    if duration.is_zero() {
        return Err("the time must be greater than zero, for example 10s".to_owned());
    }
    Ok(duration)
}

/// Splits a text into number and unit.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (number, unit.trim_start())
}

/// Formats a size so that [`size`] reads it back.
pub(super) fn show_size(bytes: u32) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("64KiB", 65_536),
            ("64k", 65_536),
            (" 2 MiB ", 2 << 20),
            ("1GiB", 1 << 30),
            ("3kB", 3_000),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "64 potatoes", "2GiB", "99999999999999999999", "18446744073709551615k"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ring_sizes() {
        assert_eq!(ring_size("16MiB"), Ok(RingSize(16 << 20)));
        for text in ["0", "1000", "5MiB", "2KiB", "2GiB"] {
            assert!(ring_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [("10s", 10_000), ("10", 10_000), ("1h30m", 5_400_000), ("366d", 31_622_400_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1s", "0", "0ms", "10 parsecs", "99999h", "367d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_sizes_read_back() {
        for bytes in [0, 1, 1024, 1500, 65_536, 1 << 20, 16 << 20] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes as usize));
        }
    }
}
