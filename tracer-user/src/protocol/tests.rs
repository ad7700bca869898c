//! Tests of the properties that every decoder must have, on a conversation of its protocol.

use std::sync::Arc;

use super::{
    context::{Context, Listener, opposite},
    decode::{Closing, Decode},
    decoder::Decoder,
};
use crate::{
    event::{
        Timestamp,
        wire::direction::{RECEIVE, SEND},
    },
    fixture::connection,
    model::{
        connection::{ConnectionInfo, Ending, Role},
        exchange::{Exchange, OpenExchange, Step},
    },
    stream::{GapCause, Mark, Piece},
};

/// A conversation in which the target is the client.
struct Conversation {
    /// Bytes by direction, in the order of the calls.
    calls: Vec<(u8, &'static [u8])>,
    /// Status of each exchange, in the order in which they end.
    statuses: Vec<u16>,
}

/// The conversation of a decoder's protocol. The match is exhaustive, so a new decoder needs one.
fn conversation(decoder: &Decoder) -> Conversation {
    match decoder {
        Decoder::Http1(_) => Conversation {
            calls: vec![
                (SEND, b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
                (RECEIVE, b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
                (SEND, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
                (RECEIVE, b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"),
            ],
            statuses: vec![201, 503],
        },
        Decoder::Opaque(_) => Conversation {
            calls: vec![(SEND, b"\x16\x03\x01\x00\x05hello"), (RECEIVE, b"\x15\x03\x03\x00\x02\x02\x28")],
            statuses: Vec::new(),
        },
    }
}

/// A decoder of each protocol, at the beginning of a connection.
fn decoders() -> [Decoder; 2] {
    [Decoder::new(Some(Role::Client), false), Decoder::opaque()]
}

#[derive(Default)]
struct Collected(Vec<Arc<Exchange>>);

impl Listener for Collected {
    fn wants(&self, _: Step, _: Role) -> bool {
        true
    }

    fn step(&mut self, _: Step, _: &OpenExchange<'_>) {}

    fn finished(&mut self, exchange: Arc<Exchange>) {
        self.0.push(exchange);
    }
}

struct Play {
    decoder: Decoder,
    collected: Collected,
    connection: Arc<ConnectionInfo>,
    last_exchange: u64,
    open_bytes: usize,
    open_heads: usize,
    next: [u64; 2],
    time: u64,
}

impl Play {
    fn new(decoder: Decoder) -> Self {
        let connection = ConnectionInfo { opened: Some(Timestamp(1)), ..(*connection()).clone() };
        Self {
            decoder,
            collected: Collected::default(),
            connection: Arc::new(connection),
            last_exchange: 0,
            open_bytes: 0,
            open_heads: 0,
            next: [1_000, 5_000],
            time: 1_000_000,
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut Decoder, &mut Context<'_>)) {
        let mut context = Context {
            last_exchange: &mut self.last_exchange,
            body_limit: 1024,
            open_bytes: &mut self.open_bytes,
            open_heads: &mut self.open_heads,
            process_name: &|_| "x".into(),
            connection: &mut self.connection,
            next: self.next.map(Some),
            listener: &mut self.collected,
        };
        step(&mut self.decoder, &mut context);
        if self.decoder.take_handover().is_some() {
            self.replace();
        }
    }

    /// Replaces the decoder after a handover; the new protocol is not decoded.
    fn replace(&mut self) {
        let memory = std::mem::replace(&mut self.decoder, Decoder::opaque()).memory();
        self.open_bytes -= memory.bytes;
        self.open_heads -= memory.heads;
    }

    fn piece(&mut self, direction: u8, length: usize, piece: impl FnOnce(Mark) -> Piece<'static>, boundary: bool) {
        self.time += 1_000;
        let mark = Mark {
            time: Timestamp(self.time),
            position: self.next[usize::from(direction)],
            opposite: self.next[usize::from(opposite(direction))],
            pid: 1,
            tid: 1,
            boundary,
        };
        self.next[usize::from(direction)] += length as u64;
        self.step(|decoder, context| decoder.piece(direction, piece(mark), context));
    }

    fn close(mut self) -> Vec<u16> {
        let closing = Closing { ending: Ending::ByPeer, error: None, time: Timestamp(self.time + 1_000_000_000) };
        self.step(Decode::streams_ended);
        self.step(|decoder, context| decoder.close(closing, context));
        assert_eq!((self.decoder.open(), self.decoder.open_since()), (0, None));
        self.replace();
        assert_eq!((self.open_bytes, self.open_heads), (0, 0), "memory that nobody holds");
        let numbers: Vec<u64> = self.collected.0.iter().map(|exchange| exchange.id.0).collect();
        assert!(numbers.iter().all(|number| (1..=self.last_exchange).contains(number)));
        self.collected.0.iter().filter_map(|exchange| Some(exchange.response.as_ref()?.status)).collect()
    }
}

#[test]
fn a_conversation_is_decoded_whole_and_in_any_two_parts() {
    for decoder in decoders() {
        let Conversation { calls, statuses } = conversation(&decoder);
        let longest = calls.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(0);
        for split in 0..longest {
            let mut play = Play::new(decoders().into_iter().find(|other| same(other, &decoder)).unwrap());
            for (direction, bytes) in &calls {
                let (first, second) = bytes.split_at(split.min(bytes.len()));
                for (part, boundary) in [(first, true), (second, split == 0)] {
                    if !part.is_empty() {
                        play.piece(*direction, part.len(), |mark| Piece::Bytes(part, mark), boundary);
                    }
                }
            }
            assert_eq!(play.close(), statuses, "{decoder:?} split at {split}");
        }
    }
}

#[test]
fn a_gap_anywhere_keeps_counts_right() {
    for decoder in decoders() {
        let Conversation { calls, statuses } = conversation(&decoder);
        for (index, (_, broken)) in calls.iter().enumerate() {
            for start in 0..broken.len() {
                for length in [1, 7, broken.len()] {
                    let mut play = Play::new(decoders().into_iter().find(|other| same(other, &decoder)).unwrap());
                    for (number, (direction, bytes)) in calls.iter().enumerate() {
                        if number != index {
                            play.piece(*direction, bytes.len(), |mark| Piece::Bytes(bytes, mark), true);
                            continue;
                        }
                        let gap = length.min(bytes.len() - start);
                        let (before, after) = (&bytes[..start], &bytes[start + gap..]);
                        if !before.is_empty() {
                            play.piece(*direction, before.len(), |mark| Piece::Bytes(before, mark), true);
                        }
                        play.piece(*direction, gap, |mark| Piece::Gap(gap as u64, GapCause::Lost, mark), start == 0);
                        if !after.is_empty() {
                            play.piece(*direction, after.len(), |mark| Piece::Bytes(after, mark), false);
                        }
                    }
                    let seen = play.close();
                    // Loss hides a response; it never adds one or changes a status.
                    assert!(
                        is_part_of(&seen, &statuses),
                        "{decoder:?} without {length} at {start} of {index}: {seen:?}"
                    );
                }
            }
        }
    }
}

fn same(one: &Decoder, other: &Decoder) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn is_part_of(part: &[u16], whole: &[u16]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|status| rest.any(|other| other == status))
}
