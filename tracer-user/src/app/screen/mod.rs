//! The screens of a terminal: the threads that fill and draw them, and the terminal itself.
//!
//! ```text
//! engine thread --updates--> ScreenOutput --(mutex)--> Store <--(mutex, while a frame is made)-- pidtap-screen --> terminal
//! ```
//!
//! The thread that draws holds the store only while it puts cells into a buffer, never while it writes to the terminal: a slow
//! terminal delays nothing but its own frames.

mod draw;
mod effect;
mod output;
mod plan;
mod recorded;
mod running;
mod shared;
mod terminal;

pub(super) use output::ScreenOutput;
pub(super) use plan::{Planned, plan};
pub(super) use recorded::Recorded;
pub(super) use running::{Running, left};
pub(super) use shared::{Shared, stop_all};
pub(super) use terminal::restore as give_back;
