//! The engine under hostile event sequences: bytes of any shape, on several connections, in both directions, split anywhere, with
//! gaps, repetition, errors and closes. It never panics, and its reports are consistent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap_fuzz::{script, seeds};

fuzz_target!(init: seeds::write(&seeds::http1()), |bytes: &[u8]| script::run(bytes));
