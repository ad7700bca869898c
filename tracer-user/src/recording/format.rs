//! Constants and header of the recording format.

use serde::{Deserialize, Serialize};
use tracer_common::event::EventHeader;
use zerocopy::FromBytes as _;

/// First bytes of every recording. As in PNG, a byte with the high bit set, a name, and both kinds of line ends reveal
/// a text conversion.
pub(super) const MAGIC: [u8; 8] = *b"\x89TAP\r\n\x1a\n";

/// Format version that is written, and the newest version that is read. It increases only if older readers cannot read
/// the file; new event kinds and longer events do not require it.
pub const VERSION: u16 = 1;

/// Length in bytes of magic, version, byte order, a zero, and the length of the description.
pub(super) const FIXED_LENGTH: usize = 16;

/// Upper bound of the description length in bytes. The description holds a few short strings; the bound limits the
/// bytes that a hostile file makes the reader read.
pub(super) const MAX_DESCRIPTION: usize = 64 * 1024;

/// Maximum length of one event in bytes. The largest current event is slightly over 16 KiB. The limit bounds the memory
/// that a hostile length allocates, and leaves room for larger records.
pub const MAX_EVENT_LENGTH: usize = 1 << 20;

/// Length in bytes of the checksum before each event.
pub(super) const CHECKSUM_LENGTH: usize = 4;

/// Length in bytes of the header that all events share.
pub(super) const EVENT_HEADER_LENGTH: usize = size_of::<EventHeader>();

/// Byte order code of this machine. Events are written in native byte order.
pub(super) const NATIVE_ORDER: u8 = if cfg!(target_endian = "little") { LITTLE_ENDIAN } else { BIG_ENDIAN };
/// Code for little-endian events.
pub(super) const LITTLE_ENDIAN: u8 = 1;
/// Code for big-endian events.
pub(super) const BIG_ENDIAN: u8 = 2;

/// Description of a recording: the machine and the program that made it. Unknown strings are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Name of the program that wrote the recording; `pidtap` for recordings of this program.
    pub created_by: String,
    /// Version of that program.
    pub version: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Machine architecture (`uname -m`).
    pub arch: String,
    /// Key of the marks that replace secrets, in hexadecimal digits. With it, a later replay shows the same marks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mark_key: String,
}

/// Kind and length of the event at the start of `bytes`; `None` if the event header is incomplete.
pub(super) fn kind_and_length(bytes: &[u8]) -> Option<(u16, usize)> {
    let (header, _) = EventHeader::read_from_prefix(bytes).ok()?;
    Some((header.kind, header.length as usize))
}
