//! Events, as bytes.
//!
//! Every event begins with an [`EventHeader`]; `kind` says which struct follows (the header is its first field);
//! `length` counts the whole event, trailing payload included. Numbers are in the byte order of the machine.

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

/// What an event is about: the values of [`EventHeader::kind`].
pub mod kind {
    /// Bytes moved (or an error) on a connection: [`super::DataEvent`], then `captured` payload bytes.
    pub const DATA: u16 = 1;
    /// A connection was seen for the first time, connected or accepted: [`super::SocketEvent`].
    pub const SOCKET: u16 = 2;
    /// A change in a TCP connection's life: [`super::TcpEvent`].
    pub const TCP: u16 = 3;
    /// A file descriptor was closed, duplicated or shut down: [`super::DescriptorEvent`].
    pub const DESCRIPTOR: u16 = 4;
    /// A process was forked, executed, exited, or was found: [`super::ProcessEvent`].
    pub const PROCESS: u16 = 5;

    // Below: born in user space, and recorded like the others.

    /// Tracing begins: [`super::AttachedEvent`].
    pub const ATTACHED: u16 = 0x100;
    /// Time has passed; carries the loss counters: [`super::TickEvent`].
    pub const TICK: u16 = 0x101;
    /// What the kernel says of a connection now: [`super::ProbeEvent`].
    pub const PROBE: u16 = 0x102;
    /// What a Unix socket is bound to, and who is at the other end: [`super::SocketNameEvent`], then the path. The probes
    /// write it as well, before the SOCKET event.
    pub const SOCKET_NAME: u16 = 0x103;
    /// Tracing ends: [`super::TickEvent`].
    pub const DETACHED: u16 = 0x104;
    /// What a thread does now: [`super::ThreadEvent`].
    pub const THREAD: u16 = 0x105;
    /// What waits in the listen queue of a target: [`super::ListenerEvent`].
    pub const LISTENER: u16 = 0x106;
}

wire! {
    /// The beginning of every event.
    pub struct EventHeader [24] {
        /// `CLOCK_MONOTONIC`, nanoseconds (`bpf_ktime_get_ns`).
        pub time_ns: u64,
        /// One of [`kind`].
        pub kind: u16,
        /// Bits of [`flag`]; those that an event kind does not name are zero.
        pub flags: u16,
        /// Bytes of the whole event, payload included. The ring record that carries it may be longer.
        pub length: u32,
        /// Process (thread group) in whose context it happened, in the initial PID namespace; 0 where none is meant.
        pub tgid: u32,
        /// Thread in whose context it happened.
        pub tid: u32,
    }
}

/// Bits of [`EventHeader::flags`].
pub mod flag {
    /// DATA: `MSG_PEEK`: the bytes stay in the receive queue and come again.
    pub const PEEK: u16 = 1 << 0;
    /// DATA: the last (or only) event of its call; bytes of the call after `offset + captured` were not captured.
    pub const LAST: u16 = 1 << 1;
    /// DATA: bytes moved that user space memory never held (`sendfile`, `splice`, `MSG_TRUNC` without a buffer), or
    /// that capture was told to leave: nothing is captured on purpose.
    pub const LENGTH_ONLY: u16 = 1 << 2;
    /// DATA: a user page could not be read; the rest of the call is missing for that reason.
    pub const FAULT: u16 = 1 << 3;
    /// DATA: the call moved more than is captured of one call, or has more buffers than are walked.
    pub const TRUNCATED: u16 = 1 << 4;
    /// DATA, SOCKET, TCP: positions are 32-bit TCP sequence numbers that wrap. Without it they are 64-bit counts kept
    /// by the probes for sockets that have no sequence numbers (Unix).
    pub const SEQUENCE: u16 = 1 << 5;
    /// DATA: out-of-band data (`MSG_OOB`), not part of the byte stream.
    pub const OUT_OF_BAND: u16 = 1 << 6;
    /// PROCESS: the process is one that the user named (not a followed child).
    pub const NAMED_TARGET: u16 = 1 << 7;
    /// SOCKET, PROBE: the local port is one that its network namespace listens on, so the connection was accepted.
    pub const LISTENING_PORT: u16 = 1 << 8;
    /// ATTACHED: the target is a child that `pidtap run` started and holds back until now.
    pub const LAUNCHED: u16 = 1 << 9;
    /// PROCESS, EXEC: the program runs with other ids or with capabilities, and whoever started pidtap may not trace it: this
    /// is the last event of the process.
    pub const REFUSED: u16 = 1 << 9;
    /// THREAD: the last of its process in this look, which is over.
    pub const LOOKED: u16 = 1 << 10;
    /// PROBE: of a Unix socket. Its queues and its state alone are known; `state` is `CLOSE_WAIT` where the peer has
    /// closed or sends no more.
    pub const UNIX: u16 = 1 << 11;
    /// SOCKET_NAME: the path is that of this end, not of the peer.
    pub const OWN_NAME: u16 = 1 << 12;
    /// TCP: of an MPTCP connection as a whole, which has no sequence numbers (its subflows are not told of).
    pub const COUNTED: u16 = 1 << 13;
    /// PROBE: the kernel has no such connection any more. All else is zero.
    pub const GONE: u16 = 1 << 14;
    /// TICK, DETACHED: the counters of the probes could not be read. Those here are of an earlier tick, and may be too low.
    pub const OUTDATED: u16 = 1 << 15;
}

