//! The kernel side of pidtap. One program inspects system calls as they return; a few others follow sockets and
//! processes. Bytes moved by a target's sockets go into a ring buffer in the layout of `tracer_common::event`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unsafe_code, reason = "kernel memory is read by address, and the verifier checks every access at load")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each would say the same: the verifier has proved the access before the program may run"
)]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros hand each program its context by value")]

mod arch;
mod connection;
mod control;
mod emit;
mod maps;
mod memory;
mod offset;
mod payload;
mod probe;
mod socket;
mod target;
mod unix;
mod value;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
