use super::*;
use crate::{
    fixture::{self, START, connection},
    model::{
        connection::ConnectionInfo,
        exchange::{Outcome, StreamId},
    },
};

/// An exchange of process 1 with start and end in milliseconds.
fn exchange(id: u64, role: Role, tid: u32, (from, to): (u64, Option<u64>)) -> Exchange {
    let at = |ms: u64| Timestamp(START.0 + ms * 1_000_000);
    let mut exchange = fixture::exchange();
    exchange.id = ExchangeId(id);
    exchange.role = role;
    exchange.process.tid = tid;
    exchange.started = at(from);
    exchange.timing.end = to.map(at);
    if to.is_none() {
        exchange.outcome = Outcome::InFlight;
    }
    exchange
}

fn with(mut exchange: Exchange, name: &str, value: &str) -> Arc<Exchange> {
    let request = exchange.request.as_mut().expect("the fixture has one");
    request.headers.push(name.as_bytes(), value.as_bytes());
    Arc::new(exchange)
}

fn plain(exchange: Exchange) -> Arc<Exchange> {
    Arc::new(exchange)
}

use Role::{Client, Server};

fn cause(call: &Arc<Exchange>, all: &[Arc<Exchange>]) -> Option<(u64, &'static str, &'static str)> {
    let link = of(call, all.iter()).caused_by?;
    // A link must exist in both directions.
    let inbound = all.iter().find(|inbound| inbound.id == link.exchange).expect("it is one of them");
    let back = of(inbound, all.iter()).caused;
    assert!(back.contains(&Link { exchange: call.id, ..link }), "{back:?}");
    Some((link.exchange.0, link.certainty.name(), link.why))
}

#[test]
fn the_thread_tells() {
    let all = [
        plain(exchange(1, Server, 10, (0, Some(100)))),
        plain(exchange(2, Server, 11, (0, None))),
        plain(exchange(3, Client, 10, (5, Some(20)))),
        plain(exchange(4, Client, 11, (50, None))),
        // Its thread handles no exchange at that time.
        plain(exchange(5, Client, 10, (150, None))),
        plain(exchange(6, Client, 12, (60, None))),
    ];
    assert_eq!(cause(&all[2], &all), Some((1, "likely", "same thread")));
    assert_eq!(cause(&all[3], &all), Some((2, "likely", "same thread")));
    assert_eq!(cause(&all[4], &all), Some((2, "possible", "the only one open then")));
    assert_eq!(cause(&all[5], &all), None);
}

#[test]
fn of_several_on_a_thread_none_is_said() {
    let all = [
        plain(exchange(1, Server, 10, (0, Some(100)))),
        plain(exchange(2, Server, 10, (1, Some(100)))),
        plain(exchange(3, Client, 10, (5, Some(20)))),
    ];
    assert_eq!(cause(&all[2], &all), None);
    let mut other = exchange(4, Server, 20, (0, None));
    other.process.pid = 99;
    let call = plain(exchange(3, Client, 10, (5, Some(20))));
    assert_eq!(cause(&call, &[plain(other), Arc::clone(&call)]), None, "another process");
}

#[test]
fn ids_are_certain() {
    let trace = |span: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01");
    let all = [
        with(exchange(1, Server, 10, (0, Some(100))), "Traceparent", &trace("00f067aa0ba902b7")),
        with(exchange(2, Server, 10, (1, Some(100))), "X-Request-Id", "r-1"),
        with(exchange(3, Client, 12, (5, Some(20))), "traceparent", &trace("b9c7c989f97918e1")),
        with(exchange(4, Client, 12, (6, Some(20))), "x-request-id", "r-1"),
        // After the response, but with the same trace ID.
        with(exchange(5, Client, 12, (500, Some(600))), "traceparent", &trace("c9c7c989f97918e1")),
        // With another trace ID and on its own thread, so not caused by the only open exchange.
        with(exchange(6, Server, 13, (700, Some(900))), "traceparent", &trace("00f067aa0ba902b7").replace('4', "5")),
        with(exchange(7, Client, 13, (701, Some(800))), "traceparent", &trace("00f067aa0ba902b7").replace('4', "6")),
    ];
    assert_eq!(cause(&all[2], &all), Some((1, "certain", "same trace id")));
    assert_eq!(cause(&all[3], &all), Some((2, "certain", "same request id")));
    assert_eq!(cause(&all[4], &all), Some((1, "certain", "same trace id")));
    assert_eq!(cause(&all[6], &all), None);
}

#[test]
fn a_trace_that_came_twice() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let all = [
        with(exchange(1, Server, 10, (0, Some(100))), "traceparent", trace),
        with(exchange(2, Server, 11, (200, Some(300))), "traceparent", trace),
        with(exchange(3, Client, 12, (50, None)), "traceparent", trace),
        with(exchange(4, Client, 12, (250, None)), "traceparent", trace),
    ];
    assert_eq!(cause(&all[2], &all), Some((1, "certain", "same trace id")));
    assert_eq!(cause(&all[3], &all), Some((2, "certain", "same trace id")));
}

#[test]
fn calls_are_named_in_order_up_to_a_number() {
    let mut all = vec![plain(exchange(1, Server, 10, (0, None)))];
    all.extend((0..250).rev().map(|n| plain(exchange(2 + n, Client, 10, (n, None)))));
    let causes = of(&all[0], all.iter());
    assert_eq!((causes.caused.len(), causes.more), (MOST_CALLS, true));
    assert!(causes.caused.is_sorted_by_key(|link| link.exchange));
    let first = of(&all[0], all[..100].iter());
    assert_eq!((first.caused.len(), first.more), (99, false));
}

#[test]
fn the_other_end() {
    let client = exchange(1, Client, 10, (0, Some(100)));
    let mirrored = Arc::new(ConnectionInfo {
        local: connection().remote.clone(),
        remote: connection().local.clone(),
        ..(*connection()).clone()
    });
    let server = |id, when| {
        let mut server = exchange(id, Server, 10, when);
        server.process.pid = 2;
        server.connection = Arc::clone(&mirrored);
        server
    };
    let mut other_path = server(4, (1, Some(99)));
    other_path.request.as_mut().expect("there").target = "/other".into();
    let all = [plain(client), plain(server(2, (1, Some(99)))), plain(server(3, (200, Some(300)))), plain(other_path)];
    assert_eq!(of(&all[0], all.iter()).other_end, Some(ExchangeId(2)));
    assert_eq!(of(&all[1], all.iter()).other_end, Some(ExchangeId(1)));
    assert_eq!(of(&all[2], all.iter()).other_end, None);
    // On a shared connection, the stream decides.
    let on_stream =
        |exchange: &Exchange, stream| plain(Exchange { stream: Some(StreamId(stream)), ..exchange.clone() });
    let streams = [on_stream(&all[0], 3), on_stream(&all[1], 1), on_stream(&server(5, (2, Some(98))), 3)];
    assert_eq!(of(&streams[0], streams.iter()).other_end, Some(ExchangeId(5)));
    assert_eq!(of(&streams[1], streams.iter()).other_end, None);
}
