//! Capture restrictions set by user space.

use tracer_common::{
    control::{filter_slot, restraint},
    event::direction,
};

use crate::maps::{RESTRAINT_FILTER, RESTRAINTS};

/// Restrictions that apply to a call.
pub(crate) struct Allowance {
    /// Number of bytes at the start of the call that are not captured.
    pub(crate) skip: u32,
    /// Whether the call produces no event.
    pub(crate) silent: bool,
}

/// Looks up the restrictions for a call that moved `moved` bytes from `position` on.
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
        // The position was passed. The bit is cleared, as sequence numbers wrap and the position would appear ahead
        // again.
        unsafe { (*found).flags = flags & !bit };
    } else if ahead >= i64::from(moved) {
        allowance.skip = moved;
    } else {
        allowance.skip = ahead as u32;
    }
    allowance
}
