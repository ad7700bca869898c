//! Several calls on one connection, each of which hangs or moves by itself.

use crate::analysis::detector::{
    Evidence, HangEvidence, Incident, Kind, State,
    hang::{HangResult, Phase, Reason, WaitingOn},
    tests::streams::Streams,
};

fn evidence(incident: &Incident) -> &HangEvidence {
    match &incident.report.evidence {
        Evidence::Hang(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

/// First exchange, state and result of each report, without updates.
fn told(text: &str) -> Vec<(u64, State, HangResult)> {
    let incidents = Streams::found(Kind::Hang, text);
    let told = incidents.iter().filter(|incident| incident.state != State::Update);
    told.map(|incident| (incident.report.exchanges[0].0, incident.state, evidence(incident).result)).collect()
}

/// Calls that are answered at once, on streams from `first` on.
fn flow(first: u32, count: u32) -> String {
    (0..count)
        .map(|call| format!("+200 t2 GET /fast on=c1 stream={} > 200\n", first + 2 * call))
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn a_call_hangs_while_others_on_its_connection_move() {
    let text = "+0 t1 GET /slow on=c1 stream=1\n".to_owned() + &flow(3, 40) + "+100 t1 on=c1 stream=1 > 200\n";
    assert_eq!(told(&text), [(1, State::Open, HangResult::Ongoing), (1, State::Closed, HangResult::Answered)]);
    let incidents = Streams::found(Kind::Hang, &text);
    let first = evidence(&incidents[0]);
    assert_eq!((&*first.call.path, first.phase), ("/slow", Phase::Wait));
    assert_eq!((first.waiting_on, first.reason), (WaitingOn::PeerApplication, Reason::Unanswered));
    assert!((4_900_000_000..6_500_000_000).contains(&first.stalled), "{}", first.stalled);
}

#[test]
fn an_older_call_that_moves_does_not_hide_a_younger_one() {
    let part = "+300 t2 on=c1 stream=1 > 200 part\n";
    let text = "+0 t2 GET /events on=c1 stream=1\n".to_owned() + part + "+0 t1 GET /slow on=c1 stream=3\n";
    assert_eq!(told(&(text + &part.repeat(30))), [(2, State::Open, HangResult::Ongoing)]);
}

#[test]
fn silent_calls_are_told_one_by_one_and_end_in_any_order() {
    let text = "+0 t1 GET /a on=c1 stream=1\n+0 t2 GET /b on=c1 stream=3\n+0 t3 GET /c on=c1 stream=5\n\
                +7000 t2 on=c1 stream=3 > 200\n+1000 t3 on=c1 stream=5 > timeout\n+1000 t1 on=c1 > lost\n";
    let told = told(text);
    let opened: Vec<u64> = told.iter().filter(|(_, state, _)| *state == State::Open).map(|(id, ..)| *id).collect();
    assert_eq!(opened, [1, 2, 3]);
    let closed: Vec<_> = told.into_iter().filter(|(_, state, _)| *state == State::Closed).collect();
    assert_eq!(
        closed,
        [
            (2, State::Closed, HangResult::Answered),
            (3, State::Closed, HangResult::ClientTimeout),
            (1, State::Closed, HangResult::Reset),
        ]
    );
}

#[test]
fn calls_on_a_connection_that_is_not_read_share_an_incident() {
    let calls =
        (0..5).map(|call| format!("+0 t1 GET /{call} on=c1 stream={}\n", 1 + 2 * call)).collect::<Vec<_>>().concat();
    let incidents = Streams::found(Kind::Hang, &(calls + "+10 t1 on=c1 unread=40\n+9000 t1 on=c1 unread=40\n"));
    let open: Vec<_> = incidents.iter().filter(|incident| incident.state == State::Open).collect();
    assert_eq!(open.len(), 1, "{open:#?}");
    let evidence = evidence(open[0]);
    assert_eq!((evidence.waiting_on, evidence.reason), (WaitingOn::ThisProcess, Reason::Unread));
    // One connection is not read, which is no leak of calls.
    assert!(incidents.iter().all(|incident| self::evidence(incident).forgotten == 1));
}

#[test]
fn quick_calls_on_a_shared_connection_do_not_hang() {
    assert!(told(&("+0 t1 GET /a on=c1 stream=1 > 200\n".to_owned() + &flow(3, 60))).is_empty());
}

#[test]
fn many_silent_calls_are_looked_at_seldom() {
    let mut streams = Streams::new();
    for connection in 0..50 {
        for stream in 0..40 {
            streams.play(&format!("+0 t1 GET /a on=c{connection} stream={}", 2 * stream + 1));
        }
    }
    streams.play("+20000 t1 on=c0 unread=0");
    let before = streams.visits();
    streams.play("+40000 t1 on=c0 unread=0");
    let visits = streams.visits() - before;
    assert!(visits < 10 * 2_000, "{visits} visits of 2000 calls in 64 looks");
}
