//! Copies the bytes of a call from user memory directly into ring records.
//!
//! The verifier needs record sizes and loop bounds that it can prove. Records therefore come in the size classes of
//! `tracer_common::limit`, and loops are `bpf_loop` callbacks. Their shared state is in [`Transfer`]: the verifier
//! treats values in a map as unknown, so one pass proves every iteration.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_loop, bpf_probe_read_user},
    maps::ring_buf::RingBufEntry,
};
use tracer_common::{
    event::{DataEvent, flag, loss},
    limit::{MAX_PAYLOAD, PAYLOAD_CLASSES},
};

use crate::{
    control, emit,
    maps::{CALL_CAPTURE, DIRECT, EVENTS, TRANSFER},
    memory::{bounded, user},
    value::{FEW, Transfer, Vector},
};

const SMALLEST: usize = PAYLOAD_CLASSES[0];
const SMALL: usize = PAYLOAD_CLASSES[1];
const MEDIUM: usize = PAYLOAD_CLASSES[2];
const LARGEST: usize = MAX_PAYLOAD;

/// Maximum number of records per call. It bounds the loops and exceeds any sensible capture limit.
const MAX_RECORDS: u32 = 4096;
/// `UIO_MAXIOV`: maximum number of buffers per call.
const MAX_VECTORS: u32 = 1024;

/// The transfer of this processor.
#[inline(always)]
pub(crate) fn current() -> Option<*mut Transfer> {
    TRANSFER.get_ptr_mut(0)
}

/// A ring record with room for `N` payload bytes.
#[repr(C)]
struct Record<const N: usize> {
    event: DataEvent,
    payload: [u8; N],
}

/// Sends the events of a call whose `event`, buffers and `sequence` are set.
#[inline(always)]
pub(crate) fn deliver(transfer: *mut Transfer) {
    let event = unsafe { &raw mut (*transfer).event };
    let moved = unsafe { (*event).result };
    if moved <= 0 {
        return bare(transfer);
    }
    let moved = moved as u32;
    let allowance = unsafe {
        control::allowance((*event).connection, (*event).direction, (*event).position, moved, (*transfer).sequence != 0)
    };
    if allowance.silent {
        return;
    }
    unsafe {
        if allowance.skip >= moved {
            (*event).header.flags |= flag::LENGTH_ONLY;
        }
        if (*event).header.flags & flag::LENGTH_ONLY != 0 {
            return bare(transfer);
        }
        let wanted = moved - allowance.skip;
        let most = CALL_CAPTURE.load();
        (*transfer).offset = allowance.skip;
        (*transfer).limit = if wanted > most { allowance.skip + most } else { moved };
        (*transfer).vector = 0;
        (*transfer).vector_skip = u64::from(allowance.skip);
        if (*transfer).vectors != 0 && !flatten(transfer) {
            return;
        }
        if wanted as usize <= SMALLEST {
            // The common case needs no loop.
            record::<SMALLEST>(transfer, wanted);
        } else {
            bpf_loop(MAX_RECORDS, flat_step as *mut c_void, core::ptr::null_mut(), 0);
        }
    }
}

/// Sends the events of a call with several buffers. If the first buffer holds all wanted bytes, makes it the only one,
/// sends nothing and returns true.
#[inline(always)]
unsafe fn flatten(transfer: *mut Transfer) -> bool {
    unsafe {
        let count = (*transfer).vector_count;
        let wanted = (*transfer).limit;
        let vectors = &raw mut (*transfer).few;
        for word in 0..2 * FEW {
            // Word by word, as the compiler would call its byte-wise `memset`.
            vectors.cast::<u64>().add(word).write_volatile(0);
        }
        let known = if count < FEW as u64 { count as u32 } else { FEW as u32 };
        let size = bounded::<{ FEW * size_of::<Vector>() }>(known * size_of::<Vector>() as u32);
        if bpf_probe_read_user(vectors.cast(), size, (*transfer).vectors as *const _) == 0 {
            let vectors = &*vectors;
            if vectors[0].length >= u64::from(wanted) {
                (*transfer).buffer = vectors[0].base;
                return true;
            }
            if DIRECT.load() != 0 && count <= FEW as u64 && (*transfer).offset == 0 && wanted as usize <= SMALL {
                if wanted as usize <= SMALLEST {
                    gather_few::<SMALLEST, { 2 * SMALLEST }>(transfer, vectors, wanted);
                } else {
                    gather_few::<SMALL, { 2 * SMALL }>(transfer, vectors, wanted);
                }
                return false;
            }
        }
        bpf_loop(MAX_RECORDS, gather_step as *mut c_void, core::ptr::null_mut(), 0);
        false
    }
}

