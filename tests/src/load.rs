//! The screens of the real program while the program `load` writes a recording into them at a steady rate.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    child::{PATIENCE, wait_for},
    cli::{Dir, program, text},
    terminal::Terminal,
};

/// Exchanges per second.
const RATE: u64 = 50_000;
const SECONDS: u64 = 10;
/// Keys whose answers are timed.
const PRESSES: u32 = 20;
/// Growth of memory after every bounded store is full.
const GROWTH_KIB: u64 = 24 * 1024;
/// Size of the terminal.
const SIZE: (u16, u16) = (160, 45);

/// Starts `load`, piped into `pidtap open - -o tui`. It writes its report into the file `report`.
///
/// # Errors
///
/// A program cannot be started, or the screens do not appear.
pub fn piped(load: &Path, rate: u64, seconds: u64, report: &Path) -> anyhow::Result<Terminal> {
    let mut command = Command::new("sh");
    command.args(["-c", r#""$0" "$1" "$2" 2> "$3" | "$4" open - -o tui"#]).arg(load);
    command.args([&rate.to_string(), &seconds.to_string(), text(report)]).arg(program()?);
    let terminal = Terminal::start(SIZE, &command)?;
    terminal.wait_for("[1 Overview]")?;
    Ok(terminal)
}

/// The report of `load`, when it has ended.
///
/// # Errors
///
/// It does not end within the usual patience, or its report is no JSON.
pub fn reported(report: &Path) -> anyhow::Result<serde_json::Value> {
    let text = wait_for("the end of the load", PATIENCE, || {
        fs::read_to_string(report).ok().filter(|text| text.ends_with('\n'))
    })?;
    Ok(serde_json::from_str(text.trim())?)
}

/// Times of a run.
#[derive(Debug)]
pub struct Run {
    /// Frames per second.
    pub frames: f64,
    /// From each key to its effect on the screen, the shortest first.
    pub answers: Vec<Duration>,
    /// How far `load` fell behind at most, in milliseconds.
    pub late_ms: u64,
}

/// Shows 50,000 exchanges per second for ten seconds, and presses keys meanwhile.
///
/// # Errors
///
/// An exchange is lost, memory grows, a key has no effect, or the terminal is not restored.
pub fn run(load: &Path) -> anyhow::Result<Run> {
    let dir = Dir::new()?;
    let report = dir.path("report");
    let mut terminal = piped(load, RATE, SECONDS, &report)?;
    let begin = Instant::now();
    let pid = wait_for("pidtap", PATIENCE, || below(terminal.pid()))?;
    terminal.wait("exchanges", |screen| screen.contents().contains("/v1/resource"))?;

    // Each press shows the help or hides it.
    let mut answers = Vec::new();
    let mut memory = Vec::new();
    for press in 0..PRESSES {
        let step = Duration::from_secs(SECONDS) * (press + 1) / (PRESSES + 2);
        // A sleep on purpose: the samples are spread evenly over the load. It waits for no event.
        thread::sleep(step.saturating_sub(begin.elapsed()));
        let shown = press % 2 == 0;
        let start = Instant::now();
        terminal.press("?")?;
        terminal.wait("an answer to a key", |screen| screen.contents().contains("Keys ") == shown)?;
        answers.push(start.elapsed());
        memory.push(memory_kib(pid)?);
    }
    let load = reported(&report)?;
    let end = Instant::now();
    terminal.wait_for(&format!(" {} calls", RATE * SECONDS))?;
    let behind = end.elapsed();

    let drawn = terminal.frames().iter().filter(|frame| (begin..end).contains(frame)).count();
    let frames = drawn as f64 / (end - begin).as_secs_f64();
    answers.sort();
    let (median, worst) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    // After a quarter of the samples, endpoints, connections and kept exchanges have reached their bounds.
    let settled = &memory[memory.len() / 4..];
    let (least, most) = (settled.iter().min().copied().unwrap_or(0), settled.iter().max().copied().unwrap_or(0));
    eprintln!(
        "{frames:.1} frames per second; a key has its effect within {median:.1?}, at worst {worst:.1?}; memory from {} to {} \
         MiB; the last exchange was shown {behind:.0?} after the load ended; {load}",
        least / 1024,
        most / 1024
    );
    ensure!(load["exchanges"] == RATE * SECONDS, "{load}");
    let screen = terminal.text();
    ensure!(screen.contains("lost 0"), "{screen}");
    ensure!(most - least < GROWTH_KIB, "memory grows: {memory:?}");
    terminal.press("q")?;
    ensure!(terminal.end()?.success(), "pidtap failed");
    terminal.is_restored()?;
    Ok(Run { frames, answers, late_ms: load["late_ms"].as_u64().context("no late_ms")? })
}

/// The child of the shell that is pidtap.
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
