//! The screens on terminals of different kinds.

use std::process::Command;

use tracer_tests::{
    cli::{Dir, program, text},
    terminal::Terminal,
};

use crate::support::{LARGE, USUAL, opened, opens, recording, wait_for_all};

#[test]
fn the_first_screen_says_what_is_wrong() -> anyhow::Result<()> {
    let terminal = opened("screen_live", LARGE)?;
    let screen = terminal.text();
    for part in ["payments (2860)", "lost 0", "retry", "hang", "/v1/settlements", "gateway.internal:9000/v1/charges"] {
        assert!(screen.contains(part), "{part:?} is not on the screen:\n{screen}");
    }
    Ok(())
}

#[test]
fn a_terminal_that_changes_its_size_is_filled_again() -> anyhow::Result<()> {
    let terminal = opened("screen_busy", USUAL)?;
    terminal.resize(200, 60)?;
    // The keys, or the last message.
    terminal
        .wait("a line at the bottom", |screen| screen.rows(0, 200).nth(59).is_some_and(|row| !row.trim().is_empty()))?;
    terminal.resize(LARGE.0, 12)?;
    terminal.wait_for("[1 Overview]")?;
    terminal.resize(LARGE.0, LARGE.1)?;
    terminal.wait("a line at the bottom", |screen| {
        screen.rows(0, LARGE.0).nth(usize::from(LARGE.1) - 1).is_some_and(|row| !row.trim().is_empty())
    })?;
    Ok(())
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() -> anyhow::Result<()> {
    let terminal = Terminal::start((40, 8), &opens("screen_busy")?)?;
    terminal.wait_for("needs 60x12, this is 40x8")?;
    terminal.resize(USUAL.0, USUAL.1)?;
    terminal.wait_for("Overview")?;
    terminal.resize(3, 1)?;
    terminal.resize(USUAL.0, USUAL.1)?;
    terminal.wait_for("Overview")?;
    Ok(())
}

/// Removes blanks at the ends of lines, which terminals may omit.
fn in_lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}

/// Whether a text has a sequence that sets a colour.
fn has_colour(raw: &[u8]) -> bool {
    let text = String::from_utf8_lossy(raw);
    let sequences = text.split("\x1b[").skip(1).filter_map(|part| part.split_once(|c: char| c.is_ascii_alphabetic()));
    let chosen = sequences.filter(|(numbers, rest)| text_ends_in_m(&text, numbers, rest));
    chosen
        .flat_map(|(numbers, _)| numbers.split([';', ':']).collect::<Vec<_>>())
        .any(|number| matches!(number.parse(), Ok(30_u8..=38 | 40..=48 | 90..=97 | 100..=107)))
}

/// Whether the letter between `numbers` and `rest` is an `m`.
fn text_ends_in_m(text: &str, numbers: &str, rest: &str) -> bool {
    let end = rest.as_ptr() as usize - text.as_ptr() as usize;
    let start = numbers.as_ptr() as usize - text.as_ptr() as usize + numbers.len();
    text[start..end] == *"m"
}

#[test]
fn without_colour_nothing_is_lost_but_colour() -> anyhow::Result<()> {
    let coloured = opened("screen_live", LARGE)?;
    assert!(has_colour(&coloured.raw()), "there are colours to leave out");
    let mut command = opens("screen_live")?;
    command.env("NO_COLOR", "1");
    let plain = Terminal::start(LARGE, &command)?;
    wait_for_all(&plain, "screen_live")?;
    // Without the log, whose times are those of the replay.
    for (key, screen) in [("1", "[1 Overview]"), ("2", "[2 Endpoints]"), ("3", "[3 Connections]")] {
        for terminal in [&coloured, &plain] {
            terminal.press_for(key, screen)?;
        }
        // The last frame is complete when both show the same.
        plain.wait("the same text without colour", |screen| {
            in_lines(&screen.contents()) == in_lines(&coloured.text())
        })?;
    }
    assert!(!has_colour(&plain.raw()), "NO_COLOR is set");
    Ok(())
}

#[test]
fn a_terminal_without_screens_is_told_what_to_do() -> anyhow::Result<()> {
    let mut command = opens("screen_empty")?;
    command.env("TERM", "dumb");
    let mut terminal = Terminal::start(USUAL, &command)?;
    let status = terminal.end()?;
    assert_eq!(status.code(), Some(1), "{}", terminal.text());
    assert!(
        terminal.text().contains("cannot show screens") && terminal.text().contains("-o line"),
        "{}",
        terminal.text()
    );
    assert!(!terminal.raw().contains(&0x1b), "nothing is tried");
    Ok(())
}

#[test]
fn screens_are_the_default_where_they_are_possible() -> anyhow::Result<()> {
    let file = recording("screen_empty");
    let mut command = Command::new(program()?);
    command.arg("open").arg(&file);
    let terminal = Terminal::start(USUAL, &command)?;
    terminal.wait_for("Overview")?;
    command.env("TERM", "dumb");
    let mut terminal = Terminal::start(USUAL, &command)?;
    assert!(terminal.end()?.success(), "{}", terminal.text());
    assert!(terminal.text().contains("0 events lost") && !terminal.raw().contains(&0x1b), "{}", terminal.text());
    let dir = Dir::new()?;
    let lines = dir.pidtap(&["open", text(&file)]).end()?.status(0)?;
    assert!(lines.stdout.contains("0 events lost"), "{}", lines.stdout);
    dir.pidtap(&["open", text(&file), "-o", "tui"]).end()?.status(1)?.says(&["cannot show screens", "-o line"])?;
    Ok(())
}
