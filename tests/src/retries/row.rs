//! A run of a case: the comparison with the logs, and the line of the table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    cases::Case,
    gaps::{Gap, Gaps},
};
use crate::{
    flaky::{Arrival, Arrivals},
    report::{Exchange, Incident, Report},
};

/// Results of a run.
#[derive(Debug, Default)]
pub struct Row {
    found: usize,
    invented: usize,
    right_attempts: usize,
    right_patterns: usize,
    gaps: usize,
    close_gaps: usize,
    worst_gap_ms: f64,
    /// Differences between a predicted gap and the real one, in percent, where the pattern was settled.
    predictions: Vec<f64>,
    /// The same where the pattern was not settled.
    guesses: Vec<f64>,
}

/// The chain of each exchange, by the name that the client gave it.
fn chains_of(report: &Report) -> BTreeMap<u64, String> {
    let name = |exchange: &Exchange| {
        let named = exchange.request.headers.iter().find(|(name, _)| name == "x-chain").map(|(_, value)| value.clone());
        named.or_else(|| exchange.request.path.as_ref()?.rsplit('/').next().map(str::to_owned))
    };
    report.exchanges.iter().filter_map(|exchange| Some((exchange.id, name(exchange)?))).collect()
}

impl Row {
    pub(super) fn of(case: &Case, arrivals: &Arrivals, logged: &Gaps, report: &Report) -> anyhow::Result<Self> {
        ensure!(arrivals.len() == case.chains as usize, "{} chains came to the server", arrivals.len());
        for (chain, attempts) in arrivals {
            ensure!(attempts.len() == case.attempts as usize, "{chain} made {} attempts", attempts.len());
        }
        let names = chains_of(report);
        let mut row = Self::default();
        let mut stories: BTreeMap<u64, Vec<&Incident>> = BTreeMap::new();
        for incident in report.incidents.iter().filter(|incident| incident.kind == "retry") {
            stories.entry(incident.id).or_default().push(incident);
        }
        let mut reported = BTreeSet::new();
        for story in stories.values() {
            let last = story.last().context("a story has lines")?;
            let mut of: Vec<&String> = last.exchanges.iter().filter_map(|exchange| names.get(exchange)).collect();
            of.dedup();
            // A chain with attempts of several, or one that is reported twice, is an invention.
            match of[..] {
                [name] if reported.insert(name.clone()) => row.found += 1,
                _ => {
                    row.invented += 1;
                    continue;
                }
            }
            let logged = logged.get(of[0]).context("the chain is in the log")?;
            row.compare(case, &arrivals[of[0]], logged, story)?;
        }
        Ok(row)
    }

    /// Fails where chains, attempts or results are not those of the logs.
    pub(super) fn check(&self, case: &Case) -> anyhow::Result<()> {
        let chains = case.chains as usize;
        ensure!(self.found == chains, "{} of {chains} chains are found", self.found);
        ensure!(self.invented == 0, "{} chains are invented", self.invented);
        ensure!(
            self.right_attempts == chains,
            "{} of {chains} have the right attempts and result",
            self.right_attempts
        );
        Ok(())
    }

    /// Whether nine of ten gaps, patterns and predictions are as the client meant them.
    pub fn is_punctual(&self, case: &Case) -> bool {
        let most = |good: usize, all: usize| good * 10 >= all * 9;
        let good = self.predictions.iter().filter(|error| **error <= 20.0).count();
        most(self.close_gaps, self.gaps)
            && most(self.right_patterns, case.chains as usize)
            && (!case.is_predictable() || most(good, self.predictions.len()))
    }

    fn compare(
        &mut self,
        case: &Case,
        arrivals: &[Arrival],
        logged: &[Gap],
        story: &[&Incident],
    ) -> anyhow::Result<()> {
        let last = story.last().context("a story has lines")?;
        let evidence = &last.evidence;
        let attempts = evidence["list"].as_array().context("attempts are listed")?;
        let result = if arrivals.last().is_some_and(|last| last.status == 200) { "recovered" } else { "gave_up" };
        let pattern = evidence["pattern"].as_str().unwrap_or_default();
        let right = evidence["attempts"].as_u64() == Some(arrivals.len() as u64)
            && evidence["result"] == result
            && last.state == "closed";
        self.right_attempts += usize::from(right);
        self.right_patterns += usize::from(case.patterns.contains(&pattern));
        let gaps: Vec<f64> = attempts.iter().filter_map(|attempt| attempt["gap_ms"].as_f64()).collect();
        ensure!(gaps.len() == logged.len(), "{} gaps between {} attempts", gaps.len(), arrivals.len());
        check_times(attempts, arrivals)?;
        for (Gap { logged, at_most }, gap) in logged.iter().zip(&gaps) {
            if let Some(at_most) = at_most {
                ensure!(gap + ROUNDING >= *logged, "a gap of {gap} ms, and the client waited for {logged}");
                ensure!(gap - ROUNDING <= *at_most, "a gap of {gap} ms within {at_most}");
            }
            let error = (gap - logged).abs();
            self.gaps += 1;
            self.close_gaps += usize::from(error <= (0.05 * logged).max(5.0));
            self.worst_gap_ms = self.worst_gap_ms.max(error);
        }
        for line in story {
            if let Some((settled, error)) = prediction_error(&line.evidence, &gaps) {
                if settled { &mut self.predictions } else { &mut self.guesses }.push(error);
            }
        }
        Ok(())
    }
}

