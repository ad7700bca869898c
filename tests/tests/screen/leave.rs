//! The terminal is restored after every kind of end.

use rustix::process::Signal;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    terminal::{Terminal, is_stopped},
};

use crate::support::{USUAL, opened};

fn running() -> anyhow::Result<Terminal> {
    let terminal = opened("screen_busy", USUAL)?;
    assert!(terminal.look(vt100::Screen::alternate_screen), "the screens have a screen of their own");
    assert!(!terminal.modes().is_empty(), "{:?}", terminal.modes());
    Ok(terminal)
}

#[test]
fn keys_end_it() -> anyhow::Result<()> {
    for keys in ["q", "\x03", "2q", "?qq"] {
        let mut terminal = running()?;
        terminal.press(keys)?;
        let status = terminal.end()?;
        assert!(status.success(), "{keys:?}: {status}, {}", terminal.text());
        terminal.is_restored()?;
        assert!(!terminal.text().contains("Overview"), "the screens are gone: {}", terminal.text());
    }
    Ok(())
}

#[test]
fn signals_end_it() -> anyhow::Result<()> {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut terminal = running()?;
        terminal.signal(signal)?;
        let status = terminal.end()?;
        assert!(status.code().is_some(), "{signal:?} is handled: {status}");
        terminal.is_restored()?;
    }
    Ok(())
}

#[test]
fn it_stops_like_any_other_program_and_goes_on() -> anyhow::Result<()> {
    let mut terminal = running()?;
    for by_key in [true, false] {
        if by_key {
            terminal.press("\x1a")?;
        } else {
            terminal.signal(Signal::TSTP)?;
        }
        let pid = terminal.pid();
        wait_for("a stop", PATIENCE, || is_stopped(pid).ok()?.then_some(()))?;
        // The reader of the terminal may lag behind.
        wait_for("a terminal as before", PATIENCE, || terminal.is_restored().ok())
            .or_else(|_| terminal.is_restored())?;
        terminal.signal(Signal::CONT)?;
        terminal
            .wait("the screens again", |screen| screen.alternate_screen() && screen.contents().contains("Overview"))?;
        terminal.press_for("2", "[2 Endpoints]")?;
        terminal.press_for("1", "[1 Overview]")?;
    }
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    terminal.is_restored()
}

#[test]
fn a_terminal_that_goes_away_ends_it() -> anyhow::Result<()> {
    let status = running()?.hang_up()?;
    assert!(status.code().is_some(), "{status}");
    Ok(())
}
