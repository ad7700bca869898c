//! XML and HTML: elements with secret names (SOAP, SAML, configurations), elements and attributes beside a secret name
//! (`<input name="password" value="…">`, `<add key="Password" value="…"/>`, `<key>password</key><string>…</string>`).
//!
//! One pass over the tags; no tree is built. Attributes whose own names are secret are found as all names with values are.

use memchr::{memchr, memchr2, memmem};

use super::{
    name::{self, Verdict},
    scan::Scan,
};

/// Longest tag that is looked into.
const MAX_TAG: usize = 8 * 1024;

/// The secret element that is open.
struct Open<'a> {
    name: &'a [u8],
    /// How many of that name are open.
    count: usize,
}

/// Finds secrets in one pass.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut open: Option<Open<'_>> = None;
    // The last element was `<key>password</key>` or the like: the next one with content is its value.
    let mut expects = false;
    let mut last_name: &[u8] = &[];
    let mut at = 0;
    while let Some(found) = memchr(b'<', &text[at..]) {
        let tag = at + found;
        let content = &text[at..tag];
        if open.is_some() || expects && !is_namer(last_name) {
            let from = at + content.len() - content.trim_ascii_start().len();
            let to = from + content.trim_ascii().len();
            if from < to {
                hide(scan, from, to);
                expects = false;
            }
        } else if is_namer(last_name) && !content.trim_ascii().is_empty() {
            expects = content.len() <= 128 && is_secret(content.trim_ascii());
        }
        if text[tag..].starts_with(b"<![CDATA[") {
            let start = tag + 9;
            let end = memmem::find(&text[start..], b"]]>").map_or(text.len(), |at| start + at);
            if open.is_some() || expects {
                hide(scan, start, end);
                expects = false;
                at = (end + 3).min(text.len());
            } else {
                // Elements in it are looked at like others.
                at = start;
            }
            continue;
        }
        let end = end_of_tag(text, tag + 1).max(tag + 1);
        let inside = &text[tag + 1..end];
        // A tag that begins another one, or is too long, has no end of its own to step over.
        at = if text.get(end) == Some(&b'>') { end + 1 } else { end };
        let (closing, inside) = inside.strip_prefix(b"/").map_or((false, inside), |inside| (true, inside));
        let name = &inside
            [..inside.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/').unwrap_or(inside.len())];
        if name.is_empty() || matches!(name[0], b'!' | b'?') || !is_name(name) {
            continue;
        }
        if closing {
            if let Some(element) = open.as_mut().filter(|element| element.name == name) {
                element.count -= 1;
                if element.count == 0 {
                    open = None;
                }
            }
            last_name = &[];
            continue;
        }
        last_name = local(name);
        let attributes = attributes(scan, tag + 1 + name.len(), end);
        let empty = inside.ends_with(b"/");
        match &mut open {
            Some(element) if element.name == name && !empty => element.count += 1,
            None if !empty && (attributes || is_element(last_name)) => open = Some(Open { name, count: 1 }),
            Some(_) | None => {}
        }
    }
    if open.is_some() {
        // Cut off in the secret.
        hide(scan, at, text.len());
    }
}

fn hide(scan: &mut Scan<'_>, start: usize, end: usize) {
    if scan.hides(Verdict::Secret, &scan.text[start..end], false).is_some() {
        scan.hide(start, end);
    }
}

/// `Password` of `wsse:Password`.
fn local(name: &[u8]) -> &[u8] {
    memchr(b':', name).map_or(name, |colon| &name[colon + 1..])
}

fn is_name(name: &[u8]) -> bool {
    name.len() <= 256 && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte) || *byte >= 0x80)
}

fn is_secret(name: &[u8]) -> bool {
    matches!(name::judge(name), Verdict::Secret | Verdict::Few | Verdict::Several)
}

/// Elements with such a name hold a secret; not those of HTML.
fn is_element(name: &[u8]) -> bool {
    is_secret(name)
}

/// Their content names what the next element holds.
fn is_namer(name: &[u8]) -> bool {
    ["key", "name", "param-name", "paramname", "field", "fieldname", "parametername", "dt", "th"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// End of a tag: `>` or another tag outside of quotes, or the maximum length.
fn end_of_tag(text: &[u8], start: usize) -> usize {
    let most = text.len().min(start + MAX_TAG);
    let mut at = start;
    let mut quote = None;
    while at < most {
        match (quote, text[at]) {
            // A new tag ends it too: this one was none.
            (None, b'>' | b'<') => return at,
            (None, byte @ (b'"' | b'\'')) if at > start && matches!(text[at - 1], b'=' | b' ') => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
        at += 1;
    }
    most
}

/// Looks at the attributes between: hides a value beside a secret name. True where the element's content is such a value.
fn attributes(scan: &mut Scan<'_>, start: usize, end: usize) -> bool {
    let text = scan.text;
    // The tag names the secret in its `value`; the tag names the secret in its content.
    let (mut named, mut holds) = (false, false);
    let mut value = None;
    let mut at = start;
    while at < end {
        let Some(found) = memchr(b'=', &text[at..end]) else { break };
        let sign = at + found;
        let name = text[at..sign].trim_ascii_end();
        let name = &name[name.iter().rposition(u8::is_ascii_whitespace).map_or(0, |blank| blank + 1)..];
        let mut from = sign + 1;
        while from < end && text[from].is_ascii_whitespace() {
            from += 1;
        }
        let (from, to) = match text.get(from) {
            Some(quote @ (b'"' | b'\'')) if from < end => {
                let from = from + 1;
                (from, memchr(*quote, &text[from.min(end)..end]).map_or(end, |at| from + at))
            }
            _ => {
                let length = text[from..end].iter().position(u8::is_ascii_whitespace).unwrap_or(end - from);
                (from, from + length)
            }
        };
        let content = &text[from.min(to)..to];
        let is = |list: &[&str]| list.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if is(&["name", "key", "property", "field", "param", "id", "itemprop"]) {
            let secret = content.len() <= 128 && is_secret(content);
            named |= secret;
            holds |= secret && !is(&["id", "itemprop"]);
        } else if is(&["type"]) {
            named |= content.eq_ignore_ascii_case(b"password");
        } else if is(&["value", "content", "val", "data-value", "default"]) {
            value = Some((from, to));
        }
        at = to + 1;
    }
    if !named {
        return false;
    }
    match value {
        Some((from, to)) => {
            hide(scan, from, to);
            false
        }
        None => holds && !text[start..end].ends_with(b"/") && memchr2(b'\n', b'<', &text[start..end]).is_none(),
    }
}
