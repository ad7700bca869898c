//! Typed events: the decoded form of [`tracer_common::event`].
//!
//! The bytes come from the ring buffer, a recording, or a fuzzer. Decoding rejects invalid bytes and never panics. An
//! unknown kind is a separate error, so that a reader can skip the event.

use std::fmt;

use thiserror::Error;
pub use tracer_common::event as wire;
use wire::{
    AttachedEvent, DataEvent, DescriptorEvent, EventHeader, ListenerEvent, ProbeEvent, ProcessEvent, SocketEvent,
    SocketNameEvent, TcpEvent, ThreadEvent, TickEvent, kind,
};
use zerocopy::{FromBytes, IntoBytes};

/// Point in time: nanoseconds of `CLOCK_MONOTONIC` on the traced machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds from `earlier` to this time; 0 if `earlier` is later, as the clocks of two processors may differ
    /// slightly.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole microseconds from `earlier` to this time; 0 if `earlier` is later.
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.since(earlier) / 1_000
    }
}

/// Inode number of a socket in sockfs, shown in `/proc/PID/fd` as `socket:[N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketInode(pub u64);

impl fmt::Display for SocketInode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A decoded event of each kind of [`wire::kind`].
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Bytes moved, or a call failed. The slice is the captured payload.
    Data(DataEvent, &'a [u8]),
    /// A connection is first seen, connected or accepted.
    Socket(SocketEvent),
    /// A TCP connection changed state, retransmitted or was reset.
    Tcp(TcpEvent),
    /// A descriptor was closed, duplicated or shut down.
    Descriptor(DescriptorEvent),
    /// A process forked, executed a program, exited, or was found.
    Process(ProcessEvent),
    /// Tracing begins.
    Attached(AttachedEvent),
    /// Trace time and loss counters.
    Tick(TickEvent),
    /// Kernel state of a connection.
    Probe(ProbeEvent),
    /// Names of a Unix socket. The slice is the path, with a leading NUL for an abstract name.
    SocketName(SocketNameEvent, &'a [u8]),
    /// Tracing ends.
    Detached(TickEvent),
    /// State of a thread.
    Thread(ThreadEvent),
    /// State of a listen queue.
    Listener(ListenerEvent),
}

/// Error of [`Event::decode`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// There are fewer bytes than the event's header states, or than its kind needs.
    #[error("an event of kind {kind} needs {needed} bytes, {available} are there")]
    Short {
        /// Event kind; 0 if the header itself is incomplete.
        kind: u16,
        /// Number of bytes needed.
        needed: usize,
        /// Number of bytes given.
        available: usize,
    },
    /// This version does not know the kind.
    #[error("unknown event kind {0}")]
    UnknownKind(u16),
    /// A field has an impossible value.
    #[error("an event of kind {kind} has an impossible {field}")]
    Invalid {
        /// Event kind.
        kind: u16,
        /// Name of the field.
        field: &'static str,
    },
}

