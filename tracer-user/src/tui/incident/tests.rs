//! Whole screens of incidents of every kind.

use super::super::tests::{LARGE, SMALL, Stage, store_of, store_of_hang};
use crate::{
    detector::Kind,
    engine::{EngineOptions, tests::scenario::Scenario},
    store::{Store, StoreOptions},
};

/// Opens the worst incident of a kind, and gives the screen after some keys.
fn screen(store: Store, size: (u16, u16), kind: Kind, keys: &str) -> String {
    let worst = store.incidents().worst_first();
    let place = worst.iter().position(|incident| incident.kind() == kind);
    let place = place.unwrap_or_else(|| panic!("no {}: {worst:?}", kind.name()));
    let mut stage = Stage::new(store, size);
    stage.keys("i");
    stage.keys(&"j".repeat(place));
    stage.keys("<Enter>");
    stage.keys(keys);
    stage.screen()
}

/// Both sizes.
fn snapshots(name: &str, store: &Store, kind: Kind) {
    for size in [SMALL, LARGE] {
        let name = format!("{name}_{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, screen(store.clone(), size, kind, ""));
    }
}

/// What a scenario leaves, as it goes on.
fn scenario(text: &str) -> Store {
    let mut scenario = Scenario::new(EngineOptions::default());
    scenario.play(text);
    let mut store = Store::new(StoreOptions::default());
    scenario.take_updates().iter().for_each(|update| store.apply(update));
    store.look(scenario.engine().now(), &scenario.engine().live());
    store
}

/// The rest of a chain that goes on, and of one that is over.
#[test]
fn retry() {
    snapshots("retry_ongoing", &store_of("retry_exponential", Some(300)), Kind::Retry);
    snapshots("retry_over", &store_of("retry_capped", None), Kind::Retry);
}

#[test]
fn hang() {
    for name in [
        "peer_application_asleep",
        "syn_dropped",
        "body_stalled_in_the_middle",
        "served_behind_a_lock",
        "served_behind_a_call",
        "answer_not_read",
        "attached_to_a_call",
    ] {
        let store = store_of_hang(&format!("hang_{name}"), None);
        snapshots(&format!("hang_{name}"), &store, Kind::Hang);
    }
}

#[test]
fn the_other_kinds() {
    let grows: Vec<String> = (0..60).map(|number| format!("+700 t1 GET /a on=c{number} > 200\n")).collect();
    let grows = grows.concat();
    let well = (0..20).map(|number| format!("+100 t1 GET /{number} > 200\n"));
    let fails = (20..60).map(|number| {
        let (gap, status) = (50 + number * 37 % 90, if number % 5 == 0 { 500 } else { 503 });
        format!("+{gap} t1 GET /{number} > {status}\n")
    });
    let errors: String = well.chain(fails).collect();
    let idle = "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset\n+10 t1 GET /a keep > 200\n";
    let stale = format!("{idle}+3000 t1 GET /a keep > reset\n+10 t1 GET /a keep > 200\n");
    let pool = "+0 t1 GET /b port=99 > 200\n+0 t5 in GET /x\n+0 t6 in GET /x\n+0 t7 in GET /x\n\
                *30 +1 t1 GET /a keep > 200 took=20";
    for kind in Kind::ALL {
        let text = match kind {
            Kind::Retry | Kind::Hang => continue,
            Kind::ErrorBurst => &*errors,
            Kind::Slow => "*80 +20 t1 GET /a keep > 200 took=5\n*12 +20 t1 GET /a keep > 200 took=200",
            Kind::Duplicate => "+0 t1 POST /a body=12345678\n+30 t2 POST /a body=12345678\n+50 t1 > 200\n+20",
            Kind::Stale => &stale,
            Kind::Leak => &grows,
            Kind::Pool => pool,
        };
        snapshots(kind.name(), &scenario(text), *kind);
    }
}
