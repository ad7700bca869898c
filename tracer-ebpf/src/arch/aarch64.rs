//! aarch64: `arch/arm64/include/asm/ptrace.h`.

use tracer_common::syscall;

pub(super) const CODES: syscall::Table = syscall::AARCH64;

/// Where `orig_x0` (`x0` holds the result by now) and `x1` to `x5` stand in `struct pt_regs`.
pub(super) const ARGUMENTS: [u32; 6] = [34 * 8, 8, 16, 24, 32, 40];
/// Where `pstate` stands, after 31 registers, `sp` and `pc`.
const PSTATE: u32 = 33 * 8;
/// Where `syscallno` stands.
const NUMBER: u32 = 35 * 8;
/// `PSR_MODE32_BIT`: 32-bit code, whose numbers mean other calls.
const MODE32: u64 = 0x10;

#[inline(always)]
pub(super) fn is_compat(register: &impl Fn(u32) -> u64) -> bool {
    register(PSTATE) & MODE32 != 0
}

#[inline(always)]
pub(super) fn number(register: &impl Fn(u32) -> u64) -> u64 {
    // Of 32 bits; -1 ("no system call") becomes a number beyond the table.
    register(NUMBER) & 0xffff_ffff
}
