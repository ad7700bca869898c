//! Readers of the results that are slow, stop, or never come.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
};
use tracer_tests::{
    child::{PATIENCE, catches, wait_for},
    cli::{Dir, PAIR, Pair, recording, text},
    pipe,
};

/// More exchanges than pipes and queues hold.
const MANY: usize = 20_000;
/// The longest time from a signal to the end, with a reader that takes nothing.
const BOUND: Duration = Duration::from_secs(15);

fn pipe_in(dir: &Dir) -> anyhow::Result<PathBuf> {
    let path = dir.path("pipe");
    pipe::make(&path)?;
    Ok(path)
}

fn start(dir: &Dir, arguments: &[&str]) -> anyhow::Result<(Child, PathBuf)> {
    let said = dir.path("stderr");
    let mut run = dir.pidtap(arguments);
    let child = run.command().stdout(Stdio::null()).stderr(File::create(&said)?).spawn()?;
    Ok((child, said))
}

/// The exit status after a signal, and standard error.
fn ended(child: &mut Child, signal: Signal, said: &PathBuf) -> anyhow::Result<(Option<i32>, String)> {
    kill_process(Pid::from_child(child), signal)?;
    let begin = Instant::now();
    let status = wait_for("the end", PATIENCE, || child.try_wait().ok().flatten())?;
    assert!(begin.elapsed() < BOUND, "{:?}", begin.elapsed());
    Ok((status.code(), fs::read_to_string(said)?))
}

#[test]
fn a_pipe_that_nobody_reads_makes_nobody_deaf() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let path = pipe_in(&dir)?;
    for count in [1, MANY] {
        let file = dir.write("a.tap", &recording(std::iter::repeat_n(PAIR, count))?)?;
        for signal in [Signal::INT, Signal::TERM] {
            let (mut child, said) = start(&dir, &["open", text(&file), "-o", "json", "--output-file", text(&path)])?;
            wait_for("that it waits", PATIENCE, || {
                let said = fs::read_to_string(&said).ok()?;
                (said.contains("has no reader yet") && catches(child.id(), signal)).then_some(())
            })?;
            let (status, said) = ended(&mut child, signal, &said)?;
            assert_eq!(status, Some(1), "{said}");
            assert!(said.contains("the reader took none"), "{said}");
        }
    }
    Ok(())
}

#[test]
fn a_reader_who_comes_late_gets_everything() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let path = pipe_in(&dir)?;
    let file = dir.write("a.tap", &recording(std::iter::repeat_n(PAIR, MANY))?)?;
    let whole = dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(0)?.stdout;
    let (mut child, said) = start(&dir, &["open", text(&file), "-o", "json", "--output-file", text(&path)])?;
    wait_for("that it waits", PATIENCE, || {
        fs::read_to_string(&said).ok()?.contains("has no reader yet").then_some(())
    })?;
    assert!(fs::read_to_string(&path)? == whole);
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn a_reader_who_stops_is_not_waited_for_after_a_signal() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let path = pipe_in(&dir)?;
    let file = dir.write("a.tap", &recording(std::iter::repeat_n(PAIR, MANY))?)?;
    for signal in [Signal::INT, Signal::TERM] {
        let mut reader = pipe::reader(&path)?;
        let (mut child, said) = start(&dir, &["open", text(&file), "-o", "json", "--output-file", text(&path)])?;
        let mut some = [0; 1_000];
        wait_for("the first results", PATIENCE, || reader.read(&mut some).ok().filter(|count| *count > 0))?;
        let (status, said) = ended(&mut child, signal, &said)?;
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("KiB of results are pending, and the reader took none"), "{said}");
    }
    Ok(())
}

#[test]
fn standard_error_that_nobody_reads_holds_nothing_up() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let whole = recording([PAIR])?;
    // A message reports the missing part.
    let file = dir.write("a.tap", &whole[..whole.len() - 10])?;
    let (_reader, mut writer) = std::io::pipe()?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, OFlags::empty())?;
    let mut run = dir.pidtap(&["open", text(&file), "-o", "json"]);
    let mut child = run.command().stdout(Stdio::null()).stderr(writer).spawn()?;
    let status = wait_for("the end", BOUND, || child.try_wait().ok().flatten());
    child.kill()?;
    assert_eq!(status?.code(), Some(0));
    Ok(())
}

/// Bodies of 64 KiB. A line with such a body is six times as long.
#[test]
fn a_reader_who_does_not_read_takes_no_memory() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let body: Vec<u8> = (0..65_000_u32).map(|n| if n % 3 == 0 { 1 } else { b'a' + (n % 26) as u8 }).collect();
    let response = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let pair = Pair { response: &response, ..PAIR };
    let file = dir.write("a.tap", &recording(std::iter::repeat_n(pair, 2_000))?)?;
    let mut child = Command::new(tracer_tests::cli::program()?)
        .args(["open", text(&file), "-o", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let id = child.id();
    let field = |file: &str, name: &str| -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{id}/{file}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()))
    };
    // pidtap waits for room: it has read no byte of the recording since the last check.
    let mut before = (String::new(), 0);
    wait_for("a full queue", PATIENCE, || {
        let read = field("io", "rchar:")?;
        before = if read == before.0 { (read, before.1 + 1) } else { (read, 0) };
        (before.1 > 200).then_some(())
    })?;
    let peak: u64 = field("status", "VmHWM:").and_then(|text| text.split(' ').next()?.parse().ok()).expect("a number");
    eprintln!("peak of resident memory: {peak} kB");
    child.kill()?;
    child.wait()?;
    assert!(peak < 64 << 10, "{peak} kB");
    Ok(())
}
