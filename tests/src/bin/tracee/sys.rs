//! System calls without a safe wrapper: the only unsafe code of the test programs.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use io_uring::{IoUring, opcode, types};

fn count(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Messages of one `sendmmsg` or `recvmmsg`.
const MESSAGES: usize = 8;

/// `sendmmsg` of up to eight pieces. Returns the bytes of all sent messages.
pub(crate) fn sendmmsg(fd: BorrowedFd<'_>, pieces: &[&[u8]]) -> io::Result<usize> {
    let mut vectors: Vec<libc::iovec> = pieces
        .iter()
        .take(MESSAGES)
        .map(|piece| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .map(|vector| {
            // SAFETY: all-zero bytes are a valid mmsghdr.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: the headers point to vectors, and those to pieces, that all outlive the call.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
    let sent = count(sent as libc::ssize_t)?;
    Ok(messages[..sent].iter().map(|message| message.msg_len as usize).sum())
}

/// `recvmmsg` into eighths of the buffer, in order. Waits for the first message only. Bytes after a short message move up, so that all
/// bytes are contiguous.
pub(crate) fn recvmmsg(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let size = buffer.len().div_ceil(MESSAGES);
    let mut vectors: Vec<libc::iovec> = buffer
        .chunks_mut(size)
        .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .map(|vector| {
            // SAFETY: all-zero bytes are a valid mmsghdr.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let flags = libc::MSG_WAITFORONE;
    let timeout = std::ptr::null_mut();
    // SAFETY: the headers point to vectors, and those into the buffer, that all outlive the call.
    let received =
        unsafe { libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, flags as _, timeout) };
    let received = count(received as libc::ssize_t)?;
    let lengths: Vec<usize> = messages[..received].iter().map(|message| message.msg_len as usize).collect();
    let mut end = 0;
    for (index, length) in lengths.into_iter().enumerate() {
        buffer.copy_within(index * size..index * size + length, end);
        end += length;
    }
    Ok(end)
}

/// `recv` with `MSG_TRUNC` and no buffer: TCP drops the bytes.
pub(crate) fn discard(fd: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC, TCP writes nothing; the manual page shows a null buffer.
    count(unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), length, libc::MSG_TRUNC) })
}

/// `fork`. The callers have a single thread, so the child is not restricted to async-signal-safe functions.
pub(crate) fn fork() -> io::Result<Option<libc::pid_t>> {
    // SAFETY: the callers run in a program with a single thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Waits for a child.
pub(crate) fn wait(child: libc::pid_t) -> io::Result<()> {
    // SAFETY: a null status pointer is allowed.
    if unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends and receives through an io_uring.
pub(crate) struct Ring(IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    pub(crate) fn new() -> io::Result<Self> {
        IoUring::new(4).map(Self)
    }

    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let entry = opcode::Send::new(types::Fd(fd.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32).build();
        self.complete(&entry)
    }

    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let entry = opcode::Recv::new(types::Fd(fd.as_raw_fd()), buffer.as_mut_ptr(), buffer.len() as u32).build();
        self.complete(&entry)
    }

    fn complete(&mut self, entry: &io_uring::squeue::Entry) -> io::Result<usize> {
        // SAFETY: the buffer of the entry is borrowed by the caller until the completion below is taken.
        unsafe { self.0.submission().push(entry) }.map_err(io::Error::other)?;
        self.0.submit_and_wait(1)?;
        let result = self.0.completion().next().ok_or_else(|| io::Error::other("no completion"))?.result();
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    }
}
