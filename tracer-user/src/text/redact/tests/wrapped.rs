//! Secrets in texts in texts, put together at random.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::HIDE;

const NAMES: [&str; 12] = [
    "password",
    "access_token",
    "clientSecret",
    "user[pass]",
    "token[0]",
    "api_key",
    "session_id",
    "pin",
    "PHPSESSID",
    "X-Api-Key",
    "credentials",
    "auth",
];
const SECRET: &str = "secretval7zq";
/// Levels that the scan goes into: more than people write.
const LEVELS: usize = 5;

fn with_secret(kind: usize, name: &str) -> String {
    let element: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    match kind {
        0 => serde_json::json!({ "a": 1, name: SECRET, "b": [1, 2] }).to_string(),
        1 => serde_json::json!({ name: { "x": [SECRET, { "y": SECRET }] } }).to_string(),
        2 => format!("a=1&{name}={SECRET}&b=2"),
        3 => format!("https://user:{SECRET}@host/p?x=1"),
        4 => format!("/p?a=b&{name}={SECRET}"),
        5 => serde_json::json!([{ "name": name, "value": SECRET }]).to_string(),
        6 => format!("<r><{element}>{SECRET}</{element}><b>1</b></r>"),
        7 => format!("Authorization: Bearer {SECRET}"),
        _ => format!("user: bob\n{name}: {SECRET}\nhost: h\n"),
    }
}

fn encoded(text: &str, blank: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push_str(blank),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => {
                // A String takes everything.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn wrap(kind: usize, text: &str) -> String {
    match kind {
        0 => serde_json::json!({ "payload": text, "n": 1 }).to_string(),
        1 => serde_json::json!(["x", text]).to_string(),
        2 => format!("q={}&z=1", encoded(text, "+")),
        3 => format!("https://h/cb?next={}", encoded(text, "%20")),
        4 => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            format!("<a>{text}</a>")
        }
        5 => format!("--B\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{text}\r\n--B--\r\n"),
        6 => serde_json::json!({ "log": format!("got {text} now") }).to_string(),
        _ => format!("data: {}\n\n", serde_json::json!({ "t": text })),
    }
}

proptest! {
    #[test]
    fn secrets_are_found_however_they_are_wrapped(
        kind in 0..9_usize,
        name in prop::sample::select(&NAMES[..]),
        wraps in prop::collection::vec(0..8_usize, 0..=LEVELS),
    ) {
        let text = wraps.iter().fold(with_secret(kind, name), |text, kind| wrap(*kind, &text));
        let masked = HIDE.body(None, text.as_bytes());
        let masked = std::str::from_utf8(&masked).expect("UTF-8");
        prop_assert!(!masked.contains(SECRET), "{text}\n{masked}");
        if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(masked).is_ok(), "{masked}");
        }
    }
}
