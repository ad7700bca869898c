//! Sizes and durations in few columns.

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

/// The same of what was under way when it was first seen: it took longer than that, and where nothing passed since, how
/// long is not known.
pub fn least(nanoseconds: Option<u64>, is_late: bool) -> String {
    match nanoseconds {
        Some(..500) if is_late => "-".to_owned(),
        Some(_) if is_late => format!(">{}", duration(nanoseconds)),
        _ => duration(nanoseconds),
    }
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
}
