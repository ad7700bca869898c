//! Chains of all kinds, and traffic that resembles them.

mod clients;

use proptest::prelude::*;

use super::{Pattern, RetryEvidence, RetryResult};
use crate::{
    analysis::detector::State,
    engine::tests::scenario::{Scenario, Told},
    output::{
        UpdateSink as _,
        json::{JsonOptions, JsonOutput},
        line::{LineOptions, LineOutput},
    },
};

/// Plays the scenario and lets a minute pass.
fn told(text: &str) -> Told {
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play(text).wait(60_000_000_000);
    scenario.end()
}

#[track_caller]
fn none(text: &str) {
    let told = told(text);
    assert!(told.chains().is_empty(), "found {:#?}", told.chains());
}

#[track_caller]
fn one(text: &str) -> RetryEvidence {
    let told = told(text);
    let mut chains = told.chains();
    assert_eq!(chains.len(), 1, "{chains:#?}");
    let (state, evidence) = chains.remove(0);
    assert_eq!(state == State::Closed, evidence.result != RetryResult::Ongoing);
    evidence
}

fn gaps_ms(evidence: &RetryEvidence) -> Vec<u64> {
    evidence.listed.iter().filter_map(|attempt| Some((attempt.gap? + 500_000) / 1_000_000)).collect()
}

#[track_caller]
fn check(text: &str, attempts: u32, pattern: Pattern, result: RetryResult) -> RetryEvidence {
    let evidence = one(text);
    assert_eq!(
        (evidence.attempts, evidence.pattern, evidence.result),
        (attempts, Some(pattern), result),
        "{evidence:#?}"
    );
    evidence
}

