//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//!
//! ```text
//! pieces of one direction -> parser -> items -> pairing -> exchanges
//!                             head, framing, chunked
//! ```

pub mod head;

pub mod framing;

pub mod chunked;

pub mod parser;

mod draft;

pub mod pairing;
