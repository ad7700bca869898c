use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use unicode_width::UnicodeWidthChar as _;

use super::*;
use crate::fixture::fields;

fn body(bytes: &[u8]) -> Body {
    Body { bytes: bytes.len() as u64, captured: bytes.to_vec(), missing: 0 }
}

fn shown(content_type: &str, bytes: &[u8]) -> Shown {
    show(&fields(&[("Content-Type", content_type)]), &body(bytes), Redactor::new(false), Limits::default())
}

fn lines(shown: &Shown) -> Vec<&str> {
    shown.lines.iter().map(|line| &*line.text).collect()
}

fn text(content_type: &str, bytes: &[u8]) -> String {
    lines(&shown(content_type, bytes)).join("\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

/// What is what in a line, in letters.
fn kinds(line: &Line) -> String {
    line.pieces()
        .map(|(kind, text)| match kind {
            Kind::Plain => format!("<{text}>"),
            Kind::Key => format!("k<{text}>"),
            Kind::String => format!("s<{text}>"),
            Kind::Number => format!("n<{text}>"),
            Kind::Literal => format!("l<{text}>"),
            Kind::Punctuation => format!("p<{text}>"),
            Kind::Faint => format!("f<{text}>"),
            Kind::Note => format!("!<{text}>"),
        })
        .collect()
}

#[test]
fn json_is_laid_out() {
    let json = br#"{"id":"pi_1","amount":1999,"ok":true,"tags":["a","b"],"none":{},"empty":[ ],"deep":{"list":[{"x":-1.5e3},null]}}"#;
    let expected = r#"{
  "id": "pi_1",
  "amount": 1999,
  "ok": true,
  "tags": ["a", "b"],
  "none": {},
  "empty": [],
  "deep": {
    "list": [
      {
        "x": -1.5e3
      },
      null
    ]
  }
}"#;
    let shown = shown("application/json", json);
    assert_eq!(shown.shape, Shape::Json);
    assert_eq!(lines(&shown).join("\n"), expected);
    assert_eq!(shown.remarks, []);
    assert_eq!(kinds(&shown.lines[2]), r#"<  >k<"amount">p<:>< >n<1999>p<,>"#);
    assert_eq!(kinds(&shown.lines[3]), r#"<  >k<"ok">p<:>< >l<true>p<,>"#);
    assert_eq!(kinds(&shown.lines[1]), r#"<  >k<"id">p<:>< >s<"pi_1">p<,>"#);
    // Laid out again, it is the same.
    assert_eq!(text("application/json", expected.as_bytes()), expected);
}

#[test]
fn long_lists_have_lines_of_their_own() {
    let json = format!("[{}]", (1_000_000..1_000_012).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let text = text("application/json", json.as_bytes());
    assert_eq!(text.lines().count(), 14, "{text}");
    assert!(text.starts_with("[\n  1000000,\n"), "{text}");
}

#[test]
fn json_that_was_cut_is_laid_out_up_to_there() {
    let whole = br#"{"a":{"b":["x","a long string"#;
    let mut cut = body(whole);
    cut.bytes = 5_000_000;
    let shown = show(&fields(&[("content-type", "application/json")]), &cut, Redactor::new(false), Limits::default());
    assert_eq!(lines(&shown), ["{", r#"  "a": {"#, r#"    "b": ["#, r#"      "x","#, r#"      "a long string…"#]);
    assert_eq!(shown.remarks, [Remark::Limit { kept: whole.len() as u64, of: 5_000_000 }]);
    assert_eq!(shown.remarks[0].to_string(), "cut: only the first 29B of 5.0MB were kept (--body-limit)");
    let between = Body { captured: br#"{"a":1,"#.to_vec(), ..cut };
    let shown = show(&Fields::default(), &between, Redactor::new(false), Limits::default());
    assert_eq!(lines(&shown), ["{", r#"  "a": 1,"#, "  …"]);
}

#[test]
fn json_that_is_none() {
    assert_eq!(text("application/json", b"{\"a\":1}}]"), "{\n  \"a\": 1\n}\n}\n]");
    assert_eq!(text("application/json", b"{\"a\" 1 'b' nan}"), "{\n  \"a\" 1 'b' nan\n}");
    assert_eq!(text("application/json", b"Internal Server Error"), "Internal Server Error");
    assert_eq!(shown("application/json", b"Internal Server Error").shape, Shape::Text);
    assert_eq!(text("application/json", b"\"a\\\"b\\\\\""), r#""a\"b\\""#);
    assert_eq!(text("application/json", b"null"), "null");
    assert_eq!(text("application/json", b"{\"a\":\"x\ny\"}"), "{\n  \"a\": \"x\\x0ay\"\n}");
}

#[test]
fn json_is_known_by_its_look() {
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"] {
        assert_eq!(shown(content_type, b"{\"a\":1}").shape, Shape::Json, "{content_type}");
    }
    assert_eq!(shown("application/vnd.api+json; charset=utf-8", b"{ }").shape, Shape::Json);
    assert_eq!(shown("text/plain", b"[error] it failed").shape, Shape::Text);
    assert_eq!(shown("text/css", b"{a:b}").shape, Shape::Text);
}

#[test]
fn several_documents() {
    assert_eq!(text("application/x-ndjson", b"{\"a\":1}\n{\"a\":2}\n"), "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}");
    assert_eq!(text("application/x-ndjson", b"1\n\"x\"\nnull\n"), "1\n\"x\"\nnull");
}

#[test]
fn forms_are_a_field_a_line() {
    let shown =
        shown("application/x-www-form-urlencoded", b"name=J%C3%BCrgen+M&empty=&flag&bad=%zz%&b%5B%5D=%0a%1b[31m");
    assert_eq!(lines(&shown), ["name=Jürgen M", "empty=", "flag", "bad=%zz%", r"b[]=\x0a\x1b[31m"]);
    assert_eq!(kinds(&shown.lines[0]), "k<name>p<=>s<Jürgen M>");
    assert_eq!(shown.shape, Shape::Form);
}

#[test]
fn secrets_are_hidden_also_where_they_were_encoded() {
    let form = shown("application/x-www-form-urlencoded", b"password=abcdef&doc=%7B%22token%22%3A%22abcdef%22%7D");
    assert!(form.masked && form.remarks.contains(&Remark::Masked));
    let text = lines(&form).join("\n");
    assert!(!text.contains("abcdef"), "{text}");
    assert!(text.contains("doc={\"token\":\"***"), "{text}");
    let json = shown("application/json", br#"{"access_token":"abcdef","user":"me"}"#);
    assert!(lines(&json)[1].starts_with(r#"  "access_token": "***"#), "{json:?}");
    let open = show(&Fields::default(), &body(br#"{"token":"abcdef"}"#), Redactor::new(true), Limits::default());
    assert_eq!((lines(&open)[1], open.masked), (r#"  "token": "abcdef""#, false));
}

#[test]
fn event_streams() {
    let stream = b": hello\nevent: delta\ndata: {\"a\":1}\ndata:[DONE]\nid\n\n";
    let shown = shown("text/event-stream", stream);
    assert_eq!(lines(&shown), [": hello", "event: delta", r#"data: {"a":1}"#, "data: [DONE]", "id", ""]);
    assert_eq!(kinds(&shown.lines[2]), r#"k<data>p<: {>k<"a">p<:>n<1>p<}>"#);
    assert_eq!(kinds(&shown.lines[0]), "f<: hello>");
}

#[test]
fn text_of_any_kind() {
    assert_eq!(text("text/plain", b"a\r\n\tb\tc\n\nd\n"), "a\n    b   c\n\nd");
    assert_eq!(text("text/plain; charset=ISO-8859-1", b"caf\xe9"), "café");
    assert_eq!(text("text/plain", b"mostly plain caf\xe9"), r"mostly plain caf\xe9");
    assert_eq!(text("text/html", b"<b>\x1b[2J</b>"), r"<b>\x1b[2J</b>");
    assert_eq!(text("", "übung".as_bytes()), "übung");
}

#[test]
fn bytes_as_digits() {
    let shown = shown("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01");
    assert_eq!(shown.shape, Shape::Binary);
    assert_eq!(
        lines(&shown),
        [
            "000000  89 50 4e 47 0d 0a 1a 0a  00 00 00 0d 49 48 44 52  ·PNG········IHDR",
            "000010  00 01                                             ··"
        ]
    );
    assert!(shown.lines.iter().all(|line| line.text.chars().count() <= 76));
}

#[test]
fn parts() {
    let body = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--X\r\nContent-Type: \
        application/json\r\n\r\n{\"b\":1}\r\n--X\r\nContent-Type: image/png\r\n\r\n\x89PNG\0\0\r\n--X--\r\n";
    let shown = shown("multipart/form-data; boundary=\"X\"", body);
    assert_eq!(shown.shape, Shape::Multipart);
    assert_eq!(
        lines(&shown),
        [
            "--X",
            "Content-Disposition: form-data; name=\"a\"",
            "value",
            "--X",
            "Content-Type: application/json",
            "{",
            "  \"b\": 1",
            "}",
            "--X",
            "Content-Type: image/png",
            "000000  89 50 4e 47 00 00                                 ·PNG··",
            "--X--",
        ]
    );
}

#[test]
fn codings_are_undone_and_said() {
    let plain = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
    let whole = gzip(plain.as_bytes());
    let headers = fields(&[("Content-Encoding", "gzip"), ("Content-Type", "application/json")]);
    let decoded = show(&headers, &body(&whole), Redactor::new(false), Limits::default());
    assert_eq!(decoded.lines.len(), 3);
    assert_eq!(
        decoded.remarks[0].to_string(),
        format!("gzip decoded: {}B on the wire, 2.0kB after decoding", whole.len())
    );
    // Cut on the way: said once.
    let mut cut = body(&whole[..whole.len() - 9]);
    cut.bytes = whole.len() as u64;
    let decoded = show(&headers, &cut, Redactor::new(false), Limits::default());
    assert!(matches!(decoded.remarks[..], [Remark::Undone { .. }, Remark::Limit { .. }]), "{:?}", decoded.remarks);
    // Cut by who sent it.
    let decoded = show(&headers, &body(&whole[..whole.len() - 9]), Redactor::new(false), Limits::default());
    assert!(matches!(decoded.remarks[..], [Remark::Undone { .. }, Remark::Short]), "{:?}", decoded.remarks);
    // Too much.
    let limits = Limits { decoded: 100, lines: 10 };
    let decoded = show(&headers, &body(&whole), Redactor::new(false), limits);
    assert!(matches!(decoded.remarks[..], [Remark::Undone { .. }, Remark::Bound(100)]), "{:?}", decoded.remarks);
    let bomb = gzip(&vec![0; 3 << 20]);
    let decoded = show(&headers, &body(&gzip(&bomb)), Redactor::new(false), Limits::default());
    assert!(decoded.lines.len() < 20_000);
    let twice = fields(&[("Content-Encoding", "gzip, gzip")]);
    let decoded = show(&twice, &body(&gzip(&bomb)), Redactor::new(false), Limits::default());
    let said = decoded.remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(said.contains("were decoded, more exists; decoding stops at 64 KiB plus 20 times the size"), "{said}");
    // Not what it says.
    let decoded = show(&headers, &body(b"no gzip at all"), Redactor::new(false), Limits::default());
    assert!(matches!(decoded.remarks[..], [Remark::Left(_), Remark::Damaged]), "{:?}", decoded.remarks);
    assert_eq!(lines(&decoded), ["no gzip at all"]);
    let unknown = show(&fields(&[("Content-Encoding", "\x1bx")]), &body(b"\0\x01"), Redactor::new(false), limits);
    assert_eq!(
        unknown.remarks[0].to_string(),
        r"not decoded: \x1bx is unknown to pidtap, or the data has another coding"
    );
}

#[test]
fn gaps_are_said() {
    let gap = Body { bytes: 9_000, captured: vec![b'a'; 4_000], missing: 1_000 };
    let shown = show(&Fields::default(), &gap, Redactor::new(false), Limits::default());
    assert_eq!(shown.remarks, [Remark::Gap { missing: 1_000, kept: 4_000, of: 9_000 }]);
    assert_eq!(shown.remarks[0].to_string(), "gap: 1.0kB of 9.0kB could not be captured; the first 4.0kB are shown");
    let all = Body { bytes: 9_000, captured: Vec::new(), missing: 9_000 };
    let shown = show(&Fields::default(), &all, Redactor::new(false), Limits::default());
    assert_eq!((shown.shape, shown.lines.len()), (Shape::Empty, 0));
    assert_eq!(shown.remarks[0].to_string(), "gap: the first 9.0kB could not be captured; none of the 9.0kB is shown");
}

#[test]
fn lines_are_bounded_and_that_is_said() {
    let limits = Limits { decoded: 1 << 20, lines: 100 };
    let inputs: [(&str, Vec<u8>); 7] = [
        ("application/json", b"[".repeat(50_000)),
        ("application/json", b"[{},".repeat(50_000)),
        ("text/plain", b"\n".repeat(50_000)),
        ("application/x-www-form-urlencoded", b"a=1&".repeat(50_000)),
        ("text/event-stream", b"data: {\"a\":1}\n".repeat(50_000)),
        ("application/octet-stream", vec![0; 50_000]),
        ("multipart/mixed; boundary=X", b"--X\r\n\r\n\r\n".repeat(50_000)),
    ];
    for (content_type, bytes) in inputs {
        let headers = fields(&[("Content-Type", content_type)]);
        let shown = show(&headers, &body(&bytes), Redactor::new(false), limits);
        assert_eq!(shown.lines.len(), 100, "{content_type}");
        assert_eq!(shown.remarks.last(), Some(&Remark::Lines(100)), "{content_type}");
        // One more than there are is no cut.
        let few = show(&headers, &body(&bytes[..10]), Redactor::new(false), limits);
        assert!(!few.remarks.contains(&Remark::Lines(100)), "{content_type}");
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "[\\[\\]{}:,\"\\\\ \n0-9a-z&=%+-]{0,30}".prop_map(String::into_bytes),
        "(?s).{0,10}".prop_map(String::into_bytes),
        Just(b"--X\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\"token\":\"".to_vec()),
    ];
    prop::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
}

const CONTENT_TYPES: [&str; 7] = [
    "",
    "application/json",
    "application/x-www-form-urlencoded",
    "text/event-stream",
    "text/plain",
    "multipart/mixed; boundary=X",
    "application/octet-stream",
];

proptest! {
    #[test]
    fn any_bytes_give_harmless_lines(
        bytes in any_bytes(),
        content_type in prop::sample::select(&CONTENT_TYPES[..]),
        encoding in prop::sample::select(vec!["", "gzip", "br", "x"]),
        cut in 0_u64..3,
        missing in 0_u64..3,
        limit in 0_usize..40,
    ) {
        let mut headers = fields(&[("content-type", content_type)]);
        if !encoding.is_empty() {
            headers.push(b"content-encoding", encoding.as_bytes());
        }
        let body = Body { bytes: bytes.len() as u64 + cut + missing, captured: bytes.clone(), missing };
        let limits = Limits { decoded: 4096, lines: limit };
        let shown = show(&headers, &body, Redactor::new(false), limits);
        prop_assert!(shown.lines.len() <= limit);
        let mut length = 0;
        for line in &shown.lines {
            prop_assert!(line.text.chars().all(|character| character.width().unwrap_or(0) > 0), "{:?}", line);
            prop_assert_eq!(line.pieces.last().map_or(0, |piece| piece.end), line.text.len());
            prop_assert_eq!(line.pieces().map(|(_, text)| text).collect::<String>(), &*line.text);
            prop_assert!(line.pieces().all(|(_, text)| !text.is_empty()));
            length += line.text.len();
        }
        // A byte is at most 8 characters (a mark in hidden text, `\u{202e}`), and indentation has its bound.
        prop_assert!(length <= 4096 * 8 + bytes.len() * 8 + limit * 80, "{length}");
        for remark in &shown.remarks {
            prop_assert!(!remark.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn cut_json_is_the_beginning_of_the_whole(end in 0_usize..120) {
        let json = br#"{"id":"pi_1","amount":1999,"ok":true,"tags":[{"a":"b"},["c"]],"deep":{"list":[{"x":-1.5e3},null]}}     "#;
        let end = end.min(json.len());
        let whole = text("application/json", json);
        let cut = Body { bytes: 1_000, captured: json[..end].to_vec(), missing: 0 };
        let headers = fields(&[("content-type", "application/json")]);
        let shown = show(&headers, &cut, Redactor::new(false), Limits::default());
        // The last line may be a list that would have been short, had it been whole.
        let lines = lines(&shown);
        for (shown, whole) in lines.iter().zip(whole.lines()).take(lines.len().saturating_sub(3)) {
            prop_assert_eq!(*shown, whole);
        }
    }
}
