//! Real clients that retry: [`tracer_tests::retries`].

use std::env;

use tracer_tests::{guard, retries::every_case};

use crate::support::tracee_path;

/// Runs of a case that becomes a committed recording: its gaps should be those that the client meant.
const RUNS_TO_KEEP: u32 = 3;

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn every_chain_is_found_and_recorded() {
    let _guard = guard::live();
    every_case(tracee_path(), if env::var_os("PIDTAP_RECORDINGS").is_some() { RUNS_TO_KEEP } else { 1 });
}
