//! Times of an exchange.

use crate::event::Timestamp;

/// A connect that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Start of the connect.
    pub start: Timestamp,
    /// The connection was up.
    pub end: Timestamp,
    /// The process that connected.
    pub pid: u32,
}

/// A request that begins within this time after a connect, in nanoseconds, is the one that the connect was made for. Waking
/// a thread takes less, even on a busy machine. A pool that opens a connection ahead waits longer.
pub const FOLLOWS_CONNECT_NS: u64 = 20_000_000;
/// After a slow connect the request may come later, by this part of the connect's duration: where the connect was slow,
/// threads are probably slow to wake too, and the error stays small beside the connect.
const FOLLOWS_CONNECT_SHARE: u64 = 8;

impl Connect {
    /// Whether the connect was made for the request that process `pid` began at `request`. It was not if the connection was
    /// opened ahead and used later.
    pub fn is_made_for(&self, request: Timestamp, pid: u32) -> bool {
        let after = (self.end.since(self.start) / FOLLOWS_CONNECT_SHARE).max(FOLLOWS_CONNECT_NS);
        self.pid == pid && request.since(self.end) <= after
    }
}

/// Times of an exchange. Each is the time at which a system call returned. A phase that was not observed, or is not over,
/// is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Start of the connect that was made for this exchange (see [`Connect::is_made_for`]), or of one that failed.
    pub connect_start: Option<Timestamp>,
    /// The connection was up.
    pub connect_end: Option<Timestamp>,
    /// First byte of the TLS handshake that was made for this exchange.
    pub tls_start: Option<Timestamp>,
    /// Last byte of that handshake.
    pub tls_end: Option<Timestamp>,
    /// First byte of the request.
    pub request_start: Option<Timestamp>,
    /// Last byte of the request.
    pub request_end: Option<Timestamp>,
    /// First byte of the final response.
    pub response_start: Option<Timestamp>,
    /// Last byte of the final response.
    pub response_end: Option<Timestamp>,
    /// End of the exchange: its last byte, or the close, reset or error that ended it. For a pending exchange: end of
    /// tracing.
    pub end: Option<Timestamp>,
}
