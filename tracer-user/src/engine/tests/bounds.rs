//! What strangers can make pidtap hold, and do: bounded for all connections together.

use super::super::{
    Engine, EngineOptions, MAX_CONNECTIONS, Update, process_table::MAX_PROCESSES, waiting::MAX_WAITING,
};
use crate::{
    event::{
        Event,
        wire::{ProcessEvent, direction, origin, process},
    },
    fixture::events,
    model::exchange::Quality,
    protocol::context::{MAX_OPEN_BYTES, MAX_OPEN_HEADS},
};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// A process with very many connections.
struct Crowd {
    engine: Engine,
    time: u64,
}

impl Crowd {
    fn new() -> Self {
        let mut engine = Engine::new(EngineOptions::default());
        engine.handle_event(&events::attached(S));
        Self { engine, time: S }
    }

    fn connection(&mut self, connection: u64, origin: u8) {
        self.engine.handle_event(&events::socket(self.time, connection, origin));
    }

    fn moves(&mut self, connection: u64, direction: u8, position: u64, bytes: &[u8]) {
        self.moved(connection, direction, [position, 0], bytes);
    }

    /// The same where the opposite direction has moved.
    fn moved(&mut self, connection: u64, direction: u8, positions: [u64; 2], bytes: &[u8]) {
        self.engine.handle_event(&events::data(self.time, connection, direction, positions, bytes));
    }

    fn tick(&mut self, after: u64) {
        self.time += after;
        self.engine.handle_event(&events::tick(self.time));
        while self.engine.poll_control().is_some() {}
    }

    /// What was told until now, without those that nobody looks at.
    fn told(&mut self) -> Vec<Update> {
        std::iter::from_fn(|| self.engine.poll()).collect()
    }
}

#[test]
fn ticks_cost_what_is_due_and_not_what_is_open() {
    const CALLS: u64 = 12_000;
    const TICKS: u64 = 3_000;
    const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    for (origin, requests) in [(origin::CONNECT, direction::SEND), (origin::ACCEPT, direction::RECEIVE)] {
        let mut crowd = Crowd::new();
        for connection in 1..=CALLS {
            crowd.connection(connection, origin);
            crowd.moves(connection, requests, 0, REQUEST);
        }
        for _ in 0..TICKS {
            crowd.tick(S);
            drop(crowd.told());
        }
        assert_eq!(crowd.engine.connections(), CALLS as usize);
        // An hour of looks once a second would be three thousand for each.
        let visits = crowd.engine.visits();
        assert!((CALLS..32 * CALLS).contains(&visits), "{visits} looks, which is {} for each", visits / CALLS);
        // One of them is answered, and one more event is all that is looked at.
        crowd.moved(7, 1 - requests, [0, REQUEST.len() as u64], b"HTTP/1.1 204 N\r\n\r\n");
        crowd.tick(MS);
        let before = crowd.engine.visits();
        crowd.tick(MS);
        assert!(crowd.engine.visits() - before < 64);
    }
}

