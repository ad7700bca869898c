//! A secret in a place that is well formed, with anything of the sender's choice around it.

use std::fmt::Write as _;

use pidtap::text::redact::Redactor;

/// Random enough for no other rule than that of its place, and no word.
const SECRET: &str = "zq7-Uncommon.Value";
/// Part of the secret that must not remain in the masked text.
const PART: &str = "Uncommon";
/// Longest text around it: a longer one may use up the work that is spent on texts in texts.
const MOST: usize = 4096;

/// Plants the secret with `noise` around it, by a number that says where.
///
/// # Panics
///
/// When the masked text still contains the secret.
pub fn check(place: u8, noise: &[u8], redactor: Redactor) {
    let noise = String::from_utf8_lossy(&noise[..noise.len().min(MOST)]).into_owned();
    if noise.contains(PART) {
        return;
    }
    let body = |kind: Option<&str>, text: &str| redactor.body(kind.map(str::as_bytes), text.as_bytes()).into_owned();
    let line = noise.replace(['\n', '\r'], " ");
    let (text, masked) = match place % 16 {
        0 => {
            let text = format!("/p?a={0}&token={SECRET}&b={0}", percent(&noise));
            let masked = redactor.url(&text).into_owned().into_bytes();
            (text, masked)
        }
        1 => {
            let text = format!(r#"{{"a":"{0}","password":"{SECRET}","b":"{0}"}}"#, json(&noise));
            let masked = body(Some("application/json"), &text);
            (text, masked)
        }
        2 => {
            let text = format!("a={0}&password={SECRET}&b={0}", percent(&noise));
            let masked = body(Some("application/x-www-form-urlencoded"), &text);
            (text, masked)
        }
        3 => {
            let text = format!("a={}; session={SECRET}", line.replace(';', ","));
            let masked = redactor.header(b"Cookie", text.as_bytes()).into_owned();
            (text, masked)
        }
        4 => {
            let text = format!("<r><a>{}</a><Password>{SECRET}</Password></r>", markup(&noise));
            let masked = body(Some("text/xml"), &text);
            (text, masked)
        }
        5 => {
            let text = format!("{noise}\npassword: {SECRET}\n");
            let masked = body(None, &text);
            (text, masked)
        }
        6 => {
            let field = "Content-Disposition: form-data; name=";
            let noise = noise.replace("--X", "");
            let text =
                format!("--X\r\n{field}\"a\"\r\n\r\n{noise}\r\n--X\r\n{field}\"token\"\r\n\r\n{SECRET}\r\n--X--\r\n");
            let masked = body(Some("multipart/form-data; boundary=X"), &text);
            (text, masked)
        }
        7 => {
            let text = format!("{noise}\n{{\"password\":\"{SECRET}\"}}");
            let masked = body(None, &text);
            (text, masked)
        }
        8 => {
            let text = format!("{line} Bearer {SECRET}");
            let masked = redactor.header(b"X-Any", text.as_bytes()).into_owned();
            (text, masked)
        }
        9 => {
            let text = format!("{line} https://user:{SECRET}@host/{line}");
            let masked = redactor.text(&text).into_owned().into_bytes();
            (text, masked)
        }
        10 => {
            let text = format!(r#"{{"a":"{}","u":"https://h/?token={SECRET}&a=1"}}"#, json(&noise));
            let masked = body(None, &text);
            (text, masked)
        }
        11 => {
            let text = format!("{line} eyJhbGciOiJIUzI1NiJ9.eyJ4Ijoi{PART}In0.abcdef {line}");
            let masked = redactor.text(&text).into_owned().into_bytes();
            (text, masked)
        }
        12 => {
            let inner = format!(r#"{{"a":"{}","password":"{SECRET}"}}"#, json(&noise));
            let text = format!(r#"{{"inner":"{}"}}"#, json(&inner));
            let masked = body(None, &text);
            (text, masked)
        }
        13 => {
            let text = format!(r#"{{"a":"{}","credentials":{{"x":["{SECRET}"]}}}}"#, json(&noise));
            let masked = body(None, &text);
            (text, masked)
        }
        14 => {
            let text = format!("{line}\n-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
            let masked = body(None, &text);
            (text, masked)
        }
        _ => {
            let text = format!("/p?next={}", percent(&format!("http://h/q?a={}&token={SECRET}", percent(&noise))));
            let masked = redactor.url(&text).into_owned().into_bytes();
            (text, masked)
        }
    };
    let masked = String::from_utf8(masked).expect("UTF-8 stays UTF-8");
    assert!(!masked.contains(PART), "{text:?}\nbecame\n{masked:?}");
}

/// As the value of a parameter.
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

/// As the content of a JSON string.
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

/// As the content of an element.
fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
