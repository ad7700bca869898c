//! Invalid arguments, missing files and missing permissions give a clear message and the documented exit status.

use std::os::unix::process::CommandExt as _;

use tracer_tests::cli::{Dir, PAIR, recording, text};

/// Larger than every possible process id (`PID_MAX_LIMIT`).
const NO_PID: &str = "4194305";

#[test]
fn nothing_at_all_shows_the_help() -> anyhow::Result<()> {
    let ended = Dir::new()?.pidtap(&[]).end()?.status(2)?.says(&["Usage: pidtap"])?;
    assert_eq!(ended.stdout, "");
    Ok(())
}

#[test]
fn help_and_version_are_results() -> anyhow::Result<()> {
    for argument in ["--help", "--version", "-h"] {
        let ended = Dir::new()?.pidtap(&[argument]).end()?.status(0)?;
        assert!(ended.stdout.contains("pidtap") && ended.stderr.is_empty(), "{ended:?}");
    }
    Ok(())
}

#[test]
fn what_makes_no_sense_is_status_2() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    for (arguments, said) in [
        (&["--no-such-option", "1"][..], "--no-such-option"),
        (&["1", "-o", "xml"], "json"),
        (&["1", "--duration", "soon"], "1h30m"),
        (&["1", "--body-limit", "64 potatoes"], "64KiB"),
        (&["1", "--ring-size", "1000"], "power of two"),
        (&["run"], "CMD"),
        (&["open"], "FILE.tap"),
        (&["open", "a.tap", "b.tap"], "b.tap"),
    ] {
        let ended = dir.pidtap(arguments).end()?.status(2)?.says(&[said])?;
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    Ok(())
}

#[test]
fn no_such_process_is_status_3() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    for name in [NO_PID, "0", "99999999999999999999", "no-program-is-called-this"] {
        dir.pidtap(&[name]).end()?.status(3)?.says(&["pidtap: ", name, "ps -e"])?;
        dir.pidtap(&["attach", name]).end()?.status(3)?;
    }
    Ok(())
}

#[test]
fn who_started_it_is_not_what_was_meant() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let program = tracer_tests::cli::program()?;
    // The shell has the name among its own arguments, and still runs while pidtap searches.
    let script = format!("{} no-program-is-called-this; exit $?", text(&program));
    let ended = dir.run("sh", &["-c", &script]).end()?.status(3)?;
    assert!(!ended.stderr.contains("similar"), "{ended:?}");
    Ok(())
}

#[test]
fn without_privilege_is_status_4_and_names_what_to_grant() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let program = dir.program_for_all()?;
    let unprivileged = |arguments: &[&str]| {
        let mut run = dir.run(&program, arguments);
        if rustix::process::geteuid().is_root() {
            run.command().uid(65_534).gid(65_534);
        }
        run.end()?.status(4)
    };
    for arguments in [&["1"][..], &["run", "--", "true"], &["demo"]] {
        unprivileged(arguments)?.says(&["CAP_BPF", "CAP_PERFMON", "sudo"])?;
    }
    let doctor = unprivileged(&["doctor"])?;
    assert!(doctor.stdout.contains("cap_bpf is missing") && doctor.stderr.is_empty(), "{doctor:?}");
    Ok(())
}

#[test]
fn what_is_no_recording_is_status_1() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    dir.pidtap(&["open", "missing.tap"]).end()?.status(1)?.says(&["missing.tap", "No such file", "--record"])?;
    dir.pidtap(&["open", "/"]).end()?.status(1)?.says(&["directory"])?;
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for content in [&b""[..], b"{}", b"#!/bin/sh\n", &noise] {
        let file = dir.write("foreign.tap", content)?;
        let ended = dir.pidtap(&["open", text(&file)]).end()?.status(1)?.says(&["foreign.tap"])?;
        assert_eq!(ended.stdout, "");
    }
    Ok(())
}

#[test]
fn a_recording_cut_anywhere_is_shown_as_far_as_it_goes() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let whole = recording([PAIR; 20])?;
    let mut last = 0;
    for cut in (600..whole.len()).step_by(307) {
        let file = dir.write("cut.tap", &whole[..cut])?;
        let ended =
            dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(0)?.says(&["cut.tap", "valid for"])?;
        let lines = ended.json()?;
        let summary = lines.last().expect("a summary, always");
        assert_eq!(summary["type"], "summary");
        let count = summary["exchanges"].as_u64().expect("a number");
        assert!(count >= last, "less than with {} bytes fewer", 307);
        last = count;
    }
    assert!(last >= 18, "{last}");
    Ok(())
}

#[test]
fn a_damaged_recording_is_status_1_and_loses_nothing_before_the_damage() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let mut damaged = recording([PAIR; 20])?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    let file = dir.write("damaged.tap", &damaged)?;
    let ended =
        dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(1)?.says(&["damaged.tap", "is damaged"])?;
    let lines = ended.json()?;
    assert_eq!(lines.last().expect("lines")["type"], "summary");
    assert!(lines.len() > 8, "{}", lines.len());
    Ok(())
}
