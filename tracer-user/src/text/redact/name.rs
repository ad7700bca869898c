//! Names of secrets: one list for queries, forms, cookies, JSON, headers, trailers and gRPC metadata.
//!
//! A name is judged by its words, not as a whole: what is about a secret is found (`user_password_confirmation`), and what
//! only sounds like one is not (`tokenizer`, `passenger`). A word behind it may say that it is about the secret, and not
//! the secret itself (`token_type`, `password_length`).

use super::{
    list::{ABOUT, ABOUT_NEXT, CODES, COUNTED, CURSORS, ITSELF, KEYS, PASSWORDS, SESSIONS, TICKETS, WHOLE},
    word::Words,
};

/// Verdict on a name about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The value is no secret.
    Plain,
    /// The value is a secret.
    Secret,
    /// The value is a secret with so few possible values that its mark has no digits.
    Few,
    /// The value is a secret unless it is a number, which is a count.
    Several,
    /// `code`: of OAuth, or of an error, a country, a coupon.
    Code,
    /// `ticket`: of a login, or of somebody who needs help.
    Ticket,
    /// `key`: a secret in many queries, and the place of a value elsewhere.
    Key,
    /// A member of a JSON Web Key (RFC 7518 section 6) that is private, if it is one.
    KeyMember,
}

fn is_one(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|known| word == known.as_bytes())
}

fn ends(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|end| word.ends_with(end.as_bytes()))
}

fn contains(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|part| memchr::memmem::find(word, part.as_bytes()).is_some())
}

/// Whether the last word of a name means a fact about a secret, not the secret.
pub(super) fn is_about(name: &[u8]) -> bool {
    let words = Words::of(name);
    words.len() > 0 && is_one(words.get(words.len() - 1), ABOUT) || is_one(words.joined(), &["exp", "iat", "nbf"])
}

/// Trigrams: every name of a secret contains one, and nearly all other names contain none.
const LETTERS: &[&[u8; 3]] = &[
    b"pas", b"tok", b"ecr", b"red", b"jwt", b"jws", b"jwe", b"ear", b"aut", b"hma", b"nem", b"dsn", b"wre", b"dpo",
    b"aml", b"sse", b"cry", b"otp", b"cvv", b"cvc", b"cvn", b"ssn", b"puk", b"pin", b"pan", b"key", b"cod", b"rif",
    b"ick", b"sso", b"pwd", b"sig", b"ess", b"srf", b"ook", b"sid", b"nst", b"nns", b"hra", b"dnu", b"dno", b"dnr",
    b"ccn", b"idc", b"ckd", b"ped", b"enn", b"ras", b"mot", b"wac", b"sen", b"has", b"cia", b"xfa", b"mfa", b"yan",
    b"ean", b"tan", b"hes", b"ifr", b"kod", b"asa", b"lsz", b"csc",
];

const fn place_of(letters: [u8; 3]) -> usize {
    let mut place = 0;
    let mut index = 0;
    while index < 3 {
        place = place * 26 + (letters[index] - b'a') as usize;
        index += 1;
    }
    place
}

/// Bit set of [`LETTERS`].
const FILTER: [u64; (26_usize * 26 * 26).div_ceil(64)] = {
    let mut bits = [0; (26_usize * 26 * 26).div_ceil(64)];
    let mut index = 0;
    while index < LETTERS.len() {
        let place = place_of(*LETTERS[index]);
        bits[place / 64] |= 1 << (place % 64);
        index += 1;
    }
    bits
};

/// Fast filter, which passes every name of a secret.
fn may_be_secret(name: &[u8]) -> bool {
    if name.len() <= 2 || matches!(name, [.., b'p' | b'P', b'w' | b'W']) {
        return !name.is_empty();
    }
    let (mut place, mut letters) = (0, 0);
    for byte in name {
        if matches!(byte, b'%' | b'\\') || *byte >= 0x80 {
            return true;
        }
        if !byte.is_ascii_alphabetic() {
            continue;
        }
        place = (place * 26 + usize::from(byte.to_ascii_lowercase() - b'a')) % (26 * 26 * 26);
        letters += 1;
        if letters >= 3 && FILTER[place / 64] >> (place % 64) & 1 == 1 {
            return true;
        }
    }
    letters <= 2
}

