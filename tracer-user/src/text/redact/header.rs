//! Values of header and trailer fields.

use memchr::{memchr, memrchr};

use super::{
    mark::Marker,
    name::{self, Verdict},
};

/// Treatment of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Search the value for secrets.
    Any,
    /// Mask the complete value.
    Secret,
    /// Mask the complete value, which has few possible values.
    Few,
    /// Mask the value after the scheme.
    Credentials,
    /// Challenge of a server, which contains tokens of Kerberos and NTLM.
    Challenge,
    /// `Cookie`.
    Cookie,
    /// `Set-Cookie`.
    SetCookie,
    /// An authority, or several.
    Authority,
    /// Names of protocols, which contain tokens of browsers: a WebSocket of a browser has no other field for them.
    Protocols,
    /// Mask the value if it looks like a secret, as the name alone does not decide.
    Perhaps(Verdict),
}

/// Fields that the lists of words do not cover.
const KNOWN: [(&str, Field); 29] = [
    ("dpop", Field::Secret),
    ("cookie", Field::Cookie),
    ("cookie2", Field::Cookie),
    ("set-cookie", Field::SetCookie),
    ("set-cookie2", Field::SetCookie),
    ("host", Field::Authority),
    (":authority", Field::Authority),
    ("x-forwarded-host", Field::Authority),
    ("x-forwarded-server", Field::Authority),
    ("x-original-host", Field::Authority),
    ("x-host", Field::Authority),
    ("sec-websocket-protocol", Field::Protocols),
    ("authentication", Field::Credentials),
    ("x-authentication", Field::Credentials),
    ("www-authenticate", Field::Challenge),
    ("proxy-authenticate", Field::Challenge),
    ("authentication-info", Field::Secret),
    ("proxy-authentication-info", Field::Secret),
    ("x-ms-client-principal", Field::Secret),
    ("fastly-key", Field::Secret),
    ("x-insert-key", Field::Secret),
    ("x-query-key", Field::Secret),
    ("x-mashape-key", Field::Secret),
    ("x-appwrite-key", Field::Secret),
    ("x-gotify-key", Field::Secret),
    ("x-honeycomb-team", Field::Secret),
    ("jenkins-crumb", Field::Secret),
    ("crumb", Field::Secret),
    // Its only value is `no-check`.
    ("x-atlassian-token", Field::Any),
];

/// Fields of authentication proxies that carry what the user's token says.
const CLAIMS: [&str; 3] = ["x-endpoint-api-userinfo", "x-apigateway-api-userinfo", "x-userinfo"];

/// Treatment of a field by its name, ignoring case.
pub(super) fn of(name: &[u8]) -> Field {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if let Some((_, field)) = KNOWN.iter().find(|(known, _)| is(known)) {
        return *field;
    }
    if CLAIMS.iter().any(|known| is(known)) || is_authentication(name) {
        return Field::Secret;
    }
    match name::judge(name) {
        Verdict::Plain if is_some_key(name) => Field::Perhaps(Verdict::Key),
        Verdict::Plain | Verdict::KeyMember => Field::Any,
        Verdict::Few => Field::Few,
        Verdict::Secret if is_about_credentials(name) => Field::Credentials,
        Verdict::Secret => Field::Secret,
        verdict @ (Verdict::Several | Verdict::Code | Verdict::Ticket | Verdict::Key) => Field::Perhaps(verdict),
    }
}

/// `X-Auth`, `X-Auth-Anything`.
fn is_authentication(name: &[u8]) -> bool {
    let dash = |byte: Option<&u8>| matches!(byte, Some(b'-' | b'_'));
    name.get(2..6).is_some_and(|auth| auth.eq_ignore_ascii_case(b"auth"))
        && name[0].eq_ignore_ascii_case(&b'x')
        && dash(name.get(1))
        && (name.len() == 6 || dash(name.get(6)))
}

/// `X-Anything-Key`, but for what names things.
fn is_some_key(name: &[u8]) -> bool {
    const NAMING: [&str; 8] =
        ["cache", "idempotency", "surrogate", "public", "request", "routing", "partition", "sort"];
    let has = |part: &[u8], word: &str| part.eq_ignore_ascii_case(word.as_bytes());
    let Some(middle) = name.len().checked_sub(4).filter(|end| *end > 2).map(|end| &name[2..end]) else { return false };
    has(&name[..2], "x-")
        && has(&name[name.len() - 4..], "-key")
        && !middle.split(|byte| *byte == b'-').any(|part| NAMING.iter().any(|word| has(part, word)))
}

fn is_about_credentials(name: &[u8]) -> bool {
    const END: &[u8] = b"authorization";
    name.len() >= END.len() && name[name.len() - END.len()..].eq_ignore_ascii_case(END)
}

/// Schemes of authentication, those of the registry of RFC 9110 section 16.4.1 and what is used besides. Another first word
/// may be the beginning of a secret.
const SCHEMES: [&str; 34] = [
    "basic",
    "bearer",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "apikey",
    "api-key",
    "hmac",
    "aws4-hmac-sha256",
    "aws",
    "oauth",
    "mac",
    "hoba",
    "mutual",
    "scram-sha-1",
    "scram-sha-256",
    "vapid",
    "dpop",
    "gnap",
    "signature",
    "jwt",
    "key",
    "splunk",
    "sso-key",
    "hawk",
    "bot",
    "geniekey",
    "sharedkey",
    "sharedaccesssignature",
    "concealed",
    "privatetoken",
    "kerberos",
    "saml",
];

