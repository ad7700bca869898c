//! Which processes are traced.

use tracer_common::control::filter_slot;

use crate::maps::{SELF_TGID, SINGLE_TARGET, TARGET_FILTER, TARGETS};

/// True if the process may be traced. Every system call of the machine asks this, so the answer "no" must be cheap:
/// one comparison where there is one target, else one array element.
#[inline(always)]
pub(crate) fn may_be_traced(tgid: u32) -> bool {
    let single = SINGLE_TARGET.load();
    if single != 0 {
        return tgid == single;
    }
    matches!(TARGET_FILTER.get(filter_slot(u64::from(tgid))), Some(slot) if *slot != 0)
}

/// True if the process, which may be traced, is.
#[inline(always)]
pub(crate) fn is_target(tgid: u32) -> bool {
    SINGLE_TARGET.load() != 0 || (tgid != SELF_TGID.load() && TARGETS.get_ptr(tgid).is_some())
}

/// True if the process is traced.
#[inline(always)]
pub(crate) fn is_traced(tgid: u32) -> bool {
    may_be_traced(tgid) && is_target(tgid)
}

/// Traces one more process. False where the map is full.
#[inline(always)]
pub(crate) fn add(tgid: u32) -> bool {
    // The filter first: a set slot without a target is harmless, the reverse is not. Slots are never cleared.
    if let Some(slot) = TARGET_FILTER.get_ptr_mut(filter_slot(u64::from(tgid))) {
        unsafe { slot.write_volatile(1) };
    }
    TARGETS.insert(tgid, 1, 0).is_ok()
}

/// The process is gone.
#[inline(always)]
pub(crate) fn remove(tgid: u32) {
    // Failing means that it was not there.
    let _ = TARGETS.remove(tgid);
}
