//! Secrets that show by their shape, whatever they are called: tokens with a known beginning, private keys, hashes of
//! passwords, addresses of webhooks, card numbers.

use memchr::{memchr, memchr_iter, memmem};

use super::scan::Scan;

/// Prefixes of tokens, with the minimum length of a token.
const TOKENS: &[(&[u8], usize)] = &[
    (b"AKIA", 20),
    (b"ASIA", 20),
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghu_", 20),
    (b"ghs_", 20),
    (b"ghr_", 20),
    (b"github_pat_", 24),
    (b"glpat-", 20),
    (b"xoxa-", 16),
    (b"xoxb-", 16),
    (b"xoxp-", 16),
    (b"xoxr-", 16),
    (b"xoxs-", 16),
    (b"xapp-", 16),
    (b"sk_live_", 16),
    (b"sk_test_", 16),
    (b"rk_live_", 16),
    (b"rk_test_", 16),
    (b"whsec_", 16),
    (b"sk-ant-", 20),
    (b"sk-proj-", 20),
    (b"AIza", 35),
    (b"ya29.", 20),
    (b"npm_", 36),
    (b"SG.", 40),
    (b"hvs.", 20),
    (b"dop_v1_", 30),
    (b"shpat_", 30),
    (b"pypi-AgE", 30),
    (b"AGE-SECRET-KEY-", 30),
    (b"xoxc-", 16),
    (b"xoxd-", 16),
    (b"xoxe-", 16),
    (b"xoxe.", 16),
    (b"glrt-", 20),
    (b"gldt-", 20),
    (b"glcbt-", 20),
    (b"glptt-", 20),
    (b"sk-svcacct-", 30),
    (b"sk-admin-", 30),
    (b"sk-or-v1-", 40),
    (b"dckr_pat_", 30),
    (b"ATATT3", 24),
    (b"NRAK-", 30),
    (b"tskey-", 24),
    (b"sq0csp-", 28),
    (b"sq0atp-", 28),
    (b"glsa_", 40),
    (b"PMAK-", 40),
    (b"EAACEdEose0cBA", 24),
    (b"GOCSPX-", 28),
    (b"shpca_", 30),
    (b"shppa_", 30),
    (b"shpss_", 30),
    (b"doo_v1_", 30),
    (b"dor_v1_", 30),
    (b"dp.pt.", 40),
    (b"figd_", 40),
    (b"pscale_tkn_", 30),
    (b"pscale_pw_", 30),
    (b"sntrys_", 40),
    (b"CFPAT-", 40),
    (b"pplx-", 40),
    (b"xai-", 40),
];

/// Prefixes of tokens that continue with letters and digits only; other text after them is a name.
const PLAIN_TOKENS: &[(&[u8], usize)] = &[
    (b"hf_", 30),
    (b"gsk_", 40),
    (b"ntn_", 30),
    (b"lin_api_", 30),
    (b"rubygems_", 40),
    (b"sbp_", 36),
    (b"r8_", 36),
    (b"rzp_live_", 22),
    (b"rzp_test_", 22),
    (b"xprv", 100),
];

/// Prefixes of base64 of private keys in PEM.
const ENCODED_KEYS: [&[u8]; 5] = [
    b"LS0tLS1CRUdJTiBQUklWQVRFIEtFW",
    b"LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVk",
    b"LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFW",
    b"LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ",
    b"LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRVk",
];

/// Methods of password hashes, between the first two dollar signs (crypt(5), and the PHC string format).
const HASHES: [&[u8]; 13] =
    [b"1", b"5", b"6", b"y", b"7", b"2a", b"2b", b"2y", b"apr1", b"argon2i", b"argon2d", b"argon2id", b"scrypt"];

/// Minimum length of a token.
const SHORTEST: usize = 16;
/// Number of digits of card numbers (ISO/IEC 7812); 12 digits are too similar to other numbers.
const CARD: std::ops::RangeInclusive<usize> = 13..=19;