impl<'a> Event<'a> {
    /// Decodes one event from the start of `bytes`. Bytes after the event are ignored, as ring records may have slack.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are not an event of this version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, _) = EventHeader::read_from_prefix(bytes).map_err(|_| DecodeError::Short {
            kind: 0,
            needed: size_of::<EventHeader>(),
            available: bytes.len(),
        })?;
        let bytes = bytes.get(..header.length as usize).ok_or(DecodeError::Short {
            kind: header.kind,
            needed: header.length as usize,
            available: bytes.len(),
        })?;
        match header.kind {
            kind::DATA => {
                let (event, payload) = take::<DataEvent>(header.kind, bytes)?;
                if event.captured as usize != payload.len() {
                    return Err(DecodeError::Invalid { kind: header.kind, field: "captured" });
                }
                let moved = u32::try_from(event.result).unwrap_or(0);
                if event.offset.checked_add(event.captured).is_none_or(|end| end > moved) {
                    return Err(DecodeError::Invalid { kind: header.kind, field: "offset" });
                }
                if event.direction > wire::direction::RECEIVE {
                    return Err(DecodeError::Invalid { kind: header.kind, field: "direction" });
                }
                check_positions(header.kind, [event.position, event.opposite_position])?;
                Ok(Self::Data(event, payload))
            }
            kind::SOCKET => {
                let (event, _) = take::<SocketEvent>(header.kind, bytes)?;
                check_positions(header.kind, [event.send_position, event.receive_position])?;
                Ok(Self::Socket(event))
            }
            kind::TCP => {
                let (event, _) = take::<TcpEvent>(header.kind, bytes)?;
                check_positions(header.kind, [event.send_position, event.receive_position])?;
                Ok(Self::Tcp(event))
            }
            kind::DESCRIPTOR => Ok(Self::Descriptor(take(header.kind, bytes)?.0)),
            kind::PROCESS => Ok(Self::Process(take(header.kind, bytes)?.0)),
            kind::ATTACHED => Ok(Self::Attached(take(header.kind, bytes)?.0)),
            kind::TICK => Ok(Self::Tick(take(header.kind, bytes)?.0)),
            kind::DETACHED => Ok(Self::Detached(take(header.kind, bytes)?.0)),
            kind::PROBE => Ok(Self::Probe(take(header.kind, bytes)?.0)),
            kind::LISTENER => Ok(Self::Listener(take(header.kind, bytes)?.0)),
            kind::THREAD => Ok(Self::Thread(take(header.kind, bytes)?.0)),
            kind::SOCKET_NAME => {
                let (event, path) = take::<SocketNameEvent>(header.kind, bytes)?;
                if event.path_length as usize != path.len() {
                    return Err(DecodeError::Invalid { kind: header.kind, field: "path_length" });
                }
                Ok(Self::SocketName(event, path))
            }
            other => Err(DecodeError::UnknownKind(other)),
        }
    }

    /// Header that all events share.
    pub fn header(&self) -> &EventHeader {
        match self {
            Self::Data(event, _) => &event.header,
            Self::Socket(event) => &event.header,
            Self::Tcp(event) => &event.header,
            Self::Descriptor(event) => &event.header,
            Self::Process(event) => &event.header,
            Self::Attached(event) => &event.header,
            Self::Tick(event) | Self::Detached(event) => &event.header,
            Self::Probe(event) => &event.header,
            Self::SocketName(event, _) => &event.header,
            Self::Thread(event) => &event.header,
            Self::Listener(event) => &event.header,
        }
    }

    /// Time of the event.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.header().time_ns)
    }

    /// Appends the event's bytes to `buffer`, the inverse of [`Self::decode`]. `header.kind` and `header.length` are
    /// computed; their values in `self` are ignored.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        let (kind, body, payload): (u16, &[u8], &[u8]) = match self {
            Self::Data(event, payload) => (kind::DATA, event.as_bytes(), payload),
            Self::Socket(event) => (kind::SOCKET, event.as_bytes(), &[]),
            Self::Tcp(event) => (kind::TCP, event.as_bytes(), &[]),
            Self::Descriptor(event) => (kind::DESCRIPTOR, event.as_bytes(), &[]),
            Self::Process(event) => (kind::PROCESS, event.as_bytes(), &[]),
            Self::Attached(event) => (kind::ATTACHED, event.as_bytes(), &[]),
            Self::Tick(event) => (kind::TICK, event.as_bytes(), &[]),
            Self::Detached(event) => (kind::DETACHED, event.as_bytes(), &[]),
            Self::Probe(event) => (kind::PROBE, event.as_bytes(), &[]),
            Self::Listener(event) => (kind::LISTENER, event.as_bytes(), &[]),
            Self::Thread(event) => (kind::THREAD, event.as_bytes(), &[]),
            Self::SocketName(event, path) => (kind::SOCKET_NAME, event.as_bytes(), path),
        };
        buffer.extend_from_slice(body);
        buffer.extend_from_slice(payload);
        let length = (buffer.len() - start) as u32;
        buffer[start + 8..start + 10].copy_from_slice(&kind.to_ne_bytes());
        buffer[start + 12..start + 16].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Stream positions from this value on are rejected. No connection moves this many bytes, and sums of positions and
/// lengths below it cannot overflow.
const POSITION_LIMIT: u64 = 1 << 56;

fn check_positions(kind: u16, positions: [u64; 2]) -> Result<(), DecodeError> {
    if positions.iter().any(|position| *position >= POSITION_LIMIT) {
        return Err(DecodeError::Invalid { kind, field: "position" });
    }
    Ok(())
}

/// Reads a `T` from the start of `bytes` and returns it with the remaining bytes.
fn take<T: FromBytes>(kind: u16, bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short { kind, needed: size_of::<T>(), available: bytes.len() })
}
