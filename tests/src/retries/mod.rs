//! Real clients that retry against a server with a log. pidtap must report every chain as it was, and no other.
//!
//! **Right or wrong** is independent of the machine's load: chains, attempts, results, and an order of times that are taken by one
//! clock, or that bound each other. Every run checks it, and fails where it is wrong. **Punctuality** depends on the load: a
//! benchmark measures it ([`Row::is_punctual`]), and may run a case again. The names of backoff patterns are tested with recordings.

mod cases;
mod gaps;
mod row;

use std::{ffi::OsStr, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, ensure};

pub use cases::Case;
pub use row::{Row, print};

use crate::{
    flaky::Flaky,
    keep::keep,
    report::Report,
    retries::{
        cases::{Client, QUICK, SLOW},
        gaps::Gaps,
    },
    service::{Program, node, python},
    tracer::Tracer,
};

/// Runs every case, each up to `runs` times until it is punctual. `tracee` is the path of that program.
///
/// # Panics
///
/// A run of a case is wrong.
pub fn every_case(tracee: &OsStr, runs: u32) -> Vec<(&'static Case, Row)> {
    let folder = tempfile::tempdir().expect("a folder");
    thread::scope(|scope| {
        let start = |case: &'static Case| {
            let folder = folder.path();
            scope.spawn(move || {
                let once = || run(case, folder, tracee).unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
                let mut row = once();
                for _ in 1..runs {
                    if row.is_punctual(case) {
                        break;
                    }
                    row = once();
                }
                row
            })
        };
        let quick: Vec<_> = QUICK.iter().map(|case| (case, start(case).join().expect("no panic"))).collect();
        let slow: Vec<_> = SLOW.iter().map(|case| (case, start(case))).collect();
        slow.into_iter().map(|(case, row)| (case, row.join().expect("no panic"))).chain(quick).collect()
    })
}

/// Runs a case once; fails where what pidtap reports is wrong.
fn run(case: &Case, folder: &Path, tracee: &OsStr) -> anyhow::Result<Row> {
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
            Program::start(Command::new(tracee).args(["retry", pattern, &chains, &attempts, &address, &path]))?
        }
    };
    let trace = Tracer::attach(&[program.pid()], options)?;
    program.work()?;
    // pidtap reports that a chain gave up when the process ends, at the latest.
    program.process.close_input();
    program.process.wait(Duration::from_secs(10))?;
    let (report, json) = trace.finish_with_text()?;
    let gaps = match case.client {
        Client::Tracee(_) => Some(gaps::of_client(&program.log()?)?),
        _ => None,
    };
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
    let row = Row::of(case, &arrivals, &gaps.unwrap_or_else(|| gaps::of_server(&arrivals)), report)?;
    row.check(case).context("what pidtap reports")?;
    Ok(row)
}
