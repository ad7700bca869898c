//! A simulated busy process: writes a recording at a steady rate in real time, for `pidtap open -`.
//!
//! `load RATE SECONDS` writes RATE exchanges per second. At its end, a line of JSON on standard error has the number of exchanges, the
//! time inside `write`, and the largest delay: it is short if the reader keeps up.

mod calls;

use std::{
    env,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use pidtap::recording::{Header, Writer};
use rustix::{
    pipe::fcntl_setpipe_size,
    time::{ClockId, clock_gettime},
};

use calls::{Calls, SLOT};

/// Slots between two ticks, at the rate of a live trace.
const TICK: u64 = Duration::from_millis(50).as_nanos() as u64 / SLOT;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rate, seconds] = arguments.as_slice() else { bail!("usage: load RATE SECONDS > RECORDING") };
    let rate: u64 = rate.parse().context("RATE is a number of exchanges a second")?;
    let seconds: u64 = seconds.parse().context("SECONDS is a number")?;
    let stdout = io::stdout();
    // Fails if standard output is no pipe: then there is no size to set.
    let _ = fcntl_setpipe_size(&stdout, 1 << 20);
    let mut output = Metered { output: stdout.lock(), total: Duration::ZERO, longest: Duration::ZERO };
    let (made, late) = write(&mut output, rate, seconds)?;
    eprintln!(
        r#"{{"exchanges":{},"in_write_ms":{},"longest_write_ms":{},"late_ms":{}}}"#,
        made,
        output.total.as_millis(),
        output.longest.as_millis(),
        late.as_millis()
    );
    Ok(())
}

/// Writes at this rate. Returns the number of calls and the largest delay.
fn write(output: &mut Metered<impl Write>, rate: u64, seconds: u64) -> anyhow::Result<(u64, Duration)> {
    let about = Header { created_by: "load".to_owned(), ..Header::default() };
    let mut writer = Writer::new(output, &about)?;
    let nanoseconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let base = nanoseconds(ClockId::Monotonic);
    let mut calls = Calls::new(base as u64, rate);
    calls.begin(&mut writer, nanoseconds(ClockId::Realtime) - base)?;
    let (start, slots) = (Instant::now(), seconds * 1_000_000_000 / SLOT);
    let mut late = Duration::ZERO;
    for slot in 0..slots {
        let due = start + Duration::from_nanos(slot * SLOT);
        let now = Instant::now();
        if due > now {
            thread::sleep(due - now);
        } else {
            late = late.max(now - due);
        }
        calls.slot(&mut writer, slot, (slot + 1) * rate / (1_000_000_000 / SLOT))?;
        if slot % TICK == 0 {
            calls.tick(&mut writer, slot)?;
        }
    }
    calls.end(&mut writer, slots)?;
    writer.finish()?;
    Ok((calls.made(), late))
}

/// An output that measures the time of its writes.
struct Metered<W> {
    output: W,
    total: Duration,
    longest: Duration,
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let start = Instant::now();
        let result = self.output.write(bytes);
        let took = start.elapsed();
        self.total += took;
        self.longest = self.longest.max(took);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
