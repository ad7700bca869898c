//! Event layout that the probes and user space share.
//!
//! All types are plain memory: `repr(C)`, without `bool`, `enum`, `Option` or hidden padding. Sizes and offsets are
//! asserted at compile time. The ring buffer, recordings and the engine use the same bytes, so one decoder serves live
//! and recorded input. Information that user space reads from the machine (existing connections, loss counters, time)
//! is encoded as events of the same layout.
#![no_std]

pub mod control;
pub mod event;
pub mod limit;
pub mod offset;
pub mod syscall;
