//! A secret in a well-formed place, with arbitrary text of the sender around it.

use std::fmt::Write as _;

use pidtap::text::redact::Redactor;

/// No word, and not random enough for a rule that looks at randomness: only the rule of its place masks it.
const SECRET: &str = "zq7-Uncommon.Value";
/// Part of the secret that must not remain in the masked text.
const PART: &str = "Uncommon";
/// Longest text around it: a longer one may exhaust the budget for texts within texts.
const MOST: usize = 4096;

/// The function of the redactor that masks a text.
enum Kind {
    Url,
    /// The value of a field of this name.
    Field(&'static str),
    Text,
    /// A body, with its media type where it has one.
    Body(Option<&'static str>),
}

/// Plants the secret in the place of this number, with `noise` around it.
///
/// # Panics
///
/// The masked text still contains the secret.
pub fn check(place: u8, noise: &[u8], redactor: Redactor) {
    let noise = String::from_utf8_lossy(&noise[..noise.len().min(MOST)]).into_owned();
    if noise.contains(PART) {
        return;
    }
    let (kind, text) = planted(place, &noise);
    let masked = match kind {
        Kind::Url => redactor.url(&text).into_owned().into_bytes(),
        Kind::Field(name) => redactor.header(name.as_bytes(), text.as_bytes()).into_owned(),
        Kind::Text => redactor.text(&text).into_owned().into_bytes(),
        Kind::Body(media_type) => redactor.body(media_type.map(str::as_bytes), text.as_bytes()).into_owned(),
    };
    let masked = String::from_utf8(masked).expect("UTF-8 stays UTF-8");
    assert!(!masked.contains(PART), "{text:?}\nbecame\n{masked:?}");
}

fn planted(place: u8, noise: &str) -> (Kind, String) {
    let line = noise.replace(['\n', '\r'], " ");
    match place % 16 {
        0 => (Kind::Url, format!("/p?a={0}&token={SECRET}&b={0}", percent(noise))),
        1 => {
            let text = format!(r#"{{"a":"{0}","password":"{SECRET}","b":"{0}"}}"#, json(noise));
            (Kind::Body(Some("application/json")), text)
        }
        2 => {
            let text = format!("a={0}&password={SECRET}&b={0}", percent(noise));
            (Kind::Body(Some("application/x-www-form-urlencoded")), text)
        }
        3 => (Kind::Field("Cookie"), format!("a={}; session={SECRET}", line.replace(';', ","))),
        4 => {
            let text = format!("<r><a>{}</a><Password>{SECRET}</Password></r>", markup(noise));
            (Kind::Body(Some("text/xml")), text)
        }
        5 => (Kind::Body(None), format!("{noise}\npassword: {SECRET}\n")),
        6 => {
            let field = "Content-Disposition: form-data; name=";
            let noise = noise.replace("--X", "");
            let text =
                format!("--X\r\n{field}\"a\"\r\n\r\n{noise}\r\n--X\r\n{field}\"token\"\r\n\r\n{SECRET}\r\n--X--\r\n");
            (Kind::Body(Some("multipart/form-data; boundary=X")), text)
        }
        7 => (Kind::Body(None), format!("{noise}\n{{\"password\":\"{SECRET}\"}}")),
        8 => (Kind::Field("X-Any"), format!("{line} Bearer {SECRET}")),
        9 => (Kind::Text, format!("{line} https://user:{SECRET}@host/{line}")),
        10 => (Kind::Body(None), format!(r#"{{"a":"{}","u":"https://h/?token={SECRET}&a=1"}}"#, json(noise))),
        11 => (Kind::Text, format!("{line} eyJhbGciOiJIUzI1NiJ9.eyJ4Ijoi{PART}In0.abcdef {line}")),
        12 => {
            let inner = format!(r#"{{"a":"{}","password":"{SECRET}"}}"#, json(noise));
            (Kind::Body(None), format!(r#"{{"inner":"{}"}}"#, json(&inner)))
        }
        13 => (Kind::Body(None), format!(r#"{{"a":"{}","credentials":{{"x":["{SECRET}"]}}}}"#, json(noise))),
        14 => {
            let key = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----");
            (Kind::Body(None), format!("{line}\n{key}\n"))
        }
        _ => {
            let next = format!("http://h/q?a={}&token={SECRET}", percent(noise));
            (Kind::Url, format!("/p?next={}", percent(&next)))
        }
    }
}

/// Encodes the value of a parameter.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
    out
}

/// Encodes the content of a JSON string.
fn json(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\0'..' ' => write!(out, "\\u{:04x}", u32::from(character)).expect("a String takes everything"),
            _ => out.push(character),
        }
    }
    out
}

/// Encodes the content of an element.
fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
