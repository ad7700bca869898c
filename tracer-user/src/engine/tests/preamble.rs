//! Headers before the first request of a connection.

use super::{body, get, ok, path, script::Script};
use crate::{
    engine::{NoteKind, Update},
    model::{
        connection::Role,
        exchange::{Exchange, Outcome, Quality},
    },
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
    assert_eq!(not_http(&mut script).as_deref(), Some("tls"));
}

fn not_http(script: &mut Script) -> Option<String> {
    script.updates().iter().find_map(|update| match update {
        Update::Note(note) if note.kind == NoteKind::NotHttp => Some(note.connection.protocol.name().to_owned()),
        _ => None,
    })
}

fn socks(script: &mut Script) -> &mut Script {
    script.request(b"\x05\x02\x00\x02").response(b"\x05\x02").request(b"\x01\x04user\x06secret").response(b"\x01\x00");
    script.request(b"\x05\x01\x00\x03\x01x\x00\x50").response(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x30\x39")
}

#[test]
fn http_is_seen_after_a_negotiation_of_socks() {
    let to_x = |exchanges: &[Exchange]| {
        both(exchanges);
        assert!(exchanges.iter().all(|e| e.connection.destination.as_deref() == Some("x:80")));
    };
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        to_x(&ask(socks(&mut script)).exchanges());
        // Byte by byte.
        let mut script = Script::new(role);
        for (is_request, bytes) in [
            (true, &b"\x05\x01\x00"[..]),
            (false, b"\x05\x00"),
            (true, b"\x05\x01\x00\x03\x01x\x00\x50"),
            (false, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x30\x39"),
        ] {
            bytes.chunks(1).for_each(|byte| _ = script.part(is_request, byte));
        }
        to_x(&ask(&mut script).exchanges());
        // The client does not wait for answers.
        let mut script = Script::new(role);
        script.request(&[&b"\x05\x01\x00\x05\x01\x00\x03\x01x\x00\x50"[..], &get("/a")].concat());
        script.response(b"\x05\x00").response(&[&b"\x05\x00\x00\x01\0\0\0\0\0\0"[..], &ok("a")].concat());
        to_x(&script.request(&get("/b")).response(&ok("b")).exchanges());
        // An answer is seen before what it answers.
        let mut script = Script::new(role);
        script.hold_next().request(b"\x05\x01\x00").response(b"\x05\x00").release();
        script.request(b"\x05\x01\x00\x03\x01x\x00\x50").response(b"\x05\x00\x00\x01\0\0\0\0\0\0");
        to_x(&ask(&mut script).exchanges());
    }
}

#[test]
fn what_follows_socks_is_named() {
    let mut script = Script::new(Role::Client);
    socks(&mut script).request(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03").response(b"\x16\x03\x03\x00\x02ab");
    assert_eq!(not_http(&mut script).as_deref(), Some("tls"));
}

#[test]
fn a_negotiation_that_fails_or_is_cut_is_no_http() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.request(b"\x05\x01\x00").response(b"\x05\xff").target_closes();
        assert_eq!(not_http(&mut script).as_deref(), Some("other"));
        let mut script = Script::new(role);
        script.request(b"\x05\x01\x00").response(b"\x05\x00").target_closes();
        assert_eq!(not_http(&mut script).as_deref(), Some("other"));
        // Longer than any negotiation.
        let mut script = Script::new(role);
        script.request(b"\x05\x01\x00").request(&[1; 5000]).response(b"\x05\x00");
        assert_eq!(not_http(&mut script).as_deref(), Some("other"));
    }
}
