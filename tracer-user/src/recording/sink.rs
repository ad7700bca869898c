//! Sinks of events.

use super::writer::{Lost, WriteError};

/// A file format that takes the events of a trace.
///
/// A sink never stops the trace: after its first error it takes nothing more, and counts every further event as lost.
pub trait EventSink {
    /// Takes encoded events that follow each other in `events`. Bytes that are no event are skipped to the end of `events`.
    ///
    /// # Errors
    ///
    /// The error that ends the sink. Every later call succeeds, and only counts.
    fn write(&mut self, events: &[u8]) -> Result<(), WriteError>;

    /// Events that were given, and that the output lacks.
    fn lost(&self) -> Lost;

    /// Writes everything that is held back, and ends the output. Nothing may be written afterwards.
    ///
    /// # Errors
    ///
    /// The error that ends the sink, unless [`write`](Self::write) gave one.
    fn finish(&mut self) -> Result<(), WriteError>;
}
