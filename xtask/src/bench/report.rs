//! docs/performance.md.

use std::fmt::Write as _;

use super::{
    load::CONNECTIONS,
    measure::{RATE, Results, Work},
};

/// A target figure, and whether it is reached.
fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
}

/// The whole page.
pub(super) fn markdown(results: &Results) -> String {
    let mut page = String::new();
    write_page(&mut page, results).expect("a string takes everything");
    page
}

fn write_page(page: &mut String, results: &Results) -> std::fmt::Result {
    let Results {
        machine,
        pairs,
        seconds,
        saturated,
        steady,
        probes,
        other_process,
        other_process_cpu,
        replay,
        memory,
        start,
    } = results;
    let largest = memory.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(
        page,
        "# What tracing costs

Written by `cargo xtask bench`; run it again rather than edit this page.

Machine: {} ({} cores, {}), kernel {}, nginx {}. The load average at the start was {:.2}{}.

| what | measured | target | |
| --- | --- | --- | --- |",
        machine.cpu,
        machine.cores,
        machine.arch,
        machine.kernel,
        machine.nginx,
        machine.load,
        if machine.load > 0.5 { ": something else was running, and the spread below shows it" } else { "" },
    )?;
    let mut row = |what: &str, measured: String, figure: &str, reached: bool| {
        writeln!(page, "| {what} | {measured} | {figure} | {} |", verdict(reached))
    };
    row(
        &format!("nginx under `wrk -t1 -c{CONNECTIONS}`, requests/s, traced / untraced"),
        format!("{}", saturated.ratio),
        ">= 0.80, aim 0.90",
        saturated.ratio.median >= 0.80,
    )?;
    row(
        &format!("CPU of nginx per request at {RATE} requests/s, traced / untraced"),
        format!("{}", steady.ratio),
        "<= 1.15, aim 1.08",
        steady.ratio.median <= 1.15,
    )?;
    row(
        "another nginx, not traced, requests/s with / without pidtap on the host",
        format!("{other_process}"),
        ">= 0.97",
        other_process.median >= 0.97,
    )?;
    row(
        "pidtap's own CPU per exchange, saturated",
        format!("{:.1} us", saturated.work.own),
        "<= 8 us, aim 4",
        saturated.work.own.median <= 8.0,
    )?;
    row(
        &format!("pidtap's own CPU per exchange at {RATE} requests/s"),
        format!("{:.1} us", steady.work.own),
        "<= 8 us, aim 4",
        steady.work.own.median <= 8.0,
    )?;
    row(
        "engine alone, from a recording, one core, exchanges/s",
        format!("{:.0}", replay.engine),
        ">= 300,000, aim 1,000,000",
        replay.engine.median >= 300_000.0,
    )?;
    row(
        &format!("largest resident memory over {} exchanges", memory.last().map_or(0, |(count, _)| *count)),
        format!("{:.1} MiB", mib(largest)),
        "<= 100 MiB, flat",
        mib(largest) <= 100.0,
    )?;
    row(
        "from `attached` to the first exchange shown",
        format!("{:.0} ms", start.to_exchange),
        "<= 300 ms",
        start.to_exchange.median <= 300.0,
    )?;
    writeln!(
        page,
        "
Values are medians with quartiles in brackets; ratios come from {pairs} pairs of runs.

## Nothing lost, nothing invented

`stub_status` of nginx counts the requests that were served while pidtap was attached. The lines of pidtap's output are counted.

| load | served | reported | runs that differ | lost events |
| --- | --- | --- | --- | --- |"
    )?;
    for (load, work) in [("saturated", &saturated.work), ("fixed rate", &steady.work)] {
        let Work { served, reported, unequal_runs, lost_events, .. } = work;
        writeln!(page, "| {load} | {served} | {reported} | {unequal_runs} | {lost_events} |")?;
    }
    writeln!(
        page,
        "
## Where the time goes

| | untraced | traced |
| --- | --- | --- |
| nginx under `wrk`, requests/s | {:.0} | {:.0} |
| nginx at {RATE} requests/s, CPU us per request | {:.2} | {:.2} |

The cost per request for the target is the difference in the last row: the probes run in its system calls. A process that
is not traced pays only for the tracepoint: at {RATE} requests/s, another nginx used {other_process_cpu} times the CPU time
that it uses without pidtap on the host. `docs/cost-of-a-call.md` breaks the cost down and lists the experiments. The kernel
itself measures the time of the probes. `sys_exit` runs at each system call of the whole machine and returns at once if the
process is not traced.

| probe | runs per request | ns per run | us per request |
| --- | --- | --- | --- |",
        saturated.untraced, saturated.traced, steady.untraced, steady.traced,
    )?;
    for probe in &probes.each {
        let requests = probes.requests as f64;
        writeln!(
            page,
            "| `{}` | {:.2} | {:.0} | {:.2} |",
            probe.name,
            probe.runs as f64 / requests,
            probe.nanoseconds as f64 / probe.runs as f64,
            probe.nanoseconds as f64 / 1000.0 / requests,
        )?;
    }
    writeln!(
        page,
        "
pidtap's own work by thread, in microseconds of CPU per exchange:

| thread | saturated | fixed rate |
| --- | --- | --- |",
    )?;
    for (name, cpu) in &saturated.work.by_thread {
        let steady = steady.work.by_thread.iter().find(|(other, _)| other == name).map_or(0.0, |(_, cpu)| *cpu);
        writeln!(page, "| `{name}` | {cpu:.2} | {steady:.2} |")?;
    }
    writeln!(
        page,
        "
From a recording of {} exchanges ({:.0} bytes each on disk), the engine alone handles {:.0} exchanges/s. `pidtap open
-o json --output-file /dev/null`, which also reads, verifies and writes, handles {:.0}.

From start to `attached`: {:.0} ms.

Resident memory over the course of the exchanges:

| exchanges | MiB |
| --- | --- |",
        replay.exchanges,
        replay.bytes as f64 / replay.exchanges as f64,
        replay.engine,
        replay.open,
        start.to_attached,
    )?;
    for (exchanges, bytes) in memory {
        writeln!(page, "| {exchanges} | {:.1} |", mib(*bytes))?;
    }
    writeln!(
        page,
        "
## Method

- nginx runs with one worker, keep-alive, no access log and responses of 17 bytes, on loopback, with its own configuration
  in a temporary directory. pidtap traces the worker with `-o json --output-file FILE`; every exchange is rebuilt and written.
- A pair is one untraced and one traced run of {seconds} s in sequence; the order alternates between pairs. A ratio is
  computed within each pair.
- The load generator, nginx and pidtap share the machine's {} cores. Under `wrk`, CPU time that pidtap uses is missing elsewhere,
  so the ratio includes pidtap's own work. At the fixed rate ({CONNECTIONS} connections, one request every {} us in turn), the
  machine is not saturated, and the target's own CPU time from `/proc/PID/task/*/schedstat` is compared.
- pidtap's CPU time is the CPU time of its threads from `attached` until it is idle again.
- The engine alone: `tracer-user/examples/replay.rs`.
- The cost of kernel queries about open calls, with 10,000 connections: [detectors.md](detectors.md), section `hang`.",
        machine.cores,
        1_000_000 / RATE,
    )
}
