//! The effects of keys on the screen, the clipboard and the disk.

use std::fs;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    child::{PATIENCE, wait_for},
    cli::Dir,
    descriptors::{inherited, links, sleeper},
    terminal::Terminal,
};

use crate::support::{LARGE, USUAL, opened, opens, wait_for_all};

/// The secrets of `screen_secrets`.
const SECRETS: [&str; 7] = [
    "dozjgNryP4J3jVmNHl0w5N",
    "2f1c9a7be5d04f6f",
    "AIzaSyD-9tSrke72",
    "correct horse",
    "battery staple",
    "c0ffee-4711",
    "rt-8f14e45f",
];

/// Presses keys that copy a text, and returns the text.
fn copies(terminal: &Terminal, keys: &str) -> anyhow::Result<String> {
    let before = terminal.asked().copied.len();
    terminal.press(keys)?;
    let found = wait_for("a copy", PATIENCE, || terminal.asked().copied.get(before).cloned());
    let encoded = found.with_context(|| format!("after {keys:?}, the screen:\n{}", terminal.text()))?;
    terminal.wait_for("copied")?;
    Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
}

#[test]
fn secrets_reach_neither_screen_nor_clipboard_unless_asked_for() -> anyhow::Result<()> {
    let terminal = opened("screen_secrets", LARGE)?;
    let visit = || -> anyhow::Result<()> {
        terminal.press_for("1g\r", "── Request ──")?;
        for _ in 1..9 {
            let before = terminal.text();
            terminal.press("]")?;
            terminal.wait("the next exchange", |screen| screen.contents() != before)?;
            copies(&terminal, "y")?;
            copies(&terminal, "Y")?;
        }
        terminal.press_for("\x1b", "[1 Overview]").map(drop)
    };
    visit()?;
    let everything = |terminal: &Terminal| -> anyhow::Result<String> {
        let mut all = String::from_utf8_lossy(&terminal.raw()).into_owned();
        for text in terminal.asked().copied {
            all.push_str(&String::from_utf8(STANDARD.decode(text)?)?);
        }
        Ok(all)
    };
    let masked = everything(&terminal)?;
    for secret in SECRETS {
        assert!(!masked.contains(secret), "{secret} is shown");
    }
    assert!(masked.contains("***"));
    terminal.press_for("X", "SECRETS SHOWN")?;
    visit()?;
    let shown = everything(&terminal)?;
    let missing: Vec<_> = SECRETS.iter().filter(|secret| !shown.contains(**secret)).collect();
    assert!(missing.is_empty(), "{missing:?} are not shown though asked for");
    Ok(())
}

#[test]
fn keys_typed_ahead_act_on_what_is_not_drawn_yet() -> anyhow::Result<()> {
    let terminal = opened("screen_secrets", LARGE)?;
    let text = copies(&terminal, "g\r]y")?;
    assert!(text.contains("api.bank.example/v1/accounts "), "{text}");
    terminal.press_for("\x1b", "[1 Overview]")?;
    let text = copies(&terminal, "/status=403\r\ry")?;
    assert!(text.contains("api.bank.example/admin "), "{text}");
    Ok(())
}

#[test]
fn a_filter_narrows_and_widens_the_list() -> anyhow::Result<()> {
    let terminal = opened("screen_busy", LARGE)?;
    terminal.press_for("/status=404", "404")?;
    terminal.wait("only those", |screen| {
        let text = screen.contents();
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("shop[")).collect();
        !rows.is_empty() && rows.iter().all(|row| row.contains("404"))
    })?;
    terminal.press_for("\r", "filter: status=404")?;
    // The screen reports a mistake, and the previous filter stays in force.
    terminal.press("/status=")?;
    terminal.wait("a complaint", |screen| screen.contents().contains('^'))?;
    terminal.press("\x1b")?;
    terminal.wait("no prompt", |screen| !screen.contents().contains('^'))?;
    terminal.press_for("/\x15\r", "payments.internal:9090/v1/charges")?;
    Ok(())
}

