//! Counts of connections whose calls are invisible: where there are some, a screen without calls is no all-clear.

use std::fmt;

use super::{Note, NoteKind};
use crate::model::connection::{ConnectionId, Protocol};

/// Connections by the reason why their calls are invisible, since the start of the trace. A connection counts once for each reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// TLS: encrypted.
    pub tls: u64,
    /// HTTP/2, which is not decoded.
    pub http2: u64,
    /// CONNECT: not decoded after the answer.
    pub tunnels: u64,
    /// Another protocol than HTTP/1. Whether these carry calls is unknown.
    pub other: u64,
    /// Bytes moved that no traced call accounts for.
    pub bytes: u64,
    /// The latest connection of each count. A second note on a connection follows the first.
    last: [Option<ConnectionId>; 5],
}

impl Unseen {
    /// Counts a note.
    pub fn see(&mut self, note: &Note) {
        let (index, count) = match &note.kind {
            NoteKind::NotHttp => match note.connection.protocol {
                Protocol::Tls => (0, &mut self.tls),
                Protocol::Http2 => (1, &mut self.http2),
                _ => (3, &mut self.other),
            },
            NoteKind::Opaque { protocol } if &**protocol == "CONNECT" => (2, &mut self.tunnels),
            NoteKind::Opaque { protocol } if protocol.eq_ignore_ascii_case("h2c") => (1, &mut self.http2),
            // The call that upgraded the connection is visible, and messages of a WebSocket are no calls.
            NoteKind::Opaque { .. } => return,
            NoteKind::UnseenBytes { .. } => (4, &mut self.bytes),
        };
        if self.last[index].replace(note.connection.id) != Some(note.connection.id) {
            *count += 1;
        }
    }

    /// The counts with their names in JSON.
    pub fn counts(&self) -> [(&'static str, u64); 5] {
        let Self { tls, http2, tunnels, other, bytes, .. } = *self;
        [("tls", tls), ("h2", http2), ("tunnel", tunnels), ("other", other), ("unseen_bytes", bytes)]
    }

    /// Whether all counts are zero.
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(|(_, count)| *count == 0)
    }

    /// Sum of the counts.
    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

/// `40 TLS, 2 HTTP/2, 1 with unseen bytes`: the most telling first.
impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tunnels = if self.tunnels == 1 { "tunnel" } else { "tunnels" };
        let words = ["TLS", "HTTP/2", tunnels, "not HTTP", "with unseen bytes"];
        let mut comma = "";
        for ((_, count), word) in self.counts().into_iter().zip(words).filter(|((_, count), _)| *count > 0) {
            write!(f, "{comma}{count} {word}")?;
            comma = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{engine::Update, fixture};

    fn note(id: u64, protocol: Protocol, kind: NoteKind) -> Note {
        let Update::Note(mut note) = fixture::note(kind) else { panic!("the fixture is a note") };
        Arc::make_mut(&mut note.connection).protocol = protocol;
        Arc::make_mut(&mut note.connection).id = ConnectionId(id);
        note
    }

    #[test]
    fn connections_are_counted_by_why() {
        let mut unseen = Unseen::default();
        assert!(unseen.is_empty());
        for id in 1..=3 {
            unseen.see(&note(id, Protocol::Tls, NoteKind::NotHttp));
        }
        unseen.see(&note(4, Protocol::Http2, NoteKind::NotHttp));
        unseen.see(&note(5, Protocol::Other, NoteKind::NotHttp));
        unseen.see(&note(6, Protocol::Tunnel, NoteKind::Opaque { protocol: "CONNECT".into() }));
        unseen.see(&note(9, Protocol::WebSocket, NoteKind::Opaque { protocol: "websocket".into() }));
        unseen.see(&note(7, Protocol::Tunnel, NoteKind::Opaque { protocol: "h2c".into() }));
        for _ in 0..2 {
            unseen.see(&note(8, Protocol::Http1, NoteKind::UnseenBytes { sent: 1, received: 2 }));
        }
        assert_eq!(unseen.to_string(), "3 TLS, 2 HTTP/2, 1 tunnel, 1 not HTTP, 1 with unseen bytes");
        assert_eq!(unseen.total(), 8);
    }
}
