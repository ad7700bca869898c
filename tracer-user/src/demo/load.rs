//! Load of the demo: a few customers who pay over persistent connections, and a back office that closes days.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::http::{Connection, Headers, Message};

/// Number of concurrent customers. With the pause below they send at most about four requests a second.
const CUSTOMERS: u64 = 3;
/// Time from the end of one payment to the start of the next.
const PAUSE: Duration = Duration::from_millis(700);
/// Time until the back office closes the first day, and pause after each day.
const SETTLE_FIRST: Duration = Duration::from_millis(1_300);
const SETTLE_PAUSE: Duration = Duration::from_secs(20);
/// Timeout of a payment; longer than all attempts of the payments service and their backoff.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum run time, in case the demo is forgotten.
const LONGEST: Duration = Duration::from_hours(24);

const CURRENCIES: [&str; 3] = ["EUR", "USD", "SEK"];

/// Sends load until the maximum run time; the process usually ends before.
pub(super) fn run(payments: SocketAddr) {
    let end = Instant::now() + LONGEST;
    thread::scope(|scope| {
        scope.spawn(move || settle_repeatedly(payments, end));
        for customer in 0..CUSTOMERS {
            scope.spawn(move || {
                // Different offsets keep the customers out of step.
                thread::sleep(PAUSE / CUSTOMERS as u32 * customer as u32);
                pay_repeatedly(payments, customer, end);
            });
        }
    });
}

fn pay_repeatedly(payments: SocketAddr, customer: u64, end: Instant) {
    let mut connection = None;
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let open = match connection.take() {
            Some(open) => Some(open),
            None => Connection::connect(payments, TIMEOUT).ok(),
        };
        if let Some(mut open) = open {
            let request = if number % 10 == 0 { health(payments) } else { payment(payments, customer, number) };
            // A failed connection is dropped; the next payment opens a new one.
            if open.write(&request).is_ok() && matches!(open.read(false), Ok(Some(_))) {
                connection = Some(open);
            }
        }
        thread::sleep(PAUSE);
    }
}

fn settle_repeatedly(payments: SocketAddr, end: Instant) {
    let mut day = 0;
    thread::sleep(SETTLE_FIRST);
    while Instant::now() < end {
        day += 1;
        if let Ok(mut connection) = Connection::connect(payments, TIMEOUT)
            && connection.write(&settlement(payments, day)).is_ok()
        {
            // The result does not matter.
            let _ = connection.read(false);
        }
        thread::sleep(SETTLE_PAUSE);
    }
}

fn settlement(payments: SocketAddr, day: u64) -> Message {
    let headers: Headers = vec![
        host(payments),
        ("User-Agent".to_owned(), "back-office/0.4".to_owned()),
        ("traceparent".to_owned(), format!("00-{:032x}-{:016x}-01", 0xb00c_0000_u64 + day, 0xdad0_0000_u64 + day)),
    ];
    Message::request("POST", "/v1/settlements", headers, Some(&json!({ "day": day })))
}

fn host(payments: SocketAddr) -> (String, String) {
    ("Host".to_owned(), format!("payments.internal:{}", payments.port()))
}

fn health(payments: SocketAddr) -> Message {
    let headers: Headers = vec![host(payments), ("User-Agent".to_owned(), "shop-probe/1.0".to_owned())];
    Message::request("GET", "/healthz", headers, None)
}

pub(super) fn payment(payments: SocketAddr, customer: u64, number: u64) -> Message {
    // Spreads the IDs without a source of randomness.
    let id = (customer << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let headers: Headers = vec![
        host(payments),
        ("User-Agent".to_owned(), "shop/2.9 (checkout)".to_owned()),
        ("Accept".to_owned(), "application/json".to_owned()),
        ("Authorization".to_owned(), "Bearer demo-not-a-real-token-customer".to_owned()),
        ("Idempotency-Key".to_owned(), format!("order-{customer}-{number}")),
        ("traceparent".to_owned(), format!("00-{id:016x}{:016x}-{:016x}-01", id.rotate_left(17), id.rotate_left(41))),
    ];
    let body = json!({
        "amount": 500 + id % 20_000, "currency": CURRENCIES[(id % 3) as usize],
        "card": "tok_demo_4242", "order": format!("order-{customer}-{number}"),
    });
    Message::request("POST", "/v1/payments", headers, Some(&body))
}
