//! JSON (RFC 8259) and what looks like it: what is inside of what.
//!
//! Not a parser: it follows brackets and strings through text that may be cut, or be something else before and behind. What
//! it adds to names and values side by side are arrays and objects under a secret name, pairs of `"name"` and `"value"`,
//! and what is in strings.

use memchr::{memchr, memchr2_iter};

use super::{
    decode::Coding,
    name::{self, Verdict},
    scan::Scan,
};

/// Levels that are followed; what is deeper belongs to the deepest.
const MAX_LEVELS: usize = 64;
/// Values that wait for the name beside them.
const WAITING: usize = 4;

/// Members that name what another member has.
const NAMES: &[&str] = &[
    "name",
    "key",
    "field",
    "param",
    "parameter",
    "header",
    "property",
    "attribute",
    "id",
    "label",
    "k",
    "n",
    "variable",
    "title",
    "fieldname",
    "keyname",
    "env",
    "option",
    "setting",
];
/// That other member.
const VALUES: &[&str] = &[
    "value",
    "val",
    "v",
    "content",
    "data",
    "values",
    "default",
    "text",
    "stringvalue",
    "defaultvalue",
    "contents",
    "body",
    "current",
    "old",
    "new",
    "oldvalue",
    "newvalue",
    "plaintext",
    "input",
];

/// Bytes of the longest of those.
const LONGEST: usize = 14;

#[derive(Clone, Copy)]
struct Level {
    is_object: bool,
    /// All in it is secret.
    secret: bool,
    /// An array in an array, which may be a pair.
    nested: bool,
    /// An array of names and values in turn, as Node.js has raw headers.
    flat: bool,
    /// Verdict of the last name on the next value.
    verdict: Verdict,
    /// The last name is one of [`NAMES`] or [`VALUES`].
    names: bool,
    values: bool,
    /// The last name is `type`: that may be `password`, as of a field in a form, or `SecureString`, as of a parameter in AWS.
    kinds: bool,
    /// The last name is that of a list of header fields.
    lists_fields: bool,
    /// The last name tells about a secret, and not the secret.
    about: bool,
    /// A member says that [`VALUES`] beside it are secret.
    paired: bool,
    waiting: [(usize, usize); WAITING],
    waits: usize,
    /// Elements before this one.
    count: usize,
}

impl Level {
    const TOP: Self = Self {
        is_object: false,
        secret: false,
        nested: false,
        flat: false,
        verdict: Verdict::Plain,
        names: false,
        values: false,
        kinds: false,
        lists_fields: false,
        about: false,
        paired: false,
        waiting: [(0, 0); WAITING],
        waits: 0,
        count: 0,
    };
}

/// Finds secrets in one pass.
pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut levels = Vec::with_capacity(8);
    levels.push(Level::TOP);
    let mut beyond: usize = 0;
    let mut at = 0;
    while at < text.len() {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return };
        match text[at] {
            byte @ (b'{' | b'[') => {
                if depth >= MAX_LEVELS {
                    beyond += 1;
                } else {
                    let inner = Level {
                        is_object: byte == b'{',
                        secret: level.secret
                            || matches!(level.verdict, Verdict::Secret | Verdict::Few | Verdict::Several)
                            || level.values && level.paired,
                        nested: byte == b'[' && !level.is_object && depth > 1,
                        flat: byte == b'[' && level.lists_fields,
                        ..Level::TOP
                    };
                    levels.push(inner);
                }
                at += 1;
            }
            b'}' | b']' => {
                if beyond > 0 {
                    beyond -= 1;
                } else if levels.len() > 1 {
                    if let Some(level) = levels.pop() {
                        close(scan, &level);
                    }
                    if let Some(level) = levels.last_mut() {
                        level.verdict = Verdict::Plain;
                    }
                }
                at += 1;
            }
            b',' => {
                (level.verdict, level.names, level.values) = (Verdict::Plain, false, false);
                (level.kinds, level.about, level.lists_fields) = (false, false, false);
                level.count += 1;
                at += 1;
            }
            b'"' => {
                let (end, closed) = end_of_string(text, at + 1, level.secret || level.verdict != Verdict::Plain);
                let behind = text[end..].iter().skip(1).take(64).find(|byte| !byte.is_ascii_whitespace());
                if closed && behind == Some(&b':') && (level.is_object || depth == 1) {
                    key(scan, level, &text[at + 1..end]);
                } else {
                    value(scan, level, at + 1, end, true);
                }
                at = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let length =
                    text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
                value(scan, level, at, at + length, false);
                at += length;
            }
            byte if byte.is_ascii_alphabetic() => {
                at += text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            }
            _ => at += 1,
        }
    }
    // Levels that were cut off count as closed.
    while let Some(level) = levels.pop() {
        close(scan, &level);
    }
}

