//! What user space asked not to capture.

use tracer_common::{
    control::{filter_slot, restraint},
    event::direction,
};

use crate::maps::{RESTRAINT_FILTER, RESTRAINTS};

/// What may be copied of a call.
pub(crate) struct Allowance {
    /// Bytes at the start of the call that are not wanted.
    pub(crate) skip: u32,
    /// No event at all.
    pub(crate) silent: bool,
}

/// Looks up what user space wants of a call that moved `moved` bytes from `position` on.
#[inline(always)]
pub(crate) fn allowance(inode: u64, way: u8, position: u64, moved: u32, sequence: bool) -> Allowance {
    let mut allowance = Allowance { skip: 0, silent: false };
    match RESTRAINT_FILTER.get(filter_slot(inode)) {
        Some(slot) if *slot != 0 => {}
        _ => return allowance,
    }
    let Some(found) = RESTRAINTS.get_ptr_mut(inode) else {
        return allowance;
    };
    let flags = unsafe { (*found).flags };
    if flags & (restraint::MUTED | restraint::SILENT) != 0 {
        allowance.skip = moved;
        allowance.silent = flags & restraint::SILENT != 0;
        return allowance;
    }
    let (bit, until) = if way == direction::SEND {
        (restraint::SKIP_SEND, unsafe { (*found).skip_until[0] })
    } else {
        (restraint::SKIP_RECEIVE, unsafe { (*found).skip_until[1] })
    };
    if flags & bit == 0 {
        return allowance;
    }
    let ahead = if sequence {
        i64::from((until as u32).wrapping_sub(position as u32) as i32)
    } else {
        until.wrapping_sub(position) as i64
    };
    if ahead <= 0 {
        // Passed. Forgotten, since sequence numbers wrap and it would seem to be ahead again.
        unsafe { (*found).flags = flags & !bit };
    } else if ahead >= i64::from(moved) {
        allowance.skip = moved;
    } else {
        allowance.skip = ahead as u32;
    }
    allowance
}
