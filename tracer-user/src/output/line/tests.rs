use std::sync::Arc;

use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::{
    fixture::{self, START},
    model::{
        connection::{ConnectionInfo, Endpoint},
        exchange::{Body, ProcessRef},
    },
};

/// Updates of all kinds, as a trace has them.
fn trace() -> Vec<Update> {
    let mut updates = vec![fixture::attached()];
    let mut add = |edit: &dyn Fn(&mut Exchange)| {
        let mut exchange = fixture::exchange();
        exchange.timing.end = Some(Timestamp(START.0 + 12_345_678));
        let request = exchange.request.as_mut().expect("there");
        request.target = "/v1/charge?token=s3cret".into();
        request.authority = Some("payments.example.org:8080".into());
        let response = exchange.response.as_mut().expect("there");
        response.status = 200;
        response.body.bytes = 1_234;
        edit(&mut exchange);
        updates.push(Update::Exchange(exchange.into()));
    };
    add(&|_| {});
    add(&|exchange| {
        exchange.role = Role::Server;
        exchange.response.as_mut().expect("there").status = 404;
    });
    add(&|exchange| exchange.response.as_mut().expect("there").status = 503);
    add(&|exchange| exchange.timing.end = Some(Timestamp(START.0 + 1_520_000_000)));
    add(&|exchange| {
        exchange.outcome = Outcome::InFlight;
        exchange.response = None;
        exchange.timing.end = Some(Timestamp(START.0 + 61_000_000_000));
    });
    add(&|exchange| {
        exchange.outcome = Outcome::Reset;
        exchange.quality = Quality::BodyGap;
        exchange.error = Some(104);
    });
    add(&|exchange| {
        exchange.outcome = Outcome::ConnectTimeout;
        exchange.error = Some(113);
        exchange.request = None;
        exchange.response = None;
    });
    add(&|exchange| {
        let request = exchange.request.as_mut().expect("there");
        request.method = "DELETE".into();
        request.target = "/\x1b[31m\u{202e}日本".into();
        request.body = Body { bytes: 52_428_800, captured: vec![], missing: 0 };
        exchange.quality = Quality::JoinedLate;
    });
    add(&|exchange| {
        exchange.process = ProcessRef { pid: 4_000_000, tid: 1, name: "worker\x1b".into() };
        let connection = (*exchange.connection).clone();
        exchange.connection = Arc::new(ConnectionInfo { remote: Endpoint::Unix("/run/a.sock".into()), ..connection });
        exchange.request.as_mut().expect("there").authority = None;
        exchange.outcome = Outcome::Upgraded;
        exchange.response.as_mut().expect("there").status = 101;
    });
    updates.push(fixture::note(NoteKind::NotHttp));
    updates.push(fixture::note(NoteKind::Opaque { protocol: "web\x07socket".into() }));
    updates.push(fixture::note(NoteKind::UnseenBytes { sent: 1, received: 2 }));
    updates.push(fixture::summary());
    updates
}

fn printed(options: LineOptions) -> String {
    let mut output = LineOutput::new(Vec::new(), options);
    output.set_realtime_offset(fixture::REALTIME_OFFSET);
    for update in trace() {
        output.write(&update).expect("memory");
    }
    output.flush().expect("memory");
    String::from_utf8(output.get_ref().clone()).expect("UTF-8")
}

#[track_caller]
fn check(width: usize, expected: &str) {
    let text = printed(LineOptions { width: Some(width), ..LineOptions::default() });
    for line in text.lines() {
        let words = ["attached", "lost ", "done ", " ~ "].iter().any(|word| line.contains(word));
        assert!(words || line.width() <= width, "{} columns: {line}", line.width());
    }
    assert!(text == expected, "printed at {width} columns:\n{text}");
}

#[test]
fn at_120_columns() {
    check(120, include_str!("snapshot_120.txt"));
}

#[test]
fn at_80_columns() {
    check(80, include_str!("snapshot_80.txt"));
}

#[test]
fn at_20_columns() {
    check(20, include_str!("snapshot_20.txt"));
}

#[test]
fn without_a_terminal_nothing_is_cut() {
    let text = printed(LineOptions::default());
    assert!(!text.lines().any(|line| line.ends_with('…')), "{text}");
    assert!(text.contains("exchanges may be missing\n"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}') && !text.contains("s3cret"), "{text}");
}

#[test]
fn colour_adds_nothing_but_colour() {
    for width in [20, 80, 120] {
        let plain = printed(LineOptions { width: Some(width), ..LineOptions::default() });
        let coloured = printed(LineOptions { width: Some(width), colour: true, ..LineOptions::default() });
        let mut stripped = String::new();
        let mut rest = &*coloured;
        while let Some((before, after)) = rest.split_once("\x1b[") {
            stripped.push_str(before);
            rest = after.split_once('m').expect("a whole sequence").1;
        }
        stripped.push_str(rest);
        assert_eq!(stripped, plain);
        assert!(coloured.contains("\x1b[1;31m! → \x1b[0m\x1b[1;31m503"), "{coloured}");
    }
}

#[test]
fn local_time_is_shown_where_asked_for() {
    let text = printed(LineOptions { utc_offset_s: 3_600, ..LineOptions::default() });
    assert!(text.lines().nth(1).expect("a line").starts_with("05:05:06.123 "), "{text}");
}

/// The lines that a trace without exchanges ends with.
fn end_of(edit: impl FnOnce(&mut Summary)) -> String {
    let Update::Summary(mut summary) = fixture::summary() else { panic!("the fixture is a summary") };
    summary.loss = Loss::default();
    edit(&mut summary);
    let mut output = LineOutput::new(Vec::new(), LineOptions::default());
    output.write(&Update::Summary(summary)).expect("memory");
    output.flush().expect("memory");
    String::from_utf8(output.get_ref().clone()).expect("UTF-8")
}

#[test]
fn counters_that_cannot_be_read_are_no_all_clear() {
    let unread = "! cannot read the counters of the probes: more events may be lost than shown\n";
    let text = end_of(|summary| summary.loss.at_least = true);
    assert!(text.starts_with(unread) && text.ends_with("; 0 or more events lost (0 bytes)\n"), "{text}");
    let text = end_of(|summary| summary.loss = Loss { at_least: true, ..fixture::loss() });
    assert!(text.contains(unread) && text.ends_with("; 4 or more events lost (400 bytes)\n"), "{text}");
    let text = end_of(|_| ());
    assert!(!text.contains("counters") && text.ends_with("; 0 events lost (0 bytes)\n"), "{text}");
    // While the trace goes on as well.
    let mut output = LineOutput::new(Vec::new(), LineOptions::default());
    output.write(&Update::Loss(Loss { at_least: true, ..Loss::default() })).expect("memory");
    output.flush().expect("memory");
    assert_eq!(output.get_ref(), unread.as_bytes());
}

#[test]
fn what_was_given_up_for_want_of_room_is_said() {
    let text = end_of(|summary| (summary.waits_given_up, summary.processes_forgotten) = (1, 1));
    assert!(text.contains("! stopped waiting for missing bytes once: "), "{text}");
    assert!(text.contains("\n! forgot 1 process: "), "{text}");
    let text = end_of(|summary| (summary.waits_given_up, summary.processes_forgotten) = (2, 30));
    assert!(text.contains("! stopped waiting for missing bytes 2 times: "), "{text}");
    assert!(text.contains("\n! forgot 30 processes: "), "{text}");
    let text = end_of(|_| ());
    assert!(text.lines().count() == 1 && text.starts_with("done "), "{text}");
}
