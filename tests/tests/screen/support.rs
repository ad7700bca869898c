//! Shared code: pidtap in a terminal.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tracer_tests::{cli::program, terminal::Terminal};

/// The usual size of a terminal.
pub(crate) const USUAL: (u16, u16) = (80, 24);
/// The size on a large screen.
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

/// Opens a committed recording in a terminal of this size, and waits until all of it is shown.
pub(crate) fn opened(name: &str, size: (u16, u16)) -> anyhow::Result<Terminal> {
    let terminal = Terminal::start(size, &opens(name)?)?;
    wait_for_all(&terminal, name)?;
    Ok(terminal)
}

/// Waits until the screen shows as many calls as the recording has.
pub(crate) fn wait_for_all(terminal: &Terminal, name: &str) -> anyhow::Result<()> {
    let expected = fs::read_to_string(recording(name).with_extension("json"))?;
    let calls = expected.lines().filter(|line| line.starts_with(r#"{"type":"exchange""#)).count();
    terminal.wait_for(&format!(" {calls} calls"))?;
    Ok(())
}
