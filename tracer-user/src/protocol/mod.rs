//! Protocols: what the bytes of a connection mean.

pub mod detect;
pub mod http1;
pub mod preamble;
