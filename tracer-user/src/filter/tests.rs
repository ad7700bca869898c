use std::sync::Arc;

use proptest::prelude::*;

use super::{
    field::{Flag, Name},
    *,
};
use crate::{
    fixture::{self, START},
    model::{
        connection::{ConnectionInfo, Endpoint, Protocol, Role},
        exchange::{IncidentId, Outcome, ProcessRef, Quality, Timing},
    },
};

const HIDDEN: Context<'static> =
    Context { budget: None, redactor: Redactor::new(false), now: Timestamp(START.0 + 7_000_000_000) };
const SHOWN: Context<'static> = Context { budget: None, redactor: Redactor::new(true), now: Timestamp(0) };

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}\n{}\n{error}", error.caret(text)))
}

/// `POST http://api.Stripe.com:8080/v1/charges?id=7&token=s3cret`, 502 after 1.5 s, of which 1.2 s are waiting.
fn failed() -> Exchange {
    let at = |milliseconds: u64| Some(Timestamp(START.0 + milliseconds * 1_000_000));
    let mut exchange = fixture::exchange();
    exchange.process = ProcessRef { pid: 77, tid: 78, name: "payments".into() };
    exchange.incidents = vec![IncidentId(3), IncidentId(8)];
    let request = exchange.request.as_mut().expect("there");
    request.target = "/v1/charges?id=7&token=s3cret".into();
    request.authority = Some("api.Stripe.com:8080".into());
    request.headers = fixture::fields(&[
        ("Host", "api.Stripe.com:8080"),
        ("Authorization", "Bearer s3cret"),
        ("X-Request-Id", "abc-1"),
        ("Content-Type", "application/json"),
    ]);
    request.body.captured = br#"{"amount": 12, "password": "s3cret"}"#.to_vec();
    request.body.bytes = 1_500_000;
    let response = exchange.response.as_mut().expect("there");
    response.headers = fixture::fields(&[("Retry-After", "2"), ("Content-Type", "text/plain")]);
    response.trailers = fixture::fields(&[("Checksum", "77")]);
    response.body.captured = b"Card Declined".to_vec();
    response.body.bytes = 13;
    exchange.timing = Timing {
        connect_start: at(0),
        connect_end: at(100),
        tls_start: None,
        tls_end: None,
        request_start: at(100),
        request_end: at(200),
        response_start: at(1_400),
        response_end: at(1_500),
        end: at(1_500),
    };
    exchange
}

/// A request without an answer up to now.
fn open() -> Exchange {
    let mut exchange = failed();
    exchange.outcome = Outcome::InFlight;
    exchange.quality = Quality::JoinedLate;
    exchange.role = Role::Server;
    exchange.response = None;
    exchange.incidents.clear();
    exchange.timing.response_start = None;
    exchange.timing.response_end = None;
    exchange
}

/// A connection that was refused.
fn refused() -> Exchange {
    let mut exchange = fixture::exchange();
    exchange.outcome = Outcome::Refused;
    exchange.error = Some(111);
    exchange.request = None;
    exchange.response = None;
    exchange.timing = Timing { connect_start: Some(START), end: Some(Timestamp(START.0 + 5_000)), ..Timing::default() };
    exchange.connection = Arc::new(ConnectionInfo {
        remote: Endpoint::Inet(([10, 0, 0, 9], 443).into()),
        remote_text: "10.0.0.9:443".into(),
        protocol: Protocol::Unknown,
        ..(*exchange.connection).clone()
    });
    exchange
}

