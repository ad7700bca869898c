//! System calls that create, duplicate, shut down and close connections.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use tracer_common::event::{DescriptorEvent, descriptor, kind, origin};
use tracer_common::syscall;

use crate::{
    arch::Call,
    connection, emit,
    maps::DESCRIPTOR_SLOTS,
    memory::user,
    socket,
    target::Task,
    unix,
    value::{Announcement, Socket},
};

const EBADF: i64 = -9;
const EFAULT: i64 = -14;
const EISCONN: i64 = -106;
const EALREADY: i64 = -114;
/// Sets a flag on the descriptors and closes none.
const CLOSE_RANGE_CLOEXEC: u64 = 4;
const F_DUPFD: u64 = 0;
const F_DUPFD_CLOEXEC: u64 = 1030;

/// Handles a call of a target that moves no bytes.
#[inline(always)]
pub(super) fn changed(task: Task, call: &Call, result: i64) {
    let arguments = &call.arguments;
    let fd = arguments[0] as i32;
    match call.code {
        // EALREADY and EISCONN refer to an earlier call.
        syscall::CONNECT if result != EALREADY && result != EISCONN => {
            // With EFAULT the kernel could not read the address either.
            if result != EFAULT {
                unix::name_asked_for(&task, fd, arguments[1], arguments[2]);
            }
            opened(&task, fd, origin::CONNECT, result as i32, arguments[1]);
        }
        syscall::ACCEPT if result >= 0 => opened(&task, result as i32, origin::ACCEPT, 0, 0),
        syscall::SOCKETPAIR if result == 0 => {
            if let Some(pair) = user::<[i32; 2]>(arguments[3]) {
                opened(&task, pair[0], origin::PAIR, 0, 0);
                opened(&task, pair[1], origin::PAIR, 0, 0);
            }
        }
        // The descriptor is closed whatever else the call returns. Descriptors of files do not matter.
        syscall::CLOSE if result != EBADF && socket::forget_descriptor(task.tgid, fd) => closed(&task, fd),
        syscall::CLOSE_RANGE if result == 0 && arguments[2] & CLOSE_RANGE_CLOEXEC == 0 => {
            closed_from(&task, arguments[0] as u32, arguments[1] as u32);
        }
        syscall::SHUTDOWN if result == 0 => {
            if let Some(socket) = socket::of_descriptor(task, fd) {
                let action = match arguments[1] {
                    0 => descriptor::SHUTDOWN_READ,
                    1 => descriptor::SHUTDOWN_WRITE,
                    _ => descriptor::SHUTDOWN_BOTH,
                };
                report(socket.inode, fd, -1, action);
            }
        }
        syscall::DUP if result >= 0 => duplicated(task, fd, result as i32, false),
        // Duplication onto itself has no effect.
        syscall::DUP_ONTO if result >= 0 && result as i32 != fd => duplicated(task, fd, result as i32, true),
        syscall::FCNTL if result >= 0 && (arguments[1] == F_DUPFD || arguments[1] == F_DUPFD_CLOEXEC) => {
            duplicated(task, fd, result as i32, false);
        }
        _ => {}
    }
}

/// Handles a descriptor that names a new connection. Not inlined, as it has several callers; such a function takes at
/// most five arguments.
#[inline(never)]
fn opened(task: &Task, fd: i32, origin: u8, result: i32, remote: u64) {
    if let Some(socket) = socket::of_descriptor(*task, fd) {
        announce(task, socket, fd, origin, result, remote);
    }
}

#[inline(always)]
fn announce(task: &Task, socket: Socket, fd: i32, origin: u8, result: i32, remote: u64) {
    let Some(entry) = connection::remember(socket) else { return };
    socket::note_descriptor(task.tgid, fd);
    let Some(positions) = connection::positions(&entry, socket.sk) else { return };
    connection::announce(Announcement { socket, positions, remote, fd, result, origin, sequence: entry.sequence });
}

/// Handles `new`, which now names the file of `old`. With `always`, the file that `new` named before is closed, which
/// matters even if `old` is no socket.
#[inline(never)]
fn duplicated(task: Task, old: i32, new: i32, always: bool) {
    let inode = socket::of_descriptor(task, new).map_or(0, |socket| socket.inode);
    if inode != 0 {
        socket::note_descriptor(task.tgid, new);
    }
    if inode != 0 || always {
        report(inode, old, new, descriptor::DUPLICATE);
    }
}

/// Handles a close. `close` frees the descriptor before it returns, so another thread may already have opened the same
/// number. Its later close still matters, and this event carries its inode as the connection that was not closed.
#[inline(never)]
fn closed(task: &Task, fd: i32) {
    let inode = socket::of_descriptor(*task, fd).map_or(0, |socket| socket.inode);
    if inode != 0 {
        socket::note_descriptor(task.tgid, fd);
    }
    report(inode, fd, -1, descriptor::CLOSE);
}

/// Context of the loop of [`closed_from`].
struct Range {
    tgid: u32,
    first: u32,
}

/// Handles the close of all descriptors from `first` to `last`. Reports those that may have named a connection.
#[inline(always)]
fn closed_from(task: &Task, first: u32, last: u32) {
    // Programs often pass the highest number; descriptors beyond the table were never open.
    let open = socket::descriptors(*task).unwrap_or(0);
    let end = if last < open { last + 1 } else { open };
    if first >= end {
        return;
    }
    let count = if end - first > DESCRIPTOR_SLOTS { DESCRIPTOR_SLOTS } else { end - first };
    let mut range = Range { tgid: task.tgid, first };
    unsafe { bpf_loop(count, close_step as *mut c_void, (&raw mut range).cast(), 0) };
}

unsafe extern "C" fn close_step(index: u64, context: *mut c_void) -> i64 {
    let range = context.cast::<Range>();
    let (tgid, fd) = unsafe { ((*range).tgid, ((*range).first).wrapping_add(index as u32) as i32) };
    if socket::forget_descriptor(tgid, fd) {
        report(0, fd, -1, descriptor::CLOSE);
    }
    0
}

#[inline(always)]
fn report(connection: u64, fd: i32, new_fd: i32, action: u8) {
    emit::send(DescriptorEvent {
        header: emit::header(kind::DESCRIPTOR, 0, size_of::<DescriptorEvent>()),
        connection,
        fd,
        new_fd,
        action,
        reserved: [0; 7],
    });
}