#[test]
fn ticks_at_one_moment_cost_nothing() {
    let mut crowd = Crowd::new();
    for connection in 1..=10_000 {
        crowd.connection(connection, origin::ACCEPT);
        // The first byte is missing.
        crowd.moves(connection, direction::RECEIVE, 1, b"ET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for _ in 0..2_000 {
        crowd.tick(0);
    }
    assert!(crowd.engine.visits() < 30_000, "{}", crowd.engine.visits());
    crowd.tick(200 * MS);
    let visits = crowd.engine.visits();
    assert!((10_000..60_000).contains(&visits), "{visits}");
}

/// Segments that are ahead on each of very many connections.
#[test]
fn all_connections_together_wait_for_no_more_than_fits() {
    for length in [1, 1_000] {
        let mut crowd = Crowd::new();
        let bytes = vec![b'x'; length];
        for connection in 1..=3_000 {
            crowd.connection(connection, origin::ACCEPT);
            for place in 0..40 {
                crowd.moves(connection, direction::RECEIVE, 10 + place * (length as u64 + 1), &bytes);
                assert!(crowd.engine.environment.waiting.bytes() <= MAX_WAITING);
            }
        }
        let most = crowd.engine.environment.waiting.bytes();
        // One that came in the wrong order a moment ago still finds its place: those that have waited longest gave up.
        crowd.connection(9_999, origin::ACCEPT);
        let (first, second) = b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n".split_at(9);
        crowd.moves(9_999, direction::RECEIVE, 9, second);
        crowd.moves(9_999, direction::RECEIVE, 0, first);
        crowd.engine.finish();
        assert_eq!(crowd.engine.environment.waiting.bytes(), 0);
        let (mut late, mut given_up) = (None, 0);
        for update in crowd.told() {
            match update {
                Update::Exchange(exchange) if exchange.connection.inode.0 == 9_999 => late = Some(exchange.quality),
                Update::Summary(summary) => given_up = summary.waits_given_up,
                _ => {}
            }
        }
        assert_eq!(late, Some(Quality::Whole));
        assert_eq!(given_up > 0, length == 1_000, "{given_up} gave up, {most} bytes were held");
    }
}

/// What a gap costs is said by the exchange in which it is.
#[test]
fn who_gives_up_says_so() {
    let mut crowd = Crowd::new();
    crowd.connection(1, origin::ACCEPT);
    crowd.moves(1, direction::RECEIVE, 0, b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    crowd.moves(1, direction::RECEIVE, 48 + 3, b"456789");
    let bytes = vec![b'x'; 16 * 1024];
    for connection in 2..=400 {
        crowd.connection(connection, origin::ACCEPT);
        for place in 0..15 {
            crowd.moves(connection, direction::RECEIVE, 1 + place * (bytes.len() as u64 + 1), &bytes);
        }
    }
    crowd.moved(1, direction::SEND, [0, 48 + 9], b"HTTP/1.1 204 N\r\n\r\n");
    crowd.engine.finish();
    let told = crowd.told();
    let quality = told.iter().find_map(|update| match update {
        Update::Exchange(exchange) if exchange.connection.inode.0 == 1 => Some(exchange.quality),
        _ => None,
    });
    assert!(quality.is_some_and(|quality| quality > Quality::Unframed), "{quality:?}");
}

/// Requests that are never answered, with heads of any size, on many connections, one after the other on each.
#[test]
fn open_exchanges_hold_no_more_than_fits() {
    let large = [b"GET / HTTP/1.1\r\nHost: h\r\nA: ", &vec![b'a'; 400_000][..], b"\r\n\r\n"].concat();
    let body = [b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n", &vec![b'x'; 60_000][..]].concat();
    for (request, connections, each) in [(&large, 120, 6), (&body, 400, 4)] {
        let mut crowd = Crowd::new();
        for connection in 1..=connections {
            crowd.connection(connection, origin::ACCEPT);
            for place in 0..each {
                crowd.moves(connection, direction::RECEIVE, place * request.len() as u64, request);
            }
            // What is there when it is full stays.
            let (heads, bytes) = (crowd.engine.environment.open_heads, crowd.engine.environment.open_bytes);
            assert!(heads <= MAX_OPEN_HEADS + (16 << 20), "{heads} at {connection}");
            assert!(bytes <= MAX_OPEN_BYTES + (1 << 20), "{bytes}");
        }
        drop(crowd.told());
        crowd.engine.finish();
        assert_eq!((crowd.engine.environment.open_heads, crowd.engine.environment.open_bytes), (0, 0));
        let told = crowd.told();
        let exchanges = told.iter().filter(|update| matches!(update, Update::Exchange(_))).count();
        assert!(exchanges >= connections as usize, "{exchanges}");
    }
}

/// A target that makes processes for ever, each of which calls once; no end of any is seen, and time does not pass.
#[test]
fn processes_without_end_hold_no_more_than_fits() {
    const CHILDREN: u32 = 50_000;
    /// Of which one answers a request.
    const EACH: u32 = 50;
    let mut crowd = Crowd::new();
    let forks = |child| ProcessEvent {
        header: events::header(S),
        other_tgid: child,
        exit_code: 0,
        action: process::FORK,
        reserved: [0; 7],
        name: [0; 16],
    };
    let found = ProcessEvent { action: process::FOUND, name: *b"prefork\0\0\0\0\0\0\0\0\0", ..forks(0) };
    crowd.engine.handle_event(&Event::Process(found));
    for child in 1..=CHILDREN {
        crowd.engine.handle_event(&Event::Process(forks(100 + child)));
        if child % EACH != 0 {
            continue;
        }
        let connection = u64::from(child);
        crowd.connection(connection, origin::ACCEPT);
        crowd.moves(connection, direction::RECEIVE, 0, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        crowd.moved(connection, direction::SEND, [0, 28], b"HTTP/1.1 204 N\r\n\r\n");
        drop(crowd.told());
    }
    assert!(crowd.engine.connections() <= MAX_CONNECTIONS);
    crowd.engine.finish();
    let told = crowd.told();
    let Some(Update::Summary(summary)) = told.last() else { panic!("a summary") };
    assert_eq!(summary.exchanges, u64::from(CHILDREN / EACH));
    assert!(summary.processes_forgotten >= u64::from(CHILDREN) - MAX_PROCESSES as u64, "{summary:?}");
}
