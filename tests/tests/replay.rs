//! Replays recordings of real services, and compares the output with that of the live trace.
//!
//! `cargo xtask record` writes `recordings/NAME.tap` and the output of the same run, `NAME.json`. The run itself was compared with the
//! service's own log. Scripted recordings are compared with their script.
//!
//! After an intended change of the output, this test with `PIDTAP_EXPECT_THIS=1` writes the expectations again. Review the difference.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use pidtap::event::{
    Event,
    wire::{DataEvent, flag},
};
use proptest::prelude::*;
use tracer_tests::{
    compare::no_wrong_pair,
    replayed::{events, replay},
    report::Report,
    scripted,
};

/// The least number of recordings. Fewer mean a wrong or incomplete folder.
const AT_LEAST: usize = 15;

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("there are recordings")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tap"))
        .collect();
    paths.sort();
    assert!(paths.len() >= AT_LEAST, "{} recordings are in {}", paths.len(), folder.display());
    paths
}

fn events_of(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::File::open(path).expect("it can be read");
    events(name(path), file).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(|name| name.to_str()).expect("recordings have plain names")
}

fn same(path: &Path, expected: &str, found: &str, what: &str) {
    let file = path.display();
    for (number, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(expected, found, "{file}, {what}, line {}", number + 1);
    }
    assert_eq!(expected.lines().count(), found.lines().count(), "{file}, {what}: number of lines");
}

#[test]
fn every_recording_gives_what_was_printed_live() {
    for path in recordings() {
        let found = replay(name(&path), &events_of(&path));
        if env::var_os("PIDTAP_EXPECT_THIS").is_some() {
            fs::write(path.with_extension("json"), &found).expect("it can be written");
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("json")).expect("each recording has an expectation");
        same(&path, &expected, &found, "replayed");
    }
}

#[test]
fn scripted_recordings_are_what_the_script_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    for (name, content) in scripted::recordings() {
        let kept = fs::read(folder.join(name).with_extension("tap")).expect("it was kept");
        assert!(kept == content, "{name} is not what the script makes: `cargo xtask record --scripted` makes it again");
    }
}

#[test]
fn expectations_have_no_unknown_keys_and_belong_to_recordings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("there are recordings") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            assert!(path.with_extension("tap").exists(), "{} has no recording", path.display());
            let text = fs::read_to_string(&path).expect("it can be read");
            Report::parse(&text).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            count += 1;
        }
    }
    assert_eq!(count, recordings().len());
    let unknown = r#"{"type":"attached","targets":[],"time":"x","more":1}"#;
    assert!(serde_json::from_str::<tracer_tests::report::Line>(unknown).is_err(), "unknown keys are refused");
}

/// Collects the names of all members, at every depth.
fn names_in(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                found.insert(name.clone());
                names_in(value, found);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| names_in(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_that_is_printed_is_documented() {
    let documentation = include_str!("../../docs/json.md");
    let mut found = BTreeSet::new();
    for path in recordings() {
        let text = fs::read_to_string(path.with_extension("json")).expect("each recording has an expectation");
        for line in text.lines() {
            names_in(&serde_json::from_str(line).expect("JSON"), &mut found);
        }
    }
    // Of all kinds of lines and of evidence.
    assert!(found.len() > 150, "{} names", found.len());
    found.retain(|name| !documentation.contains(&format!("`{name}`")));
    assert!(found.is_empty(), "docs/json.md does not have {found:?}");
}

/// Without loss, and on connections observed from the start of a message, the output is the same. After a gap, the search for the next
/// message uses the starts of calls; on a connection joined within a message, it gives up after a number of calls. Then other messages
/// may be found, but no pair may be wrong.
fn same_or_honest(path: &Path, expected: &str, found: &str, what: &str) {
    let report = Report::parse(expected).expect("an expectation");
    let late = report.exchanges.iter().any(|exchange| exchange.quality == "joined_late");
    if report.summary.lost_events == 0 && !late {
        return same(path, expected, found, what);
    }
    let report = Report::parse(found).unwrap_or_else(|error| panic!("{}, {what}: {error:#}", path.display()));
    no_wrong_pair(&report).unwrap_or_else(|error| panic!("{}, {what}: {error:#}", path.display()));
}

/// Splits each call into calls of `piece()` bytes, as smaller buffers would.
fn in_pieces(events: &[Vec<u8>], mut piece: impl FnMut() -> usize) -> Vec<Vec<u8>> {
    let mut result = Vec::new();
    for event in events {
        match Event::decode(event) {
            Ok(Event::Data(data, payload)) if payload.len() > 1 => split(&data, payload, &mut piece, &mut result),
            _ => result.push(event.clone()),
        }
    }
    result
}

fn split(data: &DataEvent, mut payload: &[u8], piece: &mut impl FnMut() -> usize, result: &mut Vec<Vec<u8>>) {
    let one_record = data.offset == 0 && i64::from(data.result) == payload.len() as i64;
    let as_calls = one_record && data.header.flags & flag::PEEK == 0;
    let mut data = *data;
    let flags = data.header.flags;
    while !payload.is_empty() {
        let (now, later) = payload.split_at(piece().clamp(1, payload.len()));
        data.captured = now.len() as u32;
        if as_calls {
            data.result = now.len() as i32;
        } else if !later.is_empty() {
            // Only the last record of a call has the flag.
            data.header.flags = flags & !flag::LAST;
        } else {
            data.header.flags = flags;
        }
        let mut bytes = Vec::new();
        Event::Data(data, now).encode(&mut bytes);
        result.push(bytes);
        if as_calls {
            data.position += now.len() as u64;
            if flags & flag::SEQUENCE != 0 {
                data.position &= u64::from(u32::MAX);
            }
        } else {
            data.offset += now.len() as u32;
        }
        payload = later;
    }
}

#[test]
fn every_recording_cut_at_every_point_gives_the_same() {
    for path in recordings() {
        let expected = fs::read_to_string(path.with_extension("json")).expect("each recording has an expectation");
        let events = events_of(&path);
        for size in [1, 2, 3, 7, 64, 997] {
            let pieces = in_pieces(&events, || size);
            same_or_honest(&path, &expected, &replay(name(&path), &pieces), &format!("in pieces of {size}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_recording_in_any_pieces_gives_the_same(
        which in any::<prop::sample::Index>(),
        sizes in prop::collection::vec(1_usize..2000, 1..50),
    ) {
        let paths = recordings();
        let path = &paths[which.index(paths.len())];
        let expected = fs::read_to_string(path.with_extension("json")).expect("each recording has an expectation");
        let mut sizes = sizes.iter().cycle();
        let pieces = in_pieces(&events_of(path), || *sizes.next().expect("it is endless"));
        same_or_honest(path, &expected, &replay(name(path), &pieces), "in pieces");
    }
}
