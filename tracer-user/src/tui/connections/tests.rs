use crate::{
    filter::{Context, Filter},
    store::Sequence,
    text::redact::Redactor,
    tui::tests::{LARGE, SMALL, Stage, snapshots, store_of, store_of_hang},
};

#[test]
fn connections() {
    snapshots!("connections_empty", store_of("screen_empty", Some(3_000)), "3");
    snapshots!("connections_busy", store_of("screen_busy", Some(40_000)), "3");
    snapshots!("connections_unread", store_of_hang("hang_answer_not_read", Some(1_500)), "3");
    snapshots!("connections_unacknowledged", store_of_hang("hang_peer_host_silent", Some(2_000)), "3");
    snapshots!("connections_connecting", store_of_hang("hang_syn_dropped", Some(900)), "3");
    snapshots!("connections_found", store_of_hang("hang_attached_to_a_call", None), "3");
    snapshots!("connections_many_closed", store_of("client_mixed", None), "3");
    snapshots!("connections_upgraded", store_of("upgrade", None), "3");
    snapshots!("connections_malicious", store_of("malicious", None), "3");
}

#[test]
fn they_are_sorted_by_any_column() {
    snapshots!("connections_sorted", store_of("screen_busy", Some(40_000)), "3sss");
    let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), SMALL);
    stage.keys("3");
    let before = stage.screen();
    assert!(before.contains("#▲"), "{before}");
    // Number and state, and six more.
    stage.keys("ssssssss");
    assert_eq!(stage.screen(), before, "once round");
    stage.keys("<<");
    assert!(stage.screen().contains("queued▼"), "{}", stage.screen());
}

#[test]
fn names_stay_at_every_width() {
    for width in (60..200).step_by(7) {
        let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), (width, 40));
        stage.keys("3");
        let screen = stage.screen();
        assert!(screen.contains("stock.i") && screen.contains("#14"), "{width}: {screen}");
        stage.keys("2");
        let screen = stage.screen();
        assert!(screen.contains("/v1/char") && screen.contains("p95"), "{width}: {screen}");
    }
}

#[test]
fn an_upstream_is_folded() {
    snapshots!("connections_folded", store_of("screen_busy", Some(40_000)), "3u");
    let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), SMALL);
    stage.keys("3");
    let before = stage.screen();
    stage.keys("uu");
    assert_eq!(stage.screen(), before);
}

#[test]
fn enter_shows_the_calls_of_a_row() {
    let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), SMALL);
    stage.keys("3<Enter>");
    assert!(stage.screen().contains("filter: is:client remote="), "{}", stage.screen());
    stage.keys("3j<Enter>");
    assert!(stage.screen().contains("filter: connection="), "{}", stage.screen());
}

#[test]
fn what_an_upstream_is_narrowed_to_are_its_calls() {
    for name in ["screen_busy", "nginx_proxied", "client_mixed"] {
        let store = store_of(name, None);
        let context = Context { redactor: Redactor::new(false), now: store.now(), budget: None };
        for upstream in store.connections().upstreams() {
            let text = super::upstream::filter(upstream);
            let filter = Filter::parse(&text).unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
            for (_, exchange) in store.exchanges().from(Sequence(0)) {
                let own = super::UpstreamKey::of(Some(exchange.role), &exchange.connection) == upstream.key;
                assert_eq!(filter.matches(exchange, &context), own, "{name}: {text}: {}", exchange.id.0);
            }
        }
    }
}

#[test]
fn the_kernel_is_asked_about_what_is_shown() {
    let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), SMALL);
    stage.keys("3");
    stage.screen();
    let watched = stage.ui.watched().len();
    assert!(watched > 0 && watched < 20, "{watched}");
    stage.keys("1");
    stage.screen();
    assert!(stage.ui.watched().is_empty());
}

/// Both tables are drawn in little time when they are full: `--release -- --nocapture` says in how much. The bound is for a
/// build without optimisation on a busy machine; it finds what grows with the square of the rows.
#[test]
fn full_tables_are_drawn_quickly() {
    use std::time::{Duration, Instant};

    use crate::{
        engine::{EngineOptions, tests::scenario::Scenario},
        store::{Store, StoreOptions},
    };
    const TIMES: u32 = 5;
    let mut scenario = Scenario::new(EngineOptions::default());
    let mut store = Store::new(StoreOptions::default());
    let letters =
        |number: usize| -> String { number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect() };
    let call = |number: usize| {
        let (path, port) = (letters(number), 1_000 + number % 50);
        format!("+1 t1 GET /{path} on=c{number} port={port} > 200 took={}", number % 97)
    };
    let calls: Vec<String> = (0..2_000).map(call).collect();
    scenario.play(&calls.join("\n"));
    for update in scenario.take_updates() {
        store.apply(&update);
    }
    let mut measure = |what: &str, step: &mut dyn FnMut(&mut Store)| {
        let start = Instant::now();
        for _ in 0..TIMES {
            step(&mut store);
        }
        let each = start.elapsed() / TIMES;
        println!("{what}: {} us", each.as_micros());
        assert!(each < Duration::from_millis(500), "{what}: {each:?}");
    };
    let engine = scenario.engine();
    let mut now = engine.now();
    measure("look", &mut |store| {
        now.0 += 100_000_000;
        store.look(now, &engine.live());
    });
    measure("clone", &mut |store| drop(store.clone()));
    for keys in ["2", "2sss", "3", "3s"] {
        let mut stage = Stage::new(Store::default(), LARGE);
        stage.keys(keys);
        measure(keys, &mut |store| {
            std::mem::swap(&mut stage.store, store);
            stage.draw();
            std::mem::swap(&mut stage.store, store);
        });
    }
}
