//! The bytes before the first request of a connection (PROXY, SOCKS): they are held back until the protocol of the
//! beginning is clear.

use std::sync::Arc;

use super::{super::environment::Environment, Connection};
use crate::{
    event::wire::direction,
    model::connection::{ConnectionInfo, Role},
    protocol::{
        decode::Decode as _,
        preamble::{self, Answer, Preamble},
    },
    stream::{Mark, Piece},
};

/// Bytes held back at most in each direction: more than any known header.
const MAX_HELD: usize = 2048;

/// State of the beginning of a connection.
#[derive(Debug)]
pub(super) enum Beginning {
    /// No byte has arrived.
    Ahead,
    /// The bytes so far may be a header.
    Reading(Box<Held>),
    /// The connection begins with a header. Bytes of it that are still to come, by direction.
    Skipping([u64; 2]),
    /// All bytes are content.
    Over,
}

/// Bytes that are held back.
#[derive(Debug, Default)]
pub(super) struct Held {
    requests: Vec<u8>,
    responses: Vec<u8>,
    /// The same bytes as pieces, in the order of their arrival.
    pieces: Vec<(u8, Vec<u8>, Mark)>,
}

impl Connection {
    /// Takes a piece while the beginning is not clear.
    pub(super) fn beginning_piece(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        let held = match std::mem::replace(&mut self.channel.beginning, Beginning::Over) {
            Beginning::Over => return self.content_piece(direction, piece, environment),
            Beginning::Skipping(left) => return self.skip_header(left, direction, piece, environment),
            Beginning::Ahead => None,
            Beginning::Reading(held) => Some(held),
        };
        let role = self.channel.decoder.role();
        let (Some(role), Piece::Bytes(bytes, mark), Some(_)) = (role, piece, self.info.opened) else {
            // A connection that is not observed from its beginning, or not whole, has no preamble to read.
            self.pass_on(held, environment);
            return self.content_piece(direction, piece, environment);
        };
        let response = (role == Role::Client) == (direction == direction::RECEIVE);
        let answer = match &held {
            // Most connections have no header; this look copies nothing.
            None if response => preamble::read(&[], bytes),
            None => preamble::read(bytes, &[]),
            Some(_) => Answer::NeedMore,
        };
        let fresh = held.is_none();
        let mut held = held.unwrap_or_default();
        let answer = if answer == Answer::NeedMore { held.add(response, bytes) } else { answer };
        match answer {
            Answer::NeedMore => {
                held.pieces.push((direction, bytes.to_vec(), mark));
                self.channel.beginning = Beginning::Reading(held);
                return;
            }
            Answer::Done(said) => self.header_is(said, if response { 1 - direction } else { direction }),
            // A response may arrive before its request; the bytes of the client are still to be read.
            Answer::No if fresh && response => {
                self.content_piece(direction, piece, environment);
                self.channel.beginning = Beginning::Ahead;
                return;
            }
            Answer::No => {}
        }
        self.pass_on(Some(held), environment);
        self.piece(direction, piece, environment);
    }

    /// Ends the beginning: all bytes held back are content.
    pub(super) fn end_beginning(&mut self, environment: &mut Environment) {
        if let Beginning::Reading(held) = std::mem::replace(&mut self.channel.beginning, Beginning::Over) {
            self.pass_on(Some(held), environment);
        }
    }

    /// The connection begins with this header; its requests go in the direction `requests`.
    fn header_is(&mut self, said: Preamble, requests: u8) {
        let mut left = [said.responses; 2];
        left[usize::from(requests)] = said.requests;
        self.channel.beginning = Beginning::Skipping(left);
        if said.client.is_some() || said.destination.is_some() {
            let Preamble { client, destination, .. } = said;
            self.info = Arc::new(ConnectionInfo { client, destination, ..(*self.info).clone() });
        }
    }

    /// Passes on the pieces that were held back, in the order of their arrival.
    fn pass_on(&mut self, held: Option<Box<Held>>, environment: &mut Environment) {
        for (direction, bytes, mark) in held.into_iter().flat_map(|held| held.pieces) {
            self.piece(direction, Piece::Bytes(&bytes, mark), environment);
        }
    }

    /// Drops the bytes of the header. The end of a long one may be missing.
    fn skip_header(&mut self, mut left: [u64; 2], direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        let mark = *piece.mark();
        let length = piece.length();
        let own = &mut left[usize::from(direction)];
        let skipped = length.min(*own);
        *own -= skipped;
        if left != [0, 0] {
            self.channel.beginning = Beginning::Skipping(left);
        }
        if skipped == length {
            return;
        }
        // The bytes after the header begin a message, as if they were the first of their call.
        let mark = Mark { position: mark.position + skipped, boundary: mark.boundary || skipped > 0, ..mark };
        let rest = match piece {
            Piece::Bytes(bytes, _) => Piece::Bytes(bytes.get(skipped as usize..).unwrap_or_default(), mark),
            Piece::Gap(_, cause, _) => Piece::Gap(length - skipped, cause, mark),
        };
        self.content_piece(direction, rest, environment);
    }
}

impl Beginning {
    /// Whether the rest is content.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }
}

impl Held {
    /// Bytes of memory, approximately.
    pub(super) fn holds(&self) -> usize {
        /// Memory of a piece beside its bytes, in a list that may be half empty.
        const KEPT: usize = 192;
        // Every byte is held twice.
        2 * (self.requests.len() + self.responses.len()) + (self.pieces.len() + 1) * KEPT
    }

    /// Reads all bytes so far. Bytes that exceed every known header are none.
    fn add(&mut self, response: bool, bytes: &[u8]) -> Answer {
        let known = if response { &mut self.responses } else { &mut self.requests };
        known.extend(bytes.iter().take(MAX_HELD - known.len().min(MAX_HELD)));
        let full = known.len() == MAX_HELD;
        match preamble::read(&self.requests, &self.responses) {
            Answer::NeedMore if full => Answer::No,
            answer => answer,
        }
    }
}
