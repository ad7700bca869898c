mod corpus;
mod wrapped;

use proptest::prelude::*;

use super::*;

const HIDE: Redactor = Redactor::new(false).with_key(Some(MarkKey::new([7; 16])));
const SHOW: Redactor = HIDE.showing(true);

fn shown(secret: &str) -> String {
    String::from_utf8(HIDE.marker.mark(secret.as_bytes()).to_vec()).expect("ASCII")
}

#[track_caller]
fn header(name: &str, value: &str, expected: &str) {
    let text = |redactor: Redactor| String::from_utf8(redactor.header(name.as_bytes(), value.as_bytes()).into_owned());
    assert_eq!(text(HIDE).expect("UTF-8"), expected);
    assert_eq!(text(SHOW).expect("UTF-8"), value);
}

#[test]
fn headers() {
    header("Authorization", "Bearer abc.def", &format!("Bearer {}", shown("abc.def")));
    header("authorization", "abc", &shown("abc"));
    header("Proxy-Authorization", "Basic dXNlcg==", &format!("Basic {}", shown("dXNlcg==")));
    header("X-API-Key", "k", &shown("k"));
    header("X-Amz-Security-Token", "k", &shown("k"));
    header("x-csrf-token", "k", &shown("k"));
    for name in ["Token", "Password", "secret", "jwt", "X_AUTH_TOKEN", "api_key", "X-Session_ID", "Signature"] {
        header(name, "k", &shown("k"));
    }
    header("Cookie", "a=1; session=xyz;c", &format!("a={}; session={};{}", shown("1"), shown("xyz"), shown("c")));
    header("Set-Cookie", "id=7; Path=/; HttpOnly", &format!("id={}; Path=/; HttpOnly", shown("7")));
    header("Location", "https://h/cb?token=t&x=1#f", &format!("https://h/cb?token={}&x=1#f", shown("t")));
    for name in
        ["Host", "Content-Type", "Idempotency-Key", "Sec-WebSocket-Key", "Retry-After", "ETag", "Date", "", "key"]
    {
        header(name, "value=1", "value=1");
    }
}

