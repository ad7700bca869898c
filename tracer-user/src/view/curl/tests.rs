use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{self, connection, fields},
    model::{
        connection::{ConnectionInfo, Endpoint},
        exchange::Body,
    },
};

struct Ask<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

const GET: Ask<'_> = Ask { method: "GET", target: "/p", headers: &[], body: b"" };
/// Of a request that curl sends by itself.
const LIKE_CURL: [(&str, &str); 3] = [("Host", "127.0.0.1:2"), ("User-Agent", "x"), ("Accept", "*/*")];

fn exchange(ask: &Ask<'_>) -> Exchange {
    let mut exchange = fixture::exchange();
    let request = exchange.request.as_mut().expect("the fixture has one");
    request.method = ask.method.into();
    request.target = ask.target.into();
    request.headers = fields(&LIKE_CURL);
    for (name, value) in ask.headers {
        request.headers.push(name.as_bytes(), value.as_bytes());
    }
    request.body = Body { bytes: ask.body.len() as u64, captured: ask.body.to_vec(), missing: 0 };
    exchange
}

fn curl(ask: &Ask<'_>) -> String {
    command(&exchange(ask), Redactor::new(false)).expect("there is a request")
}

#[test]
fn the_simplest() {
    assert_eq!(curl(&GET), "curl http://127.0.0.1:2/p \\\n  -H 'User-Agent: x'\n");
    assert!(curl(&Ask { method: "HEAD", ..GET }).contains(" \\\n  --head"));
    assert!(curl(&Ask { method: "DELETE", ..GET }).contains(" \\\n  -X DELETE"));
    let mut exchange = exchange(&GET);
    exchange.request = None;
    assert_eq!(command(&exchange, Redactor::new(false)), None);
}

#[test]
fn bodies() {
    let json = [("Content-Type", "application/json"), ("Content-Length", "11")];
    let post = curl(&Ask { method: "POST", headers: &json, body: b"{\"a\":\"it's\"}", ..GET });
    let expected = "  -H 'Content-Type: application/json' \\\n  --data-raw '{\"a\":\"it'\\''s\"}'\n";
    assert!(post.ends_with(expected) && !post.contains("-X") && !post.contains("Length"), "{post}");
    let text = curl(&Ask { method: "PUT", body: b"@two\nlines", ..GET });
    assert!(
        text.contains("-X PUT")
            && text.contains("-H 'Content-Type:'")
            && text.starts_with("printf '@two\\n'\\\n'lines' | \\\ncurl "),
        "{text}"
    );
    let binary = curl(&Ask { method: "POST", body: b"-\0\xff%d\\n'\r\n\t\xe2\x80\xae", ..GET });
    assert!(
        binary.starts_with("printf '\\055\\000\\377%%d\\134n\\047\\r\\n\\t\\342\\200\\256' | \\\ncurl "),
        "{binary}"
    );
    assert!(binary.contains("--data-binary @-"), "{binary}");
    let empty = curl(&Ask { method: "POST", headers: &[("Content-Length", "0")], ..GET });
    assert!(empty.contains("--data-raw ''") && !empty.contains("-X"), "{empty}");
    let none = curl(&Ask { method: "POST", ..GET });
    assert!(none.contains("-X POST") && !none.contains("data"), "{none}");
}

#[test]
fn targets() {
    assert!(curl(&Ask { target: "/a?b=c&d='e'", ..GET }).starts_with("curl 'http://127.0.0.1:2/a?b=c&d='\\''e'\\' "));
    for odd in ["/a/../b", "/a[1]", "*", "http://other/p", "/a#b", "/ü", "/a?"] {
        let text = curl(&Ask { target: odd, ..GET });
        assert!(text.starts_with("curl http://127.0.0.1:2/ "), "{text}");
        assert!(text.contains("--request-target "), "{text}");
    }
}

#[test]
fn what_no_argument_can_have_is_said() {
    let text = curl(&Ask { target: "/a\0b", ..GET });
    assert!(text.contains("--request-target /ab") && text.contains("\n# the method and target cannot be"), "{text}");
    assert!(curl(&Ask { target: "/a\u{fffd}", ..GET }).contains("\n# the method and target cannot be"));
    assert!(!curl(&Ask { target: "/\u{fc}", ..GET }).contains("cannot"));
}

