//! x86-64: `arch/x86/include/asm/ptrace.h`.

use tracer_common::syscall;

use crate::memory;

pub(super) const CODES: syscall::Table = syscall::X86_64;

/// `struct pt_regs` from `r10` to `cs`: one read takes all that is needed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Registers {
    r10: u64,
    r9: u64,
    r8: u64,
    ax: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
    ip: u64,
    cs: u64,
}

/// Where `r10` stands in `struct pt_regs`.
const R10: u64 = 56;
/// `__USER_CS`: code that runs in 64-bit mode. Others use the 32-bit numbers, which mean other calls.
const USER_CS: u64 = 0x33;

#[inline(always)]
pub(super) fn read(address: u64) -> Option<Registers> {
    memory::kernel_at::<Registers>(address + R10).filter(|registers| registers.cs & 0xffff == USER_CS)
}

impl Registers {
    #[inline(always)]
    pub(super) fn number(&self) -> u64 {
        self.orig_ax
    }

    #[inline(always)]
    pub(super) fn arguments(&self) -> [u64; 6] {
        [self.di, self.si, self.dx, self.r10, self.r8, self.r9]
    }
}
