//! Real clients that retry against a server that logs: every chain is found, as it was, and none besides.
//!
//! How punctual clients, server and pidtap are on a busy machine is no matter of right and wrong, so the test does not ask
//! it: it compares times of one clock that were taken at the same point, or such that one must be before the other. That
//! backoffs are recognised is tested with recordings. `cargo xtask bench` measures punctuality (`punctuality` below), and
//! prints the table of `docs/detectors.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tracer_tests::{
    flaky::{Arrival, Arrivals, Flaky},
    guard,
    report::{Incident, Report},
    service::{Program, node, python},
    tracer::Tracer,
};

use crate::{record::keep, support::tracee_path};

/// One client, and what it must be found to do.
struct Case {
    name: &'static str,
    client: Client,
    /// Path without the chain; each chain gets its own where the client takes several.
    path: &'static str,
    chains: u32,
    attempts: u32,
    patterns: &'static [&'static str],
}

enum Client {
    Python(&'static str),
    Node,
    /// A program that takes a URL last.
    Program(&'static [&'static str]),
    /// Of ours: pattern.
    Tracee(&'static str),
}

use Client::{Node, Python, Tracee};

const fn case(
    name: &'static str,
    client: Client,
    path: &'static str,
    (chains, attempts): (u32, u32),
    patterns: &'static [&'static str],
) -> Case {
    Case { name, client, path, chains, attempts, patterns }
}

const EXPONENTIAL: &[&str] = &["exponential"];
const CONSTANT: &[&str] = &["constant"];
const LINEAR: &[&str] = &["linear"];
/// What chance makes is called by no more precise name than the gaps allow.
const JITTER: &[&str] = &["exponential+jitter", "irregular"];
const CURL: Client = Client::Program(&["curl", "-s", "--retry", "3"]);
const CURL_DELAY: Client = Client::Program(&["curl", "-s", "--retry", "3", "--retry-delay", "1"]);
const WGET: Client =
    Client::Program(&["wget", "-q", "-O", "/dev/null", "--tries=4", "--waitretry=3", "--retry-on-http-error=503"]);

/// One after the other: their waits are short, and two cores are few.
const QUICK: &[Case] = &[
    case("retry_urllib3", Python("0.08"), "/503/4/-", (3, 5), EXPONENTIAL),
    case("retry_urllib3_after", Python("0.08"), "/503/2/1", (3, 3), &["retry-after"]),
    case("retry_node", Node, "/503/4/-", (5, 5), EXPONENTIAL),
    case("retry_constant", Tracee("constant"), "/503/4/-", (3, 5), CONSTANT),
    case("retry_linear", Tracee("linear"), "/503/99/-", (3, 5), LINEAR),
    case("retry_exponential", Tracee("exponential"), "/503/99/-", (3, 5), EXPONENTIAL),
    case("retry_capped", Tracee("capped"), "/503/5/-", (3, 6), EXPONENTIAL),
    case("retry_full_jitter", Tracee("full-jitter"), "/503/99/-", (3, 7), JITTER),
    case("retry_decorrelated", Tracee("decorrelated-jitter"), "/503/99/-", (3, 7), JITTER),
    case("retry_none", Tracee("none"), "/503/99/-", (1, 6), &["immediate"]),
    case("constant, 10 at once", Tracee("constant"), "/503/4/-", (10, 5), CONSTANT),
    case("exponential, 10 at once", Tracee("exponential"), "/503/4/-", (10, 5), EXPONENTIAL),
    case("exponential, 50 at once", Tracee("exponential"), "/503/99/-", (50, 5), EXPONENTIAL),
    case("full jitter, 50 at once", Tracee("full-jitter"), "/503/99/-", (50, 7), JITTER),
];

/// Clients that wait for seconds: all at once.
const SLOW: &[Case] = &[
    case("retry_curl", CURL, "/503/3/-", (1, 4), EXPONENTIAL),
    case("retry_curl_delay", CURL_DELAY, "/503/3/-", (1, 4), CONSTANT),
    case("retry_wget", WGET, "/503/3/-", (1, 4), LINEAR),
];

/// What a case measured late because the machine was busy, it may measure again, where punctuality matters.
const RUNS: u32 = 3;

impl Case {
    /// Small enough to become a recording.
    fn is_kept(&self) -> bool {
        self.name.starts_with("retry_")
    }

    /// What chance decides cannot be foretold.
    fn is_predictable(&self) -> bool {
        self.patterns != JITTER
    }
}

/// Gaps between the attempts of each chain, in milliseconds.
type Gaps = BTreeMap<String, Vec<Gap>>;

