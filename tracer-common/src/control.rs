//! Control of the probes by user space: read-only globals set at load, and the layouts of the shared maps.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Names of the read-only globals (`u32`) that user space sets before it loads the object.
pub mod global {
    /// Thread group ID of pidtap itself, which is never traced.
    pub const SELF_TGID: &str = "SELF_TGID";
    /// Thread group ID of the target if there is exactly one and children are not followed; otherwise 0.
    pub const SINGLE_TARGET: &str = "SINGLE_TARGET";
    /// 1 if children of targets become targets.
    pub const FOLLOW: &str = "FOLLOW";
    /// 1 if a target must keep [`OWNER_UID`] and [`OWNER_GID`] when it executes another program.
    pub const OWNED: &str = "OWNED";
    /// User ID of all targets, if [`OWNED`] is 1.
    pub const OWNER_UID: &str = "OWNER_UID";
    /// Group ID of all targets, if [`OWNED`] is 1.
    pub const OWNER_GID: &str = "OWNER_GID";
    /// 1 if the probes load kernel memory directly (`bpf_rdonly_cast`, Linux 6.2); 0 if each read is a helper call.
    pub const DIRECT: &str = "DIRECT";
    /// BTF type ID of a structure that begins with a 64-bit integer: the type that [`super::CAST_CALL`] casts to.
    pub const WORD_TYPE: &str = "WORD_TYPE";
    /// Maximum number of bytes copied of one system call.
    pub const CALL_CAPTURE: &str = "CALL_CAPTURE";
    /// Fill level of the ring in bytes at which the probes wake the reader early.
    pub const WAKE_BYTES: &str = "WAKE_BYTES";
}

/// Names of the maps.
pub mod map {
    /// Ring buffer of events.
    pub const EVENTS: &str = "EVENTS";
    /// Hash of traced processes: key is the `u32` thread group ID; the `u32` value is unused.
    pub const TARGETS: &str = "TARGETS";
    /// Array of `u64`: each slot holds the sum of [`super::alone`] over the targets that map to it.
    pub const TARGET_FILTER: &str = "TARGET_FILTER";
    /// LRU hash of connections: [`super::Connection`] by inode number.
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// LRU hash of capture restrictions: [`super::Restraint`] by inode number.
    pub const RESTRAINTS: &str = "RESTRAINTS";
    /// Array of `u32`: non-zero if a connection that maps to the slot may have a [`super::Restraint`].
    pub const RESTRAINT_FILTER: &str = "RESTRAINT_FILTER";
    /// Per-CPU array with one [`super::Losses`].
    pub const LOSSES: &str = "LOSSES";
}

/// Helper number that the object uses in place of the kernel function `bpf_rdonly_cast`. No helper has this number.
/// User space replaces the call before it loads the object.
pub const CAST_CALL: i32 = 0x7069_6474;

/// Number of slots in `TARGET_FILTER` and `RESTRAINT_FILTER`; a power of two. A collision costs one hash look-up.
pub const FILTER_SLOTS: u32 = 4096;

/// Returns the filter slot of `key`.
pub const fn filter_slot(key: u64) -> u32 {
    key as u32 & (FILTER_SLOTS - 1)
}

/// Contribution of one target to its slot in `TARGET_FILTER`: a count of 1 above a 40-bit sum of thread group IDs. A
/// slot with exactly this value holds this target and no other.
pub const fn alone(tgid: u32) -> u64 {
    1 << 40 | tgid as u64
}

/// Slot value that user space sets if it cannot add: a count above every possible number of targets, so that the probes
/// look in the hash.
pub const MANY_TARGETS: u64 = 1 << 62;

/// Maximum number of connections with a [`Restraint`]. The least recently used entry is evicted, and its connection is
/// captured again.
pub const MAX_RESTRAINTS: u32 = 16_384;

/// State that the probes keep for a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Connection {
    /// Bytes sent, for connections without sequence numbers.
    pub sent: u64,
    /// Bytes received, for connections without sequence numbers.
    pub received: u64,
    /// Bits of [`connection`].
    pub flags: u32,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Protocol number (`IPPROTO_*`).
    pub protocol: u16,
}

/// Bits of [`Connection::flags`].
pub mod connection {
    /// The SOCKET event of the connection was sent. An entry without this bit reports its state changes; the next
    /// traffic announces it.
    pub const ANNOUNCED: u32 = 1 << 0;
    /// Positions are TCP sequence numbers. Otherwise the probes count bytes.
    pub const SEQUENCE: u32 = 1 << 1;
}

/// Restriction of the capture of a connection. Positions advance regardless.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Restraint {
    /// Bits of [`restraint`].
    pub flags: u32,
    /// Padding; always zero.
    pub reserved: u32,
    /// Per direction, the position below which bytes are not captured.
    pub skip_until: [u64; 2],
}

/// Bits of [`Restraint::flags`].
pub mod restraint {
    /// Events carry lengths but no payload.
    pub const MUTED: u32 = 1 << 0;
    /// Calls that move bytes produce no event. Errors and ends of stream still do.
    pub const SILENT: u32 = 1 << 1;
    /// The entry of [`super::Restraint::skip_until`] for [`crate::event::direction::SEND`] applies.
    pub const SKIP_SEND: u32 = 1 << 2;
    /// The entry of [`super::Restraint::skip_until`] for [`crate::event::direction::RECEIVE`] applies.
    pub const SKIP_RECEIVE: u32 = 1 << 3;
}

/// Loss counters of one processor, indexed by [`crate::event::loss`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Losses {
    /// Number of events that were not delivered.
    pub events: [u64; crate::event::loss::CAUSES],
    /// Stream bytes that the calls behind these events moved.
    pub bytes: [u64; crate::event::loss::CAUSES],
}