/// Which way bytes moved, seen from the target: [`DataEvent::direction`].
pub mod direction {
    /// The target wrote.
    pub const SEND: u8 = 0;
    /// The target read.
    pub const RECEIVE: u8 = 1;
}

/// The system call that moved the bytes: [`DataEvent::call`].
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
    /// Bytes moved, or failed to move, on a connection. `captured` payload bytes follow.
    ///
    /// One call gives one event, or several with rising `offset` when more is captured than one record holds; the
    /// last has [`flag::LAST`]. Calls that would have blocked (`EAGAIN`) or were interrupted give none.
    pub struct DataEvent [72] {
        /// Common part.
        pub header: EventHeader,
        /// The connection: inode number of the socket in sockfs.
        pub connection: u64,
        /// Stream position, in this direction, of the first byte that the **call** moved (not of this record).
        /// For a `result` <= 0, the position at which the stream then stood.
        pub position: u64,
        /// Where the **opposite** direction stood when the call returned: the position of the next byte that will be
        /// moved there. A request at or after it had not been sent when this response was read.
        pub opposite_position: u64,
        /// Bytes that the call moved, 0 for end of stream, or a negative error number.
        pub result: i32,
        /// Bytes of the call before this record's payload.
        pub offset: u32,
        /// Payload bytes that follow.
        pub captured: u32,
        /// The file descriptor.
        pub fd: i32,
        /// One of [`direction`].
        pub direction: u8,
        /// One of [`call`].
        pub call: u8,
        /// Zero.
        pub reserved: [u8; 6],
    }
}

/// How the probes came to know a connection: [`SocketEvent::origin`].
pub mod origin {
    /// By its traffic: it was there before tracing began, or was inherited or passed.
    pub const SEEN: u8 = 0;
    /// The target called `connect`; `result` is what that returned, negative as an error number (`-EINPROGRESS` for a
    /// connect that goes on in the background).
    pub const CONNECT: u8 = 1;
    /// The target accepted it.
    pub const ACCEPT: u8 = 2;
    /// `socketpair`.
    pub const PAIR: u8 = 3;
    /// Found through `/proc` and `sock_diag` when tracing began; read in user space.
    pub const FOUND: u8 = 4;
}

wire! {
    /// A connection becomes known, or a `connect` on it returned.
    pub struct SocketEvent [104] {
        /// Common part.
        pub header: EventHeader,
        /// The connection: inode number of the socket in sockfs.
        pub connection: u64,
        /// Position of the next byte that the target will send.
        pub send_position: u64,
        /// Position of the next byte that the target will read.
        pub receive_position: u64,
        /// Local address, network order; IPv4 in the first 4 bytes.
        pub local: [u8; 16],
        /// Remote address, network order; IPv4 in the first 4 bytes.
        pub remote: [u8; 16],
        /// Local port, host order.
        pub local_port: u16,
        /// Remote port, host order.
        pub remote_port: u16,
        /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
        pub family: u16,
        /// `IPPROTO_TCP`, or another protocol number for sockets whose stream positions are counted.
        pub protocol: u16,
        /// Result of the call, negative for an error.
        pub result: i32,
        /// The file descriptor, -1 where none is meant.
        pub fd: i32,
        /// TCP state as in `include/net/tcp_states.h`; 0 where unknown.
        pub state: u8,
        /// One of [`origin`].
        pub origin: u8,
        /// Zero.
        pub reserved: [u8; 2],
        /// Inode number of the network namespace; 0 where unknown.
        pub netns: u32,
    }
}

