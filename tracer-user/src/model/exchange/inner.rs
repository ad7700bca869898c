//! Messages inside an exchange: WebSocket messages, gRPC messages, server-sent events.

use std::collections::VecDeque;

use crate::{event::Timestamp, model::connection::Role};

/// Messages that are listed, at most: the latest.
const LISTED: usize = 64;

/// A message inside an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerMessage {
    /// Which side of the exchange sent the message.
    pub sender: Role,
    /// When its last byte moved.
    pub time: Timestamp,
    /// Bytes of its content, without framing.
    pub bytes: u64,
}

/// Messages that one side sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Number of messages.
    pub messages: u64,
    /// Bytes of their content, without framing.
    pub bytes: u64,
}

/// Messages inside an exchange. All are counted; the latest are listed, so the memory is bounded for an exchange that
/// lasts for days.
///
/// They are messages of a protocol that runs inside the content, or in place of it: WebSocket (RFC 6455), gRPC,
/// server-sent events. A plain HTTP exchange has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InnerMessages {
    /// Messages of the client.
    pub client: Sent,
    /// Messages of the server.
    pub server: Sent,
    latest: VecDeque<InnerMessage>,
}

impl InnerMessages {
    /// Counts and lists a message.
    pub fn push(&mut self, message: InnerMessage) {
        let sent = match message.sender {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        };
        sent.messages += 1;
        sent.bytes = sent.bytes.saturating_add(message.bytes);
        if self.latest.len() >= LISTED {
            self.latest.pop_front();
        }
        self.latest.push_back(message);
    }

    /// The latest messages, oldest first.
    pub fn latest(&self) -> impl DoubleEndedIterator<Item = &InnerMessage> {
        self.latest.iter()
    }

    /// Bytes of memory, approximately.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.latest.capacity() * size_of::<InnerMessage>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_messages_are_counted_and_the_latest_listed() {
        let mut messages = InnerMessages::default();
        for number in 0..1_000 {
            let sender = if number % 4 == 0 { Role::Client } else { Role::Server };
            messages.push(InnerMessage { sender, time: Timestamp(number), bytes: 10 });
        }
        assert_eq!(messages.client, Sent { messages: 250, bytes: 2_500 });
        assert_eq!(messages.server, Sent { messages: 750, bytes: 7_500 });
        let listed: Vec<u64> = messages.latest().map(|message| message.time.0).collect();
        assert_eq!((listed.len(), listed[0], listed[LISTED - 1]), (LISTED, 1_000 - LISTED as u64, 999));
        assert!(messages.weight() < 4_096, "{}", messages.weight());
    }
}
