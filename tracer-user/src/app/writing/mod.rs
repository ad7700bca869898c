//! Threads that write: one for each sink of events, one for each output of lines. A reader may be slow, stop, or never come, and a
//! file system may block; none of that delays the ring, a signal or a timer.
//!
//! Each thread has a [`queue`] that is bounded in bytes. Without room, events and lines are dropped, counted and reported. Only the
//! replay of a recording waits for room, since its events wait too.

mod events;
mod lines;
mod queue;
mod spool;

pub(super) use events::EventWriter;
pub(super) use lines::{LeftOut, LineState, LineWriter, Policy};
pub(super) use spool::Spool;
