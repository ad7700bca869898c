//! Measures how punctual pidtap observes retries, and prints the table of `docs/detectors.md`. Needs root and a quiet machine:
//! `cargo xtask bench` runs it.

use std::ffi::OsStr;

use tracer_tests::{
    guard,
    retries::{every_case, print},
};

/// Runs of a case that another process may have delayed.
const RUNS: u32 = 3;

fn main() {
    let _guard = guard::live();
    let rows = every_case(OsStr::new(env!("CARGO_BIN_EXE_tracee")), RUNS);
    print(&rows);
    for (case, row) in &rows {
        assert!(row.is_punctual(case), "{}: {row:?}", case.name);
    }
}
