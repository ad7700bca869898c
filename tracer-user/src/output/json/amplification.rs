//! The size of the output compared with that of the traffic.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::{
    engine::{Engine, EngineOptions},
    event::wire::{direction, origin},
    fixture::events,
};

/// Bytes of a line besides the traffic: names of fields, times, addresses.
const A_LINE: usize = 1_500;
/// Bytes that are written for a byte that came, at most.
const FACTOR: usize = 20;
/// Bytes that are written for a byte of a decoded body, at most: `1,` in a list of secrets becomes `\"***\",`, and escapes may
/// double the length of text.
const DECODED_FACTOR: usize = 5;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 24);
    encoder.write_all(bytes).expect("memory");
    encoder.into_inner()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A server that is sent these requests, each of which it answers with `204`: the lines that are written.
fn written<'a>(requests: impl IntoIterator<Item = &'a [u8]>, apart_ns: u64) -> Vec<String> {
    let mut engine = Engine::new(EngineOptions::default());
    let mut output = JsonOutput::new(Vec::new(), JsonOptions::default());
    engine.handle_event(&events::attached(1));
    engine.handle_event(&events::socket(2, 1, origin::ACCEPT));
    let (mut time, mut positions) = (10, [0_u64; 2]);
    let mut moved = |engine: &mut Engine, direction: u8, bytes: &[u8]| {
        for part in bytes.chunks(16 * 1024) {
            time += apart_ns;
            let (own, opposite) = (usize::from(direction), usize::from(1 - direction));
            let places = [positions[own] & 0xffff_ffff, positions[opposite] & 0xffff_ffff];
            engine.handle_event(&events::data(time, 1, direction, places, part));
            positions[own] += part.len() as u64;
        }
        engine.handle_event(&events::tick(time));
    };
    for request in requests {
        moved(&mut engine, direction::RECEIVE, request);
        moved(&mut engine, direction::SEND, b"HTTP/1.1 204 N\r\n\r\n");
    }
    engine.finish();
    while let Some(update) = engine.poll() {
        output.write(&update).expect("memory takes everything");
    }
    output.flush().expect("memory takes everything");
    let text = String::from_utf8(output.get_ref().clone()).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = vec![0; 4 << 20];
    let twice = gzip(&gzip(&zeros));
    let coded = |coding: &str| format!("Content-Encoding: {coding}\r\n");
    let head = |start: &str, lines: &[u8]| [start.as_bytes(), b"Host: h\r\n", lines, b"\r\n"].concat();
    let secrets = |each: &[u8]| {
        let body = [&br#"{"pwd":["#[..], &each.repeat(1 << 20)].concat();
        post(&coded("gzip"), &gzip(&body))
    };
    let get = "GET / HTTP/1.1\r\n";
    vec![
        ("gzip", post(&coded("gzip"), &gzip(&zeros))),
        ("gzip twice", post(&coded("gzip, gzip"), &twice)),
        ("gzip three times", post(&coded("gzip, gzip, gzip"), &gzip(&twice))),
        ("brotli", post(&coded("br"), &brotli(&zeros))),
        ("zstd", post(&coded("zstd"), &zstd(&zeros))),
        ("brotli in zstd", post(&coded("br, zstd"), &zstd(&brotli(&zeros)))),
        ("gzip of quotes", post(&coded("gzip"), &gzip(&vec![b'"'; 4 << 20]))),
        ("gzip of secrets", secrets(b"1,")),
        ("gzip of secrets with controls", secrets(b"1,\x01")),
        ("control characters", post("", &[0x1b; 60_000])),
        ("controls of C1", post("", "\u{9b}".repeat(30_000).as_bytes())),
        ("quotes", post("Content-Type: application/json\r\n", &[b'"'; 60_000])),
        ("line feeds", post("", &[b'\n'; 60_000])),
        ("controls in a header", head(get, &[b"A: ", &[0x9b; 50_000][..], b"\r\n"].concat())),
        ("controls in a header that is kept", head(get, &[b"A: ", &[0x01; 50_000][..], b"\r\n"].concat())),
        ("empty header lines", head(get, &b"a:\r\n".repeat(15_000))),
        ("header lines of secrets", head(get, &b"cookie:a=b\r\n".repeat(5_000))),
        ("cookies", head(get, &[b"cookie: ", &b"a=b;".repeat(10_000)[..], b"\r\n"].concat())),
        ("a long host", [b"GET / HTTP/1.1\r\nHost: ", &[b'a'; 60_000][..], b"\r\n\r\n"].concat()),
        ("a host of controls", [b"GET / HTTP/1.1\r\nHost: ", &[1; 60_000][..], b"\r\n\r\n"].concat()),
        ("a host of C1", [b"GET / HTTP/1.1\r\nHost: ", "\u{9b}".repeat(30_000).as_bytes(), b"\r\n\r\n"].concat()),
        ("a path of controls", [b"GET /", &[1; 60_000][..], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat()),
        ("a path of parameters", [b"GET /?", &b"key=a&".repeat(10_000)[..], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat()),
        ("a form of secrets", post("Content-Type: application/x-www-form-urlencoded\r\n", &b"pwd=a&".repeat(10_000))),
        (
            "JSON of secrets",
            post("Content-Type: application/json\r\n", &[b"[", &br#"{"pwd":1},"#.repeat(6_000)[..]].concat()),
        ),
    ]
}

#[test]
fn a_byte_that_came_becomes_twenty_at_most() {
    for (name, request) in hostile() {
        let lines = written([&*request], 1_000);
        let out: usize = lines.iter().map(String::len).sum();
        let coded = request.windows(16).any(|part| part == b"Content-Encoding");
        // Decoded bytes may be 64 KiB more.
        let most = if coded { DECODED_FACTOR * (64 * 1024 + FACTOR * request.len()) } else { FACTOR * request.len() };
        let most = 3 * A_LINE + most;
        assert!(out <= most, "{name}: {} bytes became {out}, which is more than {most}", request.len());
        for line in &lines {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn what_was_cut_is_said() {
    let zeros = gzip(&gzip(&vec![0; 4 << 20]));
    let lines = written([&*post("Content-Encoding: gzip, gzip\r\n", &zeros)], 1_000);
    let exchange: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
    let body = &exchange["request"]["body"];
    assert_eq!((&body["cut_by"], &body["truncated"]), (&"decoded_size".into(), &true.into()));
    assert!(body["base64"].is_string() && body["text"].is_null(), "{body}");
    assert!(lines.last().is_some_and(|line| line.contains(r#""decoding_cut":1"#)), "{lines:?}");
}

/// Many of them, as fast as they come: neither bytes nor work grow with each.
#[test]
fn many_bombs_share_what_may_be_decoded() {
    let bomb = gzip(&gzip(&vec![0; 4 << 20]));
    let request = post("Content-Encoding: gzip, gzip\r\n", &bomb);
    let lines = written(std::iter::repeat_n(&*request, 800), 1_000);
    let out: usize = lines.iter().map(String::len).sum();
    assert!(out <= 24 << 20, "{} bytes became {out}", request.len() * 800);
    // All of it within a few milliseconds of the trace: most of it is not decoded at all.
    let skipped = lines.iter().filter(|line| line.contains(r#""cut_by":"decoding_time""#)).count();
    assert!(skipped > 400, "{skipped}");
    let (last, said) = (lines.last().expect("a summary"), format!(r#""decoding_skipped":{skipped}"#));
    assert!(last.contains(&said), "{last}");
    // The same in an hour: there is time, and the bytes are still bounded by what came.
    let lines = written(std::iter::repeat_n(&*request, 600), 1_000_000_000);
    let out: usize = lines.iter().map(String::len).sum();
    let came = request.len() * 600;
    assert!(out <= (24 << 20) + 2 * FACTOR * came + 600 * A_LINE, "{came} bytes became {out}");
}

/// Text that has a few control characters in it is text.
#[test]
fn coloured_text_stays_text() {
    let line = "\x1b[32mINFO\x1b[0m request done in 12 ms\n".repeat(500);
    for text in [&*line, "\0", "a\x01b\x02", "\x1b[0m"] {
        let lines = written([&*post("", text.as_bytes())], 1_000);
        let exchange: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
        assert_eq!(exchange["request"]["body"]["text"], text);
    }
}
