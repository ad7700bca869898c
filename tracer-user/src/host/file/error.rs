//! Errors of creating a file, with remedies.

use std::io;

use rustix::{
    io::Errno,
    process::geteuid,
    thread::{CapabilitySet, capabilities},
};
use thiserror::Error;

/// Reason why a file cannot be written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file is not empty.
    #[error("the file exists and is not empty; remove it, choose another file, or overwrite it with --force")]
    NotEmpty,
    /// Another user owns the file and could read what is written to it.
    #[error(
        "the file belongs to another user (uid {user}), who could read the data; remove it, choose another file, or \
         replace it with --force"
    )]
    OthersFile {
        /// User ID of the owner.
        user: u32,
    },
    /// Another user owns the named pipe.
    #[error(
        "the named pipe belongs to another user (uid {user}), who could read the data; create your own, or use this \
         one with --force"
    )]
    OthersPipe {
        /// User ID of the owner.
        user: u32,
    },
    /// The file has further hard links, which may be anywhere.
    #[error("the file has several hard links; remove it, choose another file, or replace it with --force")]
    Names,
    /// pidtap already writes to the file.
    #[error("{by} there already; choose another file")]
    Taken {
        /// The existing use of the file, for the message.
        by: &'static str,
    },
    /// Another user owns a symbolic link in the path and could redirect it.
    #[error(
        "{link} is a symbolic link that belongs to another user (uid {user}); use the path of the directory that it \
         points to"
    )]
    OthersLink {
        /// Path of the link as far as it was followed.
        link: String,
        /// User ID of the owner.
        user: u32,
    },
    /// The path ends without a file name.
    #[error("the path does not end with a file name; append one")]
    NoName,
    /// The name refers to something else than a file.
    #[error(transparent)]
    Other(#[from] Other),
    /// The object under the name keeps changing, so another process writes there.
    #[error("the file is being replaced repeatedly by another process; use a directory that only you can write to")]
    Changing,
    /// The mode of a file or directory forbids the access, and root lacks the capability that overrides modes.
    #[error("{source}; pidtap lacks CAP_DAC_OVERRIDE, so file modes apply to root as well")]
    Mode {
        /// Error of the kernel.
        source: io::Error,
    },
    /// The operating system returned an error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileError {
    /// Names the missing capability if it is the reason.
    pub(super) fn explained(self) -> Self {
        match self {
            Self::Io(source) if Errno::from_io_error(&source) == Some(Errno::ACCESS) && is_root_without_override() => {
                Self::Mode { source }
            }
            other => other,
        }
    }
}

/// Other users never have the capability. If the capabilities cannot be read, the result is `false`.
fn is_root_without_override() -> bool {
    geteuid().is_root() && capabilities(None).is_ok_and(|sets| !sets.effective.contains(CapabilitySet::DAC_OVERRIDE))
}

/// Kind of an object that is not written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Other {
    /// A symbolic link.
    #[error("it is a symbolic link, which pidtap does not follow; use the path of the file itself")]
    Link,
    /// A directory.
    #[error("it is a directory; use the path of a file in it")]
    Folder,
    /// A block device.
    #[error("it is a disk; use the path of a file, or overwrite the disk with --force")]
    Disk,
    /// A socket.
    #[error("it is a socket, which cannot be opened; use a file or a named pipe")]
    Socket,
    /// A type that the kernel does not name.
    #[error("it is not a file; use the path of a file")]
    Unknown,
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}
