use super::{LateCourse, LateEvidence};
use crate::{
    analysis::detector::{Evidence, Explain as _, Kind, State},
    engine::tests::scenario::Scenario,
    text::redact::Redactor,
};

fn found(text: &str) -> Vec<(State, LateEvidence)> {
    let told = Scenario::told(text);
    let of = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Late).map(|incident| {
        let Evidence::Late(evidence) = &incident.report.evidence else { unreachable!() };
        (incident.state, (**evidence).clone())
    });
    of.collect()
}

#[test]
fn callers_that_go_before_their_answer_are_told_with_numbers() {
    let call = |n: u32| format!("+400 t{n} in GET /{n}\n+2000 t{n} in > gone\n+3000 t{n} in > 200\n");
    let text: String = (0..6).map(call).collect();
    let said = found(&text);
    let (state, first) = &said[0];
    assert_eq!((*state, first.gone, first.total), (State::Open, 3, 3));
    let (_, last) = said.last().expect("some");
    let title = last.timed_title(Redactor::new(false), &|_| "14:02:07".to_owned());
    assert!(
        title.starts_with("responses are too late: ")
            && title.contains("callers since 14:02:07 disconnected before their response, after 2.0 s; the responses took 5.0 s; the latest: GET /"),
        "{title}"
    );
    let well = "*4 +100 t1 in GET /a > 200\n+61000 t1 in GET /a > 200\n";
    assert_eq!(found(&(text + well)).last().map(|(state, _)| *state), Some(State::Closed));
}

#[test]
fn what_is_no_late_answer() {
    // Callers that shut down sending at once, as `nc -N` does; too few; after the response; a small share.
    let half = "*5 +400 t1 in GET /a\n+1 t1 in > gone\n+500 t1 in > 200\n";
    let half: String = (0..5).map(|_| &half[3..]).collect();
    let few = "+0 t1 in GET /a\n+2000 t1 in > gone\n+900 t1 in > 200\n";
    let many = format!("{few}*30 +10 t2 in GET /b > 200\n").repeat(4);
    for text in [half, few.repeat(2), many, "*20 +10 t1 in GET /a > 200\n".to_owned()] {
        assert!(found(&text).is_empty(), "{text}");
    }
}

/// Calls of 3 s whose callers end them by `end`.
fn calls(end: &str) -> String {
    (0..4).map(|n| format!("+400 t{n} in GET /{n}\n+3000 t{n} in > {end}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn a_process_that_resets_its_connections_is_not_left_by_its_callers() {
    assert!(found(&calls("abort")).is_empty());
    assert!(found(&calls("timeout")).is_empty(), "closed by the process, without an answer");
}

#[test]
fn only_resets_by_all_callers_are_certain() {
    let doubtful = |text: &str| -> Vec<bool> {
        let told = Scenario::told(text);
        let late = told.incidents().into_iter().filter(|incident| incident.kind() == Kind::Late);
        late.map(|incident| incident.report.confidence.doubtful).collect()
    };
    assert_eq!(doubtful(&calls("reset")).first(), Some(&false));
    let one = "+400 t9 in GET /x\n+3000 t9 in > gone\n+100 t9 in > 200\n";
    assert_eq!(doubtful(&(one.to_owned() + &calls("reset"))).first(), Some(&true));
    // The callers sent a FIN, and the process itself resets.
    let own = "+400 t9 in GET /x\n+3000 t9 in > gone\n+100 t9 in > abort\n".repeat(4);
    assert_eq!(doubtful(&own).first(), Some(&true));
}

#[test]
fn what_a_process_had_ends_with_it() {
    let late = "+400 t1 in GET /a\n+2000 t1 in > gone\n+3000 t1 in > 200\n".repeat(3);
    let said = found(&(late.clone() + "+100 exit\n+60000 t1 in GET /b > 200"));
    let (state, last) = said.last().expect("some");
    assert_eq!((*state, last.course, last.gone), (State::Closed, LateCourse::Ended, 3), "{said:?}");
    // Another process with the same PID starts without history.
    let one = "+400 t1 in GET /a\n+2000 t1 in > gone\n+3000 t1 in > 200\n";
    assert!(found(&(one.repeat(2) + "+100 exit\n" + one)).is_empty());
}

#[test]
fn calls_that_stop_are_not_told_in_the_present() {
    let late = "+400 t1 in GET /a\n+2000 t1 in > gone\n+3000 t1 in > 200\n".repeat(3);
    let said = found(&(late.clone() + "+61000"));
    let (state, last) = said.last().expect("some");
    assert_eq!((*state, last.course), (State::Update, LateCourse::Stopped), "{said:?}");
    let title = last.timed_title(Redactor::new(false), &|_| "14:02:07".to_owned());
    assert_eq!(
        title,
        "no call has completed since 14:02:07; 3 of 3 callers disconnected before their response, after 2.0 s"
    );
    let again = found(&(late + "+61000\n+400 t1 in GET /a\n+2000 t1 in > gone\n+3000 t1 in > 200\n+100"));
    assert_eq!(again.last().map(|(_, last)| last.course), Some(LateCourse::Ongoing));
}

#[test]
fn how_long_they_waited_stays_after_they_left_the_window() {
    let late = "+400 t1 in GET /a\n+2000 t1 in > gone\n+3000 t1 in > 200\n".repeat(3);
    let said = found(&(late + "+61000\n*4 +10 t1 in GET /a > 200\n+100"));
    let (state, last) = said.last().expect("some");
    assert_eq!((*state, last.course), (State::Closed, LateCourse::Recovered), "{said:?}");
    assert_eq!(last.waited, (2_000_000_000, 2_000_000_000));
    assert!(last.took.is_some());
}

#[test]
fn processes_that_are_idle_give_way_to_others() {
    let one =
        |pid: u32| format!("+1 fork p{pid}\n+1 p{pid} t{pid} in GET /a\n+500 t{pid} in > gone\n+1 t{pid} in > 200\n");
    let others = (1000..1300).map(one).collect::<Vec<_>>().concat();
    let text = others + &"+400 t1 in GET /a\n+2000 t1 in > gone\n+3000 t1 in > 200\n".repeat(4);
    assert!(!found(&text).is_empty());
}
