//! The measurements.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    Options,
    load::{saturate, steady},
    machine::{self, Machine, Thread},
    nginx::Nginx,
    probes::{self, Probe},
    statistics::Spread,
    tracer::Tracer,
};
use crate::command::{output, say};

/// Requests per second of the steady load.
pub(super) const RATE: u32 = 20_000;

/// Starts of pidtap from which the time to the first exchange is taken.
const STARTS: usize = 7;

/// All results of the report.
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) pairs: u32,
    pub(super) seconds: u32,
    pub(super) saturated: Saturated,
    pub(super) steady: Steady,
    pub(super) probes: Probes,
    pub(super) other_process: Spread,
    /// The ratio of its processor time per request at a fixed rate, with pidtap on the host to without.
    pub(super) other_process_cpu: Spread,
    pub(super) replay: Replay,
    pub(super) memory: Vec<(u64, u64)>,
    pub(super) start: Start,
}

/// Under `wrk`, untraced against traced.
pub(super) struct Saturated {
    pub(super) ratio: Spread,
    pub(super) untraced: Spread,
    pub(super) traced: Spread,
    pub(super) work: Work,
}

/// At a fixed rate, untraced against traced.
pub(super) struct Steady {
    pub(super) ratio: Spread,
    /// Processor time of the target per request, in microseconds.
    pub(super) untraced: Spread,
    pub(super) traced: Spread,
    pub(super) work: Work,
}

/// Work of pidtap in the traced runs.
pub(super) struct Work {
    /// Requests served while attached, by nginx's count.
    pub(super) served: u64,
    /// Exchanges reported.
    pub(super) reported: u64,
    /// Runs in which the two differ.
    pub(super) unequal_runs: u32,
    pub(super) lost_events: u64,
    /// pidtap's own processor time per exchange, in microseconds.
    pub(super) own: Spread,
    /// The same by thread name.
    pub(super) by_thread: Vec<(String, f64)>,
}

/// Time of the probes at a fixed rate, measured by the kernel.
pub(super) struct Probes {
    pub(super) requests: u64,
    pub(super) each: Vec<Probe>,
}

/// From a recording.
pub(super) struct Replay {
    pub(super) exchanges: u64,
    pub(super) bytes: u64,
    /// Exchanges per second: the engine alone, on one core.
    pub(super) engine: Spread,
    /// The same for `pidtap open -o json`, with reading and writing.
    pub(super) open: Spread,
}

/// Milliseconds from the start of pidtap.
pub(super) struct Start {
    pub(super) to_attached: Spread,
    /// From `attached` to the first exchange.
    pub(super) to_exchange: Spread,
}

pub(super) fn everything(options: &Options, pidtap: &Path, replay: &Path) -> anyhow::Result<Results> {
    let machine = Machine::look();
    let nginx = Nginx::start()?;
    let other = Nginx::start()?;
    say("warming up");
    saturate(nginx.address(), 2)?;
    saturate(other.address(), 1)?;
    Ok(Results {
        machine,
        pairs: options.pairs,
        seconds: options.seconds,
        saturated: saturated(options, pidtap, &nginx)?,
        steady: at_a_fixed_rate(options, pidtap, &nginx)?,
        probes: time_in_probes(pidtap, &nginx)?,
        other_process: other_process(options, pidtap, &nginx, &other)?,
        other_process_cpu: other_process_cpu(options, pidtap, &nginx, &other)?,
        replay: from_a_recording(pidtap, replay, &nginx)?,
        memory: memory(options, pidtap, &nginx)?,
        start: start(pidtap, &nginx)?,
    })
}

/// Runs pairs. `run(false)` returns the value of an untraced run, `run(true)` that of a traced one.
fn pairs(pairs: u32, what: &str, mut run: impl FnMut(bool) -> anyhow::Result<f64>) -> anyhow::Result<Vec<(f64, f64)>> {
    let mut values = Vec::new();
    for pair in 1..=pairs {
        // The order alternates, so that a drift of the machine favours neither.
        let (untraced, traced) = if pair % 2 == 0 {
            let untraced = run(false)?;
            (untraced, run(true)?)
        } else {
            let traced = run(true)?;
            (run(false)?, traced)
        };
        say(&format!(
            "{what}, pair {pair} of {pairs}: {untraced:.2} untraced, {traced:.2} traced: {:.3}",
            traced / untraced
        ));
        values.push((untraced, traced));
    }
    Ok(values)
}

fn ratio(pairs: &[(f64, f64)]) -> Spread {
    Spread::of(pairs.iter().map(|(untraced, traced)| traced / untraced))
}

fn untraced(pairs: &[(f64, f64)]) -> Spread {
    Spread::of(pairs.iter().map(|(untraced, _)| *untraced))
}

fn traced(pairs: &[(f64, f64)]) -> Spread {
    Spread::of(pairs.iter().map(|(_, traced)| *traced))
}

