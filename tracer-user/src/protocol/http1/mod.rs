//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//!
//! ```text
//! pieces of both directions -> decoder -> parser, one per direction -> items -> pairing -> exchanges
//!                                         start_line, head, framing, chunked
//! ```

pub mod head;

pub mod start_line;

pub mod framing;

pub mod chunked;

pub mod parser;

mod draft;

mod pairing;

mod decoder;

pub use decoder::Http1;
