//! Clients that retry the same URL, with one chain per thread. The log has a line for each attempt: chain, begin and end, in
//! microseconds.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tracer_tests::flaky::read_answer;

/// The wait before the next attempt, in milliseconds, after this number of failures.
fn gap(pattern: &str, failures: u32, before: f64, chance: &mut impl FnMut() -> f64) -> Option<f64> {
    let doubled = 30.0 * f64::from(1 << failures.min(10));
    Some(match pattern {
        "constant" => 60.0,
        "linear" => 40.0 * f64::from(failures),
        "exponential" => doubled,
        "capped" => doubled.min(200.0),
        "full-jitter" => 2.0 * doubled * chance(),
        "decorrelated-jitter" => (30.0 + (before.max(30.0) * 3.0 - 30.0) * chance()).min(900.0),
        "none" => 0.0,
        _ => return None,
    })
}

/// `chains` threads request `path` up to `attempts` times each, until they get a 200.
pub(crate) fn run(pattern: &str, chains: u32, attempts: u32, address: &str, path: &str) -> anyhow::Result<()> {
    let log = Mutex::new(String::new());
    let (log, origin) = (&log, Instant::now());
    let note = move |number: u32, began: Instant| {
        let [began, ended] = [began, Instant::now()].map(|time| time.duration_since(origin).as_micros());
        let mut log = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        log.push_str(&[format!("c{number}"), began.to_string(), ended.to_string()].join(" "));
        log.push('\n');
    };
    let result = thread::scope(|scope| {
        let chain = |number: u32| move || chain(pattern, number, attempts, address, path, &note);
        let threads: Vec<_> = (0..chains).map(|number| scope.spawn(chain(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a chain panicked"))?)
    });
    let log = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::fs::write(std::env::var_os("TRUTH").context("TRUTH names the log")?, &*log)?;
    result
}

fn chain(
    pattern: &str,
    number: u32,
    attempts: u32,
    address: &str,
    path: &str,
    note: &impl Fn(u32, Instant),
) -> anyhow::Result<()> {
    // The same random numbers in every run.
    let mut state = u64::from(number) * 2_654_435_761 + 88_172_645_463_325_252;
    let mut chance = || {
        for shift in [13, 7, 17] {
            state ^= if shift == 7 { state >> shift } else { state << shift };
        }
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut before = 0.0;
    for failures in 1..=attempts {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: flaky\r\nX-Chain: c{number}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let status = read_answer(&mut stream)?;
        note(number, began);
        if status == 200 {
            return Ok(());
        }
        drop(stream);
        if failures < attempts {
            let Some(wait) = gap(pattern, failures, before, &mut chance) else { bail!("no such pattern: {pattern}") };
            before = wait;
            // A sleep on purpose: the backoff.
            thread::sleep(Duration::from_secs_f64(wait / 1e3));
        }
    }
    Ok(())
}
