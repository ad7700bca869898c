//! Content decoding for display (RFC 9110 section 8.4): gzip, deflate, br and zstd, as far as the bytes go.
//!
//! Input is untrusted, may be cut at the body limit, and may lack its end. So every decoder returns its output up to a bound, with
//! the reason why it stopped; none fails as a whole. An unknown coding is kept and named.

use strum::{EnumString, IntoStaticStr};

mod budget;
mod zstd;

use std::{
    borrow::Cow,
    io::{self, Read},
};

pub use budget::{Budget, bound};

/// Default maximum of decoded bytes of one body. A small body may have fewer: see [`bound`].
pub const DECODED_LIMIT: usize = 1 << 20;
/// Maximum number of codings removed from one message. Two are rare; more are an attack.
const MAX_CODINGS: usize = 4;
/// Size of a read from a decoder in bytes.
const CHUNK: usize = 16 * 1024;

/// A content coding that pidtap can remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum Coding {
    /// RFC 1952.
    #[strum(to_string = "gzip", serialize = "x-gzip")]
    Gzip,
    /// RFC 1950, or RFC 1951 without the zlib wrapper, which many servers send.
    Deflate,
    /// RFC 7932.
    #[strum(serialize = "br")]
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The registered name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why a decoder stopped. Ordered: a later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The decoder reached the end of the content.
    Whole,
    /// The content is larger than the bound.
    Bound,
    /// The input ended first.
    Short,
    /// The input is invalid.
    Damaged,
}

/// Decoded content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The content without the removed codings.
    pub bytes: Cow<'a, [u8]>,
    /// Codings that were removed, in the order of their application.
    pub undone: Vec<Coding>,
    /// Codings that remain, as the header names them: an unknown coding and the codings below it.
    pub left: Option<String>,
    /// Worst reason why a decoder stopped.
    pub end: End,
}

/// Removes the codings that `Content-Encoding` names, the last first. Each decoder emits `limit` bytes at most, and no more than
/// [`bound`] allows for the size of the body. Never fails: see [`Decoded::left`] and [`Decoded::end`].
pub fn decode<'a, 'b>(encodings: impl IntoIterator<Item = &'b [u8]>, body: &'a [u8], limit: usize) -> Decoded<'a> {
    let mut names: Vec<Cow<'b, str>> = Vec::new();
    for value in encodings {
        for name in value.split(|&byte| byte == b',') {
            let name = name.trim_ascii();
            if !name.is_empty() && !name.eq_ignore_ascii_case(b"identity") {
                names.push(String::from_utf8_lossy(name));
            }
        }
    }
    let limit = bound(body.len(), limit);
    let mut decoded = Decoded { bytes: Cow::Borrowed(body), undone: Vec::new(), left: None, end: End::Whole };
    while let Some(coding) = names.last().and_then(|name| name.parse::<Coding>().ok()) {
        if decoded.bytes.is_empty() || decoded.undone.len() == MAX_CODINGS {
            break;
        }
        let (bytes, end) = undo(coding, &decoded.bytes, limit);
        decoded.end = decoded.end.max(end);
        if bytes.is_empty() && end == End::Damaged {
            break;
        }
        decoded.bytes = Cow::Owned(bytes);
        decoded.undone.insert(0, coding);
        names.pop();
    }
    // Without a body (HEAD, 304) the header describes a body that was not sent: no coding remains.
    if !names.is_empty() && !body.is_empty() {
        decoded.left = Some(names.join(", "));
    }
    decoded
}

/// Removes one coding.
fn undo(coding: Coding, input: &[u8], limit: usize) -> (Vec<u8>, End) {
    match coding {
        Coding::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(input), limit),
        Coding::Deflate if looks_like_zlib(input) => {
            let (bytes, end) = read_bounded(flate2::bufread::ZlibDecoder::new(input), limit);
            if bytes.is_empty() && end == End::Damaged { inflate(input, limit) } else { (bytes, end) }
        }
        Coding::Deflate => inflate(input, limit),
        Coding::Brotli => read_brotli(input, limit),
        Coding::Zstd => zstd::decode(input, limit),
    }
}

fn inflate(input: &[u8], limit: usize) -> (Vec<u8>, End) {
    read_bounded(flate2::bufread::DeflateDecoder::new(input), limit)
}

/// RFC 1950 section 2.2: method 8, a window of at most 32 KiB, and a header that is a multiple of 31.
fn looks_like_zlib(input: &[u8]) -> bool {
    let &[method, flags, ..] = input else { return false };
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]) % 31 == 0
}

/// Decodes brotli. The reader does not distinguish a short input from an invalid one; a read beyond the end does.
fn read_brotli(input: &[u8], limit: usize) -> (Vec<u8>, End) {
    // The decoder accepts the large window extension, which is not part of the coding: three bytes request a window of 1 GiB.
    if input.first().is_some_and(|first| first & 0x7f == 0x11) {
        return (Vec::new(), End::Damaged);
    }
    let mut asked_past_end = false;
    let source = AtEnd { input, asked: &mut asked_past_end };
    let (bytes, end) = read_bounded(brotli_decompressor::Decompressor::new(source, CHUNK), limit);
    (bytes, if end == End::Damaged && asked_past_end { End::Short } else { end })
}

/// A slice that records a read at its end.
struct AtEnd<'a, 'b> {
    input: &'a [u8],
    asked: &'b mut bool,
}

impl Read for AtEnd<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        *self.asked |= self.input.is_empty();
        self.input.read(buffer)
    }
}

/// Reads up to `limit` bytes, and returns why it stopped.
fn read_bounded(mut reader: impl Read, limit: usize) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        // One byte beyond the limit shows whether there is more.
        bytes.resize((start + CHUNK).min(limit + 1), 0);
        match reader.read(&mut bytes[start..]) {
            Ok(0) => {
                bytes.truncate(start);
                return (bytes, End::Whole);
            }
            Ok(count) if start + count > limit => {
                bytes.truncate(limit);
                return (bytes, End::Bound);
            }
            Ok(count) => bytes.truncate(start + count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => bytes.truncate(start),
            Err(error) => {
                bytes.truncate(start);
                let short = error.kind() == io::ErrorKind::UnexpectedEof;
                return (bytes, if short { End::Short } else { End::Damaged });
            }
        }
    }
}

#[cfg(test)]
mod tests;
