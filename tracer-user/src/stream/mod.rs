//! Reassembly of one direction of a connection.
//!
//! Every data event carries the stream position of its call, so order, loss and repetition follow from arithmetic. A
//! segment at the expected position is passed on, an earlier one is dropped, a later one waits briefly for the missing
//! bytes. Bytes that do not arrive become a [`Piece::Gap`] with a length and a cause.

use std::collections::BTreeMap;

use crate::event::{Timestamp, wire};

/// Maximum number of bytes per direction that wait for a missing segment. Two threads that read one socket in turn are
/// ahead of each other by a few segments; a larger lead means loss.
pub const MAX_WAITING_BYTES: usize = 256 * 1024;
/// Maximum number of waiting segments per direction.
pub const MAX_WAITING_SEGMENTS: usize = 64;
/// Memory in bytes of a non-empty map: its first node has room for eleven entries.
const NODE: usize = 1024;
/// Memory in bytes of a segment besides its payload: its share of a half-full node, and the overhead of the allocator.
const KEPT: usize = 224;
/// Time in nanoseconds that a segment waits for missing bytes before it. Events of two processors reach the ring within
/// microseconds of each other.
pub const REORDER_WAIT_NS: u64 = 100_000_000;
/// Offset added to positions, so that a position slightly before the first one is not negative.
const BASE: u64 = 1 << 32;

/// Cause of missing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapCause {
    /// The call moved more bytes than the capture limit.
    CaptureLimit,
    /// The bytes were not copied: they did not pass through user memory (`sendfile`, `splice`, `MSG_TRUNC`), or capture
    /// excluded them because no consumer needs them.
    LengthOnly,
    /// User memory could not be read.
    Fault,
    /// The event was lost, or the bytes moved by a call that is not traced.
    Lost,
}

/// Time and place of a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Time at which the call returned.
    pub time: Timestamp,
    /// Position in this direction of the piece's first byte.
    pub position: u64,
    /// Position of the opposite direction at that time.
    pub opposite: u64,
    /// Process that made the call.
    pub pid: u32,
    /// Thread that made the call.
    pub tid: u32,
    /// Whether the piece's first byte is the first byte of its call.
    pub boundary: bool,
}

/// Output of a [`Stream`]: consecutive pieces of the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes in order.
    Bytes(&'a [u8], Mark),
    /// Missing bytes: their number and cause.
    Gap(u64, GapCause, Mark),
}

impl Piece<'_> {
    /// Position and time of the first byte.
    pub fn mark(&self) -> &Mark {
        let (Self::Bytes(_, mark) | Self::Gap(_, _, mark)) = self;
        mark
    }

    /// Number of bytes, present or missing.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes, _) => bytes.len() as u64,
            Self::Gap(length, ..) => *length,
        }
    }

    /// Position after the last byte.
    pub fn end(&self) -> u64 {
        self.mark().position + self.length()
    }
}

/// Part of the stream that a data event covers: payload, then bytes that moved but were not captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Time and place of the first byte; `mark.position` is an extended position ([`Stream::extend`]).
    pub mark: Mark,
    /// Captured bytes.
    pub payload: &'a [u8],
    /// Number of uncaptured bytes after the payload.
    pub missing: u64,
    /// Cause of the uncaptured bytes.
    pub cause: GapCause,
}

#[derive(Debug)]
struct Waiting {
    mark: Mark,
    payload: Vec<u8>,
    missing: u64,
    cause: GapCause,
}

/// Reassembly state of one direction of one connection.
#[derive(Debug, Default)]
pub struct Stream {
    next: Option<u64>,
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    waiting_since: Option<Timestamp>,
    /// Number of bytes that were output as pieces other than [`GapCause::Lost`].
    accounted: u64,
    lost: u64,
}

