//! What may come before the first request of a connection, and is not HTTP: headers that a balancer or a proxy asks for.
//!
//! A reader takes the first bytes and says whether they are such a header, where it ends, and what it says. It keeps
//! nothing and never guesses: what does not parse is no header.

mod proxy;
mod socks;

/// What the bytes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Length of its part in the direction of requests. It may be longer than the bytes that decided.
    pub requests: u64,
    /// Length of its part in the direction of responses.
    pub responses: u64,
    /// Whom the connection was made for, where it says so.
    pub client: Option<Box<str>>,
    /// Where the connection leads, where it says so.
    pub destination: Option<Box<str>>,
}

/// An answer from the first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may be one; more bytes decide.
    NeedMore,
    /// It is one.
    Done(Preamble),
    /// It is none.
    No,
}

/// Reads the first bytes of a connection: those that the client sends, and those that it gets.
pub fn read(requests: &[u8], responses: &[u8]) -> Answer {
    match (requests.first().or(responses.first()), responses) {
        (Some(&socks::VERSION), _) => socks::read(requests, responses),
        (_, []) => proxy::read(requests),
        // After a header of the PROXY protocol the server has nothing to say before it is whole.
        _ => Answer::No,
    }
}
