//! Any bytes as an event: decoding never panics, and a decoded event is the same after encoding and decoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap::event::Event;
use pidtap_fuzz::seeds;

fuzz_target!(init: seeds::write(&seeds::event()), |bytes: &[u8]| {
    let Ok(event) = Event::decode(bytes) else { return };
    let mut encoded = Vec::new();
    event.encode(&mut encoded);
    let again = Event::decode(&encoded).expect("what was encoded decodes");
    let mut twice = Vec::new();
    again.encode(&mut twice);
    assert_eq!(encoded, twice);
});
