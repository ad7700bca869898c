//! All maps, and the read-only globals that user space sets.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use tracer_common::{
    control::{Connection, FILTER_SLOTS, Losses, MAX_RESTRAINTS, Restraint},
    limit,
};

use crate::value::{Announcement, Familiar, Transfer};

/// Number of slots of [`DESCRIPTOR_FILTER`]; a power of two. Up to this number, the descriptors of one process do not
/// share slots.
pub(crate) const DESCRIPTOR_SLOTS: u32 = 65_536;

/// Number of slots of [`FAMILIAR`]; a power of two.
pub(crate) const FAMILIAR_SLOTS: u32 = 16_384;

/// Ring buffer of events. User space sets its size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(32 << 20, 0);

/// Traced processes.
#[map]
pub(crate) static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(limit::MAX_TARGETS, 0);

/// Count and sum of the targets in each slot.
#[map]
pub(crate) static TARGET_FILTER: Array<u64> = Array::with_max_entries(FILTER_SLOTS, 0);

/// Known connections.
#[map]
pub(crate) static CONNECTIONS: LruHashMap<u64, Connection> = LruHashMap::with_max_entries(limit::MAX_CONNECTIONS, 0);

/// Announced TCP connections, one per slot. Checked before [`CONNECTIONS`], which takes a helper call.
#[map]
pub(crate) static FAMILIAR: Array<Familiar> = Array::with_max_entries(FAMILIAR_SLOTS, 0);

/// Capture restrictions of connections.
#[map]
pub(crate) static RESTRAINTS: LruHashMap<u64, Restraint> = LruHashMap::with_max_entries(MAX_RESTRAINTS, 0);

/// Non-zero if a connection in the slot may have a restriction.
#[map]
pub(crate) static RESTRAINT_FILTER: Array<u32> = Array::with_max_entries(FILTER_SLOTS, 0);

/// Non-zero if a descriptor in the slot named a connection when it was last used.
#[map]
pub(crate) static DESCRIPTOR_FILTER: Array<u32> = Array::with_max_entries(DESCRIPTOR_SLOTS, 0);

/// Loss counters.
#[map]
pub(crate) static LOSSES: PerCpuArray<Losses> = PerCpuArray::with_max_entries(1, 0);

/// The system call being processed on this processor. It is too large for the stack, which callbacks share. No other
/// run of the program can use it at the same time, as the program runs with preemption off and never in an interrupt.
#[map]
pub(crate) static TRANSFER: PerCpuArray<Transfer> = PerCpuArray::with_max_entries(1, 0);

/// The SOCKET event being sent on this processor; used like [`TRANSFER`].
#[map]
pub(crate) static ANNOUNCEMENT: PerCpuArray<Announcement> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
pub(crate) static SELF_TGID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static SINGLE_TARGET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static FOLLOW: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
pub(crate) static OWNED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static OWNER_UID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static OWNER_GID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static DIRECT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static WORD_TYPE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static CALL_CAPTURE: Global<u32> = Global::new(limit::DEFAULT_CALL_CAPTURE);
#[unsafe(no_mangle)]
pub(crate) static WAKE_BYTES: Global<u32> = Global::new(2 << 20);
