//! Headers before the first request of a connection.

use super::{body, get, ok, path, script::Script};
use crate::{
    connection::Role,
    engine::{NoteKind, Update},
    exchange::{Exchange, Outcome, Quality},
};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\0\x50";

fn ask(script: &mut Script) -> &mut Script {
    script.request(&get("/a")).response(&ok("a")).request(&get("/b")).response(&ok("b"))
}

fn both(exchanges: &[Exchange]) {
    let told: Vec<_> = exchanges.iter().map(|e| (path(e).to_owned(), body(e), e.outcome, e.quality)).collect();
    let whole = |name: &str| (format!("/{name}"), name.to_owned(), Outcome::Complete, Quality::Whole);
    assert_eq!(told, [whole("a"), whole("b")]);
}

fn client(exchange: &Exchange) -> Option<&str> {
    exchange.connection.client.as_deref()
}

#[test]
fn a_proxy_header_is_read_however_calls_cut_it() {
    for header in [LINE, BINARY] {
        for role in [Role::Client, Role::Server] {
            for cut in 0..=header.len() {
                let mut script = Script::new(role);
                for part in [&header[..cut], &header[cut..]].into_iter().filter(|part| !part.is_empty()) {
                    script.request(part);
                }
                let exchanges = ask(&mut script).exchanges();
                both(&exchanges);
                assert!(exchanges.iter().all(|e| client(e) == Some("192.0.2.1:56324")));
            }
            // With the first request, and its end before it.
            for cut in [header.len(), header.len() - 1, header.len() - 5] {
                let mut script = Script::new(role);
                if cut < header.len() {
                    script.request(&header[..header.len() - cut]);
                }
                script.request(&[&header[header.len() - cut..], &get("/a")].concat()).response(&ok("a"));
                both(&script.request(&get("/b")).response(&ok("b")).exchanges());
            }
        }
    }
}

#[test]
fn a_long_proxy_header_need_not_be_captured() {
    let header = [&BINARY[..14], &[0x40, 0x0c], &BINARY[16..], &[7; 0x4000]].concat();
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.captured(true, &header, 100);
        both(&ask(&mut script).exchanges());
        let mut script = Script::new(role);
        header.chunks(1000).for_each(|part| _ = script.request(part));
        both(&ask(&mut script).exchanges());
    }
}

#[test]
fn a_health_check_of_the_balancer_has_no_other_client() {
    let mut script = Script::new(Role::Server);
    script.request(b"PROXY UNKNOWN\r\n");
    let exchanges = ask(&mut script).exchanges();
    both(&exchanges);
    assert_eq!(client(&exchanges[0]), None);
}

#[test]
fn what_only_resembles_a_header_is_content() {
    for role in [Role::Client, Role::Server] {
        // A method of that name.
        let mut script = Script::new(role);
        script.request(b"PROXY").request(b" /a HTTP/1.1\r\n\r\n").response(&ok("a"));
        both(&script.request(&get("/b")).response(&ok("b")).exchanges());
        // Not at the beginning of the connection.
        let mut script = Script::new(role);
        ask(&mut script).request(LINE).request(&get("/c"));
        assert!(script.exchanges().iter().all(|e| client(e).is_none()));
        // Cut off.
        let mut script = Script::new(role);
        script.request(&LINE[..20]).end_of_stream().target_closes();
        assert!(script.exchanges().iter().all(|e| client(e).is_none()));
    }
}

#[test]
fn what_follows_a_header_is_named() {
    let mut script = Script::new(Role::Server);
    script.request(LINE).request(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03").response(b"\x16\x03\x03\x00\x02ab");
    let named = script.updates().iter().any(|update| {
        matches!(update, Update::Note(note) if note.kind == NoteKind::NotHttp && note.connection.protocol.name() == "tls")
    });
    assert!(named);
}
