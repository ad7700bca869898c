use crate::{
    filter::{Context, Filter},
    store::{EndpointKey, endpoints},
    text::redact::Redactor,
    tui::tests::{LARGE, SMALL, Stage, snapshots, store_of, store_of_hang},
    view::narrow,
};

#[test]
fn endpoints() {
    snapshots!("endpoints_empty", store_of("screen_empty", Some(3_000)), "2");
    snapshots!("endpoints_busy", store_of("screen_busy", Some(40_000)), "2");
    snapshots!("endpoints_open", store_of_hang("hang_served_behind_a_call", Some(560)), "2");
    snapshots!("endpoints_malicious", store_of("malicious", None), "2");
}

#[test]
fn they_are_sorted_by_any_column() {
    snapshots!("endpoints_sorted", store_of("screen_busy", Some(40_000)), "2<<");
    let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), SMALL);
    stage.keys("2");
    let first = |stage: &mut Stage| stage.screen().lines().nth(5).unwrap_or_default().to_owned();
    assert!(stage.screen().contains("calls▼"));
    let most = first(&mut stage);
    stage.keys("S");
    assert!(stage.screen().contains("calls▲"));
    assert_ne!(first(&mut stage), most);
    let columns = stage.screen().lines().nth(4).unwrap_or_default().split_whitespace().count();
    stage.keys(&"s".repeat(columns));
    assert!(stage.screen().contains("calls▼"), "once round: {}", stage.screen());
    assert_eq!(first(&mut stage), most);
}

#[test]
fn a_folded_path_is_unfolded() {
    snapshots!("endpoints_unfolded", store_of("screen_busy", Some(40_000)), "2u");
}

#[test]
fn the_tables_say_that_a_filter_is_not_for_them() {
    snapshots!("endpoints_filtered", store_of("screen_busy", Some(40_000)), "/status>=500<Enter>2");
}

#[test]
fn enter_shows_the_calls_of_a_row() {
    let mut stage = Stage::new(store_of("screen_busy", Some(40_000)), SMALL);
    stage.keys("2<Enter>");
    let screen = stage.screen();
    assert!(screen.contains("[1 Overview]") && screen.contains("filter: is:"), "{screen}");
    assert!(screen.contains("shown of"), "{screen}");
}

#[test]
fn what_a_row_is_narrowed_to_are_its_calls() {
    let redactor = Redactor::new(false);
    for name in
        ["screen_busy", "nginx_proxied", "client_mixed", "gives_up", "retry_curl", "forced_loss", "screen_secrets"]
    {
        let store = store_of(name, None);
        let context = Context { redactor, now: store.now(), budget: None };
        let mut calls = 0;
        for row in store.endpoints().rows(store.now()) {
            let text = narrow::to_endpoint(&row, redactor).expect("no recording has more than are told apart");
            let filter = Filter::parse(&text).unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
            for (_, exchange) in store.exchanges().from(crate::store::Sequence(0)) {
                let of: EndpointKey = endpoints::key(exchange);
                let matches = filter.matches(exchange, &context);
                assert_eq!(matches, of == row.key, "{name}: {text}: {}", exchange.id.0);
                calls += usize::from(matches);
            }
            for path in store.endpoints().paths(row.key) {
                let text = narrow::to_path(&row, path.path, redactor);
                let filter = Filter::parse(&text).unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
                let all = store.exchanges().from(crate::store::Sequence(0));
                let found = all.filter(|(_, exchange)| exchange.end().is_some() && filter.matches(exchange, &context));
                assert_eq!(found.count() as u64, path.calls, "{name}: {text}");
            }
        }
        assert_eq!(calls, store.exchanges().len(), "{name}");
    }
}
