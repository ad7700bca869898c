//! The protocol of bytes that no decoder reads, named from the first of them.

use crate::model::connection::Protocol;

/// Names the protocol that a connection, or a call on it, begins with.
pub fn name(bytes: &[u8]) -> Protocol {
    const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    if bytes.len() >= 6 && bytes.starts_with(&HTTP2_PREFACE[..bytes.len().min(HTTP2_PREFACE.len())]) {
        return Protocol::Http2;
    }
    if is_tls_record(bytes) {
        Protocol::Tls
    } else if bytes.starts_with(b"SSH-") {
        // RFC 4253 section 4.2.
        Protocol::Ssh
    } else if bytes.starts_with(b"ICY ") {
        Protocol::Icy
    } else if is_simple_request(bytes) {
        Protocol::Http09
    } else {
        Protocol::Other
    }
}

/// A request of HTTP/0.9: `GET`, a path, and no version. Only the beginning of the line may be there.
fn is_simple_request(bytes: &[u8]) -> bool {
    let Some(target) = bytes.strip_prefix(b"GET /") else { return false };
    let line = target.split(|byte| *byte == b'\n').next().unwrap_or_default();
    !line.strip_suffix(b"\r").unwrap_or(line).iter().any(|byte| *byte <= b' ' || *byte == 0x7f)
}

/// A TLS record header (RFC 8446 section 5.1): type, version 3.x, length of at most 2^14 + 2048.
pub fn is_tls_record(bytes: &[u8]) -> bool {
    match bytes {
        [0x14..=0x17, 3, 0..=4, high, low, ..] => u16::from_be_bytes([*high, *low]) <= (1 << 14) + 2048,
        [0x16, 3, 0..=4] | [0x16, 3] | [0x16] => true,
        _ => false,
    }
}
