//! What comes before the first request of a connection: its bytes are kept back until it is clear what they are.

use std::sync::Arc;

use super::{
    Environment,
    link::{Content, Link, is_response},
};
use crate::{
    model::connection::ConnectionInfo,
    protocol::preamble::{self, Answer, Preamble},
    stream::{Mark, Piece},
};

/// Most bytes that wait for a decision, in each direction: more than any header that is known.
const MAX_HELD: usize = 2048;

/// How far the beginning of a connection is read.
#[derive(Debug)]
pub(super) enum Beginning {
    /// No byte has come.
    Ahead,
    /// What came may be a header.
    Reading(Box<Held>),
    /// It is one, and so many bytes of it are still to come, by direction.
    Skipping([u64; 2]),
    /// What comes is content.
    Over,
}

/// What waits for a decision.
#[derive(Debug, Default)]
pub(super) struct Held {
    requests: Vec<u8>,
    responses: Vec<u8>,
    /// The same, as it came.
    pieces: Vec<(u8, Vec<u8>, Mark)>,
}

impl Link {
    /// A piece that comes while it is not clear where content begins.
    pub(super) fn beginning_piece(&mut self, direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        let held = match std::mem::replace(&mut self.beginning, Beginning::Over) {
            Beginning::Over => return self.content_piece(direction, piece, environment),
            Beginning::Skipping(left) => return self.skip_header(left, direction, piece, environment),
            Beginning::Ahead => None,
            Beginning::Reading(held) => Some(held),
        };
        let (Content::Http1(http), Piece::Bytes(bytes, mark), Some(_)) = (&self.content, piece, self.info.opened)
        else {
            // What is not seen from its beginning, or not whole, is left as it is.
            self.pass_on(held, environment);
            return self.content_piece(direction, piece, environment);
        };
        let response = is_response(http.role(), direction);
        let answer = match &held {
            // Mostly there is no header, and nothing is copied to see that.
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
                self.beginning = Beginning::Reading(held);
                return;
            }
            Answer::Done(said) => self.header_is(said, if response { 1 - direction } else { direction }),
            // An answer may be seen before its request; what the client sent is still to be read.
            Answer::No if fresh && response => {
                self.content_piece(direction, piece, environment);
                self.beginning = Beginning::Ahead;
                return;
            }
            Answer::No => {}
        }
        self.pass_on(Some(held), environment);
        self.piece(direction, piece, environment);
    }

    /// Nothing more comes: what waits is taken for content.
    pub(super) fn end_beginning(&mut self, environment: &mut Environment) {
        if let Beginning::Reading(held) = std::mem::replace(&mut self.beginning, Beginning::Over) {
            self.pass_on(Some(held), environment);
        }
    }

    /// The connection begins with this header, whose requests go in that direction.
    fn header_is(&mut self, said: Preamble, requests: u8) {
        let mut left = [said.responses; 2];
        left[usize::from(requests)] = said.requests;
        self.beginning = Beginning::Skipping(left);
        if said.client.is_some() || said.destination.is_some() {
            let Preamble { client, destination, .. } = said;
            self.info = Arc::new(ConnectionInfo { client, destination, ..(*self.info).clone() });
        }
    }

    /// Gives what waited, in the order in which it came.
    fn pass_on(&mut self, held: Option<Box<Held>>, environment: &mut Environment) {
        for (direction, bytes, mark) in held.into_iter().flat_map(|held| held.pieces) {
            self.piece(direction, Piece::Bytes(&bytes, mark), environment);
        }
    }

    /// Drops what belongs to the header. Of a long one the end need not be captured.
    fn skip_header(&mut self, mut left: [u64; 2], direction: u8, piece: Piece<'_>, environment: &mut Environment) {
        let (Piece::Bytes(_, mark) | Piece::Gap(_, _, mark)) = piece;
        let length = match piece {
            Piece::Bytes(bytes, _) => bytes.len() as u64,
            Piece::Gap(length, ..) => length,
        };
        let own = &mut left[usize::from(direction)];
        let skipped = length.min(*own);
        *own -= skipped;
        if left != [0, 0] {
            self.beginning = Beginning::Skipping(left);
        }
        if skipped == length {
            return;
        }
        // What follows the header begins a message as if it were the first of its call.
        let mark = Mark { position: mark.position + skipped, boundary: mark.boundary || skipped > 0, ..mark };
        let rest = match piece {
            Piece::Bytes(bytes, _) => Piece::Bytes(bytes.get(skipped as usize..).unwrap_or_default(), mark),
            Piece::Gap(_, cause, _) => Piece::Gap(length - skipped, cause, mark),
        };
        self.content_piece(direction, rest, environment);
    }
}

impl Held {
    /// Bytes of memory that it takes, about.
    pub(super) fn holds(&self) -> usize {
        /// What a piece takes beside its bytes, in a list that may be half empty.
        const KEPT: usize = 192;
        // What came is there twice.
        2 * (self.requests.len() + self.responses.len()) + (self.pieces.len() + 1) * KEPT
    }

    /// Reads what waits with this after it. What would be longer than any header is none.
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
