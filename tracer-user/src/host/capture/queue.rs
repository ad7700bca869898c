//! Bounded queue of batches with recycled buffers.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

/// Maximum number of queued batches. Together with [`BATCH_SIZE`] it bounds the memory between ring and engine.
const DEPTH: usize = 8;
/// Size in bytes at which a batch is full.
pub(super) const BATCH_SIZE: usize = 512 * 1024;

/// Result of [`super::Capture::recv_timeout`].
#[derive(Debug)]
pub enum Received {
    /// A batch of events.
    Batch(Vec<u8>),
    /// No batch arrived within the timeout.
    Timeout,
    /// The capture has ended.
    Ended,
}

/// Sending half, used by the drain thread.
#[derive(Debug)]
pub(super) struct BatchSender {
    batches: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

/// Receiving half, used by the engine thread.
#[derive(Debug)]
pub(super) struct BatchReceiver {
    batches: Receiver<Vec<u8>>,
    spare: SyncSender<Vec<u8>>,
}

pub(super) fn bounded() -> (BatchSender, BatchReceiver) {
    let (batch_sender, batch_receiver) = sync_channel(DEPTH);
    let (spare_sender, spare_receiver) = sync_channel(DEPTH);
    (
        BatchSender { batches: batch_sender, spare: spare_receiver },
        BatchReceiver { batches: batch_receiver, spare: spare_sender },
    )
}

impl BatchSender {
    /// Returns an empty buffer, recycled if possible.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH_SIZE))
    }

    /// Waits for room and sends a batch. Returns `false` if the receiver is gone.
    pub(super) fn send(&self, batch: Vec<u8>) -> bool {
        self.batches.send(batch).is_ok()
    }
}

impl BatchReceiver {
    pub(super) fn recv(&self) -> Option<Vec<u8>> {
        self.batches.recv().ok()
    }

    pub(super) fn recv_timeout(&self, timeout: Duration) -> Received {
        match self.batches.recv_timeout(timeout) {
            Ok(batch) => Received::Batch(batch),
            Err(RecvTimeoutError::Timeout) => Received::Timeout,
            Err(RecvTimeoutError::Disconnected) => Received::Ended,
        }
    }

    pub(super) fn recycle(&self, mut batch: Vec<u8>) {
        batch.clear();
        match self.spare.try_send(batch) {
            // Enough buffers are spare, or the sender is gone: free this one.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}
