//! Byte layout of events.
//!
//! Every event begins with an [`EventHeader`], which is the first field of each event struct. `kind` selects the
//! struct. `length` covers the whole event, including a trailing payload. Integers are in native byte order.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Declares a wire struct: `repr(C)`, and with feature `user` the safe conversions from and to bytes.
macro_rules! wire {
    ($(#[$doc:meta])* pub struct $name:ident [$size:literal] { $($(#[$field_doc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }

        const _: () = assert!(core::mem::size_of::<$name>() == $size);
        const _: () = assert!(core::mem::align_of::<$name>() <= 8);
    };
}

/// Event types: the values of [`EventHeader::kind`].
pub mod kind {
    /// Bytes moved on a connection, or a call failed: [`super::DataEvent`], then `captured` payload bytes.
    pub const DATA: u16 = 1;
    /// A connection is first seen, connected or accepted: [`super::SocketEvent`].
    pub const SOCKET: u16 = 2;
    /// A TCP connection changed state, retransmitted or was reset: [`super::TcpEvent`].
    pub const TCP: u16 = 3;
    /// A file descriptor was closed, duplicated or shut down: [`super::DescriptorEvent`].
    pub const DESCRIPTOR: u16 = 4;
    /// A process forked, executed a program, exited, or was found: [`super::ProcessEvent`].
    pub const PROCESS: u16 = 5;

    // User space creates the following kinds. They are recorded like the others.

    /// Tracing begins: [`super::AttachedEvent`].
    pub const ATTACHED: u16 = 0x100;
    /// Periodic event with the trace time and the loss counters: [`super::TickEvent`].
    pub const TICK: u16 = 0x101;
    /// Kernel state of a connection, read by `sock_diag`: [`super::ProbeEvent`].
    pub const PROBE: u16 = 0x102;
    /// Names of a Unix socket: [`super::SocketNameEvent`], then the path. The probes also write this event, before the
    /// SOCKET event.
    pub const SOCKET_NAME: u16 = 0x103;
    /// Tracing ends: [`super::TickEvent`].
    pub const DETACHED: u16 = 0x104;
    /// State of a thread, read from `/proc`: [`super::ThreadEvent`].
    pub const THREAD: u16 = 0x105;
    /// State of the listen queue of a target: [`super::ListenerEvent`].
    pub const LISTENER: u16 = 0x106;
}

wire! {
    /// Header that every event begins with.
    pub struct EventHeader [24] {
        /// `CLOCK_MONOTONIC` in nanoseconds (`bpf_ktime_get_ns`).
        pub time_ns: u64,
        /// One of [`kind`].
        pub kind: u16,
        /// Bits of [`flag`]. Bits that do not apply to the event kind are zero.
        pub flags: u16,
        /// Bytes of the whole event, payload included. The ring record that carries the event may be longer.
        pub length: u32,
        /// Process (thread group) in whose context the event occurred, in the initial PID namespace; 0 if there is
        /// none.
        pub tgid: u32,
        /// Thread in whose context the event occurred.
        pub tid: u32,
    }
}

/// Bits of [`EventHeader::flags`].
pub mod flag {
    /// DATA: the call had `MSG_PEEK`. The bytes stay in the receive queue and are read again later.
    pub const PEEK: u16 = 1 << 0;
    /// DATA: the last or only event of its call. Bytes of the call after `offset + captured` were not captured.
    pub const LAST: u16 = 1 << 1;
    /// DATA: payload is omitted on purpose. User memory never held the bytes (`sendfile`, `splice`, `MSG_TRUNC` without
    /// a buffer), or a restraint excludes them.
    pub const LENGTH_ONLY: u16 = 1 << 2;
    /// DATA: a user page could not be read, so the rest of the call is missing.
    pub const FAULT: u16 = 1 << 3;
    /// DATA: the call moved more bytes than the capture limit, or has more buffers than the probes walk.
    pub const TRUNCATED: u16 = 1 << 4;
    /// DATA, SOCKET, TCP: positions are 32-bit TCP sequence numbers that wrap. Without this flag they are 64-bit counts
    /// that the probes keep for sockets without sequence numbers (Unix).
    pub const SEQUENCE: u16 = 1 << 5;
    /// DATA: out-of-band data (`MSG_OOB`), which is not part of the byte stream.
    pub const OUT_OF_BAND: u16 = 1 << 6;
    /// PROCESS: the user named this process; it is not a followed child.
    pub const NAMED_TARGET: u16 = 1 << 7;
    /// SOCKET, PROBE: a socket listens on the local port in the same network namespace, so the connection was accepted.
    pub const LISTENING_PORT: u16 = 1 << 8;
    /// ATTACHED: `pidtap run` started the target and held it back until now.
    pub const LAUNCHED: u16 = 1 << 9;
    /// PROCESS, EXEC: the program runs with other IDs or with capabilities, and the user of pidtap may not trace it.
    /// This is the last event of the process.
    pub const REFUSED: u16 = 1 << 9;
    /// THREAD: the last event of one pass over the threads of its process.
    pub const LOOKED: u16 = 1 << 10;
    /// PROBE: the socket is a Unix socket. Only its queues and state are known. `state` is `CLOSE_WAIT` if the peer has
    /// closed the connection or shut down sending.
    pub const UNIX: u16 = 1 << 11;
    /// SOCKET_NAME: the path belongs to this end, not to the peer.
    pub const OWN_NAME: u16 = 1 << 12;
    /// TCP: the event describes an MPTCP connection as a whole, which has no sequence numbers. Its subflows are not
    /// reported.
    pub const COUNTED: u16 = 1 << 13;
    /// PROBE: the kernel no longer has the connection. All other fields are zero.
    pub const GONE: u16 = 1 << 14;
    /// TICK, DETACHED: the counters of the probes could not be read. The values are those of an earlier tick and may be
    /// too low.
    pub const OUTDATED: u16 = 1 << 15;
}

/// Direction of the bytes as seen from the target: values of [`DataEvent::direction`].
pub mod direction {
    /// The target wrote.
    pub const SEND: u8 = 0;
    /// The target read.
    pub const RECEIVE: u8 = 1;
}

/// System call that moved the bytes: values of [`DataEvent::call`].
pub mod call {
    /// `read`.
    pub const READ: u8 = 1;
    /// `readv`, `preadv2`.
    pub const READV: u8 = 2;
    /// `recvfrom`.
    pub const RECVFROM: u8 = 3;
    /// `recvmsg`.
    pub const RECVMSG: u8 = 4;
    /// `recvmmsg`.
    pub const RECVMMSG: u8 = 5;
    /// `write`.
    pub const WRITE: u8 = 6;
    /// `writev`, `pwritev2`.
    pub const WRITEV: u8 = 7;
    /// `sendto`.
    pub const SENDTO: u8 = 8;
    /// `sendmsg`.
    pub const SENDMSG: u8 = 9;
    /// `sendmmsg`.
    pub const SENDMMSG: u8 = 10;
    /// `sendfile`.
    pub const SENDFILE: u8 = 11;
    /// `splice`.
    pub const SPLICE: u8 = 12;
}

wire! {
    /// Bytes that moved, or an error, on a connection. `captured` payload bytes follow.
    ///
    /// A call produces one event, or several with rising `offset` if the captured bytes exceed one record. The last one
    /// has [`flag::LAST`]. Calls that fail with `EAGAIN` or are interrupted produce no event.
    pub struct DataEvent [72] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the socket in sockfs.
        pub connection: u64,
        /// Stream position in this direction of the first byte that the **call** moved, not of this record. If `result`
        /// <= 0, the position of the stream at that time.
        pub position: u64,
        /// Stream position of the **opposite** direction when the call returned: the position of the next byte to move
        /// there. A request at or after this position had not been sent when this response was read.
        pub opposite_position: u64,
        /// Bytes that the call moved, 0 at end of stream, or a negative errno.
        pub result: i32,
        /// Offset in the call of the first payload byte of this record.
        pub offset: u32,
        /// Number of payload bytes that follow.
        pub captured: u32,
        /// File descriptor that the call used.
        pub fd: i32,
        /// One of [`direction`].
        pub direction: u8,
        /// One of [`call`].
        pub call: u8,
        /// Padding; always zero.
        pub reserved: [u8; 6],
    }
}

