//! Recording a live trace.

use std::io::Write;

use super::{
    format::{EVENT_HEADER_LENGTH, Header, kind_and_length},
    writer::{Lost, WriteError, Writer},
};

/// Records batches of events, and never stands in the way of the trace: when the output fails (a full disk), recording
/// ends there, what is missing from it is counted, and the trace goes on.
///
/// What was recorded before the failure stays readable.
#[derive(Debug)]
pub struct Recorder<W> {
    /// `None` after a failure.
    writer: Option<Writer<W>>,
    failure: Option<WriteError>,
    lost: Lost,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// [`WriteError`] where not even the header can be written: then it is better not to begin the trace.
    pub fn new(output: W, header: &Header) -> Result<Self, WriteError> {
        Ok(Self { writer: Some(Writer::new(output, header)?), failure: None, lost: Lost::default() })
    }

    /// Records events that follow each other in `batch`. Bytes that are no event are passed over to the batch's end:
    /// nobody downstream could read them either.
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
            // Not recorded, but the recording itself is sound.
            Err(_) => self.lost.add(event),
        }
    }

    /// Ends the recording. [`Self::failure`] and [`Self::lost`] tell how it went.
    pub fn finish(&mut self) {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::flush) {
            self.fail(error);
        }
        self.writer = None;
    }

    /// Why recording ended early, where it did.
    pub fn failure(&self) -> Option<&WriteError> {
        self.failure.as_ref()
    }

    /// What is missing from the recording: for the counters of [`tracer_common::event::loss::RECORDING`].
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