/// What happened to a TCP connection: [`TcpEvent::what`].
pub mod tcp {
    /// `inet_sock_set_state`: from `old_state` to `new_state`.
    pub const STATE: u8 = 0;
    /// A segment was sent again.
    pub const RETRANSMIT: u8 = 1;
    /// The peer's RST arrived.
    pub const RESET_RECEIVED: u8 = 2;
    /// This host sent an RST.
    pub const RESET_SENT: u8 = 3;
}

/// TCP states, as in `include/net/tcp_states.h`.
pub mod tcp_state {
    /// Connected.
    pub const ESTABLISHED: u8 = 1;
    /// SYN sent, no answer yet.
    pub const SYN_SENT: u8 = 2;
    /// SYN received.
    pub const SYN_RECV: u8 = 3;
    /// Closed on this side, FIN not yet acknowledged.
    pub const FIN_WAIT1: u8 = 4;
    /// Closed on this side, FIN acknowledged.
    pub const FIN_WAIT2: u8 = 5;
    /// Waiting for stray segments.
    pub const TIME_WAIT: u8 = 6;
    /// Gone.
    pub const CLOSE: u8 = 7;
    /// Closed by the peer.
    pub const CLOSE_WAIT: u8 = 8;
    /// Closed by the peer, then on this side.
    pub const LAST_ACK: u8 = 9;
    /// Listening.
    pub const LISTEN: u8 = 10;
    /// Both sides closed at once.
    pub const CLOSING: u8 = 11;
}

wire! {
    /// A change in a TCP connection's life. May happen in any context: `tgid` and `tid` are those of whoever ran then.
    pub struct TcpEvent [56] {
        /// Common part.
        pub header: EventHeader,
        /// The connection: inode number of the socket in sockfs.
        pub connection: u64,
        /// Position of the next byte that the target will send.
        pub send_position: u64,
        /// Position of the next byte that the target will read.
        pub receive_position: u64,
        /// The socket's pending error (`sk_err`), positive; 0 for none.
        pub error: i32,
        /// One of [`tcp`].
        pub what: u8,
        /// State before, for [`tcp::STATE`].
        pub old_state: u8,
        /// State after, for [`tcp::STATE`].
        pub new_state: u8,
        /// Zero.
        pub reserved: u8,
    }
}

/// What happened to a descriptor: [`DescriptorEvent::action`].
pub mod descriptor {
    /// `close(fd)` succeeded. `connection` is what `fd` names when the call returns: 0, or a connection that another thread
    /// was given under the same number meanwhile. It is not the one that was closed.
    pub const CLOSE: u8 = 0;
    /// `dup*(fd)` or `fcntl(F_DUPFD*)` made `new_fd`; what `new_fd` named before is closed.
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
        /// Common part.
        pub header: EventHeader,
        /// The connection that the descriptor names; 0 where it names no stream socket.
        pub connection: u64,
        /// The descriptor.
        pub fd: i32,
        /// The new descriptor, for [`descriptor::DUPLICATE`].
        pub new_fd: i32,
        /// One of [`descriptor`].
        pub action: u8,
        /// Zero.
        pub reserved: [u8; 7],
    }
}

/// What happened to a process: [`ProcessEvent::action`].
pub mod process {
    /// `header.tgid` started `other_tgid`, which is followed from now on.
    pub const FORK: u8 = 0;
    /// The process executed another program; `name` is its new name.
    pub const EXEC: u8 = 1;
    /// The last thread of the process ended.
    pub const EXIT: u8 = 2;
    /// The process was there when tracing began; read in user space.
    pub const FOUND: u8 = 3;
}

