//! Reading memory by address.

use core::mem::MaybeUninit;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user},
};

/// Reads a `T` from kernel memory, `offset` bytes after `base`.
#[inline(always)]
pub(crate) fn kernel<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
    kernel_at(base + u64::from(offset.load()))
}

/// Reads a `T` from kernel memory.
#[inline(always)]
pub(crate) fn kernel_at<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let status =
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    (status == 0).then(|| unsafe { value.assume_init() })
}

/// Reads a `T` from memory that the verifier knows by type: the stack, or a structure that was reached from the running
/// task (where a bad address gives zeroes).
#[inline(always)]
pub(crate) unsafe fn typed<T: Copy>(base: *const u8, offset: u32) -> T {
    // Volatile: one load of just this size, or the verifier sees an access to no member.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// Reads a pointer from kernel memory; none where it is null.
#[inline(always)]
pub(crate) fn pointer(base: u64, offset: &Global<u32>) -> Option<u64> {
    kernel::<u64>(base, offset).filter(|pointer| *pointer != 0)
}

/// Reads a `T` from the memory of the process that runs.
#[inline(always)]
pub(crate) fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let status = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    (status == 0).then(|| unsafe { value.assume_init() })
}

/// Adds to a number in a map, atomically; gives what it was. (The standard library has no such operation for a target
/// without compare-and-swap; the kernel has it since 5.12.)
#[inline(always)]
pub(crate) unsafe fn fetch_add(place: *mut u64, addend: u64) -> u64 {
    let mut value = addend;
    unsafe {
        core::arch::asm!("{value} = atomic_fetch_add((u64 *)({place} + 0), {value})", value = inout(reg) value, place = in(reg) place);
    }
    value
}