/// First sighting of a connection, or the call that the event reports: values of [`SocketEvent::origin`].
pub mod origin {
    /// Traffic on a connection that existed before tracing, was inherited, or was passed over a Unix socket.
    pub const SEEN: u8 = 0;
    /// The target called `connect`. `result` is its return value, negative as an errno (`-EINPROGRESS` for a
    /// non-blocking connect).
    pub const CONNECT: u8 = 1;
    /// The target accepted the connection.
    pub const ACCEPT: u8 = 2;
    /// The target called `socketpair`.
    pub const PAIR: u8 = 3;
    /// User space found the connection through `/proc` and `sock_diag` when tracing began.
    pub const FOUND: u8 = 4;
}

wire! {
    /// A connection is first seen, or a `connect` on it returned.
    pub struct SocketEvent [104] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the socket in sockfs.
        pub connection: u64,
        /// Stream position of the next byte that the target will send.
        pub send_position: u64,
        /// Stream position of the next byte that the target will read.
        pub receive_position: u64,
        /// Local address in network order; IPv4 uses the first 4 bytes.
        pub local: [u8; 16],
        /// Remote address in network order; IPv4 uses the first 4 bytes.
        pub remote: [u8; 16],
        /// Local port in host order.
        pub local_port: u16,
        /// Remote port in host order.
        pub remote_port: u16,
        /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
        pub family: u16,
        /// `IPPROTO_TCP`, or another protocol number for sockets whose stream positions are counted.
        pub protocol: u16,
        /// Return value of the call; negative for an error.
        pub result: i32,
        /// File descriptor; -1 if there is none.
        pub fd: i32,
        /// TCP state as in `include/net/tcp_states.h`; 0 if unknown.
        pub state: u8,
        /// One of [`origin`].
        pub origin: u8,
        /// Padding; always zero.
        pub reserved: [u8; 2],
        /// Inode number of the network namespace; 0 if unknown.
        pub netns: u32,
    }
}

