//! `--filter` selects exchanges, and keeps all other lines.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tracer_tests::{
    cli::{Dir, PAIR, recording, text},
    report::Report,
};

/// Whether the filter selects an exchange.
type Wanted = fn(&Value) -> bool;

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings").join(name)
}

fn status(exchange: &Value) -> u64 {
    exchange["response"]["status"].as_u64().unwrap_or(0)
}

#[test]
fn json_is_what_matches_and_all_that_is_no_exchange() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let filters: [(&str, Wanted); 9] = [
        ("status>=500", |exchange| status(exchange) >= 500),
        ("status!=200", |exchange| status(exchange) != 200),
        ("-is:server POST", |exchange| exchange["role"] == "client" && exchange["request"]["method"] == "POST"),
        ("wait>200ms or is:open", |exchange| {
            exchange["timing"]["wait_us"].as_u64() > Some(200_000) || exchange["outcome"] == "in_flight"
        }),
        ("path~^/$", |exchange| {
            exchange["request"]["path"].as_str().is_some_and(|path| path.split('?').next() == Some("/"))
        }),
        ("has:incident", |exchange| exchange["incidents"].as_array().is_some_and(|incidents| !incidents.is_empty())),
        ("response.body>=100", |exchange| exchange["response"]["body"]["bytes"].as_u64() >= Some(100)),
        ("\"no such text\"", |_| false),
        ("", |_| true),
    ];
    let (mut shown, mut left_out) = (0, 0);
    for name in ["retry_exponential.tap", "hang_served_behind_a_call.tap", "node_server.tap", "threads.tap"] {
        let file = committed(name);
        let all = dir.pidtap(&["open", text(&file), "-o", "json"]).end()?.status(0)?;
        assert!(all.json()?.last().is_some_and(|summary| summary.get("filtered").is_none()));
        for (filter, wanted) in filters {
            let some = dir.pidtap(&["open", text(&file), "-o", "json", "--filter", filter]).end()?.status(0)?;
            let mut expected = all.json()?;
            let before = expected.len();
            expected.retain(|line| line["type"] != "exchange" || wanted(line));
            let filtered = before - expected.len();
            left_out += filtered;
            shown += expected.iter().filter(|line| line["type"] == "exchange").count();
            if !filter.is_empty() {
                expected.last_mut().expect("a summary")["filtered"] = filtered.into();
            }
            assert!(some.json()? == expected, "{name} {filter}: {}", some.stdout);
            Report::parse(&some.stdout)?;
        }
    }
    assert!(shown > 20 && left_out > 20, "{shown} {left_out}");
    Ok(())
}

#[test]
fn lines_say_how_many_are_left_out() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = committed("retry_exponential.tap");
    let all = dir.pidtap(&["open", text(&file)]).end()?.status(0)?.stdout;
    let some = dir.pidtap(&["open", text(&file), "--filter", "nothing-like-this"]).end()?.status(0)?.stdout;
    let (count, left_out) = (all.matches(" POST ").count() + all.matches(" GET ").count(), "excluded by the filter");
    assert!(!all.contains(left_out) && some.contains(left_out), "{some}");
    let incidents = |text: &str| text.lines().filter(|line| line.contains(['▲', '▼'])).count();
    assert!(count > 0 && incidents(&some) > 0 && incidents(&some) == incidents(&all), "{some}");
    // The count of failures includes hidden exchanges.
    let failed = |text: &str| text.split(" failed").next().and_then(|text| text.rsplit(' ').next().map(str::to_owned));
    assert_eq!(failed(&some[some.rfind("done").unwrap_or(0)..]), failed(&all[all.rfind("done").unwrap_or(0)..]));
    Ok(())
}

#[test]
fn what_is_wrong_is_shown_where_it_is() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR])?)?;
    for place in
        [&["open", text(&file), "--filter"][..], &["1", "--filter"], &["run", "--filter"], &["demo", "--filter"]]
    {
        let arguments = [place, &["host:h stauts>=500"]].concat();
        let ended = dir.pidtap(&arguments).end()?.status(2)?;
        let ended =
            ended.says(&["--filter", "column 8: unknown field `stauts`", "did you mean `status`", "quote it"])?;
        let lines: Vec<&str> = ended.stderr.lines().collect();
        let shown = lines.iter().position(|line| *line == "  host:h stauts>=500").expect("the text");
        assert_eq!(lines[shown + 1], "         ^", "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    // A value with a leading minus is no option.
    let negated = dir.pidtap(&["open", text(&file), "--filter", "-GET", "-o", "json"]).end()?.status(0)?;
    assert_eq!(negated.json()?.last().map(|summary| summary["filtered"].clone()), Some(1.into()));
    Ok(())
}

#[test]
fn what_is_hidden_is_not_found() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let secret = tracer_tests::cli::Pair {
        request: b"GET /?api_key=hidden1 HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer hidden2\r\n\r\n",
        ..PAIR
    };
    let file = dir.write("a.tap", &recording([secret])?)?;
    let found = |arguments: &[&str]| -> anyhow::Result<usize> {
        let ended = dir.pidtap(&[&["open", text(&file), "-o", "json"], arguments].concat()).end()?.status(0)?;
        Ok(ended.json()?.iter().filter(|line| line["type"] == "exchange").count())
    };
    for filter in ["hidden1", "header.authorization:hidden2"] {
        assert_eq!(found(&["--filter", filter])?, 0, "{filter}");
        assert_eq!(found(&["--filter", filter, "--show-secrets"])?, 1, "{filter}");
    }
    Ok(())
}
