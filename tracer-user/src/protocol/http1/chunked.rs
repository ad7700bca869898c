//! Incremental decoder of the chunked transfer coding (RFC 9112 section 7.1).
//!
//! ```text
//! Size -> Data -> DataEnd -> Size ... -> (size 0) -> Trailer -> done
//! ```

use memchr::memchr;

use super::head::lenient_fields;
use crate::model::exchange::Fields;

/// Maximum length of a chunk size line in bytes, extensions included. Extensions are hardly used in practice; a longer
/// line is not chunk framing.
const MAX_SIZE_LINE: usize = 16 * 1024;
/// Maximum length of the trailer section in bytes.
const MAX_TRAILERS: usize = 64 * 1024;

/// State of the decoder between two inputs.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// Value of the current size line so far. The following fields also describe that line.
    size: u64,
    digits: u8,
    in_extension: bool,
    line_length: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    /// After the CR that follows the data of a chunk.
    DataEndFeed,
    Trailer,
}

/// Effect of a gap of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The gap is explained; the value is its number of content bytes.
    Exact(u64),
    /// The gap is as long as the rest of the chunk plus the end of the message. The value is the number of content
    /// bytes. The bytes after the gap decide whether the message ended.
    PerhapsEnd(u64),
    /// The gap contains chunk framing of unknown sizes.
    Unknown,
}

/// Length of the `CR LF` after the data of a chunk.
const LINE_END: u64 = 2;
/// Length of `0 CR LF CR LF`, the last chunk without trailers.
const LAST_CHUNK: u64 = 5;

/// Result of one decoding step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Content bytes.
    Data(&'a [u8]),
    /// The input is used up.
    NeedMore,
    /// The message is complete; the fields are its trailer section.
    End(Fields),
    /// The input is not chunked coding.
    Invalid,
}

impl Chunked {
    /// Decodes the next step from `input` and advances `input` past the bytes used.
    pub fn step<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        loop {
            if input.is_empty() {
                return Step::NeedMore;
            }
            match self.state {
                State::Size => match self.size_line(input) {
                    Some(true) => {
                        self.state = if self.size == 0 { State::Trailer } else { State::Data(self.size) };
                        (self.size, self.digits, self.in_extension, self.line_length) = (0, 0, false, 0);
                    }
                    Some(false) => return Step::NeedMore,
                    None => return Step::Invalid,
                },
                State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at(take);
                    *input = rest;
                    self.advance(left, take as u64);
                    return Step::Data(data);
                }
                State::DataEnd | State::DataEndFeed => match input[0] {
                    b'\r' if self.state == State::DataEnd => {
                        *input = &input[1..];
                        self.state = State::DataEndFeed;
                    }
                    b'\n' => {
                        *input = &input[1..];
                        self.state = State::Size;
                    }
                    _ => return Step::Invalid,
                },
                State::Trailer => {
                    let Some(feed) = memchr(b'\n', input) else {
                        self.trailers.extend_from_slice(input);
                        *input = &[];
                        return if self.trailers.len() > MAX_TRAILERS { Step::Invalid } else { Step::NeedMore };
                    };
                    let (line, rest) = input.split_at(feed + 1);
                    *input = rest;
                    let line_start = memchr::memrchr(b'\n', &self.trailers).map_or(0, |at| at + 1);
                    self.trailers.extend_from_slice(line);
                    if self.trailers.len() > MAX_TRAILERS {
                        return Step::Invalid;
                    }
                    if matches!(&self.trailers[line_start..], b"\n" | b"\r\n") {
                        let lines = self.trailers.split(|byte| *byte == b'\n');
                        return Step::End(lenient_fields(lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))));
                    }
                }
            }
        }
    }

    /// Skips a gap of `length` bytes. If the gap extends past the end of a chunk, its length has to match the line end
    /// after the chunk, or the line end and the last chunk.
    pub fn skip(&mut self, length: u64) -> Skip {
        // Content bytes left in the chunk, and the number of framing bytes after it that were already seen.
        let (left, seen) = match self.state {
            State::Data(left) if length <= left => {
                self.advance(left, length);
                return Skip::Exact(length);
            }
            State::Data(left) => (left, 0),
            State::DataEnd => (0, 0),
            State::DataEndFeed => (0, 1),
            State::Size if self.line_length == 0 => (0, LINE_END),
            // The size line of the last chunk has begun.
            State::Size if self.size == 0 && self.digits == 1 && self.line_length == 1 => (0, LINE_END + 1),
            State::Trailer if self.trailers.is_empty() => (0, LINE_END + LAST_CHUNK - 2),
            State::Size | State::Trailer => return Skip::Unknown,
        };
        let over = length - left + seen;
        if over == LINE_END + LAST_CHUNK {
            return Skip::PerhapsEnd(left);
        }
        match over {
            1 if seen == 0 => self.state = State::DataEndFeed,
            LINE_END if seen < LINE_END => self.state = State::Size,
            _ => return Skip::Unknown,
        }
        Skip::Exact(left)
    }

    /// Resets the decoder; the next byte begins a size line.
    pub fn resume(&mut self) {
        *self = Self::default();
    }

    /// Whether only the empty line after the last chunk is missing.
    pub fn lacks_empty_line(&self) -> bool {
        self.state == State::Trailer && self.trailers.is_empty()
    }

    /// Buffered bytes of the trailer section.
    pub fn held(&self) -> usize {
        self.trailers.len()
    }

    fn advance(&mut self, left: u64, by: u64) {
        self.state = if left > by { State::Data(left - by) } else { State::DataEnd };
    }

    /// Returns `Some(true)` at the end of the line, `Some(false)` if the input ends first, `None` if it is no size
    /// line.
    fn size_line(&mut self, input: &mut &[u8]) -> Option<bool> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.line_length += 1;
            if self.line_length > MAX_SIZE_LINE {
                return None;
            }
            match byte {
                b'\n' => return (self.digits > 0).then_some(true),
                _ if self.in_extension => {}
                b';' | b' ' | b'\t' | b'\r' if self.digits > 0 => self.in_extension = true,
                _ => {
                    let digit = char::from(*byte).to_digit(16)?;
                    self.size = self.size.checked_mul(16)?.checked_add(u64::from(digit))?;
                    self.digits = self.digits.checked_add(1)?;
                }
            }
        }
        Some(false)
    }
}