/// Judges a name.
pub(super) fn judge(name: &[u8]) -> Verdict {
    if !may_be_secret(&name[name.len().saturating_sub(super::word::MAX_LENGTH)..]) {
        return Verdict::Plain;
    }
    let words = Words::of(name);
    let count = words.len();
    if count == 0 {
        return Verdict::Plain;
    }
    let joined = words.joined();
    if count == 1 && joined.len() <= 2 {
        return if is_one(joined, &["d", "p", "q", "dp", "dq", "qi", "k"]) {
            Verdict::KeyMember
        } else if is_one(joined, &["pw"]) {
            Verdict::Secret
        } else if joined == b"fa" && name.contains(&b'2') {
            // Two factors; `fa` alone is Persian.
            Verdict::Few
        } else {
            Verdict::Plain
        };
    }
    if count > 1 && is_one(words.get(count - 1), ABOUT) {
        return Verdict::Plain;
    }
    let mut verdict = Verdict::Plain;
    for index in 0..count {
        let found = word(&words, index);
        if found == Verdict::Plain || is_one(words.get(index + 1), ABOUT_NEXT) {
            continue;
        }
        // A title, as `Secret Garden`: the last word says what it is.
        if words.spaced && index + 1 < count {
            continue;
        }
        if found != Verdict::Several || verdict == Verdict::Plain {
            verdict = found;
        }
        if matches!(verdict, Verdict::Few) {
            return verdict;
        }
    }
    if verdict != Verdict::Plain || words.spaced {
        return verdict;
    }
    whole(&words)
}

/// Verdict on one word, with its neighbours.
fn word(words: &Words, index: usize) -> Verdict {
    let (word, before, next) = (words.get(index), words.before(index), words.get(index + 1));
    let last = index + 1 == words.len();
    let secret = |is: bool| if is { Verdict::Secret } else { Verdict::Plain };
    let few = |is: bool| if is { Verdict::Few } else { Verdict::Plain };
    match word {
        b"token" => secret(!is_one(before, CURSORS)),
        b"tokens" => {
            if is_one(before, COUNTED) || next == b"reset" {
                Verdict::Plain
            } else {
                Verdict::Several
            }
        }
        b"secret" | b"credential" | b"cred" | b"creds" | b"jwt" | b"jws" | b"jwe" | b"bearer" | b"authorization"
        | b"hmac" | b"passcode" | b"passkey" | b"mnemonic" | b"dsn" | b"wresult" | b"dpop" | b"samlart"
        | b"assertion" | b"cryptogram" => secret(true),
        b"secrets" | b"credentials" | b"passwords" | b"passcodes" | b"passkeys" => Verdict::Several,
        b"cookies" => {
            let wanted = is_one(before, &["accept", "use", "allow", "enable", "secure", "party"]);
            if last && !wanted { Verdict::Several } else { Verdict::Plain }
        }
        b"csc" => few(is_one(before, &["card", "cc"])),
        b"sign" => secret(last && is_one(before, &["access", "api", "bapi", "pay"])),
        b"otp" | b"totp" | b"hotp" | b"cvv" | b"cvc" | b"cvn" | b"ssn" | b"puk" | b"pincode" => few(true),
        b"pan" => {
            few(words.len() == 1 || is_one(before, &["card", "primary", "full"]) || is_one(next, &["number", "no"]))
        }
        b"mfa" => few(last),
        b"pin" => few(last || is_one(next, ITSELF)),
        b"key" => match (is_one(before, KEYS), next) {
            // `access_key_id` is what AWS calls it; other numbers of keys are told freely.
            (true, b"id") => secret(before == b"access"),
            (true, _) => Verdict::Secret,
            (false, _) if words.len() == 1 => Verdict::Key,
            (false, _) => Verdict::Plain,
        },
        b"keys" => {
            if is_one(before, KEYS) {
                Verdict::Several
            } else {
                Verdict::Plain
            }
        }
        b"code" if words.len() == 1 => Verdict::Code,
        b"code" | b"codes" => {
            if is_one(before, &["otp", "pin", "security", "cvv", "card", "sms", "mfa", "fa", "totp"]) {
                Verdict::Few
            } else {
                secret(is_one(before, CODES))
            }
        }
        b"verifier" => secret(is_one(before, &["code", "oauth", "pkce"])),
        b"ticket" => {
            if words.len() == 1 {
                Verdict::Ticket
            } else {
                secret(is_one(before, TICKETS))
            }
        }
        b"sso" if words.len() == 1 => Verdict::Ticket,
        b"pass" => secret(last || is_one(next, &["word", "phrase"])),
        b"pw" | b"sig" | b"sess" | b"csrf" | b"xsrf" => secret(last),
        b"auth" | b"session" => secret(last || is_one(next, ITSELF)),
        b"cookie" => {
            let wanted = is_one(before, &["accept", "use", "allow", "enable", "secure", "party"]);
            secret(!wanted && (last || is_one(next, ITSELF)))
        }
        b"sid" => secret(words.len() == 1 || last && is_one(before, SESSIONS)),
        b"string" | b"str" => secret(is_one(before, &["connection", "conn"])),
        b"answer" => secret(is_one(before, &["security", "challenge", "secret"])),
        b"phrase" => secret(is_one(before, &["seed", "recovery", "pass", "secret", "backup"])),
        b"response" => secret(before == b"saml"),
        b"number" | b"no" | b"nr" | b"num" => few(is_one(before, &["card", "cc", "creditcard"])),
        b"value" => few(before == b"verification" && words.before(index - 1) == b"card"),
        b"data" => secret(is_one(before, &["oidc", "track", "magstripe"])),
        _ => run_together(word, before),
    }
}

