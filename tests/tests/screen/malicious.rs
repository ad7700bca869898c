//! Bytes from the wire that try to be something else.

use std::process::Command;

use anyhow::Context as _;
use tracer_tests::{
    cli::{Dir, program},
    scripted::large_header,
    terminal::Terminal,
};
use vt100::Screen;

use crate::support::{LARGE, USUAL, is_sane, opened};

/// Nothing that has no width, turns the direction, or controls anything.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(u32::from(character),
            0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xe0000..=0xe0fff)
}

/// What the emulator reports although it is well: the sign for bytes that are no text, frames that are shown at once, a way
/// to report the mouse that few terminals need, the colour of underlines.
const KNOWN: [&str; 6] = ["character '\u{fffd}'", "CSI ?2026h", "CSI ?2026l", "CSI ?1015h", "CSI ?1015l", "CSI 59m"];

/// What every frame needs, and nothing else.
fn nothing_was_asked(terminal: &Terminal) {
    let mut asked = terminal.asked();
    asked.unknown.retain(|known| !KNOWN.contains(&known.as_str()));
    assert!(asked.titles.is_empty() && asked.copied.is_empty() && asked.pasted == 0 && asked.bells == 0, "{asked:?}");
    assert!(asked.unknown.is_empty(), "{:?}", asked.unknown);
}

fn everything_is_harmless(terminal: &Terminal) -> anyhow::Result<()> {
    nothing_was_asked(terminal);
    let raw = terminal.raw();
    let text = match std::str::from_utf8(&raw) {
        // The rest of a character is on its way.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&raw[..error.valid_up_to()]),
        result => result,
    };
    let text = text.context("not UTF-8 was written")?;
    let harmful = text.chars().find(|character| !is_harmless(*character) && !matches!(character, '\x1b' | '\r' | '\n'));
    assert_eq!(
        harmful,
        None,
        "{:?}",
        harmful
            .and_then(|harmful| text.find(harmful))
            .map(|at| { text[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<String>() })
    );
    Ok(())
}

/// The row on which keys act, and its number: neighbours may read the same.
fn selected(screen: &Screen) -> Option<(usize, String)> {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).enumerate().find(|(_, row)| row.starts_with('>'))
}

/// Opens what is selected in the list, looks at all of it, goes back, and one further up.
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
        // Secrets shown: what was masked comes to light.
        terminal.press("XG")?;
        terminal
            .wait("the last one", |screen| selected(screen).is_some_and(|(_, row)| row.contains("evil.example/ ")))?;
        visits_all(&terminal, 3)?;
        everything_is_harmless(&terminal)?;
        terminal.press("q")?;
        assert!(terminal.end()?.success(), "{}", terminal.text());
        everything_is_harmless(&terminal)?;
        is_sane(&terminal)?;
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
            terminal.press_for("\r", "What is wrong")?;
            // To its end, and to its exchanges.
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
        is_sane(&terminal)?;
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
    is_sane(&terminal)
}
