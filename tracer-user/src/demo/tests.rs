use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    gateway::{Gateway, Mood, mood_at},
    http::{Connection, Message},
    ledger::Ledger,
    load,
    payments::Payments,
    role,
};

const TIMEOUT: Duration = Duration::from_secs(10);

fn start<S: Send + Sync + 'static>(service: Arc<S>, serve: fn(&S, TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || role::accept(&listener, service, serve));
    address
}

fn pay(mood: Mood) -> Message {
    let gateway = Arc::new(Gateway::default());
    gateway.hold(mood);
    let ledger = start(Arc::new(Ledger::default()), Ledger::serve);
    let gateway = start(gateway, Gateway::serve);
    let payments = start(Arc::new(Payments::impatient(ledger, gateway)), Payments::serve);
    let mut connection = Connection::connect(payments, TIMEOUT).expect("payments listens");
    connection.write(&load::payment(payments, 1, 1)).expect("the request is sent");
    connection.read(false).expect("an answer comes").expect("the connection stays open")
}

#[test]
fn a_payment_succeeds_when_the_gateway_is_healthy() {
    let answer = pay(Mood::Healthy);
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.json()["status"], "paid");
}

#[test]
fn a_payment_is_given_up_with_502_when_the_gateway_stays_overloaded() {
    let answer = pay(Mood::Overloaded);
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.json()["detail"], "gave up after 5 attempts: status 503");
}

#[test]
fn a_payment_is_given_up_with_502_when_the_gateway_resets() {
    let answer = pay(Mood::Resetting);
    assert_eq!(answer.status(), 502);
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("reset")), "{answer:?}");
}

#[test]
fn every_mood_comes_within_half_a_minute_and_the_first_is_healthy() {
    let moods: Vec<Mood> = (0..30).map(|second| mood_at(Duration::from_secs(second))).collect();
    assert_eq!(moods[0], Mood::Healthy);
    for mood in [Mood::Healthy, Mood::Throttling, Mood::Overloaded, Mood::Slow, Mood::Resetting] {
        assert!(moods.contains(&mood), "{mood:?} is missing in {moods:?}");
    }
}

#[test]
fn roles_refuse_what_they_do_not_know() {
    assert!(matches!(super::run_role("bank", &[]), Err(super::RoleError::Usage(_))));
    assert!(matches!(super::run_role("ledger", &["x".to_owned()]), Err(super::RoleError::Usage(_))));
}
