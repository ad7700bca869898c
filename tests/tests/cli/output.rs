//! The destination of results, and failures to write them.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use rustix::process::Signal;
use tracer_tests::{
    child::{PATIENCE, catches, wait_for},
    cli::{Dir, PAIR, recording, text},
};

/// More exchanges than pipes and buffers hold.
const MANY: usize = 5_000;

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording(std::iter::repeat_n(PAIR, MANY))?)?;
    for form in ["line", "json"] {
        let mut child = dir.pidtap(&["open", text(&file), "-o", form]).spawn(Stdio::null())?;
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first)?;
        assert!(first.contains("attached"), "{first}");
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said)?;
        assert_eq!((child.wait()?.code(), &*said), (Some(0), ""), "{form}");
    }
    Ok(())
}

#[test]
fn a_full_disk_is_said() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording(std::iter::repeat_n(PAIR, MANY))?)?;
    for form in ["line", "json"] {
        let arguments = ["open", text(&file), "-o", form];
        dir.pidtap(&[&arguments[..], &["--output-file", "/dev/full"]].concat())
            .end()?
            .status(1)?
            .says(&["No space left"])?;
        let mut child =
            dir.pidtap(&arguments).command().stdout(File::create("/dev/full")?).stderr(Stdio::piped()).spawn()?;
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said)?;
        assert_eq!(child.wait()?.code(), Some(1), "{said}");
        assert!(said.contains("No space left"), "{said}");
    }
    Ok(())
}

#[test]
fn closed_standard_streams_are_no_failure() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR])?)?;
    let program = tracer_tests::cli::program()?;
    for streams in [">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("exec {} open {} {streams}", text(&program), text(&file));
        dir.run("sh", &["-c", &script]).end()?.status(0)?;
    }
    Ok(())
}

#[test]
fn a_limit_on_file_sizes_is_said() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording(std::iter::repeat_n(PAIR, MANY))?)?;
    let program = tracer_tests::cli::program()?;
    let (program, file) = (text(&program), text(&file));
    // One block of 512 bytes. The default action of SIGXFSZ would end pidtap without a message.
    let script = format!("ulimit -f 1; exec {program} open {file} -o json --output-file out.json");
    dir.run("sh", &["-c", &script]).end()?.status(1)?.says(&["cannot", "File too large"])?;
    Ok(())
}

#[test]
fn under_nohup_it_outlives_its_terminal() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let program = tracer_tests::cli::program()?;
    for (trap, hangup_ends) in [("", true), ("trap '' HUP; ", false)] {
        let script = format!("{trap}exec {} open - -o json", text(&program));
        let mut child = dir.run("sh", &["-c", &script]).spawn(Stdio::piped())?;
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(&recording([PAIR])?)?;
        let pid = child.id();
        let caught = |signal| catches(pid, signal);
        // pidtap installs this handler last.
        wait_for("the handlers", PATIENCE, || caught(Signal::TERM).then_some(()))?;
        assert!(caught(Signal::INT));
        assert_eq!(caught(Signal::HUP), hangup_ends, "{script}");
        drop(input);
        assert_eq!(child.wait()?.code(), Some(0));
    }
    Ok(())
}

#[test]
fn files_are_private_and_never_overwritten_unasked() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR])?)?;
    let out = dir.path("out.json");
    let arguments = ["open", text(&file), "-o", "json", "--output-file", text(&out)];
    dir.pidtap(&arguments).end()?.status(0)?;
    assert_eq!(fs::metadata(&out)?.permissions().mode() & 0o777, 0o600);
    let results = fs::read(&out)?;
    dir.pidtap(&arguments).end()?.status(1)?.says(&["out.json", "not empty", "--force"])?;
    assert!(fs::read(&out)? == results);
    dir.pidtap(&[&arguments[..], &["--force"]].concat()).end()?.status(0)?;
    assert!(fs::read(&out)? == results);
    // The recording that pidtap reads is not overwritten either.
    let file_text = text(&file);
    dir.pidtap(&["open", file_text, "--output-file", file_text]).end()?.status(1)?.says(&["--force"])?;
    let missing = dir.path("no/such/folder/out.json");
    dir.pidtap(&["open", file_text, "--output-file", text(&missing)]).end()?.status(1)?.says(&["No such file"])?;
    Ok(())
}

#[test]
fn colour_is_for_terminals() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR])?)?;
    let ended = dir.pidtap(&["open", text(&file)]).end()?.status(0)?;
    assert!(!ended.stdout.contains('\x1b'));
    // `script` of util-linux provides a terminal.
    let program = tracer_tests::cli::program()?;
    for (variable, coloured) in [("TERM=xterm", true), ("NO_COLOR=1", false), ("TERM=dumb", false)] {
        let command = format!("env {variable} {} open {} -o line", text(&program), text(&file));
        let mut run = dir.run("script", &["-qec", &command, "/dev/null"]);
        run.command().env("TERM", "xterm");
        let ended = run.end()?.status(0)?;
        assert_eq!(ended.stdout.contains("\x1b["), coloured, "{variable}: {:?}", ended.stdout);
    }
    Ok(())
}
