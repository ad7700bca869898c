//! Reads of memory by address.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user},
};
use tracer_common::control::CAST_CALL;

use crate::maps::{DIRECT, WORD_TYPE};

/// Reads a `T` from kernel memory at `base` plus `offset`.
#[inline(always)]
pub(crate) fn kernel<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
    kernel_at(base + u64::from(offset.load()))
}

/// Reads a `T` from kernel memory. An invalid address gives zeroes.
#[inline(always)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "callers chain it with pointers that may be null and with reads of user memory"
)]
pub(crate) fn kernel_at<T: Copy>(address: u64) -> Option<T> {
    if size_of::<T>() <= size_of::<u64>() && DIRECT.load() != 0 {
        let word = word(address);
        // The first bytes of the word are its low bytes on little-endian machines.
        return Some(unsafe { core::mem::transmute_copy(&word) });
    }
    // The helper clears what it cannot read, like a direct load. Its status is ignored: each check is a branch, and
    // verifiers of kernels without direct loads follow all combinations of branches.
    let mut value = MaybeUninit::<T>::uninit();
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        Some(value.assume_init())
    }
}

/// Loads eight bytes of kernel memory. The verifier permits the load after `bpf_rdonly_cast` has typed the address as a
/// structure that begins with an integer. The kernel turns this call into a register move, so the load takes two
/// instructions and an address check, while `bpf_probe_read_kernel` is four calls deep.
///
/// User space replaces the call in the assembly by that function, whose BTF ID differs between kernels.
#[inline(always)]
fn word(address: u64) -> u64 {
    let pointer: *const u64;
    unsafe {
        asm!(
            "call {call}",
            call = const CAST_CALL,
            inlateout("r1") address => _,
            inlateout("r2") u64::from(WORD_TYPE.load()) => _,
            lateout("r0") pointer,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nomem, nostack),
        );
        pointer.read_volatile()
    }
}

/// Reads a pointer from kernel memory; `None` if it is null.
#[inline(always)]
pub(crate) fn pointer(base: u64, offset: &Global<u32>) -> Option<u64> {
    kernel::<u64>(base, offset).filter(|pointer| *pointer != 0)
}

/// Reads a `T` from the memory of the running process; `None` on a fault.
#[inline(always)]
pub(crate) fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let status = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    (status == 0).then(|| unsafe { value.assume_init() })
}

/// Atomically adds to a number in a map and returns its previous value. (The standard library lacks this operation for
/// targets without compare-and-swap; the kernel has it since 5.12.)
#[inline(always)]
pub(crate) unsafe fn fetch_add(place: *mut u64, addend: u64) -> u64 {
    let mut value = addend;
    unsafe {
        asm!("{value} = atomic_fetch_add((u64 *)({place} + 0), {value})", value = inout(reg) value, place = in(reg) place);
    }
    value
}

/// Returns `size`, which must be at most `N`, and makes this bound visible to the verifier.
#[inline(always)]
pub(crate) fn bounded<const N: usize>(size: u32) -> u32 {
    let mut size = u64::from(size);
    // Assembly, for two reasons. The compiler knows the bound and would remove the check. It may also put `N` into a
    // register and swap the operands: verifiers before Linux 6.8 resolve a comparison with a constant only if the
    // constant is on the right (`is_branch_taken`). They would follow a branch that is never taken, with a range whose
    // lower bound exceeds its upper bound, and reject the code after it.
    unsafe { asm!("if {0} <= {1} goto +1", "{0} = {1}", inout(reg) size, const N) };
    size as u32
}
