//! Files that pidtap writes. pidtap often runs as root, and another user may own the directory and replace the file at
//! any moment.
//!
//! A file is therefore judged by its descriptor, never by its path: the last component is not followed as a link, links
//! in the path must belong to root or to pidtap's user, and `fstat` determines the type. Nothing is truncated. A new
//! file is created with `O_EXCL` and mode 0600. A replacement is created under a temporary name and renamed over the
//! old file, so that a process that has the old file open cannot read the new one.

mod error;
mod folder;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
};

pub use error::FileError;
use error::Other;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FileType, Mode, OFlags, Stat, fchmod, fcntl_setfl, fstat, ftruncate, openat, renameat, statat, unlinkat},
    io::Errno,
    process::geteuid,
    termios::isatty,
};

/// Results contain the traffic of a service and its users, so only the owner may read them.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
/// Maximum number of temporary names to try, and of changes under the name to tolerate.
const ATTEMPTS: u32 = 100;

/// Device and inode of a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Identity of a file in which two writers would mix their output; `None` for devices other than terminals
    /// (`/dev/null`).
    pub fn of(file: impl AsFd) -> Option<Self> {
        let stat = fstat(&file).ok()?;
        let mixes = kind(&stat) != FileType::CharacterDevice || isatty(&file);
        mixes.then(|| Self::in_stat(&stat))
    }

    #[expect(clippy::useless_conversion, reason = "the types differ between architectures")]
    fn in_stat(stat: &Stat) -> Self {
        Self { device: stat.st_dev.into(), inode: stat.st_ino.into() }
    }
}

/// Options of [`create`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Whether to replace a file that is not empty or belongs to another user, and to write to pipes of others and to
    /// disks.
    pub force: bool,
    /// Files already in use, each with a description of the use.
    pub taken: &'a [(Identity, &'static str)],
}

impl Options<'_> {
    fn check(self, identity: Identity) -> Result<(), FileError> {
        match self.taken.iter().find(|(taken, _)| *taken == identity) {
            Some((_, by)) => Err(FileError::Taken { by }),
            None => Ok(()),
        }
    }
}

/// Result of [`create`].
#[derive(Debug)]
pub enum Opened {
    /// A file that accepts writes.
    File(File),
    /// A named pipe that has no reader yet.
    Pipe(Unread),
}

impl Opened {
    /// Returns the file, and waits for a reader first if it is a pipe.
    ///
    /// # Errors
    ///
    /// The errors of [`Unread::wait`].
    pub fn wait(self) -> Result<File, FileError> {
        match self {
            Self::File(file) => Ok(file),
            Self::Pipe(pipe) => pipe.wait(),
        }
    }
}

/// A named pipe without a reader.
#[derive(Debug)]
pub struct Unread {
    folder: OwnedFd,
    name: OsString,
    identity: Identity,
}

impl Unread {
    /// Identity of the pipe.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Waits for a reader without a time limit, so it needs a dedicated thread.
    ///
    /// # Errors
    ///
    /// [`FileError`] if another pipe has replaced it, or it cannot be opened.
    pub fn wait(self) -> Result<File, FileError> {
        let opened = loop {
            match openat(&self.folder, &self.name, OFlags::WRONLY | BASE, Mode::empty()) {
                Err(Errno::INTR) => {}
                opened => break opened.map_err(|error| FileError::from(error).explained())?,
            }
        };
        let stat = fstat(&opened)?;
        if Identity::in_stat(&stat) != self.identity {
            return Err(FileError::Changing);
        }
        Ok(opened.into())
    }
}

const BASE: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY);

/// Opens a file for writing, accessible to its owner only. Replaces a file with content only if the options allow it.
/// Opens devices and pipes as they are.
///
/// # Errors
///
/// [`FileError`] with a remedy.
pub fn create(path: &Path, options: Options<'_>) -> Result<Opened, FileError> {
    let opened = open_or_make(path, options).map_err(FileError::explained)?;
    // Regular files were already checked before they were changed.
    let identity = match &opened {
        Opened::File(file) => Identity::of(file),
        Opened::Pipe(pipe) => Some(pipe.identity),
    };
    identity.map_or(Ok(()), |identity| options.check(identity))?;
    Ok(opened)
}

fn open_or_make(path: &Path, options: Options<'_>) -> Result<Opened, FileError> {
    if let Some(file) = given(path, options)? {
        return Ok(Opened::File(file));
    }
    let (folder, name) = folder::open(path)?;
    for _ in 0..ATTEMPTS {
        let attempt = match openat(&folder, name, OFlags::PATH | BASE, Mode::empty()) {
            Ok(found) => existing(&folder, name, &fstat(found)?, options),
            Err(Errno::NOENT) => make(&folder, name).map(Opened::File),
            Err(error) => return Err(error.into()),
        };
        match attempt {
            // The object was removed or created after the look-up.
            Err(FileError::Changing) => {}
            Err(FileError::Io(error))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {}
            attempt => return attempt,
        }
    }
    Err(FileError::Changing)
}

