//! Sockets among the descriptors of a process.

use std::{io, path::Path};

use rustix::{
    fd::AsFd as _,
    fs::{Dir, Mode, OFlags, openat, readlinkat},
};

/// A descriptor that names a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketDescriptor {
    /// File descriptor.
    pub(crate) fd: i32,
    /// Inode number of the socket.
    pub(crate) inode: u32,
}

/// Sockets of a process. Costs one system call per descriptor, and memory only for the result.
pub(crate) fn sockets(pid: u32) -> io::Result<Vec<SocketDescriptor>> {
    let mut sockets = Vec::new();
    each(pid, |fd, link| {
        if let Some(inode) = parse_socket(link) {
            sockets.push(SocketDescriptor { fd, inode });
        }
    })?;
    Ok(sockets)
}

/// Calls `take` with each descriptor of a process and the target of its link.
pub(crate) fn each(pid: u32, mut take: impl FnMut(i32, &[u8])) -> io::Result<()> {
    let path = format!("/proc/{pid}/fd");
    let folder =
        openat(rustix::fs::CWD, Path::new(&path), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut link = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Some(fd) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        // A descriptor closed between the two calls is skipped.
        if let Ok(target) = readlinkat(folder.as_fd(), entry.file_name(), link) {
            link = target.into_bytes();
            take(fd, &link);
        } else {
            link = Vec::new();
        }
    }
    Ok(())
}

/// Inode number in `socket:[N]`.
pub(crate) fn parse_socket(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_have_a_sockets_inode() {
        assert_eq!(parse_socket(b"socket:[4294967295]"), Some(u32::MAX));
        for link in [&b"socket:[]"[..], b"socket:[1", b"pipe:[7]", b"/tmp/socket:[7]", b"socket:[4294967296]"] {
            assert_eq!(parse_socket(link), None);
        }
    }

    #[test]
    fn own_sockets_are_found() {
        use std::os::fd::AsRawFd as _;
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let found = sockets(std::process::id()).expect("own descriptors");
        assert!(found.iter().any(|descriptor| descriptor.fd == one.as_raw_fd()));
    }
}
