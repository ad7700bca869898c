//! Named pipes, and readers of them who take what they want.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

/// Makes a named pipe, of this user.
///
/// # Errors
///
/// See `mknodat(2)`.
pub fn make(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}

/// A reader that waits neither for a writer nor for bytes. No program that a test starts inherits the descriptor: while such a program
/// holds it, the pipe keeps the bytes of the writer before, and they pass for those of the next one.
///
/// # Errors
///
/// See `open(2)`.
pub fn reader(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
