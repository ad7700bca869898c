//! Hostile bytes from the wire.

use std::process::Command;

use anyhow::ensure;
use tracer_tests::{
    cli::{Dir, program},
    hostile::check_terminal,
    scripted::large_header,
    terminal::Terminal,
};
use vt100::Screen;

use crate::support::{LARGE, USUAL, opened};

/// Checks that the terminal got frames alone, and no text for the clipboard.
fn everything_is_harmless(terminal: &Terminal) -> anyhow::Result<()> {
    ensure!(terminal.asked().copied.is_empty(), "something was copied");
    check_terminal("screens", terminal, &[])
}

/// The selected row with its number, as neighbours may have the same text.
fn selected(screen: &Screen) -> Option<(usize, String)> {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).enumerate().find(|(_, row)| row.starts_with('>'))
}

/// Opens the selected entry of the list, scrolls through it, goes back, and selects the next one above.
fn visits_all(terminal: &Terminal, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        let before = terminal.look(selected);
        terminal.press("\r")?;
        terminal.wait("an exchange", |screen| !screen.contents().contains("[1 Overview]"))?;
        for key in ["G", "g", "\x1b[6~"] {
            terminal.press(key)?;
        }
        terminal.press_for("\x1b", "[1 Overview]")?;
        terminal.press("k")?;
        if number + 1 < count {
            terminal.wait("another selection", |screen| selected(screen) != before)?;
        }
    }
    Ok(())
}

#[test]
fn what_comes_over_the_wire_harms_no_screen() -> anyhow::Result<()> {
    for size in [USUAL, LARGE] {
        let mut terminal = opened("malicious", size)?;
        visits_all(&terminal, 27)?;
        for (key, shown) in
            [("2", "[2 Endpoints]"), ("3", "[3 Connections]"), ("4", "[4 Log]"), ("1", "[1 Overview]"), ("?", "Keys ")]
        {
            terminal.press_for(key, shown)?;
        }
        terminal.press("?")?;
        // With secrets shown, the masked text appears.
        terminal.press("XG")?;
        terminal
            .wait("the last one", |screen| selected(screen).is_some_and(|(_, row)| row.contains("evil.example/ ")))?;
        visits_all(&terminal, 3)?;
        everything_is_harmless(&terminal)?;
        terminal.press("q")?;
        assert!(terminal.end()?.success(), "{}", terminal.text());
        everything_is_harmless(&terminal)?;
        terminal.is_restored()?;
    }
    Ok(())
}

#[test]
fn names_of_all_kinds_harm_no_incident() -> anyhow::Result<()> {
    for size in [USUAL, LARGE] {
        let mut terminal = opened("malicious_incidents", size)?;
        terminal.press("i")?;
        for step in ["", "j"] {
            terminal.press(step)?;
            terminal.press_for("\r", "── Problem ──")?;
            // To the end of the incident, and to its exchanges.
            for key in ["\x1b[6~", "\x1b[6~", "G", "l", "g", "X", "X"] {
                terminal.press(key)?;
            }
            terminal.press_for("\x1b", "[1 Overview]")?;
        }
        for (key, shown) in
            [("2", "[2 Endpoints]"), ("u", "[2 Endpoints]"), ("3", "[3 Connections]"), ("1", "[1 Overview]")]
        {
            terminal.press_for(key, shown)?;
        }
        everything_is_harmless(&terminal)?;
        terminal.press("q")?;
        assert!(terminal.end()?.success(), "{}", terminal.text());
        everything_is_harmless(&terminal)?;
        terminal.is_restored()?;
    }
    Ok(())
}

#[test]
fn a_header_of_ten_megabytes_is_shown_in_short() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("large.tap", &large_header())?;
    let mut command = Command::new(program()?);
    command.args(["open", "-o", "tui"]).arg(file);
    let mut terminal = Terminal::start(USUAL, &command)?;
    terminal.wait_for(" 2 calls")?;
    for (key, shown) in [("2", "[2 Endpoints]"), ("3", "[3 Connections]"), ("1", "[1 Overview]")] {
        terminal.press_for(key, shown)?;
    }
    everything_is_harmless(&terminal)?;
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    terminal.is_restored()
}