/// Change of a TCP connection: values of [`TcpEvent::what`].
pub mod tcp {
    /// `inet_sock_set_state`: a transition from `old_state` to `new_state`.
    pub const STATE: u8 = 0;
    /// A segment was retransmitted.
    pub const RETRANSMIT: u8 = 1;
    /// An RST arrived from the peer.
    pub const RESET_RECEIVED: u8 = 2;
    /// This host sent an RST.
    pub const RESET_SENT: u8 = 3;
}

/// TCP states as in `include/net/tcp_states.h`.
pub mod tcp_state {
    /// The connection is open.
    pub const ESTABLISHED: u8 = 1;
    /// A SYN was sent, no response has arrived.
    pub const SYN_SENT: u8 = 2;
    /// A SYN was received.
    pub const SYN_RECV: u8 = 3;
    /// Closed on this side, FIN not yet acknowledged.
    pub const FIN_WAIT1: u8 = 4;
    /// Closed on this side, FIN acknowledged.
    pub const FIN_WAIT2: u8 = 5;
    /// Closed on both sides; delayed segments may still arrive.
    pub const TIME_WAIT: u8 = 6;
    /// The connection no longer exists.
    pub const CLOSE: u8 = 7;
    /// The peer has closed its side.
    pub const CLOSE_WAIT: u8 = 8;
    /// Closed by the peer, then on this side.
    pub const LAST_ACK: u8 = 9;
    /// The socket listens.
    pub const LISTEN: u8 = 10;
    /// Both sides closed at once.
    pub const CLOSING: u8 = 11;
}

