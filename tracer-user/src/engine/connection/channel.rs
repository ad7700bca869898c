//! The channel on a connection's transport: the bytes that a protocol decodes, and their decoder.

use super::preamble::Beginning;
use crate::protocol::{
    decode::{Decode as _, Memory},
    decoder::Decoder,
};

/// The bytes that a protocol decodes.
#[derive(Debug)]
pub(in crate::engine) struct Channel {
    /// Whether the first bytes may still be a preamble.
    pub(super) beginning: Beginning,
    pub(in crate::engine) decoder: Decoder,
    /// Exchanges that earlier decoders finished.
    carried: u64,
}

impl Channel {
    pub(super) fn new(decoder: Decoder) -> Self {
        Self { beginning: Beginning::Ahead, decoder, carried: 0 }
    }

    /// Exchanges that are over.
    pub(super) fn finished(&self) -> u64 {
        self.carried + self.decoder.finished()
    }

    /// Bytes of memory, approximately, that wait for their turn.
    pub(super) fn waiting_bytes(&self) -> usize {
        let beginning = match &self.beginning {
            Beginning::Reading(held) => held.holds(),
            _ => 0,
        };
        self.decoder.waiting_bytes() + beginning
    }

    /// Replaces the decoder. Gives the memory that the previous one counted against the limits.
    pub(super) fn replace_decoder(&mut self, decoder: Decoder) -> Memory {
        let previous = std::mem::replace(&mut self.decoder, decoder);
        self.carried += previous.finished();
        previous.memory()
    }
}
