//! Scenarios of all detectors: each kind needs one that triggers it and one that does not, or this module does not
//! compile.

pub(crate) mod streams;

use super::{Kind, State};
use crate::engine::tests::scenario::{Scenario, Told};

/// A scenario in which the detector finds an incident, and a similar one in which it does not.
fn scenarios(kind: Kind) -> (String, String) {
    let (positive, negative) = match kind {
        Kind::ErrorBurst => {
            let calls = |first: u32, status: &str| -> String {
                (first..first + 20)
                    .map(|number| format!("+100 t1 GET /{number} > {status}\n"))
                    .collect::<Vec<_>>()
                    .concat()
            };
            return (calls(0, "200") + &calls(20, "503"), calls(0, "200") + &calls(20, "404"));
        }
        Kind::Leak => {
            let calls = |gap: u32| -> String {
                (0..60).map(|number| format!("+{gap} t1 GET /a on=c{number} > 200\n")).collect::<Vec<_>>().concat()
            };
            return (calls(700), calls(10));
        }
        Kind::Slow => (
            "*80 +20 t1 GET /a keep > 200 took=5\n*12 +20 t1 GET /a keep > 200 took=200",
            "*80 +20 t1 GET /a keep > 200 took=200\n*12 +20 t1 GET /a keep > 200 took=5",
        ),
        Kind::Duplicate => (
            "+0 t1 POST /a body=12345678\n+1 t2 POST /a body=12345678\n+5 t1 > 200\n+5 t2 > 200",
            "+0 t1 POST /a body=12345678 > 200\n+1 t2 POST /a body=12345678 > 200",
        ),
        Kind::Stale => (
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a keep > reset\n+10 t1 GET /a keep > 200",
            "+0 t1 GET /a keep > 200\n+5000 t1 GET /a > reset",
        ),
        Kind::Late => {
            let late = "+0 t1 in GET /a\n+2000 t1 in > gone\n+900 t1 in > 200\n";
            let in_time = "+0 t1 in GET /a\n+2000 t1 in > 200\n";
            return (late.repeat(4), in_time.repeat(4));
        }
        Kind::Listen => (
            "*4 +1000 t1 queue=3/128\n+1000 t1 queue=0/128",
            "+0 t1 queue=3/128\n+1000 t1 queue=0/128\n+1000 t1 queue=3/128",
        ),
        Kind::Pool => (
            "+0 t1 GET /b port=99 > 200\n+0 t5 in GET /x\n+0 t6 in GET /x\n+0 t7 in GET /x\n*30 +1 t1 GET /a keep > 200 took=20",
            "+0 t5 in GET /x\n*30 +20 t1 GET /a keep > 200",
        ),
        Kind::Retry => (
            "+0 t1 GET /a > 503\n+100 t1 GET /a > 503\n+200 t1 GET /a > 200",
            "+0 t1 GET /a > 200\n+100 t1 GET /a > 200\n+100 t1 GET /a > 503\n+100 t1 GET /a > 200",
        ),
        Kind::Hang => ("+0 t1 GET /a\n+9000 t1 > 200", "+0 t1 GET /a > 200 took=4000\n+9000 t1 GET /b > 200"),
    };
    (positive.to_owned(), negative.to_owned())
}

fn found(told: &Told, kind: Kind) -> Vec<State> {
    told.incidents().iter().filter(|incident| incident.kind() == kind).map(|incident| incident.state).collect()
}

#[test]
fn every_detector_finds_what_it_is_for_and_nothing_else() {
    for kind in Kind::ALL {
        let (positive, negative) = scenarios(*kind);
        let told = Scenario::told(&positive);
        assert!(found(&told, *kind).contains(&State::Open), "{}: nothing found", kind.name());
        assert!(found(&Scenario::told(&negative), *kind).is_empty(), "{}: found where nothing is", kind.name());
        // Incidents also appear in JSON and as lines, without missing values.
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
        scenario.play(&scenarios(*kind).0);
        assert!(found(&scenario.end(), *kind).is_empty(), "{}", kind.name());
    }
}

#[test]
fn ten_minutes_of_healthy_traffic_have_no_incident() {
    let mut text = Vec::new();
    for second in 0..600 {
        text.push(format!("+300 t1 keep GET /feed > 200\n+100 t2 GET /items/{} > 200\n", second % 7));
        text.push(format!("+50 t3 keep POST /events body=e{second} > 202\n+50 t4 GET /healthz > 200\n"));
        // Occasional failures, which are normal.
        if second % 40 == 7 {
            text.push(format!("+20 t2 GET /items/x{second} > 500\n+10 t2 GET /items/y{second} > 404\n"));
        }
        if second % 60 == 11 {
            text.push("+10 t1 keep GET /feed > 503\n".to_owned());
        }
        if second % 45 == 3 {
            text.push("+10 t5 GET /private > 401\n+5 t5 GET /private Authorization=Basic > 200\n".to_owned());
        }
        text.push("+480 t6 GET /l?page=1 > 200\n".to_owned());
        // Independent users, two of whom post the same form, and connections that stay open for a while.
        text.push(format!("+2 t7 in POST /form body=subscribe{}\n+9 t7 in > 200\n", second / 2));
        text.push(format!("+1 t8 GET /p/{second} on=c{} > 200 took={}\n", second % 20, 3 + second % 9));
    }
    let told = Scenario::told(&text.concat());
    assert!(told.incidents().is_empty(), "{:?}", told.incidents());
}
