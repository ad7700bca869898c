//! One direction of a connection, put back in order.
//!
//! Every data event says where in the stream its call stood, so order, loss and repetition are arithmetic: a segment
//! at the expected position is passed on as it is, one that was passed already is dropped, one that lies ahead waits
//! a moment for what is missing. What does not come is a [`Piece::Gap`]: a value with a length and a cause, never
//! silence.

use std::collections::BTreeMap;

use crate::event::{Timestamp, wire};

/// Bytes that wait for a missing segment, at most, per direction. Two threads that read one socket in turn are ahead
/// of each other by a few segments; more than that is loss.
pub const MAX_WAITING_BYTES: usize = 256 * 1024;
/// Segments that wait, at most, per direction.
pub const MAX_WAITING_SEGMENTS: usize = 64;
/// What a tree takes that holds anything: its first node has room for eleven.
const NODE: usize = 1024;
/// What a segment takes beside its bytes: its share of a node that is half full, and what the allocator adds.
const KEPT: usize = 224;
/// How long a segment waits for what is missing before it. Events of two processors reach the ring within
/// microseconds of each other; this is several ticks.
pub const REORDER_WAIT_NS: u64 = 100_000_000;
/// Where counted and sequence positions begin here, so that a position a little before the first one is still a
/// number.
const BASE: u64 = 1 << 32;

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapCause {
    /// The call moved more than is captured of one call.
    CaptureLimit,
    /// Not copied at all: moved without passing through user memory (`sendfile`, `splice`, `MSG_TRUNC`), or left out
    /// because nobody would look at it.
    LengthOnly,
    /// User memory could not be read.
    Fault,
    /// The event was lost, or the bytes moved by a way that is not hooked.
    Lost,
}

/// Where and when a piece stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// When the call returned.
    pub time: Timestamp,
    /// Position in this direction of the piece's first byte.
    pub position: u64,
    /// Where the opposite direction stood then.
    pub opposite: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Whether the piece's first byte is the first of its call.
    pub boundary: bool,
}

/// What comes out: consecutive pieces of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes.
    Bytes(&'a [u8], Mark),
    /// Missing bytes.
    Gap(u64, GapCause, Mark),
}

/// A data event's share of the stream: payload, then bytes known to have moved but not captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Where it stands; `mark.position` as [`Stream::extend`] gives it.
    pub mark: Mark,
    /// The payload.
    pub payload: &'a [u8],
    /// Uncaptured bytes after it.
    pub missing: u64,
    /// Why.
    pub cause: GapCause,
}

#[derive(Debug)]
struct Waiting {
    mark: Mark,
    payload: Vec<u8>,
    missing: u64,
    cause: GapCause,
}

/// One direction of one connection.
#[derive(Debug, Default)]
pub struct Stream {
    next: Option<u64>,
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    waiting_since: Option<Timestamp>,
    /// Bytes that came out as pieces other than [`GapCause::Lost`].
    accounted: u64,
    lost: u64,
}

impl Stream {
    /// Position of the next byte, where it is known.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether a segment waits for what is missing before it.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Since when.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        self.waiting_since
    }

    /// Bytes of memory that what waits takes, about.
    pub fn held(&self) -> usize {
        if self.waiting.is_empty() {
            return 0;
        }
        NODE + self.waiting.len() * KEPT + self.waiting_bytes
    }

    /// A position of this stream as the probes count it, where they do.
    pub fn as_count(position: u64) -> u64 {
        position.saturating_sub(BASE)
    }

    /// Bytes accounted for by events: passed on, or known to have moved.
    pub fn accounted(&self) -> u64 {
        self.accounted
    }

    /// Bytes that came out as [`GapCause::Lost`].
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Turns a position of an event into one of this stream: 32-bit sequence numbers get their upper half from where
    /// the stream stands.
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

    /// Says where the stream stands: nothing before `position` is missing, nothing after it was seen.
    pub fn start_at(&mut self, position: u64, sequence: bool) {
        if self.next.is_none() {
            self.next = Some(self.extend(position, sequence));
        }
    }

    /// Forgets the position: the next segment starts the stream anew. What waits is dropped.
    pub fn restart(&mut self) {
        self.next = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.waiting_since = None;
    }

    /// Takes a segment; gives what is now in order.
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

    /// Gives up on what has been missing for too long.
    pub fn handle_timeout(&mut self, now: Timestamp, sink: &mut impl FnMut(Piece<'_>)) {
        while self.waiting_since.is_some_and(|since| now.since(since) >= REORDER_WAIT_NS) {
            self.skip_gap(sink);
        }
    }

    /// Gives up on whatever is missing. `end`, where known, is the position after the stream's last byte.
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

    /// Declares lost what is missing before the first waiting segment, and passes on what follows.
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

    /// Passes on the part of a segment that is new. Its start is not after `next`.
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
    /// The share of a data event that moved bytes; `position` and `opposite` are those of the **call** and of the
    /// opposite direction, extended.
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
