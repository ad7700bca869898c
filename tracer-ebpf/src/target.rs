//! Set of traced processes, and the running task.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use tracer_common::control::{alone, filter_slot};

use crate::{
    maps::{DIRECT, SELF_TGID, SINGLE_TARGET, TARGET_FILTER, TARGETS},
    memory::{fetch_add, kernel},
    offset::{TASK_PID, TASK_TGID},
};

/// The running task.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    /// Address of `struct task_struct`.
    pub(crate) address: u64,
    /// Thread group ID.
    pub(crate) tgid: u32,
}

impl Task {
    /// Reads the current task with one helper call.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let address = unsafe { bpf_get_current_task() };
        let tgid = if DIRECT.load() != 0 {
            kernel(address, TASK_TGID).unwrap_or(0)
        } else {
            (bpf_get_current_pid_tgid() >> 32) as u32
        };
        Self { address, tgid }
    }

    /// Thread ID.
    #[inline(always)]
    pub(crate) fn tid(&self) -> u32 {
        if DIRECT.load() != 0 { kernel(self.address, TASK_PID).unwrap_or(0) } else { bpf_get_current_pid_tgid() as u32 }
    }
}

/// Filter slot of the process.
#[inline(always)]
fn filter(tgid: u32) -> Option<*mut u64> {
    TARGET_FILTER.get_ptr_mut(filter_slot(u64::from(tgid)))
}

/// Whether the process may be traced. Runs for the calls of all processes, so a negative result must be cheap: one
/// comparison for a single target, otherwise one array access.
#[inline(always)]
pub(crate) fn may_be_traced(tgid: u32) -> bool {
    let single = SINGLE_TARGET.load();
    if single != 0 {
        return tgid == single;
    }
    filter(tgid).is_some_and(|slot| unsafe { slot.read_volatile() } != 0)
}

/// Whether a process that may be traced is traced.
#[inline(always)]
pub(crate) fn is_target(tgid: u32) -> bool {
    if SINGLE_TARGET.load() != 0 {
        return true;
    }
    // Nearly always the process is alone in its slot, and the hash is not read.
    let alone = filter(tgid).is_some_and(|slot| unsafe { slot.read_volatile() } == alone(tgid));
    (alone || TARGETS.get_ptr(tgid).is_some()) && tgid != SELF_TGID.load()
}

/// Whether the process is traced.
#[inline(always)]
pub(crate) fn is_traced(tgid: u32) -> bool {
    may_be_traced(tgid) && is_target(tgid)
}

/// Adds a target. Returns false if the map is full.
#[inline(always)]
pub(crate) fn add(tgid: u32) -> bool {
    if TARGETS.get_ptr(tgid).is_some() {
        return true;
    }
    // The filter first: a count without a target is harmless, a target without a count is missed.
    let Some(slot) = filter(tgid) else { return false };
    unsafe { fetch_add(slot, alone(tgid)) };
    if TARGETS.insert(tgid, 1, u64::from(aya_ebpf::bindings::BPF_NOEXIST)).is_ok() {
        return true;
    }
    unsafe { fetch_add(slot, alone(tgid).wrapping_neg()) };
    // The map is full, or another processor added the target.
    TARGETS.get_ptr(tgid).is_some()
}

/// Removes a target that has exited or may no longer be traced.
#[inline(always)]
pub(crate) fn remove(tgid: u32) {
    if TARGETS.remove(tgid).is_ok()
        && let Some(slot) = filter(tgid)
    {
        unsafe { fetch_add(slot, alone(tgid).wrapping_neg()) };
    }
}
