//! State of the connection in the kernel.

use crate::{
    analysis::detector::Value,
    event::{Timestamp, wire::peer_window},
};

/// Kernel state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Time of the query.
    pub time: Timestamp,
    /// TCP state as in `include/net/tcp_states.h`.
    pub state: u8,
    /// Bytes that the target has not read.
    pub receive_queue: u32,
    /// Bytes that the peer has not acknowledged.
    pub send_queue: u32,
    /// Segments in flight.
    pub in_flight: u32,
    /// Segments retransmitted since the connection opened.
    pub retransmits: u32,
    /// Number of times that the retransmission timer doubled.
    pub backoff: u32,
    /// Zero-window probes without a response.
    pub window_probes: u32,
    /// One of [`peer_window`].
    pub peer_window: u8,
    /// Milliseconds since the target last sent.
    pub last_sent_ms: u32,
    /// Milliseconds since the target last received.
    pub last_received_ms: u32,
}

const STATES: [&str; 12] = [
    "unknown",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

impl Sockets {
    /// Name of the TCP state in JSON.
    pub fn state_name(&self) -> &'static str {
        STATES.get(usize::from(self.state)).copied().unwrap_or(STATES[0])
    }

    pub(in crate::analysis::detector::hang) fn value(&self) -> Value {
        let window = match self.peer_window {
            peer_window::ZERO => "zero",
            peer_window::SMALL => "small",
            peer_window::OPEN => "open",
            _ => "unknown",
        };
        let count = |number: u32| Value::Count(number.into());
        Value::Object(vec![
            ("time", self.time.into()),
            ("state", self.state_name().into()),
            ("receive_queue", count(self.receive_queue)),
            ("send_queue", count(self.send_queue)),
            ("in_flight", count(self.in_flight)),
            ("retransmits", count(self.retransmits)),
            ("backoff", count(self.backoff)),
            ("window_probes", count(self.window_probes)),
            ("peer_window", window.into()),
            ("last_sent_ms", count(self.last_sent_ms)),
            ("last_received_ms", count(self.last_received_ms)),
        ])
    }
}
