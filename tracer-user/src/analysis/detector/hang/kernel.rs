//! What the kernel said of connections: the latest answer, and since when nothing has moved.

use rustc_hash::FxHashMap;

use crate::{
    analysis::detector::observation::unread,
    event::{
        Timestamp,
        wire::{ProbeEvent, peer_window, tcp_state},
    },
};

/// Connections that are remembered at once. More are not asked for.
const REMEMBERED: usize = 40_000;
/// The kernel's shortest time before it sends again (`TCP_RTO_MIN`), which doubles each time.
const RESEND_NS: u64 = 200_000_000;
/// A SYN is sent again after a second at the earliest.
const SYN_RESEND_NS: u64 = 1_000_000_000;

/// What is known of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub(super) latest: ProbeEvent,
    /// After what time the peer last acknowledged more, by what was seen.
    pub(super) acknowledged: Option<Timestamp>,
    /// After what time the target last read more, likewise.
    pub(super) read: Option<Timestamp>,
    /// Since when nothing of what was sent gets through, as far as it was seen.
    pub(super) stuck: Option<Timestamp>,
    /// Since when bytes are in the receive queue that the target does not read.
    pub(super) unread: Option<Timestamp>,
    /// When the target last sent and received before tracing began, by the first answer.
    pub(super) first: Ages,
}

/// When bytes last moved, by the kernel's own account.
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

    /// What is in the queue came last no later than what came last of all.
    fn unread_of(event: &ProbeEvent) -> Option<Timestamp> {
        (event.receive_queue > 0).then(|| ago(event, event.last_received_ms))
    }

    fn take(&mut self, event: &ProbeEvent) {
        let event = &ProbeEvent { receive_queue: unread(event), ..*event };
        let more = event.bytes_acked != self.latest.bytes_acked;
        // It was between the two answers: not before the one before.
        if more {
            self.acknowledged = Some(self.time());
        }
        let read = |event: &ProbeEvent| event.bytes_received.saturating_sub(event.receive_queue.into());
        // A FIN that has come counts as received: one byte more was "read" then.
        if read(event) > read(&self.latest) + u64::from(event.state != self.latest.state) {
            self.read = Some(self.time());
        }
        self.unread = match self.unread {
            // Nothing was read between the two answers.
            Some(since) if event.receive_queue > 0 && read(event) == read(&self.latest) => Some(since),
            _ => Self::unread_of(event),
        };
        self.latest = *event;
        self.stuck = self.stuck.filter(|_| !more && self.is_stuck()).or(self.is_stuck().then(|| self.time()));
    }

    /// When it was said.
    pub(super) fn time(&self) -> Timestamp {
        Self::time_of(&self.latest)
    }

    /// The peer has no room for what is to be sent.
    pub(super) fn zero_window(&self) -> bool {
        let event = &self.latest;
        // A window probe counts as sent again; its answer says zero once more.
        event.send_queue > 0 && (event.peer_window == peer_window::ZERO || event.window_probes > 0)
    }

    /// What was sent is being sent again, as nobody acknowledges it.
    pub(super) fn resends(&self) -> bool {
        let event = &self.latest;
        event.unacknowledged > 0 && event.backoff > 0 && event.state != tcp_state::SYN_SENT
    }

    /// Nothing of what was sent gets through.
    pub(super) fn is_stuck(&self) -> bool {
        self.zero_window() || self.resends()
    }

    /// How long the oldest byte in flight has waited at least, by how often it was sent again.
    pub(super) fn resending_for(&self) -> u64 {
        let event = &self.latest;
        if event.state == tcp_state::SYN_SENT {
            return SYN_RESEND_NS * u64::from(event.retransmits);
        }
        if self.resends() { RESEND_NS * ((1 << event.backoff.min(20)) - 1) } else { 0 }
    }

    /// Before tracing, the target sent last, by more than a timer's tick; or was never answered.
    pub(super) fn sent_last(&self) -> bool {
        /// Control frames that follow an answer, and the coarseness of the kernel's clock.
        const MARGIN_NS: u64 = 100_000_000;
        self.never_answered() || self.first.sent.since(self.first.received) > MARGIN_NS
    }

    /// Bytes were sent, and none ever came.
    pub(super) fn never_answered(&self) -> bool {
        let event = &self.latest;
        // One byte is the SYN.
        event.bytes_received == 0 && event.bytes_acked.saturating_add(event.send_queue.into()) > 1
    }

    /// Bytes came, and none was ever sent.
    pub(super) fn never_spoke(&self) -> bool {
        let event = &self.latest;
        event.bytes_received > 0 && event.bytes_acked.saturating_add(event.send_queue.into()) <= 1
    }

    /// Before tracing, bytes came last.
    pub(super) fn received_last(&self) -> bool {
        self.never_spoke() || self.first.received > self.first.sent
    }
}

/// All of them, by inode.
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