/// Sends a small call with few buffers as one record.
#[inline(always)]
unsafe fn gather_few<const N: usize, const ROOM: usize>(transfer: *mut Transfer, vectors: &[Vector; FEW], wanted: u32) {
    let Some((mut record, wake)) = reserve::<Record<ROOM>>(transfer) else {
        return lose_rest(transfer);
    };
    let place = record.as_mut_ptr();
    let mut filled = 0;
    let mut fault = false;
    unsafe {
        let payload = (&raw mut (*place).payload).cast::<u8>();
        for vector in vectors {
            if filled >= wanted {
                break;
            }
            let left = u64::from(wanted - filled);
            let size = bounded::<N>(if vector.length < left { vector.length as u32 } else { left as u32 });
            // Each is bounded separately; the record has room for both.
            let start = bounded::<N>(filled);
            if bpf_probe_read_user(payload.add(start as usize).cast(), size, vector.base as *const _) != 0 {
                fault = true;
                break;
            }
            filled += size;
        }
        finish(transfer, &raw mut (*place).event, filled, fault || filled != wanted);
    }
    record.submit(wake);
}

/// Reserves a record with payload, and returns the flags for its submission.
#[inline(always)]
fn reserve<T: 'static>(transfer: *mut Transfer) -> Option<(RingBufEntry<T>, u64)> {
    let wake = emit::room(unsafe { &raw mut (*transfer).credit }, size_of::<T>())?;
    Some((EVENTS.reserve::<T>(0)?, wake))
}

/// Writes the event that every record of the call begins with.
#[inline(always)]
unsafe fn start(event: *mut DataEvent, transfer: *mut Transfer) {
    const WORDS: usize = size_of::<DataEvent>() / 8;
    unsafe {
        // Copied word by word without overlap, as the compiler would call `memmove` for the structure.
        let from = (&raw const (*transfer).event).cast::<u64>();
        core::ptr::copy_nonoverlapping(from, event.cast::<u64>(), WORDS);
    }
}

/// Sends an event without payload.
#[inline(always)]
fn bare(transfer: *mut Transfer) {
    let moved = unsafe { (*transfer).event.result };
    let reserved = if moved > 0 {
        reserve::<DataEvent>(transfer)
    } else {
        // The end of a stream or an error belongs to the life of the connection.
        EVENTS.reserve::<DataEvent>(0).map(|record| (record, emit::wake_flags(size_of::<DataEvent>())))
    };
    let Some((mut record, wake)) = reserved else {
        return emit::lose(loss::RING_FULL, if moved > 0 { moved as u64 } else { 0 });
    };
    unsafe {
        let event = record.as_mut_ptr();
        start(event, transfer);
        (*event).header.flags |= flag::LAST;
        (*event).header.length = size_of::<DataEvent>() as u32;
    }
    record.submit(wake);
}

/// Sends one record of a call with a single buffer. Returns 1 after the last.
unsafe extern "C" fn flat_step(_index: u64, _context: *mut c_void) -> i64 {
    let Some(transfer) = current() else { return 1 };
    let (offset, limit) = unsafe { ((*transfer).offset, (*transfer).limit) };
    if offset >= limit {
        return 1;
    }
    let left = limit - offset;
    let goes_on = if left as usize <= SMALLEST {
        record::<SMALLEST>(transfer, left)
    } else if left as usize <= SMALL {
        record::<SMALL>(transfer, left)
    } else if left as usize <= MEDIUM {
        record::<MEDIUM>(transfer, left)
    } else {
        record::<LARGEST>(transfer, if left as usize > LARGEST { LARGEST as u32 } else { left })
    };
    i64::from(!goes_on)
}

/// Copies `size` bytes of the buffer into a record. Returns false if the call is complete.
#[inline(always)]
fn record<const N: usize>(transfer: *mut Transfer, size: u32) -> bool {
    let Some((mut record, wake)) = reserve::<Record<N>>(transfer) else {
        lose_rest(transfer);
        return false;
    };
    let size = bounded::<N>(size);
    let place = record.as_mut_ptr();
    let read = unsafe {
        let source = (*transfer).buffer + u64::from((*transfer).offset);
        bpf_probe_read_user((&raw mut (*place).payload).cast(), size, source as *const _) == 0
    };
    let goes_on = finish(transfer, unsafe { &raw mut (*place).event }, if read { size } else { 0 }, !read);
    record.submit(wake);
    goes_on
}

