//! Named pipes, and their readers.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

/// Makes a named pipe that belongs to the current user.
///
/// # Errors
///
/// See `mknodat(2)`.
pub fn make(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}

/// Opens a reader that waits neither for a writer nor for bytes. No child of a test inherits the descriptor: while a child holds it, the
/// pipe keeps the bytes of the previous writer, and they look like those of the next one.
///
/// # Errors
///
/// See `open(2)`.
pub fn reader(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
