//! Standard output as a terminal: its size, its colours, and descriptors of our own for it.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

use rustix::termios::tcgetwinsize;

/// True where screens are possible: standard output is a terminal, and `TERM` names one that can move its cursor.
pub(super) fn has_screens() -> bool {
    io::stdout().is_terminal() && !is_dumb()
}

/// True where lines may have colours: the terminal has them, and the user did not refuse them.
pub(super) fn has_colours() -> bool {
    !is_without_colours() && !is_dumb()
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// True where the user refuses colours: `NO_COLOR` is set and not empty (https://no-color.org).
pub(super) fn is_without_colours() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Columns of the terminal that standard output is.
pub(super) fn width() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    // Some terminals do not know their size, and report 0.
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Opens a second descriptor for the file of another one. Programs that pidtap starts do not inherit it, as they would one made by
/// `dup`.
pub(super) fn own_copy(descriptor: impl AsFd) -> io::Result<File> {
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?))
}
