//! Loads the probes and drains their events from the ring.
//!
//! A dedicated thread drains the ring into batches, so that event processing cannot delay it. The queue of batches is
//! bounded. If the queue is full, the thread waits, the ring fills, and the probes count the events that do not fit, by
//! cause.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

mod btf;
mod cast;
mod drain;
mod error;
mod handle;
mod load;
mod queue;
mod refusal;

pub use error::CaptureError;
pub use handle::{Handle, Mute};
pub use load::carries_probes;
pub use queue::Received;
pub use refusal::VerifierLog;
use tracer_common::limit;

use self::{drain::Drain, queue::BatchReceiver};
use crate::host::confine::{self, Duty};

/// Options of a capture.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Target processes (thread group IDs of the initial PID namespace).
    pub targets: Vec<u32>,
    /// Whether children of targets become targets.
    pub follow: bool,
    /// Size of the ring in bytes: a power of two, at least a page.
    pub ring_size: u32,
    /// Maximum number of bytes copied of one call; further bytes are counted.
    pub call_capture: u32,
    /// User and group of all targets. A target that executes a program with other IDs or with capabilities is dropped.
    pub owner: Option<(u32, u32)>,
    /// Read kernel memory by helper calls only. Kernels before 6.2 do so without this option.
    pub helper_reads: bool,
}

/// Default size of the ring in bytes. It holds about a third of a second of 100,000 small requests per second.
pub const DEFAULT_RING_SIZE: u32 = 32 << 20;

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            follow: true,
            ring_size: DEFAULT_RING_SIZE,
            call_capture: limit::DEFAULT_CALL_CAPTURE,
            owner: None,
            helper_reads: false,
        }
    }
}

/// Running probes. The kernel removes them when this value is dropped or the process ends in any way.
#[derive(Debug)]
pub struct Capture {
    // Dropped first, so that a thread that waits for room in the queue ends.
    batches: Option<BatchReceiver>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    missing: Vec<&'static str>,
    direct: bool,
}

impl Capture {
    /// Loads and attaches the probes. After the return, the probes see every call of the targets.
    ///
    /// # Errors
    ///
    /// [`CaptureError`] with operation, failure and remedy.
    pub fn start(options: &CaptureOptions) -> Result<Self, CaptureError> {
        let loaded = load::load(options)?;
        let (sender, batches) = queue::bounded();
        let handle = Handle::new(loaded.ebpf, loaded.maps);
        let drain = Drain::new(loaded.ring, loaded.losses, sender, Arc::clone(handle.shared()))?;
        let thread = confine::spawn("pidtap-drain", Duty::Maps, move || drain.run())
            .map_err(|source| CaptureError::Thread { source })?;
        Ok(Self {
            batches: Some(batches),
            handle,
            thread: Some(thread),
            missing: loaded.missing,
            direct: loaded.direct,
        })
    }

    /// Optional tracepoints that this kernel lacks.
    pub fn missing_tracepoints(&self) -> &[&'static str] {
        &self.missing
    }

    /// Whether the probes load kernel memory directly. Otherwise the kernel is older than 6.2 or its verifier rejected
    /// the loads, and each read is a helper call, which costs the target about 1 microsecond per request.
    pub fn loads_directly(&self) -> bool {
        self.direct
    }

    /// Returns a handle that controls the capture from any thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for a batch of consecutive events. Returns `None` after the last batch, which ends with DETACHED.
    pub fn recv(&self) -> Option<Vec<u8>> {
        self.batches.as_ref().and_then(BatchReceiver::recv)
    }

    /// Waits for a batch for at most `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Received {
        self.batches.as_ref().map_or(Received::Ended, |batches| batches.recv_timeout(timeout))
    }

    /// Returns the memory of a batch for reuse.
    pub fn recycle(&self, batch: Vec<u8>) {
        if let Some(batches) = &self.batches {
            batches.recycle(batch);
        }
    }

    /// Appends an event created in user space to the next batch.
    pub fn inject(&self, event: &crate::event::Event<'_>) {
        self.handle.inject(event);
    }

    /// Removes the probes. [`Self::recv`] still returns the events sent before, then DETACHED, then `None`.
    pub fn stop(&self) {
        self.handle.stop();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.handle.stop();
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // The panic hook has already printed a panic of the thread.
            let _ = thread.join();
        }
    }
}
