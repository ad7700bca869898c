//! Target of the demo: serves the load, calls ledger and gateway, retries the gateway with exponential backoff.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::http::{Connection, Headers, Message, Start};

/// Maximum number of calls to the gateway for one payment, including the first.
const ATTEMPTS: u32 = 5;
/// Backoff before the second attempt; doubles with each attempt.
const BACKOFF_BASE: Duration = Duration::from_millis(200);
/// Maximum `Retry-After` in seconds that is honoured, as the caller waits too.
const RETRY_AFTER_MAX: u64 = 2;
/// Timeout of upstream calls.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Timeout of the call that closes a day; generous on purpose.
const SETTLEMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// An upstream with its idle connections.
#[derive(Debug)]
struct Upstream {
    name: &'static str,
    address: SocketAddr,
    timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Upstream {
    fn new(name: &'static str, address: SocketAddr, timeout: Duration) -> Self {
        Self { name, address, timeout, idle: Mutex::default() }
    }

    fn call(&self, path: &str, headers: &Headers, body: &Value) -> io::Result<Message> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::connect(self.address, self.timeout)?,
        };
        let mut all: Headers = vec![("Host".to_owned(), format!("{}.internal:{}", self.name, self.address.port()))];
        all.extend(headers.iter().cloned());
        connection.write(&Message::request("POST", path, all, Some(body)))?;
        let answer = connection.read(false)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }
}

/// The payments service.
#[derive(Debug)]
pub(super) struct Payments {
    ledger: Upstream,
    gateway: Upstream,
    /// The ledger with the timeout for long calls.
    books: Upstream,
    backoff_base: Duration,
    accepted: AtomicU64,
}

impl Payments {
    pub(super) fn new(ledger: SocketAddr, gateway: SocketAddr) -> Self {
        Self {
            ledger: Upstream::new("ledger", ledger, UPSTREAM_TIMEOUT),
            gateway: Upstream::new("gateway", gateway, UPSTREAM_TIMEOUT),
            books: Upstream::new("ledger", ledger, SETTLEMENT_TIMEOUT),
            backoff_base: BACKOFF_BASE,
            accepted: AtomicU64::new(0),
        }
    }

    /// Service without backoff, for tests.
    #[cfg(test)]
    pub(super) fn impatient(ledger: SocketAddr, gateway: SocketAddr) -> Self {
        Self { backoff_base: Duration::ZERO, ..Self::new(ledger, gateway) }
    }

    pub(super) fn serve(&self, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        while let Ok(Some(request)) = connection.read(true) {
            let answer = self.answer(&request).with("Server", "payments/1.4");
            if connection.write(&answer).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Message) -> Message {
        let Start::Request { method, path } = &request.start else { return Message::response(400, &json!({})) };
        match (method.as_str(), path.as_str()) {
            ("POST", "/v1/payments") => self.pay(request),
            ("POST", "/v1/settlements") => self.settle(request),
            ("GET", "/healthz") => Message::response(200, &json!({ "status": "ok" })),
            _ => Message::response(404, &json!({ "error": "no_such_resource" })),
        }
    }

    /// Closes a day by a call to the ledger.
    fn settle(&self, request: &Message) -> Message {
        let mut headers: Headers = vec![("User-Agent".to_owned(), "payments/1.4".to_owned())];
        headers.extend(request.header("traceparent").map(|parent| ("traceparent".to_owned(), parent.to_owned())));
        match self.books.call("/v1/settlements", &headers, &request.json()) {
            Ok(answer) => Message::response(200, &answer.json()),
            Err(error) => {
                Message::response(504, &json!({ "error": "ledger_unavailable", "detail": error.to_string() }))
            }
        }
    }

    fn pay(&self, request: &Message) -> Message {
        let order = request.json();
        let payment = format!("pay_{:06}", self.accepted.fetch_add(1, Ordering::Relaxed) + 1);
        let headers = |key: &str| -> Headers {
            let mut headers = vec![
                ("User-Agent".to_owned(), "payments/1.4".to_owned()),
                ("Authorization".to_owned(), "Bearer demo-not-a-real-token-0123456789".to_owned()),
                ("Idempotency-Key".to_owned(), format!("{payment}-{key}")),
            ];
            if let Some(parent) = request.header("traceparent") {
                headers.push(("traceparent".to_owned(), parent.to_owned()));
            }
            headers
        };
        let hold = json!({ "payment": payment, "amount": order["amount"], "currency": order["currency"] });
        if let Err(error) = self.ledger.call("/v1/holds", &headers("hold"), &hold) {
            return Message::response(502, &json!({ "error": "ledger_unavailable", "detail": error.to_string() }));
        }
        let charge = json!({
            "payment": payment, "amount": order["amount"], "currency": order["currency"], "card": order["card"],
        });
        let charged = match self.charge(&headers("charge"), &charge) {
            Ok(charged) => charged,
            Err(why) => return Message::response(502, &json!({ "error": "card_gateway_unavailable", "detail": why })),
        };
        let entry = json!({ "payment": payment, "amount": order["amount"], "charge": charged["charge"] });
        match self.ledger.call("/v1/entries", &headers("entry"), &entry) {
            Ok(_) => {
                Message::response(201, &json!({ "payment": payment, "status": "paid", "charge": charged["charge"] }))
            }
            Err(error) => {
                Message::response(502, &json!({ "error": "ledger_unavailable", "detail": error.to_string() }))
            }
        }
    }

    /// Charges the card. Retries after 429, 5xx, timeout and reset.
    fn charge(&self, headers: &Headers, body: &Value) -> Result<Value, String> {
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            let mut wait = self.backoff_base * 2u32.pow(attempt);
            match self.gateway.call("/v1/charges", headers, body) {
                Ok(answer) if answer.status() < 500 && answer.status() != 429 => return Ok(answer.json()),
                Ok(answer) => {
                    why = format!("status {}", answer.status());
                    let asked = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
                    if let Some(seconds) = asked.filter(|_| !self.backoff_base.is_zero()) {
                        wait = wait.max(Duration::from_secs(seconds.min(RETRY_AFTER_MAX)));
                    }
                }
                Err(error) => why = error.to_string(),
            }
            if attempt + 1 < ATTEMPTS {
                // Deliberate sleep: the backoff.
                thread::sleep(wait);
            }
        }
        Err(format!("gave up after {ATTEMPTS} attempts: {why}"))
    }
}