/// `Basic xyz`: the scheme stays.
pub(super) fn credentials(value: &[u8], marker: Marker) -> Vec<u8> {
    let scheme = memchr(b' ', value)
        .filter(|space| SCHEMES.iter().any(|scheme| value[..*space].eq_ignore_ascii_case(scheme.as_bytes())))
        .map_or(0, |space| space + 1);
    let blanks = value[scheme..].len() - value[scheme..].trim_ascii_start().len();
    let (scheme, secret) = value.split_at(scheme + blanks);
    [scheme, &marker.mark(secret)].concat()
}

/// `Negotiate xyz`; parameters (`realm="x"`) stay.
pub(super) fn challenge(value: &[u8], marker: Marker) -> Option<Vec<u8>> {
    let space = memchr(b' ', value)?;
    let token = value[space..].trim_ascii();
    let is_token = token.len() >= 16
        && token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte))
        && memchr(b'=', token.trim_ascii_end()).is_none_or(|at| token[at..].iter().all(|byte| *byte == b'='));
    is_token.then(|| [&value[..=space], &marker.mark(token)].concat())
}

/// `a=1; b=2`: the names stay.
pub(super) fn cookies(value: &[u8], marker: Marker) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (index, cookie) in value.split(|&byte| byte == b';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        let secret = memchr(b'=', cookie).map_or(0, |equals| equals + 1);
        let secret = if secret == 0 { cookie.len() - cookie.trim_ascii_start().len() } else { secret };
        out.extend_from_slice(&cookie[..secret]);
        if secret < cookie.len() {
            let few = matches!(name::judge(cookie[..secret].trim_ascii_end()), Verdict::Few);
            out.extend_from_slice(&if few { Marker::default() } else { marker }.mark(&cookie[secret..]));
        }
    }
    out
}

/// Attributes that are no cookie (RFC 6265 section 4.1.1, and what came later).
const ATTRIBUTES: [&str; 12] = [
    "path",
    "domain",
    "expires",
    "max-age",
    "secure",
    "httponly",
    "samesite",
    "partitioned",
    "priority",
    "version",
    "comment",
    "sameparty",
];

/// `a=1; Path=/`: the name and the known attributes stay. Several cookies in one field, as some programs join them with a
/// comma, are cookies each.
pub(super) fn set_cookie(value: &[u8], marker: Marker) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (index, part) in value.split(|&byte| byte == b';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        let name = part[..memchr(b'=', part).unwrap_or(part.len())].trim_ascii();
        let is_attribute = index > 0
            && (name.is_empty() || ATTRIBUTES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())));
        if !is_attribute {
            out.extend_from_slice(&cookies(part, marker));
            continue;
        }
        let equals = memchr(b'=', part).unwrap_or(part.len());
        let another = memchr(b',', &part[equals..])
            .map(|comma| equals + comma + 1)
            .filter(|comma| memchr(b'=', &part[*comma..]).is_some());
        let (attribute, cookie) = part.split_at(another.unwrap_or(part.len()));
        out.extend_from_slice(attribute);
        out.extend_from_slice(&cookies(cookie, marker));
    }
    out
}

/// `user:password@host`, also in a list.
pub(super) fn authorities(value: &[u8], marker: Marker) -> Option<Vec<u8>> {
    memrchr(b'@', value)?;
    let mut out = Vec::with_capacity(value.len());
    for (index, authority) in value.split(|&byte| byte == b',').enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match memrchr(b'@', authority) {
            Some(at) => {
                let start = authority.len() - authority.trim_ascii_start().len();
                out.extend_from_slice(&authority[..start.min(at)]);
                out.extend_from_slice(&marker.mark(&authority[start.min(at)..at]));
                out.extend_from_slice(&authority[at..]);
            }
            // Part of a password with a comma in it.
            None if index == 0 && memchr(b'@', value).is_some() && memchr(b':', authority).is_some() => {
                out.extend_from_slice(&marker.mark(authority));
            }
            None => out.extend_from_slice(authority),
        }
    }
    Some(out)
}

/// `graphql-ws, secret`: what is no plain name is hidden, and what follows one that is_sign a token.
pub(super) fn protocols(value: &[u8], marker: Marker) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut announced = false;
    let mut hidden = false;
    for (index, item) in value.split(|&byte| byte == b',').enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let name = item.trim_ascii();
        let blanks = item.len() - item.trim_ascii_start().len();
        let is_sign = name::judge(name) != Verdict::Plain || matches!(name, b"auth" | b"Auth" | b"basic" | b"Basic");
        let is_short = name.len() <= 14 && name.iter().all(|byte| byte.is_ascii_alphabetic() || b"_-".contains(byte));
        if !name.is_empty() && (announced || !is_protocol(name) || is_sign && !is_short) {
            out.extend_from_slice(&item[..blanks]);
            out.extend_from_slice(&marker.mark(name));
            hidden = true;
        } else {
            out.extend_from_slice(item);
        }
        announced = is_sign && is_short;
    }
    hidden.then_some(out)
}

/// Words of small letters, each with a short version behind it: `v12.stomp`, `ocpp2.0.1`, `graphql-transport-ws`.
fn is_protocol(name: &[u8]) -> bool {
    let is_word = |word: &[u8]| {
        let letters = word.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        let rest = &word[letters..];
        letters <= 16 && rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit) || word == b"k8s"
    };
    let are_words = name.split(|byte| b".-_/+:".contains(byte)).all(is_word);
    name.len() <= 40 && (are_words || ["MQTT", "SOAP", "Bearer"].iter().any(|known| name == known.as_bytes()))
}
