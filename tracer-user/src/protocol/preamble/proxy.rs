//! The PROXY protocol of HAProxy (`doc/proxy-protocol.txt`), versions 1 and 2. A load balancer sends the address of its
//! client before the first byte that it forwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Answer, Preamble};

/// Maximum length of a version 1 header, line end included (section 2.1).
const MAX_LINE: usize = 107;
/// First bytes of version 2 (section 2.2). No other protocol begins with them.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Length of signature, command, family and length.
const FIXED: usize = 16;
/// Lengths of the version 2 address blocks: two IPv4 or IPv6 addresses with ports, or two paths.
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;
const PATH_BYTES: usize = UNIX_BYTES / 2;

pub(super) fn read(bytes: &[u8]) -> Answer {
    match bytes.first() {
        None => Answer::NeedMore,
        Some(b'P') => line(bytes),
        Some(b'\r') => binary(bytes),
        Some(_) => Answer::No,
    }
}

fn done(length: usize, client: Option<Box<str>>) -> Answer {
    Answer::Done(Preamble { requests: length as u64, client, ..Preamble::default() })
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Answer {
    const NAME: &[u8] = b"PROXY ";
    let shared = bytes.len().min(NAME.len());
    if bytes[..shared] != NAME[..shared] {
        return Answer::No;
    }
    let bytes = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = bytes.iter().position(u8::is_ascii_control) else {
        return if bytes.len() < MAX_LINE { Answer::NeedMore } else { Answer::No };
    };
    match &bytes[end..] {
        [b'\r'] if end + 2 <= MAX_LINE => return Answer::NeedMore,
        [b'\r', b'\n', ..] => {}
        _ => return Answer::No,
    }
    let Ok(said) = str::from_utf8(&bytes[NAME.len()..end]) else { return Answer::No };
    // The fields after UNKNOWN are ignored (section 2.1).
    if said == "UNKNOWN" || said.starts_with("UNKNOWN ") {
        return done(end + 2, None);
    }
    match addresses(said) {
        Some(client) => done(end + 2, Some(client.to_string().into())),
        None => Answer::No,
    }
}

/// Returns the client of `TCP4 SOURCE DESTINATION PORT PORT`.
fn addresses(said: &str) -> Option<SocketAddr> {
    let mut fields = said.split(' ');
    let family = fields.next()?;
    let (source, destination): (IpAddr, IpAddr) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (port, _): (u16, u16) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && fields.next().is_none()).then(|| SocketAddr::new(source.to_canonical(), port))
}

/// Version 2: binary, with a length field. Bytes after the addresses are skipped.
fn binary(bytes: &[u8]) -> Answer {
    let shared = bytes.len().min(SIGNATURE.len());
    if bytes[..shared] != SIGNATURE[..shared] {
        return Answer::No;
    }
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Answer::NeedMore };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let end = FIXED + length;
    // LOCAL: the load balancer itself sends the request, mostly as a health check.
    if command == 0x20 {
        return done(end, None);
    }
    let needed = match (command, family >> 4, family & 0xf) {
        (0x21, 1, 1 | 2) => INET_BYTES,
        (0x21, 2, 1 | 2) => INET6_BYTES,
        (0x21, 3, 1 | 2) => UNIX_BYTES,
        (0x21, ..) => return done(end, None),
        _ => return Answer::No,
    };
    if length < needed {
        return Answer::No;
    }
    let Some(said) = rest.get(..needed) else { return Answer::NeedMore };
    done(end, client(said))
}

/// Returns the source of an address block. The length of the block selects its type.
fn client(said: &[u8]) -> Option<Box<str>> {
    let port = |at: usize| said.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let inet = |ip: IpAddr, port: u16| Some(SocketAddr::new(ip.to_canonical(), port).to_string().into());
    match said.len() {
        INET_BYTES => inet(Ipv4Addr::from(*said.first_chunk::<4>()?).into(), port(8)?),
        INET6_BYTES => inet(Ipv6Addr::from(*said.first_chunk::<16>()?).into(), port(32)?),
        _ => {
            let path = said.get(..PATH_BYTES)?.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
            Some(format!("unix:{}", String::from_utf8_lossy(path)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
        let length = u16::try_from(said.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, said].concat()
    }

    /// Asserts that each prefix shorter than `decides` needs more bytes, and that the bytes after it do not matter.
    fn check(header: &[u8], decides: usize, client: Option<&str>) {
        let expected = done(header.len(), client.map(Into::into));
        for length in 0..decides {
            assert_eq!(read(&header[..length]), Answer::NeedMore, "{length} of {header:?}");
        }
        for length in decides..=header.len() {
            assert_eq!(read(&header[..length]), expected, "{length} of {header:?}");
        }
        assert_eq!(read(&[header, b"GET / HTTP/1.1\r\n"].concat()), expected);
    }

    #[test]
    fn lines_are_read_wherever_they_are_cut() {
        for (line, client) in [
            (&b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\n"[..], Some("192.0.2.1:56324")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Some("[2001:db8::1]:1")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 7 80\r\n", Some("192.0.2.1:7")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", None),
        ] {
            check(line, line.len(), client);
        }
    }

    #[test]
    fn binary_headers_are_read_wherever_they_are_cut() {
        let inet = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 0, 80];
        check(&binary(0x21, 0x11, &inet), 28, Some("192.0.2.1:56324"));
        // Bytes after the addresses are skipped.
        check(&binary(0x21, 0x11, &[&inet[..], &[3; 4000]].concat()), 28, Some("192.0.2.1:56324"));
        let mut inet6 = [0; INET6_BYTES];
        (inet6[15], inet6[33]) = (1, 9);
        check(&binary(0x21, 0x21, &inet6), 52, Some("[::1]:9"));
        let mut unix = [0; UNIX_BYTES];
        unix[..6].copy_from_slice(b"/run/a");
        check(&binary(0x21, 0x31, &unix), 232, Some("unix:/run/a"));
        check(&binary(0x21, 0, &[]), FIXED, None);
        check(&binary(0x20, 0, &[1; 30]), FIXED, None);
    }

    #[test]
    fn what_is_no_header_is_none() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 120], b"\r\n"].concat();
        let cases: [Vec<u8>; 12] = [
            b"POST / HTTP/1.1\r\n".into(),
            b"PROXY TCP4 / HTTP/1.1\r\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 80 1\r\n".into(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx".into(),
            b"\r\nGET / HTTP/1.1\r\n".into(),
            binary(0x31, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            long,
        ];
        for bytes in cases {
            assert_eq!(read(&bytes), Answer::No, "{bytes:?}");
        }
    }
}
