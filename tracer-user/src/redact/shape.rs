//! Secrets that show by their shape, whatever they are called: tokens with a known beginning, private keys, card numbers.

use memchr::{memchr, memchr_iter, memmem};

use super::scan::Scan;

/// Beginnings, and how long such a token is at least.
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
];

/// Shortest run that can be a token.
const SHORTEST: usize = 16;
/// Digits of card numbers (ISO/IEC 7812; those of 12 digits are too like other numbers).
const CARD: std::ops::RangeInclusive<usize> = 13..=19;

/// Finds them.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut at = 0;
    while let Some(begin) = text[at..].iter().position(|byte| is_token(*byte)) {
        let start = at + begin;
        let length = text[start..].iter().position(|byte| !is_token(*byte)).unwrap_or(text.len() - start);
        let run = &text[start..start + length];
        at = start + length;
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
        }
    }
}

/// A table: this is asked for each byte of each body.
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'-' | b'.');
        byte += 1;
    }
    table
};

/// Letters, digits and what joins them.
pub(super) fn is_token(byte: u8) -> bool {
    IS_TOKEN[usize::from(byte)]
}

/// Where in a run a token stands.
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

/// A PEM block of a private key, from the line behind its first; gives where it ends.
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

/// A card number that begins at `start`, in one or in groups; gives where it ends.
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

/// By its first digits and its check digit (Luhn).
fn is_card(digits: &[u8]) -> bool {
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
