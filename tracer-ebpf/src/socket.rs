//! From a descriptor to its socket: `task->files->fdt->fd[n]`, then `file->private_data->sk`.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use tracer_common::event::loss;

use crate::{
    emit,
    memory::{kernel, kernel_at, pointer},
    offset::{
        FDT_FD, FDT_MAX_FDS, FILE_INODE, FILE_PRIVATE, FILES_FDT, INODE_MODE, INODE_NUMBER, SK_SOCKET,
        SOCKET_ALLOC_INODE, SOCKET_SK, SOCKET_TYPE, TASK_FILES,
    },
};

/// `S_IFMT`.
const MODE_TYPE: u16 = 0o170_000;
/// `S_IFSOCK`.
const MODE_SOCKET: u16 = 0o140_000;
/// `SOCK_STREAM`.
const STREAM: u16 = 1;

/// A stream socket.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// Inode number in sockfs.
    pub(crate) inode: u64,
    /// `struct sock`.
    pub(crate) sk: u64,
}

/// The stream socket that a descriptor of the running task names; none where it names something else.
#[inline(always)]
pub(crate) fn of_descriptor(fd: i32) -> Option<Socket> {
    let file = file(fd)?;
    let inode = pointer(file, &FILE_INODE)?;
    if kernel::<u16>(inode, &INODE_MODE)? & MODE_TYPE != MODE_SOCKET {
        return None;
    }
    // From here on it is a socket, and what cannot be read is a loss.
    let found = stream(file, inode);
    if found.is_none() {
        emit::lose(loss::KERNEL_READ, 0);
    }
    found?
}

/// Outer: could be read. Inner: is a stream socket.
#[expect(clippy::option_option, reason = "an enum would be one more shape of value for the verifier to follow")]
#[inline(always)]
fn stream(file: u64, inode: u64) -> Option<Option<Socket>> {
    let socket = pointer(file, &FILE_PRIVATE)?;
    if kernel::<u16>(socket, &SOCKET_TYPE)? != STREAM {
        return Some(None);
    }
    let inode = kernel::<u64>(inode, &INODE_NUMBER)?;
    // A socket that was never connected nor bound has a sk all the same; one that is being released has none.
    Some(kernel::<u64>(socket, &SOCKET_SK).filter(|sk| *sk != 0).map(|sk| Socket { inode, sk }))
}

#[inline(always)]
fn file(fd: i32) -> Option<u64> {
    let fd = u32::try_from(fd).ok()?;
    let task = unsafe { bpf_get_current_task() };
    let files = pointer(task, &TASK_FILES)?;
    let table = pointer(files, &FILES_FDT)?;
    if fd >= kernel::<u32>(table, &FDT_MAX_FDS)? {
        return None;
    }
    let descriptors = pointer(table, &FDT_FD)?;
    kernel_at::<u64>(descriptors + u64::from(fd) * 8).filter(|file| *file != 0)
}

/// Inode number of the socket that a `struct sock` belongs to; none where user space has no hold of it (any more).
#[inline(always)]
pub(crate) fn inode_of(sk: u64) -> Option<u64> {
    let socket = pointer(sk, &SK_SOCKET)?;
    // `struct socket` is the first member of `struct socket_alloc`; its inode stands beside it.
    kernel::<u64>(socket + u64::from(SOCKET_ALLOC_INODE.load()), &INODE_NUMBER)
}