/// Finds secrets by shape.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let (mut at, mut hashed) = (0, 0);
    while let Some(begin) = text[at..].iter().position(|byte| is_token(*byte)) {
        let start = at + begin;
        let length = text[start..].iter().position(|byte| !is_token(*byte)).unwrap_or(text.len() - start);
        let run = &text[start..start + length];
        at = start + length;
        let is_method = start > hashed && text[start - 1] == b'$' && text.get(at) == Some(&b'$');
        if is_method && HASHES.contains(&run) {
            hashed = hash(scan, start - 1);
        }
        if run[0].is_ascii_digit() && run.len() <= CARD.end() + 4 {
            at = at.max(card(scan, start));
        }
        if run.len() < SHORTEST {
            if run == b"-----BEGIN" {
                at = at.max(private_key(scan, start));
            }
            continue;
        }
        if let Some((from, to)) = token(run) {
            scan.hide(start + from, start + to);
        } else if run.starts_with(b"-----BEGIN") {
            at = at.max(private_key(scan, start));
        } else if let Some((from, to)) = in_place(text, start, at) {
            scan.hide(from, to);
        }
    }
}

/// A run that is a secret by what stands around it, from `start` to `end`; gives what is to be hidden.
fn in_place(text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let run = &text[start..end];
    if run[0] == b'L' && ENCODED_KEYS.iter().any(|key| run.starts_with(key)) {
        let length =
            text[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte)).count();
        return Some((start, start + length));
    }
    let before = &text[start.saturating_sub(96)..start];
    if !matches!(before.last()?, b'/' | b':') {
        return None;
    }
    let mut parts = before.rsplit(|byte| matches!(byte, b'/' | b'\\')).filter(|part| !part.is_empty());
    match before.last()? {
        // `/services/T…/B…/…` of Slack, `/webhooks/…/…` of Discord: who knows the address may send.
        b'/' if run.len() >= 16 => {
            let (second, first) = (parts.next()?, parts.next()?);
            let is_id = |part: &[u8], letter: u8| {
                part.first() == Some(&letter) && part.len() >= 8 && part.iter().all(u8::is_ascii_alphanumeric)
            };
            let slack = is_id(second, b'B') && is_id(first, b'T') && parts.next() == Some(b"services");
            let number = |part: &[u8]| part.len() >= 15 && part.iter().all(u8::is_ascii_digit);
            let discord = run.len() >= 40 && number(second) && first == b"webhooks";
            (slack || discord).then_some((start, end))
        }
        // `123456:AA…` of Telegram.
        b':' if run.len() == 35 && run.starts_with(b"AA") => {
            let digits = before[..before.len() - 1].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            (6..=12).contains(&digits).then_some((start - 1 - digits, end))
        }
        _ => None,
    }
}

/// Masks a password hash such as `$2b$12$…`, which allows guessing. `start` is the dollar sign before the method. Returns the end of
/// the candidate, within which there is no other.
fn hash(scan: &mut Scan<'_>, start: usize) -> usize {
    let rest = &scan.text[start..];
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"$./+=,-_".contains(byte)).count();
    if length >= 24 && memchr_iter(b'$', &rest[..length]).count() >= 3 {
        scan.hide(start, start + length);
    }
    start + length
}

/// Lookup table of token bytes, as each byte of each body is tested.
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'-' | b'.');
        byte += 1;
    }
    table
};

/// Whether a byte is a letter, a digit, or joins them.
pub(super) fn is_token(byte: u8) -> bool {
    IS_TOKEN[usize::from(byte)]
}

/// Range of the token in a run.
fn token(run: &[u8]) -> Option<(usize, usize)> {
    let end = run.len() - run.iter().rev().take_while(|byte| **byte == b'.').count();
    let known = TOKENS.iter().find(|(start, least)| run[0] == start[0] && end >= *least && run.starts_with(start));
    if known.is_some() {
        // These two are told from words in capitals by their length.
        let is_id = run.starts_with(b"AKIA") || run.starts_with(b"ASIA");
        if !is_id || run[..20].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
            return Some((0, end));
        }
    }
    if PLAIN_TOKENS.iter().any(|(start, least)| {
        run[0] == start[0]
            && end >= *least
            && run.starts_with(start)
            && run[start.len()..end].iter().all(u8::is_ascii_alphanumeric)
    }) || is_of_its_length(&run[..end])
    {
        return Some((0, end));
    }
    // JWT and the like (RFC 7515, 7516): at least two parts with a dot between, most have none. A part is base64 of `{"`, of
    // `{` with white space, of `[`.
    memchr(b'.', &run[..end])?;
    let from = memchr_iter(b'e', &run[..end])
        .find(|at| matches!(run[at + 1..end], [b'y', b'J' | b'A', ..] | [b'w', b'o' | b'A' | b'k' | b'0', ..]))?;
    let mut parts = run[from..end].split(|byte| *byte == b'.');
    let (head, payload) = (parts.next()?, parts.next()?);
    let is_object = run[from..].starts_with(b"eyJ");
    (head.len() >= 10 && (is_object && payload.len() >= 4 || payload.len() >= 10 && parts.next().is_some()))
        .then_some((from, end))
}