/// A gap as somebody else than pidtap logged it.
struct Gap {
    logged: f64,
    /// Where the client logged it: the gap is no shorter than what it logged, as it took its times outside of the calls that
    /// pidtap sees, and no longer than from the begin of the attempt before to the end of the one after.
    at_most: Option<f64>,
}

/// As the server logged them.
fn gaps_of(arrivals: &Arrivals) -> Gaps {
    let gap = |pair: &[Arrival]| Gap {
        logged: pair[1].came.duration_since(pair[0].answered).as_secs_f64() * 1e3,
        at_most: None,
    };
    arrivals.iter().map(|(chain, attempts)| (chain.clone(), attempts.windows(2).map(gap).collect())).collect()
}

/// As a client of ours logged them: with 50 threads at once, a server is not there at every moment.
fn gaps_in(log: &str) -> anyhow::Result<Gaps> {
    let mut times: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut gaps = Gaps::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [chain, began, ended] = words[..] else { bail!("a line of the log is {line:?}") };
        let (began, ended): (f64, f64) = (began.parse()?, ended.parse()?);
        let gaps = gaps.entry(chain.to_owned()).or_default();
        if let Some((before_began, before_ended)) = times.insert(chain, (began, ended)) {
            gaps.push(Gap { logged: (began - before_ended) / 1e3, at_most: Some((ended - before_began) / 1e3) });
        }
    }
    Ok(gaps)
}

/// What was measured of a case.
struct Row {
    found: usize,
    invented: usize,
    right_attempts: usize,
    right_patterns: usize,
    gaps: usize,
    close_gaps: usize,
    worst_gap_ms: f64,
    /// How far the gap was from what was foretold, in percent, where the pattern was settled.
    predictions: Vec<f64>,
    /// The same where it was not.
    guesses: Vec<f64>,
}

fn run(case: &Case, folder: &Path) -> anyhow::Result<Row> {
    let flaky = Flaky::start()?;
    let address = flaky.address.to_string();
    let path = folder.join(case.name).with_extension("tap");
    let recording = path.to_string_lossy().into_owned();
    let options: &[&str] =
        if case.is_kept() { &["--body-limit", "64KiB", "--force", "--record", &recording] } else { &[] };
    let paths: Vec<String> = (0..case.chains).map(|chain| format!("{}/c{chain}", case.path)).collect();
    let mut program = match &case.client {
        Client::Program(command) => {
            let url = format!("http://{address}{}", paths[0]);
            let command: Vec<&OsStr> = command.iter().copied().chain([url.as_str()]).map(OsStr::new).collect();
            let (report, json) = Tracer::run(options, &command)?.finish_with_text()?;
            return finish(case, &flaky, None, &path, &report, &json);
        }
        Client::Python(backoff) => Program::start(python("retry.py").arg(&address).arg(backoff).args(&paths))?,
        Client::Node => Program::start(node("retry.js").arg(&address).args(&paths))?,
        Client::Tracee(pattern) => {
            let (chains, attempts) = (case.chains.to_string(), case.attempts.to_string());
            let path = format!("{}/same", case.path);
            Program::start(Command::new(tracee_path()).args(["retry", pattern, &chains, &attempts, &address, &path]))?
        }
    };
    let trace = Tracer::attach(&[program.pid()], options)?;
    program.work()?;
    // What it gives up, it gives up at the latest when it ends.
    program.process.close_input();
    program.process.wait(Duration::from_secs(10))?;
    let (report, json) = trace.finish_with_text()?;
    let gaps = if let Tracee(_) = case.client { Some(gaps_in(&program.log()?)?) } else { None };
    finish(case, &flaky, gaps, &path, &report, &json)
}

fn finish(
    case: &Case,
    flaky: &Flaky,
    gaps: Option<Gaps>,
    path: &Path,
    report: &Report,
    json: &str,
) -> anyhow::Result<Row> {
    if case.is_kept() {
        keep(case.name, path, json);
    }
    ensure!(report.summary.lost_events == 0, "events were lost");
    let arrivals = flaky.arrivals();
    measure(case, &arrivals, &gaps.unwrap_or_else(|| gaps_of(&arrivals)), report)
}

/// The chain that an exchange was of, as the client named it.
fn chains_of(report: &Report) -> BTreeMap<u64, String> {
    let name = |exchange: &tracer_tests::report::Exchange| {
        let named = exchange.request.headers.iter().find(|(name, _)| name == "x-chain").map(|(_, value)| value.clone());
        named.or_else(|| exchange.request.path.as_ref()?.rsplit('/').next().map(str::to_owned))
    };
    report.exchanges.iter().filter_map(|exchange| Some((exchange.id, name(exchange)?))).collect()
}

