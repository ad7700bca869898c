//! Why a file cannot be written, and what to do.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Why a file cannot be written.
#[derive(Debug, Error)]
pub enum FileError {
    /// It holds something.
    #[error("the file exists and is not empty; remove it, name another, or overwrite it with --force")]
    NotEmpty,
    /// It is another user's, who can read all that is written to it.
    #[error(
        "the file belongs to another user (uid {user}), who could read it; remove it, name another, or replace it with \
         --force"
    )]
    OthersFile {
        /// The owner.
        user: u32,
    },
    /// It is another user's pipe.
    #[error(
        "the named pipe belongs to another user (uid {user}), who can read it; make your own, or use it with --force"
    )]
    OthersPipe {
        /// The owner.
        user: u32,
    },
    /// It has a further name, which may be anywhere.
    #[error("the file has several names (hard links); remove it, name another, or replace it with --force")]
    Names,
    /// It is being written already.
    #[error("{by} there; name another file")]
    Taken {
        /// What goes there.
        by: &'static str,
    },
    /// A link on the way is another user's, who can lead it anywhere.
    #[error("{link} is a link that belongs to another user (uid {user}); name the folder that it leads to")]
    OthersLink {
        /// The link's path as far as it was followed.
        link: String,
        /// The owner.
        user: u32,
    },
    /// The path ends with no name.
    #[error("the path names no file; end it with the name of one")]
    NoName,
    /// Something else than a file.
    #[error(transparent)]
    Other(#[from] Other),
    /// Somebody puts other things under the name.
    #[error("what is under that name keeps changing: somebody else writes there; use a folder of your own")]
    Changing,
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What stands under the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Other {
    /// A symbolic link.
    #[error("it is a symbolic link, which is not followed; name the file itself")]
    Link,
    /// A folder.
    #[error("it is a folder; name a file in it")]
    Folder,
    /// A block device.
    #[error("it is a disk; name a file, or write over the disk with --force")]
    Disk,
    /// A socket.
    #[error("it is a socket, which cannot be opened; name a file or a named pipe")]
    Socket,
    /// What the kernel has no name for.
    #[error("it is no file; name one")]
    Unknown,
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}
