//! Every detector has scenarios that show it, and some that do not: a kind without them does not compile.

use super::{Kind, State};
use crate::engine::tests::scenario::{Scenario, Told};

/// One scenario that the detector finds something in, and one that looks much like it and has nothing.
fn scenarios(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Retry => (
            "+0 t1 GET /a > 503\n+100 t1 GET /a > 503\n+200 t1 GET /a > 200",
            "+0 t1 GET /a > 200\n+100 t1 GET /a > 200\n+100 t1 GET /a > 503\n+100 t1 GET /a > 200",
        ),
        Kind::Hang => ("+0 t1 GET /a\n+9000 t1 > 200", "+0 t1 GET /a > 200 took=4000\n+9000 t1 GET /b > 200"),
    }
}

fn found(told: &Told, kind: Kind) -> Vec<State> {
    told.incidents().iter().filter(|incident| incident.kind() == kind).map(|incident| incident.state).collect()
}

#[test]
fn every_detector_finds_what_it_is_for_and_nothing_else() {
    for kind in Kind::ALL {
        let (positive, negative) = scenarios(*kind);
        let told = Scenario::told(positive);
        assert!(found(&told, *kind).contains(&State::Open), "{}: nothing found", kind.name());
        assert!(found(&Scenario::told(negative), *kind).is_empty(), "{}: found where nothing is", kind.name());
        // In JSON and as lines, without a mark that is missing.
        let summary = told.updates.last().expect("there is a summary");
        let crate::engine::Update::Summary(summary) = summary else { panic!("{summary:?} is no summary") };
        assert!(summary.incidents > 0);
    }
}

#[test]
fn what_is_switched_off_finds_nothing() {
    for kind in Kind::ALL {
        let mut options = crate::engine::EngineOptions::default();
        options.detectors.tune(&format!("{}=off", kind.name())).expect("it can be switched off");
        let mut scenario = Scenario::new(options);
        scenario.play(scenarios(*kind).0);
        assert!(found(&scenario.end(), *kind).is_empty(), "{}", kind.name());
    }
}