/// Whether a run is a token by its complete form.
fn is_of_its_length(run: &[u8]) -> bool {
    let is_hex = |text: &[u8]| text.len() == 32 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match run {
        // Databricks, Mailchimp.
        [b'd', b'a', b'p', b'i', rest @ ..] if is_hex(rest) => true,
        [rest @ .., b'-', b'u', b's', b'0'..=b'9', b'0'..=b'9'] | [rest @ .., b'-', b'u', b's', b'0'..=b'9'] => {
            is_hex(rest)
        }
        // OpenAI.
        [b's', b'k', b'-', rest @ ..] => rest.len() >= 40 && memmem::find(rest, b"T3BlbkFJ").is_some(),
        _ => false,
    }
}

/// Masks a PEM block of a private key after its first line, and returns its end.
fn private_key(scan: &mut Scan<'_>, start: usize) -> usize {
    let rest = &scan.text[start + 10..];
    let label = &rest[..rest.len().min(64)];
    let Some(end) = memmem::find(label, b"-----") else { return start };
    if memmem::find(&label[..end], b"PRIVATE KEY").is_none() {
        return start;
    }
    let from = start + 10 + end + 5;
    let to = memmem::find(&scan.text[from..], b"-----END").map_or(scan.text.len(), |at| from + at);
    if from < to {
        scan.hide(from, to);
    }
    to
}

/// Masks a card number at `start`, in one group or several, and returns its end.
fn card(scan: &mut Scan<'_>, start: usize) -> usize {
    let text = scan.text;
    if start > 0 && matches!(text[start - 1], b'+' | b'#' | b'$' | b'%' | b'\\' | 0x80..) {
        return start;
    }
    let mut digits = [0; 20];
    let mut groups = [0; 6];
    let (mut count, mut group, mut end, mut separator) = (0, 0, start, None);
    loop {
        match text.get(end) {
            Some(byte) if byte.is_ascii_digit() => {
                if count == digits.len() {
                    return start;
                }
                digits[count] = byte - b'0';
                groups[group] += 1;
                count += 1;
                end += 1;
            }
            Some(byte @ (b' ' | b'-' | b'+'))
                if text.get(end + 1).is_some_and(u8::is_ascii_digit)
                    && separator.is_none_or(|known| known == *byte)
                    && group + 1 < groups.len() =>
            {
                separator = Some(*byte);
                group += 1;
                end += 1;
            }
            _ => break,
        }
    }
    let behind = text.get(end).copied().unwrap_or(b' ');
    let goes_on = behind.is_ascii_alphanumeric()
        || matches!(behind, b'_' | b'-')
        || behind == b'.' && text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
    let is_grouped =
        matches!(groups, [_, 0, ..] | [4, 4, 4, 1..=7, 0, 0] | [4, 4, 4, 4, 1..=3, 0] | [4, 6, 4 | 5, 0, 0, 0]);
    let digits = &digits[..count];
    if goes_on || !is_grouped || !CARD.contains(&count) || !is_card(digits) {
        return start;
    }
    scan.hide_few(start, end, true);
    end
}

/// 13 digits with the check digit of an article's number (EAN-13): of those, every tenth would pass for a card.
fn is_article(digits: &[u8]) -> bool {
    digits.len() == 13
        && digits
            .iter()
            .enumerate()
            .map(|(index, digit)| u32::from(*digit) * if index % 2 == 0 { 1 } else { 3 })
            .sum::<u32>()
            .is_multiple_of(10)
}

/// Whether digits are a card number, by the first digits and the check digit (Luhn).
fn is_card(digits: &[u8]) -> bool {
    if is_article(digits) {
        return false;
    }
    let first = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + u32::from(*digit));
    let issued = matches!(
        (digits.len(), first(4)),
        (13 | 16 | 19, 4000..=4999)
            | (16, 5100..=5599 | 2221..=2720 | 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
            | (15, 3400..=3499 | 3700..=3799)
            | (16..=19, 6011 | 6440..=6599 | 6200..=6299 | 3528..=3589)
            | (14, 3000..=3059 | 3600..=3699 | 3800..=3999)
    );
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match u32::from(*digit) << (index % 2) {
            doubled @ 10.. => doubled - 9,
            other => other,
        })
        .sum();
    issued && sum.is_multiple_of(10)
}
