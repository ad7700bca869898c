//! Which names stand for secrets.

/// Names that are longer are compared by their end.
pub(super) const MAX_LENGTH: usize = 64;

/// Where a name stands: what is a secret in a URL may be a plain word in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Name of a query parameter.
    Query,
    /// Name of a form field.
    Form,
    /// Key in JSON.
    Key,
}

/// How a header is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Nothing to hide.
    Plain,
    /// All of it is secret.
    Secret,
    /// A scheme, then the secret.
    Credentials,
    /// `Cookie`.
    Cookie,
    /// `Set-Cookie`.
    SetCookie,
    /// A URL, which may have secrets in it.
    Url,
}

const HEADERS: [(&str, Header); 13] = [
    ("cookie", Header::Cookie),
    ("cookie2", Header::Cookie),
    ("set-cookie", Header::SetCookie),
    ("set-cookie2", Header::SetCookie),
    ("location", Header::Url),
    ("content-location", Header::Url),
    ("referer", Header::Url),
    ("link", Header::Url),
    ("refresh", Header::Url),
    ("x-original-url", Header::Url),
    ("x-original-uri", Header::Url),
    ("x-forwarded-uri", Header::Url),
    ("x-rewrite-url", Header::Url),
];

/// Ends of header names whose values are secret: also `X-Amz-Security-Token`, `X-Goog-Api-Key`, `Private-Token`.
const HEADER_ENDS: [&str; 12] = [
    "token",
    "secret",
    "password",
    "jwt",
    "signature",
    "api-key",
    "apikey",
    "auth-key",
    "access-key",
    "functions-key",
    "subscription-key",
    "session-id",
];

/// By the header's name, case ignored.
pub(super) fn of_header(name: &[u8]) -> Header {
    // The last two letters sort out most names of ordinary traffic with one look.
    let &[.., first, last] = name else { return Header::Plain };
    let (b"ie" | b"e2" | b"on" | b"er" | b"nk" | b"sh" | b"rl" | b"ri" | b"en" | b"et" | b"rd" | b"wt" | b"re" | b"ey"
    | b"id") = &[first.to_ascii_lowercase(), last.to_ascii_lowercase()]
    else {
        return Header::Plain;
    };
    if let Some((_, header)) = HEADERS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())) {
        return *header;
    }
    if ends_with(name, "authorization") {
        return Header::Credentials;
    }
    if HEADER_ENDS.iter().any(|end| ends_with(name, end)) { Header::Secret } else { Header::Plain }
}

/// `_` is taken for `-`.
fn ends_with(name: &[u8], end: &str) -> bool {
    let same = |(byte, end): (&u8, u8)| byte.eq_ignore_ascii_case(&end) || *byte == b'_' && end == b'-';
    name.len().checked_sub(end.len()).is_some_and(|start| name[start..].iter().zip(end.bytes()).all(same))
}

/// Secret everywhere, as the end of a name: `access_token`, `newPassword`, `X-Amz-Signature`.
const ENDS: [&str; 14] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signature",
    "jwt",
    "cardnumber",
    "sessionid",
    "clientassertion",
];
/// Secret everywhere, as a whole name.
const WHOLE: [&str; 12] = [
    "pwd",
    "pass",
    "pin",
    "otp",
    "cvv",
    "cvv2",
    "cvc",
    "cvc2",
    "securitycode",
    "authorization",
    "samlresponse",
    "xamzcredential",
];
/// Secret in a URL only.
const IN_QUERY: [&str; 4] = ["key", "sig", "auth", "session"];
/// Card numbers in payment documents.
const IN_BODY: [&str; 2] = ["pan", "ssn"];
/// These end in `token`, but tell where a list goes on.
const CURSORS: [&str; 6] = ["pagetoken", "nexttoken", "nextpagetoken", "continuationtoken", "synctoken", "pagingtoken"];

/// Whether the value under this name is to be hidden. Case, `-`, `_`, `.` and percent-encoding are seen through.
pub(super) fn is_secret(name: &[u8], place: Place) -> bool {
    // All that is compared below ends in one of these, but for what percent-encoding hides.
    let &[.., first, last] = name else { return false };
    match &[first.to_ascii_lowercase(), last.to_ascii_lowercase()] {
        b"en" | b"rd" | b"wd" | b"se" | b"et" | b"ey" | b"re" | b"wt" | b"er" | b"id" | b"on" | b"ss" | b"in"
        | b"tp" | b"vv" | b"v2" | b"vc" | b"c2" | b"de" | b"al" | b"ig" | b"th" | b"an" | b"sn" => {}
        _ if last == b']' || place != Place::Key && name.contains(&b'%') => {}
        _ => return false,
    }
    let mut buffer = [0; MAX_LENGTH];
    let name = normalize(&name[name.len().saturating_sub(MAX_LENGTH)..], &mut buffer);
    let ends = |list: &[&str]| list.iter().any(|end| name.ends_with(end.as_bytes()));
    let whole = |list: &[&str]| list.iter().any(|word| name == word.as_bytes());
    if ends(&ENDS) {
        return !whole(&CURSORS);
    }
    whole(&WHOLE) || if place == Place::Query { whole(&IN_QUERY) } else { whole(&IN_BODY) }
}

/// Lower case without separators; `%41` becomes `a`. Not longer than `name`.
fn normalize<'a>(name: &[u8], buffer: &'a mut [u8; MAX_LENGTH]) -> &'a [u8] {
    let mut length = 0;
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, tail),
                _ => (b'%', &rest[1..]),
            },
            _ => (*first, tail),
        };
        rest = tail;
        if !matches!(byte, b'-' | b'_' | b'.' | b' ' | b'[' | b']') {
            buffer[length] = byte.to_ascii_lowercase();
            length += 1;
        }
    }
    &buffer[..length]
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_look_lets_all_names_through() {
        for name in ENDS.iter().chain(&WHOLE).chain(&IN_QUERY).chain(&IN_BODY) {
            let place = if IN_QUERY.contains(name) { Place::Query } else { Place::Key };
            assert!(is_secret(name.as_bytes(), place), "{name}");
            assert!(is_secret(name.to_ascii_uppercase().as_bytes(), place), "{name}");
        }
        for (name, header) in HEADERS {
            assert_eq!(of_header(name.as_bytes()), header);
        }
        for end in HEADER_ENDS {
            assert_eq!(of_header(format!("X-{end}").as_bytes()), Header::Secret);
        }
        assert_eq!(of_header(b"Authorization"), Header::Credentials);
    }
}