#[test]
fn what_is_typed_and_what_it_means() {
    for (typed, meaning) in [
        ("", ""),
        ("  ", ""),
        ("timeout", "timeout"),
        (
            "host:stripe status>=500 method=POST >1s path~/v1/",
            "host:stripe status>=500 method=POST duration>1s path~/v1/",
        ),
        ("a or b c", "a or b c"),
        ("(a or b) c", "(a or b) c"),
        ("a | b || c", "a or b or c"),
        ("a|b c", "a|b c"),
        ("a and b && c AND d", "a b c d"),
        ("((a)) (b c)", "a b c"),
        ("!a -b not c NOT(d e)", "not a not b not c not (d e)"),
        ("not not a", "not not a"),
        ("method=GET|post", "method=GET|post"),
        ("status=5xx|404", "status=5xx|404"),
        ("status:4XX status!=404 status==503", "status=4xx status!=404 status=503"),
        ("status >= 500 wait < 200ms", "status>=500 wait<200ms"),
        ("status 500", "status 500"),
        (">1.5s <=1m30s >1MB >= 1MiB", "duration>1.5s duration<=1m30s size>1MB size>=1MiB"),
        (
            "body>1k body:declined request.body~x response.body=0",
            "body>1KiB body:declined request.body~x response.body=0B",
        ),
        ("is:failed is:open|slow", "is:failed (is:open or is:slow)"),
        ("has:incident has:Header.X", "has:incident has:header.x"),
        ("HOST:X Authority:y total>1s conn=#4", "host:X host:y duration>1s connection=4"),
        ("header.X-Request-Id:abc request.header.a=b header:c", "header.x-request-id:abc request.header.a=b header:c"),
        ("\"a b\" 'c d' path:\"x y\"|z", "\"a b\" \"c d\" path:\"x y\"|z"),
        (r#""say \"hi\" \\ \d" 'it\'s'"#, r#""say \"hi\" \\ \\d" "it's""#),
        (r"path~^/(a|b)/\d+[)|]$ x", r#"path~"^/(a|b)/\\d+[)|]$" x"#),
        ("(path~a)", "path~a"),
        ("path~\"a b\" path!~c path=~d", "path~\"a b\" path!~c path~d"),
        (
            "localhost:8080 http://h/p 10.0.0.1:80 ::1 [::1]:80",
            "\"localhost:8080\" \"http://h/p\" \"10.0.0.1:80\" \"::1\" \"[::1]:80\"",
        ),
        ("/v1/x?a=1&b=2 a*b it's f(x)", "\"/v1/x?a=1&b=2\" \"a*b\" \"it's\" \"f(x)\""),
        ("order android notes", "order android notes"),
        (
            "outcome:time quality=whole role=Client protocol:HTTP",
            "outcome:time quality=whole role=Client protocol:HTTP",
        ),
        ("incident=3 id!=5 pid=1 tid=2 error=ECONNRESET", "incident=3 id!=5 pid=1 tid=2 error=ECONNRESET"),
        ("héé 日本", "\"héé\" \"日本\""),
    ] {
        let filter = parse(typed);
        assert_eq!(filter.to_string(), meaning, "{typed}");
        assert_eq!(parse(meaning), filter, "{typed}");
        assert_eq!(filter.text(), typed);
        assert_eq!(filter.is_empty(), meaning.is_empty());
    }
    assert!(Filter::default().is_empty() && Filter::default() == parse(""));
}

#[test]
fn what_is_wrong_is_said_with_its_column_and_what_to_do() {
    for (typed, column, said) in [
        ("status>", 8, "a value is missing here; add a value, for example status>=500"),
        ("host:", 6, "for example host:stripe"),
        ("host: ", 7, "a value is missing"),
        ("status>=x", 9, "`x` is not a valid value for `status`; expected a status or a class, for example 503 or 5xx"),
        ("status>=5xx", 9, "a class"),
        ("status>500|502", 12, "an order comparison with several"),
        ("a status~5", 10, "`status` is a number"),
        ("host>5", 6, "`host` is text"),
        ("wait>200", 6, "expected a time with a unit, for example 200ms"),
        ("size>x", 6, "for example 1500, 10kB or 1MiB"),
        ("pid=x", 5, "a whole number"),
        (">500", 2, "write >500ms for a duration, >10kB for a body size, or add a field, for example status>500"),
        (">= x", 4, "neither a time nor a size"),
        ("stauts>=500", 1, "unknown field `stauts`; did you mean `status`? To search for this text, quote it"),
        ("id=1 user_id=5", 6, "unknown field `user_id`"),
        ("xyzzyx:abc", 1, "unknown field `xyzzyx`; the fields are host, path, url,"),
        ("outcome=lost", 9, "use one of: complete, reset, closed"),
        ("quality:perfect", 9, "`perfect` is not a valid quality"),
        ("is:broken", 4, "use one of: failed, open, slow"),
        ("is>5", 4, "`is` must be followed by a colon; write is:failed"),
        ("has:zzz", 5, "for example has:incident"),
        ("has:statu", 5, "for example has:status"),
        ("(a b", 1, "this `(` has no matching `)`"),
        ("a )", 3, "this `)` has no matching `(`"),
        ("a ()", 4, "an expression is missing before this `)`"),
        ("a or", 5, "an expression is missing here"),
        ("a or or b", 6, "an expression is missing before this word"),
        ("| b", 1, "an expression is missing before this `|`"),
        ("a and", 6, "an expression is missing here"),
        ("not", 4, "an expression is missing here"),
        ("-", 2, "an expression is missing here"),
        ("\"a", 1, "this quote is not closed; add a \" at the end"),
        ("path='a", 6, "add a '"),
        ("'a'b", 4, "add a blank between"),
        ("=5", 1, "a field is missing before this `=`"),
        ("!=5", 1, "a field is missing before this `!=`"),
        ("~x", 1, "for example path~/v1"),
        ("status=500|status=502", 11, "put blanks around it"),
        ("path~a(b", 7, "unclosed group"),
        ("日本 path~\"a(b\"", 11, "unclosed group"),
        ("日本 status=", 11, "a value is missing"),
        (r"path~\w{5000}", 6, "too much memory"),
    ] {
        let error = Filter::parse(typed).expect_err(typed);
        let text = error.to_string();
        assert_eq!(error.column, column, "{typed}: {text}");
        assert!(text.contains(said), "{typed}: {text}");
    }
    let error = Filter::parse("日本 ~").expect_err("a field is missing");
    assert_eq!(error.caret("日本 ~"), "     ^");
}

#[test]
fn there_are_limits() {
    assert!(Filter::parse(&"a ".repeat(MAX_LENGTH / 2)).is_ok());
    let error = Filter::parse(&"é".repeat(MAX_LENGTH)).expect_err("too long");
    assert!(error.to_string().contains("2000 bytes"), "{error}");
    for (open, close) in [("(", ")"), ("!", ""), ("not ", ""), ("(!", ")"), ("!", " is:open|slow")] {
        let nested = |depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
        assert!(Filter::parse(&nested(16)).is_ok(), "{open}");
        let error = Filter::parse(&nested(33)).expect_err("too deep");
        assert!(error.to_string().contains("nested"), "{error}");
    }
    assert!(Filter::parse(&"path~a ".repeat(16)).is_ok());
    let error = Filter::parse(&"path~a ".repeat(17)).expect_err("too many");
    assert!(error.to_string().contains("16 regular expressions"), "{error}");
}

#[test]
fn what_matches() {
    let exchanges = [failed(), open(), refused()];
    // Whether the failed, the open and the refused one match.
    for (text, expected) in [
        ("", [true, true, true]),
        ("post", [true, true, false]),
        ("stripe.com", [true, true, false]),
        ("http://api.stripe.com:8080/v1/ch", [true, true, false]),
        ("502", [true, false, false]),
        ("refused", [false, false, true]),
        ("\"connection refused\"", [false, false, true]),
        ("open", [false, true, false]),
        ("\"joined late\"", [false, true, false]),
        ("payments", [true, true, false]),
        ("10.0.0.9", [false, false, true]),
        ("refused|502", [true, false, true]),
        ("502 refused", [false, false, false]),
        ("502 or refused", [true, false, true]),
        ("-502", [false, true, true]),
        ("method=post", [true, true, false]),
        ("method!=post", [false, false, true]),
        ("host:stripe", [true, true, false]),
        ("host=api.stripe.com", [true, true, false]),
        ("host=api.stripe.com:8080", [true, true, false]),
        ("host=stripe.com", [false, false, false]),
        ("host:10.0.0.9", [false, false, true]),
        ("path~/v1/", [true, true, false]),
        ("path:/V1/", [true, true, false]),
        ("path~^/v1/[a-z]+$", [true, true, false]),
        ("path=/v1/charges", [true, true, false]),
        ("path:id=7", [true, true, false]),
        ("path!~^/v1/", [false, false, true]),
        ("url~^http://api", [true, true, false]),
        ("status>=500", [true, false, false]),
        ("status<500", [false, false, false]),
        ("not status>=500", [false, true, true]),
        ("status!=200", [true, true, true]),
        ("status=5xx", [true, false, false]),
        ("status=404|502", [true, false, false]),
        ("has:status", [true, false, false]),
        ("outcome:refuse", [false, false, true]),
        ("outcome=in_flight", [false, true, false]),
        ("error=econnrefused", [false, false, true]),
        ("has:error", [false, false, true]),
        (">1s", [true, true, false]),
        (">1500ms", [false, true, false]),
        ("duration>=1500ms", [true, true, false]),
        ("duration>6s", [false, true, false]),
        ("connect=100ms", [true, true, false]),
        ("send>50ms", [true, true, false]),
        ("wait>1s", [true, true, false]),
        ("wait>2s", [false, true, false]),
        ("receive>50ms", [true, false, false]),
        ("has:receive", [true, false, false]),
        ("header.x-request-id:ABC", [true, true, false]),
        ("header.retry-after=2", [true, false, false]),
        ("request.header.retry-after=2", [false, false, false]),
        ("response.header.checksum=77", [true, false, false]),
        ("header:\"retry-after: 2\"", [true, false, false]),
        ("has:header.retry-after", [true, false, false]),
        ("has:header.x", [false, false, false]),
        ("body:declined", [true, false, false]),
        ("request.body:amount", [true, true, false]),
        ("response.body:amount", [false, false, false]),
        ("body~\"card.*ed$\"", [true, false, false]),
        ("body>1MB", [true, true, false]),
        ("response.body<=13", [true, false, false]),
        ("size>=1500013", [true, false, false]),
        ("has:body", [true, true, false]),
        ("incident=3", [true, false, false]),
        ("incident=8|9", [true, false, false]),
        ("incident!=3", [false, true, true]),
        ("has:incident", [true, false, false]),
        ("is:incident", [true, false, false]),
        ("is:failed", [true, false, true]),
        ("is:open", [false, true, false]),
        ("is:slow", [true, false, false]),
        ("is:client", [true, false, true]),
        ("role=server", [false, true, false]),
        ("is:server|incident", [true, true, false]),
        ("is:partial", [false, true, false]),
        ("quality!=whole", [false, true, false]),
        ("process=payments", [true, true, false]),
        ("pid=77 tid=78", [true, true, false]),
        ("connection=3 id=1", [true, true, true]),
        ("remote=10.0.0.9", [false, false, true]),
        ("remote:443", [false, false, true]),
        ("local=127.0.0.1", [true, true, true]),
        ("protocol=unknown", [false, false, true]),
    ] {
        let filter = parse(text);
        assert_eq!([0, 1, 2].map(|index| filter.matches(&exchanges[index], &HIDDEN)), expected, "{text}");
    }
}

#[test]
fn what_is_hidden_cannot_be_found() {
    let exchange = failed();
    for text in ["s3cret", "path:s3cret", "url~s3cret", "header.authorization:s3cret", "header:s3cret", "body:s3cret"] {
        assert!(!parse(text).matches(&exchange, &HIDDEN), "{text}");
        assert!(parse(text).matches(&exchange, &SHOWN), "{text}");
    }
    // By its mark it can.
    for field in ["", "header.authorization:", "body:", "path:"] {
        assert!(parse(&format!("{field}***")).matches(&exchange, &HIDDEN), "{field}");
    }
}

#[test]
fn bodies_are_decoded_and_long_urls_looked_at() {
    use std::io::Write as _;
    let mut exchange = failed();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"needle in a haystack").expect("memory takes everything");
    let response = exchange.response.as_mut().expect("there");
    response.body.captured = encoder.finish().expect("memory takes everything");
    response.headers.push(b"Content-Encoding", b"gzip");
    assert!(parse("body:needle").matches(&exchange, &HIDDEN));
    assert!(parse("body~\"in a hay\"").matches(&exchange, &HIDDEN));
    let request = exchange.request.as_mut().expect("there");
    request.target = format!("/{}/end", "x".repeat(1_000)).into();
    assert!(parse("url~/end$ 8080/x").matches(&exchange, &HIDDEN));
}

#[test]
fn the_table_of_fields_is_true() {
    for help in fields() {
        let filter = parse(help.example);
        assert!(!filter.is_empty());
        let name = help.name.replace("NAME", "x-y");
        let (meaning, found) = Name::find(&name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(found.name, help.name);
        if let Name::Field(field) = &meaning {
            assert_eq!(field.name(), name);
            parse(&format!("has:{name}"));
        }
        if let Some(alias) = help.alias {
            assert_eq!(Name::find(alias).map(|(meaning, _)| meaning), Some(meaning));
        }
        assert!(Name::find(&name.to_uppercase()).is_some());
        for value in help.values {
            parse(&format!("{}:{value}", help.name));
        }
    }
    for flag in Name::find("is").expect("a field").1.values {
        assert_eq!(flag.parse().map(Flag::name), Ok(*flag));
    }
}

/// Filters and JSON have these names, which are those of variants: renaming a variant must not rename them.
#[test]
fn names_of_values_stay() {
    let names = |name: &str| Name::find(name).expect("a field").1.values.join(" ");
    assert_eq!(
        names("outcome"),
        "complete reset closed refused connect_timeout no_local_port network_unreachable host_unreachable too_many_files \
         connect_failed client_timeout closed_early unsolicited not_http in_flight upgraded"
    );
    assert_eq!(names("quality"), "whole cut unframed body_gap joined_late header_gap");
    assert_eq!(names("protocol"), "unknown http/1.1 http/0.9 h2 tls ssh icy websocket tunnel other");
    assert_eq!(names("role"), "client server");
    assert_eq!(names("is"), "failed open slow client server incident partial");
    assert_eq!((Outcome::ClientTimeout.name(), Protocol::Http2.name()), ("client_timeout", "h2"));
}

#[test]
fn what_was_seen_whole_is_not_partial() {
    let partial = parse("is:partial");
    for (quality, expected) in [(Quality::Whole, false), (Quality::Unframed, false), (Quality::BodyGap, true)] {
        let exchange = Exchange { quality, ..failed() };
        assert_eq!(partial.matches(&exchange, &HIDDEN), expected, "{quality:?}");
    }
}

/// Texts that look like filters, most of which are some.
fn filter_text() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-z0-9/.-]{1,6}",
        "\"[a-z \\\\\"]{0,4}\"",
        "'[^']{0,4}'",
        "[1-5]xx|[0-9]{1,3}",
        "[0-9]{1,3}(ms|s|m|kB|MiB)?",
        "\\PC{1,4}",
    ];
    let names: Vec<String> = fields().iter().map(|help| help.name.to_owned()).chain(["x".to_owned()]).collect();
    let operator = proptest::sample::select(vec![":", "=", "!=", "~", "!~", ">", ">=", "<", "<=", "==", " > "]);
    let known: Vec<String> = fields().iter().map(|help| help.example.to_owned()).collect();
    let term = prop_oneof![
        2 => value.clone(),
        3 => (proptest::sample::select(names), operator, proptest::collection::vec(value, 1..3))
            .prop_map(|(name, operator, values)| format!("{name}{operator}{}", values.join("|"))),
        3 => proptest::sample::select(known),
    ];
    term.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|terms| terms.join(" ")),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|terms| terms.join(" or ")),
            inner.clone().prop_map(|term| format!("({term})")),
            inner.clone().prop_map(|term| format!("not {term}")),
            inner.prop_map(|term| format!("-({term})")),
        ]
    })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let base = prop_oneof![Just(failed()), Just(open()), Just(refused())];
    (base, 100..600_u16, "/[a-z0-9/.]{0,8}(\\?token=x)?", 0..3_000_000_000_u64, any::<bool>()).prop_map(
        |(mut exchange, status, target, duration, client)| {
            exchange.role = if client { Role::Client } else { Role::Server };
            exchange.timing.end = Some(Timestamp(START.0 + duration));
            if let Some(request) = &mut exchange.request {
                request.target = target.into();
            }
            if let Some(response) = &mut exchange.response {
                response.status = status;
            }
            exchange
        },
    )
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn what_looks_like_a_filter_is_parsed_and_shown_so_that_it_is_the_same(text in filter_text(), exchange in exchange()) {
        match Filter::parse(&text) {
            Ok(filter) => {
                let shown = filter.to_string();
                let again = Filter::parse(&shown).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
                prop_assert_eq!(&again, &filter, "{}", shown);
                prop_assert_eq!(again.to_string(), shown);
                // Whatever the order in which it is evaluated.
                let matches = filter.matches(&exchange, &HIDDEN);
                prop_assert_eq!(matches, filter.expression.matches(&exchange, &HIDDEN));
            }
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{text}: {error}"),
        }
    }

    #[test]
    fn negation(text in filter_text(), exchange in exchange()) {
        let Ok(filter) = Filter::parse(&text) else { return Ok(()) };
        let matches = |text: String| Filter::parse(&text).map(|filter| filter.matches(&exchange, &HIDDEN));
        let expected = filter.matches(&exchange, &HIDDEN);
        if let Ok(negated) = matches(format!("not ({text})")) {
            prop_assert_eq!(negated, !expected);
        }
        if let Ok(twice) = matches(format!("not not ({text})")) {
            prop_assert_eq!(twice, expected);
        }
    }

    #[test]
    fn not_equal_is_the_opposite_of_equal(field in 0..fields().len(), value in "[a-z0-9.]{1,5}", exchange in exchange()) {
        let name = fields()[field].name.replace("NAME", "host");
        let (equal, different) = (Filter::parse(&format!("{name}={value}")), Filter::parse(&format!("{name}!={value}")));
        if let (Ok(equal), Ok(different)) = (equal, different) {
            prop_assert_ne!(equal.matches(&exchange, &HIDDEN), different.matches(&exchange, &HIDDEN));
        }
    }
}

/// The rows of docs/filter.md's table.
fn documented() -> String {
    let row = |help: &FieldHelp| {
        let alias = help.alias.map_or_else(String::new, |alias| format!(", `{alias}`"));
        let values = if help.values.is_empty() { String::new() } else { format!(" ({})", help.values.join(", ")) };
        format!("| `{}`{alias} | {}{values} | `{}` |\n", help.name, help.what, help.example)
    };
    fields().iter().map(row).collect()
}

#[test]
fn the_documentation_lists_the_fields_as_they_are() {
    let text = include_str!("../../../docs/filter.md");
    assert!(text.contains(&documented()), "docs/filter.md needs this table:\n{}", documented());
}

#[test]
fn the_examples_of_the_documentation_are_filters() {
    let text = include_str!("../../../docs/filter.md");
    let (_, table) = text.split_once("| what is asked | filter |").expect("the first table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let mut count = 0;
    for row in table.lines().filter(|line| line.ends_with(" |") && line.contains('`')) {
        let (_, cell) = row.trim_end_matches(" |").rsplit_once(" | ").expect("two columns");
        for example in cell.split("`, `") {
            parse(&example.trim_matches('`').replace("\\|", "|"));
            count += 1;
        }
    }
    assert!(count > 14, "{count}");
}
