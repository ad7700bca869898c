//! State that the threads of the screens share.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::process::Signal;

use crate::{app::message::Messages, store::Store};

/// See the module.
#[derive(Default)]
pub(in crate::app) struct Shared {
    pub(super) store: Mutex<Store>,
    /// Number of frames that were drawn.
    pub(super) frames: AtomicU64,
    /// Messages and lines of the command.
    pub(in crate::app) messages: Arc<Messages>,
    /// The screens must end.
    pub(super) end: AtomicBool,
    /// The program must stop until it is continued.
    pub(super) suspend: AtomicBool,
    /// A pager has the terminal.
    pub(super) paging: AtomicBool,
    /// The thread that draws has ended.
    pub(super) gone: AtomicBool,
    /// Inodes of the connections whose queues are on the screen.
    pub(super) watched: Mutex<Vec<u64>>,
    /// Bytes of the recording that were read.
    pub(super) read: AtomicU64,
    /// Bytes of the whole recording; 0 where its size is not known.
    pub(super) size: AtomicU64,
}

/// Locks a mutex. The state behind it is valid after a panic as well.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Locks the store. The thread of the engine waits meanwhile.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Sets the number of bytes of the recording that were read.
    pub(in crate::app) fn set_read(&self, bytes: u64) {
        self.read.store(bytes, Ordering::Relaxed);
    }

    /// True once the user has left the screens.
    pub(in crate::app) fn is_left(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Sets the size of the recording in bytes; 0 where it is not known.
    pub(in crate::app) fn set_size(&self, bytes: u64) {
        self.size.store(bytes, Ordering::Relaxed);
    }

    /// Ends the screens.
    pub(in crate::app) fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    /// Handles a signal that concerns the screens alone. False for a signal that ends the trace.
    pub(in crate::app) fn take_signal(&self, signal: Signal) -> bool {
        match signal {
            // The pager stops by itself. pidtap must stop as well, else no shell takes the terminal back.
            Signal::TSTP if self.paging.load(Ordering::Relaxed) => {
                stop_all();
                true
            }
            Signal::TSTP => {
                self.suspend.store(true, Ordering::Relaxed);
                true
            }
            // Ctrl-C while a pager has the terminal is for the pager.
            Signal::INT => self.paging.load(Ordering::Relaxed),
            _ => false,
        }
    }
}

/// Stops this program until it is continued, as Ctrl-Z stops others. The terminal must be as other programs expect it.
pub(in crate::app) fn stop_all() {
    // A process can always send itself a signal.
    let _ = signal_hook::low_level::raise(Signal::STOP.as_raw());
}
