//! What is printed: the same updates as JSON for programs or as lines for people.

use std::io;

use crate::{analysis::detector::Live, engine::Update, event::Timestamp, model::exchange::Exchange};

mod buffer;
mod filtered;
pub mod json;
pub mod line;

pub use filtered::Filtered;

/// Something that takes what the engine found out.
pub trait Output {
    /// Nanoseconds to add to a timestamp to get Unix time: [`crate::engine::Engine::realtime_offset_ns`], from the
    /// first update on.
    fn set_realtime_offset(&mut self, nanoseconds: i64);

    /// The terminal has this width now; `None` where there is none. Only lines for people care.
    fn set_width(&mut self, _width: Option<usize>) {}

    /// Time has passed, and this is open. Only screens, which show it, care.
    fn look(&mut self, _now: Timestamp, _live: &dyn Live) {}

    /// Not all exchanges will be written: what is said at the end says how many were left out.
    fn narrow(&mut self) {}

    /// An exchange that is counted, but not written. Only after [`Self::narrow`].
    fn leave_out(&mut self, _exchange: &Exchange) {}

    /// There was no time to decode a body of an exchange that a filter was to look into: it was judged as if nothing were in it.
    fn doubt(&mut self) {}

    /// Connections (by inode) of which the kernel is to be asked about once a second, within what asking may cost. Only
    /// screens that show what it says care.
    fn watched(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Takes one update. What it becomes is written whole lines at a time, some of it only at the next [`flush`].
    ///
    /// # Errors
    ///
    /// Those of the writer.
    ///
    /// [`flush`]: Self::flush
    fn write(&mut self, update: &Update) -> io::Result<()>;

    /// Hands everything on to the writer.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn flush(&mut self) -> io::Result<()>;
}
