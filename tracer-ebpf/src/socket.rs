//! From a descriptor to its socket: `task->files->fdt->fd[n]->f_inode`, beside which the socket stands.

use crate::{
    maps::{DESCRIPTOR_FILTER, DESCRIPTOR_SLOTS},
    memory::{kernel, kernel_at, pointer},
    offset::{
        FDT_FD, FDT_MAX_FDS, FILE_INODE, FILES_FDT, INODE_NUMBER, SK_SOCKET, SOCKET_ALLOC_INODE, SOCKET_FILE,
        SOCKET_SK, SOCKET_TYPE, TASK_FILES,
    },
    target::Task,
    value::Socket,
};

/// Address families.
pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
/// `SOCK_STREAM`.
const STREAM: u16 = 1;

/// The stream socket that a descriptor of the running task names; none where it names something else.
#[inline(always)]
pub(crate) fn of_descriptor(task: Task, fd: i32) -> Option<Socket> {
    let file = file(task, fd)?;
    let inode = pointer(file, &FILE_INODE)?;
    // `struct socket_alloc` is a socket and its inode. Of another inode, what stands before it is anything, but
    // hardly the address of this very file where a socket has it: that tells without a look at the inode's mode.
    let socket = inode.wrapping_sub(u64::from(SOCKET_ALLOC_INODE.load()));
    if kernel::<u64>(socket, &SOCKET_FILE)? != file || kernel::<u16>(socket, &SOCKET_TYPE)? != STREAM {
        return None;
    }
    Some(Socket { inode: kernel(inode, &INODE_NUMBER)?, sk: pointer(socket, &SOCKET_SK)? })
}

/// `struct fdtable` of the running task.
#[inline(always)]
fn table(task: Task) -> Option<u64> {
    pointer(pointer(task.address, &TASK_FILES)?, &FILES_FDT)
}

/// Descriptors that the running task's table has room for.
#[inline(always)]
pub(crate) fn descriptors(task: Task) -> Option<u32> {
    kernel(table(task)?, &FDT_MAX_FDS)
}

/// `struct file` of a descriptor.
#[inline(always)]
fn file(task: Task, fd: i32) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    let table = table(task)?;
    if fd as u32 >= kernel::<u32>(table, &FDT_MAX_FDS)? {
        return None;
    }
    let descriptors = kernel::<u64>(table, &FDT_FD)?;
    kernel_at::<u64>(descriptors.wrapping_add(u64::from(fd as u32) * 8)).filter(|file| *file != 0)
}

/// Inode number of the socket that a `struct sock` belongs to; none where user space has no hold of it (any more).
#[inline(always)]
pub(crate) fn inode_of(sk: u64) -> Option<u64> {
    let socket = pointer(sk, &SK_SOCKET)?;
    // `struct socket` is the first member of `struct socket_alloc`; its inode stands beside it.
    kernel::<u64>(socket + u64::from(SOCKET_ALLOC_INODE.load()), &INODE_NUMBER)
}

/// True if the `struct socket` of a `struct sock` is that of another one. (One that is being closed has let go of it.)
#[inline(always)]
pub(crate) fn is_lent(sk: u64) -> bool {
    let owner = pointer(sk, &SK_SOCKET).and_then(|socket| pointer(socket, &SOCKET_SK));
    owner.is_some_and(|owner| owner != sk)
}

/// The slot of a descriptor of a process.
#[inline(always)]
fn descriptor_slot(tgid: u32, fd: i32) -> Option<*mut u32> {
    // Multiplied by the golden ratio, so that neighbouring processes do not share slots.
    let slot = (tgid.wrapping_mul(0x9e37_79b1) >> 16).wrapping_add(fd as u32) & (DESCRIPTOR_SLOTS - 1);
    DESCRIPTOR_FILTER.get_ptr_mut(slot)
}

/// A descriptor of a process names a connection: its close matters.
#[inline(always)]
pub(crate) fn note_descriptor(tgid: u32, fd: i32) {
    if let Some(slot) = descriptor_slot(tgid, fd) {
        unsafe { slot.write_volatile(1) };
    }
}

/// A descriptor of a process is closed. True if it may have named a connection. (Two processes whose descriptors share
/// a slot may hide a close from each other; TCP tells of its end by itself.)
#[inline(always)]
pub(crate) fn forget_descriptor(tgid: u32, fd: i32) -> bool {
    let Some(slot) = descriptor_slot(tgid, fd) else { return true };
    let named = unsafe { slot.read_volatile() } != 0;
    if named {
        unsafe { slot.write_volatile(0) };
    }
    named
}