/// Where the closing quote stands, or the end of the text. A string has no line end in it: where one comes first, the quote
/// was none, unless it begins what is to be hidden.
fn end_of_string(text: &[u8], start: usize, over_lines: bool) -> (usize, bool) {
    let mut skip = start;
    for found in memchr2_iter(b'"', b'\\', &text[start..]) {
        let at = start + found;
        if at < skip {
            continue;
        }
        if text[at] == b'\\' {
            skip = at + 2;
            continue;
        }
        return match memchr(b'\n', &text[start..at]) {
            Some(line) if !over_lines => (start + line, false),
            _ => (at, true),
        };
    }
    match memchr(b'\n', &text[start..]) {
        Some(line) if !over_lines => (start + line, false),
        _ => (text.len(), false),
    }
}

fn key(scan: &Scan<'_>, level: &mut Level, key: &[u8]) {
    let decoded;
    let key = if Coding::Json.is_in(key) {
        decoded = Coding::Json.undo(&key[key.len().saturating_sub(1024)..]);
        &decoded
    } else {
        key
    };
    level.verdict = scan.judge(key);
    level.about = level.secret && name::is_about(key);
    let mut buffer = [0; LONGEST];
    let mut length = 0;
    for byte in key.iter().filter(|byte| !matches!(byte, b'_' | b'-' | b'$' | b'@')) {
        let Some(place) = buffer.get_mut(length) else { break };
        *place = byte.to_ascii_lowercase();
        length += 1;
    }
    let is = |list: &[&str]| key.len() <= LONGEST && list.iter().any(|known| known.as_bytes() == &buffer[..length]);
    // `param_name`, `param_value`.
    let ends = |end: &[u8]| key.len() > end.len() && key[key.len() - end.len()..].eq_ignore_ascii_case(end);
    level.names = is(NAMES) || ends(b"name") || ends(b"key");
    level.values = is(VALUES) || ends(b"value");
    level.kinds = is(&["type"]);
    level.lists_fields = ends(b"headers");
}

/// A string (without quotes) or a number.
fn value(scan: &mut Scan<'_>, level: &mut Level, start: usize, end: usize, is_string: bool) {
    let text = scan.text;
    let content = &text[start..end];
    let hidden = if level.secret {
        let boring = level.about && is_boring(content);
        if boring { None } else { scan.hides(Verdict::Secret, content, false) }
    } else {
        scan.hides(level.verdict, content, false)
    };
    let paired = level.values && level.paired && hidden.is_none();
    if let Some(few) = hidden {
        hide(scan, start, end, is_string, few);
    } else if paired {
        hide(scan, start, end, is_string, false);
    } else if is_string && Coding::Json.is_in(content) {
        scan.inner(start, end, Coding::Json);
    }
    if level.is_object {
        if is_string
            && (level.names && is_secret_name(content)
                || level.kinds && matches!(content, b"password" | b"SecureString"))
        {
            level.paired = true;
            for (start, end) in &level.waiting[..level.waits] {
                hide(scan, *start, *end, text[start - 1] == b'"', false);
            }
            level.waits = 0;
        } else if level.values && !level.paired && level.waits < WAITING && start > 0 {
            level.waiting[level.waits] = (start, end);
            level.waits += 1;
        }
    } else if level.flat && level.count.is_multiple_of(2) {
        level.paired = is_string && is_secret_name(content);
    } else if level.paired && !level.nested {
        // `["--password", "x"]`
        if hidden.is_none() && is_string {
            hide(scan, start, end, is_string, false);
        }
        level.paired = false;
    } else if content.starts_with(b"--") && is_string {
        level.paired = is_secret_name(content);
    } else if level.nested {
        if level.count == 0 {
            level.paired = is_string && is_secret_name(content);
        } else if level.count == 1 && level.paired {
            level.waiting[0] = (start, end);
            level.waits = 1;
        }
    }
    level.verdict = Verdict::Plain;
}

fn is_secret_name(name: &[u8]) -> bool {
    name.len() <= 256 && matches!(name::judge(name), Verdict::Secret | Verdict::Few | Verdict::Several)
}

/// `[["password", "x"]]`: a pair has two.
fn close(scan: &mut Scan<'_>, level: &Level) {
    if level.nested && level.paired && level.count == 1 && level.waits == 1 {
        let (start, end) = level.waiting[0];
        hide(scan, start, end, scan.text[start - 1] == b'"', false);
    }
}

fn hide(scan: &mut Scan<'_>, start: usize, end: usize, is_string: bool, few: bool) {
    if !is_string {
        scan.hide_in_quotes(start, end, 0);
    } else if few {
        scan.hide_few(start, end, false);
    } else {
        scan.hide(start, end);
    }
}

/// A number or a plain word: what a type, a time or an algorithm looks like.
fn is_boring(value: &[u8]) -> bool {
    value.len() <= 32
        && (value.iter().all(|byte| byte.is_ascii_digit() || b"+-.:TZ ".contains(byte))
            || value.iter().all(|byte| byte.is_ascii_lowercase() || b"_- ".contains(byte)))
}