impl Stream {
    /// Position of the next byte, if known.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether a segment waits for missing bytes before it.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Arrival time of the first waiting segment.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        self.waiting_since
    }

    /// Approximate memory of the waiting segments in bytes.
    pub fn held(&self) -> usize {
        if self.waiting.is_empty() {
            return 0;
        }
        NODE + self.waiting.len() * KEPT + self.waiting_bytes
    }

    /// Converts a position of this stream to the count that the probes keep for connections without sequence numbers.
    pub fn as_count(position: u64) -> u64 {
        position.saturating_sub(BASE)
    }

    /// Number of bytes that events account for: passed on, or known to have moved.
    pub fn accounted(&self) -> u64 {
        self.accounted
    }

    /// Number of bytes that were output as [`GapCause::Lost`].
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Converts a position of an event to a position of this stream. A 32-bit sequence number gets its upper half from
    /// the current position.
    pub fn extend(&self, position: u64, sequence: bool) -> u64 {
        if !sequence {
            return position.saturating_add(BASE);
        }
        let Some(next) = self.next else {
            return BASE + (position & 0xffff_ffff);
        };
        let ahead = (position as u32).wrapping_sub(next as u32) as i32;
        next.saturating_add_signed(i64::from(ahead))
    }

    /// Sets the position, unless it is known: no byte before `position` is missing, no byte after it was seen.
    pub fn start_at(&mut self, position: u64, sequence: bool) {
        if self.next.is_none() {
            self.next = Some(self.extend(position, sequence));
        }
    }

    /// Resets the position, so that the next segment starts the stream anew. Waiting segments are dropped.
    pub fn restart(&mut self) {
        self.next = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.waiting_since = None;
    }

    /// Adds a segment and outputs the pieces that are in order now.
    pub fn push(&mut self, segment: Segment<'_>, sink: &mut impl FnMut(Piece<'_>)) {
        let next = *self.next.get_or_insert(segment.mark.position);
        if segment.mark.position > next {
            self.wait(segment, sink);
            return;
        }
        self.pass(segment.mark, segment.payload, segment.missing, segment.cause, sink);
        if !self.waiting.is_empty() {
            self.release(sink);
        }
    }

    /// Outputs gaps for bytes that have been missing too long.
    pub fn handle_timeout(&mut self, now: Timestamp, sink: &mut impl FnMut(Piece<'_>)) {
        while self.waiting_since.is_some_and(|since| now.since(since) >= REORDER_WAIT_NS) {
            self.skip_gap(sink);
        }
    }

    /// Outputs gaps for all missing bytes. `end` is the position after the stream's last byte, if known.
    pub fn flush(&mut self, end: Option<u64>, mark: Mark, sink: &mut impl FnMut(Piece<'_>)) {
        while !self.waiting.is_empty() {
            self.skip_gap(sink);
        }
        if let (Some(next), Some(end)) = (self.next, end)
            && end > next
        {
            self.lose(end - next, mark, sink);
        }
    }

    fn wait(&mut self, segment: Segment<'_>, sink: &mut impl FnMut(Piece<'_>)) {
        let Segment { mark, payload, missing, cause } = segment;
        self.waiting_since.get_or_insert(mark.time);
        self.waiting_bytes += payload.len();
        if let Some(old) =
            self.waiting.insert(mark.position, Waiting { mark, payload: payload.to_vec(), missing, cause })
        {
            self.waiting_bytes -= old.payload.len();
        }
        while self.waiting_bytes > MAX_WAITING_BYTES || self.waiting.len() > MAX_WAITING_SEGMENTS {
            self.skip_gap(sink);
        }
    }

    /// Outputs a gap for the bytes missing before the first waiting segment, and then the segments that follow.
    fn skip_gap(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        let first = self.waiting.first_key_value().map(|(position, waiting)| (*position, waiting.mark));
        if let (Some((position, mark)), Some(next)) = (first, self.next)
            && position > next
        {
            self.lose(position - next, mark, sink);
        }
        self.release(sink);
    }

    fn lose(&mut self, length: u64, mark: Mark, sink: &mut impl FnMut(Piece<'_>)) {
        let position = self.next.unwrap_or(mark.position);
        self.lost += length;
        self.next = Some(position + length);
        sink(Piece::Gap(length, GapCause::Lost, Mark { position, boundary: false, ..mark }));
    }

    fn release(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        while let Some(entry) = self.waiting.first_entry()
            && Some(*entry.key()) <= self.next
        {
            let Waiting { mark, payload, missing, cause } = entry.remove();
            self.waiting_bytes -= payload.len();
            self.pass(mark, &payload, missing, cause, sink);
        }
        self.waiting_since = self.waiting.first_key_value().map(|(_, waiting)| waiting.mark.time);
    }

    /// Outputs the new part of a segment that starts at or before `next`.
    fn pass(&mut self, mark: Mark, payload: &[u8], missing: u64, cause: GapCause, sink: &mut impl FnMut(Piece<'_>)) {
        let next = self.next.unwrap_or(mark.position);
        let seen = next.saturating_sub(mark.position);
        let end = mark.position.saturating_add(payload.len() as u64).saturating_add(missing);
        if end <= next {
            return;
        }
        self.next = Some(end);
        self.accounted += end - next;
        let new = payload.get(seen as usize..).unwrap_or_default();
        if !new.is_empty() {
            sink(Piece::Bytes(new, Mark { position: next, boundary: mark.boundary && seen == 0, ..mark }));
        }
        let gap_start = next + new.len() as u64;
        if end > gap_start {
            sink(Piece::Gap(end - gap_start, cause, Mark { position: gap_start, boundary: false, ..mark }));
        }
    }
}

impl<'a> Segment<'a> {
    /// Returns the part of the stream that a successful data event covers. `position` belongs to the **call**,
    /// `opposite` to the opposite direction; both are extended.
    pub fn of(event: &wire::DataEvent, payload: &'a [u8], position: u64, opposite: u64) -> Self {
        let flags = event.header.flags;
        let moved = u64::try_from(event.result).unwrap_or(0);
        let end = u64::from(event.offset) + payload.len() as u64;
        let missing = if flags & wire::flag::LAST == 0 { 0 } else { moved.saturating_sub(end) };
        let cause = if flags & wire::flag::LENGTH_ONLY != 0 {
            GapCause::LengthOnly
        } else if flags & wire::flag::FAULT != 0 {
            GapCause::Fault
        } else {
            GapCause::CaptureLimit
        };
        Self {
            mark: Mark {
                time: Timestamp(event.header.time_ns),
                position: position.saturating_add(u64::from(event.offset)),
                opposite,
                pid: event.header.tgid,
                tid: event.header.tid,
                boundary: event.offset == 0,
            },
            payload,
            missing,
            cause,
        }
    }
}

#[cfg(test)]
mod tests;
