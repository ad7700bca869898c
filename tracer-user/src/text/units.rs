//! Sizes and durations, as they are shown and as people type them.

use std::time::Duration;

use jiff::{
    SpanRelativeTo,
    fmt::friendly::{Designator, FractionalUnit, Spacing, SpanParser, SpanPrinter},
};

/// Says which text [`parse_duration_or_seconds`] accepts.
pub const DURATION_NEEDED: &str = "expected a time, for example 500ms, 2.5s or 1h30m";

/// `612B`, `1.2kB`, `34MB`: at most six columns; `-` where unknown.
pub fn size(bytes: Option<u64>) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let Some(bytes) = bytes else { return "-".to_owned() };
    if bytes < 1_000 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.5 {
        value /= 1e3;
        unit += 1;
    }
    let places = usize::from(value < 99.95);
    format!("{value:.places$}{}", UNITS[unit])
}

/// `85µs`, `12.3ms`, `1.52s`, `2m05s`, `3h07m`: at most six columns up to 99 hours; `…` where there is no end.
///
/// Own code: printers of crates show every unit down to the nanosecond, and round nothing.
pub fn duration(nanoseconds: Option<u64>) -> String {
    let Some(nanoseconds) = nanoseconds else { return "…".to_owned() };
    let seconds = nanoseconds as f64 / 1e9;
    if seconds < 999.5e-6 {
        format!("{:.0}µs", seconds * 1e6)
    } else if seconds < 0.9995 {
        let places = if seconds < 9.995e-3 { 2 } else { usize::from(seconds < 99.95e-3) };
        format!("{:.places$}ms", seconds * 1e3)
    } else if seconds < 99.95 {
        let places = if seconds < 9.995 { 2 } else { 1 };
        format!("{seconds:.places$}s")
    } else if seconds < 3_599.5 {
        let whole = seconds.round() as u64;
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else {
        let minutes = (seconds / 60.0).round() as u64;
        format!("{}h{:02}m", minutes / 60, minutes % 60)
    }
}

/// [`duration`] of an exchange. One that was in flight when pidtap attached took longer than observed: `>1.52s`, and `-` where
/// no time was observed.
pub fn least(nanoseconds: Option<u64>, is_late: bool) -> String {
    match nanoseconds {
        Some(..500) if is_late => "-".to_owned(),
        Some(_) if is_late => format!(">{}", duration(nanoseconds)),
        _ => duration(nanoseconds),
    }
}

/// A duration for a sentence: `362 us`, `250 ms`, `1.5 s`, `12 s`.
pub fn in_words(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{:.0} us", nanoseconds as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} ms", nanoseconds as f64 / 1e6),
        1_000_000_000..10_000_000_000 => seconds(nanoseconds),
        _ => format!("{:.0} s", nanoseconds as f64 / 1e9),
    }
}

/// A duration for a sentence, in seconds: `0.2 s`, `12.3 s`.
pub fn seconds(nanoseconds: u64) -> String {
    format!("{:.1} s", nanoseconds as f64 / 1e9)
}

/// The exact duration as [`parse_duration`] reads it: `500ms`, `2.5s`, `1h30m`.
pub fn exact_duration(duration: Duration) -> String {
    let printer = SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::None);
    let is_short = duration < Duration::from_secs(1);
    let printer = if is_short { printer } else { printer.fractional(Some(FractionalUnit::Second)) };
    printer.unsigned_duration_to_string(&duration)
}

/// Reads `500ms`, `2.5s`, `1h30m`, `1d 2h`. Every number needs a unit, of which a day of 24 hours, or a week, is the largest; the
/// units descend; only the last number has a fraction.
pub fn parse_duration(text: &str) -> Option<Duration> {
    // The parser also takes signs, and `ago` for a negative duration; and a clock's `1:30:00`, which has no unit.
    if !text.starts_with(|first: char| first.is_ascii_digit()) || text.ends_with(|last: char| last.is_ascii_digit()) {
        return None;
    }
    // The parser knows the micro sign only, and keyboards have the Greek letter.
    let span = SpanParser::new().parse_span(text.replace('\u{3bc}', "\u{b5}")).ok()?;
    Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
}

