use super::*;
use crate::{analysis::detector::State, engine::tests::scenario::Scenario};

fn store(text: &str, options: StoreOptions) -> Store {
    let told = Scenario::told(text);
    let mut store = Store::new(options);
    for update in &told.updates {
        store.apply(update);
    }
    store
}

#[test]
fn what_failed_is_remembered_longer() {
    let text = "+10 t1 GET /bad > 503\n*50 +10 t1 GET /good > 200\n";
    let store = store(text, StoreOptions { exchanges: 10, bytes: 1 << 20 });
    assert_eq!(store.totals(), Totals { exchanges: 51, failed: 1 });
    let all: Vec<u64> = store.exchanges().from(Sequence(0)).map(|(sequence, _)| sequence.0).collect();
    assert_eq!(all, [0, 46, 47, 48, 49, 50]);
    assert_eq!(store.exchange_by_id(ExchangeId(1)).map(|exchange| exchange.is_failed()), Some(true));
    assert!(store.exchange_by_id(ExchangeId(20)).is_none());
}

#[test]
fn bytes_are_bounded() {
    let body = "x".repeat(1000);
    let text = format!("*500 +10 t1 POST /a body={body} > 200\n");
    let store = store(&text, StoreOptions { exchanges: 10_000, bytes: 100_000 });
    assert!(store.exchanges().len() < 60, "{}", store.exchanges().len());
    assert!(!store.exchanges().is_empty());
}

#[test]
fn incidents_are_there_in_their_latest_state_worst_first() {
    let text = "+10 t1 GET /a > 503\n+500 t1 GET /a > 503\n+1000 t1 GET /a > 200\n\
                +10 t1 GET /b > 503\n+500 t1 GET /b > 503\n+900 t1 GET /b > 503";
    let store = store(text, StoreOptions::default());
    let worst: Vec<_> =
        store.incidents().worst_first().iter().map(|incident| (incident.id.0, incident.state)).collect();
    assert_eq!(worst.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(worst[1].1, State::Closed);
    assert_eq!(store.incidents().total(), 2);
}

#[test]
fn the_rate_is_that_of_whole_seconds() {
    let store = store("*40 +100 t1 GET /a > 200\n*10 +100 t1 GET /a > 500\n", StoreOptions::default());
    let (exchanges, failed) = store.rate().per_second(3);
    assert!((9.0..=10.5).contains(&exchanges), "{exchanges}");
    assert!(failed > 0.0, "{failed}");
}

#[test]
fn the_rate_of_a_short_trace_is_that_of_the_time_it_took() {
    for (count, seconds) in [(9, 1.0), (18, 1.8), (35, 3.5)] {
        let mut rate = Rate::default();
        rate.pass(crate::event::Timestamp(10_950_000_000));
        for number in 1..=count {
            rate.add(crate::event::Timestamp(10_950_000_000 + number * 100_000_000), false);
        }
        let (exchanges, _) = rate.per_second(10);
        assert!((exchanges - count as f64 / seconds).abs() < 0.01, "{count}: {exchanges}");
    }
}

#[test]
fn incidents_that_go_on_are_counted_as_such_however_many_there_are() {
    let told = Scenario::told("+10 t1 GET /b > 503\n+500 t1 GET /b > 503\n+900 t1 GET /b > 503");
    let is_open = |update: &&Update| matches!(update, Update::Incident(incident) if incident.state != State::Closed);
    let Some(Update::Incident(incident)) = told.updates.iter().find(is_open) else { panic!("it is retried") };
    let mut store = Store::default();
    for _ in 0..2 {
        for id in 1..=1_500 {
            let incident = crate::analysis::detector::Incident {
                id: crate::model::exchange::IncidentId(id),
                ..(**incident).clone()
            };
            store.apply(&Update::Incident(Arc::new(incident)));
        }
    }
    assert_eq!((store.incidents().open(), store.incidents().total()), (1_500, 1_500));
}
