//! The event layout that pidtap's kernel and user sides share.
//!
//! Everything here is plain memory: `repr(C)`, no `bool`, `enum`, `Option` or hidden padding; sizes and offsets are
//! asserted at compile time. The same bytes cross the ring buffer, stand in a recording and are fed to the engine,
//! so one decoder serves live and recorded input. What user space learns by asking the machine (connections
//! that were there before us, loss counters, the passing of time) is an event of this same layout.
#![no_std]

pub mod control;
pub mod event;
pub mod limit;
pub mod offset;
pub mod syscall;
