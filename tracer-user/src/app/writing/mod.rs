//! Threads that write: one for the results, one for the recording. Whoever reads may take his time, stop, or never come, and a
//! file system may do the same; that keeps nobody from taking events out of the ring, and pidtap from no signal and no timer.
//!
//! What waits to be written stands in a [`queue`] that is bounded in bytes. What does not fit is left out, counted and said; only
//! where a recording is shown, which can wait itself, does who writes wait for room.

mod queue;
mod recording;
mod results;

pub(super) use recording::Recording;
pub(super) use results::{LeftOut, Policy, Written, behind};