#[test]
fn the_same_secret_has_the_same_mark_everywhere() {
    let mark = shown("s3cret word");
    assert_eq!(mark.len(), mark::MARK_LENGTH);
    assert!(HIDE.url("/?token=s3cret%20word").ends_with("***") || HIDE.url("/?token=s3cret%20word").contains("***"));
    assert!(String::from_utf8_lossy(&HIDE.header(b"authorization", b"Bearer s3cret word")).ends_with(&mark));
    assert!(String::from_utf8_lossy(&HIDE.body(None, br#"{"token":"s3cret word"}"#)).contains(&mark));
    assert!(String::from_utf8_lossy(&HIDE.body(None, br#"{"a":"{\"token\":\"s3cret word\"}"}"#)).contains(&mark));
    assert!(String::from_utf8_lossy(&HIDE.body(None, b"<Password>s3cret word</Password>")).contains(&mark));
}

#[test]
fn the_key_makes_the_digits_and_few_values_have_none() {
    let other = HIDE.with_key(Some(MarkKey::new([8; 16])));
    let text = "/?token=s3cret-word&pin=73914&cvv=123456789012";
    assert_ne!(HIDE.url(text), other.url(text));
    assert_eq!(HIDE.with_key(None).url(text), "/?token=***&pin=***&cvv=***");
    assert!(HIDE.url(text).ends_with("&pin=***&cvv=***"), "{}", HIDE.url(text));
    // By its name, whatever its value.
    assert_eq!(HIDE.url("/?otp=abcdefghijkl"), "/?otp=***");
    assert_eq!(HIDE.header(b"X-Pin", b"abcdefghijkl").as_ref(), b"***");
    assert_eq!(HIDE.header(b"Cookie", b"pin=abcdefghijkl").as_ref(), b"pin=***");
}

#[test]
fn no_text_takes_long() {
    // What makes a scan quadratic takes minutes at this length.
    let repeated = [
        "\"",
        "\"token\":",
        "token=",
        "code=",
        "//@",
        "a:b@",
        "//a:b/@",
        "<token>",
        "<",
        "\\",
        "%25",
        "[",
        "{\"token\":",
        "Content-Disposition: x\n",
        "Content-Disposition: x; name=token\n\n",
        "eyJ.",
        "-----BEGIN PRIVATE KEY-----",
        "&quot;",
        "<input name=token ",
        "4111 ",
        "token:\n",
        "token: |\n ",
        "\"token\"",
        "<![CDATA[",
        "key=",
        "bearer ",
        "=",
        ":",
        "{\"name\":\"token\",",
        "{\"value\":\"x\",",
        "[[\"token\",",
        "\\\"token\\\":\\\"",
        "<key>",
        "token = ",
        "'token': '",
    ];
    for piece in repeated {
        let text = piece.repeat((64 << 10) / piece.len());
        let started = std::time::Instant::now();
        HIDE.body(None, text.as_bytes());
        assert!(started.elapsed().as_secs() < 10, "{piece}: {:?}", started.elapsed());
    }
}

#[test]
fn nothing_becomes_much_longer() {
    let mut text = format!("{{\"token\":[{}1]}}", "1,".repeat(1000));
    for level in 0..8 {
        let masked = HIDE.body(None, text.as_bytes()).into_owned();
        assert!(masked.len() <= 6 * text.len() + 64, "{level}: {} became {}", text.len(), masked.len());
        if level < 6 {
            assert!(!String::from_utf8_lossy(&masked).contains("1,1"), "{level}");
        }
        // All of it is still one JSON text.
        serde_json::from_slice::<serde_json::Value>(&masked).unwrap_or_else(|error| panic!("{level}: {error}"));
        text = serde_json::json!({ "a": text }).to_string();
    }
}

#[test]
fn a_tag_without_an_end_hides_whole_characters_and_no_less() {
    for secret in ["s3cret-é", "s3cret-word", "s3cret-\u{fffd}"] {
        // Another tag begins; the tag is longer than what is looked at, by each number of bytes.
        let text = format!("<add key=\"token\" value={secret}<b>x</b>");
        let masked = String::from_utf8(HIDE.body(None, text.as_bytes()).into_owned()).expect("UTF-8");
        assert_eq!(masked, format!("<add key=\"token\" value={}<b>x</b>", shown(secret)));
    }
    for length in 8100..8220 {
        let text = format!(
            "<add key=\"token\" value='{}{}",
            "x".repeat(length - length / 4 * 4),
            "\u{fffd}".repeat(length / 3)
        );
        assert!(std::str::from_utf8(&HIDE.body(None, text.as_bytes())).is_ok(), "{length}");
    }
}

#[test]
fn urls() {
    let check = |url: &str, expected: &str| {
        assert_eq!(HIDE.url(url), expected);
        assert_eq!(SHOW.url(url), url);
    };
    let s = shown("s");
    check("/p?q=s", "/p?q=s");
    check("/p?key=s&q=1", &format!("/p?key={s}&q=1"));
    check("/p?a=1&Access-Token=s", &format!("/p?a=1&Access-Token={s}"));
    check("/p?%74oken=s#x", &format!("/p?%74oken={s}#x"));
    check("/p?X-Amz-Signature=s&X-Amz-Date=1", &format!("/p?X-Amz-Signature={s}&X-Amz-Date=1"));
    check("/p?user[password]=s", &format!("/p?user[password]={s}"));
    check("/p?pageToken=s&token=", "/p?pageToken=s&token=");
    check("/cb#access_token=s&x=1", &format!("/cb#access_token={s}&x=1"));
    check("http://u:p@h/p", &format!("http://{}@h/p", shown("u:p")));
    check("http://u@h:1/p?token=s", &format!("http://{}@h:1/p?token={s}", shown("u")));
    check("/a//b@c/token=s", &format!("/a//b@c/token={s}"));
    check("http://h/@x?mail=a@b", "http://h/@x?mail=a@b");
    check("/é?token=é&ü=1", &format!("/é?token={}&ü=1", shown("é")));
    assert_eq!(HIDE.authority("u:p@h:1"), format!("{}@h:1", shown("u:p")));
    assert_eq!(HIDE.authority("h:1"), "h:1");
}

#[track_caller]
fn body(content_type: Option<&str>, text: &str, expected: &str) {
    let masked = HIDE.body(content_type.map(str::as_bytes), text.as_bytes());
    assert_eq!(String::from_utf8(masked.into_owned()).expect("UTF-8"), expected);
    assert_eq!(SHOW.body(content_type.map(str::as_bytes), text.as_bytes()), text.as_bytes());
}

#[test]
fn json_bodies() {
    let s = shown("s");
    body(None, r#"{"a":1,"password":"s","b":2}"#, &format!(r#"{{"a":1,"password":"{s}","b":2}}"#));
    body(None, "{\"client_secret\" :\n \"s\"}", &format!("{{\"client_secret\" :\n \"{s}\"}}"));
    body(None, r#"{"cardNumber":4111}"#, &format!(r#"{{"cardNumber":"{}"}}"#, shown("4111")));
    body(None, r#"{"token":"a\"b\\","x":1}"#, &format!(r#"{{"token":"{}","x":1}}"#, shown(r#"a\"b\\"#)));
    body(
        None,
        r#"{"token":null,"secret":{"a":"s"},"pin":""}"#,
        &format!(r#"{{"token":null,"secret":{{"a":"{s}"}},"pin":""}}"#),
    );
    body(None, r#"{"token":"cut off in the mid"#, &format!(r#"{{"token":"{}"#, shown("cut off in the mid")));
    body(None, r#"{"key":"s","tokens":7,"url":"http://h"}"#, r#"{"key":"s","tokens":7,"url":"http://h"}"#);
    body(
        Some("application/json"),
        r#"{"inner":"{\"token\":\"s\",\"a\":1}","pwd":"s"}"#,
        &format!(r#"{{"inner":"{{\"token\":\"{s}\",\"a\":1}}","pwd":"{s}"}}"#),
    );
    body(Some("image/png"), r#"{"token":"s"}"#, &format!(r#"{{"token":"{s}"}}"#));
}

#[test]
fn form_bodies() {
    let form = Some("Application/X-WWW-Form-Urlencoded; charset=utf-8");
    body(form, "user=me&password=s&x=1", &format!("user=me&password={}&x=1", shown("s")));
    body(
        form,
        "grant_type=refresh_token&refresh_token=s",
        &format!("grant_type=refresh_token&refresh_token={}", shown("s")),
    );
    body(form, "key=s", "key=s");
    // Without a type, what looks like a form is one.
    body(None, "user=me&password=s", &format!("user=me&password={}", shown("s")));
    body(Some("text/plain"), "let password=s", &format!("let password={}", shown("s")));
}

#[test]
fn multipart_bodies() {
    let multipart = Some("multipart/form-data; boundary=X");
    let part =
        |name: &str, value: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let whole = |secret: &str| format!("{}{}{}--X--\r\n", part("user", "me"), part("password", secret), part("x", "1"));
    body(multipart, &whole("s"), &whole(&shown("s")));
    for secret in ["s\r\n-- t", "s--Xt", "s--X\r\n", "s\r\n--Xt"] {
        body(multipart, &whole(secret), &whole(&shown(secret)));
    }
    // Cut off in the secret; a secret file; JSON in a part.
    body(multipart, &part("token", "sec")[..56], &format!("{}{}", &part("token", "")[..53], shown("sec")));
    let file =
        "--X\r\ncontent-disposition: form-data; filename=\"a\"; name=client_secret\r\nContent-Type: text/plain\r\n\r\n";
    body(multipart, &format!("{file}s\r\n--X--"), &format!("{file}{}\r\n--X--", shown("s")));
    body(multipart, &part("a", r#"{"token":"s"}"#), &part("a", &format!(r#"{{"token":"{}"}}"#, shown("s"))));
    body(Some("multipart/mixed"), "no boundary", "no boundary");
}

/// What texts with secrets are made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\\"",
    "\\",
    "=",
    "&",
    ";",
    "?",
    "#",
    "@",
    "//",
    "/",
    "%22",
    "%3D",
    "%25",
    "<",
    ">",
    "</",
    "/>",
    "'",
    " ",
    "\n",
    "\r\n",
    "--X",
    "token",
    "password",
    "pin",
    "code",
    "name",
    "value",
    "key",
    "12",
    "4242424242424242",
    "eyJhbGciOiJIUzI1NiJ9.abcdef.x",
    "-----BEGIN PRIVATE KEY-----",
    "-----END",
    "Content-Disposition: form-data; name=\"token\"\r\n\r\n",
    "Bearer abcd1234",
    "&quot;",
    "é",
    "\\u0074oken",
    "grant_type",
    "|",
    "-",
    "<![CDATA[",
    "]]>",
    "input",
    "***",
    "u:p@h",
    "http:",
    "\\/",
];

proptest! {
    #[test]
    fn any_bytes_are_harmless(name in prop::collection::vec(any::<u8>(), 0..20), value in prop::collection::vec(any::<u8>(), 0..200)) {
        HIDE.header(&name, &value);
        HIDE.body(Some(b"application/x-www-form-urlencoded"), &value);
        HIDE.body(None, &value);
        HIDE.body(Some(b"multipart/form-data; boundary=a"), &value);
        HIDE.url(&String::from_utf8_lossy(&value));
    }

    #[test]
    fn masked_texts_are_bounded_and_stay_masked(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
        form in any::<bool>(),
    ) {
        let text = pieces.concat();
        let content_type = form.then_some(&b"application/x-www-form-urlencoded"[..]);
        let once = HIDE.body(content_type, text.as_bytes()).into_owned();
        prop_assert!(once.len() <= 3 * text.len() + 16);
        prop_assert!(std::str::from_utf8(&once).is_ok());
        // A mark may be the end of a name that was none before, so a second time may hide more, but then it is enough.
        let twice = HIDE.body(content_type, &once).into_owned();
        prop_assert!(twice.len() <= 3 * once.len() + 16);
        HIDE.url(&text);
        HIDE.header(text.as_bytes(), text.as_bytes());
        HIDE.header(b"set-cookie", text.as_bytes());
        HIDE.header(b"host", text.as_bytes());
        HIDE.header(b"sec-websocket-protocol", text.as_bytes());
    }

    #[test]
    fn what_looks_like_json_is_harmless(text in r#"([{}:," \\]|"token"|"pin"|\\"token\\"|12|é){0,40}"#) {
        let masked = HIDE.body(None, text.as_bytes()).into_owned();
        prop_assert!(String::from_utf8(masked).is_ok());
    }

    #[test]
    fn json_stays_json_and_loses_its_secrets(secret in "[^*]{8,30}x", other in "[a-z]{0,10}") {
        let text = serde_json::json!({ "a": [{ "access_token": secret, "x": other }], "password": secret }).to_string();
        let masked = HIDE.body(None, text.as_bytes()).into_owned();
        let parsed: serde_json::Value = serde_json::from_slice(&masked).expect("JSON");
        prop_assert_eq!(&parsed["a"][0]["x"], &serde_json::Value::from(other));
        prop_assert_eq!(&parsed["a"][0]["access_token"], &parsed["password"]);
        prop_assert!(parsed["password"].as_str().is_some_and(|mark| mark.starts_with("***") && mark.len() <= mark::MARK_LENGTH));
    }
}
