//! System calls that move bytes.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use tracer_common::event::{call, direction, flag, kind, origin};

use super::message::{self, MessageHeader};
use crate::{
    arch::Call,
    connection::{self, Entry},
    memory::{self, user},
    payload, socket,
    target::Task,
    value::{Announcement, Positions, Socket, Transfer, Vector},
};

pub(super) const MSG_OOB: u64 = 1;
pub(super) const MSG_PEEK: u64 = 2;
pub(super) const MSG_TRUNC: u64 = 0x20;
pub(super) const MSG_ERRQUEUE: u64 = 0x2000;

/// Handles a data call of a target that has returned.
#[inline(always)]
pub(super) fn moved(task: Task, call: &Call, result: i64) {
    let arguments = &call.arguments;
    let way = if matches!(call.code, call::READ..=call::RECVMMSG) { direction::RECEIVE } else { direction::SEND };
    let mut descriptor = arguments[0] as i32;
    let mut way = way;
    let mut found = None;
    if call.code == call::SPLICE {
        // One end is a pipe, the other the socket.
        found = socket::of_descriptor(task, arguments[2] as i32);
        if found.is_some() {
            descriptor = arguments[2] as i32;
        } else {
            way = direction::RECEIVE;
        }
    }
    let Some(socket) = found.or_else(|| socket::of_descriptor(task, descriptor)) else { return };
    if result == 0 && (way == direction::SEND || asked_for_nothing(call)) {
        // This is no end of stream.
        return;
    }
    let Some(transfer) = payload::current() else { return };
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(entry) = connection::used(socket, task.tgid, descriptor, time) else { return };

    let message_bits = match call.code {
        call::RECVMSG | call::SENDMSG => arguments[2],
        call::RECVFROM | call::SENDTO | call::RECVMMSG | call::SENDMMSG => arguments[3],
        _ => 0,
    };
    if message_bits & MSG_ERRQUEUE != 0 && way == direction::RECEIVE {
        // The error queue reports on earlier sends and is not part of the stream.
        return;
    }
    let mut flags = if entry.sequence { flag::SEQUENCE } else { 0 };
    if message_bits & MSG_OOB != 0 {
        flags |= flag::OUT_OF_BAND;
    }
    if way == direction::RECEIVE {
        if message_bits & MSG_PEEK != 0 {
            flags |= flag::PEEK;
        }
        if message_bits & MSG_TRUNC != 0 && entry.sequence {
            // TCP discards the bytes, with or without a buffer.
            flags |= flag::LENGTH_ONLY;
        }
    }
    if call.code == call::SENDFILE || call.code == call::SPLICE {
        flags |= flag::LENGTH_ONLY;
    }
    let many = call.code == call::RECVMMSG || call.code == call::SENDMMSG;
    let bytes = if result <= 0 {
        0
    } else if many {
        message::total(arguments[1], result as u32)
    } else {
        result as u64
    };
    // Number of bytes by which the call advanced its stream.
    let advance = if flags & flag::PEEK != 0 || (flags & flag::OUT_OF_BAND != 0 && way == direction::RECEIVE) {
        0
    } else {
        bytes
    };
    let Some((own, opposite)) = place(&entry, socket, way, advance) else { return };
    if entry.fresh {
        let (send, receive) = if way == direction::SEND { (own, opposite) } else { (opposite, own) };
        connection::announce(Announcement {
            socket,
            positions: Positions { send, receive },
            remote: 0,
            fd: descriptor,
            result: 0,
            origin: origin::SEEN,
            sequence: entry.sequence,
        });
    }
    unsafe {
        // Field by field, as the whole structure would be built on the stack and copied.
        let event = &raw mut (*transfer).event;
        (*event).header.time_ns = time;
        (*event).header.kind = kind::DATA;
        (*event).header.flags = flags;
        (*event).header.tgid = task.tgid;
        (*event).header.tid = task.tid();
        (*event).connection = socket.inode;
        (*event).position = own;
        (*event).opposite_position = opposite;
        (*event).result = result as i32;
        (*event).offset = 0;
        (*event).captured = 0;
        (*event).fd = descriptor;
        (*event).direction = way;
        (*event).call = call.code;
        (*transfer).sequence = u16::from(entry.sequence);
        (*transfer).vectors = 0;
        if many && result > 0 {
            message::deliver(transfer, arguments[1], result as u32, flags);
            return;
        }
        buffers(transfer, call);
    }
    payload::deliver(transfer);
}

/// Sets the buffers of the transfer.
#[inline(always)]
unsafe fn buffers(transfer: *mut Transfer, call: &Call) {
    let arguments = &call.arguments;
    unsafe {
        match call.code {
            call::READ | call::WRITE | call::RECVFROM | call::SENDTO => (*transfer).buffer = arguments[1],
            call::READV | call::WRITEV => {
                (*transfer).vectors = arguments[1];
                (*transfer).vector_count = arguments[2];
            }
            call::RECVMSG | call::SENDMSG => {
                (*transfer).buffer = 0;
                if let Some(header) = user::<MessageHeader>(arguments[1]) {
                    (*transfer).vectors = header.vectors;
                    (*transfer).vector_count = header.vector_count;
                }
            }
            _ => {}
        }
    }
}

/// Whether a receive that returned 0 had no room for a byte.
#[inline(always)]
fn asked_for_nothing(call: &Call) -> bool {
    let arguments = &call.arguments;
    match call.code {
        call::READ | call::RECVFROM => arguments[2] == 0,
        call::READV => no_room(arguments[1], arguments[2]),
        call::RECVMSG => {
            user::<MessageHeader>(arguments[1]).is_some_and(|header| no_room(header.vectors, header.vector_count))
        }
        call::SPLICE => arguments[4] == 0,
        _ => false,
    }
}

/// Whether there is no buffer, or a single empty one.
#[inline(always)]
fn no_room(vectors: u64, count: u64) -> bool {
    count == 0 || (count == 1 && user::<Vector>(vectors).is_some_and(|vector| vector.length == 0))
}

/// Positions of the call's own stream before it advanced by `advance` bytes, and of the opposite stream.
#[inline(always)]
fn place(entry: &Entry, socket: Socket, way: u8, advance: u64) -> Option<(u64, u64)> {
    let value = entry.value;
    if entry.sequence {
        let now = connection::positions(entry, socket.sk)?;
        let (own, opposite) = if way == direction::SEND { (now.send, now.receive) } else { (now.receive, now.send) };
        return Some((u64::from((own as u32).wrapping_sub(advance as u32)), opposite));
    }
    unsafe {
        let (own, opposite) = if way == direction::SEND {
            (&raw mut (*value).sent, (*value).received)
        } else {
            (&raw mut (*value).received, (*value).sent)
        };
        // Atomic, as threads may use the connection at the same time.
        Some((memory::fetch_add(own, advance), opposite))
    }
}
