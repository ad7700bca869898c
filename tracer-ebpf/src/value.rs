//! Types of the values in maps that only the probes use.
//!
//! `maps` stands before every module that reads or writes a map, so these types stand before `maps`.

use tracer_common::event::DataEvent;

/// Buffers of a call that are read without a loop: most servers write a head and a body, or little more.
pub(crate) const FEW: usize = 4;

/// A stream socket.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// Inode number in sockfs.
    pub(crate) inode: u64,
    /// Address of its `struct sock`.
    pub(crate) sk: u64,
}

/// Positions of the two streams of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Positions {
    /// Position of the next byte that the target will send.
    pub(crate) send: u64,
    /// Position of the next byte that the target will read.
    pub(crate) receive: u64,
}

/// Content of a SOCKET event.
#[derive(Clone, Copy)]
pub(crate) struct Announcement {
    pub(crate) socket: Socket,
    pub(crate) positions: Positions,
    /// User-space address of the socket address that was passed to `connect`; 0 for none. After a failed `connect` the socket
    /// itself does not hold the address.
    pub(crate) remote: u64,
    pub(crate) fd: i32,
    pub(crate) result: i32,
    pub(crate) origin: u8,
    /// Whether positions are sequence numbers.
    pub(crate) sequence: bool,
}

/// A TCP connection that was announced: one slot of the cache in front of the map of connections.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Familiar {
    /// Inode number of the socket.
    pub(crate) inode: u64,
    /// Process and descriptor that used it last.
    pub(crate) holder: u64,
}

/// The bytes of one call on their way into the ring.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    /// Common beginning of all records of the call.
    pub(crate) event: DataEvent,
    /// Address of the buffer, where there is only one.
    pub(crate) buffer: u64,
    /// Address of the `struct iovec`s, where there are several; 0 otherwise.
    pub(crate) vectors: u64,
    /// Number of `struct iovec`s.
    pub(crate) vector_count: u64,
    /// Index of the next `struct iovec`.
    pub(crate) vector: u64,
    /// Bytes to skip at its start.
    pub(crate) vector_skip: u64,
    /// Bytes of the call that are sent or skipped.
    pub(crate) offset: u32,
    /// Value of `offset` at which the call is done.
    pub(crate) limit: u32,
    /// `recvmmsg`, `sendmmsg`: address of the `struct mmsghdr`s.
    pub(crate) messages: u64,
    /// Initial flags of each message.
    pub(crate) message_flags: u16,
    /// 1 where positions are sequence numbers.
    pub(crate) sequence: u16,
    pub(crate) reserved: u32,
    /// Bytes that may go into the ring before its fill level is read again.
    pub(crate) credit: u64,
    /// The first of several buffers. They stand here because a program and its callbacks share a stack of 512 bytes.
    pub(crate) few: [Vector; FEW],
}

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) base: u64,
    pub(crate) length: u64,
}
