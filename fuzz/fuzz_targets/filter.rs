//! Any text as a filter: parsing never panics, an error names a column of the text, and the text of a parsed filter parses to the
//! same filter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pidtap::filter::{Filter, MAX_LENGTH};
use pidtap_fuzz::seeds;

fuzz_target!(init: seeds::write(&seeds::filter()), |text: &str| {
    match Filter::parse(text) {
        Ok(filter) => {
            let shown = filter.to_string();
            match Filter::parse(&shown) {
                Ok(again) => assert!(again == filter && again.to_string() == shown, "{text:?} is shown as {shown:?}"),
                Err(error) => assert!(shown.len() > MAX_LENGTH, "{text:?} is shown as {shown:?}: {error}"),
            }
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: {error}");
            let _ = error.caret(text);
        }
    }
});