wire! {
    /// A change of a TCP connection. It may occur in any context: `tgid` and `tid` are those of the interrupted task.
    pub struct TcpEvent [56] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the socket in sockfs.
        pub connection: u64,
        /// Stream position of the next byte that the target will send.
        pub send_position: u64,
        /// Stream position of the next byte that the target will read.
        pub receive_position: u64,
        /// Pending error of the socket (`sk_err`) as a positive errno; 0 for none.
        pub error: i32,
        /// One of [`tcp`].
        pub what: u8,
        /// State before a [`tcp::STATE`] change.
        pub old_state: u8,
        /// State after a [`tcp::STATE`] change.
        pub new_state: u8,
        /// Padding; always zero.
        pub reserved: u8,
    }
}

/// Operation on a descriptor: values of [`DescriptorEvent::action`].
pub mod descriptor {
    /// `close(fd)` succeeded. `connection` is not the closed connection: it is 0, or a connection that another thread
    /// opened under the same number before `close` returned.
    pub const CLOSE: u8 = 0;
    /// `dup*(fd)` or `fcntl(F_DUPFD*)` created `new_fd`. A file that `new_fd` named before is closed.
    pub const DUPLICATE: u8 = 1;
    /// `shutdown(fd, SHUT_RD)`.
    pub const SHUTDOWN_READ: u8 = 2;
    /// `shutdown(fd, SHUT_WR)`.
    pub const SHUTDOWN_WRITE: u8 = 3;
    /// `shutdown(fd, SHUT_RDWR)`.
    pub const SHUTDOWN_BOTH: u8 = 4;
}

wire! {
    /// A descriptor of the target was closed, duplicated or shut down.
    pub struct DescriptorEvent [48] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the socket that the descriptor names; 0 if it names no stream socket.
        pub connection: u64,
        /// Descriptor that the call was given.
        pub fd: i32,
        /// Descriptor that [`descriptor::DUPLICATE`] created.
        pub new_fd: i32,
        /// One of [`descriptor`].
        pub action: u8,
        /// Padding; always zero.
        pub reserved: [u8; 7],
    }
}

/// Change of a process: values of [`ProcessEvent::action`].
pub mod process {
    /// `header.tgid` started `other_tgid`, which is followed from now on.
    pub const FORK: u8 = 0;
    /// The process executed another program; `name` is its new name.
    pub const EXEC: u8 = 1;
    /// The last thread of the process ended.
    pub const EXIT: u8 = 2;
    /// User space found the process when tracing began.
    pub const FOUND: u8 = 3;
}

wire! {
    /// A process forked, executed a program, exited, or was found.
    pub struct ProcessEvent [56] {
        /// Event header.
        pub header: EventHeader,
        /// The child for [`process::FORK`]; the parent for [`process::FOUND`], 0 if unknown.
        pub other_tgid: u32,
        /// Exit status as in `wait(2)` for [`process::EXIT`].
        pub exit_code: i32,
        /// One of [`process`].
        pub action: u8,
        /// Padding; always zero.
        pub reserved: [u8; 7],
        /// Command name (`comm`), padded with zeros.
        pub name: [u8; 16],
    }
}

wire! {
    /// Tracing begins: the probes are attached. PROCESS events (`FOUND`) of the targets precede it.
    pub struct AttachedEvent [40] {
        /// Event header.
        pub header: EventHeader,
        /// Nanoseconds to add to `time_ns` to get Unix time.
        pub realtime_offset_ns: i64,
        /// Maximum number of bytes captured of one system call.
        pub call_capture: u32,
        /// Size of the ring buffer in bytes.
        pub ring_size: u32,
    }
}

/// Causes of loss: indices of [`TickEvent::lost_events`] and [`TickEvent::lost_bytes`].
pub mod loss {
    /// The ring buffer was full.
    pub const RING_FULL: usize = 0;
    /// User memory could not be read. The event was delivered without these bytes.
    pub const FAULT: usize = 1;
    /// A kernel structure could not be read, so the connection or position of the call is unknown.
    pub const KERNEL_READ: usize = 2;
    /// A map of the probes was full, so a child or a connection could not be followed.
    pub const MAP_FULL: usize = 3;
    /// The recording was written too slowly: its queue was full. Only a recording has it; the trace counts [`RECORDING`].
    pub const QUEUE_FULL: usize = 4;
    /// The event could not be written to the recording. The trace continued.
    pub const RECORDING: usize = 5;
    /// Number of causes.
    pub const CAUSES: usize = 6;
}

