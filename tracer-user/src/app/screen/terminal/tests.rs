use std::process::{Command, Stdio};

use super::*;

const ITSELF: &str = "app::screen::terminal::tests::panics_with_the_terminal";

/// Only for the test below: it needs a terminal.
#[test]
#[ignore = "run by the test below"]
fn panics_with_the_terminal() {
    let mut screen = Screen::enter().expect("there is a terminal");
    screen.draw(|frame| frame.render_widget("screens", frame.area())).expect("it can be drawn on");
    let drawing = std::thread::spawn(|| panic!("on purpose"));
    assert!(drawing.join().is_err());
    assert!(was_lost());
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    let own = std::env::current_exe().expect("this test is a program");
    // `script` has a terminal for it; what `stty` says before and after is the same where nothing is left set.
    let line =
        format!("stty rows 24 cols 80; stty -g; {} --exact {ITSELF} --ignored --nocapture; stty -g", own.display());
    let output = Command::new("script")
        .args(["--quiet", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .output()
        .expect("`script` is there, in Debian's package bsdutils");
    let text = String::from_utf8_lossy(&output.stdout);
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what:?} is not in {text:?}"));
    assert!(at("\x1b[?1049h") < at("1Hscreens") && at("1Hscreens") < at("\x1b[?1049l"), "{text:?}");
    assert!(at("\x1b[?1049l") < at("on purpose"), "what it says is seen: {text:?}");
    for mode in ["1000", "1002", "1003", "1006", "2004"] {
        assert!(at(&format!("\x1b[?{mode}h")) < at(&format!("\x1b[?{mode}l")), "{mode} is left set");
    }
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is hidden: {text:?}");
    let settings: Vec<&str> = text.lines().map(str::trim).filter(|line| line.matches(':').count() > 20).collect();
    assert!(settings.len() == 2 && settings[0] == settings[1], "{settings:?} in {text:?}");
}
