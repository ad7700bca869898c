//! What a connection seems to carry, by the first bytes of a message.

use crate::connection::Protocol;

/// Longest request line that is taken for one. RFC 9112 section 3 asks for at least 8000; services with large query
/// strings go further.
pub const MAX_REQUEST_LINE: usize = 64 * 1024;
/// Longest method. The longest registered one has 17 characters (`UPDATEREDIRECTREF`).
const MAX_METHOD: usize = 32;

/// An answer from a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is one.
    Yes,
    /// It can't be one.
    No,
    /// It may be; more bytes decide.
    NeedMore,
}

/// Whether `bytes` begin an HTTP/1 request line (RFC 9112 section 3) of version 1.0 or 1.1.
pub fn request_line(bytes: &[u8]) -> Verdict {
    let Some(method_end) = bytes.iter().take(MAX_METHOD + 1).position(|byte| !is_token(*byte)) else {
        return if bytes.len() > MAX_METHOD { Verdict::No } else { Verdict::NeedMore };
    };
    if method_end == 0 || bytes[method_end] != b' ' {
        return Verdict::No;
    }
    let rest = &bytes[method_end + 1..];
    let rest = &rest[rest.iter().take_while(|byte| **byte == b' ').count()..];
    let mut target_end = 0;
    // Spaces inside the target are invalid but sent by real clients; the version decides.
    loop {
        let line = &rest[..rest.len().min(MAX_REQUEST_LINE)];
        let Some(stop) = line[target_end..].iter().position(|byte| *byte <= b' ' || *byte == 0x7f) else {
            return if rest.len() >= MAX_REQUEST_LINE { Verdict::No } else { Verdict::NeedMore };
        };
        let stop = target_end + stop;
        if stop == 0 || rest[stop] != b' ' {
            return Verdict::No;
        }
        match version(&rest[stop + 1..]) {
            Verdict::No => target_end = stop + 1,
            verdict => return verdict,
        }
    }
}

/// Whether `bytes` begin an HTTP/1 status line (RFC 9112 section 4).
pub fn status_line(bytes: &[u8]) -> Verdict {
    match version(bytes) {
        Verdict::Yes => {}
        other => return other,
    }
    let rest = &bytes[b"HTTP/1.1".len()..];
    for (index, byte) in rest.iter().take(5).enumerate() {
        let fits = match index {
            0 => *byte == b' ',
            1 => matches!(byte, b'1'..=b'9'),
            2 | 3 => byte.is_ascii_digit(),
            _ => matches!(byte, b' ' | b'\r' | b'\n'),
        };
        if !fits {
            return Verdict::No;
        }
    }
    if rest.len() >= 5 { Verdict::Yes } else { Verdict::NeedMore }
}

fn version(bytes: &[u8]) -> Verdict {
    const NAME: &[u8] = b"HTTP/1.";
    let shared = bytes.len().min(NAME.len());
    if bytes[..shared] != NAME[..shared] {
        return Verdict::No;
    }
    match bytes.get(NAME.len()) {
        None => Verdict::NeedMore,
        Some(b'0' | b'1') => Verdict::Yes,
        Some(_) => Verdict::No,
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What bytes that are not HTTP/1 seem to be, from the first of a connection or of a call.
pub fn name(bytes: &[u8]) -> Protocol {
    const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    if bytes.len() >= 6 && bytes.starts_with(&HTTP2_PREFACE[..bytes.len().min(HTTP2_PREFACE.len())]) {
        return Protocol::Http2;
    }
    if is_tls_record(bytes) { Protocol::Tls } else { Protocol::Other }
}

/// A TLS record header (RFC 8446 section 5.1): type, version 3.x, length of at most 2^14 + 2048.
pub fn is_tls_record(bytes: &[u8]) -> bool {
    match bytes {
        [0x14..=0x17, 3, 0..=4, high, low, ..] => u16::from_be_bytes([*high, *low]) <= (1 << 14) + 2048,
        [0x16, 3, 0..=4] | [0x16, 3] | [0x16] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_start_line_may_become_one() {
        for line in [
            &b"GET /a?b=c HTTP/1.1\r\n"[..],
            b"M-SEARCH * HTTP/1.0\n",
            b"CONNECT h:443 HTTP/1.1",
            b"GET  /sp ace HTTP/1.1",
        ] {
            assert_eq!(request_line(line), Verdict::Yes);
            let certain = line.windows(8).position(|w| w.starts_with(b"HTTP/1.")).unwrap() + 8;
            for length in 0..certain {
                assert_eq!(
                    request_line(&line[..length]),
                    Verdict::NeedMore,
                    "{}",
                    String::from_utf8_lossy(&line[..length])
                );
            }
        }
        for line in [&b"HTTP/1.1 200 OK"[..], b"HTTP/1.0 404\r\n"] {
            assert_eq!(status_line(line), Verdict::Yes);
            for length in 0..13 {
                assert_eq!(status_line(&line[..length]), Verdict::NeedMore);
            }
        }
    }

    #[test]
    fn other_protocols_are_not_taken_for_it() {
        let others: [&[u8]; 9] = [
            b"\x16\x03\x01\x00\x05",
            b"*1\r\n$4\r\nPING\r\n",
            b"SET key value\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b" GET / HTTP/1.1",
            b"EHLO example.org\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"GET /old\r\n",
            b"GET\r\n",
        ];
        for bytes in others {
            assert_eq!(request_line(bytes), Verdict::No, "{bytes:?}");
        }
        for bytes in [&b"HTTP/2 200"[..], b"HTTP/1.1 2x0 ", b"HTTP/1.1  20", b"ICY 200 OK", b"HTTP/1.1 2000"] {
            assert_eq!(status_line(bytes), Verdict::No, "{bytes:?}");
        }
    }
}
