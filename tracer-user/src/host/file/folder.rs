//! The way to the folder of a file.

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

/// As the kernel has it (`MAXSYMLINKS`).
const LINKS: u32 = 40;

const FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens the folder of a path, and gives the last component. Links on the way are followed where root or we made them: another
/// user's link leads, at the moment that he chooses, to a folder that he could not write to.
pub(super) fn open(path: &Path) -> Result<(OwnedFd, &OsStr), FileError> {
    let name = path.file_name().ok_or(FileError::NoName)?;
    // `a/` and `a/.` are folders.
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

/// Components that are still to be gone, the next one last.
fn push(rest: &mut Vec<OsString>, path: &Path) {
    let components = path.components().rev().filter(|component| *component != Component::CurDir);
    rest.extend(components.map(|component| component.as_os_str().to_owned()));
}

struct Way {
    folder: OwnedFd,
    gone: PathBuf,
}

impl Way {
    /// Goes into a folder; gives what a link says.
    fn step(&mut self, component: OsString) -> Result<Option<PathBuf>, FileError> {
        let next = openat(&self.folder, &component, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
        let stat = fstat(&next)?;
        match kind(&stat) {
            FileType::Directory => self.folder = next,
            // Links of the kernel's, some of which lead where their text does not (`/proc/PID/root`).
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
