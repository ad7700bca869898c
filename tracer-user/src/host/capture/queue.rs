//! The bounded queue of batches, whose buffers go round.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

/// Batches that wait to be taken, at most. With [`BATCH_SIZE`] this bounds the memory between ring and engine.
const DEPTH: usize = 8;
/// Bytes at which a batch is full.
pub(super) const BATCH_SIZE: usize = 512 * 1024;

/// What [`super::Capture::recv_timeout`] gives.
#[derive(Debug)]
pub enum Received {
    /// A batch of events.
    Batch(Vec<u8>),
    /// None came in time.
    Timeout,
    /// None will come.
    Ended,
}

/// The drain thread's end.
#[derive(Debug)]
pub(super) struct BatchSender {
    batches: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

/// The engine's end.
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
    /// An empty buffer, used before if there is one.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH_SIZE))
    }

    /// Waits for room and sends. False where nobody receives any more.
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
            // Enough of them are waiting, or nobody wants any: this one is freed.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}
