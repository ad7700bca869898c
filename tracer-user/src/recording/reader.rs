//! Reader of recordings.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
};

use crc32fast::Hasher;
use thiserror::Error;
use tracer_common::event::kind;

use super::format::{
    BIG_ENDIAN, CHECKSUM_LENGTH, EVENT_HEADER_LENGTH, FIXED_LENGTH, Header, LITTLE_ENDIAN, MAGIC, MAX_DESCRIPTION,
    MAX_EVENT_LENGTH, NATIVE_ORDER, VERSION, kind_and_length,
};
use crate::event::{DecodeError, Event};

/// Minimum size of the read buffer in bytes.
const CHUNK: usize = 256 * 1024;

/// Error that prevents reading a recording, or reading it further.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The input does not begin with the magic bytes.
    #[error("this is not a pidtap recording; create one with `pidtap PID --record FILE`")]
    Foreign,
    /// A newer pidtap wrote the recording in an unknown format version.
    #[error(
        "the recording has format version {found}, but this pidtap supports versions up to {VERSION}; open it with a \
         newer pidtap"
    )]
    Newer {
        /// Format version of the recording.
        found: u16,
    },
    /// The events have the byte order of another machine.
    #[error(
        "the recording was made on a machine with a different byte order (events are {found}); open it on such a \
         machine"
    )]
    ByteOrder {
        /// Byte order of the recording, for the message.
        found: &'static str,
    },
    /// The header is truncated or altered, so the records cannot be trusted.
    #[error("the header of the recording is {0}: the recording cannot be read")]
    Header(&'static str),
    /// Reading from the input failed.
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
}

/// Early end of a recording. All events before it were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyEnd {
    /// Reason of the early end.
    pub reason: EarlyEndReason,
    /// File offset of the first unusable byte.
    pub offset: u64,
    /// Number of events delivered or skipped before it.
    pub events: u64,
}

/// Reason of an early end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyEndReason {
    /// The last event is complete, but the end of the trace is missing: pidtap was killed, or the disk was full.
    NoEnd,
    /// The file ends inside an event.
    Truncated,
    /// A checksum or a length is wrong.
    Damaged,
}

impl fmt::Display for EarlyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            EarlyEndReason::NoEnd => "it ends before the end of the trace",
            EarlyEndReason::Truncated => "it is cut off within an event",
            EarlyEndReason::Damaged => "it is damaged from that point on",
        };
        write!(f, "the recording is valid for {} events, up to byte {}: {what}", self.events, self.offset)
    }
}

/// Reader of a recording. Its memory is bounded for any input.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    /// Checksum of all consumed bytes.
    hasher: Hasher,
    buffer: Vec<u8>,
    /// Range of `buffer` that is read but not consumed.
    unread: Range<usize>,
    /// Offset in the input of the first unread byte.
    offset: u64,
    events: u64,
    skipped: u64,
    malformed: u64,
    /// Whether the last event was DETACHED.
    ended: bool,
    done: bool,
    early_end: Option<EarlyEnd>,
}

impl<R: Read> Reader<R> {
    /// Opens a recording: reads and checks its header.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the input is not a recording that this version can read.
    pub fn open(input: R) -> Result<Self, ReadError> {
        let mut reader = Self {
            input,
            header: Header::default(),
            hasher: Hasher::new(),
            buffer: Vec::new(),
            unread: 0..0,
            offset: 0,
            events: 0,
            skipped: 0,
            malformed: 0,
            ended: false,
            done: false,
            early_end: None,
        };
        reader.read_header()?;
        Ok(reader)
    }

    /// Description of the recording.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the next encoded event, or `None` at the end, also at an early one: see [`Self::early_end`]. Every
    /// returned event decodes; events that do not decode are counted and skipped.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`] if the input fails.
    pub fn next_event(&mut self) -> Result<Option<&[u8]>, ReadError> {
        while let Some(event) = self.next_record()? {
            match Event::decode(&self.buffer[event.clone()]) {
                Ok(_) => return Ok(Some(&self.buffer[event])),
                Err(DecodeError::UnknownKind(_)) => self.skipped += 1,
                Err(_) => self.malformed += 1,
            }
        }
        Ok(None)
    }

    /// After the last event, describes an early end; `None` if the recording is complete.
    pub fn early_end(&self) -> Option<EarlyEnd> {
        self.early_end
    }

    /// Number of events skipped because their kind is unknown.
    pub fn skipped_events(&self) -> u64 {
        self.skipped
    }

