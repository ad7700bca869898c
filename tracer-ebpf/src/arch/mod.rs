//! Processor-specific locations of system call number and arguments at the return of a call.

#[cfg_attr(bpf_target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(not(bpf_target_arch = "aarch64"), path = "x86_64.rs")]
mod registers;

use tracer_common::syscall::{NONE, TABLE_LENGTH, Table};

use crate::memory::kernel_at;

/// A system call that has returned.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Action of the probes: a code of `tracer_common::syscall`.
    pub(crate) code: u8,
    /// Arguments of the call.
    pub(crate) arguments: [u64; 6],
}

static CODES: Table = registers::CODES;

/// Returns the action for the call whose `struct pt_regs` is at this address, which the tracepoint passed; `None` for
/// calls that the probes ignore.
#[inline(always)]
pub(crate) fn code(registers: u64) -> Option<u8> {
    let number = registers::number(&|offset| register(registers, offset));
    if number >= TABLE_LENGTH as u64 {
        return None;
    }
    // Volatile, so that the compiler keeps the table instead of building a chain of comparisons.
    let code = unsafe { core::ptr::read_volatile(&raw const CODES[number as usize]) };
    (code != NONE).then_some(code)
}

/// Reads the call; `None` if the probes ignore it.
#[inline(always)]
pub(crate) fn call(registers: u64) -> Option<Call> {
    let code = code(registers)?;
    if registers::is_compat(&|offset| register(registers, offset)) {
        return None;
    }
    Some(Call { code, arguments: registers::ARGUMENTS.map(|offset| register(registers, offset)) })
}

#[inline(always)]
fn register(registers: u64, offset: u32) -> u64 {
    kernel_at(registers + u64::from(offset)).unwrap_or(0)
}
