//! What differs between processors: where a system call's number and arguments stand when it returns.

#[cfg_attr(bpf_target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(not(bpf_target_arch = "aarch64"), path = "x86_64.rs")]
mod registers;

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use tracer_common::syscall::{NONE, TABLE_LENGTH, Table};

use crate::{
    maps::DIRECT,
    memory::{kernel_at, typed},
};

/// A system call that has returned.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// What the probes do with it: a code of `tracer_common::syscall`.
    pub(crate) code: u8,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

static CODES: Table = registers::CODES;

/// Reads the call from `struct pt_regs`, whose address the tracepoint gave; none where it is not one of ours.
#[inline(always)]
pub(crate) fn call(registers: u64) -> Option<Call> {
    if DIRECT.load() != 0 {
        // The same structure, but by a pointer whose type the verifier knows.
        let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8 };
        decode(|offset| unsafe { typed::<u64>(registers, offset) })
    } else {
        decode(|offset| kernel_at::<u64>(registers + u64::from(offset)).unwrap_or(0))
    }
}

#[inline(always)]
fn decode(register: impl Fn(u32) -> u64) -> Option<Call> {
    if registers::is_compat(&register) {
        return None;
    }
    let number = registers::number(&register);
    if number >= TABLE_LENGTH as u64 {
        return None;
    }
    // Volatile: the table must stay a table, not become a chain of comparisons.
    let code = unsafe { core::ptr::read_volatile(&raw const CODES[number as usize]) };
    if code == NONE {
        return None;
    }
    Some(Call { code, arguments: registers::ARGUMENTS.map(register) })
}
