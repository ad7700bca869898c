//! From a descriptor to its socket: `task->files->fdt->fd[n]->f_inode`, beside which the socket stands.
//!
//! Each step is a read, and the reads are most of what a traced call costs: so as few as can be.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_current_task, bpf_get_current_task_btf},
};
use tracer_common::offset::SOCKET_HEAD_SIZE;

use crate::{
    maps::{DESCRIPTOR_FILTER, DESCRIPTOR_SLOTS, DIRECT},
    memory::{kernel, kernel_at, pointer, typed},
    offset::{
        FDT_FD, FDT_MAX_FDS, FILE_INODE, FILES_FDT, INODE_NUMBER, SK_SOCKET, SOCKET_ALLOC_INODE, SOCKET_FILE,
        SOCKET_SK, SOCKET_TYPE, TASK_FILES,
    },
};

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
    // `struct socket_alloc` is a socket and its inode. Of another inode, what stands before it is anything, but
    // hardly the address of this very file where a socket has it: that tells without a look at the inode's mode.
    let socket = inode.wrapping_sub(u64::from(SOCKET_ALLOC_INODE.load()));
    let head = kernel_at::<[u8; SOCKET_HEAD_SIZE as usize]>(socket)?;
    let head = head.as_ptr();
    unsafe {
        if typed::<u64>(head, SOCKET_FILE.load()) != file || typed::<u16>(head, SOCKET_TYPE.load()) != STREAM {
            return None;
        }
        let sk = typed::<u64>(head, SOCKET_SK.load());
        if sk == 0 {
            return None;
        }
        Some(Socket { inode: kernel(inode, &INODE_NUMBER)?, sk })
    }
}

/// `struct file` of a descriptor.
#[inline(always)]
fn file(fd: i32) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    let (open, descriptors) = if DIRECT.load() != 0 {
        unsafe {
            let task = bpf_get_current_task_btf().cast::<u8>();
            let files = typed::<*const u8>(task, TASK_FILES.load());
            let table = typed::<*const u8>(files, FILES_FDT.load());
            (typed::<u32>(table, FDT_MAX_FDS.load()), typed::<u64>(table, FDT_FD.load()))
        }
    } else {
        let task = unsafe { bpf_get_current_task() };
        let table = pointer(pointer(task, &TASK_FILES)?, &FILES_FDT)?;
        (kernel::<u32>(table, &FDT_MAX_FDS)?, kernel::<u64>(table, &FDT_FD)?)
    };
    if fd as u32 >= open {
        return None;
    }
    let file = kernel_at::<u64>(descriptors.wrapping_add(u64::from(fd as u32) * 8))?;
    if file == 0 { None } else { Some(file) }
}

/// Inode number of the socket that a `struct sock` belongs to; none where user space has no hold of it (any more).
#[inline(always)]
pub(crate) fn inode_of(sk: u64) -> Option<u64> {
    let socket = pointer(sk, &SK_SOCKET)?;
    // `struct socket` is the first member of `struct socket_alloc`; its inode stands beside it.
    kernel::<u64>(socket + u64::from(SOCKET_ALLOC_INODE.load()), &INODE_NUMBER)
}

/// The slot of a descriptor of the running process.
#[inline(always)]
fn descriptor_slot(fd: i32) -> Option<*mut u32> {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // Multiplied by the golden ratio, so that neighbouring processes do not share slots.
    let slot = (tgid.wrapping_mul(0x9e37_79b1) >> 16).wrapping_add(fd as u32) & (DESCRIPTOR_SLOTS - 1);
    DESCRIPTOR_FILTER.get_ptr_mut(slot)
}

/// A descriptor of the running process names a connection: its close matters.
#[inline(always)]
pub(crate) fn note_descriptor(fd: i32) {
    if let Some(slot) = descriptor_slot(fd) {
        unsafe { slot.write_volatile(1) };
    }
}

/// A descriptor of the running process is closed. True if it may have named a connection. (Two processes whose
/// descriptors share a slot may hide a close from each other; TCP tells of its end by itself.)
#[inline(always)]
pub(crate) fn forget_descriptor(fd: i32) -> bool {
    let Some(slot) = descriptor_slot(fd) else { return true };
    let named = unsafe { slot.read_volatile() } != 0;
    if named {
        unsafe { slot.write_volatile(0) };
    }
    named
}
