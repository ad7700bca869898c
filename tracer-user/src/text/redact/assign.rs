//! Names with values, wherever they stand: `name=value` of queries, forms, matrix parameters, connection strings, logs and
//! settings; `name: value` of JSON, YAML, headers in text and the literals of programming languages.
//!
//! This is no parser of any of those: it takes the name before each sign, and the value behind it by how that begins.

use memchr::{memchr, memchr2, memchr2_iter, memrchr};

use super::{
    name::{self, Verdict},
    scan::{Place, Scan},
    word::MAX_LENGTH,
};

/// Maximum number of blanks around a sign.
const BLANKS: usize = 64;
/// Bytes of a value that are examined if its name alone does not decide.
const DOUBTFUL: usize = 256;
/// Schemes of credentials that stay visible.
const SCHEMES: [&str; 9] = ["bearer", "basic", "token", "digest", "negotiate", "apikey", "jwt", "dpop", "ntlm"];

/// Finds secret values. After a value, the search continues at its end; otherwise only a bounded window around the sign is examined,
/// so the work is linear.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut done = 0;
    for sign in memchr2_iter(b'=', b':', text) {
        if sign < done {
            continue;
        }
        if let Some(end) = pair(scan, sign) {
            done = end;
        }
    }
    credentials(scan);
    options(scan);
}

/// A name as it stands before a sign.
struct Name<'a> {
    text: &'a [u8],
    start: usize,
    quoted: bool,
    /// Backslashes before its quotes.
    slashes: u8,
}

/// One sign; gives where the value ends, if it is hidden.
fn pair(scan: &mut Scan<'_>, sign: usize) -> Option<usize> {
    let text = scan.text;
    let is_colon = text[sign] == b':';
    let name = name_before(text, sign)?;
    let next = text.get(sign + 1).copied();
    match (is_colon, next) {
        // `==`, `::`, `://`.
        (false, Some(b'=')) | (true, Some(b':' | b'=')) => return None,
        (true, Some(b'/')) if !name.quoted => return None,
        _ => {}
    }
    let mut verdict = scan.judge(name.text);
    if verdict == Verdict::Plain && is_colon && matches!(name.text, b"value" | b"Value") && is_named(text, name.start) {
        verdict = Verdict::Secret;
    }
    if verdict == Verdict::Plain {
        return None;
    }
    let before = name.start.checked_sub(1).map(|at| text[at]);
    if is_colon && !name.quoted {
        let apart = matches!(next, None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\''));
        let begins = before.is_none_or(|byte| byte.is_ascii_whitespace() || b"{,(?&;=\"'>[|`".contains(&byte));
        if !apart && !begins {
            return None;
        }
    }
    let query = !is_colon && matches!(before, Some(b'?' | b'&'));
    let mut start = sign + 1;
    // `"password" => "x"` of Ruby and PHP.
    if !is_colon && next == Some(b'>') {
        start += 1;
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t') || name.quoted && is_colon && matches!(byte, b'\r' | b'\n');
    start += text[start..].iter().take(BLANKS).take_while(|byte| is_blank(byte)).count();
    // A doubtful value is examined within a window, as the next sign may examine it again.
    let sure = matches!(verdict, Verdict::Secret | Verdict::Few | Verdict::Several);
    let near = if sure { text } else { &text[..text.len().min(start + DOUBTFUL)] };
    let (start, mut end, quoted) = value_at(scan, near, &name, sign, start);
    if !quoted && !is_colon && start > sign + 1 && text[sign + 1..start].contains(&b'\n') {
        return None;
    }
    let value = &text[start..end];
    if !quoted && is_colon && is_block(value) && is_first_of_line(text, name.start) {
        return block(scan, name.start, end, verdict);
    }
    // The finders for JSON and markup handle containers.
    if !quoted && is_colon && matches!(value.first(), Some(b'{' | b'[')) {
        return None;
    }
    let few = scan.hides(verdict, value, query)?;
    if end == near.len() {
        (_, end, _) = value_at(scan, text, &name, sign, if quoted { start - 1 } else { start });
    }
    let start = start + scheme(value);
    if !quoted && is_colon && name.quoted {
        scan.hide_in_quotes(start, end, name.slashes);
    } else if few {
        scan.hide_few(start, end, false);
    } else {
        scan.hide(start, end);
    }
    Some(end)
}

/// Range of the value at `start` without its quotes, and whether it has quotes.
fn value_at(scan: &Scan<'_>, text: &[u8], name: &Name<'_>, sign: usize, start: usize) -> (usize, usize, bool) {
    if let Some((start, end)) = quoted(text, start) {
        return (start, end, true);
    }
    let mut end = bare(scan, text, name, sign, start);
    // Backslashes belong to the quote, which closes a string around this text.
    if matches!(text.get(end), Some(b'"' | b'\'')) {
        end -= text[start..end].iter().rev().take_while(|byte| **byte == b'\\').count();
    }
    (start, end, false)
}

