//! Headers that may precede the first request of a connection and that a load balancer or proxy needs.
//!
//! A reader gets the first bytes of the connection and reports whether they are such a header, where it ends, and its
//! contents. Readers are stateless and do not guess: bytes that do not parse are no header.

mod proxy;
mod socks;

/// A header before the first request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Length of the header in the request direction. It may be longer than the bytes that decided.
    pub requests: u64,
    /// Length of the header in the response direction.
    pub responses: u64,
    /// Client on whose behalf the connection was made, if stated.
    pub client: Option<Box<str>>,
    /// Destination of the connection, if stated.
    pub destination: Option<Box<str>>,
}

/// Result of reading the first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bytes may be a header; more bytes decide.
    NeedMore,
    /// The bytes are a header.
    Done(Preamble),
    /// The bytes are no header.
    No,
}

/// Reads the first bytes of a connection, those that the client sends and those that it receives.
pub fn read(requests: &[u8], responses: &[u8]) -> Answer {
    match (requests.first().or(responses.first()), responses) {
        (Some(&socks::VERSION), _) => socks::read(requests, responses),
        (_, []) => proxy::read(requests),
        // With the PROXY protocol, the server sends nothing before the header is complete.
        _ => Answer::No,
    }
}
