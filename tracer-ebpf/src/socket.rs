//! Descriptor to socket: `task->files->fdt->fd[n]->f_inode`, next to which the socket is stored.

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

/// Stream socket that a descriptor of the running task names; `None` if it names something else.
#[inline(always)]
pub(crate) fn of_descriptor(task: Task, fd: i32) -> Option<Socket> {
    let file = file(task, fd)?;
    let inode = pointer(file, FILE_INODE)?;
    // `struct socket_alloc` contains a socket and its inode. For any other inode the bytes before it are arbitrary, but
    // hardly the address of this very file where a socket stores it. This check avoids reading the inode's mode.
    let socket = inode.wrapping_sub(u64::from(SOCKET_ALLOC_INODE.load()));
    if kernel::<u64>(socket, SOCKET_FILE)? != file || kernel::<u16>(socket, SOCKET_TYPE)? != STREAM {
        return None;
    }
    Some(Socket { inode: kernel(inode, INODE_NUMBER)?, sk: pointer(socket, SOCKET_SK)? })
}

/// `struct fdtable` of the running task.
#[inline(always)]
fn table(task: Task) -> Option<u64> {
    pointer(pointer(task.address, TASK_FILES)?, FILES_FDT)
}

/// Capacity of the running task's descriptor table.
#[inline(always)]
pub(crate) fn descriptors(task: Task) -> Option<u32> {
    kernel(table(task)?, FDT_MAX_FDS)
}

/// `struct file` of a descriptor.
#[inline(always)]
fn file(task: Task, fd: i32) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    let table = table(task)?;
    if fd as u32 >= kernel::<u32>(table, FDT_MAX_FDS)? {
        return None;
    }
    let descriptors = kernel::<u64>(table, FDT_FD)?;
    kernel_at::<u64>(descriptors.wrapping_add(u64::from(fd as u32) * 8)).filter(|file| *file != 0)
}

/// Inode number of the socket that a `struct sock` belongs to; `None` if user space does not hold it (any more).
#[inline(always)]
pub(crate) fn inode_of(sk: u64) -> Option<u64> {
    let socket = pointer(sk, SK_SOCKET)?;
    // `struct socket` is the first member of `struct socket_alloc`; the inode follows it.
    kernel::<u64>(socket + u64::from(SOCKET_ALLOC_INODE.load()), INODE_NUMBER)
}

/// Whether the `struct socket` of a `struct sock` belongs to another one. (A closing socket has released it.)
#[inline(always)]
pub(crate) fn is_lent(sk: u64) -> bool {
    let owner = pointer(sk, SK_SOCKET).and_then(|socket| pointer(socket, SOCKET_SK));
    owner.is_some_and(|owner| owner != sk)
}

/// Slot of a descriptor of a process.
#[inline(always)]
fn descriptor_slot(tgid: u32, fd: i32) -> Option<*mut u32> {
    // Multiplied by the golden ratio, so that processes with adjacent IDs do not share slots.
    let slot = (tgid.wrapping_mul(0x9e37_79b1) >> 16).wrapping_add(fd as u32) & (DESCRIPTOR_SLOTS - 1);
    DESCRIPTOR_FILTER.get_ptr_mut(slot)
}

/// Marks a descriptor as naming a connection, so that its close is reported.
#[inline(always)]
pub(crate) fn note_descriptor(tgid: u32, fd: i32) {
    if let Some(slot) = descriptor_slot(tgid, fd) {
        unsafe { slot.write_volatile(1) };
    }
}

/// Clears the mark of a closed descriptor. Returns whether it may have named a connection. (Two processes whose
/// descriptors share a slot may hide a close from each other; TCP tracepoints still report the end.)
#[inline(always)]
pub(crate) fn forget_descriptor(tgid: u32, fd: i32) -> bool {
    let Some(slot) = descriptor_slot(tgid, fd) else { return true };
    let named = unsafe { slot.read_volatile() } != 0;
    if named {
        unsafe { slot.write_volatile(0) };
    }
    named
}
