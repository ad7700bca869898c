//! Sinks of updates: JSON lines for programs, lines for people.

use std::io;

use crate::{analysis::detector::Live, engine::Update, event::Timestamp, model::exchange::Exchange};

mod buffer;
mod filtered;
pub mod json;
pub mod line;

pub use filtered::Filtered;

/// A sink of updates. Several can take the same updates.
pub trait UpdateSink {
    /// Sets the nanoseconds to add to a timestamp to get Unix time: [`crate::engine::Engine::realtime_offset_ns`]. Called before
    /// the first update is written.
    fn set_realtime_offset(&mut self, nanoseconds: i64);

    /// Sets the width of the terminal that shows the output; `None` without a terminal. Only lines for people use it.
    fn set_width(&mut self, _width: Option<usize>) {}

    /// Reports that time has passed, and everything that is open now. Only screens use it.
    fn look(&mut self, _now: Timestamp, _live: &dyn Live) {}

    /// Reports that a filter stands before this sink: the summary then has the number of exchanges that were left out.
    fn narrow(&mut self) {}

    /// Counts an exchange that is not written. Called only after [`Self::narrow`].
    fn leave_out(&mut self, _exchange: &Exchange) {}

    /// Counts an exchange whose body the filter had no time to decode; the filter took that body for empty.
    fn doubt(&mut self) {}

    /// Inodes of the connections that the kernel is to be queried about once a second, within the budget for queries. Only screens
    /// give any.
    fn watched(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Takes one update. Whole lines go to the writer, some of them only at the next [`flush`].
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

    /// Ends the output, after the last update. Nothing may be written afterwards.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn finish(&mut self) -> io::Result<()>;
}
