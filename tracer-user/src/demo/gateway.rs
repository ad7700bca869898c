//! Upstream that fails and recovers: a card gateway with changing moods.

use std::{
    net::TcpStream,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::http::{Connection, Message};

/// Behaviour of the gateway at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Responds at once.
    Healthy,
    /// Responds with 429 and `Retry-After: 1`.
    Throttling,
    /// Responds with 503.
    Overloaded,
    /// Responds after the caller has timed out, sometimes just before.
    Slow,
    /// Reads the request and resets the connection.
    Resetting,
}

/// Cycle of moods and their durations. It begins healthy, so that the viewer first sees the normal state, and trouble
/// begins within seconds. Some failures outlast all retries (the caller gets 502), others do not.
const TURN: [(Mood, Duration); 7] = [
    (Mood::Healthy, Duration::from_secs(2)),
    (Mood::Throttling, Duration::from_secs(1)),
    (Mood::Healthy, Duration::from_secs(2)),
    (Mood::Overloaded, Duration::from_secs(6)),
    (Mood::Healthy, Duration::from_secs(4)),
    (Mood::Slow, Duration::from_secs(5)),
    (Mood::Resetting, Duration::from_secs(3)),
];

/// Delays of slow responses; the timeout of the payments service is 1.5 s.
const SLOW: [Duration; 3] = [Duration::from_millis(1_200), Duration::from_secs(3), Duration::from_millis(2_200)];

/// Mood at `elapsed` since the start.
pub(super) fn mood_at(elapsed: Duration) -> Mood {
    let turn: Duration = TURN.iter().map(|(_, length)| *length).sum();
    let mut into = Duration::from_nanos((elapsed.as_nanos() % turn.as_nanos()) as u64);
    for (mood, length) in TURN {
        if into < length {
            return mood;
        }
        into -= length;
    }
    Mood::Healthy
}

/// The gateway service.
#[derive(Debug)]
pub(super) struct Gateway {
    /// Mood that tests fix.
    fixed: Mutex<Option<Mood>>,
    started: Instant,
    charges: AtomicU64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { fixed: Mutex::new(None), started: Instant::now(), charges: AtomicU64::new(0) }
    }
}

impl Gateway {
    #[cfg(test)]
    pub(super) fn hold(&self, mood: Mood) {
        *self.fixed.lock().unwrap_or_else(PoisonError::into_inner) = Some(mood);
    }

    fn mood(&self) -> Mood {
        let fixed = *self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        fixed.unwrap_or_else(|| mood_at(self.started.elapsed()))
    }

    pub(super) fn serve(&self, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        while let Ok(Some(request)) = connection.read(true) {
            let number = self.charges.fetch_add(1, Ordering::Relaxed);
            match self.mood() {
                Mood::Healthy => {}
                mood @ (Mood::Throttling | Mood::Overloaded) => {
                    let answer = if mood == Mood::Throttling {
                        Message::response(429, &json!({ "error": "too_many_requests" })).with("Retry-After", "1")
                    } else {
                        Message::response(503, &json!({ "error": "overloaded", "queue": 480 + number }))
                    };
                    if connection.write(&answer.with("Server", "cardgate/7.0")).is_err() {
                        return;
                    }
                    continue;
                }
                // Deliberate sleep: it simulates a slow service.
                Mood::Slow => thread::sleep(SLOW[number as usize % SLOW.len()]),
                Mood::Resetting => {
                    // Zero linger turns the close into an RST.
                    let _ = rustix::net::sockopt::set_socket_linger(connection.stream(), Some(Duration::ZERO));
                    return;
                }
            }
            let body = request.json();
            let answer = json!({
                "charge": format!("ch_{number:08}"), "amount": body["amount"], "currency": body["currency"],
                "captured": true, "network": "visa", "last4": "4242",
            });
            if connection.write(&Message::response(200, &answer).with("Server", "cardgate/7.0")).is_err() {
                return;
            }
        }
    }
}
