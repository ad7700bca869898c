//! Names of Unix sockets.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_user},
};
use tracer_common::event::{SocketNameEvent, flag, kind, loss, origin};

use crate::{
    emit,
    maps::{ANNOUNCEMENT, EVENTS},
    memory::{bounded, kernel, pointer, user},
    offset::{SK_FAMILY, UNIX_ADDRESS, UNIX_ADDRESS_LENGTH, UNIX_ADDRESS_NAME, UNIX_PEER},
    socket::{self, AF_UNIX},
    target::Task,
};

/// Size of `sun_path`.
const PATH: usize = 108;
/// Offset of the path in `struct sockaddr_un`, after the family.
const PATH_OFFSET: u64 = 2;

/// A ring record with room for the longest path.
#[repr(C)]
struct Record {
    event: SocketNameEvent,
    path: [u8; PATH],
}

/// Sends the name that a process passed to `connect` (`address`, `length`). It is sent whatever the call returns, as a
/// socket whose connect failed does not keep it.
#[inline(never)]
pub(crate) fn name_asked_for(task: &Task, fd: i32, address: u64, length: u64) -> u64 {
    if length <= PATH_OFFSET || user::<u16>(address) != Some(AF_UNIX) {
        return 0;
    }
    let Some(socket) = socket::of_descriptor(*task, fd) else { return 0 };
    send(socket.inode, address + PATH_OFFSET, (length - PATH_OFFSET) as u32, 0, true);
    0
}

/// Sends the name of a target's socket. An accepted socket has the name of its listener; a connected one usually has
/// none, so the name of its peer is sent.
#[inline(never)]
pub(crate) fn name_known() -> u64 {
    let Some(what) = ANNOUNCEMENT.get(0) else { return 0 };
    let (sk, how) = (what.socket.sk, what.origin);
    if (how != origin::ACCEPT && how != origin::SEEN) || kernel::<u16>(sk, SK_FAMILY) != Some(AF_UNIX) {
        return 0;
    }
    let mut flags = flag::OWN_NAME;
    let mut address = pointer(sk, UNIX_ADDRESS);
    if address.is_none() && how == origin::SEEN {
        flags = 0;
        address = pointer(sk, UNIX_PEER).and_then(|peer| pointer(peer, UNIX_ADDRESS));
    }
    let Some(address) = address else { return 0 };
    let length = kernel::<u32>(address, UNIX_ADDRESS_LENGTH).unwrap_or(0);
    if length > PATH_OFFSET as u32 {
        let path = address + u64::from(UNIX_ADDRESS_NAME.load()) + PATH_OFFSET;
        send(what.socket.inode, path, length - PATH_OFFSET as u32, flags, false);
    }
    0
}

#[inline(always)]
fn send(inode: u64, path: u64, length: u32, flags: u16, from_user: bool) {
    let Some(mut record) = EVENTS.reserve::<Record>(0) else {
        return emit::lose(loss::RING_FULL, 0);
    };
    let place = record.as_mut_ptr();
    let length = bounded::<PATH>(length);
    let read = unsafe {
        let to = (&raw mut (*place).path).cast();
        if from_user {
            bpf_probe_read_user(to, length, path as *const _)
        } else {
            bpf_probe_read_kernel(to, length, path as *const _)
        }
    };
    if read != 0 {
        record.discard(0);
        return emit::lose(if from_user { loss::FAULT } else { loss::KERNEL_READ }, 0);
    }
    let id = bpf_get_current_pid_tgid();
    unsafe {
        // Field by field, as the whole structure would be built on the stack.
        let event = &raw mut (*place).event;
        (*event).header.time_ns = bpf_ktime_get_ns();
        (*event).header.kind = kind::SOCKET_NAME;
        (*event).header.flags = flags;
        (*event).header.length = size_of::<SocketNameEvent>() as u32 + length;
        (*event).header.tgid = (id >> 32) as u32;
        (*event).header.tid = id as u32;
        (*event).connection = inode;
        (*event).peer = 0;
        (*event).peer_tgid = 0;
        (*event).path_length = length;
        (*event).reserved = 0;
    }
    record.submit(emit::wake_flags(size_of::<Record>()));
}
