//! Recording of a live trace.

use std::io::Write;

use super::{
    format::{EVENT_HEADER_LENGTH, Header, kind_and_length},
    writer::{Lost, WriteError, Writer},
};

/// Records batches of events without disturbing the trace. If the output fails (a full disk), recording ends, the lost
/// events are counted, and the trace continues.
///
/// Events recorded before the failure stay readable.
#[derive(Debug)]
pub struct Recorder<W> {
    /// `None` after a failure and after [`Self::finish`].
    writer: Option<Writer<W>>,
    failure: Option<WriteError>,
    lost: Lost,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if the header cannot be written. The caller should not start the trace then.
    pub fn new(output: W, header: &Header) -> Result<Self, WriteError> {
        Ok(Self { writer: Some(Writer::new(output, header)?), failure: None, lost: Lost::default() })
    }

    /// Records consecutive events of `batch`. Stops at bytes that are no event, as no reader could read beyond them
    /// either.
    pub fn record(&mut self, batch: &[u8]) {
        let mut rest = batch;
        while let Some((_, length)) = kind_and_length(rest) {
            if length < EVENT_HEADER_LENGTH {
                return;
            }
            let Some((event, after)) = rest.split_at_checked(length) else { return };
            self.record_event(event);
            rest = after;
        }
    }

    /// Records one encoded event.
    pub fn record_event(&mut self, event: &[u8]) {
        let Some(writer) = &mut self.writer else {
            self.lost.add(event);
            return;
        };
        match writer.write_event(event) {
            Ok(()) => {}
            Err(WriteError::Io(error)) => self.fail(error.into()),
            // The event is not recorded, but the recording stays valid.
            Err(_) => self.lost.add(event),
        }
    }

    /// Ends the recording. [`Self::failure`] and [`Self::lost`] report the result.
    pub fn finish(&mut self) {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::flush) {
            self.fail(error);
        }
        self.writer = None;
    }

    /// Error that ended the recording early, if any.
    pub fn failure(&self) -> Option<&WriteError> {
        self.failure.as_ref()
    }

    /// Number of events and bytes missing from the recording, for [`tracer_common::event::loss::RECORDING`].
    pub fn lost(&self) -> Lost {
        self.lost
    }

    fn fail(&mut self, error: WriteError) {
        if let Some(writer) = self.writer.take() {
            let unwritten = writer.unwritten();
            self.lost.events += unwritten.events;
            self.lost.bytes += unwritten.bytes;
        }
        self.failure = Some(error);
    }
}
