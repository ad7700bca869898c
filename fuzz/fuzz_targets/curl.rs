//! Any request as a curl command: a shell would send the same request, run no other command, and expand nothing. The shell's rules
//! are implemented apart from the code that writes commands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap_fuzz::{pasted, seeds};

fuzz_target!(init: seeds::write(&seeds::curl()), |bytes: &[u8]| pasted::check(bytes));
