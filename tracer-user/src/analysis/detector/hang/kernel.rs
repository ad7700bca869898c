//! Kernel state of connections: the latest query result, and the times since which nothing has moved.

use rustc_hash::FxHashMap;

use crate::{
    analysis::detector::observation::unread,
    event::{
        Timestamp,
        wire::{ProbeEvent, peer_window, tcp_state},
    },
};

/// Maximum number of connections; further ones are not recorded.
const REMEMBERED: usize = 40_000;
/// Minimum retransmission timeout of the kernel (`TCP_RTO_MIN`) in nanoseconds; it doubles with each retransmission.
const RESEND_NS: u64 = 200_000_000;
/// Minimum time in nanoseconds before a SYN is retransmitted.
const SYN_RESEND_NS: u64 = 1_000_000_000;

/// Kernel state of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub(super) latest: ProbeEvent,
    /// Time of the last query before the peer acknowledged more.
    pub(super) acknowledged: Option<Timestamp>,
    /// Time of the last query before the target read more.
    pub(super) read: Option<Timestamp>,
    /// Time of the first query since which no sent byte gets through.
    pub(super) stuck: Option<Timestamp>,
    /// Time since which the receive queue holds bytes that the target does not read.
    pub(super) unread: Option<Timestamp>,
    /// Times of the last send and receive before tracing, from the first query.
    pub(super) first: Ages,
}

/// Times of the last moved bytes according to the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    pub(super) sent: Timestamp,
    pub(super) received: Timestamp,
}

fn ago(event: &ProbeEvent, milliseconds: u32) -> Timestamp {
    Timestamp(event.header.time_ns.saturating_sub(u64::from(milliseconds) * 1_000_000))
}

impl Kernel {
    fn new(event: &ProbeEvent) -> Self {
        let event = &ProbeEvent { receive_queue: unread(event), ..*event };
        let mut new = Self {
            latest: *event,
            acknowledged: None,
            read: None,
            stuck: None,
            unread: Self::unread_of(event),
            first: Ages { sent: ago(event, event.last_sent_ms), received: ago(event, event.last_received_ms) },
        };
        new.stuck = new.is_stuck().then(|| new.time());
        new
    }

    fn time_of(event: &ProbeEvent) -> Timestamp {
        Timestamp(event.header.time_ns)
    }

    /// The bytes in the queue arrived no later than the last received byte.
    fn unread_of(event: &ProbeEvent) -> Option<Timestamp> {
        (event.receive_queue > 0).then(|| ago(event, event.last_received_ms))
    }

    fn take(&mut self, event: &ProbeEvent) {
        let event = &ProbeEvent { receive_queue: unread(event), ..*event };
        let more = event.bytes_acked != self.latest.bytes_acked;
        // The acknowledgement arrived after the previous query.
        if more {
            self.acknowledged = Some(self.time());
        }
        let read = |event: &ProbeEvent| event.bytes_received.saturating_sub(event.receive_queue.into());
        // A FIN counts as a received byte, so the computed number of read bytes may be one too high.
        if read(event) > read(&self.latest) + u64::from(event.state != self.latest.state) {
            self.read = Some(self.time());
        }
        self.unread = match self.unread {
            // Nothing was read between the two queries.
            Some(since) if event.receive_queue > 0 && read(event) == read(&self.latest) => Some(since),
            _ => Self::unread_of(event),
        };
        self.latest = *event;
        self.stuck = self.stuck.filter(|_| !more && self.is_stuck()).or(self.is_stuck().then(|| self.time()));
    }

    /// Time of the latest query.
    pub(super) fn time(&self) -> Timestamp {
        Self::time_of(&self.latest)
    }

    /// Whether the peer's window is zero and bytes wait to be sent.
    pub(super) fn zero_window(&self) -> bool {
        let event = &self.latest;
        // A window probe counts as a retransmission; its response reports a zero window again.
        event.send_queue > 0 && (event.peer_window == peer_window::ZERO || event.window_probes > 0)
    }

    /// Whether bytes are being retransmitted because the peer does not acknowledge them.
    pub(super) fn resends(&self) -> bool {
        let event = &self.latest;
        event.unacknowledged > 0 && event.backoff > 0 && event.state != tcp_state::SYN_SENT
    }

    /// Whether no sent byte gets through.
    pub(super) fn is_stuck(&self) -> bool {
        self.zero_window() || self.resends()
    }

    /// Lower bound in nanoseconds of the time that the oldest byte in flight has waited, from the number of
    /// retransmissions.
    pub(super) fn resending_for(&self) -> u64 {
        let event = &self.latest;
        if event.state == tcp_state::SYN_SENT {
            return SYN_RESEND_NS * u64::from(event.retransmits);
        }
        if self.resends() { RESEND_NS * ((1 << event.backoff.min(20)) - 1) } else { 0 }
    }

    /// Whether the target moved last before tracing, by more than the margin, or was never answered.
    pub(super) fn sent_last(&self) -> bool {
        /// Margin for control frames after a response, and for the resolution of the kernel's clock, in nanoseconds.
        const MARGIN_NS: u64 = 100_000_000;
        self.never_answered() || self.first.sent.since(self.first.received) > MARGIN_NS
    }

    /// Whether bytes were sent and none was ever received.
    pub(super) fn never_answered(&self) -> bool {
        let event = &self.latest;
        // The SYN counts as one byte.
        event.bytes_received == 0 && event.bytes_acked.saturating_add(event.send_queue.into()) > 1
    }

    /// Whether bytes were received and none was ever sent.
    pub(super) fn never_spoke(&self) -> bool {
        let event = &self.latest;
        event.bytes_received > 0 && event.bytes_acked.saturating_add(event.send_queue.into()) <= 1
    }

    /// Whether the peer moved last before tracing.
    pub(super) fn received_last(&self) -> bool {
        self.never_spoke() || self.first.received > self.first.sent
    }
}

/// Kernel states by inode number.
#[derive(Debug, Default)]
pub(super) struct Kernels(FxHashMap<u64, Kernel>);

impl Kernels {
    pub(super) fn take(&mut self, event: &ProbeEvent) {
        if let Some(known) = self.0.get_mut(&event.connection) {
            known.take(event);
        } else if self.0.len() < REMEMBERED {
            self.0.insert(event.connection, Kernel::new(event));
        }
    }

    pub(super) fn get(&self, inode: u64) -> Option<&Kernel> {
        self.0.get(&inode)
    }

    pub(super) fn forget(&mut self, inode: u64) {
        self.0.remove(&inode);
    }
}
