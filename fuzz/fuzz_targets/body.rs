//! Any bytes as a body, with any media type: its presentation is harmless and bounded, and marks what it omits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap::{
    model::exchange::{Body, Fields},
    payload::body::{self, Limits},
    text::{escape::Visible, redact::Redactor},
};
use pidtap_fuzz::seeds;

const TYPES: [&str; 8] = [
    "",
    "application/json",
    "application/x-www-form-urlencoded",
    "text/event-stream",
    "text/plain",
    "multipart/form-data; boundary=X",
    "application/octet-stream",
    "text/html; charset=iso-8859-1",
];
const LIMITS: Limits = Limits { decoded: 16 * 1024, lines: 100 };

fuzz_target!(init: seeds::write(&seeds::body()), |bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let mut headers = Fields::default();
    headers.push(b"Content-Type", TYPES[usize::from(first & 7)].as_bytes());
    let coding: &[u8] = [&b""[..], b"gzip", b"br", b"zstd"][usize::from(first >> 3 & 3)];
    if !coding.is_empty() {
        headers.push(b"Content-Encoding", coding);
    }
    let more = u64::from(first >> 5 & 1);
    let body = Body { bytes: bytes.len() as u64 + more, captured: bytes.to_vec(), missing: 0 };
    let shown = body::show(&headers, &body, Redactor::new(first >> 6 & 1 == 1), LIMITS);
    assert!(shown.lines.len() <= LIMITS.lines);
    for line in &shown.lines {
        assert!(Visible(&line.text).is_plain(), "{line:?}");
        assert_eq!(line.pieces().map(|(_, text)| text).collect::<String>(), line.text);
    }
    for remark in &shown.remarks {
        assert!(Visible(&remark.to_string()).is_plain(), "{remark:?}");
    }
});
