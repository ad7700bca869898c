//! `recvmmsg` and `sendmmsg`: several messages per call.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use tracer_common::event::flag;

use crate::{memory::user, payload, value::Transfer};

/// `UIO_MAXIOV`: maximum number of messages per call.
const MAX_MESSAGES: u32 = 1024;
/// Size of `struct mmsghdr`.
const SIZE: u64 = 64;
/// Offset of `msg_len` in it.
const LENGTH: u64 = 56;

/// `struct user_msghdr` up to the last field needed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct MessageHeader {
    name: u64,
    name_length: u64,
    pub(super) vectors: u64,
    pub(super) vector_count: u64,
}

struct Sum {
    messages: u64,
    bytes: u64,
}

/// Number of bytes that `count` messages moved.
#[inline(always)]
pub(super) fn total(messages: u64, count: u32) -> u64 {
    let mut sum = Sum { messages, bytes: 0 };
    let count = if count > MAX_MESSAGES { MAX_MESSAGES } else { count };
    unsafe { bpf_loop(count, sum_step as *mut c_void, (&raw mut sum).cast(), 0) };
    sum.bytes
}

unsafe extern "C" fn sum_step(index: u64, context: *mut c_void) -> i64 {
    let sum = context.cast::<Sum>();
    unsafe {
        if let Some(length) = user::<u32>((*sum).messages + index * SIZE + LENGTH) {
            (*sum).bytes += u64::from(length);
        }
    }
    0
}

/// Sends the events of each message.
#[inline(always)]
pub(super) unsafe fn deliver(transfer: *mut Transfer, messages: u64, count: u32, flags: u16) {
    unsafe {
        (*transfer).messages = messages;
        (*transfer).message_flags = flags;
        let count = if count > MAX_MESSAGES { MAX_MESSAGES } else { count };
        bpf_loop(count, message_step as *mut c_void, core::ptr::null_mut(), 0);
    }
}

unsafe extern "C" fn message_step(index: u64, _context: *mut c_void) -> i64 {
    let Some(transfer) = payload::current() else { return 1 };
    unsafe {
        let message = (*transfer).messages + index * SIZE;
        let Some(length) = user::<u32>(message + LENGTH) else { return 1 };
        let flags = (*transfer).message_flags;
        (*transfer).event.header.flags = flags;
        (*transfer).event.result = length as i32;
        (*transfer).buffer = 0;
        (*transfer).vectors = 0;
        if let Some(header) = user::<MessageHeader>(message) {
            (*transfer).vectors = header.vectors;
            (*transfer).vector_count = header.vector_count;
        }
        payload::deliver(transfer);
        if flags & (flag::PEEK | flag::OUT_OF_BAND) == 0 {
            let next = (*transfer).event.position + u64::from(length);
            (*transfer).event.position = if (*transfer).sequence != 0 { next & 0xffff_ffff } else { next };
        }
    }
    0
}