fn measure(case: &Case, arrivals: &Arrivals, logged: &Gaps, report: &Report) -> anyhow::Result<Row> {
    ensure!(arrivals.len() == case.chains as usize, "{} chains came to the server", arrivals.len());
    for (chain, attempts) in arrivals {
        ensure!(attempts.len() == case.attempts as usize, "{chain} made {} attempts", attempts.len());
    }
    let names = chains_of(report);
    let mut row = Row {
        found: 0,
        invented: 0,
        right_attempts: 0,
        right_patterns: 0,
        gaps: 0,
        close_gaps: 0,
        worst_gap_ms: 0.0,
        predictions: Vec::new(),
        guesses: Vec::new(),
    };
    let mut stories: BTreeMap<u64, Vec<&Incident>> = BTreeMap::new();
    for incident in report.incidents.iter().filter(|incident| incident.kind == "retry") {
        stories.entry(incident.id).or_default().push(incident);
    }
    let mut told = BTreeSet::new();
    for story in stories.values() {
        let last = story.last().context("a story has lines")?;
        let mut of: Vec<&String> = last.exchanges.iter().filter_map(|exchange| names.get(exchange)).collect();
        of.dedup();
        // A chain mixed from several, or told twice, is an invention.
        match of[..] {
            [name] if told.insert(name.clone()) => row.found += 1,
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

impl Row {
    /// Nearly all that depends on time is as it was logged, and as the client meant it.
    fn is_punctual(&self, case: &Case) -> bool {
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
        for said in story {
            if let Some((settled, error)) = prediction_error(&said.evidence, &gaps) {
                if settled { &mut self.predictions } else { &mut self.guesses }.push(error);
            }
        }
        Ok(())
    }
}

/// Milliseconds by which whole ones may differ from what they were made of.
const ROUNDING: f64 = 1.0;

/// Attempts stand in the order in which they were made, each with what it failed of, and each gap is what lies between the end
/// of one and the begin of the next, by pidtap's own clock.
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

/// How far what was foretold is from the gap that came, where something was foretold, and whether it was settled.
fn prediction_error(said: &Value, gaps: &[f64]) -> Option<(bool, f64)> {
    let last = said["list"].as_array()?.last()?;
    let due = micros(said["next_due"].as_str()?)? - micros(last["ended"].as_str()?)?;
    let number = last["number"].as_u64()? as usize;
    // Before attempt 2 comes gap 0.
    let came = *gaps.get(number - 1)?;
    let foretold = due as f64 / 1e3;
    (foretold > 0.0).then(|| (said["settled"] == true, 100.0 * (foretold - came).abs() / came.max(5.0)))
}

/// Microseconds of the day.
fn micros(time: &str) -> Option<i64> {
    let clock = time.split_once('T')?.1.trim_end_matches('Z');
    let parts: Vec<f64> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some(((hours * 60.0 + minutes) * 60e6 + seconds * 1e6).round() as i64)
}

fn print(rows: &[(&Case, Row)]) {
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
            share(&predictions),
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

/// Runs every case, at most so often until it was punctual.
fn rows(runs: u32) -> Vec<(&'static Case, Row)> {
    let folder = tempfile::tempdir().expect("a folder");
    let rows: Vec<(&Case, Row)> = thread::scope(|scope| {
        let start = |case: &'static Case| {
            let folder = folder.path();
            let run = move || run(case, folder).unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
            scope.spawn(move || {
                let mut row = run();
                for _ in 1..runs {
                    if row.is_punctual(case) {
                        break;
                    }
                    row = run();
                }
                row
            })
        };
        let quick: Vec<_> = QUICK.iter().map(|case| (case, start(case).join().expect("no panic"))).collect();
        let slow: Vec<_> = SLOW.iter().map(|case| (case, start(case))).collect();
        slow.into_iter().map(|(case, row)| (case, row.join().expect("no panic"))).chain(quick).collect()
    });
    print(&rows);
    rows
}

#[test]
fn every_chain_is_found_and_recorded() {
    let Some(_guard) = guard::live() else { return };
    // A recording that is kept should be a punctual one.
    let runs = if std::env::var_os("PIDTAP_RECORDINGS").is_some() { RUNS } else { 1 };
    for (case, row) in rows(runs) {
        let chains = case.chains as usize;
        assert_eq!((row.found, row.invented), (chains, 0), "{}: chains", case.name);
        assert_eq!(row.right_attempts, chains, "{}: attempts and results", case.name);
    }
}

#[test]
#[ignore = "it measures, and wants a quiet machine: `cargo xtask bench` runs it"]
fn punctuality() {
    let Some(_guard) = guard::live() else { return };
    for (case, row) in rows(RUNS) {
        assert!(
            row.is_punctual(case),
            "{}: {}/{} gaps, {} patterns, {:?}",
            case.name,
            row.close_gaps,
            row.gaps,
            row.right_patterns,
            row.predictions
        );
    }
}
