//! Recording of a live trace.

use std::io::Write;

use super::{
    format::{EVENT_HEADER_LENGTH, Header, kind_and_length},
    sink::EventSink,
    writer::{Lost, WriteError, Writer},
};

/// Records events without disturbing the trace. If the output fails (a full disk), recording ends, the lost events are
/// counted, and the trace continues.
///
/// Events recorded before the failure stay readable.
#[derive(Debug)]
pub struct Recorder<W> {
    /// `None` after a failure and after [`Self::finish`].
    writer: Option<Writer<W>>,
    lost: Lost,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if the header cannot be written. The caller should not start the trace then.
    pub fn new(output: W, header: &Header) -> Result<Self, WriteError> {
        Ok(Self { writer: Some(Writer::new(output, header)?), lost: Lost::default() })
    }

    /// Records one encoded event.
    fn write_event(&mut self, event: &[u8]) -> Result<(), WriteError> {
        let Some(writer) = &mut self.writer else {
            self.lost.add(event);
            return Ok(());
        };
        match writer.write_event(event) {
            Err(error @ WriteError::Io(_)) => {
                self.end();
                Err(error)
            }
            // The event is not recorded, but the recording stays valid.
            Err(_) => {
                self.lost.add(event);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Ends the recording where the output failed.
    fn end(&mut self) {
        if let Some(writer) = self.writer.take() {
            let unwritten = writer.unwritten();
            self.lost.events += unwritten.events;
            self.lost.bytes += unwritten.bytes;
        }
    }
}

impl<W: Write> EventSink for Recorder<W> {
    fn write(&mut self, events: &[u8]) -> Result<(), WriteError> {
        let mut result = Ok(());
        let mut rest = events;
        while let Some((_, length)) = kind_and_length(rest) {
            if length < EVENT_HEADER_LENGTH {
                break;
            }
            let Some((event, after)) = rest.split_at_checked(length) else { break };
            result = result.and(self.write_event(event));
            rest = after;
        }
        result
    }

    fn lost(&self) -> Lost {
        self.lost
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let result = self.writer.as_mut().map_or(Ok(()), Writer::flush);
        if result.is_err() {
            self.end();
        }
        self.writer = None;
        result
    }
}
