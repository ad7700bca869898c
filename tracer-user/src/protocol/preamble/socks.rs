//! SOCKS5 (RFC 1928), with optional user and password (RFC 1929). A client requests a connection from a proxy, then
//! uses the same connection to talk to the destination.
//!
//! The negotiation depends on the messages of both sides, so both are read together. A client may send ahead of the
//! responses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Answer, Preamble};

pub(super) const VERSION: u8 = 5;
/// Authentication methods (RFC 1928 section 3).
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
/// Version of the sub-negotiation (RFC 1929).
const PASSWORD_VERSION: u8 = 1;
/// Command after which the connection carries the client's data (RFC 1928 section 4).
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;

pub(super) fn read(requests: &[u8], responses: &[u8]) -> Answer {
    match negotiation(&mut Side(requests, 0), &mut Side(responses, 0)) {
        Ok(preamble) => Answer::Done(preamble),
        Err(answer) => answer,
    }
}

/// Bytes that one side sent, and the number of them that were read.
struct Side<'a>(&'a [u8], usize);

impl<'a> Side<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Answer> {
        let taken = self.0.get(self.1..self.1 + length).ok_or(Answer::NeedMore)?;
        self.1 += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Answer> {
        self.take(1).map(|taken| taken[0])
    }

    fn expect(&mut self, value: u8) -> Result<(), Answer> {
        if self.byte()? == value { Ok(()) } else { Err(Answer::No) }
    }

    /// Reads a field that is preceded by its length.
    fn field(&mut self) -> Result<&'a [u8], Answer> {
        let length = self.byte()?;
        self.take(usize::from(length))
    }

    /// Reads type, address and port (RFC 1928 section 5).
    fn address(&mut self) -> Result<Box<str>, Answer> {
        let kind = self.byte()?;
        let host = match kind {
            1 => self.take(4)?,
            3 => self.field()?,
            4 => self.take(16)?,
            _ => return Err(Answer::No),
        };
        let port = self.take(2)?;
        let port = u16::from_be_bytes([port[0], port[1]]);
        if kind == 3 {
            let usable = |byte: &u8| byte.is_ascii_graphic() || *byte >= 0x80;
            return match str::from_utf8(host) {
                Ok(name) if host.iter().all(usable) => Ok(format!("{name}:{port}").into()),
                _ => Err(Answer::No),
            };
        }
        let address = match (host.first_chunk::<16>(), host.first_chunk::<4>()) {
            (Some(host), _) => SocketAddr::from((Ipv6Addr::from(*host), port)),
            (_, Some(host)) => SocketAddr::from((Ipv4Addr::from(*host), port)),
            _ => return Err(Answer::No),
        };
        Ok(address.to_string().into())
    }
}

fn negotiation(client: &mut Side<'_>, proxy: &mut Side<'_>) -> Result<Preamble, Answer> {
    // One side that begins with another version suffices to rule out SOCKS5.
    if [&*client, &*proxy].iter().any(|side| side.0.first().is_some_and(|first| *first != VERSION)) {
        return Err(Answer::No);
    }
    client.expect(VERSION)?;
    let methods = client.field()?;
    // Other methods wrap the connection in an encapsulation of their own; a proxy that accepts no offered method
    // refuses.
    if !methods.iter().any(|method| matches!(*method, NO_AUTHENTICATION | PASSWORD)) {
        return Err(Answer::No);
    }
    proxy.expect(VERSION)?;
    match proxy.byte()? {
        method if !methods.contains(&method) => return Err(Answer::No),
        NO_AUTHENTICATION => {}
        PASSWORD => {
            client.expect(PASSWORD_VERSION)?;
            client.field()?;
            client.field()?;
            proxy.expect(PASSWORD_VERSION)?;
            proxy.expect(SUCCEEDED)?;
        }
        _ => return Err(Answer::No),
    }
    client.expect(VERSION)?;
    client.expect(CONNECT)?;
    client.expect(0)?;
    let destination = client.address()?;
    proxy.expect(VERSION)?;
    proxy.expect(SUCCEEDED)?;
    proxy.expect(0)?;
    // Some proxies report an empty name as their own address.
    proxy.address()?;
    Ok(Preamble {
        requests: client.1 as u64,
        responses: proxy.1 as u64,
        destination: Some(destination),
        ..Preamble::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Turns<'a> = &'a [(bool, &'a [u8])];

    const PLAIN: Turns<'_> = &[
        (true, b"\x05\x01\x00"),
        (false, b"\x05\x00"),
        (true, b"\x05\x01\x00\x03\x0bexample.org\x00\x50"),
        (false, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x30\x39"),
    ];
    const WITH_PASSWORD: Turns<'_> = &[
        (true, b"\x05\x03\x00\x01\x02"),
        (false, b"\x05\x02"),
        (true, b"\x01\x04user\x06secret"),
        (false, b"\x01\x00"),
        (true, b"\x05\x01\x00\x01\xc0\x00\x02\x01\x1f\x90"),
        (false, b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x01"),
    ];
    const IPV6: Turns<'_> = &[
        (true, b"\x05\x02\x00\x02"),
        (false, b"\x05\x00"),
        (true, b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50"),
        (false, b"\x05\x00\x00\x03\x00\x00\x00"),
    ];

    fn sides(turns: Turns<'_>) -> [Vec<u8>; 2] {
        [true, false]
            .map(|client| turns.iter().filter(|turn| turn.0 == client).flat_map(|turn| turn.1.to_vec()).collect())
    }

    #[test]
    fn negotiations_are_read_wherever_they_are_cut() {
        for (turns, destination) in [(PLAIN, "example.org:80"), (WITH_PASSWORD, "192.0.2.1:8080"), (IPV6, "[::1]:80")] {
            let [client, proxy] = sides(turns);
            let expected = Answer::Done(Preamble {
                requests: client.len() as u64,
                responses: proxy.len() as u64,
                destination: Some(destination.into()),
                ..Preamble::default()
            });
            for sent in 0..=client.len() {
                for answered in 0..=proxy.len() {
                    let whole = (sent, answered) == (client.len(), proxy.len());
                    let read = read(&client[..sent], &proxy[..answered]);
                    assert_eq!(read, if whole { expected.clone() } else { Answer::NeedMore }, "{sent} {answered}");
                }
            }
            let follows = [&client[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&follows, &[&proxy[..], b"HTTP/1.1 200 OK\r\n"].concat()), expected);
        }
    }

    #[test]
    fn what_does_not_parse_is_none() {
        let [client, proxy] = sides(PLAIN);
        let changed = |bytes: &[u8], at: usize, value: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] = value;
            bytes
        };
        // Version, method, command, reserved byte, address type, an invalid name.
        for (at, value) in [(0, 4), (2, 1), (3, 4), (4, 2), (5, 1), (6, 2), (8, b' ')] {
            assert_eq!(read(&changed(&client, at, value), &proxy), Answer::No, "client {at}");
        }
        // Version, a method not offered, no acceptable method, a refusal, reserved byte, address type.
        for (at, value) in [(0, b'H'), (1, 2), (1, 0xff), (2, 4), (3, 1), (4, 1), (5, 9)] {
            assert_eq!(read(&client, &changed(&proxy, at, value)), Answer::No, "proxy {at}");
        }
        let [client, proxy] = sides(WITH_PASSWORD);
        assert_eq!(read(&client, &changed(&proxy, 3, 1)), Answer::No);
        assert_eq!(read(b"GET / HTTP/1.1\r\n", b""), Answer::No);
    }
}
