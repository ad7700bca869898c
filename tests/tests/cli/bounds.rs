//! Memory and time for recordings are bounded.

use std::{
    fs,
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_tests::{cli::Dir, greedy};

/// Memory of pidtap without a recording, in a debug build.
const BASE: u64 = 64 << 20;

/// Peak memory of the program while it reads a recording from a pipe, up to the last bytes, which the test holds back.
fn most_memory(recording: &[u8]) -> anyhow::Result<u64> {
    let dir = Dir::new()?;
    let mut run = dir.pidtap(&["open", "-", "-o", "json", "--output-file", "/dev/null"]);
    let mut child = run.command().stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut input = child.stdin.take().context("a pipe")?;
    input.write_all(recording)?;
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    drop(input);
    anyhow::ensure!(child.wait()?.success(), "it did not read all");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Waiting segments are bounded on each connection, and on all connections together.
#[test]
fn what_waits_is_bounded_for_all_connections_together() -> anyhow::Result<()> {
    for (name, recording, most) in [
        ("long segments", greedy::reordered(800, 15, 16 * 1024), 32 << 20),
        ("short segments", greedy::reordered(2_000, 60, 1), 48 << 20),
        ("requests with long heads", greedy::unanswered(100, 8, 400_000), 144 << 20),
    ] {
        let took = most_memory(&recording)?;
        assert!(took <= BASE + most, "{name}: {} bytes took {took}", recording.len());
    }
    Ok(())
}

/// If each tick visited every open call, this would take minutes.
#[test]
fn open_calls_do_not_cost_time_that_passes() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &greedy::open_calls(20_000, 5_000))?;
    let start = Instant::now();
    let arguments = ["open", tracer_tests::cli::text(&file), "-o", "json", "--output-file", "/dev/null"];
    dir.pidtap(&arguments).end()?.status(0)?;
    assert!(start.elapsed() < Duration::from_mins(2), "{:?}", start.elapsed());
    Ok(())
}
