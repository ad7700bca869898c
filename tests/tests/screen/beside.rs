//! Screens and a file of results at once.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use tracer_tests::{
    cli::{Dir, program, text},
    terminal::Terminal,
};

use crate::support::{USUAL, recording, wait_for_all};

const RECORDING: &str = "retry_curl";

/// `pidtap open` with screens, and with JSON in a file of the folder.
fn opens_both(dir: &Dir, file: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(program()?);
    command
        .arg("open")
        .arg(recording(RECORDING))
        .args(["-o", "tui", "-o", "json", "--output-file"])
        .arg(dir.path(file));
    Ok(command)
}

#[test]
fn a_file_beside_the_screens_has_the_same_results_as_alone() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let mut terminal = Terminal::start(USUAL, &opens_both(&dir, "both.json")?)?;
    wait_for_all(&terminal, RECORDING)?;
    terminal.press("q")?;
    assert_eq!(terminal.end()?.code(), Some(0), "{}", terminal.text());
    terminal.is_restored()?;
    let alone = dir.path("alone.json");
    let tap = recording(RECORDING);
    dir.pidtap(&["open", text(&tap), "-o", "json", "--output-file", text(&alone)]).end()?.status(0)?;
    assert_eq!(fs::read_to_string(dir.path("both.json"))?, fs::read_to_string(alone)?);
    assert_eq!(fs::metadata(dir.path("both.json"))?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[test]
fn a_file_that_is_full_ends_alone_and_the_end_says_so() -> anyhow::Result<()> {
    let mut command = Command::new(program()?);
    command.arg("open").arg(recording(RECORDING)).args(["-o", "tui", "-o", "json", "--output-file", "/dev/full"]);
    let mut terminal = Terminal::start(USUAL, &command)?;
    wait_for_all(&terminal, RECORDING)?;
    terminal.press_for("4", "No space left")?;
    terminal.press("q")?;
    assert_eq!(terminal.end()?.code(), Some(1), "{}", terminal.text());
    terminal.is_restored()
}

#[test]
fn forms_that_contradict_each_other_are_refused() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let tap = recording(RECORDING);
    for (forms, said) in [
        (&["-o", "line", "-o", "json"][..], "lines have one form"),
        (&["-o", "tui", "-o", "json"], "--output-file"),
        (&["-o", "tui", "--output-file", "f"], "cannot write screens to a file"),
    ] {
        dir.pidtap(&[&["open", text(&tap)], forms].concat()).end()?.status(1)?.says(&[said])?;
    }
    assert!(!dir.path("f").exists());
    Ok(())
}
