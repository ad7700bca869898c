use super::*;
use crate::{
    analysis::detector::tests::streams::Streams,
    engine::{EngineOptions, tests::scenario::Scenario},
    store::{Store, StoreOptions},
};

/// Plays a scenario, and looks after each line.
fn watched(text: &str) -> Store {
    let mut scenario = Scenario::new(EngineOptions::default());
    let mut store = Store::new(StoreOptions::default());
    for line in text.lines() {
        scenario.play(line);
        for update in scenario.take_updates() {
            store.apply(&update);
        }
        store.look(scenario.engine().now(), &scenario.engine().live());
    }
    store
}

#[test]
fn connections_are_shown_with_what_they_are_used_for() {
    let store = watched(
        "+10 t1 GET /a keep host=api > 200\n+10 t1 GET /b keep host=api > 200\n+10 t2 GET /slow keep\n\
         +500 t3 in GET /in keep > 200\n+100 t4 GET /c on=d host=other port=81 > 200",
    );
    let connections = store.connections();
    let shown: Vec<_> = connections
        .open()
        .iter()
        .map(|connection| (connection.info.id.0, connection.used, connection.carried, connection.open))
        .collect();
    assert_eq!(shown, [(1, Use::Idle, 2, 0), (2, Use::Busy, 0, 1), (3, Use::Idle, 1, 0), (4, Use::Idle, 1, 0)]);
    assert_eq!((connections.total(), connections.closed_total()), (4, 0));
    let busy = &connections.open()[1];
    assert!(store.now().since(busy.since) >= 500_000_000 && !busy.is_older());
    assert!(busy.sent.bytes > 0 && busy.received.bytes == 0);

    let pools: Vec<_> = connections
        .upstreams()
        .iter()
        .map(|upstream| (&*upstream.address, upstream.now.open, upstream.now.busy, upstream.most.busy))
        .collect();
    assert_eq!(pools, [("127.0.0.1:8080", 2, 1, 1), ("127.0.0.1:80", 1, 0, 0), ("127.0.0.1:81", 1, 0, 0)]);
    let servers: Vec<_> = connections.upstreams().iter().map(|upstream| upstream.role == Some(Role::Server)).collect();
    assert_eq!(servers, [false, true, false]);
    assert_eq!(connections.upstreams()[0].names, ["api".into()]);
    assert_eq!(connections.upstream_by_key(busy.upstream).map(|upstream| upstream.now.open), Some(2));
}

#[test]
fn closed_ones_are_remembered_with_how_and_how_long() {
    let store = watched(
        "+10 t1 GET /a > 200 took=400\n+1 t2 GET /b > reset took=10\n+1 t3 GET /c > closed\n\
         +1 t4 connect port=9 > refused took=20\n+300 t5 GET /d keep > 200\n+300 t5 GET /d keep > 200",
    );
    let connections = store.connections();
    let closed: Vec<_> = connections
        .closed()
        .map(|closed| (closed.connection.info.id.0, closed.how, closed.lived() / 10_000_000, closed.connection.carried))
        .collect();
    assert_eq!(
        closed,
        [(1, How::ByTarget, 40, 1), (2, How::Reset, 1, 1), (3, How::ByPeer, 0, 1), (4, How::Failed, 2, 0)]
    );
    assert_eq!(connections.closed_total(), 4);
    assert_eq!(connections.open().len(), 1);
    assert_eq!(connections.upstreams()[0].closed, 3);
}

#[test]
fn everything_is_bounded_and_counted() {
    let mut lines: Vec<String> =
        (0..MAX_CONNECTIONS + 50).map(|number| format!("+0.1 t{number} GET /a on=c{number} > 200 took=0.1")).collect();
    let mut scenario = Scenario::new(EngineOptions::default());
    scenario.play(&lines.join("\n"));
    let mut connections = Connections::default();
    connections.look(scenario.engine().now(), &scenario.engine().live());
    assert_eq!((connections.open().len(), connections.total()), (MAX_CONNECTIONS, MAX_CONNECTIONS + 50));
    assert_eq!(connections.open()[0].info.id, ConnectionId(51));
    assert_eq!(connections.upstreams()[0].now.idle as usize, MAX_CONNECTIONS + 50);

    lines =
        (0..MAX_UPSTREAMS + 50).map(|number| format!("+1 t1 GET /a port={} > 200 took=0.1", 10_000 + number)).collect();
    let store = watched(&lines.join("\n"));
    assert_eq!(store.connections().closed().count(), MAX_CLOSED);
    assert!(store.connections().closed_total() as usize >= MAX_UPSTREAMS);
    assert!(store.connections().upstreams().len() <= MAX_UPSTREAMS);
}

#[test]
fn a_connection_with_several_calls_is_one_busy_connection() {
    let mut streams = Streams::new();
    streams.play("+0 t1 GET /a on=c1 stream=1\n+10 t1 GET /b on=c1 stream=3\n+0 t1 GET /c on=c2 stream=1 > 200");
    let mut store = Store::new(StoreOptions::default());
    store.look(streams.now(), streams.live());
    let connections = store.connections();
    let shown: Vec<_> =
        connections.open().iter().map(|connection| (connection.used, connection.carried, connection.open)).collect();
    assert_eq!(shown, [(Use::Busy, 0, 2), (Use::Idle, 1, 0)]);
    let pool = connections.upstreams()[0].now;
    assert_eq!((pool.open, pool.busy, pool.idle), (2, 1, 1));
    // Both calls are listed, each with its stream.
    let open: Vec<_> = store.open().iter().map(|exchange| exchange.stream.map(|stream| stream.0)).collect();
    assert_eq!(open, [Some(1), Some(3)]);
}