fn saturated(options: &Options, pidtap: &Path, nginx: &Nginx) -> anyhow::Result<Saturated> {
    let mut ledger = Ledger::default();
    let pairs = pairs(options.pairs, "saturated, requests/s", |trace| {
        let load = || saturate(nginx.address(), options.seconds);
        if trace { ledger.traced(pidtap, nginx, load) } else { load() }
    })?;
    Ok(Saturated { ratio: ratio(&pairs), untraced: untraced(&pairs), traced: traced(&pairs), work: ledger.balance() })
}

fn at_a_fixed_rate(options: &Options, pidtap: &Path, nginx: &Nginx) -> anyhow::Result<Steady> {
    let mut ledger = Ledger::default();
    let time = Duration::from_secs(options.seconds.into());
    let pairs = pairs(options.pairs, "20,000 requests/s, CPU us of nginx for a request", |trace| {
        let load = || cpu_for_a_request(nginx, time);
        if trace { ledger.traced(pidtap, nginx, load) } else { load() }
    })?;
    Ok(Steady { ratio: ratio(&pairs), untraced: untraced(&pairs), traced: traced(&pairs), work: ledger.balance() })
}

/// Processor time of nginx per request at the fixed rate, in microseconds.
fn cpu_for_a_request(nginx: &Nginx, time: Duration) -> anyhow::Result<f64> {
    let before = machine::cpu(nginx.worker())?;
    let requests = steady(nginx.address(), RATE, time)?;
    let used = machine::cpu(nginx.worker())?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / requests as f64)
}

/// One run and no pair: the kernel's measurement has a cost of its own, so this run yields no other figure.
fn time_in_probes(pidtap: &Path, nginx: &Nginx) -> anyhow::Result<Probes> {
    say("time in the probes");
    let _measuring = probes::Measuring::begin()?;
    let earlier = probes::loaded()?;
    let tracer = Tracer::attach(pidtap, nginx.worker(), None)?;
    let first = probes::loaded()?;
    let requests = steady(nginx.address(), RATE, Duration::from_secs(3))?;
    let last = probes::loaded()?;
    tracer.finish()?;
    Ok(Probes { requests, each: probes::between(&earlier, &first, &last) })
}

/// Traces one nginx, which is idle, and loads another.
fn other_process(options: &Options, pidtap: &Path, nginx: &Nginx, other: &Nginx) -> anyhow::Result<Spread> {
    let pairs = pairs(options.pairs, "another process, requests/s", |trace| {
        let tracer = trace.then(|| Tracer::attach(pidtap, nginx.worker(), None)).transpose()?;
        let requests = saturate(other.address(), options.seconds)?;
        if let Some(tracer) = tracer {
            tracer.finish()?;
        }
        Ok(requests)
    })?;
    Ok(ratio(&pairs))
}

/// The same at a fixed rate, which compares the processor time of the other nginx.
fn other_process_cpu(options: &Options, pidtap: &Path, nginx: &Nginx, other: &Nginx) -> anyhow::Result<Spread> {
    let time = Duration::from_secs(options.seconds.into());
    let pairs = pairs(options.pairs, "another process, CPU us for a request", |trace| {
        let tracer = trace.then(|| Tracer::attach(pidtap, nginx.worker(), None)).transpose()?;
        let cpu = cpu_for_a_request(other, time)?;
        if let Some(tracer) = tracer {
            tracer.finish()?;
        }
        Ok(cpu)
    })?;
    Ok(ratio(&pairs))
}

/// Sums over the traced runs of a measurement.
#[derive(Default)]
struct Ledger {
    served: u64,
    reported: u64,
    unequal_runs: u32,
    lost_events: u64,
    own: Vec<f64>,
    by_thread: BTreeMap<String, Duration>,
}

impl Ledger {
    /// Runs a load with pidtap attached, and checks the report.
    fn traced(
        &mut self,
        pidtap: &Path,
        nginx: &Nginx,
        load: impl FnOnce() -> anyhow::Result<f64>,
    ) -> anyhow::Result<f64> {
        let mut tracer = Tracer::attach(pidtap, nginx.worker(), None)?;
        let first = nginx.requests()?;
        let before = machine::threads(tracer.pid())?;
        let value = load()?;
        let served = nginx.requests()? - first + 1;
        tracer.wait_until_idle()?;
        let after = machine::threads(tracer.pid())?;
        let reported = tracer.finish()?;
        let used = difference(&before, &after);
        self.served += served;
        self.reported += reported.exchanges;
        self.lost_events += reported.lost_events;
        if reported.exchanges != served {
            self.unequal_runs += 1;
            say(&format!("nginx served {served} requests, pidtap reported {}", reported.exchanges));
        }
        let total: Duration = used.iter().map(|thread| thread.cpu).sum();
        self.own.push(total.as_secs_f64() * 1e6 / reported.exchanges as f64);
        for thread in used {
            *self.by_thread.entry(thread.name).or_default() += thread.cpu;
        }
        Ok(value)
    }