/// Milliseconds by which a rounded time may differ from the exact one.
const ROUNDING: f64 = 1.0;

/// Checks the listed attempts: their order, the failure of each, and that each gap lies between the end of an attempt and the start
/// of the next, by pidtap's own times.
fn check_times(attempts: &[Value], arrivals: &[Arrival]) -> anyhow::Result<()> {
    let time =
        |attempt: &Value, name: &str| attempt[name].as_str().and_then(micros).context("an attempt has its times");
    for (number, (attempt, arrival)) in (1..).zip(attempts.iter().zip(arrivals)) {
        ensure!(attempt["number"] == number, "attempt {number} is {attempt}");
        let failure = (arrival.status != 200).then(|| arrival.status.to_string());
        ensure!(attempt["failure"].as_str() == failure.as_deref(), "{attempt} was answered with {}", arrival.status);
    }
    for pair in attempts.windows(2) {
        let between = (time(&pair[1], "started")? - time(&pair[0], "ended")?) as f64 / 1e3;
        let gap = pair[1]["gap_ms"].as_f64().context("an attempt after the first has a gap")?;
        ensure!(
            between >= 0.0 && (gap - between).abs() <= ROUNDING,
            "a gap of {gap} ms where {between} ms lie between"
        );
    }
    Ok(())
}

/// The difference between the predicted gap and the real one, in percent, and whether the pattern was settled. `None` where nothing
/// was predicted.
fn prediction_error(evidence: &Value, gaps: &[f64]) -> Option<(bool, f64)> {
    let last = evidence["list"].as_array()?.last()?;
    let due = micros(evidence["next_due"].as_str()?)? - micros(last["ended"].as_str()?)?;
    let number = last["number"].as_u64()? as usize;
    // Attempt 2 comes after gap 0.
    let came = *gaps.get(number - 1)?;
    let predicted = due as f64 / 1e3;
    (predicted > 0.0).then(|| (evidence["settled"] == true, 100.0 * (predicted - came).abs() / came.max(5.0)))
}

/// Microseconds of the day.
fn micros(time: &str) -> Option<i64> {
    let clock = time.split_once('T')?.1.trim_end_matches('Z');
    let parts: Vec<f64> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some(((hours * 60.0 + minutes) * 60e6 + seconds * 1e6).round() as i64)
}

/// Prints the table of `docs/detectors.md` to standard error.
pub fn print(rows: &[(&Case, Row)]) {
    eprintln!(
        "| client | chains | found | invented | attempts and result right | gaps within 5 % or 5 ms | worst gap | pattern right \
         | next within 20 %, settled | median off | not yet settled |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let share = |errors: &[f64]| {
        let good = errors.iter().filter(|error| **error <= 20.0).count();
        if errors.is_empty() { "-".to_owned() } else { format!("{good}/{}", errors.len()) }
    };
    for (case, row) in rows {
        let mut predictions = row.predictions.clone();
        predictions.sort_by(f64::total_cmp);
        let median = predictions.get(predictions.len() / 2).map_or("-".to_owned(), |median| format!("{median:.1} %"));
        eprintln!(
            "| {} | {} | {} | {} | {} | {}/{} | {:.1} ms | {} | {} | {median} | {} |",
            case.name.trim_start_matches("retry_").replace('_', " "),
            case.chains,
            row.found,
            row.invented,
            row.right_attempts,
            row.close_gaps,
            row.gaps,
            row.worst_gap_ms,
            row.right_patterns,
            share(&row.predictions),
            share(&row.guesses),
        );
    }
    let sum = |count: &dyn Fn(&Row) -> usize| rows.iter().map(|(_, row)| count(row)).sum::<usize>();
    let (found, invented) = (sum(&|row| row.found), sum(&|row| row.invented));
    let made: u32 = rows.iter().map(|(case, _)| case.chains).sum();
    eprintln!(
        "recall {found}/{made}, precision {found}/{}, gaps within 5 % or 5 ms {}/{}",
        found + invented,
        sum(&|row| row.close_gaps),
        sum(&|row| row.gaps)
    );
}
