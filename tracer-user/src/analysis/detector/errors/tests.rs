use super::{Course, ErrorBurstEvidence, Scope, Trend};
use crate::{
    analysis::detector::{Evidence, Explain as _, Kind, State},
    engine::tests::scenario::Scenario,
    text::redact::Redactor,
};

fn found(text: &str) -> Vec<(State, ErrorBurstEvidence)> {
    let told = Scenario::told(text);
    let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::ErrorBurst).map(|incident| {
        let Evidence::ErrorBurst(evidence) = &incident.report.evidence else { unreachable!() };
        (incident.state, (**evidence).clone())
    });
    of.collect()
}

/// Distinct calls, one after the other.
fn calls(range: std::ops::Range<u32>, gap: u32, status: &str) -> String {
    range.map(|number| format!("+{gap} t{} GET /o/{number} > {status}\n", number % 7)).collect::<Vec<_>>().concat()
}

#[test]
fn a_burst_has_an_onset_and_an_end() {
    let text = calls(0..60, 500, "200") + &calls(60..90, 100, "503") + &calls(90..130, 500, "200");
    let said = found(&text);
    assert_eq!(said.first().map(|(state, _)| *state), Some(State::Open), "{said:?}");
    assert_eq!(said.last().map(|(state, _)| *state), Some(State::Closed), "{said:?}");
    let (_, open) = &said[0];
    assert_eq!((open.trend, open.share_before), (Trend::Worse, Some(0.0)));
    let (_, closed) = &said[said.len() - 1];
    assert_eq!((closed.failures, &*closed.kinds[0].0, closed.kinds[0].1), (30, "503", 30));
    assert_eq!((closed.course, closed.from_the_first), (Course::Recovered, false));
}

#[test]
fn what_is_no_burst() {
    // Too few; one call repeated; a usual share; errors of the caller.
    for text in [
        calls(0..60, 100, "200") + &calls(60..64, 100, "503"),
        calls(0..30, 100, "200") + "*20 +100 t1 GET /same > 503\n",
        (0..60)
            .map(|round| calls(round * 4..round * 4 + 3, 100, "200") + &calls(round * 4 + 3..round * 4 + 4, 100, "503"))
            .collect(),
        calls(0..60, 100, "404"),
    ] {
        let said = found(&text);
        let unusual =
            said.iter().filter(|(_, evidence)| evidence.share_before.is_none_or(|share| share < 0.05)).count();
        assert_eq!(unusual * usize::from(!text.contains("/o/3 > 503")), 0, "{said:?}");
    }
}

/// Confidence level of the latest incident, and its explicit reasons.
fn sure(text: &str) -> (&'static str, Vec<&'static str>) {
    let told = Scenario::told(text);
    let last = told.incidents().into_iter().rfind(|incident| incident.kind() == Kind::ErrorBurst);
    let confidence = &last.expect("it is found").report.confidence;
    (confidence.level(), confidence.explicit.clone())
}

fn title(evidence: &ErrorBurstEvidence) -> String {
    evidence.timed_title(Redactor::new(false), &|_| "14:02:07".to_owned())
}

#[test]
fn an_upstream_that_refuses_every_connection_is_said_to() {
    // One caller on one thread at the same rate as before: not one call that is retried.
    let text = calls(0..40, 70, "200") + "*128 +70 t1 connect > refused\n";
    let said = found(&text);
    let (_, first) = &said[0];
    assert_eq!((first.failures, first.scope.clone()), (10, Scope::Address("127.0.0.1:8080".into())));
    let (state, last) = &said[said.len() - 1];
    assert_eq!((*state, last.course), (State::Update, Course::Ongoing), "{said:?}");
    assert!(last.failures > 60, "kept up to date: {}", last.failures);
    assert_eq!(
        title(last),
        format!("127.0.0.1:8080 refuses all connections: {0} of {0} since 14:02:07", last.failures)
    );
    assert!(last.advice().starts_with("No server listens at this address"), "{}", last.advice());
}

#[test]
fn a_connection_that_cannot_be_made_is_told_as_what_it_is() {
    for (errno, words) in [
        (99, "no local port is free for connections to 127.0.0.1:8080: 12 of 12"),
        (101, "there is no route to 127.0.0.1:8080: 12 of 12"),
        (113, "the host of 127.0.0.1:8080 is unreachable: 12 of 12"),
        (24, "no file descriptor is free for connections to 127.0.0.1:8080: 12 of 12"),
        (110, "no connection to 127.0.0.1:8080 can be established: 12 of 12"),
    ] {
        let said = found(&format!("*12 +400 t1 connect > errno={errno}\n+5000 exit"));
        let (_, last) = said.last().unwrap_or_else(|| panic!("{errno}"));
        assert!(title(last).starts_with(words), "{}", title(last));
    }
}

#[test]
fn where_some_connections_are_made_no_sentence_says_that_none_can_be() {
    for (errno, words) in [
        (99, "connections to 127.0.0.1:8080 sometimes find no free local port: "),
        (101, "there is sometimes no route to 127.0.0.1:8080: "),
        (113, "the host of 127.0.0.1:8080 is sometimes unreachable: "),
        (24, "connections to 127.0.0.1:8080 sometimes find no free file descriptor: "),
        (110, "some connections to 127.0.0.1:8080 cannot be established: "),
        (111, "127.0.0.1:8080 refuses some connections: "),
    ] {
        let turns = (0..30)
            .map(|n| format!("+100 t1 connect > errno={errno}\n+50 t2 GET /a/{n} > 200\n+50 t2 GET /b/{n} > 200\n"))
            .collect::<Vec<_>>()
            .concat();
        let text = calls(0..40, 70, "200") + &turns;
        let said = found(&text);
        let (_, last) = said.last().unwrap_or_else(|| panic!("{errno}"));
        assert!(last.failures < last.total, "{last:?}");
        assert!(title(last).starts_with(words), "{}", title(last));
        assert!(!last.advice().starts_with("No server listens"), "{}", last.advice());
        assert_eq!(sure(&text), ("likely", vec![]), "{errno}");
    }
}

