//! Loads the probes, and takes their events out of the ring.
//!
//! A thread of its own drains the ring into batches, so that nothing that is done with the events can hold it up; the
//! queue of batches is bounded, and when it is full the thread waits: then the ring fills, and what does not fit
//! there is counted by the probes, in one place and by cause.

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

/// What to capture.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Processes (thread groups, as the initial PID namespace numbers them).
    pub targets: Vec<u32>,
    /// Children of targets become targets.
    pub follow: bool,
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_size: u32,
    /// Bytes copied of one call at most; what exceeds it is counted.
    pub call_capture: u32,
    /// User and group of all targets: one that executes a program with other ids or with capabilities is traced no further.
    pub owner: Option<(u32, u32)>,
    /// Read kernel memory by helper calls alone, as kernels before 6.2 need. They are recognised without this.
    pub helper_reads: bool,
}

/// Ring that holds about a third of a second of a service that serves 100,000 small requests a second.
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

/// Live probes. Dropping it removes them; so does the end of the process, however it comes.
#[derive(Debug)]
pub struct Capture {
    // Declared first, so dropped first: a thread that waits for room in the queue then ends.
    batches: Option<BatchReceiver>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    missing: Vec<&'static str>,
    direct: bool,
}

impl Capture {
    /// Loads and attaches the probes. When this returns, every call of the targets is seen.
    ///
    /// # Errors
    ///
    /// [`CaptureError`], which says what was tried, what failed and what to do.
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

    /// Optional tracepoints that this kernel does not have.
    pub fn missing_tracepoints(&self) -> &[&'static str] {
        &self.missing
    }

    /// Whether the probes load kernel memory by themselves. Otherwise the kernel is older than 6.2, or its verifier
    /// refused that, and each read is a helper call: the target pays about 1 microsecond more for a request.
    pub fn loads_directly(&self) -> bool {
        self.direct
    }

    /// A handle to control the capture from anywhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for a batch: events that follow each other directly. None after the last one, which ends with DETACHED.
    pub fn recv(&self) -> Option<Vec<u8>> {
        self.batches.as_ref().and_then(BatchReceiver::recv)
    }

    /// Waits for a batch, but not longer than `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Received {
        self.batches.as_ref().map_or(Received::Ended, |batches| batches.recv_timeout(timeout))
    }

    /// Gives a batch back, so that its memory is used again.
    pub fn recycle(&self, batch: Vec<u8>) {
        if let Some(batches) = &self.batches {
            batches.recycle(batch);
        }
    }

    /// Appends an event that was born in user space.
    pub fn inject(&self, event: &crate::event::Event<'_>) {
        self.handle.inject(event);
    }

    /// Removes the probes. What they had sent still comes through [`Self::recv`], then DETACHED, then none.
    pub fn stop(&self) {
        self.handle.stop();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.handle.stop();
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed as it happened.
            let _ = thread.join();
        }
    }
}
