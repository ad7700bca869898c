//! Requests of the engine to the machine.

/// A request to the probes, or to the thread that queries the kernel. A replay ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Copy no more bytes of this connection.
    Mute {
        /// The connection.
        inode: u64,
    },
    /// Copy no bytes of this direction before `until`.
    Skip {
        /// The connection.
        inode: u64,
        /// `direction::SEND` or `RECEIVE`.
        direction: u8,
        /// Position, as events have it (32 bits where they are sequence numbers).
        until: u64,
    },
    /// Query the kernel's state of this connection. The answer is a PROBE event.
    AskConnection {
        /// The connection.
        inode: u64,
    },
    /// Query what the threads of this process do. The answers are THREAD events.
    AskThreads {
        /// The process.
        pid: u32,
        /// The thread to look at first; 0 for none.
        tid: u32,
    },
}