wire! {
    /// A process was forked, executed, exited, or was found.
    pub struct ProcessEvent [56] {
        /// Common part.
        pub header: EventHeader,
        /// The child, for [`process::FORK`]; the parent, for [`process::FOUND`] (0 unknown).
        pub other_tgid: u32,
        /// Exit code as in `wait(2)`, for [`process::EXIT`].
        pub exit_code: i32,
        /// One of [`process`].
        pub action: u8,
        /// Zero.
        pub reserved: [u8; 7],
        /// Name (`comm`), zero-padded.
        pub name: [u8; 16],
    }
}

wire! {
    /// Tracing begins: the probes are live. PROCESS events (`FOUND`) of the targets come before it.
    pub struct AttachedEvent [40] {
        /// Common part.
        pub header: EventHeader,
        /// Nanoseconds to add to `time_ns` to get Unix time.
        pub realtime_offset_ns: i64,
        /// Bytes captured of one call at most.
        pub call_capture: u32,
        /// Size of the ring buffer in bytes.
        pub ring_size: u32,
    }
}

/// Why something is missing: indices of [`TickEvent::lost_events`] and [`TickEvent::lost_bytes`].
pub mod loss {
    /// The ring buffer was full.
    pub const RING_FULL: usize = 0;
    /// User memory could not be read (the event came, without these bytes).
    pub const FAULT: usize = 1;
    /// A kernel structure could not be read, so that the call could not be placed.
    pub const KERNEL_READ: usize = 2;
    /// A map of the probes was full: a child or connection could not be followed.
    pub const MAP_FULL: usize = 3;
    /// User space was too slow: its own queue was full.
    pub const QUEUE_FULL: usize = 4;
    /// Could not be written to the recording (the trace went on).
    pub const RECORDING: usize = 5;
    /// Number of causes.
    pub const CAUSES: usize = 6;
}

wire! {
    /// Time has passed. Counters run from the start of tracing. Ends a live trace as [`kind::DETACHED`].
    pub struct TickEvent [120] {
        /// Common part.
        pub header: EventHeader,
        /// Events that were not delivered, by cause ([`loss`]).
        pub lost_events: [u64; loss::CAUSES],
        /// Stream bytes that the calls behind those events moved, by cause.
        pub lost_bytes: [u64; loss::CAUSES],
    }
}

/// What the peer of a TCP connection has room for (`tcpi_snd_wnd`): [`ProbeEvent::peer_window`].
pub mod peer_window {
    /// Not known: the kernel did not say, or it was not kept.
    pub const UNKNOWN: u8 = 0;
    /// Nothing.
    pub const ZERO: u8 = 1;
    /// Less than a segment.
    pub const SMALL: u8 = 2;
    /// A segment at least.
    pub const OPEN: u8 = 3;
}

wire! {
    /// What the kernel says of a connection now (`sock_diag`; of TCP with `tcp_info`). With [`flag::UNIX`] it is a Unix
    /// socket: other fields than queues and state are zero.
    pub struct ProbeEvent [96] {
        /// Common part.
        pub header: EventHeader,
        /// The connection: inode number of the socket in sockfs.
        pub connection: u64,
        /// `tcpi_bytes_acked`: bytes that the peer has acknowledged, plus one for the SYN of an active open.
        pub bytes_acked: u64,
        /// `tcpi_bytes_received`: bytes that arrived in order.
        pub bytes_received: u64,
        /// Bytes in the receive queue that the target has not read.
        pub receive_queue: u32,
        /// Bytes in the send queue that the peer has not acknowledged. Of a Unix socket: those that the peer has not read,
        /// or, where its peer cannot be asked, the memory that they take.
        pub send_queue: u32,
        /// `tcpi_last_data_sent`, milliseconds ago.
        pub last_sent_ms: u32,
        /// `tcpi_last_data_recv`, milliseconds ago.
        pub last_received_ms: u32,
        /// `tcpi_unacked`: segments in flight.
        pub unacknowledged: u32,
        /// `tcpi_total_retrans`.
        pub retransmits: u32,
        /// `tcpi_backoff`.
        pub backoff: u32,
        /// `tcpi_probes`: zero-window probes without an answer.
        pub window_probes: u32,
        /// TCP state.
        pub state: u8,
        /// What the peer has room for: one of [`peer_window`].
        pub peer_window: u8,
        /// Zero.
        pub reserved: [u8; 6],
        /// `tcpi_bytes_sent`: bytes sent, retransmissions included.
        pub bytes_sent: u64,
    }
}

