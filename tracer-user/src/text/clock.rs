//! Formatting of timestamps. The slow part runs once per second.

use crate::event::Timestamp;

/// Formats timestamps as in RFC 3339.
#[derive(Debug, Default)]
pub struct Clock {
    offset_ns: i64,
    utc_offset_s: i32,
    /// Second that `text` shows.
    second: Option<i64>,
    text: [u8; SECONDS],
}

/// Length of `2026-11-21T04:05:06`.
const SECONDS: usize = 19;
/// Length of `2026-11-21T04:05:06.123456`.
pub const MICROSECONDS: usize = SECONDS + 7;

impl Clock {
    /// `utc_offset_s` is added to what is shown: 0 for UTC.
    pub fn new(utc_offset_s: i32) -> Self {
        Self { utc_offset_s, ..Self::default() }
    }

    /// Nanoseconds to add to a timestamp to get Unix time: `Engine::realtime_offset_ns`.
    pub fn set_offset(&mut self, nanoseconds: i64) {
        self.offset_ns = nanoseconds;
        self.second = None;
    }

    /// `04:05:06`.
    pub fn time_of_day(&self, time: Timestamp) -> String {
        let mut clock = Self { offset_ns: self.offset_ns, ..Self::new(self.utc_offset_s) };
        clock.micros(time)[11..SECONDS].iter().copied().map(char::from).collect()
    }

    /// `2026-11-21T04:05:06.123456`, without a zone.
    pub fn micros(&mut self, time: Timestamp) -> [u8; MICROSECONDS] {
        let unix_ns = i128::from(time.0) + i128::from(self.offset_ns) + i128::from(self.utc_offset_s) * 1_000_000_000;
        let second = unix_ns.div_euclid(1_000_000_000) as i64;
        let mut micros = (unix_ns.rem_euclid(1_000_000_000) / 1_000) as u32;
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = text(second);
        }
        let mut out = [b'.'; MICROSECONDS];
        out[..SECONDS].copy_from_slice(&self.text);
        for digit in out[SECONDS + 1..].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        out
    }
}

fn text(second: i64) -> [u8; SECONDS] {
    // A 64-bit count of nanoseconds with a 64-bit offset stays between the years 1385 and 2847: the shape is fixed.
    let text = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
    text.as_bytes().first_chunk().copied().unwrap_or(*b"1970-01-01T00:00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_of_seconds_and_of_the_range() {
        let mut clock = Clock::new(0);
        let mut at = |offset, time| {
            clock.set_offset(offset);
            String::from_utf8(clock.micros(Timestamp(time)).to_vec()).expect("ASCII")
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000");
        assert_eq!(at(1_795_233_906_123_456_789, 0), "2026-11-21T04:05:06.123456");
        assert_eq!(at(1_795_233_906_123_456_789, 876_543_210), "2026-11-21T04:05:06.999999");
        assert_eq!(at(1_795_233_906_123_456_789, 876_543_211), "2026-11-21T04:05:07.000000");
        assert_eq!(at(-1, 0), "1969-12-31T23:59:59.999999");
        assert!(at(i64::MAX, u64::MAX).starts_with("2846-"));
        assert_eq!(at(i64::MIN, 0).len(), MICROSECONDS);
        let mut clock = Clock::new(-3600);
        assert_eq!(clock.time_of_day(Timestamp(3_605_900_000_000)), "00:00:05");
        assert_eq!(&clock.micros(Timestamp(3_600_000_000_000)), b"1970-01-01T00:00:00.000000");
    }
}
