//! `pidtap open` of recordings.

use std::fs;

use tracer_tests::cli::{Dir, PAIR, Pair, recording, text};

#[test]
fn json_is_one_object_a_line_with_attached_first_and_summary_last() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR; 3])?)?;
    let ended = dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(0)?;
    assert_eq!(ended.stderr, "");
    let lines = ended.json()?;
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(types, ["attached", "exchange", "exchange", "exchange", "summary"]);
    assert_eq!(lines[0]["targets"][0], serde_json::json!({ "pid": 1234, "name": "server" }));
    assert_eq!(lines[0]["time"], "2026-11-21T04:05:07.000200Z");
    let exchange = &lines[1];
    assert_eq!(exchange["role"], "server");
    assert_eq!(exchange["outcome"], "complete");
    assert_eq!(exchange["quality"], "whole");
    assert_eq!(exchange["request"]["url"], "http://example.org/hello?q=1");
    assert_eq!(exchange["response"]["status"], 200);
    assert_eq!(exchange["response"]["body"]["text"], "hi");
    assert_eq!(exchange["timing"]["total_us"], 100);
    assert_eq!(lines[4]["exchanges"], 3);
    Ok(())
}

#[test]
fn the_same_recording_gives_the_same_bytes() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let content = recording([PAIR; 50])?;
    let file = dir.write("a.tap", &content)?;
    let first = dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(0)?.stdout;
    let again = dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(0)?.stdout;
    let piped = dir.pidtap(&["open", "-", "-o", "json"]).with_input(&content)?.status(0)?.stdout;
    let out = dir.path("out.json");
    dir.pidtap(&["open", text(&file), "-o", "json", "--output-file", text(&out)]).end()?.status(0)?;
    assert!(first == again && first == piped && first == fs::read_to_string(out)?);
    Ok(())
}

#[test]
fn lines_are_the_default_without_a_terminal() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR])?)?;
    let lines = dir.pidtap(&["open", text(&file)]).end()?.status(0)?;
    let expected = "attached to server (1234)   → outbound  ← inbound   ! failed  * slow (over 1s)  … open\n\
                    04:05:07.000   ← 200     GET       100µs     0B     2B #1    example.org/hello?q=1\n";
    assert!(lines.stdout.starts_with(expected), "{}", lines.stdout);
    assert!(
        lines.stdout.ends_with("1 exchange, 0 failed, 0 slow, 0 open; 0 events lost (0 bytes)\n"),
        "{}",
        lines.stdout
    );
    assert_eq!(lines.stderr, "");
    let tui = dir
        .pidtap(&["open", text(&file), "-o", "tui"])
        .end()?
        .status(1)?
        .says(&["not a suitable terminal", "-o line"])?;
    assert_eq!(tui.stdout, "");
    Ok(())
}

#[test]
fn what_comes_over_the_wire_cannot_reach_the_terminal() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let hostile = Pair {
        request: "GET /\u{202e}\u{200b}x HTTP/1.1\r\nHost: e\r\nX-A: \u{9b}31m\r\n\r\n".as_bytes(),
        response: b"HTTP/1.1 200 \x1b]0;title\x07\r\nX-B: \x1b[2J\x1b[31m\r\nContent-Length: 5\r\n\r\n\x1b[2J\x07",
    };
    let file = dir.write("a.tap", &recording([hostile])?)?;
    for form in ["line", "json"] {
        let ended = dir.pidtap(&["open", text(&file), "-o", form]).end()?.status(0)?;
        let harmful = |c: char| c.is_control() && c != '\n';
        assert!(!ended.stdout.contains(harmful), "{form}: {:?}", ended.stdout);
    }
    let lines = dir.pidtap(&["open", text(&file)]).end()?.status(0)?.stdout;
    assert!(!lines.contains(['\u{202e}', '\u{200b}']), "{lines:?}");
    Ok(())
}

#[test]
fn secrets_are_masked_unless_asked_for() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let secret = Pair {
        request: b"POST /login?api_key=hidden1 HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer hidden2\r\n\
            Cookie: id=hidden3\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{\"password\":\"hidden4\"}",
        response: b"HTTP/1.1 200 OK\r\nSet-Cookie: id=hidden5; Path=/\r\nContent-Length: 0\r\n\r\n",
    };
    let file = dir.write("a.tap", &recording([secret])?)?;
    for form in ["line", "json"] {
        let ended = dir.pidtap(&["open", text(&file), "-o", form]).end()?.status(0)?;
        assert!(!ended.stdout.contains("hidden") && ended.stdout.contains("***"), "{}", ended.stdout);
    }
    let shown = dir.pidtap(&["open", text(&file), "-o", "json", "--show-secrets"]).end()?.status(0)?.stdout;
    for number in 1..=5 {
        assert!(shown.contains(&format!("hidden{number}")), "{shown}");
    }
    Ok(())
}

#[test]
fn marks_are_equal_across_openings_with_a_key_file_only() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let secret = Pair {
        request: b"GET /?token=a-long-enough-secret HTTP/1.1\r\nHost: e\r\nX-Api-Key: a-long-enough-secret\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    };
    let file = dir.write("a.tap", &recording([secret])?)?;
    let key = dir.write("key", b"bytes that nobody else knows....")?;
    let marks = |rest: &[&str]| -> anyhow::Result<Vec<String>> {
        let arguments = [&["open", text(&file), "-o", "json"], rest].concat();
        let shown = dir.pidtap(&arguments).end()?.status(0)?.stdout;
        Ok(shown.split("***").skip(1).map(|rest| rest[..4].to_owned()).collect())
    };
    let named = ["--mark-key-file", text(&key)];
    let (one, other) = (marks(&named)?, marks(&named)?);
    assert!(one.len() > 2 && one.iter().all(|mark| *mark == one[0]), "{one:?}");
    assert_eq!(one, other);
    // Two of many random keys may give the same digits.
    let fresh = [marks(&[])?, marks(&[])?, marks(&[])?, marks(&[])?];
    assert!(fresh.iter().any(|marks| *marks != fresh[0]), "{fresh:?}");
    Ok(())
}