#[test]
fn a_copy_is_a_command_and_a_body_a_file() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let mut command = opens("screen_bodies")?;
    command.current_dir(dir.path("."));
    let terminal = Terminal::start(LARGE, &command)?;
    wait_for_all(&terminal, "screen_bodies")?;
    terminal.press_for("g\r", "POST /nested HTTP/1.1")?;
    let text = copies(&terminal, "y")?;
    assert!(
        text.contains("\ncurl ") && text.contains("content.example/nested") && text.contains(r"Zo\303\253"),
        "{text}"
    );
    terminal.press_for("D", "wrote")?;
    let written: Vec<_> = fs::read_dir(dir.path("."))?.flatten().map(|entry| entry.path()).collect();
    assert_eq!(written.len(), 2, "request and response: {written:?}");
    for path in written {
        assert!(fs::read_to_string(&path)?.contains("123456789012345678901234567890"), "{}", path.display());
    }
    Ok(())
}

#[test]
fn a_pager_has_the_terminal_for_as_long_as_it_runs() -> anyhow::Result<()> {
    let mut command = opens("screen_bodies")?;
    command.env("PAGER", "cat; echo paged $LESSSECURE; head -c 1 < /dev/tty > /dev/null");
    let mut terminal = Terminal::start(USUAL, &command)?;
    wait_for_all(&terminal, "screen_bodies")?;
    terminal.press_for("g\r", "POST /nested HTTP/1.1")?;
    terminal.press("d")?;
    terminal.wait("the pager", |screen| !screen.alternate_screen() && screen.contents().contains("paged 1"))?;
    // A line with its end: the terminal is not in raw mode now.
    terminal.press("\r")?;
    terminal.wait("the screens", |screen| {
        screen.alternate_screen() && screen.contents().contains("POST /nested HTTP/1.1")
    })?;
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    terminal.is_restored()
}

#[test]
fn a_pager_gets_its_text_and_the_terminal_and_no_other_descriptor() -> anyhow::Result<()> {
    let inherited: Vec<u32> = inherited()?.into_keys().collect();
    let mut command = opens("screen_bodies")?;
    command.env("PAGER", "exec sleep 60");
    let mut terminal = Terminal::start(USUAL, &command)?;
    wait_for_all(&terminal, "screen_bodies")?;
    terminal.press_for("g\r", "POST /nested HTTP/1.1")?;
    terminal.press("d")?;
    let pager = sleeper(terminal.pid())?;
    let theirs = links(pager).context("it is there")?;
    kill_process(Pid::from_raw(pager as i32).context("a number")?, Signal::KILL)?;
    let numbers: Vec<u32> = theirs.keys().copied().collect();
    assert_eq!(numbers, [vec![0, 1, 2], inherited].concat(), "{theirs:?}");
    assert!(theirs[&0].to_string_lossy().starts_with("pipe:") && theirs[&1] == theirs[&2], "{theirs:?}");
    terminal.wait("the screens", vt100::Screen::alternate_screen)?;
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    Ok(())
}

#[test]
fn keys_behind_a_filter_act_on_what_it_leaves() -> anyhow::Result<()> {
    for _ in 0..3 {
        let terminal = opened("screen_bodies", USUAL)?;
        // In one write, as a paste or a script sends them, and one by one.
        terminal.press("/method=POST\r\r")?;
        terminal.wait("the call", |screen| {
            screen.contents().contains("POST /") && screen.contents().contains("HTTP/1.1")
        })?;
        terminal.press("\x1b")?;
        terminal.wait_for("[1 Overview]")?;
        terminal.press("/\x15path=/nested\r")?;
        terminal.press("\r")?;
        terminal.wait_for("POST /nested HTTP/1.1")?;
    }
    Ok(())
}
