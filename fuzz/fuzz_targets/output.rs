//! The outputs under hostile event sequences: each update is one line of JSON, and no line holds a control sequence for a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap::{
    output::{
        UpdateSink as _,
        json::{JsonOptions, JsonOutput},
        line::{LineOptions, LineOutput},
    },
    text::escape::Visible,
};
use pidtap_fuzz::{script, seeds};

fuzz_target!(init: seeds::write(&seeds::http1()), |bytes: &[u8]| {
    let mut json = JsonOutput::new(Vec::new(), JsonOptions::default());
    let mut lines = LineOutput::new(Vec::new(), LineOptions::default());
    let mut updates = 0;
    script::run_before(bytes, |update| {
        updates += 1;
        json.write(update).expect("memory takes everything");
        lines.write(update).expect("memory takes everything");
    });
    json.flush().expect("memory takes everything");
    lines.flush().expect("memory takes everything");
    let text = str::from_utf8(json.get_ref()).expect("JSON is UTF-8");
    for line in text.split_terminator('\n') {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        updates -= 1;
    }
    assert_eq!(updates, 0, "a line for each update");
    let text = str::from_utf8(lines.get_ref()).expect("lines are UTF-8");
    for line in text.lines() {
        assert!(Visible(line).is_plain(), "{line:?}");
    }
});
