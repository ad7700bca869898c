//! Putting events into the ring, and counting those that do not fit.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns},
};
use tracer_common::event::{EventHeader, loss};

use crate::maps::{EVENTS, LOSSES, WAKE_BYTES};

/// The common part of an event that happens now, in the context of the task that runs.
#[inline(always)]
pub(crate) fn header(kind: u16, flags: u16, length: usize) -> EventHeader {
    let id = bpf_get_current_pid_tgid();
    EventHeader {
        time_ns: unsafe { bpf_ktime_get_ns() },
        kind,
        flags,
        length: length as u32,
        tgid: (id >> 32) as u32,
        tid: id as u32,
    }
}

/// Sends an event without payload.
#[inline(always)]
pub(crate) fn send<T: Copy + 'static>(event: T) {
    match EVENTS.reserve::<T>(0) {
        Some(mut record) => {
            record.write(event);
            record.submit(wake_flags(size_of::<T>()));
        }
        None => lose(loss::RING_FULL, 0),
    }
}

/// Flags to submit a record of `size` bytes with. The reader comes by itself every few milliseconds; waking it for
/// each event would cost the target more than all the rest. It is woken only as the ring gets fuller than it should,
/// by the record that crosses the mark.
#[inline(always)]
pub(crate) fn wake_flags(size: usize) -> u64 {
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let mark = u64::from(WAKE_BYTES.load());
    if waiting >= mark && waiting - mark < size as u64 + 8 {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Flags to submit a data record of `size` bytes with; none where the ring must be taken for full. The last sixteenth
/// is left to events that tell of the life of connections and processes: without them, what was lost of a connection
/// could not even be told, nor that it has ended.
///
/// How full the ring is, is a helper call and a look at a number that the reader keeps changing. So after each look, some
/// bytes may pass without one: `credit`, of this processor.
#[inline(always)]
pub(crate) fn room(credit: *mut u64, size: usize) -> Option<u64> {
    // With the record's own header.
    let size = size as u64 + 8;
    let left = unsafe { *credit };
    if left >= size {
        unsafe { *credit = left - size };
        return Some(u64::from(BPF_RB_NO_WAKEUP));
    }
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    // The mark stands at a quarter.
    let mark = u64::from(WAKE_BYTES.load());
    if waiting + size > mark * 4 - mark / 4 {
        return None;
    }
    // Less of it as the ring fills, and never so much that all processors together reach the last sixteenth.
    unsafe { *credit = if waiting < mark * 2 { mark / 128 } else { mark / 2048 } };
    Some(u64::from(if waiting >= mark { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }))
}

/// Counts an event that was not delivered, and the stream bytes behind it.
#[inline(always)]
pub(crate) fn lose(cause: usize, bytes: u64) {
    if let Some(losses) = LOSSES.get_ptr_mut(0) {
        unsafe {
            (*losses).events[cause] += 1;
            (*losses).bytes[cause] += bytes;
        }
    }
}