/// The name that ends before `sign`: in quotes (with backslashes, where JSON is inside JSON), or of the letters that names
/// have.
fn name_before(text: &[u8], sign: usize) -> Option<Name<'_>> {
    let blanks = text[..sign].iter().rev().take(BLANKS).take_while(|byte| byte.is_ascii_whitespace()).count();
    let mut end = sign - blanks;
    // `:=`
    if text[sign] == b'=' && blanks == 0 && text[..end].ends_with(b":") {
        end -= 1;
        end -= text[..end].iter().rev().take(BLANKS).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    }
    let window = end.saturating_sub(MAX_LENGTH);
    match text[..end].last()? {
        quote @ (b'"' | b'\'') => {
            let end = end - 1;
            let slashes = text[window..end].iter().rev().take_while(|byte| **byte == b'\\').count();
            let end = end - slashes;
            let start = window.min(end) + memrchr(*quote, &text[window.min(end)..end])? + 1;
            Some(Name { text: &text[start..end], start, quoted: true, slashes: slashes.min(255) as u8 })
        }
        last => {
            // A line end stands before no sign.
            if text[end..sign].contains(&b'\n') || !is_name(*last) {
                return None;
            }
            let length = text[window..end].iter().rev().take_while(|byte| is_name(**byte)).count();
            Some(Name { text: &text[end - length..end], start: end - length, quoted: false, slashes: 0 })
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.[]%$\\".contains(&byte) || byte >= 0x80
}

/// A value in quotes at `start`, without them: from there to the closing ones, or to the end of a text that was cut.
fn quoted(text: &[u8], start: usize) -> Option<(usize, usize)> {
    // `Some("...")` of Rust.
    let start = if text[start..].starts_with(b"Some(") { start + 5 } else { start };
    let rest = &text[start..];
    // `b'..'`, `u"..."` of Python.
    let prefix = rest.iter().take(2).take_while(|byte| b"bBuUrRfF@".contains(byte)).count();
    let slashes = rest[prefix..].iter().take(127).take_while(|byte| **byte == b'\\').count();
    let open = start + prefix + slashes;
    let quote = *text.get(open).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
    // Strings over lines of Python, TOML and others.
    let three = [quote; 3];
    if slashes == 0 && text[open..].starts_with(&three) {
        let start = open + 3;
        return Some((start, memchr::memmem::find(&text[start..], &three).map_or(text.len(), |at| start + at)));
    }
    let start = open + 1;
    let mut from = start;
    while let Some(found) = memchr(quote, &text[from..]) {
        let at = from + found;
        let before = text[start..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        // A quote inside the string has more backslashes than the one that opened it; on its own level, an even number ends it.
        if before <= slashes && slashes > 0 || slashes == 0 && before % 2 == 0 {
            return Some((start, at - before.min(slashes)));
        }
        from = at + 1;
    }
    Some((start, text.len()))
}

/// End of a value without quotes.
fn bare(scan: &Scan<'_>, text: &[u8], name: &Name<'_>, sign: usize, start: usize) -> usize {
    let end_of = |ends: &dyn Fn(usize, u8) -> bool| {
        text[start..]
            .iter()
            .enumerate()
            .position(|(at, byte)| ends(start + at, *byte))
            .map_or(text.len(), |at| start + at)
    };
    let is_colon = text[sign] == b':';
    if !is_colon && scan.place == Place::Form && scan.depth == 0 {
        return end_of(&|_, byte| byte == b'&');
    }
    let before = name.start.checked_sub(1).map(|at| text[at]);
    if !is_colon && (scan.place == Place::Target || matches!(before, Some(b'?' | b'&' | b';' | b'#'))) {
        return end_of(&|at, byte| match byte {
            b'&' | b'#' | b'"' | b'\'' | b'<' | b'>' | 0..=b' ' => true,
            // Only where another parameter follows: a value may have one in it, though it ought to be encoded.
            b';' => starts_pair(text, at + 1),
            _ => false,
        });
    }
    if is_colon && name.quoted {
        return end_of(&|_, byte| byte.is_ascii_whitespace() || b",}]\"'".contains(&byte));
    }
    // A field of a header section: `curl -H 'Cookie: a=b; c=d'`, or on a line of its own.
    if is_colon && is_field(name.text) {
        let whole = is_first_of_line(text, name.start);
        let quote = before.filter(|byte| matches!(byte, b'"' | b'\''));
        return end_of(&|_, byte| match byte {
            b'\r' | b'\n' => true,
            b'"' | b'<' if !whole => true,
            byte => Some(byte) == quote,
        });
    }
    if let Some(quote @ (b'"' | b'\'')) = before {
        return end_of(&|_, byte| matches!(byte, b'\r' | b'\n') || byte == quote);
    }
    if is_first_of_line(text, name.start) {
        let line = memchr2(b'\n', b'\r', &text[start..]).map_or(text.len(), |at| start + at);
        // `user=a password=b host=c`, `password=b; host=c`, `{password: b, host: c}`.
        let more = (start..line).find(|&at| {
            matches!(text[at], b' ' | b'\t' | b';' | b',' | b'&' | b'|') && starts_pair(text, at + 1)
                || matches!(text[at], b'"' | b'<')
        });
        let end = more.unwrap_or(line);
        return start + text[start..end].trim_ascii_end().len();
    }
    // A scheme and what follows it are one value.
    let scheme = scheme(&text[start..text.len().min(start + 64)]);
    text[start + scheme..]
        .iter()
        .enumerate()
        .position(|(offset, byte)| {
            let at = start + scheme + offset;
            match byte {
                0..=b' ' | b'"' | b'\'' | b'<' | b'>' | b'`' => true,
                b',' | b';' | b'&' | b'|' => {
                    starts_pair(text, at + 1) || text.get(at + 1).is_none_or(u8::is_ascii_whitespace)
                }
                b')' | b'}' | b']' => {
                    text.get(at + 1).is_none_or(|next| next.is_ascii_whitespace() || b",;)}]\"'".contains(next))
                }
                _ => false,
            }
        })
        .map_or(text.len(), |at| start + scheme + at)
}

/// YAML: the line above says `name: DB_PASSWORD`.
fn is_named(text: &[u8], start: usize) -> bool {
    if !is_first_of_line(text, start) {
        return false;
    }
    let window = &text[start.saturating_sub(2 * MAX_LENGTH)..start];
    let Some(end) = memrchr(b'\n', window) else { return false };
    let line = &window[memrchr(b'\n', &window[..end]).map_or(0, |at| at + 1)..end];
    let Some((name, value)) = memchr(b':', line).map(|colon| (&line[..colon], &line[colon + 1..])) else {
        return false;
    };
    let name = name.trim_ascii();
    let value = value.trim_ascii();
    matches!(name.strip_prefix(b"- ").unwrap_or(name), b"name" | b"Name")
        && matches!(name::judge(value), Verdict::Secret | Verdict::Few | Verdict::Several)
}

/// `name=` or `name:` stands there, perhaps behind blanks.
fn starts_pair(text: &[u8], at: usize) -> bool {
    let rest = &text[at.min(text.len())..text.len().min(at + 72)];
    let rest = rest.trim_ascii_start();
    let length = rest.iter().take_while(|byte| is_name(**byte) || **byte == b'"').count();
    length > 0 && matches!(rest.get(length), Some(b'=' | b':'))
}

/// Only what belongs to no value stands before it on its line: the dash of a list, `export`, a comment's sign, a quote.
fn is_first_of_line(text: &[u8], start: usize) -> bool {
    let window = start.saturating_sub(16);
    let line = memrchr(b'\n', &text[window..start]).map_or(window, |at| window + at + 1);
    if line == window && window > 0 {
        return false;
    }
    let before = text[line..start].trim_ascii();
    before.iter().all(|byte| b"-#*>/;\"'".contains(byte))
        || matches!(before, b"export" | b"set" | b"SET" | b"ENV" | b"- export")
}

/// Length of `Bearer ` and the like at the beginning.
fn scheme(value: &[u8]) -> usize {
    let Some(blank) = memchr(b' ', &value[..value.len().min(12)]) else { return 0 };
    let is_known = SCHEMES.iter().any(|known| value[..blank].eq_ignore_ascii_case(known.as_bytes()));
    if is_known && blank + 1 < value.len() { blank + 1 } else { 0 }
}

/// Fields whose values have signs of all kinds in them.
fn is_field(name: &[u8]) -> bool {
    ["cookie", "authorization"]
        .iter()
        .any(|end| name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes()))
}

/// The value stands on the lines below: YAML's `|` and `>`, or a mapping.
fn is_block(value: &[u8]) -> bool {
    // Behind a tag: `!vault |`.
    let value = match value {
        [b'!', ..] => &value[memchr(b' ', &value[..value.len().min(64)]).map_or(0, |blank| blank + 1)..],
        value => value,
    };
    value.len() <= 3
        && value.iter().all(|byte| b"|>+-0123456789".contains(byte))
        && !value.first().is_some_and(u8::is_ascii_digit)
}

/// YAML: what is indented below a secret name, line by line.
fn block(scan: &mut Scan<'_>, name: usize, end: usize, verdict: Verdict) -> Option<usize> {
    if matches!(verdict, Verdict::Code | Verdict::Ticket | Verdict::Key | Verdict::KeyMember) {
        return None;
    }
    let text = scan.text;
    let mut at = end + memchr(b'\n', &text[end..text.len().min(end + BLANKS)])? + 1;
    if !text[end..at].iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    lines_below(scan, indent_of(text, name), &mut at);
    Some(at)
}

/// The column of a name; the dash of a list counts as indentation.
fn indent_of(text: &[u8], name: usize) -> usize {
    text[..name].iter().rev().take(256).take_while(|byte| **byte != b'\n').count()
}

fn lines_below(scan: &mut Scan<'_>, indent: usize, at: &mut usize) {
    let text = scan.text;
    while *at < text.len() {
        let end = memchr(b'\n', &text[*at..]).map_or(text.len(), |found| *at + found);
        let line = &text[*at..end];
        let blanks = line.len() - line.trim_ascii_start().len();
        let content = line.trim_ascii();
        let is_item = content.starts_with(b"- ") && blanks >= indent;
        if !content.is_empty() && blanks <= indent && !is_item {
            return;
        }
        if !content.is_empty() {
            let dash = if content.starts_with(b"- ") { 2 } else { 0 };
            let from = *at + blanks + dash;
            let to = from + content.len() - dash;
            let item = &text[from..to];
            // `name: value`: the name stays.
            let key = item.iter().take(64).position(|byte| *byte == b':').filter(|colon| {
                item.get(colon + 1).is_none_or(u8::is_ascii_whitespace)
                    && item[..*colon].iter().all(|byte| is_name(*byte))
            });
            let from = key.map_or(from, |colon| from + colon + 1);
            let value = text[from..to].trim_ascii_start();
            if !value.is_empty() && !is_block(value) {
                scan.hide(to - value.len(), to);
            }
        }
        *at = end + 1;
    }
    *at = (*at).min(text.len());
}

/// `Bearer abc` and `Basic abc` without a name before them.
fn credentials(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut from = 0;
    while let Some(found) = memchr2(b'B', b'b', &text[from..]) {
        let at = from + found;
        from = at + 1;
        let word = match text.get(at..at + 7) {
            Some(word) if word.eq_ignore_ascii_case(b"bearer ") => 7,
            Some(word) if word[..6].eq_ignore_ascii_case(b"basic ") => 6,
            _ => continue,
        };
        if at > 0 && text[at - 1].is_ascii_alphanumeric() {
            continue;
        }
        let start = at + word;
        let length =
            text[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte)).count();
        let value = &text[start..start + length];
        let mixed = value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic)
            || value.iter().skip(1).any(u8::is_ascii_uppercase) && value.iter().any(u8::is_ascii_lowercase)
            || value.ends_with(b"=");
        // Text that is no credential may be a scheme itself.
        from = start;
        if length >= 8 && mixed {
            scan.hide(start, start + length);
            from = start + length;
        }
    }
}

