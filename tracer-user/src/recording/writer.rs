//! Writer of recordings.

use std::io::{self, Write};

use crc32fast::Hasher;
use thiserror::Error;
use tracer_common::event::{DataEvent, flag, kind};
use zerocopy::FromBytes as _;

use super::format::{
    CHECKSUM_LENGTH, EVENT_HEADER_LENGTH, Header, MAGIC, MAX_DESCRIPTION, MAX_EVENT_LENGTH, NATIVE_ORDER, VERSION,
    kind_and_length,
};

/// Number of buffered bytes that triggers a write; large enough to make the system calls per event negligible.
const BLOCK: usize = 64 * 1024;

/// Error of recording an event or a header.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The bytes are not one event: the event header is truncated, or its length differs.
    #[error("an event has {available} bytes, but its header says {length}")]
    NotAnEvent {
        /// Length in the event header; 0 if the event header is incomplete.
        length: usize,
        /// Number of bytes given.
        available: usize,
    },
    /// The strings of the header are too long.
    #[error("the description of a recording must be shorter than {MAX_DESCRIPTION} bytes")]
    Description,
    /// Writing to the output failed.
    #[error("cannot write the recording: {0}")]
    Io(#[from] io::Error),
}

/// Events missing from the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Number of events.
    pub events: u64,
    /// Stream bytes that the calls behind them moved, captured or not.
    pub bytes: u64,
}

/// Writer of a recording.
///
/// Events are buffered and written in blocks. A TICK or DETACHED event flushes the buffer, so that a crash loses at
/// most the time between two ticks.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Checksum of all bytes so far.
    hasher: Hasher,
    /// Records that are not written yet.
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a recording: writes its header.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the output fails, [`WriteError::Description`] if the header is too long.
    pub fn new(mut output: W, header: &Header) -> Result<Self, WriteError> {
        let description = serde_json::to_vec(header).map_err(io::Error::from)?;
        if description.len() >= MAX_DESCRIPTION {
            return Err(WriteError::Description);
        }
        let mut start = Vec::with_capacity(2 * BLOCK);
        start.extend_from_slice(&MAGIC);
        start.extend_from_slice(&VERSION.to_le_bytes());
        start.extend_from_slice(&[NATIVE_ORDER, 0]);
        start.extend_from_slice(&(description.len() as u32).to_le_bytes());
        start.extend_from_slice(&description);
        let mut hasher = Hasher::new();
        hasher.update(&start);
        start.extend_from_slice(&hasher.clone().finalize().to_le_bytes());
        output.write_all(&start)?;
        output.flush()?;
        start.clear();
        Ok(Self { output, hasher, block: start })
    }

    /// Appends one encoded event.
    ///
    /// # Errors
    ///
    /// [`WriteError::NotAnEvent`] if `event` is not exactly one event; nothing is written. [`WriteError::Io`] if the
    /// output fails; the recording must then be abandoned, see [`Self::unwritten`].
    pub fn write_event(&mut self, event: &[u8]) -> Result<(), WriteError> {
        let (kind, length) = kind_and_length(event).unwrap_or_default();
        if length != event.len() || !(EVENT_HEADER_LENGTH..=MAX_EVENT_LENGTH).contains(&length) {
            return Err(WriteError::NotAnEvent { length, available: event.len() });
        }
        self.hasher.update(event);
        self.block.extend_from_slice(&self.hasher.clone().finalize().to_le_bytes());
        self.block.extend_from_slice(event);
        if self.block.len() >= BLOCK || matches!(kind, kind::TICK | kind::DETACHED) {
            self.write_out()?;
        }
        Ok(())
    }

    /// Writes all buffered records and flushes the output.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the output fails.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.write_out()?;
        Ok(self.output.flush()?)
    }

    /// Ends the recording and returns the output.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the output fails.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.flush()?;
        Ok(self.output)
    }

    /// After a failure, counts the accepted events that are not completely in the output.
    pub fn unwritten(&self) -> Lost {
        let mut lost = Lost::default();
        let mut rest = self.block.as_slice();
        while let Some(event) = rest.get(CHECKSUM_LENGTH..) {
            let Some((_, length)) = kind_and_length(event) else { break };
            let Some((event, after)) = event.split_at_checked(length) else { break };
            lost.add(event);
            rest = after;
        }
        lost
    }

    /// Writes the block. After a failure, the block holds exactly the records that are not completely in the output.
    fn write_out(&mut self) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.block.len() {
                break Ok(());
            }
            match self.output.write(&self.block[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let mut whole = 0;
        while whole < written {
            let Some((_, length)) = self.block.get(whole + CHECKSUM_LENGTH..).and_then(kind_and_length) else { break };
            if whole + CHECKSUM_LENGTH + length > written {
                break;
            }
            whole += CHECKSUM_LENGTH + length;
        }
        self.block.drain(..whole);
        result
    }
}

impl Lost {
    /// Counts consecutive events.
    pub fn add_all(&mut self, events: &[u8]) {
        let mut rest = events;
        while let Some((_, length)) = kind_and_length(rest) {
            let Some((event, after)) = rest.split_at_checked(length.max(EVENT_HEADER_LENGTH)) else { return };
            self.add(event);
            rest = after;
        }
    }

    /// Counts one event.
    pub(super) fn add(&mut self, event: &[u8]) {
        self.events += 1;
        self.bytes += moved(event);
    }
}

/// Stream bytes that an event represents: its payload and, for the last event of a call, the uncaptured rest.
fn moved(event: &[u8]) -> u64 {
    let Ok((data, _)) = DataEvent::read_from_prefix(event) else { return 0 };
    if data.header.kind != kind::DATA || data.header.flags & flag::PEEK != 0 {
        return 0;
    }
    if data.header.flags & flag::LAST == 0 {
        return u64::from(data.captured);
    }
    u64::from(u32::try_from(data.result).unwrap_or(0).saturating_sub(data.offset))
}
