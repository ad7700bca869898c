//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//!
//! ```text
//! pieces of one direction -> parser -> items -> pairing -> exchanges
//!                             head, framing, chunked
//! ```

pub mod chunked;
mod draft;
pub mod framing;
pub mod head;
pub mod pairing;
pub mod parser;