/// Completes the event of a record and advances the transfer. Returns false if the call is complete.
#[inline(always)]
fn finish(transfer: *mut Transfer, event: *mut DataEvent, captured: u32, fault: bool) -> bool {
    unsafe {
        let offset = (*transfer).offset;
        let limit = (*transfer).limit;
        let done = offset + captured;
        let mut flags = (*transfer).event.header.flags;
        if fault {
            flags |= flag::FAULT | flag::LAST;
            emit::lose(loss::FAULT, u64::from(limit.wrapping_sub(done)));
        } else if done >= limit {
            flags |= flag::LAST;
            if limit < (*transfer).event.result as u32 {
                flags |= flag::TRUNCATED;
            }
        }
        start(event, transfer);
        (*event).header.flags = flags;
        (*event).header.length = size_of::<DataEvent>() as u32 + captured;
        (*event).offset = offset;
        (*event).captured = captured;
        (*transfer).offset = done;
        flags & flag::LAST == 0
    }
}

/// Counts the loss from a full ring: one event, and all remaining bytes of the call.
#[inline(always)]
fn lose_rest(transfer: *mut Transfer) {
    unsafe {
        let moved = (*transfer).event.result as u32;
        emit::lose(loss::RING_FULL, u64::from(moved.wrapping_sub((*transfer).offset)));
    }
}

/// Sends one record of a call with several buffers. Returns 1 after the last.
unsafe extern "C" fn gather_step(_index: u64, _context: *mut c_void) -> i64 {
    let Some(transfer) = current() else { return 1 };
    let (offset, limit) = unsafe { ((*transfer).offset, (*transfer).limit) };
    if offset >= limit {
        return 1;
    }
    let left = limit - offset;
    let goes_on = if left as usize <= SMALLEST {
        gather::<SMALLEST, { 2 * SMALLEST }>(transfer, left)
    } else if left as usize <= SMALL {
        gather::<SMALL, { 2 * SMALL }>(transfer, left)
    } else if left as usize <= MEDIUM {
        gather::<MEDIUM, { 2 * MEDIUM }>(transfer, left)
    } else {
        gather::<LARGEST, { 2 * LARGEST }>(transfer, if left as usize > LARGEST { LARGEST as u32 } else { left })
    };
    i64::from(!goes_on)
}

/// A record that is being filled from several buffers.
struct Filling {
    payload: *mut u8,
    filled: u64,
    wanted: u64,
    fault: u64,
}

/// Copies `size` bytes of the next buffers into a record. The record (`ROOM`) is twice as large as its payload (`N`),
/// as the verifier bounds start and size of a copy by `N` each, but not their sum.
#[inline(always)]
fn gather<const N: usize, const ROOM: usize>(transfer: *mut Transfer, size: u32) -> bool {
    let Some((mut record, wake)) = reserve::<Record<ROOM>>(transfer) else {
        lose_rest(transfer);
        return false;
    };
    let place = record.as_mut_ptr();
    let mut filling = Filling {
        payload: unsafe { (&raw mut (*place).payload).cast() },
        filled: 0,
        wanted: u64::from(size),
        fault: 0,
    };
    unsafe { bpf_loop(MAX_VECTORS, copy_step::<N> as *mut c_void, (&raw mut filling).cast(), 0) };
    let captured = filling.filled as u32;
    // Fewer bytes than the call moved means that buffers are missing, which counts as unreadable memory.
    let goes_on =
        finish(transfer, unsafe { &raw mut (*place).event }, captured, filling.fault != 0 || captured != size);
    record.submit(wake);
    goes_on
}

/// Copies from the next buffer. Returns 1 when the record is full.
unsafe extern "C" fn copy_step<const N: usize>(_index: u64, context: *mut c_void) -> i64 {
    let filling = context.cast::<Filling>();
    let Some(transfer) = current() else { return 1 };
    unsafe {
        let filled = (*filling).filled;
        let wanted = (*filling).wanted;
        if filled >= wanted || filled >= N as u64 || (*transfer).vector >= (*transfer).vector_count {
            return 1;
        }
        let Some(vector) = user::<Vector>((*transfer).vectors + (*transfer).vector * 16) else {
            (*filling).fault = 1;
            return 1;
        };
        let skip = (*transfer).vector_skip;
        if skip >= vector.length {
            (*transfer).vector_skip = skip - vector.length;
            (*transfer).vector += 1;
            return 0;
        }
        let here = vector.length - skip;
        let size = if here > wanted - filled { wanted - filled } else { here };
        let size = bounded::<N>(size as u32);
        let status =
            bpf_probe_read_user((*filling).payload.add(filled as usize).cast(), size, (vector.base + skip) as *const _);
        if status != 0 {
            (*filling).fault = 1;
            return 1;
        }
        (*filling).filled = filled + u64::from(size);
        if u64::from(size) == here {
            (*transfer).vector += 1;
            (*transfer).vector_skip = 0;
        } else {
            (*transfer).vector_skip = skip + u64::from(size);
        }
    }
    0
}