#[test]
fn one_error_is_said_of_connects_only_where_it_was_one() {
    let text = |errno: u32| format!("*12 +400 t1 connect > errno={errno}\n+5000 exit");
    for errno in [24, 99, 101, 111, 113] {
        assert_eq!(sure(&text(errno)).0, "certain", "{errno}");
    }
    // A timeout may be the kernel's or the client's; EACCES and other errors share an outcome.
    for errno in [110, 13] {
        assert_eq!(sure(&text(errno)), ("likely", vec![]), "{errno}");
    }
}

#[test]
fn old_failures_of_many_upstreams_do_not_displace_what_fails_now() {
    let once = |n: u32, status: &str| format!("+5 t1 GET /a host=h{n} port={} > {status}\n", 10_000 + n);
    // Three groups each, nearly up to the limit.
    let old: String = (0..1360).map(|n| once(n, "500")).collect();
    let others: String = (2000..2010).map(|n| once(n, "500")).collect();
    let text = old + "+20000 " + &calls(0..4, 100, "503")[5..] + &others + &calls(4..12, 100, "503");
    let said = found(&text);
    let (_, first) = said.first().expect("the burst is found");
    assert_eq!((first.failures, first.kinds.clone()), (10, vec![("503".into(), 10)]), "{said:?}");
}

#[test]
fn a_second_address_that_works_at_once_is_no_failure() {
    let text = "*60 +100 t1 connect v6 > refused\n+0 t1 GET /a > 200\n";
    let text: String = (0..60).map(|_| &text[4..]).collect();
    assert!(found(&text).is_empty(), "{:?}", found(&text));
}

#[test]
fn a_burst_goes_on_to_be_told() {
    let said = found(&(calls(0..60, 100, "200") + &calls(60..400, 50, "500")));
    let counts: Vec<u64> = said.iter().map(|(_, evidence)| evidence.failures).collect();
    // The burst takes 17 s: an update at least every 5 s, and not at every call.
    assert!((4..9).contains(&counts.len()) && counts.is_sorted(), "{counts:?}");
    assert!(*counts.last().expect("some") > 240, "{counts:?}");
}

#[test]
fn one_endpoint_of_ten_is_found_and_named() {
    let call = |number: u32, status: &str| format!("+30 t1 GET /p{}/{number} > {status}\n", number % 10);
    let text: String = (0..600).map(|n| call(n, if n >= 200 && n % 10 == 3 { "500" } else { "200" })).collect();
    let said = found(&text);
    let (_, last) = said.last().expect("it is found");
    let Scope::Endpoint(endpoint) = &last.scope else { panic!("{last:?}") };
    assert_eq!((&*endpoint.method, &*endpoint.path), ("GET", "/p3/{}"));
    assert_eq!((last.share, last.from_the_first, last.failures), (1.0, false, last.total));
    assert!(title(last).starts_with("GET up/p3/{} (127.0.0.1:8080) is failing: "), "{}", title(last));
    let ids: std::collections::BTreeSet<_> = said.iter().map(|(_, evidence)| evidence.onset).collect();
    assert_eq!(ids.len(), 1, "one incident: {said:?}");
}

#[test]
fn one_address_of_three_is_found_and_named_with_its_authority() {
    let call = |number: u32| {
        let port = 8081 + number % 3;
        let status = if port == 8083 { "500" } else { "200" };
        format!("+40 t1 GET /i/{number} host=api.internal port={port} > {status}\n")
    };
    let text: String = (0..200).map(call).collect();
    let said = found(&text);
    let (_, last) = said.last().expect("it is found");
    assert_eq!(last.scope, Scope::Address("127.0.0.1:8083".into()));
    assert!(title(last).starts_with("calls to 127.0.0.1:8083 (api.internal) are failing: "), "{}", title(last));
    assert!(last.from_the_first && last.share_before.is_none() && last.trend == Trend::Steady, "{last:?}");
}

#[test]
fn where_there_was_no_before_none_is_told() {
    let said = found(&calls(0..100, 100, "500"));
    for (_, evidence) in &said {
        assert!(evidence.from_the_first && evidence.from_the_beginning, "{evidence:?}");
        assert_eq!((evidence.share_before, evidence.trend), (None, Trend::Steady));
        let title = title(evidence);
        assert!(title.contains("since tracing began or earlier") && !title.contains("before"), "{title}");
        assert!(!evidence.advice().contains("deployment"), "{}", evidence.advice());
    }
    assert!(!said.is_empty());
}

#[test]
fn calls_that_stop_have_not_recovered() {
    let stopped = calls(0..60, 100, "200") + &calls(60..90, 100, "503") + "+60000 t1 GET /x port=99 host=y > 200\n";
    let said = found(&stopped);
    let (state, last) = &said[said.len() - 1];
    assert_eq!((*state, last.course), (State::Update, Course::Stopped), "{said:?}");
    assert!(
        title(last).ends_with(": no more calls since 14:02:07; the last 30 all failed; all 503"),
        "{}",
        title(last)
    );
    // The incident ends once calls succeed.
    let said = found(&(stopped + &calls(0..5, 100, "200") + "+11000 t1 GET /x port=99 host=y > 200\n"));
    assert_eq!(
        said.last().map(|(state, evidence)| (*state, evidence.course)),
        Some((State::Closed, Course::Recovered))
    );
}