#[test]
fn exponential_backoff_until_it_recovers() {
    let text = "+0 t1 GET /a?b > 503\n+100 t1 GET /a?b > 503\n+200 t1 GET /a?b > 503\n+400 t1 GET /a?b > 200";
    let evidence = check(text, 4, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(gaps_ms(&evidence), [100, 200, 400]);
    assert_eq!((evidence.answer, &*evidence.authority, &*evidence.path), (Some(200), "up", "/a?b"));
    assert!(evidence.factor.is_some_and(|factor| (factor - 2.0).abs() < 0.01));
    let said: Vec<State> = told(text).incidents().iter().map(|incident| incident.state).collect();
    assert_eq!(said, [State::Open, State::Update, State::Update, State::Update, State::Update, State::Closed]);
}

#[test]
fn a_chain_is_said_when_its_second_attempt_starts_and_its_next_is_foretold() {
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play("+0 t1 GET /a > 503\n+100 t1 GET /a");
    let told = scenario.end();
    assert_eq!(told.chains().len(), 1, "before the second attempt is answered");
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play("+0 t1 GET /a > 503\n+100 t1 GET /a > 503\n+200 t1 GET /a > 503\n+400 t1 GET /a > 503");
    let (_, evidence) = scenario.end().chains().remove(0);
    assert!(evidence.settled);
    let ended = evidence.listed.last().and_then(|last| last.ended).expect("it failed");
    let due = evidence.next_due.expect("it is known").since(ended) / 1_000_000;
    assert!((790..=810).contains(&due), "{due}");
}

#[test]
fn patterns() {
    let retry = |gaps: &[f64]| {
        let lines: Vec<String> = gaps.iter().map(|gap| format!("+{gap} t1 GET /a > 503\n")).collect();
        format!("+0 t1 GET /a > 503\n{}", lines.concat())
    };
    let gave_up = RetryResult::GaveUp;
    check(&retry(&[300.0, 300.0, 301.0]), 4, Pattern::Constant, gave_up);
    let linear = check(&retry(&[1000.0, 2000.0, 3000.0]), 4, Pattern::Linear, gave_up);
    assert_eq!(linear.step.map(|step| step / 1_000_000), Some(1000));
    let capped = check(&retry(&[100.0, 200.0, 400.0, 500.0, 500.0]), 6, Pattern::Exponential, gave_up);
    assert_eq!(capped.cap.map(|cap| cap / 1_000_000), Some(500));
    check(&retry(&[0.1, 0.1, 0.1]), 4, Pattern::Immediate, gave_up);
    check(&retry(&[83.0, 40.0, 310.0, 255.0, 1400.0, 900.0]), 7, Pattern::ExponentialJitter, gave_up);
    let early = one(&retry(&[83.0, 40.0, 310.0, 255.0]));
    assert_ne!(early.pattern, Some(Pattern::ExponentialJitter), "four gaps tell no jitter");
}

#[test]
fn trap_gaps_count_from_the_end_of_an_attempt() {
    let text = "+0 t1 GET /a > timeout took=1000\n+100 t1 GET /a > timeout took=1000\n\
                +200 t1 GET /a > timeout took=1000\n+400 t1 GET /a > 200";
    let evidence = check(text, 4, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(gaps_ms(&evidence), [100, 200, 400]);
}

#[test]
fn trap_the_first_retry_comes_at_once() {
    let text =
        "+0 t1 GET /a > 503\n+0.2 t1 GET /a > 503\n+200 t1 GET /a > 503\n+400 t1 GET /a > 503\n+800 t1 GET /a > 200";
    let evidence = check(text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert!(evidence.first_immediate);
    assert_eq!(evidence.base.map(|base| base / 1_000_000), Some(200));
}

#[test]
fn trap_an_obeyed_retry_after_hides_the_backoff() {
    let text = "+0 t1 GET /a > 429 Retry-After=1\n*2 +1001 t1 GET /a > 429 Retry-After=1\n+1001 t1 GET /a > 200";
    let evidence = check(text, 4, Pattern::RetryAfter, RetryResult::Recovered);
    assert!(evidence.pathologies.is_empty(), "{:?}", evidence.pathologies);
    let mixed = "+0 t1 GET /a > 503\n+100 t1 GET /a > 503\n+200 t1 GET /a > 503\n+400 t1 GET /a > 503 Retry-After=3\n+3001 t1 GET /a > 200";
    check(mixed, 5, Pattern::Exponential, RetryResult::Recovered);
}

#[test]
fn trap_a_client_counts_on_while_it_does_as_it_is_asked() {
    let text = "+0 t1 GET /a > 503\n+200 t1 GET /a > 503 Retry-After=1\n+1000 t1 GET /a > 503\n+800 t1 GET /a > 200";
    let evidence = check(text, 4, Pattern::Exponential, RetryResult::Recovered);
    assert!(evidence.factor.is_some_and(|factor| (factor - 2.0).abs() < 0.05), "{:?}", evidence.factor);
    assert!(evidence.came_as_asked(3) && !evidence.came_as_asked(4));
}

#[test]
fn lines_mark_each_attempt_and_say_how_it_ended() {
    let text = "+0 t9 GET /warm > 200\n+0 t1 in POST /pay\n+1 t1 GET /g?token=hidden > 503\n+1000 t1 GET /g?token=hidden > 503\n\
                +2000 t1 GET /g?token=hidden > 503\n+4000 t1 GET /g?token=hidden > 503\n+1 t1 in > 502";
    let mut lines = LineOutput::new(Vec::new(), LineOptions::default());
    let mut json = JsonOutput::new(Vec::new(), JsonOptions::default());
    for update in &told(text).updates {
        lines.write(update).expect("memory");
        json.write(update).expect("memory");
    }
    lines.flush().and_then(|()| json.flush()).expect("memory");
    let lines = String::from_utf8(lines.get_ref().clone()).expect("UTF-8");
    for part in [
        "[retry 1, after 1.00s]",
        "[retry 2, after 2.00s, x2.0, next in about 4.00s]",
        "[retry 3, after 4.00s, x2.0, next in about 8.00s]",
        "gave up after 4 attempts (last: 503; exponential backoff: 1.0 s, x2.0 each time); the caller got 502",
        "1 incident",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let json = String::from_utf8(json.get_ref().clone()).expect("UTF-8");
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    assert!(json.contains(r#""incidents":[1]"#) && json.contains(r#""gaps_ms":[1000,2000,4000]"#), "{json}");
    assert!(!lines.contains("hidden") && !json.contains("hidden"), "secrets are masked");
}

proptest! {
    #[test]
    fn whatever_is_called_chains_are_what_was_called(
        calls in prop::collection::vec((0_u32..3000, 0_u8..4, 0_u8..3, 0_usize..8), 0..80),
    ) {
        const ENDS: [&str; 8] = ["200", "503", "429 Retry-After=1", "404", "closed", "reset", "timeout took=700", "500"];
        let line = |(gap, thread, path, end): &(u32, u8, u8, usize)| {
            format!("+{gap} t{thread} GET /{path} > {}\n", ENDS[*end])
        };
        each_is_in_one_chain(&told(&calls.iter().map(line).collect::<Vec<_>>().concat()))?;
    }

    #[test]
    fn what_is_refused_is_in_one_chain_too(
        calls in prop::collection::vec((0_u32..3000, 0_u8..4, 0_u8..2, 0_usize..6), 0..60),
    ) {
        let line = |(gap, thread, path, end): &(u32, u8, u8, usize)| match end {
            0..=2 => format!("+{gap} t{thread} connect > refused\n"),
            3 => format!("+{gap} t{thread} GET /{path} > 200\n"),
            4 => format!("+{gap} t{thread} GET /{path} > timeout took=700\n"),
            _ => format!("+{gap} t{thread} GET /{path} > 503\n"),
        };
        each_is_in_one_chain(&told(&calls.iter().map(line).collect::<Vec<_>>().concat()))?;
    }
}

fn each_is_in_one_chain(told: &Told) -> Result<(), TestCaseError> {
    let mut attempts = 0;
    let mut known = std::collections::BTreeSet::new();
    for (_, evidence) in told.chains() {
        prop_assert!(evidence.attempts >= 2);
        prop_assert_eq!(evidence.listed.len().min(32), (evidence.attempts as usize).min(32));
        attempts += evidence.attempts as usize;
        for exchange in evidence.listed.iter().filter_map(|attempt| attempt.exchange) {
            prop_assert!(known.insert(exchange), "{exchange:?} is in two chains, or twice in one");
        }
        // All attempts but the last failed.
        let failed = evidence.listed.iter().rev().skip(1).all(|attempt| attempt.failure.is_some());
        prop_assert!(failed, "{:?}", evidence.listed);
    }
    prop_assert!(attempts <= told.exchanges().len(), "no call is in two chains");
    Ok(())
}

#[test]
fn trap_an_idle_connection_that_was_closed_is_used_again_once() {
    none("+0 t1 keep GET /a > 200\n+20000 t1 keep GET /b > closed\n+0.2 t1 keep GET /b > 200");
    none("+0 t1 keep GET /a > 200\n+20000 t1 keep GET /b > reset\n+0.2 t1 GET /b > 200");
    // If the resent request fails and is retried with a backoff, it begins a chain with its own pattern.
    let text = "+0 t1 keep GET /a > 200\n+20000 t1 keep GET /b > closed\n+0.2 t1 GET /b > 503\n\
                +100 t1 GET /b > 503\n+200 t1 GET /b > 503\n+400 t1 GET /b > 200";
    let evidence = check(text, 5, Pattern::Exponential, RetryResult::Recovered);
    assert!(evidence.listed[1].resent && !evidence.first_immediate);
}

#[test]
fn trap_attempts_share_a_connection_or_not() {
    for keep in ["keep ", ""] {
        let text = format!(
            "+0 t1 {keep}POST /a body=x > 503\n+100 t1 {keep}POST /a body=x > 503\n+200 t1 {keep}POST /a body=x > 200"
        );
        assert_eq!(one(&text).attempts, 3);
    }
}

#[test]
fn trap_a_scraper_that_fails_for_ever_is_a_poller() {
    none("*12 +15000 t1 GET /api/state > 503");
    none("*12 +15000 t1 connect > refused");
    none("+0 t1 GET /s > timeout took=2000\n*8 +8000 t1 GET /s > timeout took=2000");
    // The period is known from the successes, however short it is.
    none("*4 +1000 t1 GET /s > 200\n*9 +1000 t1 GET /s > 503\n*4 +1000 t1 GET /s > 200");
    none("*4 +1000 t1 GET /s > 200\n*9 +1000 t1 connect > refused\n*4 +1000 t1 GET /s > 200");
}

#[test]
fn trap_proxies_retry_with_request_ids_of_their_own() {
    let text =
        "+0 t1 GET /a X-Request-Id=1 > 503\n+25 t1 GET /a X-Request-Id=2 > 503\n+50 t1 GET /a X-Request-Id=3 > 200";
    assert_eq!(one(text).attempts, 3);
}

#[test]
fn not_a_retry_a_poller_with_a_steady_rhythm() {
    none(
        "*3 +2000 t1 GET /p > 200\n+2000 t1 GET /p > 503\n*2 +2000 t1 GET /p > 200\n*3 +2000 t1 GET /p > 503\n*3 +2000 t1 GET /p > 200",
    );
    none("*5 +500 t1 keep GET /p > 200\n*3 +500 t1 GET /p > timeout took=100\n*3 +500 t1 GET /p > 200");
    // A loop without a pause.
    none("*30 +0.2 t1 keep GET /w > 200\n*3 +0.2 t1 keep GET /w > 503\n*30 +0.2 t1 keep GET /w > 200");
}

#[test]
fn not_a_retry_a_load_generator_with_many_connections() {
    let mut text = Vec::new();
    let mut chance = 7_u32;
    for round in 0..400 {
        let connection = round % 8;
        if round >= 8 {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let status = if round > 40 && (chance >> 24).is_multiple_of(5) { 503 } else { 200 };
            text.push(format!("+0.1 t1 > {status} as=c{connection}\n"));
        }
        text.push(format!("+0.02 t1 on=c{connection} GET / as=c{connection}\n"));
    }
    none(&text.concat());
}

#[test]
fn threads_that_take_turns_go_on_with_each_others_calls() {
    let turns = "+0 t1 GET /x as=a\n+0 t1 GET /y as=b\n+0 t1 GET /z as=c\n*1 +1 t1 > 200 as=a\n+1 t1 > 200 as=b\n+1 t1 > 200 as=c\n";
    let calls = "+10 t1 GET /g > 503\n+100 t2 GET /g > 503\n+200 t3 GET /g > 503\n+400 t1 GET /g > 200";
    check(&format!("{turns}{calls}"), 4, Pattern::Exponential, RetryResult::Recovered);
    // Threads that wait for their responses retry themselves, so calls of other threads are independent, unless one
    // clock makes them.
    none("+10 t1 GET /g > 503\n+100 t2 GET /g > 503\n+70 t3 GET /g > 503\n+400 t4 GET /g > 200");
}

#[test]
fn a_poller_that_retries_is_seen_to() {
    let text = "*4 +10000 t1 GET /p > 200\n+10000 t1 GET /p > 503\n+100 t1 GET /p > 503\n+200 t1 GET /p > 200\n*2 +10000 t1 GET /p > 200";
    assert_eq!(one(text).attempts, 3);
}

#[test]
fn not_a_retry_health_checks() {
    none("*8 +1000 t1 GET /healthz > 503");
    none("*8 +2000 t1 GET / User-Agent=kube-probe/1.29 > 503");
    none("*3 +1000 t1 GET /ready > 503\n*5 +1000 t1 GET /ready > 200");
}

#[test]
fn not_a_retry_many_users_with_the_same_form() {
    // Each call has another user: by cookie, by forwarded address, by inbound call.
    none(
        "+0 t1 POST /f body=a Cookie=s=1 > 503\n+300 t2 POST /f body=a Cookie=s=2 > 503\n+200 t3 POST /f body=a Cookie=s=3 > 200",
    );
    none("+0 t1 POST /f body=a X-Forwarded-For=1.2.3.4 > 503\n+300 t2 POST /f body=a X-Forwarded-For=1.2.3.5 > 200");
    none(
        "+0 t9 GET /warm > 200\n+0 t1 in POST /f body=a\n+1 t1 POST /g body=a > 503\n+1 t1 in > 502\n\
          +300 t2 in POST /f body=a\n+1 t2 POST /g body=a > 200\n+1 t2 in > 200",
    );
    none("+0 t1 POST /f body=a Idempotency-Key=1 > 503\n+300 t2 POST /f body=a Idempotency-Key=2 > 200");
}

#[test]
fn not_a_retry_other_calls_of_the_same_kind() {
    none("+0 t1 GET /l?page=1 > 503\n+10 t1 GET /l?page=2 > 200\n+10 t1 GET /l?page=3 > 200");
    none("+0 t1 POST /rpc body=1 > 503\n+10 t1 POST /rpc body=2 > 200");
    none("+0 t1 GET /a > 302 Location=/b\n+1 t1 GET /b > 302 Location=/a\n+1 t1 GET /a > 200");
    none(
        "+0 t1 GET /a > 401\n+1 t1 GET /a Authorization=x > 200\n+9 t1 GET /b > 407\n+1 t1 GET /b Proxy-Authorization=x > 200",
    );
    none("+0 t1 POST /u Expect=100-continue body=x > 417\n+2 t1 POST /u body=x > 200");
    none("+0 t1 GET /missing > 404\n+900 t1 GET /missing > 404\n+700 t1 GET /missing > 200");
}

#[test]
fn not_a_retry_a_person_who_tries_again_minutes_later() {
    none("+0 t1 POST /f body=a > 503\n+180000 t1 POST /f body=a > 503\n+240000 t1 POST /f body=a > 200");
    none("+0 t1 GET /f > 503\n+90000 t1 GET /f > 200");
}

#[test]
fn not_a_retry_a_second_address_of_the_same_host() {
    none(&"+3000 t1 connect v6 > refused\n+1 t1 GET /a > 200\n".repeat(5));
    let text = "+0 t1 connect v6 > refused\n+1 t1 connect > refused\n+500 t1 connect v6 > refused\n+1 t1 connect > refused\n\
                +1000 t1 connect v6 > refused\n+1 t1 GET /a > 200";
    let evidence = one(text);
    assert_eq!((evidence.attempts, evidence.result), (3, RetryResult::Recovered));
}

#[test]
fn failed_connects_are_attempts() {
    let text =
        "+0 t1 connect > refused\n+100 t1 connect > refused\n+200 t1 connect > unreachable\n+400 t1 GET /a > 200";
    let evidence = check(text, 4, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!((evidence.method.as_deref(), &*evidence.path), (Some("GET"), "/a"));
    assert_eq!(gaps_ms(&evidence), [100, 200, 400]);
    let between = "+0 t1 GET /a > 503\n+100 t1 connect > refused\n+200 t1 GET /a > 200";
    assert_eq!(one(between).attempts, 3);
    let database = "+0 t1 connect port=5432 > refused\n+1000 t1 connect port=5432 > timeout took=3000\n+1000 t1 connect port=5432 > up";
    let evidence = one(database);
    assert_eq!((evidence.attempts, evidence.result), (3, RetryResult::Recovered));
    assert_eq!((evidence.method, &*evidence.authority), (None, "127.0.0.1:5432"));
}

#[test]
fn what_programs_say_decides() {
    // Too far apart and too regular, but the key is the same.
    let text = "+0 t1 POST /a body=x Idempotency-Key=k > 500\n+30000 t2 POST /a body=x Idempotency-Key=k > 500\n\
                +30000 t3 POST /a body=x Idempotency-Key=k > 200";
    let told = told(text);
    let confidence = &told.incidents()[0].report.confidence;
    assert_eq!((confidence.level(), &confidence.explicit[..]), ("certain", &["Idempotency-Key"][..]));
    let counted = "+0 t1 GET /a X-Stainless-Retry-Count=0 > 500\n+400 t2 GET /a X-Stainless-Retry-Count=1 > 500\n\
                   +900 t3 GET /a X-Stainless-Retry-Count=2 > 200";
    assert_eq!(one(counted).attempts, 3);
    let sdk = "+0 t1 GET /a Amz-Sdk-Invocation-Id=u Amz-Sdk-Request=attempt=1 Authorization=AWS4-1 > 500\n\
               +40 t1 GET /a Amz-Sdk-Invocation-Id=u Amz-Sdk-Request=attempt=2 Authorization=AWS4-2 > 200";
    assert_eq!(one(sdk).attempts, 2);
    // The first attempts were made before tracing began.
    let evidence = one("+0 t1 GET /a X-Envoy-Attempt-Count=3 > 503\n+50 t1 GET /a X-Envoy-Attempt-Count=4 > 200");
    assert_eq!((evidence.attempts, evidence.listed[0].number), (4, 3));
}

#[test]
fn who_gave_up_and_what_the_caller_got() {
    let text = "+0 t9 GET /warm > 200\n+0 t1 in POST /pay\n+1 t1 POST /g body=x > 503\n+100 t1 POST /g body=x > 503\n\
                +200 t1 POST /g body=x > 503\n+1 t1 in > 502";
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play(text);
    let told = scenario.end();
    let (state, evidence) = told.chains().remove(0);
    assert_eq!((state, evidence.result, evidence.attempts), (State::Closed, RetryResult::GaveUp, 3), "at once");
    let caller = evidence.caller.expect("the inbound call");
    assert_eq!((caller.by, &*caller.path, caller.got.as_deref()), ("same thread", "/pay", Some("502")));
    let inbound = told.exchanges().into_iter().find(|e| e.request.as_ref().is_some_and(|r| &*r.target == "/pay"));
    assert_eq!(inbound.expect("it was reported").id, caller.exchange);
    // Linked by trace ID, as the threads prove nothing.
    let text = "+0 t9 GET /warm > 200\n+0 t1 in POST /pay Traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\
                +0 t2 in POST /other\n+1 t5 GET /g Traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-11f067aa0ba902b7-01 > 503\n\
                +100 t6 GET /g Traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-22f067aa0ba902b7-01 > 503\n+1 t1 in > 500";
    let evidence = one(text);
    assert_eq!(evidence.caller.map(|caller| (caller.by, caller.got)), Some(("trace id", Some("500".into()))));
}

#[test]
fn given_up_is_taken_back_when_it_goes_on() {
    let text = "+0 t9 GET /warm > 200\n+0 t1 in POST /pay\n+1 t1 GET /g > 503\n+100 t1 GET /g > 503\n+1 t1 in > 202\n\
                +200 t1 GET /g > 503\n+400 t1 GET /g > 200";
    let evidence = check(text, 4, Pattern::Exponential, RetryResult::Recovered);
    assert_eq!(gaps_ms(&evidence), [100, 201, 400]);
}

#[test]
fn fifty_chains_of_the_same_call_at_once() {
    let mut text = Vec::new();
    for round in 0..4 {
        for thread in 0..50 {
            let gap = if thread == 0 && round > 0 { 100 * (1 << round) } else { 0 };
            let status = if round == 3 { 200 } else { 503 };
            text.push(format!("+{gap} t{thread} GET /a\n+1 t{thread} > {status}\n"));
        }
    }
    let chains = told(&text.concat()).chains();
    assert_eq!(chains.len(), 50);
    for (_, evidence) in &chains {
        assert_eq!((evidence.attempts, evidence.result), (4, RetryResult::Recovered), "{evidence:#?}");
        assert_eq!(evidence.pattern, Some(Pattern::Exponential), "{:?}", gaps_ms(evidence));
    }
}

#[test]
fn pathologies_are_named() {
    let named = |text: &str, name: &str| {
        let evidence = one(text);
        assert!(evidence.pathologies.contains(&name), "{name}: {:?}", evidence.pathologies);
    };
    named("*6 +0.2 t1 GET /a > 503", "hot_loop");
    named("+0 t1 POST /a body=x > 500\n+200 t1 POST /a body=x > 200", "non_idempotent");
    named("+0 t1 GET /a > 429 Retry-After=5\n+200 t1 GET /a > 200", "retry_after_ignored");
    named(
        "+0 t1 GET /a > 400\n+100 t1 GET /a > 400\n+200 t1 GET /a > 400\n+400 t1 GET /a > 400",
        "client_error_retried",
    );
    named(
        "+0 t9 GET /warm > 200\n+0 t1 in GET /x X-Envoy-Attempt-Count=2\n+1 t1 GET /g > 503\n+100 t1 GET /g > 503\n+1 t1 in > 503",
        "layered",
    );
    let fine = one("+0 t1 POST /a body=x Idempotency-Key=1 > 500\n+200 t1 POST /a body=x Idempotency-Key=1 > 200");
    assert!(fine.pathologies.is_empty(), "{:?}", fine.pathologies);
    let refused = one("+0 t1 connect > refused\n+100 t1 POST /a body=x > 503\n+100 t1 POST /a body=x > 200");
    assert!(!refused.pathologies.contains(&"non_idempotent"));
}

#[test]
fn amplification_counts_attempts_for_calls() {
    let evidence = one("*4 +1000 t1 GET /b > 200\n+0 t1 GET /a > 503\n+100 t1 GET /a > 503\n+200 t1 GET /a > 200");
    assert_eq!((evidence.upstream_calls, evidence.upstream_attempts), (5, 7));
}

#[test]
fn a_long_chain_that_pauses_is_told_of_before_it_goes_on() {
    let told = told("*40 +10 t1 GET /a > 503\n*30 +100 t9 GET /warm > 200");
    let incident = told.incidents().pop().expect("it is one");
    let (_, evidence) = told.chains().remove(0);
    assert_eq!(evidence.attempts, 40, "what came within a second after it was told of is told of a second later");
    let last = evidence.listed.last().and_then(|last| last.ended).expect("none is under way");
    assert!((1..1_500_000_000).contains(&incident.updated.since(last)), "{incident:?}");
}

#[test]
fn the_end_of_tracing_tells_how_a_long_chain_stands() {
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play("*40 +10 t1 GET /a > 503");
    let (state, evidence) = scenario.end().chains().remove(0);
    assert_eq!((state, evidence.attempts), (State::Update, 40));
    assert!(evidence.listed.last().is_some_and(|last| last.ended.is_some()), "none is under way");
}

#[test]
fn a_process_that_ends_gives_up() {
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play("+0 t1 GET /a > 503\n+100 t1 GET /a > 503\n+1 exit");
    let (state, evidence) = scenario.end().chains().remove(0);
    assert_eq!((state, evidence.result), (State::Closed, RetryResult::GaveUp));
}

#[test]
fn what_waits_is_bounded() {
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    let lines: Vec<String> = (0..6000).map(|n| format!("+0.1 t1 GET /{n} > 503\n")).collect();
    scenario.play(&lines.concat()).play("+1 t1 GET /5999 > 200\n+1 t1 GET /0 > 200");
    assert_eq!(scenario.end().chains().len(), 1, "the oldest are forgotten");
}

#[test]
fn the_end_of_tracing_answers_nobody() {
    let mut scenario = Scenario::new(crate::engine::EngineOptions::default());
    scenario.play(
        "+0 t9 GET /warm > 200\n+0 t1 in GET /x\n+1 t1 GET /g > 503\n+200 t1 GET /g > 503\n+400 t1 GET /g > 503\n+10 t9 GET /warm > 200",
    );
    let (state, evidence) = scenario.end().chains().remove(0);
    assert_eq!((state, evidence.result), (State::Update, RetryResult::Ongoing));
    assert!(evidence.caller.is_some_and(|caller| caller.got.is_none()));
}

#[test]
fn the_addresses_of_the_attempts_are_named_beside_the_authority() {
    let text = "+0 t1 GET /a host=api port=8081 > 503\n+100 t1 GET /a host=api port=8082 > 503\n\
                +200 t1 GET /a host=api port=8081 > 503\n+400 t1 GET /a host=api port=8081 > 200";
    let title = crate::analysis::detector::Explain::title(&one(text), crate::text::redact::Redactor::new(false));
    assert!(title.starts_with("GET api/a (127.0.0.1:8081 and 1 more) was answered"), "{title}");
}