/// [`parse_duration`] of an option's value: a number without a unit is in seconds, as in `10` or `1m30`.
pub fn parse_duration_or_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return parse_duration(&format!("{text}s"));
    }
    parse_duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown = [0, 999, 1_000, 1_234, 99_949, 99_950, 612_345, 999_499, 999_500, 50 << 20, u64::MAX];
        let expected =
            ["0B", "999B", "1.0kB", "1.2kB", "99.9kB", "100kB", "612kB", "999kB", "1.0MB", "52.4MB", "18.4EB"];
        assert_eq!(shown.map(|bytes| size(Some(bytes))), expected);
        assert_eq!(size(None), "-");
    }

    #[test]
    fn durations() {
        let shown = [0, 1, 85_000, 999_499, 999_500, 12_345_678, 123_456_789, 999_499_999, 999_500_000, 1_520_000_000];
        let expected = ["0µs", "0µs", "85µs", "999µs", "1.00ms", "12.3ms", "123ms", "999ms", "1.00s", "1.52s"];
        assert_eq!(shown.map(|nanoseconds| duration(Some(nanoseconds))), expected);
        let shown = [59, 61, 99, 100, 125, 3_599, 3_600, 11_220, 359_940];
        let expected = ["59.0s", "61.0s", "99.0s", "1m40s", "2m05s", "59m59s", "1h00m", "3h07m", "99h59m"];
        assert_eq!(shown.map(|seconds: u64| duration(Some(seconds * 1_000_000_000))), expected);
        assert_eq!(duration(None), "…");
        assert_eq!([0, 12_345_678].map(|time| least(Some(time), true)), ["-", ">12.3ms"]);
        assert_eq!(least(Some(0), false), "0µs");
    }

    #[test]
    fn durations_in_sentences() {
        let shown = [0, 362_000, 999_999, 1_000_000, 250_400_000, 999_600_000, 1_540_000_000, 12_300_000_000];
        let expected = ["0 us", "362 us", "1000 us", "1 ms", "250 ms", "1000 ms", "1.5 s", "12 s"];
        assert_eq!(shown.map(in_words), expected);
        assert_eq!([0, 240_000_000, 12_340_000_000].map(seconds), ["0.0 s", "0.2 s", "12.3 s"]);
    }

    #[test]
    fn typed_durations() {
        for (text, nanoseconds) in [
            ("1s", 1_000_000_000),
            ("500ms", 500_000_000),
            ("1500ms", 1_500_000_000),
            ("2.5s", 2_500_000_000),
            ("0.5ms", 500_000),
            ("5m", 300_000_000_000),
            ("5min", 300_000_000_000),
            ("3sec", 3_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1m 5s", 65_000_000_000),
            ("10 s", 10_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1d", 86_400_000_000_000),
            ("1d2h", 93_600_000_000_000),
            ("1w", 604_800_000_000_000),
            ("0s", 0),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("7ns", 7),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
        let wrong = [
            "",
            "s",
            "1",
            "1x",
            "-1s",
            "+1s",
            "1s ago",
            "1.s",
            ".5s",
            "1s2",
            "1..2s",
            "1e9s",
            "ten",
            "1mo",
            "1y",
            "10 parsecs",
            "1:30:00",
            "P1D",
            "PT5S",
            "nans",
            "infs",
            "1m1h",
            "99999999999999999999s",
            "999999999999999999d",
        ];
        for text in wrong {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn options_count_in_seconds() {
        for (text, milliseconds) in
            [("10", 10_000), (" 2.5 ", 2_500), ("1m30", 90_000), ("0", 0), ("500ms", 500), ("1h30m", 5_400_000)]
        {
            assert_eq!(parse_duration_or_seconds(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", " ", "-1", "1.", "1:30:00", "ten"] {
            assert_eq!(parse_duration_or_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn exact_durations_read_back() {
        let shown = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1µs500ns"),
            (20_000_000, "20ms"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (5_000_000_000, "5s"),
            (60_000_000_000, "1m"),
            (90_000_000_000, "1m30s"),
            (86_400_000_000_000, "24h"),
            (i64::MAX as u64, "2562047h47m16.854775807s"),
        ];
        for (nanoseconds, text) in shown {
            let duration = Duration::from_nanos(nanoseconds);
            assert_eq!(exact_duration(duration), text);
            assert_eq!(parse_duration(text), Some(duration), "{text}");
        }
    }
}
