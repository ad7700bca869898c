//! Any bytes before the redactor: it never panics, its output is bounded, UTF-8 stays UTF-8, and a secret in a known place is masked
//! under any text of the sender around it.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use pidtap::text::redact::{MarkKey, Redactor};
use pidtap_fuzz::{planted, seeds};

const TYPES: [Option<&[u8]>; 4] = [
    None,
    Some(b"application/x-www-form-urlencoded"),
    Some(b"multipart/form-data; boundary=X"),
    Some(b"application/json"),
];
const NAMES: [&[u8]; 4] = [b"x-any", b"set-cookie", b"host", b"sec-websocket-protocol"];
/// Length of a text that reveals quadratic work: quadratic code takes minutes for it. Linear code takes a fraction of a second, even
/// with instrumentation and on a busy machine.
const LONG: usize = 32 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

fuzz_target!(init: seeds::write(&seeds::redact()), |bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else { return };
    let redactor = Redactor::new(false).with_key(Some(MarkKey::new([7; 16])));
    let kind = usize::from(*first & 3);
    match first >> 2 {
        0 => whole(text, &redactor.body(TYPES[kind], text)),
        1 => whole(text, &redactor.header(NAMES[kind], text)),
        2 => {
            let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return };
            let (name, value) = (&text[..end], &text[end + 1..]);
            whole(value, &redactor.header(name, value));
        }
        3 => {
            let Ok(text) = str::from_utf8(text) else { return };
            for masked in [redactor.url(text), redactor.text(text), redactor.authority(text)] {
                assert!(text.contains('\u{fffd}') || !masked.contains('\u{fffd}'), "{text:?} became {masked:?}");
                whole(text.as_bytes(), masked.as_bytes());
            }
        }
        4 if (1..=24).contains(&text.len()) => {
            let text = text.repeat(LONG / text.len());
            let started = Instant::now();
            whole(&text, &redactor.body(TYPES[kind], &text));
            assert!(started.elapsed() < PATIENCE, "it took {:?}", started.elapsed());
        }
        place => planted::check(place, text, redactor),
    }
});

fn whole(text: &[u8], masked: &[u8]) {
    assert!(masked.len() <= 8 * text.len() + 64, "{} bytes became {}", text.len(), masked.len());
    assert!(str::from_utf8(text).is_err() || str::from_utf8(masked).is_ok(), "UTF-8 became something else");
}
