//! The time of each tier, with compiling apart.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Times that were measured, in the order of the tiers.
pub(crate) struct Times {
    begin: Instant,
    rows: Vec<Row>,
}

struct Row {
    tier: &'static str,
    compiling: Duration,
    running: Duration,
}

impl Times {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), rows: Vec::new() }
    }

    /// Does what compiles a tier's programs.
    pub(crate) fn compile<T>(&mut self, tier: &'static str, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = work();
        self.row(tier).compiling += begin.elapsed();
        result
    }

    /// Does what runs them.
    pub(crate) fn run<T>(&mut self, tier: &'static str, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = work();
        self.row(tier).running += begin.elapsed();
        result
    }

    fn row(&mut self, tier: &'static str) -> &mut Row {
        let place = self.rows.iter().position(|row| row.tier == tier).unwrap_or_else(|| {
            self.rows.push(Row { tier, compiling: Duration::ZERO, running: Duration::ZERO });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }
}

/// Minutes and seconds; nothing for less than half a second.
fn clock(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1_000;
    if seconds == 0 { String::new() } else { format!("{}:{:02}", seconds / 60, seconds % 60) }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |time: fn(&Row) -> Duration| self.rows.iter().map(time).sum();
        let all = Row { tier: "all", compiling: sum(|row| row.compiling), running: sum(|row| row.running) };
        writeln!(out, "{:<10}{:>10}{:>10}", "tier", "compiling", "running")?;
        for Row { tier, compiling, running } in self.rows.iter().chain([&all]) {
            writeln!(out, "{tier:<10}{:>10}{:>10}", clock(*compiling), clock(*running))?;
        }
        write!(out, "{:<10}{:>20}", "in all", clock(self.begin.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_has_one_row_and_the_sums_are_below() {
        let seconds = |compiling, running| (Duration::from_secs(compiling), Duration::from_millis(running));
        let mut times = Times::new();
        for (tier, (compiling, running)) in
            [("unit", seconds(61, 0)), ("cli", seconds(0, 499)), ("unit", seconds(0, 9_500))]
        {
            let row = times.row(tier);
            row.compiling += compiling;
            row.running += running;
        }
        let text = times.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[..4],
            [
                vec!["tier", "compiling", "running"],
                vec!["unit", "1:01", "0:10"],
                vec!["cli"],
                vec!["all", "1:01", "0:10"]
            ]
        );
    }
}
