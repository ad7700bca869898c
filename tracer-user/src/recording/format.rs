//! What writer and reader must agree on.

use serde::{Deserialize, Serialize};
use tracer_common::event::EventHeader;
use zerocopy::FromBytes as _;

/// First bytes of every recording. As in PNG: a byte with the high bit set, a name, and line ends of both kinds, so
/// that a text conversion on the way is noticed.
pub(super) const MAGIC: [u8; 8] = *b"\x89TAP\r\n\x1a\n";

/// Version of the format that is written, and the newest that is read. It rises only when older readers could not
/// read on: new event kinds and longer events do not need it.
pub const VERSION: u16 = 1;

/// Magic, version, byte order, a zero, length of the description.
pub(super) const FIXED_LENGTH: usize = 16;

/// Bytes of the description at most. It holds a few short strings; the limit is what a hostile file can make us read.
pub(super) const MAX_DESCRIPTION: usize = 64 * 1024;

/// Bytes of one event at most. The largest event of today is a little over 16 KiB; the limit bounds the memory that a
/// hostile length can take, and leaves room for larger records.
pub const MAX_EVENT_LENGTH: usize = 1 << 20;

/// Length of the checksum before each event.
pub(super) const CHECKSUM_LENGTH: usize = 4;

/// Length of the part that all events share.
pub(super) const EVENT_HEADER_LENGTH: usize = size_of::<EventHeader>();

/// Code of this machine's byte order: events are written as they are in memory.
pub(super) const NATIVE_ORDER: u8 = if cfg!(target_endian = "little") { LITTLE_ENDIAN } else { BIG_ENDIAN };
/// Events are little-endian.
pub(super) const LITTLE_ENDIAN: u8 = 1;
/// Events are big-endian.
pub(super) const BIG_ENDIAN: u8 = 2;

/// What a recording says of itself: the machine and the program that made it. Empty where not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Program that wrote it, `pidtap` for our own.
    pub created_by: String,
    /// Version of that program.
    pub version: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Machine architecture (`uname -m`).
    pub arch: String,
    /// Key of the marks that stand for secrets, in hexadecimal digits: opened later, the recording shows the same marks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mark_key: String,
}

/// Kind and length of the event at the start of `bytes`; `None` where there are not enough bytes for its header.
pub(super) fn kind_and_length(bytes: &[u8]) -> Option<(u16, usize)> {
    let (header, _) = EventHeader::read_from_prefix(bytes).ok()?;
    Some((header.kind, header.length as usize))
}
