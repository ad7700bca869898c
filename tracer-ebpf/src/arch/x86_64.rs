//! x86-64: `arch/x86/include/asm/ptrace.h`.

use tracer_common::syscall;

pub(super) const CODES: syscall::Table = syscall::X86_64;

/// Offsets of `rdi`, `rsi`, `rdx`, `r10`, `r8` and `r9` in `struct pt_regs`.
pub(super) const ARGUMENTS: [u32; 6] = [112, 104, 96, 56, 72, 64];
/// Offset of `orig_rax`.
const ORIG_AX: u32 = 120;
/// Offset of `cs`.
const CS: u32 = 136;
/// `__USER_CS`: code in 64-bit mode. Other code uses the 32-bit system call numbers.
const USER_CS: u64 = 0x33;

#[inline(always)]
pub(super) fn is_compat(register: &impl Fn(u32) -> u64) -> bool {
    register(CS) & 0xffff != USER_CS
}

#[inline(always)]
pub(super) fn number(register: &impl Fn(u32) -> u64) -> u64 {
    register(ORIG_AX)
}
