//! Resolution of the directory of a path.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt as _,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat, readlinkat},
    io::Errno,
};

use super::{FileError, is_ours, kind};

/// Maximum number of symbolic links, as in the kernel (`MAXSYMLINKS`).
const LINKS: u32 = 40;

const FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens the directory of a path and returns it with the last component. Follows only links owned by root or by
/// pidtap's user: the owner of any other link could redirect it at any moment to a directory that the owner cannot
/// write to.
pub(super) fn open(path: &Path) -> Result<(OwnedFd, &OsStr), FileError> {
    let name = path.file_name().ok_or(FileError::NoName)?;
    // `a/` and `a/.` are directories.
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.as_os_str().as_encoded_bytes().ends_with(b"/.") {
        return Err(FileError::NoName);
    }
    let mut way = Way { folder: openat(CWD, ".", FLAGS | OFlags::DIRECTORY, Mode::empty())?, gone: PathBuf::new() };
    let mut rest = Vec::new();
    push(&mut rest, path.parent().unwrap_or(Path::new("")));
    let mut links = 0;
    while let Some(component) = rest.pop() {
        if let Some(target) = way.step(component)? {
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP.into());
            }
            push(&mut rest, &target);
        }
    }
    Ok((way.folder, name))
}

/// Pushes the components of `path` onto the stack `rest`, so that the first one is on top.
fn push(rest: &mut Vec<OsString>, path: &Path) {
    let components = path.components().rev().filter(|component| *component != Component::CurDir);
    rest.extend(components.map(|component| component.as_os_str().to_owned()));
}

struct Way {
    folder: OwnedFd,
    gone: PathBuf,
}

impl Way {
    /// Enters a directory, or returns the target of a link.
    fn step(&mut self, component: OsString) -> Result<Option<PathBuf>, FileError> {
        let next = openat(&self.folder, &component, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
        let stat = fstat(&next)?;
        match kind(&stat) {
            FileType::Directory => self.folder = next,
            // Links of procfs; some lead elsewhere than their text (`/proc/PID/root`).
            FileType::Symlink if fstatfs(&self.folder)?.f_type == PROC_SUPER_MAGIC => {
                self.folder = openat(&self.folder, &component, FLAGS | OFlags::DIRECTORY, Mode::empty())?;
            }
            FileType::Symlink if is_ours(&stat) => {
                let target = readlinkat(&next, "", Vec::new())?;
                return Ok(Some(OsString::from_vec(target.into_bytes()).into()));
            }
            FileType::Symlink => {
                let link = self.gone.join(component).display().to_string().escape_debug().to_string();
                return Err(FileError::OthersLink { link, user: stat.st_uid });
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
        self.gone.push(component);
        Ok(None)
    }
}
