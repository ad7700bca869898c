//! Client behaviour around attempts: early connections, several addresses, calls on behalf of others.
#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "scenarios are short texts, put together to be read"
)]

use super::{Pattern, RetryResult, check, gaps_ms, none, one, told};

#[test]
fn a_connection_that_is_opened_ahead_is_no_attempt_yet() {
    let text = "+0 t1 GET /s > 502\n+0.2 t1 open on=b\n+100 t1 GET /s on=b > 502\n+0.2 t1 open on=c\n+200 t1 GET /s on=c > 502\n\
                +0.2 t1 open on=d\n+400 t1 GET /s on=d > 502\n+0.2 t1 open on=e\n+800 t1 GET /s on=e > 200";
    let evidence = check(text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(gaps_ms(&evidence), [100, 200, 400, 800]);
    assert!(evidence.pathologies.is_empty(), "{:?}", evidence.pathologies);
}

#[test]
fn refused_connects_and_the_call_that_then_succeeds_are_one_chain() {
    for how in ["", "blocking "] {
        let text = format!(
            "+0 t1 connect {how}> refused\n+200 t1 connect {how}> refused\n+400 t1 connect {how}> refused\n\
             +800 t1 {how}GET /config > 200"
        );
        let text = text.replace(&format!("{how}GET /config"), &format!("GET /config {how}"));
        let evidence = check(&text, 4, Pattern::Exponential, RetryResult::Recovered);
        assert_eq!((evidence.answer, gaps_ms(&evidence)), (Some(200), vec![200, 400, 800]));
        assert_eq!(told(&text).incidents()[0].report.confidence.level(), "likely");
    }
}

#[test]
fn the_next_address_at_once_is_the_same_connect() {
    for how in ["", "blocking "] {
        let call = |(page, gap): (usize, &u32)| {
            format!("+{gap} t1 connect v6 {how}> refused\n+0.2 t1 GET /page/{page} {how}> 200\n")
        };
        none(&[300, 900, 140, 700, 410, 230, 1100].iter().enumerate().map(call).collect::<String>());
        // IPv4 first.
        none(&format!("+700 t1 connect {how}> refused\n+0.2 t1 GET /a v6 {how}> 200\n").repeat(5));
    }
    // Several concurrent calls of an event loop.
    let both = "+400 t1 connect v6 > refused\n+0.1 t1 connect v6 > refused\n+0.2 t1 GET /a as=a\n+0.1 t1 GET /b as=b\n\
                +5 t1 > 200 as=a\n+1 t1 > 200 as=b\n";
    none(&both.repeat(4));
}

#[test]
fn the_same_call_for_different_callers_is_different() {
    // Applies from the first call on, before it is known that the target makes calls.
    let mut text = String::new();
    for (user, gap) in [300, 200, 400, 800, 150].iter().enumerate() {
        text += &format!("+{gap} t1 in GET /user/{user}\n+1 t1 GET /popular > 503\n+1 t1 in > 502\n");
    }
    none(&text);
    // In an event loop with overlapping callers.
    let turns = "+0 t1 GET /x as=a\n+0 t1 GET /y as=b\n+0 t1 GET /z as=c\n+1 t1 > 200 as=a\n+1 t1 > 200 as=b\n+1 t1 > 200 as=c\n";
    let mut text = turns.to_owned();
    for (user, gap) in [300, 200, 400, 150, 180, 90].iter().enumerate() {
        text += &format!(
            "+{gap} t1 in GET /user/{user} as=i{user}\n+1 t1 in GET /other/{user} as=o{user}\n+1 t1 GET /popular > 503\n\
             +1 t1 in > 502 as=i{user}\n+1 t1 in > 200 as=o{user}\n"
        );
    }
    none(&text);
}

#[test]
fn a_call_that_is_retried_for_its_caller_is_found_from_the_first_one_on() {
    let text = "+0 t1 in POST /pay\n+1 t1 POST /g body=x > 503\n+100 t1 POST /g body=x > 503\n+200 t1 POST /g body=x > 503\n+1 t1 in > 502";
    assert_eq!(one(text).attempts, 3);
}

#[test]
fn a_stream_of_calls_that_are_all_refused_is_no_chain() {
    let before: String = (0..40).map(|n| format!("+70 t1 GET /items/{n} > 200\n")).collect();
    let busy: String = (0..40).map(|n| format!("+{} t1 GET /items/{n} > 200\n", 30 + n * 7 % 60)).collect();
    for gap in ["70", "31", "90"] {
        none(&format!("{before}*120 +{gap} t1 connect > refused\n"));
        none(&format!("{busy}*120 +{gap} t1 connect > refused\n"));
    }
    // The calls after it do not retry the one that was in flight when the upstream went down.
    none(&format!("{busy}+60 t1 GET /items/99 > closed\n*50 +70 t1 connect > refused\n"));
    // Several threads.
    let threads: String = (0..200).map(|n| format!("+9 t{} connect > refused\n", n % 4)).collect();
    let warm: String = (0..200).map(|n| format!("+9 t{} GET /items/{n} > 200\n", n % 4)).collect();
    none(&(warm + &threads));
    // A clearly growing backoff is a chain even there.
    let text = format!(
        "{busy}+60 t1 connect > refused\n+100 t1 connect > refused\n+200 t1 connect > refused\n+400 t1 connect > refused\n+800 t1 GET /a > 200"
    );
    assert_eq!(one(&text).attempts, 5);
}

#[test]
fn whoever_is_answered_by_the_next_upstream_was_not_given_up() {
    // Both ports are tried for each caller.
    let mut text = "+0 t9 GET /warm port=9002 > 200\n".to_owned();
    for (user, gap) in [300, 200, 400, 150].iter().enumerate() {
        text += &format!(
            "+{gap} t1 in GET /u/{user}\n+0.2 t1 connect port=9001 > refused\n+0.2 t1 GET /u/{user} port=9002 > 200\n+1 t1 in > 200\n"
        );
    }
    none(&text);
}

/// Attempts that time out after half a second, and whose sockets are closed only at the end of the backoff.
fn closed_late(backoffs: &[u64], last: Option<u64>) -> String {
    let lasts = backoffs.iter().map(|backoff| 500 + backoff).chain(last);
    lasts.map(|took| format!("+0.3 t1 POST /charge body=x > timeout took={took}\n")).collect()
}

#[test]
fn an_attempt_ends_when_it_failed_not_when_it_was_closed() {
    // With and without an immediate first retry; the last attempt is closed at once.
    let evidence = check(&closed_late(&[0, 800, 1600, 3200], Some(500)), 5, Pattern::Exponential, RetryResult::GaveUp);
    assert_eq!(gaps_ms(&evidence)[1..], [800, 1600, 3200]);
    assert!(!evidence.pathologies.contains(&"hot_loop"), "{:?}", evidence.pathologies);
    let evidence = check(&closed_late(&[400, 800, 1600], Some(500)), 4, Pattern::Exponential, RetryResult::GaveUp);
    assert_eq!(gaps_ms(&evidence), [400, 800, 1600]);
    assert!(evidence.listed[..3].iter().all(|attempt| attempt.closed.is_some()));
    // Without an attempt that is closed at once, as the last one succeeds.
    let text = closed_late(&[400, 800, 1600, 3200], None) + "+0.3 t1 POST /charge body=x > 200";
    let evidence = check(&text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert!(evidence.factor.is_some_and(|factor| (factor - 2.0).abs() < 0.1), "{:?}", evidence.factor);
    // Constant backoff: only the last attempt reveals it.
    let evidence = check(&closed_late(&[700, 700, 700], Some(500)), 4, Pattern::Constant, RetryResult::GaveUp);
    assert_eq!(gaps_ms(&evidence), [700, 700, 700]);
}

#[test]
fn attempts_that_begin_seconds_apart_are_no_hot_loop() {
    for text in ["*7 +0.2 t1 GET /a > timeout took=2000", "*7 +0.2 t1 GET /a > 503 took=1500"] {
        assert!(!one(text).pathologies.contains(&"hot_loop"), "{text}");
    }
    // A growing timeout is no backoff.
    let text: String =
        [250, 500, 1000, 2000, 4000].map(|took| format!("+0.2 t1 GET /a > timeout took={took}\n")).concat();
    let evidence = one(&text);
    assert_eq!(evidence.pattern, Some(Pattern::Immediate), "{evidence:#?}");
}

#[test]
fn a_chain_goes_on_in_whichever_thread_is_free() {
    let job = "POST /job body=17";
    let text = format!(
        "+0 t1 {job} > 503\n+200 t2 {job} > 503\n+400 t3 {job} > 503\n+800 t4 {job} > 503\n+1600 t1 {job} > 200"
    );
    let evidence = check(&text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(gaps_ms(&evidence), [200, 400, 800, 1600]);
    assert_eq!(told(&text).incidents()[0].report.confidence.level(), "likely");
    // Each of two threads comes back soon.
    let text = format!(
        "+0 t1 {job} > 503\n+200 t2 {job} > 503\n+400 t1 {job} > 503\n+800 t2 {job} > 503\n+1600 t1 {job} > 200"
    );
    let evidence = check(&text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(gaps_ms(&evidence), [200, 400, 800, 1600]);
    // Equal gaps; refused connects.
    check(
        "+0 t1 GET /a > 503\n+300 t2 GET /a > 503\n+300 t3 GET /a > 503\n+300 t4 GET /a > 503\n+300 t5 GET /a > 200",
        5,
        Pattern::Constant,
        RetryResult::Recovered,
    );
    let text = "+0 t1 connect > refused\n+100 t2 connect > refused\n+200 t3 connect > refused\n+400 t4 connect > refused\n+800 t5 GET /a > 200";
    let evidence = check(text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(evidence.answer, Some(200));
}

#[test]
fn a_chain_goes_on_in_one_child_after_the_other() {
    let attempt = |gap: u32, child: u32, what: &str| {
        format!("+{gap} fork p{child}\n+2 p{child} t{child} {what}\n+1 exit p{child}\n")
    };
    let ready = "GET /ready > 503";
    let text =
        [attempt(0, 21, ready), attempt(200, 22, ready), attempt(400, 23, ready), attempt(800, 24, "GET /ready > 200")]
            .concat();
    let evidence = check(&text, 4, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(evidence.answer, Some(200));
    // The service is not up at first.
    let refused = "connect > refused";
    let text = [
        attempt(0, 21, refused),
        attempt(500, 22, refused),
        attempt(500, 23, refused),
        attempt(500, 24, "GET /start > 503"),
        attempt(500, 25, "GET /start > 200"),
    ]
    .concat();
    let evidence = check(&text, 5, Pattern::Constant, RetryResult::Recovered);
    assert_eq!((evidence.method.as_deref(), &*evidence.path), (Some("GET"), "/start"));
    // A loop that ran before the failures; different calls.
    let mut text: String = (0..6).map(|n| attempt(500, 30 + n, "GET /poll > 200")).collect();
    text += &(0..6).map(|n| attempt(500, 40 + n, "GET /poll > 503")).collect::<String>();
    none(&text);
    none(&(0..8).map(|n| attempt(500, 40 + n, &format!("GET /item/{n} > 503"))).collect::<String>());
}

#[test]
fn the_same_call_of_several_threads_is_no_chain_by_itself() {
    // At once, overlapping, at random, for different callers, with successes in between.
    none(&(0..30).map(|n| format!("+1 t{n} GET /a > 503\n")).collect::<String>());
    none(
        "+0 t1 GET /a\n+30 t2 GET /a\n+30 t1 > 503\n+70 t3 GET /a\n+5 t2 > 503\n+70 t3 > 503\n+200 t4 GET /a > 503\n+400 t5 GET /a > 503",
    );
    let random = [310, 95, 620, 40, 505, 133, 77, 980, 210, 350, 61, 444];
    none(&random.iter().enumerate().map(|(n, gap)| format!("+{gap} t{n} GET /a > 503\n")).collect::<String>());
    none(
        &random
            .iter()
            .enumerate()
            .map(|(n, gap)| format!("+{gap} t{n} GET /a > {}\n", if n % 3 == 2 { 200 } else { 503 }))
            .collect::<String>(),
    );
    let callers =
        |(n, gap): (usize, &u32)| format!("+{gap} t{n} in GET /u/{n}\n+1 t{n} GET /a > 503\n+1 t{n} in > 502\n");
    none(&[0, 200, 400, 800, 1600].iter().enumerate().map(callers).collect::<String>());
    // Different jobs of one pool.
    none(
        &[0, 200, 400, 800, 1600]
            .iter()
            .enumerate()
            .map(|(n, gap)| format!("+{gap} t{n} POST /job body={n} > 503\n"))
            .collect::<String>(),
    );
    // Each thread retries its own call.
    let two = "+0 t1 GET /a > 503\n+120 t2 GET /a > 503\n+80 t1 GET /a > 503\n+120 t2 GET /a > 503\n+280 t1 GET /a > 200\n+120 t2 GET /a > 200";
    assert_eq!(told(two).chains().len(), 2);
}

#[test]
fn whose_caller_is_served_without_it_has_not_given_up() {
    let text = "+0 t9 GET /warm > 200\n+0 t1 in GET /u\n+1 t1 GET /g > 503\n+60 t1 GET /g > 503\n+1 t1 GET /g2 port=9002 > 200\n+1 t1 in > 200";
    assert_eq!(one(text).result, RetryResult::Bypassed);
    let text = "+0 t9 GET /warm > 200\n+0 t1 in GET /u\n+1 t1 GET /g > 503\n+60 t1 GET /g > 503\n+1 t1 in > 404";
    assert_eq!(one(text).result, RetryResult::GaveUp);
}