wire! {
    /// Names of a Unix socket. The path follows: `path_length` bytes, with a leading NUL for an abstract name.
    pub struct SocketNameEvent [48] {
        /// Common part.
        pub header: EventHeader,
        /// The connection: inode number of the socket in sockfs.
        pub connection: u64,
        /// Inode number of the peer socket; 0 where unknown.
        pub peer: u32,
        /// Process that holds the peer socket; 0 where unknown.
        pub peer_tgid: u32,
        /// Bytes of the path that follow.
        pub path_length: u32,
        /// Zero.
        pub reserved: u32,
    }
}

/// What the first argument of a thread's system call names: [`ThreadEvent::waits_on`].
pub mod waits_on {
    /// Nothing: no system call, or one whose first argument is no descriptor.
    pub const NOTHING: u8 = 0;
    /// A socket.
    pub const SOCKET: u8 = 1;
    /// A set of descriptors (`epoll`).
    pub const EPOLL: u8 = 2;
    /// A pipe.
    pub const PIPE: u8 = 3;
    /// A file, a device.
    pub const FILE: u8 = 4;
    /// Another kind of descriptor.
    pub const OTHER: u8 = 5;
    /// Several descriptors (`poll`, `select`): `connection` is one of them.
    pub const SEVERAL: u8 = 6;
}

wire! {
    /// What a thread does now, by `/proc/PID/task/TID`. `header.tgid` and `tid` name it. The events of one look at a
    /// process follow each other; the last has [`flag::LOOKED`].
    pub struct ThreadEvent [160] {
        /// Common part.
        pub header: EventHeader,
        /// The socket that it waits on: inode number in sockfs; 0 where it waits on none.
        pub connection: u64,
        /// Time on a processor since it began, nanoseconds.
        pub cpu_ns: u64,
        /// How often it was put on a processor: unchanged between two looks where it did nothing at all.
        pub runs: u64,
        /// First argument of the system call: the descriptor, or the address of a futex.
        pub argument: u64,
        /// Remote address of the socket where it is a UDP one, network order; IPv4 in the first 4 bytes.
        pub remote: [u8; 16],
        /// Remote port of that, host order.
        pub remote_port: u16,
        /// Family of that; 0 where the socket is no UDP one, or has no peer.
        pub family: u16,
        /// Threads of the process.
        pub threads: u32,
        /// Number of the system call; -1 where it is in none.
        pub call: i32,
        /// State as in `/proc/PID/stat`: the letter.
        pub state: u8,
        /// One of [`waits_on`].
        pub waits_on: u8,
        /// 1 where the call is a `futex` that waits for a limited time.
        pub timed: u8,
        /// Zero.
        pub reserved: [u8; 1],
        /// Name of the system call, zero-padded; empty where it is in none.
        pub call_name: [u8; 24],
        /// Where in the kernel it waits (`wchan`), zero-padded; empty where that is not told.
        pub wait_channel: [u8; 32],
        /// Name (`comm`), zero-padded.
        pub name: [u8; 16],
    }
}

wire! {
    /// A listening socket of a target in which connections wait to be accepted, or did when it was looked at before.
    /// `header.tgid` is a process that holds it.
    pub struct ListenerEvent [80] {
        /// Common part.
        pub header: EventHeader,
        /// The listening socket: inode number in sockfs.
        pub connection: u64,
        /// Local address, network order; IPv4 in the first 4 bytes.
        pub local: [u8; 16],
        /// Local port, host order.
        pub local_port: u16,
        /// Address family.
        pub family: u16,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// Connections that wait to be accepted.
        pub waiting: u32,
        /// How many may (the backlog of `listen`, at most `net.core.somaxconn`); the kernel takes one more.
        pub limit: u32,
        /// Descriptors that the process has; 0 where that was not asked.
        pub descriptors: u32,
        /// How many it may have (`RLIMIT_NOFILE`); 0 where that was not asked.
        pub descriptor_limit: u32,
        /// Zero.
        pub reserved: u64,
    }
}

/// Where the payload of a data event starts.
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