wire! {
    /// Periodic event with cumulative loss counters. As [`kind::DETACHED`] it ends a live trace.
    pub struct TickEvent [120] {
        /// Event header.
        pub header: EventHeader,
        /// Events that were not delivered since tracing began, by cause ([`loss`]).
        pub lost_events: [u64; loss::CAUSES],
        /// Stream bytes that the calls behind those events moved, by cause.
        pub lost_bytes: [u64; loss::CAUSES],
    }
}

/// Send window that the peer of a TCP connection advertises (`tcpi_snd_wnd`): values of [`ProbeEvent::peer_window`].
pub mod peer_window {
    /// The kernel did not report it.
    pub const UNKNOWN: u8 = 0;
    /// The window is zero.
    pub const ZERO: u8 = 1;
    /// The window is smaller than a segment.
    pub const SMALL: u8 = 2;
    /// The window holds at least one segment.
    pub const OPEN: u8 = 3;
}

wire! {
    /// Kernel state of a connection (`sock_diag`; for TCP with `tcp_info`). With [`flag::UNIX`] it describes a Unix
    /// socket, and all fields but queues and state are zero.
    pub struct ProbeEvent [96] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the socket in sockfs.
        pub connection: u64,
        /// `tcpi_bytes_acked`: bytes that the peer has acknowledged, plus one for the SYN of an active open.
        pub bytes_acked: u64,
        /// `tcpi_bytes_received`: bytes that arrived in order.
        pub bytes_received: u64,
        /// Bytes in the receive queue that the target has not read.
        pub receive_queue: u32,
        /// Bytes in the send queue that the peer has not acknowledged. For a Unix socket: bytes that the peer has not
        /// read or, if the peer cannot be queried, the memory that they occupy.
        pub send_queue: u32,
        /// `tcpi_last_data_sent`: milliseconds since data was last sent.
        pub last_sent_ms: u32,
        /// `tcpi_last_data_recv`: milliseconds since data last arrived.
        pub last_received_ms: u32,
        /// `tcpi_unacked`: segments in flight.
        pub unacknowledged: u32,
        /// `tcpi_total_retrans`: retransmitted segments since the connection opened.
        pub retransmits: u32,
        /// `tcpi_backoff`: number of times that the retransmission timer doubled.
        pub backoff: u32,
        /// `tcpi_probes`: zero-window probes without a response.
        pub window_probes: u32,
        /// One of [`tcp_state`].
        pub state: u8,
        /// One of [`peer_window`].
        pub peer_window: u8,
        /// Padding; always zero.
        pub reserved: [u8; 6],
        /// `tcpi_bytes_sent`: bytes sent, retransmissions included.
        pub bytes_sent: u64,
    }
}

wire! {
    /// Names of a Unix socket. `path_length` bytes of the path follow, with a leading NUL for an abstract name.
    pub struct SocketNameEvent [48] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the socket in sockfs.
        pub connection: u64,
        /// Inode number of the peer socket; 0 if unknown.
        pub peer: u32,
        /// Process that holds the peer socket; 0 if unknown.
        pub peer_tgid: u32,
        /// Number of path bytes that follow.
        pub path_length: u32,
        /// Padding; always zero.
        pub reserved: u32,
    }
}

/// Object that the first argument of a thread's system call names: values of [`ThreadEvent::waits_on`].
pub mod waits_on {
    /// The thread is in no system call, or the first argument is no descriptor.
    pub const NOTHING: u8 = 0;
    /// A socket.
    pub const SOCKET: u8 = 1;
    /// An `epoll` instance.
    pub const EPOLL: u8 = 2;
    /// A pipe.
    pub const PIPE: u8 = 3;
    /// A file or a device.
    pub const FILE: u8 = 4;
    /// Another kind of descriptor.
    pub const OTHER: u8 = 5;
    /// Several descriptors (`poll`, `select`); `connection` is one of them.
    pub const SEVERAL: u8 = 6;
}

