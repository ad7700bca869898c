//! aarch64: `arch/arm64/include/asm/ptrace.h`.

use tracer_common::syscall;

pub(super) const CODES: syscall::Table = syscall::AARCH64;

/// Offsets in `struct pt_regs` of `orig_x0` (`x0` already holds the result) and `x1` to `x5`.
pub(super) const ARGUMENTS: [u32; 6] = [34 * 8, 8, 16, 24, 32, 40];
/// Offset of `pstate`, after 31 registers, `sp` and `pc`.
const PSTATE: u32 = 33 * 8;
/// Offset of `syscallno`.
const NUMBER: u32 = 35 * 8;
/// `PSR_MODE32_BIT`: 32-bit code, which uses other system call numbers.
const MODE32: u64 = 0x10;

#[inline(always)]
pub(super) fn is_compat(register: &impl Fn(u32) -> u64) -> bool {
    register(PSTATE) & MODE32 != 0
}

#[inline(always)]
pub(super) fn number(register: &impl Fn(u32) -> u64) -> u64 {
    // The register has 32 bits; -1 ("no system call") becomes a number beyond the table.
    register(NUMBER) & 0xffff_ffff
}
