//! When a live test may run.

use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Tests that trace run one after the other: two cores are shared by target, load and pidtap, and some measure.
///
/// `None` where this is not root: says why, and the test is over. As root, whatever is missing is a failure later on.
pub fn live() -> Option<MutexGuard<'static, ()>> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: tracing needs root; run `cargo xtask test live`");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether this is root, who alone can be attacked by somebody else. As root, whatever is missing is a failure later on.
pub fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root has something to lose to another user");
    }
    is_root
}