/// Verdict on a compound word: `accesstoken`, `passwordhash`, `phpsessid`.
fn run_together(word: &[u8], before: &[u8]) -> Verdict {
    if is_one(word, WHOLE) {
        return Verdict::Secret;
    }
    if word.len() < 6 {
        return if ends(word, &["pwd", "jwt"]) { Verdict::Secret } else { Verdict::Plain };
    }
    if contains(word, PASSWORDS) {
        return if word.starts_with(b"passwordless") { Verdict::Plain } else { Verdict::Secret };
    }
    if contains(word, &["socialsecurity"])
        || ends(
            word,
            &["cardnumber", "securitycode", "ccnumber", "totp", "smsotp", "cardpin", "userpin", "cardcvv", "cardcvc"],
        )
    {
        return Verdict::Few;
    }
    if word.ends_with(b"token") {
        let stem = &word[..word.len() - 5];
        return if ends(stem, CURSORS) || is_one(before, CURSORS) { Verdict::Plain } else { Verdict::Secret };
    }
    if word.ends_with(b"tokens") {
        return if ends(&word[..word.len() - 6], COUNTED) { Verdict::Plain } else { Verdict::Several };
    }
    let is_secret = ends(
        word,
        &[
            "secret",
            "secrets",
            "apikey",
            "accesskey",
            "secretkey",
            "privatekey",
            "authkey",
            "licensekey",
            "licencekey",
            "sessionkey",
            "encryptionkey",
            "signingkey",
            "masterkey",
            "sharedkey",
            "accountkey",
            "subscriptionkey",
            "accesskeyid",
            "signature",
            "signatures",
            "credential",
            "sessionid",
            "sessid",
            "assertion",
            "samlresponse",
            "connectionstring",
            "connstr",
            "authcode",
            "accesscode",
            "devicecode",
            "verificationcode",
            "codeverifier",
            "pwd",
            "jwt",
            "authorization",
            "authheader",
            "xauth",
            "httpauth",
            "basicauth",
            "seedphrase",
            "keyphrase",
            "sharedaccesssignature",
            "apisecret",
            "verifycode",
            "loginticket",
            "appkey",
            "authdata",
        ],
    ) || contains(
        word,
        &["sessionid", "csrf", "xsrf", "clientsecret", "secretkey", "secretvalue", "secretstring", "secrettoken"],
    );
    if is_secret { Verdict::Secret } else { Verdict::Plain }
}

/// Verdict on names known as a whole, or with torn words.
fn whole(words: &Words) -> Verdict {
    let joined = words.joined();
    if (contains(joined, PASSWORDS) || contains(joined, &["socialsecuritynumber"]))
        && !contains(joined, &["passwordless"])
    {
        return Verdict::Secret;
    }
    if words.are_torn() {
        return run_together(joined, &[]);
    }
    Verdict::Plain
}
