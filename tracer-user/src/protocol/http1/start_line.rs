//! Start lines of HTTP/1 messages, recognised from a prefix (RFC 9112 sections 3 and 4).

use super::head::MAX_HEAD;

/// Maximum length of a request line in bytes: that of a head. RFC 9112 section 3 requires at least 8000; dashboards and
/// search engines send queries of hundreds of KiB.
pub const MAX_REQUEST_LINE: usize = MAX_HEAD;
/// Maximum length of a method in bytes. The longest registered method has 17 characters (`UPDATEREDIRECTREF`).
pub const MAX_METHOD: usize = 32;

/// Result of a test of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The prefix begins such a line.
    Yes,
    /// The prefix begins no such line.
    No,
    /// More bytes are needed.
    NeedMore,
}

/// Whether `bytes` begin an HTTP/1 request line (RFC 9112 section 3). Some clients send the version in
/// lower case; servers refuse it.
pub fn request_line(bytes: &[u8]) -> Verdict {
    RequestLine::default().read(bytes)
}

/// Incremental test for a request line: bytes that were read are not read again when more arrive.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestLine {
    part: Part,
    /// Number of bytes that were read.
    at: usize,
}

/// Part of a request line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Method,
    Spaces,
    Target,
}

impl RequestLine {
    /// Whether `bytes` begin a request line. They must extend the bytes of the previous call, which returned
    /// [`Verdict::NeedMore`].
    pub fn read(&mut self, bytes: &[u8]) -> Verdict {
        let ends_target = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
        if self.part == Part::Method {
            let Some(end) = bytes.iter().take(MAX_METHOD + 1).position(|byte| !is_token(*byte)) else {
                return if bytes.len() > MAX_METHOD { Verdict::No } else { Verdict::NeedMore };
            };
            if end == 0 || bytes[end] != b' ' {
                return Verdict::No;
            }
            *self = Self { part: Part::Spaces, at: end + 1 };
        }
        if self.part == Part::Spaces {
            self.at += self.rest(bytes).iter().take_while(|byte| **byte == b' ').count();
            match bytes.get(self.at) {
                None => return Verdict::NeedMore,
                Some(byte) if ends_target(byte) => return Verdict::No,
                Some(_) => self.part = Part::Target,
            }
        }
        // Real clients send spaces in the target although they are invalid; the version decides.
        loop {
            let rest = self.rest(bytes);
            let Some(stop) = rest.iter().position(ends_target) else {
                self.at += rest.len();
                return Verdict::NeedMore;
            };
            self.at += stop;
            if rest[stop] != b' ' {
                return Verdict::No;
            }
            match version(&rest[stop + 1..], true) {
                Verdict::No => self.at += 1,
                verdict => return verdict,
            }
        }
    }

    fn rest<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.at..).unwrap_or_default()
    }

    /// Number of bytes that were read.
    #[cfg(test)]
    pub fn at(&self) -> usize {
        self.at
    }
}

/// Whether `bytes` begin an HTTP/1 status line (RFC 9112 section 4). Like clients, this accepts several spaces before
/// the code (RFC 9112 section 4 permits parsing on whitespace), and a line that ends after the code.
pub fn status_line(bytes: &[u8]) -> Verdict {
    match version(bytes, false) {
        Verdict::Yes => {}
        other => return other,
    }
    let rest = &bytes[b"HTTP/1.1".len()..];
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    if spaces > MAX_SPACES || (spaces == 0 && !rest.is_empty()) {
        return Verdict::No;
    }
    let rest = &rest[spaces..];
    for (index, byte) in rest.iter().take(4).enumerate() {
        let fits = match index {
            0 => matches!(byte, b'1'..=b'9'),
            1 | 2 => byte.is_ascii_digit(),
            _ => matches!(byte, b' ' | b'\r' | b'\n'),
        };
        if !fits {
            return Verdict::No;
        }
    }
    if rest.len() >= 4 { Verdict::Yes } else { Verdict::NeedMore }
}

/// Maximum number of spaces between version and code of a status line.
const MAX_SPACES: usize = 16;

/// Whether `bytes` begin with a version of HTTP/1. A higher minor version counts as the highest known one (RFC 9110
/// section 2.5).
fn version(bytes: &[u8], any_case: bool) -> Verdict {
    const NAME: &[u8] = b"HTTP/1.";
    let shared = bytes.len().min(NAME.len());
    let same = if any_case {
        bytes[..shared].eq_ignore_ascii_case(&NAME[..shared])
    } else {
        bytes[..shared] == NAME[..shared]
    };
    if !same {
        return Verdict::No;
    }
    match bytes.get(NAME.len()) {
        None => Verdict::NeedMore,
        Some(b'0'..=b'9') => Verdict::Yes,
        Some(_) => Verdict::No,
    }
}

/// Whether the byte is a `tchar` (RFC 9110 section 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
            b"GET / http/1.1",
        ] {
            assert_eq!(request_line(line), Verdict::Yes);
            let certain = line.windows(8).position(|w| w[..7].eq_ignore_ascii_case(b"HTTP/1.")).unwrap() + 8;
            for length in 0..certain {
                assert_eq!(
                    request_line(&line[..length]),
                    Verdict::NeedMore,
                    "{}",
                    String::from_utf8_lossy(&line[..length])
                );
            }
        }
        for (line, decides) in [(&b"HTTP/1.1 200 OK"[..], 13), (b"HTTP/1.0 404\r\n", 13), (b"HTTP/1.1  200  OK", 14)] {
            assert_eq!(status_line(line), Verdict::Yes);
            for length in 0..decides {
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
        for bytes in [&b"HTTP/2 200"[..], b"HTTP/1.1 2x0 ", b"HTTP/1.1200 OK", b"ICY 200 OK", b"HTTP/1.1 2000"] {
            assert_eq!(status_line(bytes), Verdict::No, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_line_that_comes_in_parts_is_read_once() {
        let lines =
            ["GET /a?b=c HTTP/1.1\r", "GET    /sp ace HTT HTTP/1.x HTTP/1.0", "GET  \r", "G\t", "A / HTTP/2", " "];
        let long = [b"GET /".to_vec(), b" a".repeat(5000), b" HTTP/1.1".to_vec()].concat();
        let spaces = [b"GET ".to_vec(), b" ".repeat(5000), b"/ http/1.1".to_vec()].concat();
        for line in lines.iter().map(|line| line.as_bytes()).chain([&long[..], &spaces]) {
            for step in [1, 2, 7] {
                let (mut reading, mut read) = (RequestLine::default(), 0);
                for length in (1..=line.len()).step_by(step) {
                    read += length - reading.at();
                    let verdict = reading.read(&line[..length]);
                    assert_eq!(verdict, request_line(&line[..length]), "{:?}", line[..length].escape_ascii());
                    if verdict != Verdict::NeedMore {
                        break;
                    }
                }
                // The method and a possible version are read again.
                assert!(read <= 12 * line.len(), "{read} bytes of {}", line.len());
            }
        }
    }
}
