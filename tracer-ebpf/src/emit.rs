//! Submission of events to the ring, and counters of events that do not fit.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns},
};
use tracer_common::event::{EventHeader, loss};

use crate::maps::{EVENTS, LOSSES, WAKE_BYTES};

/// Header of an event that occurs now, in the context of the running task.
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

/// Flags for submitting a record of `size` bytes. The reader polls every few milliseconds, as a wake-up per event would
/// cost the target more than all other work. Only the record that crosses the fill mark wakes the reader.
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

/// Flags for submitting a data record of `size` bytes; `None` if the ring counts as full. The last sixteenth is
/// reserved for events on the life of connections and processes, as losing those would also hide losses and ends.
///
/// Querying the fill level is a helper call and reads a number that the reader keeps changing. After each query,
/// `credit` bytes of this processor may pass without another.
#[inline(always)]
pub(crate) fn room(credit: *mut u64, size: usize) -> Option<u64> {
    // Includes the record header of the ring.
    let size = size as u64 + 8;
    let left = unsafe { *credit };
    if left >= size {
        unsafe { *credit = left - size };
        return Some(u64::from(BPF_RB_NO_WAKEUP));
    }
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    // The mark is at a quarter of the ring.
    let mark = u64::from(WAKE_BYTES.load());
    if waiting + size > mark * 4 - mark / 4 {
        return None;
    }
    // The credit shrinks as the ring fills, and is small enough that all processors together cannot reach the last
    // sixteenth.
    unsafe { *credit = if waiting < mark * 2 { mark / 128 } else { mark / 2048 } };
    Some(u64::from(if waiting >= mark { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }))
}

/// Counts an event that was not delivered, and its stream bytes.
#[inline(always)]
pub(crate) fn lose(cause: usize, bytes: u64) {
    if let Some(losses) = LOSSES.get_ptr_mut(0) {
        unsafe {
            (*losses).events[cause] += 1;
            (*losses).bytes[cause] += bytes;
        }
    }
}
