//! aarch64: `arch/arm64/include/asm/ptrace.h`.

use tracer_common::syscall;

use crate::memory;

pub(super) const CODES: syscall::Table = syscall::AARCH64;

/// `struct pt_regs` from its start to `syscallno`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Registers {
    first: u64,
    second_to_sixth: [u64; 5],
    number: i32,
}

/// Where `regs[1]` stands.
const SECOND: u64 = 8;
/// Where `pstate` stands, after 31 registers, `sp` and `pc`.
const PSTATE: u64 = 33 * 8;
/// Where `orig_x0` stands: `regs[0]` holds the result by now.
const ORIG_X0: u64 = 34 * 8;
/// Where `syscallno` stands.
const NUMBER: u64 = 35 * 8;
/// `PSR_MODE32_BIT`: 32-bit code, whose numbers mean other calls.
const MODE32: u64 = 0x10;

#[inline(always)]
pub(super) fn read(address: u64) -> Option<Registers> {
    if memory::kernel_at::<u64>(address + PSTATE)? & MODE32 != 0 {
        return None;
    }
    Some(Registers {
        first: memory::kernel_at(address + ORIG_X0)?,
        second_to_sixth: memory::kernel_at(address + SECOND)?,
        number: memory::kernel_at(address + NUMBER)?,
    })
}

impl Registers {
    #[inline(always)]
    pub(super) fn number(&self) -> u64 {
        // -1 ("no system call") becomes a number beyond the table.
        self.number as u32 as u64
    }

    #[inline(always)]
    pub(super) fn arguments(&self) -> [u64; 6] {
        let rest = self.second_to_sixth;
        [self.first, rest[0], rest[1], rest[2], rest[3], rest[4]]
    }
}
