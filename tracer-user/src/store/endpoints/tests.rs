use super::*;
use crate::{
    engine::{Update, tests::scenario::Scenario},
    store::{Store, StoreOptions},
};

fn store(text: &str) -> Store {
    let mut store = Store::new(StoreOptions::default());
    for update in &Scenario::told(text).updates {
        store.apply(update);
    }
    store
}

fn paths(store: &Store) -> Vec<String> {
    store.endpoints().rows(store.now()).iter().map(|row| row.endpoint.path.to_string()).collect()
}

#[test]
fn calls_are_counted_by_endpoint() {
    let store = store(
        "+10 t1 GET /orders/17 > 200 took=10\n+10 t1 GET /orders/18 > 500 took=30\n+10 t1 GET /orders/19 > 404\n\
         +10 t1 POST /orders > reset\n+10 t1 connect > refused\n+10 t1 GET /orders/20",
    );
    let rows = store.endpoints().rows(store.now());
    let row = &rows[0];
    assert_eq!((&*row.endpoint.method, &*row.endpoint.path, row.is_folded), ("GET", "/orders/{}", true));
    let Counts { calls, failed, refused, open, .. } = row.counts;
    assert_eq!((calls, failed, refused, open), (3, 1, 1, 1));
    assert_eq!((row.spread.max, row.spread.p99), (30_100_000, 30_100_000), "each connects first");
    assert!((10_000_000..10_440_000).contains(&row.spread.p50), "{:?}", row.spread);
    assert_eq!((row.last, row.last_failed), (Some(ExchangeId(3)), Some(ExchangeId(2))));
    assert_eq!((&*rows[1].endpoint.path, rows[1].counts.failed, rows[1].is_folded), ("/orders", 1, false));
    assert_eq!((rows[2].what, rows[2].counts.failed), (What::Connects, 1));
    assert_eq!(rows.len(), 3);

    let paths = store.endpoints().paths(row.key);
    let paths: Vec<_> = paths.iter().map(|row| (row.path, row.calls, row.failed, row.longest)).collect();
    assert_eq!(
        paths,
        [("/orders/17", 1, 0, 10_100_000), ("/orders/18", 1, 1, 30_100_000), ("/orders/19", 1, 0, 2_100_000)]
    );
    assert!(store.endpoints().paths(rows[1].key).is_empty(), "it stands for itself");
}

#[test]
fn open_calls_are_seen_before_they_end() {
    let told = Scenario::told("+10 t1 GET /slow");
    let mut store = Store::new(StoreOptions::default());
    let Some(Update::Exchange(open)) = told.updates.iter().find(|update| matches!(update, Update::Exchange(_))) else {
        panic!("it is told at the end");
    };
    let mut endpoints = Endpoints::default();
    for _ in 0..2 {
        endpoints.look(Timestamp(1), &[Arc::clone(open), Arc::clone(open)]);
        assert_eq!(endpoints.rows(Timestamp(1))[0].counts, Counts { open: 2, ..Counts::default() });
    }
    endpoints.look(Timestamp(1), &[]);
    assert_eq!(endpoints.rows(Timestamp(1))[0].counts.open, 0);
    told.updates.iter().for_each(|update| store.apply(update));
    assert_eq!(store.endpoints().rows(store.now())[0].counts, Counts { open: 1, ..Counts::default() });
}

#[test]
fn what_is_beyond_the_bounds_is_counted_together() {
    let calls: Vec<String> =
        (0..MAX_ENDPOINTS + 10).map(|number| format!("+1 t1 GET /{} keep > 200 took=1", letters(number))).collect();
    let store = store(&calls.join("\n"));
    let rows = store.endpoints().rows(store.now());
    assert_eq!(rows.len(), MAX_ENDPOINTS + 1);
    let last = rows.last().expect("the rest");
    assert_eq!((last.what, last.counts.calls), (What::Other, 10));
    assert_eq!(rows.iter().map(|row| row.counts.calls).sum::<u64>(), MAX_ENDPOINTS as u64 + 10);
}

/// A number without digits.
fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

#[test]
fn of_many_paths_those_that_matter_are_remembered() {
    let first = "+1 t1 GET /a/1 keep > 500 took=1\n*3 +1 t1 GET /a/2 keep > 200 took=1\n".to_owned();
    let more: Vec<String> = (3..100).map(|number| format!("+1 t1 GET /a/{number} keep > 200 took=1")).collect();
    let store = store(&(first + &more.join("\n")));
    assert_eq!(paths(&store), ["/a/{}"]);
    let rows = store.endpoints().paths(store.endpoints().rows(store.now())[0].key);
    assert_eq!(rows.len(), 32);
    assert_eq!((rows[0].path, rows[0].calls), ("/a/2", 3));
    for path in ["/a/1", "/a/99"] {
        assert!(rows.iter().any(|row| row.path == path), "{path}");
    }
}

#[test]
fn trends() {
    let trend = |text: &str| {
        let store = store(text);
        store.endpoints().rows(store.now())[0].trend
    };
    let usual = "*100 +100 t1 GET /a keep > 200 took=10\n";
    assert_eq!(trend("*40 +100 t1 GET /a keep > 200 took=10\n"), Trend::Unknown);
    assert_eq!(trend(&usual.repeat(3)), Trend::Steady);
    assert_eq!(trend(&format!("{usual}{usual}*200 +100 t1 GET /a keep > 200 took=20\n")), Trend::Rising);
    assert_eq!(trend(&format!("{usual}{usual}*200 +100 t1 GET /a keep > 200 took=3\n")), Trend::Falling);
}

#[test]
fn the_rate_is_that_of_the_last_ten_seconds() {
    let store = store("*100 +100 t1 GET /a keep > 200\n*200 +100 t1 GET /b keep > 200\n");
    let rows = store.endpoints().rows(store.now());
    assert!(rows[0].rate < 0.1, "{}", rows[0].rate);
    assert!((9.0..=10.5).contains(&rows[1].rate), "{}", rows[1].rate);
    assert!(rows[0].seconds.iter().sum::<u32>() >= 90);
}

/// An exchange costs the same where calls have few paths and where each has its own: `--release -- --nocapture` says how much.
/// The bound is for a build without optimisation on a busy machine; it finds what looks at all paths for each.
#[test]
fn an_exchange_costs_little_however_many_paths_there_are() {
    for count in [10, 100, 1_000] {
        let calls: Vec<String> =
            (0..count).map(|number| format!("+1 t1 GET /v1/orders/{number}/items keep > 200")).collect();
        let told = Scenario::told(&calls.join("\n"));
        let exchanges: Vec<_> = told
            .updates
            .iter()
            .filter_map(|update| if let Update::Exchange(exchange) = update { Some(exchange) } else { None })
            .collect();
        let mut endpoints = Endpoints::default();
        let start = std::time::Instant::now();
        let times = 10_000 / count;
        for _ in 0..times {
            for exchange in &exchanges {
                endpoints.see(exchange);
            }
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(times) / f64::from(count);
        println!("{count} paths: {each:.0} ns each");
        assert!(each < 200_000.0, "{count} paths: {each:.0} ns each");
    }
}
