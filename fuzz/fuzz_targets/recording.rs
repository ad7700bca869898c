//! Any bytes as a recording: reading never panics, ends, and delivers only events that decode. Half of the inputs become records of a
//! recording with a valid header and valid checksums, so that the fuzzer gets past these.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap::{
    event::Event,
    recording::{Header, Reader, Writer},
};
use pidtap_fuzz::seeds;

fuzz_target!(init: seeds::write(&seeds::recording()), |bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first & 1 == 0 {
        read(rest);
        return;
    }
    let mut writer = Writer::new(Vec::new(), &Header::default()).expect("memory takes everything");
    let mut left = rest;
    while let Some(length) = left.get(12..16).and_then(|field| field.try_into().ok()).map(u32::from_ne_bytes) {
        let Some((event, after)) = left.split_at_checked(length as usize) else { break };
        if writer.write_event(event).is_err() {
            break;
        }
        left = after;
    }
    read(&writer.finish().expect("memory takes everything"));
});

fn read(bytes: &[u8]) {
    let Ok(mut reader) = Reader::open(bytes) else { return };
    let mut total = 0;
    while let Some(event) = reader.next_event().expect("memory is always readable") {
        assert!(Event::decode(event).is_ok());
        total += event.len();
    }
    assert!(total <= bytes.len());
}
