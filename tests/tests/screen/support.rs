//! Programs in terminals.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use rustix::termios::Termios;
use tracer_tests::{cli::program, terminal::Terminal};

/// As most people have it.
pub(crate) const USUAL: (u16, u16) = (80, 24);
/// As on a large screen.
pub(crate) const LARGE: (u16, u16) = (160, 45);

/// A committed recording.
pub(crate) fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings").join(name).with_extension("tap")
}

/// `pidtap open` of a committed recording.
pub(crate) fn opens(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(program()?);
    command.arg("open").arg(recording(name)).args(["-o", "tui"]);
    Ok(command)
}

/// The same in a terminal of this size, once all of it is shown.
pub(crate) fn opened(name: &str, size: (u16, u16)) -> anyhow::Result<Terminal> {
    let terminal = Terminal::start(size, &opens(name)?)?;
    wait_for_all(&terminal, name)?;
    Ok(terminal)
}

/// Waits until as many calls are shown as the recording has.
pub(crate) fn wait_for_all(terminal: &Terminal, name: &str) -> anyhow::Result<()> {
    let expected = fs::read_to_string(recording(name).with_extension("json"))?;
    let calls = expected.lines().filter(|line| line.starts_with(r#"{"type":"exchange""#)).count();
    terminal.wait_for(&format!(" {calls} calls"))?;
    Ok(())
}

/// The terminal must be as if nobody had been there.
pub(crate) fn is_sane(terminal: &Terminal) -> anyhow::Result<()> {
    let modes = terminal.modes();
    // The cursor is shown by its mode.
    ensure!(modes.iter().all(|mode| mode == "25"), "modes are left set: {modes:?}");
    terminal.look(|screen| {
        ensure!(!screen.alternate_screen(), "the alternate screen is left");
        ensure!(!screen.hide_cursor(), "the cursor is hidden");
        ensure!(!screen.application_keypad() && !screen.application_cursor(), "keys send something else");
        ensure!(screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None, "the mouse is taken");
        Ok(())
    })?;
    let (now, before) = terminal.settings()?;
    let modes = |settings: &Termios| {
        (settings.input_modes, settings.output_modes, settings.control_modes, settings.local_modes)
    };
    ensure!(modes(&now) == modes(&before), "settings are {now:?}, were {before:?}");
    Ok(())
}
