//! User information of authorities (RFC 3986 section 3.2.1) anywhere in a text.

use super::{scan::Scan, word::Words};

/// Schemes and the like before an address of a person or a package: `mailto:ada@example.org`.
const NAMED: &[&str] = &[
    "mailto",
    "sip",
    "sips",
    "xmpp",
    "acct",
    "im",
    "pres",
    "cid",
    "mid",
    "email",
    "mail",
    "npm",
    "jsr",
    "from",
    "to",
    "cc",
    "bcc",
    "contact",
    "author",
    "maintainer",
    "pkg",
    "workspace",
    "sender",
    "recipient",
    "replyto",
];

/// Maximum number of `@` examined in one piece; text with more is no address.
const TRIES: u32 = 4;

/// Finds `//user:password@` and `user:password@host` in one pass. Blanks and quotes separate pieces.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    if memchr::memchr(b'@', text).is_none() {
        return;
    }
    // Start of the piece, start of its authority, and end of its authority.
    let (mut piece, mut authority, mut ended) = (0, None::<usize>, None::<usize>);
    // A user was found there, and how often that was tried; the authority that ended is no host.
    let (mut had_user, mut tries, mut odd) = (false, 0, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            0..=b' ' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^' => {
                (piece, authority, ended, had_user) = (at + 1, None, None, false);
                tries = 0;
            }
            b'=' | b',' | b'(' if authority.is_none() => (piece, had_user, tries) = (at + 1, false, 0),
            b'&' | b';' if authority.is_none() || ended.is_some() => {
                (piece, authority, ended, had_user, tries) = (at + 1, None, None, false, 0);
            }
            b'/' if at > 0 && matches!(text[at - 1], b'/' | b'\\') => {
                // `/a//b@c` is a path: a scheme, or nothing at all, stands before an authority.
                let slashes =
                    text[piece..at].iter().rev().take_while(|byte| matches!(byte, b'/' | b'\\')).take(4).count();
                let before = at - slashes;
                if (before == piece || text[before - 1] == b':') && (authority.is_none() || ended.is_some()) {
                    (authority, ended, had_user) = (Some(at + 1), None, false);
                }
            }
            b'/' | b'?' | b'#' | b'\\' if ended.is_none() => {
                if let Some(start) = authority.filter(|start| *start < at) {
                    (ended, odd) = (Some(at), !is_host(&text[start..at]));
                }
            }
            b'@' => match (authority, ended) {
                (Some(start), None) if start < at => {
                    scan.hide(start, at);
                    had_user = true;
                }
                // A password with a slash in it, not encoded as it ought to be: what stands for the port is no number.
                (Some(start), Some(_)) if !had_user && odd => {
                    scan.hide(start, at);
                    had_user = true;
                }
                (None, _) if had_user => scan.hide(piece, at),
                (None, _) if tries < TRIES => {
                    tries += 1;
                    had_user = is_pair(&text[piece..at]) && is_named(&text[at + 1..]);
                    if had_user {
                        scan.hide(piece, at);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Whether text is `host`, `host:80` or `[::1]:80`, and not `user:pass`.
fn is_host(text: &[u8]) -> bool {
    match text.iter().rposition(|byte| *byte == b':') {
        Some(colon) => text[colon + 1..].iter().all(u8::is_ascii_digit) || text.ends_with(b"]"),
        None => true,
    }
}

/// `user:password`, which no scheme or label is.
fn is_pair(text: &[u8]) -> bool {
    let text = &text[text.len().saturating_sub(512)..];
    let Some(colon) = memchr::memchr(b':', text) else { return false };
    let (user, password) = (&text[..colon], &text[colon + 1..]);
    if user.is_empty() || password.is_empty() || text.contains(&b'/') {
        return false;
    }
    let words = Words::of(user);
    !NAMED.iter().any(|name| words.joined() == name.as_bytes())
}

/// Whether text begins with a host: a name, or an address of four numbers, but no version.
fn is_named(text: &[u8]) -> bool {
    let host = &text[..text.iter().take(255).position(|byte| !is_host_byte(*byte)).unwrap_or(text.len().min(255))];
    match host {
        [] => text.first() == Some(&b'['),
        [b'0'..=b'9', ..] => memchr::memchr_iter(b'.', host).count() >= 3 || host.iter().any(u8::is_ascii_alphabetic),
        _ => true,
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}
