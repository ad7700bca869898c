//! Protocols: decoders for the bytes of a connection.

pub mod detect;
pub mod http1;
pub mod preamble;
