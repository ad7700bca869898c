//! Hostile bytes from the wire: escape sequences, right-to-left text, text without width, names and lines of extreme length. They must
//! harm no screen.

use super::{
    http::{answer, get, message, send},
    stage::{MS, S, Stage, Who, waiting},
};

const HOST: &str = "evil.example";
const WHO: Who = Who { pid: 6666, tid: 6666 };
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 66], 80);

/// Sets title, clipboard, colours and modes; clears the screen, moves the cursor, requests reports; and the same in 8-bit controls.
const ESCAPES: &str = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[H\x1b[31;5;7m\x1b[?1049l\x1b[?25l\x1b[?1000h\x1b[6n\x1bc\x1bP+q544e\x1b\\\
    \x1b]8;;http://evil.example/\x1b\\link\x1b]8;;\x1b\\\u{9b}2J\u{9d}0;owned\u{9c}\x0e\x08\x08\x07\x7f";
/// Reverses, hides and joins text.
const INVISIBLE: &str =
    "\u{202e}txt.exe\u{202c}\u{2066}a\u{2069}\u{200b}\u{200d}\u{feff}\u{2060}\u{ad}\u{061c}\u{200e}\u{e0041}\u{fe0f}";
/// Combining characters.
const COMBINING: &str = "Z\u{351}\u{36b}\u{343}\u{36a}\u{302}\u{36b}a\u{334}\u{335}\u{322}\u{328}l\u{489}g\u{321}\u{315}o\u{300}\u{301}\u{302}\u{303}\u{304}";

pub(super) fn recording() -> Vec<u8> {
    let mut stage =
        Stage::new(100 * MS, &[(WHO.pid, b"\x1b[31m\x1b]0;x\x07\xff"), (6667, "\u{202e}\u{200b}live".as_bytes())]);
    let mut at = 100 * MS;
    // Each on a connection of its own: after bytes other than HTTP, the engine parses no more of a connection.
    let refused = not_http().into_iter().map(|request| (request, answer("400 Bad Request", "text/plain", b"no\n")));
    for (request, answer) in exchanges().into_iter().chain(refused) {
        at += 70 * MS;
        let mut line = stage.client(WHO, ADDRESS);
        line.at(at).opens(2 * MS).asks(&request).wait(5 * MS).answers(&answer).wait(MS).closes();
        stage.plays(line);
    }
    at += 60 * MS;
    let mut caller = stage.server(Who { pid: 6667, tid: 6667 }, 80, ([192, 0, 2, 67], 40_000));
    caller.at(at).opens(0).wait(100).asks(&message(
        &format!("GET /{ESCAPES}{INVISIBLE} HTTP/1.1"),
        &["Host: \x1b[31m"],
        &[],
    ));
    stage.plays(caller);
    stage.ends(5 * S)
}

fn exchanges() -> Vec<(Vec<u8>, Vec<u8>)> {
    let plain = |target: &str| get(target, HOST, &[]);
    let good = || answer("200 OK", "text/plain", b"ok\n");
    let both = format!("{ESCAPES}{INVISIBLE}{COMBINING}");
    let emoji = "/🙂👩‍👩‍👧‍👦🏳️‍🌈".to_owned() + &"😀".repeat(96);
    let name = format!("X-{}", "n".repeat(3_000));
    let many: Vec<String> = (0..90).map(|number| format!("X-{number}: {number}")).collect();
    let too_many: Vec<String> = (0..1_500).map(|number| format!("X-{number}: y")).collect();
    let lines = |lines: &[String]| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        message("HTTP/1.1 200 OK", &[&lines[..], &["Content-Length: 0"]].concat(), &[])
    };
    let mut bytes = message("HTTP/1.1 200 OK", &["Content-Type: text/plain", "Content-Length: 256"], &[]);
    bytes.extend(0..=255_u8);
    let host = format!("{}.example", "a-very-long-label-of-a-host-name.".repeat(30));
    let json = format!(
        r#"{{"{both}":"{both}","\u001b]0;owned\u0007":"\u202e\u0000\ud800","deep":{}1{}}}"#,
        "[".repeat(300),
        "]".repeat(300)
    );
    let folded =
        message("HTTP/1.1 200 OK", &["X-Folded: one\r\n two\r\n\tthree", "X-Tab:\ta\tb\t", "Content-Length: 0"], &[]);
    let events = format!("data: {ESCAPES}\nevent: {INVISIBLE}\n\n");
    let form = b"%1b%5d0;owned%07=%1b%5b2J&%e2%80%ae=%00&%zz=%&a=%ff%fe";
    vec![
        (plain(&format!("/{}", ESCAPES.replace(' ', "%20"))), good()),
        (plain(&format!("/{INVISIBLE}?{COMBINING}")), good()),
        (plain(&emoji), good()),
        (plain(&format!("/{}", "日本語テキスト".repeat(20))), good()),
        (get("/header", HOST, &[&format!("X-Escape: {both}"), &format!("Cookie: {both}={both}")]), good()),
        (plain("/reason"), message(&format!("HTTP/1.1 200 {both}"), &["Content-Length: 0"], &[])),
        (
            plain("/answer-header"),
            message("HTTP/1.1 200 OK", &[&format!("X-Escape: {both}"), "Content-Length: 0"], &[]),
        ),
        (plain("/body"), answer("200 OK", "text/plain", both.as_bytes())),
        (plain("/type"), answer("200 OK", &format!("text/{both}"), b"ok\n")),
        (plain("/bytes"), bytes),
        (plain("/json"), answer("200 OK", "application/json", json.as_bytes())),
        (plain("/html"), answer("200 OK", "text/html", format!("<title>{both}</title>").as_bytes())),
        (plain("/events"), answer("200 OK", "text/event-stream", events.as_bytes())),
        (send("POST", "/form", HOST, "application/x-www-form-urlencoded", form), good()),
        (
            plain("/invalid-utf-8"),
            answer("200 OK", "text/plain", b"\xff\xfe\xc3\x28\xed\xa0\x80\xf8\x88\x80\x80\x80 ok \xc0\x9b[2J\n"),
        ),
        (get("/name", HOST, &[&format!("{name}: v")]), good()),
        (get("/folded", HOST, &["X-Folded: one\r\n two"]), folded),
        (plain("/many-lines"), lines(&many)),
        (get("/long-host", &host, &[]), good()),
        (plain(&format!("/long-path/{}", "x".repeat(6_000))), good()),
        (get("/no-host", "", &[]), good()),
        (plain("/too-many-lines"), lines(&too_many)),
    ]
}

fn not_http() -> [Vec<u8>; 5] {
    [
        message(&format!("GET{ESCAPES} / HTTP/1.1"), &["Host: evil.example"], &[]),
        message(&format!("G{INVISIBLE}ET / HTTP/1.1"), &["Host: evil.example"], &[]),
        message("GET / HTTP/1.1\x1b[2J", &["Host: evil.example"], &[]),
        message("GET / HTTP/1.1", &[&format!("Host: {ESCAPES}")], &[]),
        message("GET / HTTP/1.1", &[&format!("X{ESCAPES}: y"), "Host: evil.example"], &[]),
    ]
}

/// A retry chain and a call that hangs, with such texts as names everywhere.
pub(super) fn incidents() -> Vec<u8> {
    const END: u64 = 9 * S;
    let mut stage = Stage::new(250 * MS, &[(WHO.pid, b"\x1b[31m\x1b]0;x\x07\xff")]);
    let thread = |number| Who { pid: WHO.pid, tid: WHO.pid + number };
    let target = format!("/{INVISIBLE}{COMBINING}😀?{INVISIBLE}");
    let lines = [format!("Idempotency-Key: {ESCAPES}"), format!("traceparent: {ESCAPES}")];
    let asked = get(&target, ESCAPES, &lines.each_ref().map(String::as_str));
    let status = format!("HTTP/1.1 503 {ESCAPES}{INVISIBLE}");
    let answered = message(&status, &[&format!("Retry-After: {ESCAPES}"), "Content-Length: 0"], &[]);

    let mut hanging = stage.client(thread(1), ADDRESS);
    hanging.at(300 * MS).opens(2 * MS).asks(&get(&target, ESCAPES, &[]));
    let mut at = 3 * S;
    while at < END {
        let probe = hanging.at(at).probe();
        stage.probe(at, probe);
        let names: [&[u8]; 3] = [b"\x1b[2Jread", "\u{202e}wait\x1b]0;x\x07".as_bytes(), b"\x1b[31mx\xff"];
        stage.thread(at, thread(1), waiting(hanging.inode(), names));
        at += 500 * MS;
    }
    let mut retried = stage.client(thread(2), ADDRESS);
    retried.at(6 * S).opens(2 * MS);
    for gap in [200 * MS, 400 * MS, 800 * MS, 0] {
        retried.asks(&asked).wait(10 * MS).answers(&answered).wait(gap);
    }
    stage.plays(hanging);
    stage.plays(retried);
    stage.ends(END)
}

/// A head of ten megabytes without an end. It is too large for a committed file.
pub fn large_header() -> Vec<u8> {
    const PIECE: usize = 60_000;
    let mut stage = Stage::new(100 * MS, &[(WHO.pid, b"large")]);
    let mut line = stage.client(WHO, ADDRESS);
    line.at(100 * MS).opens(2 * MS).asks(&get("/large", HOST, &[])).wait(MS);
    line.answers(b"HTTP/1.1 200 OK\r\nX-Large: ");
    for number in 0..10_000_000 / PIECE {
        let piece: Vec<u8> = (0..PIECE).map(|index| b"\x1b[31m "[(index + number) % 6]).collect();
        line.wait(100).answers(&piece);
    }
    line.wait(100).answers(b"\r\nContent-Length: 2\r\n\r\nok");
    line.wait(MS).asks(&get("/after", HOST, &[])).wait(MS).answers(&answer("200 OK", "text/plain", b"ok\n"));
    stage.plays(line);
    stage.ends(3 * S)
}
