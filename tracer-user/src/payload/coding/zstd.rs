//! zstd (RFC 8878), frame by frame.
//!
//! The decoder emits no byte of an unfinished frame before it has a whole window, and a stream cut at the body limit never finishes.
//! Block boundaries are found without decoding, so a cut frame is closed with an empty last block after its last whole block.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

use super::{End, read_bounded};

/// RFC 9659: senders of the `zstd` content coding keep the window within 8 MiB.
const MAX_WINDOW: u64 = 8 << 20;
const MAGIC: u32 = 0xFD2F_B528;
/// Skippable frame: 16 magic numbers that differ in their last four bits (RFC 8878 section 3.1.2).
const SKIPPABLE: u32 = 0x184D_2A50;
/// An empty last raw block (section 3.1.1.2), then room for the checksum that the frame may announce. The decoder reads the checksum
/// and leaves the comparison to its caller.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Decodes all frames of `input`, up to `limit` bytes.
pub(super) fn decode(mut input: &[u8], limit: usize) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    while !input.is_empty() {
        let Some((magic, rest)) = input.split_first_chunk::<4>() else { return (bytes, End::Short) };
        let magic = u32::from_le_bytes(*magic);
        if magic & !0xf == SKIPPABLE {
            let Some((length, rest)) = rest.split_first_chunk::<4>() else { return (bytes, End::Short) };
            let Some(rest) = rest.get(u32::from_le_bytes(*length) as usize..) else { return (bytes, End::Short) };
            input = rest;
            continue;
        }
        if magic != MAGIC {
            return (bytes, End::Damaged);
        }
        let Some(frame) = Frame::find(input) else { return (bytes, End::Short) };
        let (blocks, rest) = input.split_at(frame.length);
        let tail: &[u8] = if frame.whole { &[] } else { &LAST_BLOCK };
        let Ok(decoder) = StreamingDecoder::new_with_max_window_size(blocks.chain(tail), MAX_WINDOW) else {
            return (bytes, End::Damaged);
        };
        let (content, end) = read_bounded(decoder, limit - bytes.len());
        bytes.extend_from_slice(&content);
        match end {
            End::Whole if frame.whole => input = rest,
            End::Whole => return (bytes, End::Short),
            // Blocks are complete here, so a short read is an error of the encoder.
            End::Short => return (bytes, End::Damaged),
            End::Bound | End::Damaged => return (bytes, end),
        }
    }
    (bytes, End::Whole)
}

/// End of a frame, or of its last whole block.
struct Frame {
    length: usize,
    whole: bool,
}

impl Frame {
    /// Walks the blocks of the frame at the start of `input`; `None` if its header is incomplete.
    fn find(input: &[u8]) -> Option<Self> {
        let descriptor = *input.get(4)?;
        let single_segment = descriptor & 0x20 != 0;
        let window = usize::from(!single_segment);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content_size = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        let checksum = if descriptor & 4 == 0 { 0 } else { 4 };
        let mut length = 5 + window + dictionary + content_size;
        if length > input.len() {
            return None;
        }
        loop {
            let Some(&[low, middle, high]) = input.get(length..).and_then(|rest| rest.first_chunk()) else {
                return Some(Self { length, whole: false });
            };
            let header = u32::from_le_bytes([low, middle, high, 0]);
            let last = header & 1 != 0;
            // A run-length block contains one byte, whatever its size.
            let size = if header >> 1 & 3 == 1 { 1 } else { header >> 3 };
            let end = length + 3 + size as usize;
            let end_with_checksum = if last { end + checksum } else { end };
            if end_with_checksum > input.len() {
                return Some(Self { length, whole: false });
            }
            length = end_with_checksum;
            if last {
                return Some(Self { length, whole: true });
            }
        }
    }
}
