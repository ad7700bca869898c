//! Whole screens, drawn from committed recordings.

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyModifiers},
};

use super::*;
use crate::{
    analysis::detector::Live,
    engine::{Engine, EngineOptions, NoteKind, Update},
    event::Event as TraceEvent,
    fixture,
    model::connection::{ConnectionId, Protocol, Role},
    recording::Reader,
    store::StoreOptions,
};

/// The store after a recording. `until` ends it early, in milliseconds after the attach.
pub(super) fn store_of(name: &str, until_ms: Option<u64>) -> Store {
    store_with(name, until_ms, EngineOptions::default())
}

/// The same, for recordings of calls that hang, whose threshold is as short as that of the tests which made them.
pub(super) fn store_of_hang(name: &str, until_ms: Option<u64>) -> Store {
    let mut options = EngineOptions::default();
    options.detectors.tune("hang.after=500ms").expect("a threshold");
    store_with(name, until_ms, options)
}

fn store_with(name: &str, until_ms: Option<u64>, options: EngineOptions) -> Store {
    let path = format!("{}/../tests/recordings/{name}.tap", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut reader = Reader::open(&bytes[..]).expect("a recording");
    let mut engine = Engine::new(options);
    let mut store = Store::new(StoreOptions::default());
    let mut attached = None;
    while let Some(bytes) = reader.next_event().expect("whole") {
        let Ok(event) = TraceEvent::decode(bytes) else { continue };
        let time = event.time();
        let late = |attached: crate::event::Timestamp| until_ms.is_some_and(|ms| time.since(attached) > ms * 1_000_000);
        if attached.is_some_and(late) {
            look(&mut store, &engine);
            return store;
        }
        if matches!(event, TraceEvent::Detached(_)) {
            look(&mut store, &engine);
        }
        engine.handle_event(&event);
        while let Some(update) = engine.poll() {
            if matches!(update, crate::engine::Update::Attached(_)) {
                attached = Some(time);
                store.set_realtime_offset(engine.realtime_offset_ns());
            }
            store.apply(&update);
            let is_over =
                |open: &std::sync::Arc<crate::model::exchange::Exchange>| store.exchanges().by_id(open.id).is_some();
            assert!(!store.open().iter().any(is_over), "what is over is not shown as open as well");
        }
        if matches!(event, TraceEvent::Tick(_)) {
            look(&mut store, &engine);
        }
    }
    engine.finish();
    while let Some(update) = engine.poll() {
        store.apply(&update);
    }
    store
}

fn look(store: &mut Store, engine: &Engine) {
    let live = engine.live();
    let live: &dyn Live = &live;
    store.look(engine.now(), live);
}

/// A terminal and what it shows.
pub(super) struct Stage {
    pub(super) ui: Ui,
    pub(super) store: Store,
    terminal: Terminal<TestBackend>,
}

impl Stage {
    pub(super) fn new(store: Store, (width, height): (u16, u16)) -> Self {
        let ui = Ui::new(&UiOptions { mark_key: Some(MarkKey::new([7; 16])), ..UiOptions::default() });
        Self { ui, store, terminal: Terminal::new(TestBackend::new(width, height)).expect("it cannot fail") }
    }

    /// Presses keys: characters, or names in `<...>`. Everything is drawn between two keys, as for a person.
    pub(super) fn keys(&mut self, keys: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut rest = keys;
        while let Some(first) = rest.chars().next() {
            let (code, length) = match rest.strip_prefix('<').and_then(|name| name.split_once('>')) {
                Some((name, _)) => (named(name), name.len() + 2),
                None => (KeyCode::Char(first), first.len_utf8()),
            };
            rest = &rest[length..];
            self.screen();
            let key = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
            effects.extend(self.ui.handle(&key, &self.store));
        }
        effects
    }

    /// Draws, as a frame is drawn.
    pub(super) fn draw(&mut self) {
        let Self { ui, store, terminal } = self;
        terminal.draw(|frame| ui.draw(frame, store)).expect("it cannot fail");
    }

    /// The screen as text.
    pub(super) fn screen(&mut self) -> String {
        self.draw();
        let Self { terminal, .. } = self;
        let buffer = terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let mut text = String::new();
        for row in buffer.content.chunks(width) {
            let mut skip = 0;
            let mut line = String::new();
            for cell in row {
                if skip == 0 {
                    line.push_str(cell.symbol());
                    skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
                } else {
                    skip -= 1;
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn named(name: &str) -> KeyCode {
    match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        other => panic!("no such key: {other}"),
    }
}

pub(super) const SMALL: (u16, u16) = (80, 24);
pub(super) const LARGE: (u16, u16) = (160, 45);

/// Both sizes of a screen.
macro_rules! snapshots {
    ($name:literal, $store:expr, $keys:expr) => {
        for size in [SMALL, LARGE] {
            let mut stage = Stage::new($store, size);
            stage.keys($keys);
            insta::assert_snapshot!(format!("{}_{}x{}", $name, size.0, size.1), stage.screen());
        }
    };
}
pub(super) use snapshots;

#[test]
fn overview() {
    snapshots!("overview_retry_ongoing", store_of("retry_exponential", Some(1_500)), "");
    snapshots!("overview_retry", store_of("retry_capped", None), "");
    snapshots!("overview_hang", store_of_hang("hang_served_behind_a_call", Some(560)), "");
    snapshots!("overview_gap", store_of("forced_loss", None), "");
    snapshots!("overview_empty", store_of("screen_empty", Some(3_000)), "");
    snapshots!("overview_busy", store_of("screen_busy", Some(40_000)), "");
    snapshots!("overview_live", store_of("screen_live", None), "");
    snapshots!("overview_malicious", store_of("malicious", None), "");
}

/// Connections of which no call can be shown: that nothing fails is not known.
fn store_of_tls(calls: bool) -> Store {
    let mut store = if calls { store_of("nginx_proxied", Some(100)) } else { Store::new(StoreOptions::default()) };
    if !calls {
        store.apply(&fixture::attached());
    }
    for id in 1..=40 {
        let Update::Note(mut note) = fixture::note(NoteKind::NotHttp) else { panic!("the fixture is a note") };
        let info = std::sync::Arc::make_mut(&mut note.connection);
        info.id = ConnectionId(id);
        info.protocol = if id <= 38 { Protocol::Tls } else { Protocol::Http2 };
        note.role = Some(if id % 2 == 0 { Role::Client } else { Role::Server });
        store.apply(&Update::Note(note));
    }
    store
}

#[test]
fn where_calls_are_not_seen_it_says_so_and_not_that_nothing_fails() {
    snapshots!("overview_unseen", store_of_tls(false), "");
    snapshots!("overview_unseen_in_part", store_of_tls(true), "");
    let mut stage = Stage::new(store_of_tls(false), LARGE);
    stage.keys("4");
    let screen = stage.screen();
    assert!(screen.contains(" #1 from ") && screen.contains(" #2 to "), "{screen}");
}

#[test]
fn filters_narrow_as_they_are_typed_and_errors_are_shown() {
    snapshots!("filter_typed", store_of("nginx_proxied", None), "/status=404");
    snapshots!("filter_error", store_of("nginx_proxied", None), "/status=200 (host:x");
    let mut stage = Stage::new(store_of("nginx_proxied", None), SMALL);
    stage.keys("/status=404<Enter>");
    assert!(stage.screen().contains("filter: status=404"), "{}", stage.screen());
    stage.keys("/xyz<Esc>");
    assert!(stage.screen().contains("filter: status=404"), "what was there before is there again");
    stage.keys("<Esc>");
    assert!(!stage.screen().contains("filter: status"), "one step back from the first screen");
    stage.keys("/<Up>");
    assert!(stage.screen().contains("filter: status=404"), "it is remembered");
}

#[test]
fn a_held_view_says_so() {
    snapshots!("overview_held", store_of("screen_live", Some(35_000)), "p");
}

#[test]
fn a_held_view_stays_as_it_is_and_nothing_is_lost() {
    let mut stage = Stage::new(store_of("retry_exponential", Some(900)), SMALL);
    stage.keys("p");
    let held = stage.screen();
    stage.store = store_of("retry_exponential", None);
    let later = stage.screen();
    assert!(later.contains("PAUSED,"), "{later}");
    assert_eq!(held.lines().skip(3).collect::<Vec<_>>(), later.lines().skip(3).collect::<Vec<_>>());
    stage.keys("p");
    assert!(!stage.screen().contains("PAUSED"));
    assert!(stage.screen().contains("none ongoing"), "{}", stage.screen());
}

#[test]
fn secrets_are_hidden_until_they_are_asked_for() {
    snapshots!("overview_secrets_masked", store_of("screen_secrets", None), "");
    snapshots!("overview_secrets_shown", store_of("screen_secrets", None), "X");
}

#[test]
fn an_incident_narrows_the_list_to_its_exchanges() {
    snapshots!("overview_incident_selected", store_of("retry_exponential", None), "ij");
    let mut stage = Stage::new(store_of("retry_exponential", None), SMALL);
    assert_eq!(stage.keys("i<Esc>"), []);
    assert!(!stage.screen().contains("shown of"));
    assert_eq!(stage.keys("q"), [Effect::Quit]);
}

#[test]
fn every_screen_has_its_help() {
    snapshots!("help", store_of("retry_exponential", None), "?");
}

#[test]
fn where_nothing_was_shown_the_list_has_a_selection_again() {
    for keys in ["k/no-call-has-this<Enter>", "k/no-call-has-this<Enter>jj"] {
        let mut stage = Stage::new(store_of("nginx_proxied", None), SMALL);
        stage.keys(keys);
        assert!(stage.screen().contains("No calls match"), "{}", stage.screen());
        stage.keys("<Esc><Enter>");
        assert!(stage.screen().contains("/ search"), "it was opened:\n{}", stage.screen());
    }
    let mut stage = Stage::new(Store::default(), SMALL);
    stage.keys("jjk");
    stage.store = store_of("nginx_proxied", None);
    let selected = stage.screen();
    let last = stage.store.exchanges().next_sequence().0 as usize;
    assert_eq!(selected.lines().filter(|line| line.starts_with('>')).count(), 1, "{last} calls:\n{selected}");
    stage.keys("<Enter>");
    assert!(stage.screen().contains("/ search"), "it was opened:\n{}", stage.screen());
}

#[test]
fn what_is_lost_and_how_it_stands_is_seen_whatever_else_is_long() {
    let mut store = store_of("screen_busy", None);
    let mut loss = store.loss().clone();
    loss.events[0] = 123_456_789_012;
    loss.bytes[0] = 987_654_321_098;
    store.apply(&crate::engine::Update::Loss(loss));
    let mut stage = Stage::new(store, SMALL);
    let screen = stage.screen();
    assert!(
        screen.lines().nth(1).is_some_and(|line| line.contains("LOST 123456789012 events, ") && !line.contains('…')),
        "{screen}"
    );
    let name = format!("/a/long/{}/name.tap", "path/".repeat(40));
    stage.ui.set_source(Source { recording: Some(name), read_percent: Some(37) });
    let screen = stage.screen();
    assert!(screen.lines().next().is_some_and(|line| line.ends_with("/name.tap 37%")), "{screen}");
}

#[test]
fn counters_that_cannot_be_read_are_no_all_clear() {
    let with = |events: u64| {
        let mut store = Store::new(StoreOptions::default());
        store.apply(&fixture::attached());
        let mut loss = crate::engine::Loss { at_least: true, ..fixture::loss() };
        loss.events[0] = events;
        loss.bytes[0] = 100 * events;
        store.apply(&Update::Loss(loss));
        store
    };
    let header = |store: Store| Stage::new(store, SMALL).screen().lines().nth(1).unwrap_or_default().to_owned();
    assert!(header(with(0)).ends_with("  lost ?"), "{}", header(with(0)));
    assert!(header(with(4)).ends_with("  LOST 4 or more events, 400B"), "{}", header(with(4)));
    let screen = Stage::new(with(0), SMALL).screen();
    assert!(screen.contains("Events may be lost: the counters of the probes cannot be read."), "{screen}");
    // With calls, of which none failed: there may be others.
    let mut store = with(0);
    let mut exchange = fixture::exchange();
    exchange.response.as_mut().expect("there").status = 200;
    store.apply(&Update::Exchange(exchange.into()));
    let screen = Stage::new(store, SMALL).screen();
    assert!(screen.contains("No incidents among the observed calls; other calls may have been missed."), "{screen}");
}

#[test]
fn what_was_given_up_for_want_of_room_is_said() {
    for (waits, processes) in [(0, 0), (1, 0), (0, 7), (3, 1)] {
        let mut store = store_of("nginx_proxied", None);
        let mut summary = store.summary().expect("it is over").clone();
        (summary.waits_given_up, summary.processes_forgotten) = (waits, processes);
        store.apply(&Update::Summary(summary));
        let screen = Stage::new(store, LARGE).screen();
        assert_eq!(screen.contains("pidtap stopped waiting for missing bytes "), waits > 0, "{screen}");
        assert_eq!(screen.contains("pidtap forgot "), processes > 0, "{screen}");
    }
}

#[test]
fn a_filter_says_that_it_does_not_find_what_was_forgotten() {
    let all = store_of("retry_exponential", None);
    let mut few = Store::new(StoreOptions { exchanges: 3, bytes: 1 << 20 });
    for (_, exchange) in all.exchanges().from(crate::store::Sequence(0)) {
        few.apply(&crate::engine::Update::Exchange(std::sync::Arc::clone(exchange)));
    }
    for (store, forgets) in [(all, false), (few, true)] {
        let mut stage = Stage::new(store, SMALL);
        stage.keys("/status>1<Enter>");
        let screen = stage.screen();
        assert!(screen.contains("shown of"), "{screen}");
        assert_eq!(screen.contains("in memory"), forgets, "{screen}");
    }
}

#[test]
fn the_wheel_scrolls_and_does_not_narrow() {
    let mut stage = Stage::new(store_of("retry_exponential", None), SMALL);
    let before = stage.screen();
    for kind in [MouseEventKind::ScrollUp, MouseEventKind::ScrollUp, MouseEventKind::ScrollUp] {
        let mouse = MouseEvent { kind, column: 10, row: 12, modifiers: KeyModifiers::NONE };
        stage.ui.handle(&Event::Mouse(mouse), &stage.store);
    }
    let after = stage.screen();
    assert!(!after.contains("shown of"), "{after}");
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn keys_that_come_at_once_do_no_harm() {
    let mut stage = Stage::new(Store::default(), SMALL);
    stage.keys("?");
    for code in [KeyCode::Char('G'), KeyCode::Char('j'), KeyCode::PageDown] {
        stage.ui.handle(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), &stage.store);
    }
    assert!(stage.screen().contains(" quit"), "{}", stage.screen());
}

/// Keys as a script sends them: nothing is drawn between them.
fn at_once(stage: &mut Stage, keys: &[Event]) {
    for key in keys {
        stage.ui.handle(key, &stage.store);
    }
}

fn pressed(text: &str) -> Vec<Event> {
    let code = |character| if character == '\r' { KeyCode::Enter } else { KeyCode::Char(character) };
    text.chars().map(|character| Event::Key(KeyEvent::new(code(character), KeyModifiers::NONE))).collect()
}

#[test]
fn a_key_acts_on_what_those_before_it_brought_about() {
    let line_feed = KeyEvent::new(KeyCode::Char('j'), KeyModifiers::CONTROL);
    let typed = [pressed("/path=/nested\r\r"), pressed("k/path=/nested\r\r"), pressed("/path=/nested\rg\r")];
    let pasted = [pressed("/"), vec![Event::Paste("path=/nested".to_owned())], pressed("\r\r")].concat();
    let early = [pressed("/path=/nested"), vec![Event::Key(line_feed), Event::Key(line_feed)]].concat();
    for keys in typed.into_iter().chain([pasted, early]) {
        for is_drawn in [false, true] {
            let mut stage = Stage::new(store_of("screen_bodies", None), SMALL);
            if is_drawn {
                stage.draw();
            }
            at_once(&mut stage, &keys);
            assert!(stage.screen().contains("POST /nested HTTP/1.1"), "{keys:?}:\n{}", stage.screen());
        }
    }
}

/// Calls whose bodies are next to nothing on the wire, and 64 KiB decoded; the last one is plain.
fn bombs(count: u64) -> Store {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'a'; 1 << 20]).expect("memory");
    let bomb = encoder.finish().expect("memory");
    let mut store = Store::default();
    for id in 0..=count {
        let mut exchange = crate::fixture::exchange();
        exchange.id = crate::model::exchange::ExchangeId(id);
        let response = exchange.response.as_mut().expect("there");
        response.headers.push(b"Content-Encoding", if id == count { b"identity" } else { b"gzip" });
        response.body.captured = if id == count { b"a needle".to_vec() } else { bomb.clone() };
        store.apply(&crate::engine::Update::Exchange(exchange.into()));
    }
    store
}

#[test]
fn a_filter_that_decodes_much_holds_up_neither_frames_nor_keys() {
    let mut stage = Stage::new(bombs(400), SMALL);
    stage.draw();
    at_once(&mut stage, &pressed("/body:needle\r"));
    let mut frames = 0;
    let mut screen = stage.screen();
    while screen.contains(" to check") {
        frames += 1;
        assert!(screen.contains("No calls match so far") && frames < 100, "{screen}");
        // A key has its effect all the same.
        at_once(&mut stage, &pressed("?"));
        assert!(stage.screen().contains("Keys "), "{}", stage.screen());
        at_once(&mut stage, &pressed("?"));
        screen = stage.screen();
    }
    assert!(frames > 1 && screen.contains(" 1 shown of 401"), "{frames}: {screen}");
    // From call to call the filter looks as well.
    stage.keys("<Enter>[");
    assert!(stage.screen().contains("the filter ran out of time"), "{}", stage.screen());
}

#[test]
fn enter_where_nothing_is_says_so() {
    let mut stage = Stage::new(store_of("screen_bodies", None), SMALL);
    stage.keys("/path=/nowhere<Enter><Enter>");
    assert!(stage.screen().contains("no call is selected"), "{}", stage.screen());
}

#[test]
fn long_lines_of_the_log_are_seen_to_their_end() {
    let mut stage = Stage::new(Store::default(), SMALL);
    stage.ui.said_by_command(&format!("{} the end", "日本".repeat(30)));
    stage.keys("4");
    assert!(!stage.screen().contains("the end"));
    stage.keys("llll");
    assert!(stage.screen().contains("the end"), "{}", stage.screen());
    stage.keys("hhhh");
    assert!(stage.screen().contains("command: 日本"), "{}", stage.screen());
}

#[test]
fn too_small_says_so() {
    let mut stage = Stage::new(Store::default(), (30, 6));
    insta::assert_snapshot!(stage.screen());
}