/// Creates a file in `folder` under the first free name of `names`, and returns it with its path.
///
/// # Errors
///
/// The error of creating it; `AlreadyExists` if no name is free.
pub fn create_new(folder: &Path, names: impl IntoIterator<Item = String>) -> io::Result<(File, PathBuf)> {
    for name in names {
        let path = folder.join(name);
        match openat(rustix::fs::CWD, &path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | BASE, OWNER_ONLY) {
            Ok(file) => return Ok((file.into(), path)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn make(folder: impl AsFd, name: &OsStr) -> Result<File, FileError> {
    Ok(openat(folder, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | BASE, OWNER_ONLY)?.into())
}

/// Opens a descriptor that pidtap inherited, named by `-` or a path that Linux has for descriptors. The caller of
/// pidtap chose the file, so it is not judged like a path.
fn given(path: &Path, options: Options<'_>) -> Result<Option<File>, FileError> {
    match path.to_str() {
        Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => {
            return Ok(Some(rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?.into()));
        }
        Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => {
            return Ok(Some(rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3)?.into()));
        }
        _ => {}
    }
    let Some(number) = ["/dev/fd", "/proc/self/fd"].into_iter().find_map(|folder| path.strip_prefix(folder).ok())
    else {
        return Ok(None);
    };
    let Some(number) = number.to_str().and_then(|number| number.parse::<u32>().ok()) else { return Ok(None) };
    // Links of procfs, which lead to the open file.
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = openat(rustix::fs::CWD, format!("/proc/self/fd/{number}"), flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if kind(&stat) == FileType::RegularFile {
        judge(&stat, options)?;
        ftruncate(&file, 0)?;
    }
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(Some(file.into()))
}

/// Opens the object found under the name.
fn existing(folder: &OwnedFd, name: &OsStr, found: &Stat, options: Options<'_>) -> Result<Opened, FileError> {
    match kind(found) {
        FileType::RegularFile => {
            judge(found, options)?;
            replace(folder, name, found, options).map(Opened::File)
        }
        FileType::CharacterDevice => open(folder, name, found),
        FileType::BlockDevice if options.force => open(folder, name, found),
        FileType::Fifo if options.force || is_ours(found) => open(folder, name, found),
        FileType::BlockDevice => Err(Other::Disk.into()),
        FileType::Fifo => Err(FileError::OthersPipe { user: found.st_uid }),
        FileType::Symlink => Err(Other::Link.into()),
        FileType::Directory => Err(Other::Folder.into()),
        FileType::Socket => Err(Other::Socket.into()),
        FileType::Unknown => Err(Other::Unknown.into()),
    }
}

/// Checks whether a regular file may be replaced.
fn judge(stat: &Stat, options: Options<'_>) -> Result<(), FileError> {
    options.check(Identity::in_stat(stat))?;
    if options.force {
        return Ok(());
    }
    if stat.st_size > 0 {
        return Err(FileError::NotEmpty);
    }
    if !is_ours(stat) {
        return Err(FileError::OthersFile { user: stat.st_uid });
    }
    match stat.st_nlink {
        1 => Ok(()),
        0 => Err(FileError::Changing),
        _ => Err(FileError::Names),
    }
}

/// Replaces a file by a new one.
fn replace(folder: &OwnedFd, name: &OsStr, found: &Stat, options: Options<'_>) -> Result<File, FileError> {
    let (file, temporary) = match temporary(folder) {
        Ok(made) => made,
        // The directory does not admit new files.
        Err(FileError::Io(error)) if is_refusal(&error) => return in_place(folder, name, found, options, error),
        Err(error) => return Err(error),
    };
    let renamed = renameat(folder, &temporary, folder, name);
    if let Err(error) = renamed {
        // The temporary file is empty; it is still ours unless another process replaced it.
        let _ = unlinkat(folder, &temporary, rustix::fs::AtFlags::empty());
        let error = io::Error::from(error);
        return if is_refusal(&error) { in_place(folder, name, found, options, error) } else { Err(error.into()) };
    }
    let (made, there) = (fstat(&file)?, statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?);
    if Identity::in_stat(&made) != Identity::in_stat(&there) {
        return Err(FileError::Changing);
    }
    Ok(file)
}

fn temporary(folder: &OwnedFd) -> Result<(File, String), FileError> {
    for number in 0..ATTEMPTS {
        let name = format!(".pidtap-{}-{number}", std::process::id());
        match make(folder, OsStr::new(&name)) {
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (file, name)),
        }
    }
    Err(FileError::Changing)
}

/// Whether the error means that the directory admits no new files, or that the name is a mount point.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | ResourceBusy)
}

/// Truncates an own file that cannot be replaced. A process that has it open can read the new content, so this is the
/// last resort.
fn in_place(
    folder: &OwnedFd,
    name: &OsStr,
    found: &Stat,
    options: Options<'_>,
    refusal: io::Error,
) -> Result<File, FileError> {
    if !is_ours(found) || found.st_nlink != 1 {
        return Err(refusal.into());
    }
    let file = openat(folder, name, OFlags::WRONLY | OFlags::NONBLOCK | BASE, Mode::empty())?;
    let stat = fstat(&file)?;
    if kind(&stat) != FileType::RegularFile || Identity::in_stat(&stat) != Identity::in_stat(found) || !is_ours(&stat) {
        return Err(FileError::Changing);
    }
    judge(&stat, options)?;
    fchmod(&file, OWNER_ONLY)?;
    ftruncate(&file, 0)?;
    Ok(file.into())
}

/// Opens a device or a pipe without blocking.
fn open(folder: &OwnedFd, name: &OsStr, found: &Stat) -> Result<Opened, FileError> {
    let identity = Identity::in_stat(found);
    let file = match openat(folder, name, OFlags::WRONLY | OFlags::NONBLOCK | BASE, Mode::empty()) {
        Err(Errno::NXIO) if kind(found) == FileType::Fifo => {
            let folder = rustix::io::fcntl_dupfd_cloexec(folder, 3)?;
            return Ok(Opened::Pipe(Unread { folder, name: name.to_owned(), identity }));
        }
        opened => opened?,
    };
    if Identity::in_stat(&fstat(&file)?) != identity {
        return Err(FileError::Changing);
    }
    // A dedicated thread writes and may block.
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(Opened::File(file.into()))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether root or pidtap's user owns the file. Root could replace any file anyway.
fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}