#[test]
fn places() {
    let with_host = |host: &str| {
        let mut exchange = exchange(&GET);
        let request = exchange.request.as_mut().expect("there");
        request.headers = fields(&[("Host", host), ("User-Agent", "x"), ("Accept", "*/*")]);
        exchange
    };
    let text = |exchange: &Exchange| command(exchange, Redactor::new(false)).expect("there is a request");
    let named = text(&with_host("payments.local"));
    assert!(named.starts_with("curl http://payments.local/p \\\n  --connect-to ::127.0.0.1:2 "), "{named}");
    for odd in ["h:80", "H", "1.2", "0x7f.1", "a b", "me@h", ""] {
        let text = text(&with_host(odd));
        assert!(text.starts_with("curl http://127.0.0.1:2/p ") && text.contains("-H 'Host") || odd == "1.2", "{text}");
    }
    assert!(text(&with_host("me:word@h")).contains("-H 'Host: ***"));
    let socket = |path: &str| {
        let remote = Endpoint::Unix(path.into());
        let mut exchange = with_host("docker");
        exchange.connection = Arc::new(ConnectionInfo { remote, ..(*connection()).clone() });
        text(&exchange)
    };
    assert!(socket("/run/a b").starts_with("curl http://docker/p \\\n  --unix-socket '/run/a b' "));
    assert!(socket("@x").contains("--abstract-unix-socket x "));
    for odd in ["@x\0y", "/\u{fffd}", "/x\n"] {
        assert!(socket(odd).ends_with("# the path of the socket cannot be represented here\n"));
    }
    assert!(socket("").ends_with("# the destination was not seen\n"));
}

#[test]
fn fields_of_all_kinds() {
    let headers = [
        ("X-Empty", ""),
        ("X-Tab", "a\tb"),
        ("X-Escape", "\x1b[31m"),
        ("X-Quote", "it's \"$HOME\" `x`"),
        ("Accept-Encoding", "gzip"),
        ("bad name", "x"),
    ];
    let text = curl(&Ask { headers: &headers, ..GET });
    for expected in [
        "-H 'X-Empty;'",
        "-H \"$(printf 'X-Tab: a\\tb')\"",
        "-H \"$(printf 'X-Escape: \\033[31m')\"",
        "-H 'X-Quote: it'\\''s \"$HOME\" `x`'",
        "-H 'Accept-Encoding: gzip' \\\n  --compressed",
        "# 1 header fields are omitted",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains('\x1b') && !text.contains('\t'));
}

#[test]
fn secrets_are_hidden_or_said_to_be_there() {
    let headers = [("Authorization", "Bearer hidden-1"), ("Content-Type", "application/json")];
    let ask =
        Ask { method: "POST", target: "/p?token=hidden-2", headers: &headers, body: b"{\"password\":\"hidden-3\"}" };
    let text = curl(&ask);
    assert!(!text.contains("hidden-") && text.contains("Bearer ***") && text.contains("?token=***"), "{text}");
    assert!(text.contains("\"password\":\"***") && text.contains("\n# secrets are masked"), "{text}");
    let text = command(&exchange(&ask), Redactor::new(true)).expect("there");
    assert!((1..=3).all(|n| text.contains(&format!("hidden-{n}"))), "{text}");
    assert!(text.ends_with("\n# this command contains secrets\n"), "{text}");
}

#[test]
fn secrets_in_compressed_bodies_are_hidden() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"{\"password\":\"hidden\"}").expect("into memory");
    let body = encoder.finish().expect("into memory");
    let ask = Ask { method: "POST", headers: &[("Content-Encoding", "gzip")], body: &body, ..GET };
    let text = curl(&ask);
    assert!(text.starts_with("printf '{\"password\":\"***") && !text.contains("gzip"), "{text}");
    assert!(text.contains("# the body was compressed"), "{text}");
    let text = command(&exchange(&ask), Redactor::new(true)).expect("there");
    assert!(text.starts_with("printf '\\037\\213") && text.contains("-H 'Content-Encoding: gzip'"), "{text}");
}

#[test]
fn what_is_missing_is_said() {
    let mut exchange = exchange(&Ask { method: "POST", body: b"abc", ..GET });
    let request = exchange.request.as_mut().expect("there");
    request.body.bytes = 100;
    request.trailers = fields(&[("X", "y")]);
    request.version = Version::Http10;
    let text = command(&exchange, Redactor::new(false)).expect("there");
    assert!(text.contains("--http1.0"), "{text}");
    assert!(text.contains("\n# the body is incomplete: only the first 3 of 100 bytes were kept\n"), "{text}");
    assert!(text.contains("\n# the request had trailers"), "{text}");
}

proptest! {
    #[test]
    fn whatever_was_sent_can_be_pasted(
        method in "[A-Z!#'*]{1,8}",
        target in "(?s).{0,30}",
        host in "(?s).{0,20}",
        value in prop::collection::vec(any::<u8>(), 0..30),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut exchange = exchange(&Ask { method: &method, target: &target, headers: &[("Host", &host)], body: &body });
        let request = exchange.request.as_mut().expect("there");
        request.headers.push(b"X-Any", &value);
        let text = command(&exchange, Redactor::new(true)).expect("there");
        for line in text.lines() {
            prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", line);
            prop_assert!(line.len() < 1_024 && !line.replace("\\!", "").contains('!'), "{}", line);
        }
    }
}
