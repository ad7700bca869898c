//! Healthy upstream: books holds and entries. Closing the books of a day takes long.

use std::{
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;

use super::http::{Connection, Message, Start};

/// Time to close a day; longer than the silence after which pidtap investigates a call.
const CLOSING: Duration = Duration::from_secs(11);

/// Service that always responds, nearly always at once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: AtomicU64,
}

impl Ledger {
    pub(super) fn serve(&self, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        while let Ok(Some(request)) = connection.read(true) {
            if connection.write(&self.answer(&request)).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Message) -> Message {
        let Start::Request { method, path } = &request.start else { return Message::response(400, &json!({})) };
        let body = request.json();
        match (method.as_str(), path.as_str()) {
            ("POST", "/v1/holds" | "/v1/entries") => {
                let number = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
                let answer = json!({
                    "entry": format!("le_{number:08}"), "payment": body["payment"], "amount": body["amount"],
                    "balance": 1_250_000 - number, "status": "booked",
                });
                Message::response(201, &answer)
            }
            ("POST", "/v1/settlements") => {
                // Deliberate sleep: it simulates a long transaction.
                thread::sleep(CLOSING);
                Message::response(200, &json!({ "day": body["day"], "status": "closed" }))
            }
            _ => Message::response(404, &json!({ "error": "no_such_resource" })),
        }
        .with("Server", "ledger/3.1")
    }
}
