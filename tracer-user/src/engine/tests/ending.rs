//! Connections that are over do not stay open, in whatever order the kernel says so.

use super::script::Script;
use crate::{
    engine::{Note, NoteKind, Update},
    event::wire::{descriptor, tcp_state},
    model::{
        connection::{Protocol, Role},
        exchange::Outcome,
    },
};

/// `shutdown` sends the FIN; the peer acknowledges it; then the descriptor goes. TCP has no more to say: the state does not
/// change by it, and what comes later is of a socket that has lost its inode.
#[test]
fn a_half_close_then_the_close() {
    let mut script = Script::new(Role::Client);
    script.request(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    script.state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1).descriptor(descriptor::SHUTDOWN_WRITE);
    script.state(tcp_state::FIN_WAIT1, tcp_state::FIN_WAIT2);
    assert_eq!(script.open(), 1, "it still receives");
    script.response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    script.state(tcp_state::FIN_WAIT2, tcp_state::FIN_WAIT2).descriptor(descriptor::CLOSE);
    assert_eq!(script.open(), 0);
    assert_eq!(script.exchanges().len(), 1);
}

/// Over loopback the peer's FIN may come within the call of `shutdown`, before it returns.
#[test]
fn the_connection_is_over_before_the_half_close_returns() {
    let mut script = Script::new(Role::Client);
    script.state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1).state(tcp_state::FIN_WAIT1, tcp_state::FIN_WAIT2);
    script.state(tcp_state::FIN_WAIT2, tcp_state::CLOSE).descriptor(descriptor::SHUTDOWN_WRITE);
    assert_eq!(script.open(), 0);
}

#[test]
fn both_half_close_at_once() {
    let mut script = Script::new(Role::Client);
    script.state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1).descriptor(descriptor::SHUTDOWN_WRITE);
    script.state(tcp_state::FIN_WAIT1, tcp_state::CLOSING).descriptor(descriptor::CLOSE);
    assert_eq!(script.open(), 0);
}

/// A health check that connects and resets: the accepted socket is closed already, and closing it changes no state.
#[test]
fn a_reset_before_the_accept() {
    // The port goes before the state does.
    for (state, local_port) in [(tcp_state::CLOSE, 5000), (tcp_state::CLOSE, 0), (tcp_state::ESTABLISHED, 0)] {
        let mut script = Script::accepted_when_reset(state, local_port);
        script.descriptor(descriptor::CLOSE);
        assert_eq!(script.open(), 0);
    }
}

/// `close` frees the descriptor before it returns: another thread is given the same one, and says so first.
#[test]
fn a_descriptor_is_given_out_again_before_its_close_returns() {
    let mut script = Script::accepted_when_reset(tcp_state::CLOSE, 0);
    script.accepts_another();
    assert_eq!(script.open(), 1, "the first is over");
    script.closes_what_is_given_out_again();
    assert_eq!(script.open(), 1, "that was the close of the first");
    script.descriptor(descriptor::CLOSE);
    assert_eq!(script.open(), 0);
}

/// Its end was lost. What `sock_diag` does not have is over.
#[test]
fn what_the_kernel_does_not_have_any_more() {
    let mut script = Script::new(Role::Client);
    script.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(script.open(), 1);
    script.gone();
    assert_eq!(script.open(), 0);
    assert_eq!(script.exchanges().len(), 1);
}

/// The peer's close alone ends nothing: the target has not let go.
#[test]
fn a_descriptor_that_is_kept_keeps_it_open() {
    let mut script = Script::new(Role::Client);
    script.state(tcp_state::ESTABLISHED, tcp_state::CLOSE_WAIT);
    assert_eq!(script.open(), 1);
    script.state(tcp_state::CLOSE_WAIT, tcp_state::LAST_ACK).descriptor(descriptor::CLOSE);
    assert_eq!(script.open(), 0);
}

/// Bytes of which not one was seen (`io_uring`, a 32-bit program) are of no protocol.
#[test]
fn a_connection_without_a_byte_has_no_protocol() {
    let mut script = Script::new(Role::Client);
    script.unseen(300, 20).state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1).descriptor(descriptor::CLOSE);
    let notes: Vec<_> = script
        .updates()
        .into_iter()
        .filter_map(|update| if let Update::Note(note) = update { Some(note) } else { None })
        .collect();
    assert!(matches!(notes[..], [Note { kind: NoteKind::UnseenBytes { sent: 299 | 300, .. }, .. }]), "{notes:?}");
    assert_eq!(notes[0].connection.protocol, Protocol::Unknown);
}

/// A close that skips the FIN sends RST (`SO_LINGER` of 0, or bytes that were not read). Its side says so as the other
/// does, which receives it.
#[test]
fn the_own_reset_is_a_reset() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let outcome = |role, before, response: &[u8]| {
        let mut script = Script::new(role);
        script.request(GET);
        if !response.is_empty() {
            script.response(response);
        }
        if before == tcp_state::CLOSE_WAIT {
            script.state(tcp_state::ESTABLISHED, tcp_state::CLOSE_WAIT);
        }
        script.state(before, tcp_state::CLOSE).descriptor(descriptor::CLOSE);
        script.exchanges()[0].outcome
    };
    let (part, whole) =
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for before in [tcp_state::ESTABLISHED, tcp_state::CLOSE_WAIT] {
        assert_eq!(outcome(Role::Server, before, b""), Outcome::Reset);
        assert_eq!(outcome(Role::Server, before, part), Outcome::Reset);
        assert_eq!(outcome(Role::Server, before, whole), Outcome::Complete);
        assert_eq!(outcome(Role::Client, before, whole), Outcome::Complete);
    }
    assert_eq!(outcome(Role::Client, tcp_state::ESTABLISHED, b""), Outcome::ClientTimeout);
    assert_eq!(outcome(Role::Client, tcp_state::CLOSE_WAIT, b""), Outcome::Closed);
    // The peer's RST, and a FIN before the end, are what they were.
    let mut script = Script::new(Role::Server);
    script
        .request(GET)
        .state(tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1)
        .state(tcp_state::FIN_WAIT1, tcp_state::CLOSE);
    assert_eq!(script.exchanges()[0].outcome, Outcome::Closed);
}
