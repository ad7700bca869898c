//! Whole screens of incidents of every kind.

use super::super::tests::{LARGE, SMALL, Stage, store_of, store_of_hang};
use crate::{
    analysis::detector::Kind,
    engine::{EngineOptions, tests::scenario::Scenario},
    store::{Store, StoreOptions},
    tui::view::Effect,
};

/// The worst incident of a kind, opened as a person does.
fn stage(store: Store, size: (u16, u16), kind: Kind) -> Stage {
    let worst = store.incidents().worst_first();
    let place = worst.iter().position(|incident| incident.kind() == kind);
    let place = place.unwrap_or_else(|| panic!("no {}: {worst:?}", kind.name()));
    let mut stage = Stage::new(store, size);
    stage.keys("i");
    stage.keys(&"j".repeat(place));
    stage.keys("<Enter>");
    stage
}

fn screen(store: Store, size: (u16, u16), kind: Kind, keys: &str) -> String {
    let mut stage = stage(store, size, kind);
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

/// The store after a scenario that goes on.
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

/// Something of each kind but those that have recordings.
fn others() -> Vec<(Kind, Store)> {
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
    let late = "+10 t1 in GET /report\n+2000 t1 in > gone\n+900 t1 in > 200\n".repeat(4);
    let of = |kind: &Kind| {
        let text = match kind {
            Kind::Retry | Kind::Hang => return None,
            Kind::Late => &late,
            Kind::Listen => "*4 +1000 t1 queue=5/4\n+500",
            Kind::ErrorBurst => &*errors,
            Kind::Slow => "*80 +20 t1 GET /a keep > 200 took=5\n*12 +20 t1 GET /a keep > 200 took=200",
            Kind::Duplicate => "+0 t1 POST /a body=12345678\n+30 t2 POST /a body=12345678\n+50 t1 > 200\n+20",
            Kind::Stale => &stale,
            Kind::Leak => &grows,
            Kind::Pool => pool,
        };
        Some((*kind, scenario(text)))
    };
    Kind::ALL.iter().filter_map(of).collect()
}

#[test]
fn the_other_kinds() {
    for (kind, store) in others() {
        snapshots(kind.name(), &store, kind);
    }
}

#[test]
fn each_is_understood_in_one_line() {
    let hangs = [
        "peer_application_asleep",
        "syn_dropped",
        "body_stalled_in_the_middle",
        "served_behind_a_lock",
        "served_behind_a_call",
        "answer_not_read",
        "request_half_sent",
        "peer_host_silent",
        "attached_to_a_silent_host",
        "not_http",
    ];
    let retries = ["exponential", "capped", "none", "full_jitter", "urllib3_after", "wget"];
    let stores = hangs.iter().map(|name| store_of_hang(&format!("hang_{name}"), None));
    let stores = stores.chain(retries.iter().map(|name| store_of(&format!("retry_{name}"), None)));
    let stores = stores.chain(others().into_iter().map(|(_, store)| store));
    let stores = stores.chain([scenario(&format!("{CHAIN}+100")), store_of("screen_live", None)]);
    let mut lines = String::new();
    for store in stores {
        let screen = Stage::new(store, SMALL).screen();
        let of_screen =
            screen.lines().filter(|line| ["▲", "▼", "✓"].iter().any(|sign| line.starts_with(&format!(" {sign}"))));
        let mut before = None;
        // Recordings have chains that are alike.
        for line in of_screen.filter(|line| before.replace(*line) != Some(*line)) {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    insta::assert_snapshot!(lines);
}

#[test]
fn chains_of_every_sort() {
    for (name, text) in [
        ("hot_loop", "*60 +20 t1 GET /a > 503\n+30"),
        (
            "after_as_asked",
            "+0 t1 GET /a > 503 Retry-After=2\n+500 t1 GET /a > 503 Retry-After=2\n+2100 t1 GET /a > 503\n+300",
        ),
        ("overdue", "+0 t1 POST /a > reset\n+500 t1 POST /a > closed\n+1000 t1 POST /a > timeout took=300\n+2300"),
        ("refused", "*2 +100 t1 connect port=99 > refused\n+200 t1 connect port=99 > refused\n+100"),
    ] {
        insta::assert_snapshot!(format!("retry_{name}"), screen(scenario(text), SMALL, Kind::Retry, ""));
    }
}

/// A call that is made again and again, with longer and longer gaps.
const CHAIN: &str = "+0 t1 GET /a > 503\n+200 t1 GET /a > 503\n+400 t1 GET /a > 503\n";

#[test]
fn it_follows_the_incident_and_counts_down() {
    let mut stage = stage(scenario(&format!("{CHAIN}+100")), SMALL, Kind::Retry);
    let first = stage.screen();
    assert!(first.contains("next in 7") && first.contains("Attempt 3 failed: 503."), "{first}");
    stage.store = scenario(&format!("{CHAIN}+300"));
    let second = stage.screen();
    assert!(second.contains("next in 5"), "{second}");
    stage.store = scenario(&format!("{CHAIN}+810 t1 GET /a > 200\n+50"));
    let last = stage.screen();
    assert!(last.contains("over, recovered") && last.contains("Attempt 4 was answered with 200."), "{last}");
    assert!(!last.contains("next in"), "{last}");
}

#[test]
fn nothing_runs_when_tracing_is_over() {
    let told = Scenario::told(&format!("{CHAIN}+100"));
    let mut store = Store::new(StoreOptions::default());
    told.updates.iter().for_each(|update| store.apply(update));
    let shown = screen(store, SMALL, Kind::Retry, "");
    assert!(shown.contains("was due at 00:00:02.4") && !shown.contains("next in"), "{shown}");
}

#[test]
fn what_is_forgotten_is_said_to_be() {
    let mut stage = stage(scenario(&format!("{CHAIN}+100")), SMALL, Kind::Retry);
    assert!(!stage.screen().contains("forgotten"));
    stage.store = Store::default();
    let shown = stage.screen();
    assert!(shown.contains("no longer in memory; its last known state is shown"), "{shown}");
    assert!(shown.contains("exchange 1 is no longer in memory") && shown.contains("GET up/a"), "{shown}");
    assert!(!shown.contains("next in"), "{shown}");
}

#[test]
fn rows_lead_where_they_say() {
    let store = store_of_hang("hang_served_behind_a_call", None);
    let mut stage = stage(store, SMALL, Kind::Hang);
    // What it waits for is selected at first; below it, the incident of that; above, nothing.
    stage.keys("k");
    assert!(stage.screen().contains("\n>It waits for: GET stock.test/v1/items"), "{}", stage.screen());
    stage.keys("<Enter>");
    let shown = stage.screen();
    assert!(shown.contains("stock.test/v1/items") && !shown.contains("It waits for"), "{shown}");
    stage.keys("<Esc>j<Enter>");
    assert!(stage.screen().contains("hang 2: open"), "{}", stage.screen());
    stage.keys("<Esc>");
    assert!(stage.screen().contains("hang 1: open"), "{}", stage.screen());
    // The next incident in its place, and back; there is none after the last.
    stage.keys("]");
    assert!(stage.screen().contains("hang 2: open"), "{}", stage.screen());
    stage.keys("]");
    assert!(stage.screen().contains("hang 2: open"), "{}", stage.screen());
    stage.keys("[");
    assert!(stage.screen().contains("hang 1: open"), "{}", stage.screen());
    stage.keys("<Esc>");
    assert!(stage.screen().contains("[1 Overview]"), "{}", stage.screen());
}

#[test]
fn exchanges_can_be_copied_and_all_of_them_listed() {
    let mut stage = stage(scenario("*60 +20 t1 GET /a > 503\n+30"), SMALL, Kind::Retry);
    let effects = stage.keys("y");
    assert!(matches!(&effects[..], [Effect::Copy { text, .. }] if text.contains("up/a")), "{effects:?}");
    stage.keys("jjy");
    assert!(stage.screen().contains("select one of its exchanges first"), "{}", stage.screen());
    assert_eq!(stage.keys("s"), [Effect::SaveRecording]);
    stage.keys("<Enter>");
    let shown = stage.screen();
    assert!(shown.contains("[1 Overview]") && shown.contains("60 shown of 60"), "{shown}");
}

#[test]
fn every_row_can_be_reached_on_a_small_screen() {
    for (kind, store) in
        [(Kind::Hang, store_of_hang("hang_served_behind_a_call", None)), (Kind::Retry, store_of("retry_capped", None))]
    {
        let mut stage = stage(store, (60, 12), kind);
        let top = stage.screen();
        let mut seen = String::new();
        for _ in 0..80 {
            stage.keys("j");
            seen.push_str(&stage.screen());
        }
        let last = stage.screen();
        assert!(last.contains("confidence") && !last.contains('↓'), "{last}");
        for part in ["── Problem ──", "Exchanges", if kind == Kind::Hang { "kernel" } else { "backoff" }] {
            assert!(seen.contains(part), "{part}");
        }
        stage.keys(&"k".repeat(80));
        let body = |screen: &str| screen.lines().skip(3).take(8).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(body(&stage.screen()), body(&top));
        stage.keys("G");
        assert_eq!(body(&stage.screen())[..7], body(&last)[..7]);
        stage.keys("g<PgDn><PgUp>");
        assert_eq!(body(&stage.screen()), body(&top));
    }
}

#[test]
fn halves_are_changed_with_left_and_right() {
    let mut stage = stage(store_of("retry_capped", None), LARGE, Kind::Retry);
    let place = |stage: &mut Stage| {
        let screen = stage.screen();
        screen.lines().find_map(|line| line.find('>')).unwrap_or_else(|| panic!("nothing is selected: {screen}"))
    };
    assert!(place(&mut stage) > 60);
    stage.keys("jh");
    assert_eq!(place(&mut stage), 0);
    stage.keys("jjl");
    assert!(place(&mut stage) > 60);
}

#[test]
fn a_click_selects_and_a_second_one_opens() {
    use ratatui::crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut stage = stage(store_of("retry_capped", None), SMALL, Kind::Retry);
    let row = stage.screen().lines().position(|line| line.contains("[try 3]")).expect("it is there") as u16;
    let kind = MouseEventKind::Down(MouseButton::Left);
    let click = Event::Mouse(MouseEvent { kind, column: 20, row, modifiers: KeyModifiers::NONE });
    stage.ui.handle(&click, &stage.store);
    let shown = stage.screen();
    assert!(shown.lines().nth(row.into()).is_some_and(|line| line.starts_with('>')), "{shown}");
    stage.ui.handle(&click, &stage.store);
    assert!(!stage.screen().contains("to scale  "), "{}", stage.screen());
    assert!(!stage.screen().contains("── Problem ──"), "{}", stage.screen());
}

#[test]
fn secrets_and_escapes_do_not_get_through() {
    let text = "+0 t1 GET /a?api_key=sk_live_51HxyzABC&x=\u{202e} > 503\n\
                +200 t1 GET /a?api_key=sk_live_51HxyzABC&x=\u{202e} > 503\n+400";
    for size in [SMALL, LARGE] {
        let mut stage = stage(scenario(text), size, Kind::Retry);
        let shown = stage.screen();
        assert!(!shown.contains("sk_live_51HxyzABC"), "{shown}");
        stage.keys("X");
        let shown = stage.screen();
        assert!(shown.contains("sk_live_51HxyzABC"), "{shown}");
        assert!(!shown.chars().any(|sign| (sign.is_control() && sign != '\n') || sign == '\u{202e}'), "{shown:?}");
    }
}

#[test]
fn any_size_can_be_drawn() {
    let live = store_of("screen_live", None);
    let hang = store_of_hang("hang_served_behind_a_lock", None);
    for (width, height) in [(60, 12), (61, 13), (79, 20), (119, 30), (120, 30), (121, 50), (240, 80), (500, 20)] {
        for store in [&live, &hang] {
            let mut stage = stage(store.clone(), (width, height), Kind::Hang);
            for _ in 0..6 {
                stage.keys("jjlkhG<PgUp>g]");
            }
        }
    }
}

#[test]
fn hangs_that_are_over() {
    for (name, text) in [
        ("answered", "+0 t1 in GET /a\n+9000 t1 in > 200\n+100"),
        ("given_up", "+0 t1 POST /a body=12345\n+9000 t1 > timeout\n+100"),
    ] {
        insta::assert_snapshot!(format!("hang_{name}"), screen(scenario(text), SMALL, Kind::Hang, ""));
    }
}