/// `--password x` and `-u user:password` of command lines.
fn options(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut from = 0;
    while let Some(found) = memchr(b'-', &text[from..]) {
        let at = from + found;
        let dashes = text[at..].iter().take_while(|byte| **byte == b'-').count();
        let start = at + dashes;
        from = start;
        let begins = at == 0 || matches!(text[at - 1], b' ' | b'\t' | b'\n' | b'"' | b'\'');
        let length = text[start..].iter().take(MAX_LENGTH).take_while(|byte| is_name(**byte)).count();
        if !begins || dashes > 2 || length == 0 || text.get(start + length) != Some(&b' ') {
            continue;
        }
        let name = &text[start..start + length];
        let value = start + length + 1;
        let (value, end) = quoted(text, value).unwrap_or_else(|| {
            (
                value,
                value + text[value..].iter().take_while(|byte| !byte.is_ascii_whitespace() && **byte != b'"').count(),
            )
        });
        let content = &text[value..end];
        if matches!(name, b"u" | b"U" | b"user" | b"proxy-user") {
            if memchr(b':', content).is_some_and(|colon| colon > 0 && !content[colon..].starts_with(b"://")) {
                scan.hide(value, end);
            }
            from = end;
        } else if dashes == 2 && matches!(name::judge(name), Verdict::Secret | Verdict::Few) {
            if !content.starts_with(b"-") && scan.hides(Verdict::Secret, content, false).is_some() {
                scan.hide(value, end);
            }
            from = end;
        }
    }
}