wire! {
    /// State of a thread, read from `/proc/PID/task/TID`. `header.tgid` and `header.tid` identify it. The events of one
    /// pass over a process are consecutive; the last one has [`flag::LOOKED`].
    pub struct ThreadEvent [160] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number in sockfs of the socket that the thread waits on; 0 if there is none.
        pub connection: u64,
        /// CPU time since the thread started, in nanoseconds.
        pub cpu_ns: u64,
        /// Number of times that the thread was scheduled. An unchanged value between two passes means that it did not
        /// run.
        pub runs: u64,
        /// First argument of the system call: a descriptor, or the address of a futex.
        pub argument: u64,
        /// Remote address if the socket is a UDP socket, in network order; IPv4 uses the first 4 bytes.
        pub remote: [u8; 16],
        /// Remote port of the UDP socket in host order.
        pub remote_port: u16,
        /// Address family of the UDP socket; 0 if there is no UDP socket or it has no peer.
        pub family: u16,
        /// Number of threads of the process.
        pub threads: u32,
        /// System call number; -1 if the thread is in none.
        pub call: i32,
        /// State letter of `/proc/PID/stat`.
        pub state: u8,
        /// One of [`waits_on`].
        pub waits_on: u8,
        /// 1 if the call is a `futex` wait with a timeout.
        pub timed: u8,
        /// Padding; always zero.
        pub reserved: [u8; 1],
        /// System call name, padded with zeros; empty if the thread is in none.
        pub call_name: [u8; 24],
        /// Kernel function that the thread waits in (`wchan`), padded with zeros; empty if unknown.
        pub wait_channel: [u8; 32],
        /// Thread name (`comm`), padded with zeros.
        pub name: [u8; 16],
    }
}

wire! {
    /// A listening socket of a target that has connections waiting for `accept`, or had some at the previous look.
    /// `header.tgid` is a process that holds it.
    pub struct ListenerEvent [80] {
        /// Event header.
        pub header: EventHeader,
        /// Inode number of the listening socket in sockfs.
        pub connection: u64,
        /// Local address in network order; IPv4 uses the first 4 bytes.
        pub local: [u8; 16],
        /// Local port in host order.
        pub local_port: u16,
        /// `AF_INET` or `AF_INET6`.
        pub family: u16,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// Number of connections that wait for `accept`.
        pub waiting: u32,
        /// Backlog: the smaller of the argument of `listen` and `net.core.somaxconn`. The kernel admits one more
        /// connection.
        pub limit: u32,
        /// Number of open descriptors of the process; 0 if not queried.
        pub descriptors: u32,
        /// Descriptor limit of the process (`RLIMIT_NOFILE`); 0 if not queried.
        pub descriptor_limit: u32,
        /// Padding; always zero.
        pub reserved: u64,
    }
}

/// Offset of the payload in a data event.
pub const DATA_PAYLOAD_OFFSET: usize = core::mem::size_of::<DataEvent>();

const _: () = {
    assert!(core::mem::offset_of!(EventHeader, kind) == 8);
    assert!(core::mem::offset_of!(EventHeader, length) == 12);
    assert!(core::mem::offset_of!(DataEvent, connection) == 24);
    assert!(core::mem::offset_of!(DataEvent, result) == 48);
    assert!(core::mem::offset_of!(DataEvent, direction) == 64);
    assert!(core::mem::offset_of!(SocketEvent, local) == 48);
    assert!(core::mem::offset_of!(SocketEvent, netns) == 100);
    assert!(core::mem::offset_of!(TcpEvent, error) == 48);
    assert!(core::mem::offset_of!(ProcessEvent, name) == 40);
    assert!(core::mem::offset_of!(ProbeEvent, state) == 80);
};
