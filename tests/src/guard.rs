//! The privilege and the lock of a live test.

use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Serialises the tests that trace: target, load and pidtap share the machine's processors.
///
/// # Panics
///
/// Without root. Live tests are `#[ignore]`d, so that a plain `cargo test` reports them as not run; a run that includes them must
/// be able to trace.
pub fn live() -> MutexGuard<'static, ()> {
    assert!(rustix::process::geteuid().is_root(), "tracing needs root: run `cargo xtask test live`");
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