    fn balance(self) -> Work {
        let reported = self.reported as f64;
        let mut by_thread: Vec<_> =
            self.by_thread.into_iter().map(|(name, cpu)| (name, cpu.as_secs_f64() * 1e6 / reported)).collect();
        by_thread.sort_by(|one, other| other.1.total_cmp(&one.1));
        Work {
            served: self.served,
            reported: self.reported,
            unequal_runs: self.unequal_runs,
            lost_events: self.lost_events,
            own: Spread::of(self.own),
            by_thread,
        }
    }
}

/// Processor time of each thread between two samples.
fn difference(before: &[Thread], after: &[Thread]) -> Vec<Thread> {
    let earlier = |id| before.iter().find(|thread| thread.id == id).map_or(Duration::ZERO, |thread| thread.cpu);
    after.iter().map(|thread| Thread { cpu: thread.cpu.saturating_sub(earlier(thread.id)), ..thread.clone() }).collect()
}

fn from_a_recording(pidtap: &Path, replay: &Path, nginx: &Nginx) -> anyhow::Result<Replay> {
    let folder = tempfile::Builder::new().prefix("pidtap-bench-").tempdir()?;
    let file = folder.path().join("nginx.tap");
    say("recording, then replaying");
    let mut tracer = Tracer::attach(pidtap, nginx.worker(), Some(&file))?;
    saturate(nginx.address(), 5)?;
    tracer.wait_until_idle()?;
    let reported = tracer.finish()?;
    let measured: Value = serde_json::from_str(&output(Command::new(replay).arg(&file))?)?;
    let exchanges = measured["exchanges"].as_u64().context("the replay gave no count")?;
    if exchanges != reported.exchanges {
        bail!("the recording replays to {exchanges} exchanges, live there were {}", reported.exchanges);
    }
    let seconds = measured["seconds"].as_array().context("the replay gave no times")?;
    let engine = Spread::of(seconds.iter().filter_map(Value::as_f64).map(|seconds| exchanges as f64 / seconds));
    let mut open = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        output(Command::new(pidtap).arg("open").arg(&file).args(["-o", "json", "--output-file", "/dev/null"]))?;
        open.push(exchanges as f64 / begin.elapsed().as_secs_f64());
    }
    Ok(Replay { exchanges, bytes: file.metadata()?.len(), engine, open: Spread::of(open) })
}

/// Samples of resident memory: exchanges so far, and bytes.
fn memory(options: &Options, pidtap: &Path, nginx: &Nginx) -> anyhow::Result<Vec<(u64, u64)>> {
    say(&format!("memory over {} exchanges", options.memory_exchanges));
    // The output goes to /dev/null: this measures memory, not a million lines of JSON.
    let mut child = Command::new(pidtap)
        .arg(nginx.worker().to_string())
        .args(["-o", "json", "--output-file", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let result = watch(options, nginx, child.id());
    let ended = rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT);
    let status = child.wait()?;
    ended?;
    let samples = result?;
    if !status.success() {
        bail!("pidtap failed while its memory was watched: {status}");
    }
    Ok(samples)
}

fn watch(options: &Options, nginx: &Nginx, pid: u32) -> anyhow::Result<Vec<(u64, u64)>> {
    let first = nginx.requests()?;
    let mut samples = Vec::new();
    loop {
        saturate(nginx.address(), 2)?;
        let served = nginx.requests()? - first;
        samples.push((served, machine::resident(pid)?));
        if served >= options.memory_exchanges {
            return Ok(samples);
        }
    }
}

/// Starts pidtap several times under light traffic.
fn start(pidtap: &Path, nginx: &Nginx) -> anyhow::Result<Start> {
    say("time to the first exchange");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| -> anyhow::Result<()> {
            while !done.load(Ordering::Relaxed) {
                steady(nginx.address(), 200, Duration::from_millis(500))?;
            }
            Ok(())
        });
        let times = (0..STARTS).map(|_| one_start(pidtap, nginx)).collect::<anyhow::Result<Vec<_>>>();
        done.store(true, Ordering::Relaxed);
        traffic.join().map_err(|_| anyhow::anyhow!("the traffic's thread panicked"))??;
        let times = times?;
        Ok(Start {
            to_attached: Spread::of(times.iter().map(|(attached, _)| *attached)),
            to_exchange: Spread::of(times.iter().map(|(_, exchange)| *exchange)),
        })
    })
}

fn one_start(pidtap: &Path, nginx: &Nginx) -> anyhow::Result<(f64, f64)> {
    let begin = Instant::now();
    let mut tracer = Tracer::attach(pidtap, nginx.worker(), None)?;
    let attached = begin.elapsed();
    let begin = Instant::now();
    tracer.wait_for(|line| line.starts_with("{\"type\":\"exchange\""))?;
    let exchange = begin.elapsed();
    tracer.finish()?;
    Ok((attached.as_secs_f64() * 1e3, exchange.as_secs_f64() * 1e3))
}
