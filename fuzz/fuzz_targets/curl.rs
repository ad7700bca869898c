//! Any request as a curl command: a shell, by a reading of its rules that shares no code with what wrote it, makes of the
//! words what was sent, runs nothing else, and finds nothing to expand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap_fuzz::{pasted, seeds};

fuzz_target!(init: seeds::write(&seeds::curl()), |bytes: &[u8]| pasted::check(bytes));
