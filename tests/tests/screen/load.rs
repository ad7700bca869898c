//! Fifty thousand exchanges a second.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    cli::{Dir, program, text},
    terminal::Terminal,
};

use crate::support::{LARGE, is_sane};

const RATE: u64 = 50_000;
const SECONDS: u64 = 10;
/// Presses whose answers are timed.
const PRESSES: u32 = 20;
/// Frames a second at least; 15 are aimed at.
const FRAMES: f64 = 10.0;
/// Within this a key is answered, half of the time and at worst. A machine that does other things as well may be late once.
const ANSWER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// Runs of which one must be good.
const TRIES: usize = 3;
/// A reader that is never later than this keeps up.
const LATE_MS: u64 = 1_000;
/// Growth of memory once everything that is bounded is full.
const GROWTH_KIB: u64 = 24 * 1024;

/// The program below the shell.
fn below(shell: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("pidtap")))
}

fn memory_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Starts the load, piped into the screens; its report goes to `report`.
fn piped(rate: u64, seconds: u64, report: &Path) -> anyhow::Result<Terminal> {
    let mut command = Command::new("sh");
    command.args(["-c", r#""$0" "$1" "$2" 2> "$3" | "$4" open - -o tui"#, env!("CARGO_BIN_EXE_load")]);
    command.args([&rate.to_string(), &seconds.to_string(), text(report)]).arg(program()?);
    let terminal = Terminal::start(LARGE, &command)?;
    terminal.wait_for("[1 Overview]")?;
    Ok(terminal)
}

/// What the load says in the end.
fn reported(report: &Path) -> anyhow::Result<serde_json::Value> {
    let said = wait_for("the end of the load", PATIENCE, || {
        fs::read_to_string(report).ok().filter(|text| text.ends_with('\n'))
    })?;
    Ok(serde_json::from_str(said.trim())?)
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_nobody_else() -> anyhow::Result<()> {
    const FEW: (u64, u64) = (10_000, 2);
    let dir = Dir::new()?;
    let report = dir.path("report");
    let mut terminal = piped(FEW.0, FEW.1, &report)?;
    terminal.hold(true);
    let said = reported(&report)?;
    assert_eq!(said["exchanges"], FEW.0 * FEW.1);
    assert!(said["late_ms"].as_u64().is_some_and(|late| late < LATE_MS), "the load was held up: {said}");
    terminal.hold(false);
    terminal.wait_for(&format!(" {} calls", FEW.0 * FEW.1))?;
    assert!(terminal.text().contains("lost 0"), "{}", terminal.text());
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    is_sane(&terminal)
}

/// What a run has shown.
struct Run {
    frames: f64,
    /// Within which keys were answered, the quickest first.
    answers: Vec<Duration>,
    late_ms: u64,
}

impl Run {
    fn is_good(&self) -> bool {
        let (median, worst) = (self.answers[self.answers.len() / 2], self.answers[self.answers.len() - 1]);
        self.frames >= FRAMES && median <= ANSWER.0 && worst <= ANSWER.1 && self.late_ms < LATE_MS
    }
}

#[test]
fn drawing_keeps_up_and_holds_up_nothing() -> anyhow::Result<()> {
    // What takes time can be late where a machine has other things to do; what is right is right in each run.
    let mut runs = Vec::new();
    for _ in 0..TRIES {
        let run = run()?;
        if run.is_good() {
            return Ok(());
        }
        runs.push(format!("{:.1} frames a second, late by {} ms, keys {:?}", run.frames, run.late_ms, run.answers));
    }
    panic!("too slow each time:\n{}", runs.join("\n"))
}

fn run() -> anyhow::Result<Run> {
    let dir = Dir::new()?;
    let report = dir.path("report");
    let mut terminal = piped(RATE, SECONDS, &report)?;
    let begin = Instant::now();
    let pid = wait_for("pidtap", PATIENCE, || below(terminal.pid()))?;
    terminal.wait("exchanges", |screen| screen.contents().contains("/v1/resource"))?;

    // The help is on the screen or not: each press changes that.
    let mut answers = Vec::new();
    let mut memory = Vec::new();
    for press in 0..PRESSES {
        let step = Duration::from_secs(SECONDS) * (press + 1) / (PRESSES + 2);
        // Spread over the time, whatever else is going on; nothing is waited for.
        thread::sleep(step.saturating_sub(begin.elapsed()));
        let shown = press % 2 == 0;
        let start = Instant::now();
        terminal.press("?")?;
        terminal.wait("an answer to a key", |screen| screen.contents().contains("Keys ") == shown)?;
        answers.push(start.elapsed());
        memory.push(memory_kib(pid)?);
    }
    let said = reported(&report)?;
    let end = Instant::now();
    terminal.wait_for(&format!(" {} calls", RATE * SECONDS))?;
    let behind = end.elapsed();

    let drawn = terminal.frames().iter().filter(|frame| (begin..end).contains(frame)).count();
    let frames = drawn as f64 / (end - begin).as_secs_f64();
    answers.sort();
    let (median, worst) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    // From a quarter on: endpoints, connections and exchanges that are kept are then as many as they can be.
    let settled = &memory[memory.len() / 4..];
    let (least, most) = (settled.iter().min().copied().unwrap_or(0), settled.iter().max().copied().unwrap_or(0));
    eprintln!(
        "{frames:.1} frames a second; a key is answered within {median:.1?}, at worst {worst:.1?}; memory from {} to {} MiB; \
         all was shown {behind:.0?} after the load ended; {said}",
        least / 1024,
        most / 1024
    );
    assert_eq!(said["exchanges"], RATE * SECONDS);
    let screen = terminal.text();
    assert!(screen.contains("lost 0"), "{screen}");
    assert!(most - least < GROWTH_KIB, "memory grows: {memory:?}");
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    is_sane(&terminal)?;
    Ok(Run { frames, answers, late_ms: said["late_ms"].as_u64().context("no late_ms")? })
}
