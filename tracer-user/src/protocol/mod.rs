//! Protocols: decoders that turn the bytes of a channel into exchanges.
//!
//! To add a protocol, add a folder with a type that implements [`decode::Decode`], and a variant of
//! [`decoder::Decoder`]. Its fixture in `protocol/tests.rs` is required: the match there is exhaustive.

pub mod context;

pub mod decode;

pub mod detect;

pub mod preamble;

pub mod http1;

pub mod opaque;

pub mod decoder;

#[cfg(test)]
mod tests;
