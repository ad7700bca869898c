//! What user space tells the probes: read-only numbers at load, and the values of the maps that both sides use.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Names of the read-only numbers (`u32`) that user space sets before loading.
pub mod global {
    /// Process (thread group) of pidtap itself, which is never traced.
    pub const SELF_TGID: &str = "SELF_TGID";
    /// The only target, where there is one and children are not followed; 0 otherwise.
    pub const SINGLE_TARGET: &str = "SINGLE_TARGET";
    /// 1 where children of targets become targets.
    pub const FOLLOW: &str = "FOLLOW";
    /// 1 where a target must stay a process of [`OWNER_UID`] and [`OWNER_GID`] when it executes another program.
    pub const OWNED: &str = "OWNED";
    /// The user of all targets, where [`OWNED`] says so.
    pub const OWNER_UID: &str = "OWNER_UID";
    /// The group of all targets, where [`OWNED`] says so.
    pub const OWNER_GID: &str = "OWNER_GID";
    /// 1 where the probes load kernel memory by themselves (`bpf_rdonly_cast`, Linux 6.2); 0 where each read is a helper
    /// call.
    pub const DIRECT: &str = "DIRECT";
    /// BTF number of a structure that begins with a 64-bit number: what [`super::CAST_CALL`] casts to.
    pub const WORD_TYPE: &str = "WORD_TYPE";
    /// Bytes copied of one call at most.
    pub const CALL_CAPTURE: &str = "CALL_CAPTURE";
    /// Bytes in the ring at which the reader is woken before its time.
    pub const WAKE_BYTES: &str = "WAKE_BYTES";
}

/// Names of the maps.
pub mod map {
    /// Ring buffer: the events.
    pub const EVENTS: &str = "EVENTS";
    /// Hash: traced processes (`u32` thread group to `u32`, unused).
    pub const TARGETS: &str = "TARGETS";
    /// Array of `u64`: number and sum of the targets that fall on the index, as [`super::alone`] adds them up.
    pub const TARGET_FILTER: &str = "TARGET_FILTER";
    /// LRU hash: connections ([`super::Connection`] by inode number).
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// LRU hash: what is not to be captured ([`super::Restraint`] by inode number).
    pub const RESTRAINTS: &str = "RESTRAINTS";
    /// Array of `u32`: non-zero where a connection that falls on the index may have a [`super::Restraint`].
    pub const RESTRAINT_FILTER: &str = "RESTRAINT_FILTER";
    /// Array for each processor: [`super::Losses`].
    pub const LOSSES: &str = "LOSSES";
}

/// Helper that the object calls where it means the kernel function `bpf_rdonly_cast`: a number that no helper has.
/// User space puts that function in its place before it loads the object.
pub const CAST_CALL: i32 = 0x7069_6474;

/// Entries of `TARGET_FILTER` and `RESTRAINT_FILTER`: a power of two. An entry that is set by chance costs one hash
/// look-up.
pub const FILTER_SLOTS: u32 = 4096;

/// Where `key` falls in a filter.
pub const fn filter_slot(key: u64) -> u32 {
    key as u32 & (FILTER_SLOTS - 1)
}

/// What one target adds to its place in `TARGET_FILTER`: 1 to the number, which stands above 40 bits of sum. A place that
/// has just this holds this target and no other.
pub const fn alone(tgid: u32) -> u64 {
    1 << 40 | tgid as u64
}

/// What user space puts there where it cannot add: more targets than there can be, so that the hash is asked.
pub const MANY_TARGETS: u64 = 1 << 62;

/// Connections with a [`Restraint`] at the same time; the least recently used are captured again.
pub const MAX_RESTRAINTS: u32 = 16_384;

/// What the probes remember of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Connection {
    /// Bytes sent, where positions are counted.
    pub sent: u64,
    /// Bytes received, where positions are counted.
    pub received: u64,
    /// Bits of [`connection`].
    pub flags: u32,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Protocol number.
    pub protocol: u16,
}

/// Bits of [`Connection::flags`].
pub mod connection {
    /// Its SOCKET event was sent. Without it, its state changes are reported, and traffic announces it.
    pub const ANNOUNCED: u32 = 1 << 0;
    /// TCP: positions are sequence numbers. Otherwise the probes count.
    pub const SEQUENCE: u32 = 1 << 1;
}

/// What is not to be captured of a connection. Positions go on in every case.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Restraint {
    /// Bits of [`restraint`].
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes before these positions are not captured, by direction.
    pub skip_until: [u64; 2],
}

/// Bits of [`Restraint::flags`].
pub mod restraint {
    /// Events carry lengths, no payload.
    pub const MUTED: u32 = 1 << 0;
    /// Calls that moved bytes give no event at all; errors and ends of stream do.
    pub const SILENT: u32 = 1 << 1;
    /// [`super::Restraint::skip_until`] of [`crate::event::direction::SEND`] holds.
    pub const SKIP_SEND: u32 = 1 << 2;
    /// Likewise for [`crate::event::direction::RECEIVE`].
    pub const SKIP_RECEIVE: u32 = 1 << 3;
}

/// Counters of what was lost, of one processor; indices are [`crate::event::loss`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Losses {
    /// Events that were not delivered.
    pub events: [u64; crate::event::loss::CAUSES],
    /// Stream bytes behind them.
    pub bytes: [u64; crate::event::loss::CAUSES],
}
