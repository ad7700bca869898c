//! What differs between processors: where a system call's number and arguments stand when it returns.

#[cfg_attr(bpf_target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(not(bpf_target_arch = "aarch64"), path = "x86_64.rs")]
mod registers;

use tracer_common::syscall::{NONE, TABLE_LENGTH, Table};

/// A system call that has returned.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// What the probes do with it: a code of `tracer_common::syscall`.
    pub(crate) code: u8,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

static CODES: Table = registers::CODES;

/// Reads the call from `struct pt_regs` at `registers`; none where it is not one of ours.
#[inline(always)]
pub(crate) fn call(registers: u64) -> Option<Call> {
    let registers = registers::read(registers)?;
    let number = registers.number();
    if number >= TABLE_LENGTH as u64 {
        return None;
    }
    // Volatile: the table must stay a table, not become a chain of comparisons.
    let code = unsafe { core::ptr::read_volatile(&raw const CODES[number as usize]) };
    (code != NONE).then(|| Call { code, arguments: registers.arguments() })
}