    /// Number of events skipped because they do not decode although their checksum is correct.
    pub fn malformed_events(&self) -> u64 {
        self.malformed
    }

    /// Range in `buffer` of the event of the next complete record.
    fn next_record(&mut self) -> Result<Option<Range<usize>>, ReadError> {
        if self.done {
            return Ok(None);
        }
        if !self.fill(CHECKSUM_LENGTH + EVENT_HEADER_LENGTH)? {
            let reason = if self.unread.is_empty() { EarlyEndReason::NoEnd } else { EarlyEndReason::Truncated };
            return Ok(self.end(reason));
        }
        let (checksum, event) = split_number(&self.buffer[self.unread.clone()]);
        let (kind, length) = kind_and_length(event).unwrap_or_default();
        if !(EVENT_HEADER_LENGTH..=MAX_EVENT_LENGTH).contains(&length) {
            return Ok(self.end(EarlyEndReason::Damaged));
        }
        if !self.fill(CHECKSUM_LENGTH + length)? {
            return Ok(self.end(EarlyEndReason::Truncated));
        }
        let event = self.unread.start + CHECKSUM_LENGTH..self.unread.start + CHECKSUM_LENGTH + length;
        self.hasher.update(&self.buffer[event.clone()]);
        if self.hasher.clone().finalize() != checksum {
            return Ok(self.end(EarlyEndReason::Damaged));
        }
        self.consume(CHECKSUM_LENGTH + length);
        self.events += 1;
        self.ended = kind == kind::DETACHED;
        Ok(Some(event))
    }

    /// Records the end. A recording that ends right after DETACHED is complete.
    fn end(&mut self, reason: EarlyEndReason) -> Option<Range<usize>> {
        self.done = true;
        if !(self.ended && reason == EarlyEndReason::NoEnd) {
            self.early_end = Some(EarlyEnd { reason, offset: self.offset, events: self.events });
        }
        None
    }

    fn read_header(&mut self) -> Result<(), ReadError> {
        let whole = self.fill(FIXED_LENGTH)?;
        let start = &self.buffer[self.unread.clone()];
        if start.is_empty() || !MAGIC.starts_with(&start[..start.len().min(MAGIC.len())]) {
            return Err(ReadError::Foreign);
        }
        if !whole {
            return Err(ReadError::Header("cut off"));
        }
        let version = u16::from_le_bytes([start[8], start[9]]);
        if version > VERSION {
            return Err(ReadError::Newer { found: version });
        }
        if version == 0 {
            return Err(ReadError::Header("damaged"));
        }
        let order = start[10];
        let (length, _) = split_number(&start[12..]);
        let length = length as usize;
        if length >= MAX_DESCRIPTION {
            return Err(ReadError::Header("damaged"));
        }
        let end = FIXED_LENGTH + length;
        if !self.fill(end + CHECKSUM_LENGTH)? {
            return Err(ReadError::Header("cut off"));
        }
        let (checked, rest) = self.buffer[self.unread.clone()].split_at(end);
        self.hasher.update(checked);
        if self.hasher.clone().finalize() != split_number(rest).0 {
            return Err(ReadError::Header("damaged"));
        }
        if order != NATIVE_ORDER {
            return Err(match order {
                LITTLE_ENDIAN => ReadError::ByteOrder { found: "little-endian" },
                BIG_ENDIAN => ReadError::ByteOrder { found: "big-endian" },
                _ => ReadError::Header("damaged"),
            });
        }
        self.header = serde_json::from_slice(&checked[FIXED_LENGTH..]).map_err(|_| ReadError::Header("damaged"))?;
        self.consume(end + CHECKSUM_LENGTH);
        Ok(())
    }

    /// Reads until `needed` bytes are unread; `false` if the input ends first.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        if self.unread.len() >= needed {
            return Ok(true);
        }
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let size = needed.max(CHUNK);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        while self.unread.len() < needed {
            match self.input.read(&mut self.buffer[self.unread.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.unread.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn consume(&mut self, count: usize) {
        self.unread.start += count;
        self.offset += count as u64;
    }
}

/// Splits off a little-endian `u32`. Returns 0 for fewer than 4 bytes; callers check the length.
fn split_number(bytes: &[u8]) -> (u32, &[u8]) {
    bytes.split_first_chunk().map_or((0, &[]), |(number, rest)| (u32::from_le_bytes(*number), rest))
}
