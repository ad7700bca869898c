//! Errors of creating a file, with remedies.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Reason why a file cannot be written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file is not empty.
    #[error("the file exists and is not empty; remove it, name another, or overwrite it with --force")]
    NotEmpty,
    /// Another user owns the file and could read what is written to it.
    #[error(
        "the file belongs to another user (uid {user}), who could read it; remove it, name another, or replace it with \
         --force"
    )]
    OthersFile {
        /// User ID of the owner.
        user: u32,
    },
    /// Another user owns the named pipe.
    #[error(
        "the named pipe belongs to another user (uid {user}), who can read it; make your own, or use it with --force"
    )]
    OthersPipe {
        /// User ID of the owner.
        user: u32,
    },
    /// The file has further hard links, which may be anywhere.
    #[error("the file has several names (hard links); remove it, name another, or replace it with --force")]
    Names,
    /// pidtap already writes to the file.
    #[error("{by} there; name another file")]
    Taken {
        /// The existing use of the file, for the message.
        by: &'static str,
    },
    /// Another user owns a symbolic link in the path and could redirect it.
    #[error("{link} is a link that belongs to another user (uid {user}); name the folder that it leads to")]
    OthersLink {
        /// Path of the link as far as it was followed.
        link: String,
        /// User ID of the owner.
        user: u32,
    },
    /// The path ends without a file name.
    #[error("the path names no file; end it with the name of one")]
    NoName,
    /// The name refers to something else than a file.
    #[error(transparent)]
    Other(#[from] Other),
    /// The object under the name keeps changing, so another process writes there.
    #[error("what is under that name keeps changing: somebody else writes there; use a folder of your own")]
    Changing,
    /// The operating system returned an error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Kind of an object that is not written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Other {
    /// A symbolic link.
    #[error("it is a symbolic link, which is not followed; name the file itself")]
    Link,
    /// A directory.
    #[error("it is a folder; name a file in it")]
    Folder,
    /// A block device.
    #[error("it is a disk; name a file, or write over the disk with --force")]
    Disk,
    /// A socket.
    #[error("it is a socket, which cannot be opened; name a file or a named pipe")]
    Socket,
    /// A type that the kernel does not name.
    #[error("it is no file; name one")]
    Unknown,
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}
